//! A plain reader of text tables that knows line numbers. Polars reads the values; this one explains what it cannot read.
//!
//! Polars fills short lines with null and reports neither lines nor columns, so every text source is also walked here: on a
//! thread beside the query for its shape and encoding, and once more for its types when the query failed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::recipe::ColumnType;

/// A text file and what is expected of it.
#[derive(Debug, Clone)]
pub(crate) struct TextTable {
    pub(crate) path: PathBuf,
    pub(crate) separator: u8,
    pub(crate) header: bool,
    /// Names and types, in the order of the file.
    pub(crate) columns: Vec<(String, ColumnType)>,
}

impl TextTable {
    /// The first line that is no UTF-8, or has not one value for each column.
    pub(crate) fn check_shape(&self) -> Result<()> {
        let expected = self.columns.len();
        for_each_line(&self.path, |line, text| {
            let found = fields(text, self.separator);
            if found != expected && !(text.is_empty() && expected == 1) {
                return Err(Error::Ragged { path: self.path.clone(), line, expected, found });
            }
            Ok(())
        })
    }

    /// The first value that is not of its column's type.
    pub(crate) fn check_types(&self) -> Result<()> {
        let mut first = self.header;
        for_each_line(&self.path, |line, text| {
            if std::mem::take(&mut first) {
                return Ok(());
            }
            for ((column, kind), value) in self.columns.iter().zip(cut(text, self.separator)) {
                let value = value.trim_matches('"');
                let expected = match kind {
                    ColumnType::Text => continue,
                    ColumnType::Integer => value.parse::<i64>().err().map(|_| "an integer"),
                    ColumnType::Float => value.parse::<f64>().err().map(|_| "a number"),
                };
                if let Some(expected) = expected.filter(|_| !value.is_empty()) {
                    let (path, column, found) = (self.path.clone(), column.clone(), value.to_string());
                    return Err(Error::Type { path, line, column, expected, found });
                }
            }
            Ok(())
        })
    }
}

/// Values on the first line of a file; `None` when it has none.
pub(crate) fn first_line(path: &Path, separator: u8) -> Result<Option<usize>> {
    let mut count = None;
    let result = for_each_line(path, |_, text| {
        count = Some(fields(text, separator));
        Err(Error::NoRows { path: path.into(), found: "" }) // stops the walk
    });
    match (count, result) {
        (Some(count), _) => Ok(Some(count)),
        (None, result) => result.map(|()| None),
    }
}

/// Whether a file has more than its first line.
pub(crate) fn has_second_line(path: &Path) -> Result<bool> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut reader = BufReader::new(file);
    let mut skipped = Vec::new();
    reader.read_until(b'\n', &mut skipped).map_err(Error::io("read", path))?;
    let rest = reader.fill_buf().map_err(Error::io("read", path))?;
    Ok(!rest.is_empty())
}

/// Calls `see` with the number of each line and its text, quoted line breaks joined.
fn for_each_line(path: &Path, mut see: impl FnMut(usize, &str) -> Result<()>) -> Result<()> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let (mut number, mut bytes) = (1, Vec::new());
    loop {
        bytes.clear();
        let mut lines = 0;
        // a line goes on while it holds an odd number of quotes
        loop {
            let from = bytes.len();
            if reader.read_until(b'\n', &mut bytes).map_err(Error::io("read", path))? == 0 {
                break;
            }
            lines += 1;
            let quotes = |part: &[u8]| part.iter().filter(|&&b| b == b'"').count() % 2 == 1;
            if (from == 0 && !quotes(&bytes)) || (from > 0 && quotes(&bytes[from..])) {
                break;
            }
        }
        if lines == 0 {
            return Ok(());
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let before = bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            Error::Utf8 { path: path.into(), line: number + before }
        })?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        see(number, text.strip_suffix('\r').unwrap_or(text))?;
        number += lines;
    }
}

/// How many values a line holds.
fn fields(text: &str, separator: u8) -> usize {
    let count = |bytes: &[u8]| bytes.iter().filter(|&&b| b == separator).count();
    if text.contains('"') { cut(text, separator).count() } else { 1 + count(text.as_bytes()) }
}

/// The values of a line; quotes stay on them.
fn cut(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |letter: char| {
        quoted ^= letter == '"';
        !quoted && letter == separator as char
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_separators_and_line_breaks_belong_to_the_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "a,b\n\"x,\ny\",2\n3,4,5\n").unwrap();
        let columns = vec![("a".into(), ColumnType::Text), ("b".into(), ColumnType::Integer)];
        let table = TextTable { path, separator: b',', header: true, columns };
        let message = table.check_shape().unwrap_err().to_string();
        assert!(message.ends_with("t.csv:4: 3 values in a table of 2 columns"), "{message}");
    }
}
