//! Everything that can go wrong in a run, a search or a comparison. No message repeats its `source()`: print the chain.

use std::path::PathBuf;

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
    /// From `stem-train`.
    #[error(transparent)]
    Train(#[from] stem_train::Error),
    /// A file of the run that could not be written or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder that another training or comparison writes into.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An experiment or search file that does not parse.
    #[error("{}: {what}", path.display())]
    Experiment {
        /// The file.
        path: PathBuf,
        /// Line, key and expectation.
        what: String,
    },
    /// A setting of a comparison that no data could be compared by.
    #[error("comparison: `{key}` is {found}, expected {expected}")]
    Compare {
        /// The field of [`CompareConfig`](crate::CompareConfig).
        key: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// A setting that no log could be played again by.
    #[error("replay: `{key}` is {found}, expected {expected}")]
    Replay {
        /// The field of [`ReplayConfig`](crate::ReplayConfig).
        key: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// Data whose models cannot be compared.
    #[error("this data cannot be compared on: {what}; {remedy}")]
    Incomparable {
        /// What it lacks.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A search that cannot be made, or that would find nothing.
    #[error("search: {what}")]
    Search {
        /// What stands in the way, and what to do.
        what: String,
    },
    /// A configuration of a search that cannot be trained.
    #[error("search: {model} with {settings}")]
    Trial {
        /// The model.
        model: &'static str,
        /// What it was tried with.
        settings: String,
        /// Why not.
        source: Box<Error>,
    },
    /// Trainings at the same time that need more memory together than there is.
    #[error(
        "{jobs} trainings at the same time need about {needed:.1} GiB and this machine has {available:.1} GiB free: let fewer run at the same time"
    )]
    Memory {
        /// How many run at the same time.
        jobs: usize,
        /// GiB that the largest of them need together.
        needed: f64,
        /// GiB that are free.
        available: f64,
    },
    /// A folder with a finished run, which is not to be replaced.
    #[error(
        "{} holds {what}: name another folder, or allow this run to replace it (`RunOptions::overwrite`)", folder.display()
    )]
    Occupied {
        /// The folder.
        folder: PathBuf,
        /// What is in it: model and seed, as far as they are known.
        what: String,
    },
    /// A training whose end would replace what it starts from.
    #[error(
        "{} is what the training starts from, and would be replaced by it in {}: give another folder",
        start.display(), folder.display()
    )]
    ReplacesStart {
        /// The bundle or checkpoint.
        start: PathBuf,
        /// The folder of the training.
        folder: PathBuf,
    },
    /// A folder with a comparison, into which no single run is written.
    #[error("{} holds a comparison: name another folder for a single run", folder.display())]
    HoldsComparison {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder that a comparison cannot go on in.
    #[error(
        "{} {what}: name another folder, or allow this comparison to take it over (`RunOptions::overwrite`), which trains again \
         what differs", folder.display()
    )]
    OtherComparison {
        /// The folder.
        folder: PathBuf,
        /// What is in it.
        what: String,
    },
    /// Two bundles that cannot be compared on one table.
    #[error("the two bundles cannot be compared: {what}")]
    Unlike {
        /// What is not the same.
        what: String,
    },
    /// Several processes, and a file system on which none can keep others out of a run.
    #[error("{}: this file system has no locks, so that several processes cannot share out the runs of a comparison here: start one alone, or name another --out", folder.display())]
    NoLocks {
        /// Folder of the run.
        folder: PathBuf,
    },
    /// Stopped before every task of a single-task run was trained.
    #[error("stopped before task '{task}' was trained; the tasks done are in {}, no bundle of them all was written", folder.display())]
    Interrupted {
        /// The first task without weights.
        task: String,
        /// Folder of the run.
        folder: PathBuf,
    },
    /// A run of a comparison that failed. Every other run was tried.
    #[error(
        "{model} with seed {seed} failed; the other runs were tried, and those that were trained are kept. Mend this, or compare without {model}"
    )]
    Run {
        /// The model.
        model: &'static str,
        /// The seed.
        seed: u64,
        /// What went wrong.
        source: Box<Error>,
    },
    /// A finished run of a comparison whose bundle does not open.
    #[error("the finished run in {} cannot be used: remove that folder to have it trained again", folder.display())]
    Damaged {
        /// Folder of the run.
        folder: PathBuf,
        /// What is wrong with its bundle.
        source: stem_core::Error,
    },
    /// Asked to stop before the end of a comparison.
    #[error("stopped: {done} of {all} {what} are done and kept in {}; the same comparison goes on from there", folder.display())]
    Stopped {
        /// Runs, trainings of a search ...
        what: &'static str,
        /// How many are finished.
        done: usize,
        /// How many there are.
        all: usize,
        /// Folder of the comparison.
        folder: PathBuf,
    },
    /// A line of a run's log that does not parse.
    #[error("{}, line {line} cannot be read: train the model again, or remove the folder", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The parser's reason.
        source: serde_json::Error,
    },
}
