//! A plain reader of text tables that knows line numbers. Polars reads the values; this one explains what it cannot read.
//!
//! Polars fills short lines with null and reports neither lines nor columns, so every text source is also walked here: on a
//! thread beside the query for its shape and encoding, and once more for its types when the query failed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use stem_core::files::FileError;

use crate::error::{Error, Result};
use crate::recipe::ColumnType;
use crate::stop::StopFlag;

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
    /// The first line that is no UTF-8, or has not one value for each column. Stops looking when `stop` is set.
    pub(crate) fn check_shape(&self, stop: &StopFlag) -> Result<()> {
        let expected = self.columns.len();
        let mut lines = Lines::open(&self.path)?;
        while let Some((line, text)) = lines.next()? {
            let found = fields(text, self.separator);
            if stop.is_set() {
                break;
            }
            if found != expected {
                return Err(Error::Ragged { path: self.path.clone(), line, expected, found });
            }
        }
        Ok(())
    }

    /// The first value that is not of its column's type.
    pub(crate) fn check_types(&self) -> Result<()> {
        let mut lines = Lines::open(&self.path)?;
        if self.header {
            lines.next()?;
        }
        while let Some((line, text)) = lines.next()? {
            for ((column, kind), value) in self.columns.iter().zip(cut(text, self.separator)) {
                let value = value.trim_matches('"');
                let expected = match kind {
                    ColumnType::Integer if value.parse::<i64>().is_err() => "an integer",
                    ColumnType::Float if value.parse::<f64>().is_err() => "a number",
                    _ => continue,
                };
                if !value.is_empty() {
                    let (path, column, found) = (self.path.clone(), column.clone(), value.to_string());
                    return Err(Error::Type { path, line, column, expected, found });
                }
            }
        }
        Ok(())
    }
}

/// How many values the first line holds, and whether another line follows; `None` when there is no line.
pub(crate) fn first_line(path: &Path, separator: u8) -> Result<Option<(usize, bool)>> {
    let mut lines = Lines::open(path)?;
    let Some((_, text)) = lines.next()? else { return Ok(None) };
    let values = fields(text, separator);
    Ok(Some((values, lines.next()?.is_some())))
}

/// Bytes of a line at most: beyond them a quote was opened and never closed.
const LONGEST: usize = 16 << 20;

/// The lines of a file; a line goes on while it holds an odd number of quotes.
struct Lines<'p> {
    path: &'p Path,
    reader: BufReader<File>,
    next: usize,
    bytes: Vec<u8>,
}

impl<'p> Lines<'p> {
    fn open(path: &'p Path) -> Result<Self> {
        let file = File::open(path).map_err(FileError::of("read", path))?;
        Ok(Self { path, reader: BufReader::with_capacity(1 << 18, file), next: 1, bytes: Vec::new() })
    }

    /// Number and text of the next line, without its end.
    fn next(&mut self) -> Result<Option<(usize, &str)>> {
        let Self { path, reader, next, bytes } = self;
        let (first, mut quoted) = (*next, false);
        bytes.clear();
        loop {
            let from = bytes.len();
            if reader.read_until(b'\n', bytes).map_err(FileError::of("read", path))? == 0 {
                break;
            }
            *next += 1;
            quoted ^= bytes[from..].iter().filter(|&&b| b == b'"').count() % 2 == 1;
            if !quoted {
                break;
            }
            if bytes.len() > LONGEST {
                return Err(Error::Quote { path: path.to_path_buf(), line: first });
            }
        }
        if *next == first {
            return Ok(None);
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            Error::Utf8 { path: path.to_path_buf(), line: first + before }
        })?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        Ok(Some((first, text.strip_suffix('\r').unwrap_or(text))))
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quoted_separators_and_line_breaks_belong_to_the_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "a,b\n\"x,\ny\",2\n3,4,5\n").unwrap();
        let columns = vec![("a".into(), ColumnType::Text), ("b".into(), ColumnType::Integer)];
        let table = TextTable { path, separator: b',', header: true, columns };
        let message = table.check_shape(&StopFlag::default()).unwrap_err().to_string();
        assert!(message.ends_with("t.csv:4: 3 values in a table of 2 columns"), "{message}");
    }
}
