//! What a data set is made of, in one TOML file: sources, one SQL SELECT over them, fields, labels and the split.
//!
//! A recipe is read in one go: every fault is reported together, with file and line, and an unknown key is a fault.

mod section;
mod field;
mod label;
mod read;
mod check;

pub(crate) use section::nearest;

use std::path::{Path, PathBuf};

pub use label::{Feedback, LabelRecipe, Mature};
pub use stem_core::ColumnType;
use stem_core::{Keep, Pooling, Transform, Value, files};
use stem_report::analysis::Metric;

use crate::error::{Error, Fault, Result};
use crate::simulator::SimulatorConfig;
use crate::split::Split;

/// A recipe that was read and checked.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Name of the data set.
    pub name: String,
    /// The SELECT; without it all columns of the one source.
    pub sql: Option<String>,
    /// Column whose values group rows for gAUC.
    pub group: Option<String>,
    /// Column that says how much a row counts, in losses and metrics; all alike without it.
    pub weight: Option<String>,
    /// Tables that the SELECT may name.
    pub sources: Vec<Source>,
    /// `F` features.
    pub fields: Vec<FieldRecipe>,
    /// Fields that are known before the feedback, though the data or the SELECT look as if they were not.
    pub allow_leak: Vec<String>,
    /// `T` labels.
    pub labels: Vec<LabelRecipe>,
    /// Which rows are trained on, validated and tested.
    pub split: SplitRecipe,
    /// What a comparison of models is decided by; AUC without it.
    pub verdict: Option<Metric>,
    /// How vocabularies grow where a model is trained on from an earlier one.
    pub grow: Growth,
    /// A log that is simulated when the first source's file is not there.
    pub simulator: Option<SimulatorConfig>,
    /// File it was read from, for messages.
    pub path: PathBuf,
    /// Its text, which decides with the inputs whether an encoded data set is up to date.
    pub text: String,
    /// Columns by whose values a measurement is cut; no key of a recipe.
    pub(crate) slices: Vec<String>,
    /// Lines of the keys that are checked only when the columns are known.
    pub(crate) lines: Lines,
}

/// How the vocabularies of a model change where it is trained on with rows of a later day: `[grow]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Growth {
    /// A key that the model does not know is taken in when it occurs so often in the training rows; without it as often as its field's
    /// `min_count` says.
    pub admit_after: Option<usize>,
    /// A key that has not occurred in so many trainings in a row is forgotten; without it none is.
    pub evict_after: Option<usize>,
    /// Rows of a vocabulary at most, those of padding and the unseen included: beyond them the keys go that have not occurred for the
    /// longest, of those the rarest in the training rows.
    pub max_rows: Option<usize>,
}

/// Where the recipe says what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    pub(crate) sql: usize,
    pub(crate) group: usize,
    pub(crate) weight: usize,
    pub(crate) split: usize,
    pub(crate) allow_leak: usize,
    pub(crate) verdict: usize,
    /// Whether the split is another than the text says.
    pub(crate) split_again: bool,
}

/// One raw table: one file, or many that are read as one.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Its name in the SELECT.
    pub name: String,
    /// Its files, folders of files and patterns (`log/day=*/part-*.parquet`), relative to the data folder.
    pub files: Vec<String>,
    /// For each of `files` the split that its rows belong to, where the recipe lists them by split; empty otherwise.
    pub splits: Vec<Split>,
    /// How the files are written; without it their names tell it.
    pub format: Option<Format>,
    /// How text is written.
    pub dialect: Dialect,
    /// Column names of text without a header.
    pub columns: Option<Vec<String>>,
    /// Whether the first line of text names the columns.
    pub header: bool,
    /// Types that are not left to the first rows.
    pub types: Vec<(String, ColumnType)>,
    /// Line in the recipe.
    pub line: usize,
}

/// How a source is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text, one row a line, values between commas.
    Csv,
    /// The same between tabs.
    Tsv,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC (Feather).
    Ipc,
}

