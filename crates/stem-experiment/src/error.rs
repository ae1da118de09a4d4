//! Everything that can go wrong in a run, a search or a comparison, told to the reader.

use std::path::PathBuf;

use stem_core::ModelName;
use stem_core::files::FileError;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One enum for the crate; the crates below pass through.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// From `stem-core`.
    #[error(transparent)]
    Core(#[from] stem_core::Error),
    /// From `stem-data`.
    #[error(transparent)]
    Data(#[from] stem_data::Error),
    /// From `stem-train`.
    #[error(transparent)]
    Train(#[from] stem_train::Error),
    /// A file of the run that could not be written or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// An experiment file that does not parse.
    #[error("{}: {what}", path.display())]
    Experiment {
        /// The file.
        path: PathBuf,
        /// Line, key and expectation.
        what: String,
    },
    /// Stopped before every task of a single-task run was trained.
    #[error("stopped before task '{task}' was trained; the tasks done are in {}, no bundle of them all was written", folder.display())]
    Interrupted {
        /// The first task without weights.
        task: String,
        /// Folder of the run.
        folder: PathBuf,
    },
    /// A comparison that cannot be made.
    #[error("{what}")]
    Comparison {
        /// What stands in the way, and what to do.
        what: String,
    },
    /// A folder that holds something else.
    #[error("{} {what}: name another folder, or take it over by force, which trains again what differs (--force)", folder.display())]
    OtherComparison {
        /// The folder.
        folder: PathBuf,
        /// What is in it.
        what: String,
    },
    /// A run of a comparison that failed.
    #[error(
        "{model} with seed {seed}: {source}. Every other run was tried, and those that could be trained are kept. Leave {model} out; or mend this, and use another folder, or this one by force (--force)"
    )]
    Run {
        /// The model.
        model: ModelName,
        /// The seed.
        seed: u64,
        /// What went wrong.
        source: Box<Error>,
    },
    /// Asked to stop before the end of a comparison.
    #[error("stopped: {done} of {all} {what} are done and kept in {}; the same command goes on from there", folder.display())]
    Stopped {
        /// Runs, trials ...
        what: &'static str,
        /// How many are finished.
        done: usize,
        /// How many there are.
        all: usize,
        /// Folder of the comparison.
        folder: PathBuf,
    },
    /// A line of a run's log that does not parse.
    #[error("{}, line {line}: {what}; train the model again, or remove the folder", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The parser's reason.
        what: serde_json::Error,
    },
}
