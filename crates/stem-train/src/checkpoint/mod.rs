//! All that the next step of a training depends on, on disk: a training that was killed goes on from there, and ends with the same bits as
//! one that never stopped.
//!
//! | what | module |
//! |---|---|
//! | weights, the optimizer's state, and everything else of a training between two steps | `state` |
//! | one file of it, with a checksum | `file` |
//!
//! Random numbers need no state: the order of rows is that of seed and epoch, and what a step draws (dropout) is that of seed and step.

mod file;
mod state;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stem_core::files::{self, FileError};

pub(crate) use file::{Matrices, Written};
pub(crate) use state::Place;
pub(crate) use state::differences;
pub use state::settings;

use crate::error::{Error, Result, require};

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

    /// Asked after every step.
    pub(crate) fn is_due(&mut self, steps: usize) -> bool {
        match self.every {
            CheckpointEvery::Steps(every) => steps.is_multiple_of(every.max(1)),
            CheckpointEvery::Minutes(minutes) => {
                let is_due = self.last.elapsed() >= Duration::from_secs_f64(minutes * 60.0);
                if is_due {
                    self.last = Instant::now();
                }
                is_due
            }
        }
    }
}

/// Checkpoints that are kept: should the last one not be whole, there is the one before.
pub(crate) const KEPT: usize = 2;
const PREFIX: &str = "checkpoint-";
const SUFFIX: &str = ".safetensors";

/// The file of a checkpoint.
pub(crate) fn path(folder: &Path, steps: usize) -> PathBuf {
    folder.join(format!("{PREFIX}{steps}{SUFFIX}"))
}

/// The checkpoints in a folder, by steps, the last first.
pub(crate) fn list(folder: &Path) -> Result<Vec<(usize, PathBuf)>, FileError> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(folder).map_err(FileError::of("read", folder))? {
        let path = entry.map_err(FileError::of("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let steps = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX)).and_then(|n| n.parse().ok());
        found.extend(steps.map(|steps| (steps, path)));
    }
    found.sort_by_key(|(steps, _)| std::cmp::Reverse(*steps));
    Ok(found)
}

/// Removes all but the last ones; gives the steps of those that stay.
pub(crate) fn clean(folder: &Path, kept: usize) -> Result<Vec<usize>, FileError> {
    let all = list(folder)?;
    all.iter().skip(kept).try_for_each(|(_, path)| files::remove_file(path))?;
    Ok(all.iter().take(kept).map(|(steps, _)| *steps).collect())
}

/// The last checkpoint of a folder that is whole. One that is not is told, and the one before is taken.
///
/// # Errors
/// [`Error::OtherSettings`] where it is of another training.
pub(crate) fn newest(folder: &Path, settings: &serde_json::Value) -> Result<Option<Written>> {
    for (_, path) in list(folder)? {
        match Written::read(&path) {
            Ok(written) => {
                let differences = differences(&written.place.settings, settings);
                if differences.is_empty() {
                    return Ok(Some(written));
                }
                return Err(Error::OtherSettings { path, differences: differences.join("; ") });
            }
            Err(why) => tracing::warn!("{}: {why}; the checkpoint before it is taken, if there is one", path.display()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_due_by_steps_or_by_time() {
        let mut clock = Clock::start(CheckpointEvery::Steps(3));
        let due: Vec<usize> = (1..=7).filter(|&step| clock.is_due(step)).collect();
        assert_eq!(due, [3, 6]);
        let mut clock = Clock::start(CheckpointEvery::Minutes(1e-9));
        std::thread::sleep(Duration::from_millis(1));
        assert!(clock.is_due(1));
        assert!(!Clock::start(CheckpointEvery::Minutes(10.0)).is_due(5));
    }

    #[test]
    fn nonsense_is_refused() {
        for refused in [CheckpointEvery::Steps(0), CheckpointEvery::Minutes(0.0), CheckpointEvery::Minutes(f64::NAN)] {
            assert!(refused.check().unwrap_err().to_string().contains("`checkpoint_every` is"), "{refused:?}");
        }
        CheckpointEvery::Minutes(0.5).check().unwrap();
    }
}
