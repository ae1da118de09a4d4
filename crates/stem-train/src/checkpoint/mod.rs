//! All that the next step of a training depends on, on disk: a training that was killed goes on from there, and ends with the same bits as
//! one that never stopped.
//!
//! | what | module |
//! |---|---|
//! | weights, the optimizer's state, and everything else of a training between two steps | `state` |
//! | one file of it, with a checksum: written, and read | `file`, `read` |
//! | a file with all that it is on top of | `chain` |
//! | the rows that have changed since the last one | `changed` |
//! | which files are there, which belong together, which is of use, which go | `folder` |
//! | writing beside the training | `writer` |
//! | the same file of a training over several ranks | `over_ranks` |
//!
//! Of a large table a checkpoint holds the rows that have changed since the one before, and is *on top of* it: its name says so,
//! `checkpoint-200-on-100`, and it has the checksum of what it is on top of. Where they have become many, the next one is whole again.
//!
//! Random numbers need no state: the order of rows is that of seed and epoch, and what a step draws (dropout) is that of seed and step.

mod changed;
mod file;
mod read;
mod chain;
mod folder;
mod over_ranks;
mod snapshot;
mod state;
mod writer;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub(crate) use chain::{Chain, Large, Put, Small, Source, Values};
pub(crate) use file::Matrices;
pub(crate) use folder::{at, clear, folder_of, known, last, newest};
pub(crate) use over_ranks::{Dealt, Head, Said};
pub(crate) use read::{Unusable, is_checkpoint};
pub(crate) use snapshot::Change;
pub use state::settings;
pub(crate) use state::{Base, Place, differences, different, keys_of};
pub(crate) use writer::{Checkpoints, Plan};

use crate::error::{Result, require};

/// How often a training writes what it needs to go on.
///
/// ```toml
/// checkpoint_every = { steps = 1000 }
/// checkpoint_every = { minutes = 5 }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", expecting = "a table like { steps = 1000 } or { minutes = 5 }")]
pub enum CheckpointEvery {
    /// After so many steps, counted from the start of the training.
    Steps(usize),
    /// After such a time.
    Minutes(f64),
}

impl CheckpointEvery {
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Steps(steps) => require("checkpoint_every", steps, "1 step or more", steps >= 1),
            Self::Minutes(minutes) => {
                let holds = minutes.is_finite() && minutes > 0.0;
                require("checkpoint_every", minutes, "a number of minutes above 0", holds)
            }
        }
    }
}

/// When the next checkpoint is due.
#[derive(Debug)]
pub(crate) struct Clock {
    every: CheckpointEvery,
    last: Instant,
}

impl Clock {
    pub(crate) fn start(every: CheckpointEvery) -> Self {
        Self { every, last: Instant::now() }
    }

    /// Whether it is by the number of steps, which all ranks know.
    pub(crate) fn is_due_by_steps(&self, steps: usize) -> bool {
        matches!(self.every, CheckpointEvery::Steps(every) if steps.is_multiple_of(every.max(1)))
    }

    /// Whether it is by the time since it was last.
    pub(crate) fn is_due_by_time(&mut self) -> bool {
        let CheckpointEvery::Minutes(minutes) = self.every else { return false };
        let is_due = self.last.elapsed() >= Duration::from_secs_f64(minutes * 60.0);
        if is_due {
            self.last = Instant::now();
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_due_by_steps_or_by_time() {
        let mut clock = Clock::start(CheckpointEvery::Steps(3));
        assert!(!clock.is_due_by_time());
        let due: Vec<usize> = (1..=7).filter(|&step| clock.is_due_by_steps(step)).collect();
        assert_eq!(due, [3, 6]);
        let mut clock = Clock::start(CheckpointEvery::Minutes(1e-9));
        std::thread::sleep(Duration::from_millis(1));
        assert!(clock.is_due_by_time() && !clock.is_due_by_steps(1));
        assert!(!Clock::start(CheckpointEvery::Minutes(10.0)).is_due_by_time());
    }

    #[test]
    fn nonsense_is_refused() {
        for refused in [CheckpointEvery::Steps(0), CheckpointEvery::Minutes(0.0), CheckpointEvery::Minutes(f64::NAN)] {
            assert!(refused.check().unwrap_err().to_string().contains("`checkpoint_every` is"), "{refused:?}");
        }
        CheckpointEvery::Minutes(0.5).check().unwrap();
    }
}
