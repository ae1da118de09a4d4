//! Everything that can go wrong while training, told to the reader.

use std::path::PathBuf;

use stem_core::ModelName;

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
    /// An experiment file that does not parse.
    #[error("{}: {what}", path.display())]
    Experiment {
        /// The file.
        path: PathBuf,
        /// Line, key and expectation.
        what: String,
    },
    /// A setting that no training can use.
    #[error("training configuration: `{key}` is {found}, expected {expected}")]
    Config {
        /// The key as written in the experiment.
        key: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// The loss left the numbers.
    #[error(
        "the loss of task '{task}' is {value} by step {step} (epoch {epoch}); {saved}. Try a lower learning_rate, or look for outliers among the numbers"
    )]
    NotFinite {
        /// Task whose loss it is.
        task: String,
        /// NaN or infinity.
        value: f32,
        /// Steps since the start, counted from 1.
        step: usize,
        /// Epoch, counted from 1.
        epoch: usize,
        /// Where the last good weights are.
        saved: String,
    },
    /// Stopped before every task of a single-task run was trained.
    #[error("stopped before task '{task}' was trained; the tasks done are in {}, no bundle of them all was written", folder.display())]
    Interrupted {
        /// The first task without weights.
        task: String,
        /// Folder of the run.
        folder: PathBuf,
    },
    /// More memory than the machine has.
    #[error(
        "training needs about {needed} and this machine has {available} free: {detail}. Lower what takes most: widths of embeddings or layers, the batch size, or the vocabulary (raise min_count)"
    )]
    Memory {
        /// Needed, with unit.
        needed: String,
        /// Free, with unit.
        available: String,
        /// What takes how much.
        detail: String,
    },
    /// A file of the run that could not be written or read.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// Write, read ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
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
    /// A checkpoint or its configuration that cannot become a bundle.
    #[error("{}: {what}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// What is missing, left over or refused, and what to do.
        what: String,
    },
    /// A parity fixture that cannot be followed.
    #[error("{}: {what}", path.display())]
    Fixture {
        /// The file.
        path: PathBuf,
        /// What is missing or contradictory.
        what: String,
    },
}

/// Refuses `found` under `key` unless the condition `holds`.
pub(crate) fn require(key: &'static str, found: impl ToString, expected: &'static str, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { key, found: found.to_string(), expected }) }
}