impl Format {
    /// What the end of a file's name says; `.gz` and `.zst` after it are passed over.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let packed = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end));
        match packed.unwrap_or(&name).rsplit_once('.')?.1 {
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "parquet" | "pq" => Some(Self::Parquet),
            "ipc" | "arrow" | "feather" => Some(Self::Ipc),
            _ => None,
        }
    }

    /// Whether it is text.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv)
    }
}

/// How a text table is written. What is `None` is as usual: see the field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Between two values, one character or several; a comma or a tab, by the format.
    pub separator: Option<String>,
    /// Round values that hold separators, quotes and ends of lines; `"` in CSV, and in TSV where the header is quoted.
    pub quote: Option<Quote>,
    /// Before a quote within quotes; a quote is doubled there otherwise.
    pub escape: Option<u8>,
    /// Texts that stand for null, besides the empty one.
    pub null_values: Vec<String>,
    /// Name of the encoding, as the web knows it (`latin1`, `utf-16le`, `gbk`, ...); UTF-8 otherwise.
    pub encoding: Option<String>,
}

/// What a quote is in a text table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// A letter like any other: no value is quoted.
    None,
    /// This character.
    Character(u8),
}

/// One feature.
#[derive(Debug, Clone)]
pub struct FieldRecipe {
    /// Its name, by default that of its column.
    pub name: String,
    /// Column of the SELECT; several are crossed.
    pub columns: Vec<String>,
    /// Category, sequence, number or vector.
    pub kind: Kind,
    /// What is done to each value, after the cross and before quantiles.
    pub transforms: Vec<Transform>,
    /// Cut into so many buckets of about as many training rows each.
    pub quantiles: Option<usize>,
    /// Hashed into so many buckets, instead of a vocabulary of known keys.
    pub hash: Option<usize>,
    /// Values seen less often in the training split count as unseen.
    pub min_count: usize,
    /// Vocabulary it shares with the fields that name the same.
    pub vocabulary: Option<String>,
    /// Cuts a text into the values of a sequence.
    pub separator: Option<String>,
    /// Stands in for null.
    pub default: Option<Value>,
    /// The sequence that it has a value for each value of: how long before the row that was.
    pub beside: Option<String>,
    /// Where vectors are that the rows of its vocabulary start from.
    pub vectors: Option<VectorTable>,
    /// Line in the recipe.
    pub line: usize,
}

/// A table with a vector for each key: `vectors = { file = "videos.parquet", column = "vector" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorTable {
    /// A file, a folder of files or a pattern, relative to the data folder, in a format that its name tells
    /// ([`TableFormat`](crate::TableFormat)).
    pub file: String,
    /// Column of the keys.
    pub key: String,
    /// Column of the vectors: lists of numbers, all as long.
    pub column: String,
    /// Cuts a text into the numbers of a vector.
    pub separator: Option<String>,
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
        /// So many values are kept of longer lists. A limit that no list reaches costs nothing.
        max_len: usize,
        /// Mean or sum.
        pooling: Pooling,
        /// Which values of longer lists are kept.
        keep: Keep,
    },
    /// A number.
    Number {
        /// Whether mean and standard deviation of the training split are taken out.
        standardize: bool,
    },
    /// So many numbers.
    Vector {
        /// How many.
        len: usize,
    },
}

impl FieldRecipe {
    /// Whether its values are keys as they stand in its columns.
    pub(crate) fn is_keyed(&self) -> bool {
        let becomes = |step: &Transform| matches!(step, Transform::Bucketize { .. } | Transform::Time { .. });
        self.numbers() == 0 && !self.transforms.iter().any(becomes)
    }

    /// How many numbers of a row are gathered for it; 0 for a field with keys.
    pub(crate) fn numbers(&self) -> usize {
        match self.kind {
            Kind::Vector { len } => len,
            Kind::Number { .. } => 1,
            Kind::Category | Kind::Sequence { .. } => usize::from(self.quantiles.is_some()),
        }
    }

