//! Memory that is left, and whether the keys of a preparation will fit into it: they are what a preparation holds.

use sysinfo::{CGroupLimits, Pid, ProcessesToUpdate, System};

use crate::error::{Error, Result};

/// Memory that this process can still take, in bytes: what the machine has, and what the limit of its control group (a container's)
/// leaves. `None` where the system does not say.
pub fn available_memory() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let machine = Some(system.available_memory()).filter(|&bytes| bytes > 0);
    let own = Pid::from_u32(std::process::id());
    system.refresh_processes(ProcessesToUpdate::Some(&[own]), false);
    let limits = [system.cgroup_limits(), system.process(own).and_then(sysinfo::Process::cgroup_limits)];
    machine.into_iter().chain(limits.iter().flatten().map(left_by)).min()
}

/// What a limit leaves: its total less what is resident. The page cache, which counts against a limit too, is given back first.
fn left_by(limits: &CGroupLimits) -> u64 {
    limits.total_memory.saturating_sub(limits.rss)
}

/// The keys of a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct KeysHeld<'n> {
    pub(crate) name: &'n str,
    pub(crate) keys: usize,
    pub(crate) bytes: u64,
}

/// Keys that take less are not looked at.
const FIRST_LOOK: u64 = 1 << 28;

/// Looks at the keys while rows come: each time that they take a quarter more, whether what is left holds what deciding the
/// vocabularies takes, which is as much again; and once, whether it will when keys go on to come as they do now.
pub(crate) struct KeyMemory {
    /// Rows that there are, or seem to be.
    expected: Option<u64>,
    next_look: u64,
    /// Rows and bytes of the last look.
    last: (u64, u64),
    told: bool,
}

impl KeyMemory {
    pub(crate) fn new(expected: Option<u64>) -> Self {
        Self { expected, next_look: FIRST_LOOK, last: (0, 0), told: false }
    }

    /// After `rows` rows. A forecast that does not fit is returned once, as a note.
    ///
    /// # Errors
    /// [`Error::NoMemory`] where vocabularies of these keys can no longer be decided.
    pub(crate) fn look(
        &mut self,
        rows: u64,
        held: &[KeysHeld<'_>],
        available: impl FnOnce() -> Option<u64>,
    ) -> Result<Option<String>> {
        let bytes: u64 = held.iter().map(|keys| keys.bytes).sum();
        let Some(most) = held.iter().max_by_key(|keys| keys.bytes).filter(|_| bytes >= self.next_look) else {
            return Ok(None);
        };
        let (rows_before, bytes_before) = std::mem::replace(&mut self.last, (rows, bytes));
        self.next_look = bytes + bytes / 4;
        let Some(free) = available() else { return Ok(None) };
        let gb = |bytes: u64| bytes as f64 / 1e9;
        if bytes > free {
            let KeysHeld { name, keys, .. } = *most;
            let name = name.to_string();
            return Err(Error::NoMemory { rows, name, keys, held: gb(bytes), free: gb(free) });
        }
        let coming = self.expected.map_or(0, |all| all.saturating_sub(rows));
        let rate = (bytes - bytes_before) as f64 / (rows - rows_before).max(1) as f64;
        let all = bytes + (rate * coming as f64) as u64;
        if self.told || 2 * all <= bytes + free {
            return Ok(None);
        }
        self.told = true;
        Ok(Some(format!(
            "after {rows} rows the keys take {:.1} GB, most of them the {} of \"{}\"; if new ones go on to come as now, the {coming} rows that follow will need about {:.1} GB, and {:.1} GB are free: `hash = N` bounds a vocabulary",
            gb(bytes),
            most.keys,
            most.name,
            gb(2 * all - bytes),
            gb(free)
        )))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;

    fn held(bytes: u64) -> [KeysHeld<'static>; 2] {
        [KeysHeld { name: "user", keys: 3, bytes: 1 }, KeysHeld { name: "item", keys: 70_000_000, bytes }]
    }

    #[test]
    fn keys_that_fit_are_looked_at_rarely() {
        let mut memory = KeyMemory::new(None);
        assert_eq!(memory.look(9, &held(FIRST_LOOK - 2), || panic!("too few to ask")).unwrap(), None);
        assert_eq!(memory.look(10, &held(FIRST_LOOK), || Some(FIRST_LOOK + 1)).unwrap(), None);
        assert_eq!(memory.look(11, &held(FIRST_LOOK + FIRST_LOOK / 5), || panic!("not much more")).unwrap(), None);
        assert_eq!(memory.look(12, &held(2 * FIRST_LOOK), || None).unwrap(), None);
        assert_eq!(memory.look(12, &[], || panic!("no keys")).unwrap(), None);
    }

    #[test]
    fn keys_whose_vocabularies_could_not_be_decided_are_refused_with_what_takes_how_much() {
        let error = KeyMemory::new(Some(5)).look(1_000, &held(2 * GB), || Some(2 * GB)).unwrap_err();
        let begins = "after 1000 rows the keys take 2.0 GB, most of them the 70000000 of \"item\", and 2.0 GB are free";
        assert!(error.to_string().starts_with(begins), "{error}");
    }

    #[test]
    fn what_will_not_fit_if_keys_go_on_to_come_is_told_once_and_beforehand() {
        let mut memory = KeyMemory::new(Some(400));
        let note = memory.look(100, &held(GB - 1), || Some(6 * GB)).unwrap().unwrap();
        assert!(note.contains("the 300 rows that follow will need about 7.0 GB, and 6.0 GB are free"), "{note}");
        assert_eq!(memory.look(200, &held(2 * GB), || Some(5 * GB)).unwrap(), None);
        let mut rarer = KeyMemory::new(Some(400)); // keys that come more rarely now are not forecast from all rows
        assert_eq!(rarer.look(100, &held(GB - 1), || Some(7 * GB)).unwrap(), None);
        assert_eq!(rarer.look(200, &held(GB + GB / 4), || Some(3 * GB)).unwrap(), None);
    }

    #[test]
    fn a_control_group_leaves_what_is_not_resident_and_this_process_has_memory() {
        let limits = CGroupLimits { total_memory: 1000, free_memory: 10, free_swap: 0, rss: 300 };
        assert_eq!(left_by(&limits), 700);
        assert_eq!(left_by(&CGroupLimits { rss: 2000, ..limits }), 0);
        if cfg!(target_os = "linux") {
            assert!(available_memory().unwrap() > 1 << 20);
        }
    }
}
