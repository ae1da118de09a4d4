//! Everything that can go wrong between raw tables and batches: where, what was expected, what was found, what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::dataset::Split;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing wrong with a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line of the recipe, counted from 1.
    pub line: usize,
    /// What stands there, and what may.
    pub what: String,
}

/// One enum for the crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A recipe that cannot be followed; every fault that was found, in the order of the file.
    #[error("{}", faults.iter().map(|f| format!("{}:{}: {}", path.display(), f.line, f.what)).collect::<Vec<_>>().join("\n"))]
    Recipe {
        /// The recipe.
        path: PathBuf,
        /// At least one.
        faults: Vec<Fault>,
    },
    /// A file that could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// Read, write, open ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A source without rows.
    #[error("{} has no rows ({found})", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
        /// Zero bytes, or a header alone.
        found: &'static str,
    },
    /// A line with too few or too many values.
    #[error("{}:{line}: {found} values in a table of {expected} columns", path.display())]
    Ragged {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// Columns of the table.
        expected: usize,
        /// Values on the line.
        found: usize,
    },
    /// Bytes that are no UTF-8.
    #[error("{}:{line}: not valid UTF-8; convert the file first", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// A value in a source that is not of its column's type.
    #[error("{}:{line}: column '{column}': expected {expected}, found \"{found}\"; set `types` of this source if the column holds something else", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// The column.
        column: String,
        /// What the column holds, from its first rows or the recipe.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A value in the result of the SELECT that its field, label or split cannot take.
    #[error("column '{column}', row {row}: expected {expected}, found {found}")]
    Value {
        /// The column.
        column: String,
        /// Row of the SELECT's result, counted from 0.
        row: usize,
        /// What the column takes.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A split without rows.
    #[error("the {split} split is empty: {rows} rows in all, split by {by}")]
    EmptySplit {
        /// Which one.
        split: Split,
        /// Rows of all splits.
        rows: usize,
        /// How the recipe splits.
        by: String,
    },
    /// A folder that holds no encoded data set, or a damaged one.
    #[error("{} is not a usable data set: {what}", path.display())]
    Dataset {
        /// The folder or file.
        path: PathBuf,
        /// Which check failed: expected and found.
        what: String,
    },
    /// A text file with a stray quote.
    #[error("{}:{line}: a quote opened on this line is never closed: double it (\"\") inside a quoted value", path.display())]
    Quote {
        /// The file.
        path: PathBuf,
        /// Line the value starts on.
        line: usize,
    },
    /// A folder that holds something else and so is not overwritten.
    #[error("{} holds other files and no data set: name an empty or a new folder", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// Asked to stop before everything was encoded.
    #[error("stopped before {} was whole: what was there before is untouched, and the same call begins anew", path.display())]
    Stopped {
        /// The folder.
        path: PathBuf,
    },
    /// Settings no log can be simulated with.
    #[error("simulator: `{key}` is {found}, expected {expected}")]
    Simulator {
        /// The setting.
        key: &'static str,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// Polars stopped, and no line of a source explains why.
    #[error("the query failed: {what}")]
    Query {
        /// Its message.
        what: String,
    },
    /// The schema that came out is not one a model can use.
    #[error(transparent)]
    Core(#[from] stem_core::Error),
}

impl Error {
    /// For `map_err` on `std::io` results.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { action, path, source }
    }

    /// A message of Polars without its advice, which speaks of an API the reader does not use.
    pub(crate) fn query(error: impl fmt::Display) -> Error {
        Error::Query { what: error.to_string() }
    }
}
