//! Everything that can go wrong while training: where, what was expected, what was found, what to do.

use stem_core::files::FileError;
use stem_core::lock::LockError;

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
    /// A file of the run that could not be written or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder that another training writes to.
    #[error(transparent)]
    Lock(#[from] LockError),
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
        /// Which weights of this training are in which file, or that there are none.
        saved: String,
    },
    /// A checkpoint of another training.
    #[error(
        "{} is of another training: {differences}. Give it the settings that it had, or leave `--resume` out to begin anew", path.display()
    )]
    OtherSettings {
        /// The checkpoint.
        path: std::path::PathBuf,
        /// What differs, one by one.
        differences: String,
    },
    /// A bundle that a training cannot start from.
    #[error("{} cannot be trained on: {what}", path.display())]
    Start {
        /// The bundle.
        path: std::path::PathBuf,
        /// Why.
        what: String,
    },
    /// A checkpoint that does not fit its own settings.
    #[error("{} cannot be gone on from: {what}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: std::path::PathBuf,
        /// Why.
        what: String,
    },
    /// Checkpoints, none of which a training can go on from. Nothing was removed.
    #[error(
        "none of the checkpoints in {} can be gone on from: {faults}. Nothing was removed: put back what is missing, or give up what was          trained until then by leaving `--resume` out, which begins anew (of a comparison or a replay, by removing that folder)",
        folder.display()
    )]
    NoneUsable {
        /// Where they are.
        folder: std::path::PathBuf,
        /// What is wrong with each, the last first.
        faults: String,
    },
    /// What keeps rank 0 from going on, as the others are told.
    #[error("rank 0: {0}")]
    First(String),
    /// A rank that trains something else than rank 0.
    #[error("rank {rank} is not of this training: {what}. Start all ranks with the same program, files and options")]
    Ranks {
        /// Which.
        rank: usize,
        /// What differs.
        what: String,
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
}

/// Refuses `found` under `key` unless the condition `holds`.
pub fn require(key: &'static str, found: impl ToString, expected: &'static str, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { key, found: found.to_string(), expected }) }
}
