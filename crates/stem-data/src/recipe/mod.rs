//! What a data set is made of, in one TOML file: sources, one SQL SELECT over them, fields, labels and the split.
//!
//! A recipe is read in one go: every fault is reported together, with file and line, and an unknown key is a fault.

mod section;
mod read;
mod check;

pub(crate) use section::nearest;

use std::path::{Path, PathBuf};

use stem_core::{Pooling, Value, files};

use crate::error::{Error, Fault, Result};
use crate::simulator::SimulatorConfig;

/// A recipe that was read and checked.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Name of the data set.
    pub name: String,
    /// The SELECT; without it all columns of the one source.
    pub sql: Option<String>,
    /// Column whose values group rows for gAUC.
    pub group: Option<String>,
    /// Tables that the SELECT may name.
    pub sources: Vec<Source>,
    /// `F` features.
    pub fields: Vec<FieldRecipe>,
    /// `T` labels.
    pub labels: Vec<LabelRecipe>,
    /// Which rows are trained on, validated and tested.
    pub split: SplitRecipe,
    /// A log that is simulated when the source's file is not there.
    pub simulator: Option<SimulatorConfig>,
    /// File it was read from, for messages.
    pub path: PathBuf,
    /// Its text, which decides with the inputs whether an encoded data set is up to date.
    pub text: String,
    /// Lines of the keys that are checked only when the columns are known.
    pub(crate) lines: Lines,
}

/// Where the recipe says what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    pub(crate) sql: usize,
    pub(crate) group: usize,
    pub(crate) split: usize,
}

/// One raw table.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in the SELECT.
    pub name: String,
    /// Its file, relative to the data folder.
    pub file: PathBuf,
    /// How the file is written.
    pub format: Format,
    /// Column names of a file without a header.
    pub columns: Option<Vec<String>>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// Types that are not left to the first rows.
    pub types: Vec<(String, ColumnType)>,
    /// Line in the recipe.
    pub line: usize,
}

/// How a source is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text, one row a line, values between separators.
    Text {
        /// Usually `,` or a tab.
        separator: u8,
    },
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC (Feather).
    Ipc,
}

/// Type of a column of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// 64-bit integer.
    Integer,
    /// 64-bit float.
    Float,
    /// UTF-8 text.
    Text,
}

/// One feature.
#[derive(Debug, Clone)]
pub struct FieldRecipe {
    /// Column of the SELECT.
    pub column: String,
    /// Category, sequence or number.
    pub kind: Kind,
    /// Values seen less often in the training split count as unseen.
    pub min_count: usize,
    /// Vocabulary it shares with the fields that name the same.
    pub vocabulary: Option<String>,
    /// Cuts a text into the values of a sequence.
    pub separator: Option<String>,
    /// Stands in for null.
    pub default: Option<Value>,
    /// Line in the recipe.
    pub line: usize,
}

/// What a feature holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// One value.
    Category,
    /// Several values.
    Sequence {
        /// Of longer lists the first values are kept.
        max_len: usize,
        /// Mean or sum.
        pooling: Pooling,
    },
    /// A number.
    Number {
        /// Whether mean and standard deviation of the training split are taken out.
        standardize: bool,
    },
}

/// One kind of feedback.
#[derive(Debug, Clone)]
pub struct LabelRecipe {
    /// Column of the SELECT: 0, 1 or null (missing).
    pub column: String,
    /// Where this other label is not 1, the label counts as missing.
    pub within: Option<String>,
    /// Line in the recipe.
    pub line: usize,
}

/// How rows fall into training, validation and test.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitRecipe {
    /// A column says it.
    Column {
        /// The column.
        column: String,
        /// Its value for each of train, valid and test; rows with another value are left out.
        values: [String; 3],
    },
    /// Each row by a draw of its own.
    Random {
        /// Share of the validation split.
        valid: f64,
        /// Share of the test split.
        test: f64,
        /// The same seed splits the same rows the same way.
        seed: u64,
    },
    /// The latest rows are tested on, those before them validated on.
    Time {
        /// A number, date or time.
        column: String,
        /// Share of the validation split.
        valid: f64,
        /// Share of the test split.
        test: f64,
    },
    /// The last rows of each user are tested on, those before them validated on.
    Last {
        /// The user.
        column: String,
        /// A number, date or time.
        order: String,
        /// Rows a user for validation.
        valid: usize,
        /// Rows a user for test.
        test: usize,
    },
}

impl FieldRecipe {
    /// Slots that one row of a batch spends on this field.
    pub(crate) fn slots(&self) -> usize {
        match self.kind {
            Kind::Sequence { max_len, .. } => max_len,
            Kind::Category | Kind::Number { .. } => 1,
        }
    }
}

impl SplitRecipe {
    /// In words, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            SplitRecipe::Column { column, values } => {
                format!("column '{column}' (\"{}\", \"{}\", \"{}\")", values[0], values[1], values[2])
            }
            SplitRecipe::Random { valid, test, .. } => format!("chance (valid {valid}, test {test})"),
            SplitRecipe::Time { column, valid, test } => format!("time '{column}' (valid {valid}, test {test})"),
            SplitRecipe::Last { column, valid, test, .. } => {
                format!("the last rows of each '{column}' (valid {valid}, test {test})")
            }
        }
    }
}

impl Recipe {
    /// First slot of each field, and `S`.
    pub(crate) fn slot_starts(&self) -> (Vec<usize>, usize) {
        let mut next = 0;
        let start = |field: &FieldRecipe| {
            next += field.slots();
            next - field.slots()
        };
        (self.fields.iter().map(start).collect(), self.fields.iter().map(FieldRecipe::slots).sum())
    }

    /// Reads a recipe from a file.
    ///
    /// # Errors
    /// [`Error::File`], or [`Error::Recipe`] with every fault.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = files::read(path)?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&text, path),
            Err(error) => {
                let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                Err(Error::Utf8 { path: path.into(), line: 1 + valid.iter().filter(|&&b| b == b'\n').count() })
            }
        }
    }

    /// Reads a recipe from a text; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Recipe`] with every fault.
    pub fn parse(text: &str, path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let refuse = |mut faults: Vec<Fault>| {
            faults.sort_by_key(|fault| fault.line);
            Err(Error::Recipe { path: path.clone(), faults })
        };
        let (recipe, mut faults) = read::read(text, &path);
        let Some(recipe) = recipe else { return refuse(faults) };
        check::check(&recipe, &mut faults);
        if faults.is_empty() { Ok(recipe) } else { refuse(faults) }
    }
}