    /// The vocabulary that its keys are in.
    pub(crate) fn vocabulary(&self) -> &str {
        self.vocabulary.as_deref().unwrap_or(&self.name)
    }
}

/// The column that a source has whose files are listed by split.
pub(crate) const SPLIT_OF_FILES: &str = "split";

/// How rows fall into training, validation and test.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitRecipe {
    /// A column says it.
    Column {
        /// The column.
        column: String,
        /// Its value for each of train, valid and test; rows with another value are left out.
        values: [String; 3],
        /// Which of the values the recipe names; the others are `train`, `valid` and `test`.
        named: [bool; 3],
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
    /// Each value of a column by a hash of it (XXH3, 64 bits): rows of one user stay together.
    Hash {
        /// The column.
        column: String,
        /// Share of the values that are validated on.
        valid: f64,
        /// Share of the values that are tested on.
        test: f64,
        /// Another seed splits otherwise.
        seed: u64,
    },
    /// The latest rows are tested on, those before them validated on. Rows of one time stay together.
    Time {
        /// A number, date or time.
        column: String,
        /// Share of the validation split.
        valid: f64,
        /// Share of the test split.
        test: f64,
    },
    /// By lists of a column's values; rows with another value are left out. No key of a recipe: it is for programs that go from day to day,
    /// with [`Recipe::with_split`].
    Days {
        /// The column.
        column: String,
        /// Values of rows that were trained on before. Of them only those take part, and only for those of their labels, whose labels have become
        /// known since ([`Mature`](crate::Mature)): they were not by the newest row of these values, and are by the newest of those that are
        /// trained on.
        before: Vec<String>,
        /// Values of rows that are trained on, but for a share of them. A label that arrives late is known by the newest row of these values.
        train: Vec<String>,
        /// The share of the rows of these values that is validated on, each row by a draw of its own.
        valid: f64,
        /// Values of rows that are tested on. A label that arrives late is known by the newest row of all.
        test: Vec<String>,
        /// The same seed validates on the same rows.
        seed: u64,
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

impl SplitRecipe {
    /// In words, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            SplitRecipe::Column { column, values, .. } => {
                format!("column '{column}' (\"{}\", \"{}\", \"{}\")", values[0], values[1], values[2])
            }
            SplitRecipe::Random { valid, test, .. } => format!("chance (valid {valid}, test {test})"),
            SplitRecipe::Hash { column, valid, test, .. } => format!("hash of '{column}' (valid {valid}, test {test})"),
            SplitRecipe::Time { column, valid, test } => format!("time '{column}' (valid {valid}, test {test})"),
            SplitRecipe::Days { column, train, test, .. } => {
                format!("'{column}' (train {}, test {})", train.join(", "), test.join(", "))
            }
            SplitRecipe::Last { column, valid, test, .. } => {
                format!("the last rows of each '{column}' (valid {valid}, test {test})")
            }
        }
    }
}

impl Recipe {
    /// What the recipe says, without its layout and comments: equal for two that mean the same.
    pub(crate) fn meaning(&self) -> String {
        let table = toml::from_str::<toml::Table>(&self.text).map(|mut table| {
            table.remove("verdict"); // it reads the columns, and makes none of them
            for label in table.get_mut("label").and_then(|labels| labels.as_array_mut()).into_iter().flatten() {
                label.as_table_mut().map(|label| label.remove("metric")); // as well
            }
            table.remove("grow"); // it changes what was made for an earlier model, whose key holds it
            table.to_string()
        });
        table.unwrap_or_else(|_| self.text.clone())
    }

    /// The same recipe with its rows split otherwise.
    #[must_use]
    pub fn with_split(self, split: SplitRecipe) -> Self {
        let lines = Lines { split_again: true, ..self.lines };
        Self { split, lines, ..self }
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
                let line = 1 + valid.iter().filter(|&&b| b == b'\n').count();
                let faults = vec![Fault { line, what: "not valid UTF-8: save the recipe as UTF-8".into() }];
                Err(Error::Recipe { path: path.into(), faults })
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
