//! Everything that can go wrong between the reference's files and ours, told to the reader.

use std::path::PathBuf;

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
    /// A file that could not be read.
    #[error(transparent)]
    File(#[from] FileError),
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
