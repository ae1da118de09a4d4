//! What the page of a data set shows, as plain data. Arrays of three are training, validation and test.

/// An encoded data set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataReport {
    /// Its name.
    pub name: String,
    /// Facts before all others, with their names: where it lies, what it was made of.
    pub facts: Vec<(String, String)>,
    /// Rows.
    pub rows: [u64; 3],
    /// Its labels.
    pub tasks: Vec<DataTask>,
    /// Its features.
    pub fields: Vec<DataField>,
    /// Values of features, those of numbers left out.
    pub vocabularies: Vec<DataVocabulary>,
    /// Column of the groups (users), and what there is of them.
    pub groups: Option<(String, [Shared; 3])>,
    /// Days that have rows, in the order of time.
    pub days: Vec<DataDay>,
    /// Rows that are there more than once, in words.
    pub copies: String,
    /// What is odd, in words.
    pub warnings: Vec<String>,
    /// Fields that the recipe lets past the search for leaks.
    pub allow_leak: Vec<String>,
}

/// A label.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataTask {
    /// Its name.
    pub name: String,
    /// The label that must be 1 for this one to count.
    pub within: Option<String>,
    /// Rows that have the label.
    pub labelled: [u64; 3],
    /// Rows with label 1.
    pub positives: [u64; 3],
}

/// A feature.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataField {
    /// Its name.
    pub name: String,
    /// What it is, in words.
    pub kind: String,
    /// Share of rows without a value.
    pub nulls: [Option<f64>; 3],
    /// Share of values that the vocabulary does not know; `None` for a number.
    pub unseen: Option<[Option<f64>; 3]>,
    /// Mean, standard deviation, smallest and largest number.
    pub numbers: [Option<[f64; 4]>; 3],
    /// Where the first of equal steps begins, where the last one ends, and how many numbers lie in each.
    pub histogram: Option<(f64, f64, Vec<u64>)>,
}

/// The values that one or several features share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataVocabulary {
    /// Its name.
    pub name: String,
    /// Names of its features.
    pub fields: Vec<String>,
    /// Values that it knows.
    pub known: u64,
    /// Values that are too rare to be known.
    pub left_out: u64,
    /// Their share of all occurrences in training.
    pub left_out_share: Option<f64>,
    /// How many of the most frequent values make half of all occurrences in training.
    pub half: u64,
    /// Of values that occur once, two or three times, four to seven times and so on: how many, and how often they occur in all.
    pub bins: Vec<(u64, u64)>,
    /// Different values of each split.
    pub splits: [Shared; 3],
}

/// Different things in a split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shared {
    /// How many.
    pub all: u64,
    /// Those that are in training too.
    pub trained: u64,
    /// Rows of these, where they are counted.
    pub rows: Option<u64>,
}

/// One day.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataDay {
    /// `2024-03-01`.
    pub date: String,
    /// Days since another one, by which they are laid out.
    pub day: i64,
    /// Rows.
    pub rows: [u64; 3],
    /// Rows that have the label, and those with label 1, of each task.
    pub labels: Vec<(u64, u64)>,
}
