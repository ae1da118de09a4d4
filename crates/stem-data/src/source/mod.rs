//! Sources: from the files that a recipe names to one lazy table each, with the types that their values have.
//!
//! Everything about how a file is written is decided here: which files there are, what they are, how text is quoted, which types the
//! columns have. What comes out has one name, one type and one meaning a column, whatever the files were.

mod arrow;
mod checks;
pub(crate) mod files;
pub(crate) mod infer;
mod lines;
mod parts;
mod remote;
mod rewrite;
mod scratch;
mod share;
pub mod sniff;
mod text;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use polars::prelude::*;

pub(crate) use arrow::canonical_column;
pub(crate) use checks::TextTable;
pub(crate) use lines::Lines;
pub(crate) use parts::{common, words};
pub(crate) use rewrite::{is_encoding, start_of};
pub(crate) use scratch::Unpacked;
pub(crate) use share::Share;
pub(crate) use text::{header_in_quotes, named_once};

use crate::error::{Error, Result};
use crate::recipe::{ColumnType, Format, Source};
use crate::stop::StopFlag;
use files::SourceFile;

/// One source as Polars reads it, and what is known of its columns.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) frame: LazyFrame,
    /// Text files, which are walked beside the query.
    pub(crate) texts: Vec<TextTable>,
    pub(crate) facts: ColumnFacts,
    /// How many rows there are, where the files say it.
    pub(crate) rows: Option<u64>,
    /// Files with types, each with its rows where it says them.
    pub(crate) files: Vec<(PathBuf, Option<u64>)>,
}

/// What is known of columns beside their types.
#[derive(Default)]
pub(crate) struct ColumnFacts {
    /// Columns of text without a value in the first rows: what they hold is not known.
    pub(crate) undecided: HashSet<String>,
    /// For columns of text, a value that is no number, and where it stands.
    pub(crate) examples: HashMap<String, String>,
    /// Columns of a type that is not read, and why.
    pub(crate) unreadable: BTreeMap<String, String>,
    /// What is odd about columns, told where a recipe uses them.
    pub(crate) remarks: HashMap<String, String>,
    /// Columns of text that hold times with an offset from UTC, each with one of them.
    pub(crate) offsets: HashMap<String, String>,
}

impl ColumnFacts {
    /// Adds what is known of another source's columns.
    pub(crate) fn extend(&mut self, other: Self) {
        self.undecided.extend(other.undecided);
        self.examples.extend(other.examples);
        self.unreadable.extend(other.unreadable);
        self.remarks.extend(other.remarks);
        self.offsets.extend(other.offsets);
    }
}

/// Opens the files of a source; of one that several ranks read those of the `share`. All ranks look at all files, so that all read the same
/// columns as the same types.
///
/// # Errors
/// No files, and files that are not what the recipe says.
pub(crate) fn open(
    recipe: &Path,
    source: &Source,
    data: &Path,
    share: Option<Share>,
    unpacked: &mut Unpacked,
    stop: &StopFlag,
) -> Result<Table> {
    let mut files = files::list_to_reread(source, data)?;
    if let Some(share) = share {
        share.mark(&mut files);
    }
    match format_of(source, &files)? {
        format @ (Format::Csv | Format::Tsv) => text::open(recipe, source, files, format, unpacked, stop),
        format => arrow::open(source, files, format, false, unpacked, stop),
    }
}

/// Opens Parquet or Arrow IPC files whose columns keep the types that they have, where all files agree on them.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_typed(
    source: &Source,
    files: Vec<SourceFile>,
    format: Format,
    unpacked: &mut Unpacked,
) -> Result<Table> {
    arrow::open(source, files, format, true, unpacked, &StopFlag::default())
}

/// How the files are written, by the recipe, their names or their first bytes.
pub(crate) fn format_of(source: &Source, files: &[SourceFile]) -> Result<Format> {
    if let Some(format) = source.format {
        return Ok(format);
    }
    let name =
        |file: &SourceFile| file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(format) = files.iter().find_map(|file| Format::of_name(&name(file))) {
        return Ok(format);
    }
    let first = &files[0].path;
    let start = sniff::start(first)?;
    match start.as_slice() {
        [b'P', b'A', b'R', b'1', ..] => Ok(Format::Parquet),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Ok(Format::Ipc),
        _ => {
            let what = "its name does not tell how it is written: add `format = \"csv\"`, \"tsv\", \"parquet\" or \"ipc\" to the source";
            Err(Error::Source { path: first.clone(), what: what.into() })
        }
    }
}

/// The type that holds a column.
pub(crate) fn dtype_of(kind: ColumnType) -> DataType {
    let list = |inner| DataType::List(Box::new(inner));
    match kind {
        ColumnType::Integer => DataType::Int64,
        ColumnType::UnsignedInteger => DataType::UInt64,
        ColumnType::Float => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Date => DataType::Date,
        ColumnType::Time => DataType::Time,
        ColumnType::DatetimeMs => DataType::Datetime(TimeUnit::Milliseconds, None),
        ColumnType::DatetimeUs => DataType::Datetime(TimeUnit::Microseconds, None),
        ColumnType::DatetimeNs => DataType::Datetime(TimeUnit::Nanoseconds, None),
        ColumnType::IntegerList => list(DataType::Int64),
        ColumnType::FloatList => list(DataType::Float64),
        ColumnType::TextList => list(DataType::String),
        _ => DataType::String,
    }
}

/// The type of a column that can be computed with again; `None` of one that cannot.
pub(crate) fn column_type(dtype: &DataType) -> Option<ColumnType> {
    match dtype {
        DataType::UInt64 => Some(ColumnType::UnsignedInteger),
        dtype if dtype.is_integer() => Some(ColumnType::Integer),
        dtype if dtype.is_float() => Some(ColumnType::Float),
        DataType::Boolean => Some(ColumnType::Boolean),
        DataType::String => Some(ColumnType::Text),
        DataType::Date => Some(ColumnType::Date),
        DataType::Time => Some(ColumnType::Time),
        DataType::Datetime(TimeUnit::Milliseconds, None) => Some(ColumnType::DatetimeMs),
        DataType::Datetime(TimeUnit::Microseconds, None) => Some(ColumnType::DatetimeUs),
        DataType::Datetime(TimeUnit::Nanoseconds, None) => Some(ColumnType::DatetimeNs),
        DataType::List(inner) => match **inner {
            DataType::Int64 => Some(ColumnType::IntegerList),
            DataType::Float64 => Some(ColumnType::FloatList),
            DataType::String => Some(ColumnType::TextList),
            _ => None,
        },
        _ => None,
    }
}

/// The first paragraph of a Polars message.
pub(crate) fn plain(error: &PolarsError) -> String {
    let message = error.to_string();
    message.split("\n\n").next().unwrap_or_default().trim().to_string()
}
