//! Everything that can go wrong between raw tables and batches: where, what was expected, what was found, what to do.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use stem_core::files::FileError;
use stem_core::lock::LockError;

use crate::split::Split;

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

/// Where in a file a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a text file: the line, counted from 1.
    Line(usize),
    /// In another one: the row, counted from 0.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, ":{line}"),
            Self::Row(row) => write!(f, ", row {row} (counted from 0)"),
        }
    }
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
    #[error(transparent)]
    File(#[from] FileError),
    /// A scratch folder that could not be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The stop flag was set; what was there before still stands, and nothing else is left.
    #[error("stopped before the data were prepared; nothing was written")]
    Stopped,
    /// A rank that reads something else than rank 0.
    #[error("rank {rank} is not of this preparation: {what}. Start all ranks with the same program, files and options")]
    Ranks {
        /// Which.
        rank: usize,
        /// What differs.
        what: String,
    },
    /// A disk that has no room for what a preparation writes.
    #[error(
        "{}: about {rows} rows take about {needed:.1} GB while they are encoded, and {free:.1} GB are free: name a folder on another disk, or read fewer rows (WHERE in the sql)",
        path.display()
    )]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// Rows that there are, or seem to be.
        rows: u64,
        /// What they take, in GB (1e9 bytes).
        needed: f64,
        /// What is free, in GB.
        free: f64,
    },
    /// Keys that leave no memory to decide the vocabularies in.
    #[error(
        "after {rows} rows the keys take {held:.1} GB, most of them the {keys} of \"{name}\", and {free:.1} GB are free: as much again is needed; give its field `hash = N` (its vocabulary has N rows then, however many keys there are), leave it out, or read fewer rows (WHERE in the sql)"
    )]
    NoMemory {
        /// Rows that had come.
        rows: u64,
        /// The vocabulary with the most.
        name: String,
        /// Its keys.
        keys: usize,
        /// What all keys take, in GB (1e9 bytes).
        held: f64,
        /// What is free, in GB.
        free: f64,
    },
    /// A column that rows are to be cut by, with too many values for that.
    #[error(
        "column '{column}' has more than {most} values, too many to measure each: cut it in the sql, for instance FLOOR({column} / 10) AS slice"
    )]
    Slices {
        /// The column.
        column: String,
        /// Values that are told apart.
        most: usize,
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
    /// A line without values among others.
    #[error("{}:{line}: a blank line among the rows of a table of several columns: remove it, for readers take it for a row of nulls", path.display())]
    Blank {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// Bytes that are no UTF-8.
    #[error("{}:{line}: not valid UTF-8; if the file is written in another encoding, name it: `encoding = \"latin1\"`, \"windows-1252\", \"gbk\", ...", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// A line that is no JSON object.
    #[error("{}:{line}: expected one JSON object a line: {what}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What it is.
        what: String,
    },
    /// A value in a source that is not of its column's type.
    #[error("{}:{line}: column '{column}': expected {expected}, found \"{found}\"; {}add `types = {{ {column} = \"{}\" }}` to this source if the column holds that, or `null_values = [\"{found}\"]` if it stands for nothing", path.display(), if *given { "the recipe's `types` say so: " } else { "the first rows say so: " }, reads(expected, found))]
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
        /// Whether the recipe says the type.
        given: bool,
    },
    /// A file that cannot be read as the recipe says.
    #[error("{}: {what}", path.display())]
    Source {
        /// The file, or the folder that was searched.
        path: PathBuf,
        /// What it is, and what to do.
        what: String,
    },
    /// A value of a source that its field, label or split cannot take.
    #[error("{}{place}: column {column}: expected {expected}, found {found}", path.display())]
    ValueAt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// The column in quotes, as the file and the SELECT call it.
        column: String,
        /// What the column takes.
        expected: Cow<'static, str>,
        /// What stands there.
        found: String,
    },
    /// A value that its field, label or split cannot take, in a row that is not traced back to a file.
    #[error("column '{column}', row {row}: expected {expected}, found {found}")]
    Value {
        /// The column.
        column: String,
        /// Row of the SELECT's result, or of a chunk that is scored, counted from 0.
        row: usize,
        /// What the column takes.
        expected: Cow<'static, str>,
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
    #[error("{}:{line}: a quote {what}; if quotes are letters here, say so: `quote = \"none\"`; if a backslash stands before quotes within quotes: `escape = \"\\\\\"`", path.display())]
    Quote {
        /// The file.
        path: PathBuf,
        /// Line it stands on.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A folder that holds something else and so is not overwritten.
    #[error("{} holds other files and no data set: name an empty or a new folder", path.display())]
    Occupied {
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

/// The type of a recipe that takes a value.
fn reads(expected: &str, found: &str) -> &'static str {
    if expected == "an integer" && found.parse::<f64>().is_ok_and(f64::is_finite) { "float" } else { "text" }
}

impl Error {
    /// A value that its field, label or split cannot take.
    pub(crate) fn value(column: &str, row: usize, expected: impl Into<Cow<'static, str>>, found: String) -> Error {
        Error::Value { column: column.into(), row, expected: expected.into(), found }
    }

    /// A message of Polars without its advice, which speaks of an API the reader does not use.
    pub(crate) fn query(error: impl fmt::Display) -> Error {
        Error::Query { what: error.to_string() }
    }
}
