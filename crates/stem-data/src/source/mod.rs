//! Sources: from the files that a recipe names to one lazy table each, with the types that their values have.
//!
//! Everything about how a file is written is decided here: which files there are, what they are, how text is quoted, which types the
//! columns have. What comes out has one name, one type and one meaning a column, whatever the files were.

mod arrow;
pub(crate) mod files;
pub(crate) mod infer;
mod lines;
mod parts;
mod rewrite;
mod scratch;
pub mod sniff;
mod text;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use polars::prelude::*;

pub use lines::StrictQuotes;
pub(crate) use lines::TextTable;
pub(crate) use parts::words;
pub(crate) use rewrite::is_encoding;
pub(crate) use scratch::Unpacked;

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

/// Opens the files of a source.
///
/// # Errors
/// No files, and files that are not what the recipe says.
pub(crate) fn open(
    recipe: &Path,
    source: &Source,
    data: &Path,
    unpacked: &mut Unpacked,
    stop: &StopFlag,
) -> Result<Table> {
    let files = files::list(source, data)?;
    match format_of(source, &files)? {
        format @ (Format::Csv | Format::Tsv) => text::open(recipe, source, files, format, unpacked, stop),
        format => arrow::open(source, files, format, unpacked, stop),
    }
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

/// The type that a column of text is read as.
fn dtype_of(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Integer => DataType::Int64,
        ColumnType::Float => DataType::Float64,
        ColumnType::Boolean => DataType::Boolean,
        _ => DataType::String,
    }
}

/// The type of a column that text can hold.
pub(crate) fn column_type(dtype: &DataType) -> Option<ColumnType> {
    match dtype {
        dtype if dtype.is_integer() => Some(ColumnType::Integer),
        dtype if dtype.is_float() => Some(ColumnType::Float),
        DataType::Boolean => Some(ColumnType::Boolean),
        DataType::String => Some(ColumnType::Text),
        _ => None,
    }
}

/// The first paragraph of a Polars message.
pub(crate) fn plain(error: &PolarsError) -> String {
    let message = error.to_string();
    message.split("\n\n").next().unwrap_or_default().trim().to_string()
}
