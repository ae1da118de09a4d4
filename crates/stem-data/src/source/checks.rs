//! Holds every line of a text table to the rules of its format.
//!
//! Polars reads the values. It fills short lines with null, joins lines between stray quotes, and reports neither lines nor columns. So
//! every text table is also walked here: on a thread beside the query for its shape, quotes, encoding and keys, and once more for its
//! types when the query failed.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

use stem_core::files::FileError;

use super::infer;
use super::lines::{Line, Lines};
use crate::error::{Error, Result};
use crate::recipe::ColumnType;
use crate::stop::StopFlag;

/// A text file as it is read, and what is expected of it.
#[derive(Debug, Clone)]
pub(crate) struct TextTable {
    /// UTF-8, a separator of one character, quotes within quotes doubled.
    pub(crate) path: PathBuf,
    /// The file that messages name: the same, or the one that it was rewritten from.
    pub(crate) shown: PathBuf,
    pub(crate) separator: u8,
    pub(crate) quote: Option<u8>,
    pub(crate) header: bool,
    /// In the order of the file.
    pub(crate) columns: Vec<TextColumn>,
    pub(crate) null_values: Vec<String>,
}

/// A column of a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextColumn {
    pub(crate) name: String,
    pub(crate) kind: ColumnType,
    /// Whether its values name users, items and the like, so that none may be changed by reading it.
    pub(crate) is_key: bool,
    /// Whether the recipe says the type.
    pub(crate) is_given: bool,
}

impl TextTable {
    /// Holds every line to the rules, and gives the number of rows. Stops looking when `stop` is set.
    ///
    /// # Errors
    /// The first line that is no UTF-8, has a stray quote, has not one value for each column, or has an integer key that would be read
    /// as another one (`007` as 7).
    pub(crate) fn check_lines(&self, stop: &StopFlag) -> Result<u64> {
        let expected = self.columns.len();
        let has_keys = self.columns.iter().any(TextColumn::is_inferred_number_key);
        let has_floats =
            self.columns.iter().any(|column| column.is_inferred_number_key() && column.kind == ColumnType::Float);
        let (mut lines, mut rows) = match has_floats {
            true => (self.lines()?, 0),
            false => self.behind_plain_blocks(has_keys, stop)?,
        };
        while let Some(line) = lines.next()? {
            if stop.is_set() {
                break;
            }
            let Line { number, text, .. } = line;
            if text.is_empty() && expected > 1 {
                return Err(Error::Blank { path: self.shown.clone(), line: number }); // Polars takes it for a row of nulls
            }
            let found = line.count();
            if found != expected {
                return Err(Error::Ragged { path: self.shown.clone(), line: number, expected, found });
            }
            rows += 1;
            let may_change = || has_floats || may_hold_changed_integers(text.as_bytes(), self.separator, self.quote);
            if has_keys && (rows > 1 || !self.header) && may_change() {
                self.check_keys(&line)?;
            }
        }
        Ok(rows - u64::from(self.header && rows > 0))
    }

    /// Passes over blocks of lines that are seen at a glance to be in order. Gives the lines from the first block on that is not, and how
    /// many were before.
    fn behind_plain_blocks(&self, has_keys: bool, stop: &StopFlag) -> Result<(Lines<BufReader<File>>, u64)> {
        let unreadable = || FileError::of("read", &self.shown);
        let mut file = File::open(&self.path).map_err(unreadable())?;
        let (mut block, mut begun, mut passed, mut rows) = (vec![0; BLOCK], 0, 0, 0);
        while !stop.is_set() {
            let read = file.read(&mut block[begun..]).map_err(unreadable())?;
            begun += read;
            let whole = memchr::memrchr(b'\n', &block[..begun]).map_or(0, |end| end + 1);
            if read == 0 || (whole == 0 && begun == block.len()) {
                break; // the last line may have no end
            }
            let Some(lines) = self.plain_lines(&block[..whole], has_keys) else { break };
            (passed, rows) = (passed + whole as u64, rows + lines);
            block.copy_within(whole..begun, 0);
            begun -= whole;
        }
        file.seek(SeekFrom::Start(passed)).map_err(unreadable())?;
        let reader = BufReader::with_capacity(1 << 18, file);
        let lines = Lines::new(reader, &self.shown, self.separator, self.quote);
        Ok((lines.numbered_from(rows as usize + 1), rows))
    }

    /// How many lines there are in a block of whole lines; `None` where one may not be in order.
    fn plain_lines(&self, block: &[u8], has_keys: bool) -> Option<u64> {
        let has_quotes = self.quote.is_some_and(|quote| memchr::memchr(quote, block).is_some());
        if has_quotes || std::str::from_utf8(block).is_err() {
            return None;
        }
        if has_keys && may_hold_changed_integers(block, self.separator, self.quote) {
            return None;
        }
        let (separators, mut lines, mut start) = (self.columns.len() - 1, 0, 0);
        for end in memchr::memchr_iter(b'\n', block) {
            let line = &block[start..end];
            if line.iter().filter(|&&byte| byte == self.separator).count() != separators || matches!(line, [] | b"\r") {
                return None;
            }
            (lines, start) = (lines + 1, end + 1);
        }
        Some(lines)
    }

    fn check_keys(&self, line: &Line<'_>) -> Result<()> {
        for (column, value) in self.columns.iter().zip(line.values()) {
            let value = &*value;
            let is_number = || value.trim().parse::<f64>().is_ok_and(f64::is_finite);
            let is_plain = || match column.kind {
                ColumnType::Float => infer::is_plain_float(value),
                _ => infer::is_integer(value),
            };
            if column.is_inferred_number_key() && !self.is_null(value) && !is_plain() && is_number() {
                return Err(self.wrong_type(line.number, column, "a key that is written in one way", value));
            }
        }
        Ok(())
    }

    /// The first value that is not of its column's type.
    pub(crate) fn check_types(&self) -> Result<()> {
        let mut lines = self.lines()?;
        if self.header {
            lines.next()?;
        }
        while let Some(line) = lines.next()? {
            for (column, value) in self.columns.iter().zip(line.values()) {
                let value = &*value;
                let is_boolean = || value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false");
                let expected = match column.kind {
                    ColumnType::Integer if value.parse::<i64>().is_err() => "an integer",
                    ColumnType::Float if value.parse::<f64>().is_err() => "a number",
                    ColumnType::Boolean if !is_boolean() => "true or false",
                    _ => continue,
                };
                if !self.is_null(value) {
                    return Err(self.wrong_type(line.number, column, expected, value));
                }
            }
        }
        Ok(())
    }

    /// The line on which a row stands, counted from the first row of the file; how many rows there are where it is behind the last.
    pub(crate) fn line_of(&self, row: u64) -> Result<std::result::Result<usize, u64>> {
        let mut lines = self.lines()?;
        if self.header {
            lines.next()?;
        }
        let mut rows = 0;
        while let Some(line) = lines.next()? {
            if rows == row {
                return Ok(Ok(line.number));
            }
            rows += 1;
        }
        Ok(Err(rows))
    }

    fn is_null(&self, value: &str) -> bool {
        value.is_empty() || self.null_values.iter().any(|null| null == value)
    }

    fn wrong_type(&self, line: usize, column: &TextColumn, expected: &'static str, found: &str) -> Error {
        let (path, name, found) = (self.shown.clone(), column.name.clone(), found.to_string());
        Error::Type { path, line, column: name, expected, found, given: column.is_given }
    }

    fn lines(&self) -> Result<Lines<BufReader<File>>> {
        Lines::open(&self.path, &self.shown, self.separator, self.quote)
    }
}

impl TextColumn {
    /// Whether other texts than one could name the same key, and the recipe does not say that this is meant.
    fn is_inferred_number_key(&self) -> bool {
        self.is_key && matches!(self.kind, ColumnType::Integer | ColumnType::Float) && !self.is_given
    }
}

/// Bytes of a block that is looked at as a whole.
const BLOCK: usize = 1 << 18;

/// Whether a value in these lines may be an integer that is written as no other program would write it. Rarely true.
fn may_hold_changed_integers(lines: &[u8], separator: u8, quote: Option<u8>) -> bool {
    let quote = quote.unwrap_or(b'+');
    let odd = |first: u8, second: u8| {
        (first == b'0') & second.is_ascii_digit()
            | (first == b'+')
            | (first == b' ')
            | (first == quote)
            | (first == b'-') & (second == b'0')
    };
    let at_start = matches!(lines, [first, second, ..] if odd(*first, *second));
    let ends = |byte: u8| (byte == separator) | (byte == b'\n');
    let is_odd = |lines: &[u8]| {
        let threes = lines.iter().zip(lines.get(1..).unwrap_or_default()).zip(lines.get(2..).unwrap_or_default());
        threes.fold(false, |found, ((&before, &first), &second)| found | ends(before) & odd(first, second))
    };
    at_start
        || lines.chunks(1 << 12).any(is_odd)
        || (1..lines.len() / (1 << 12) + 1).any(|chunk| {
            // values that lie across two chunks
            let seam = chunk << 12;
            is_odd(&lines[seam - 2..(seam + 2).min(lines.len())])
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checked(text: &str, columns: &[ColumnType]) -> std::result::Result<u64, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let column = |(i, &kind): (usize, &ColumnType)| TextColumn {
            name: format!("c{i}"),
            kind,
            is_key: true,
            is_given: false,
        };
        let columns = columns.iter().enumerate().map(column).collect();
        let (shown, null_values) = (PathBuf::from("t.csv"), vec!["-".to_string()]);
        let table = TextTable { path, shown, separator: b',', quote: Some(b'"'), header: true, columns, null_values };
        table.check_lines(&StopFlag::default()).map_err(|e| e.to_string())
    }

    const TWO: [ColumnType; 2] = [ColumnType::Text, ColumnType::Integer];

    #[test]
    fn quoted_separators_and_line_breaks_belong_to_the_value() {
        assert_eq!(checked("\u{feff}\"a\",b\nx,2\n", &TWO), Ok(1));
        assert_eq!(checked("a,b\n\"x,\ny\",2\r\n\"say \"\"hi\"\"\",3\n", &TWO), Ok(2));
        let message = checked("a,b\n\"x,\ny\",2\n3,4,5\n", &TWO).unwrap_err();
        assert!(message.contains("t.csv:4: 3 values in a table of 2 columns"), "{message}");
    }

    /// What is told of a line does not depend on where it stands among blocks that are passed over.
    #[test]
    fn lines_behind_many_others_are_held_to_the_same_rules() {
        for bad in ["x,1,2\n", "\n", "\r\n", "x\n", "x,007\n", "x,+7\n", "x,\"7\n", "x,-0\n", "caf\u{e9},7\n", "x,7"] {
            let alone = checked(&format!("a,b\n{bad}"), &TWO);
            for lines in [BLOCK / 6 - 40, BLOCK / 6, BLOCK / 3 + 1] {
                let long = checked(&format!("a,b\n{}{bad}", "yz,12\n".repeat(lines)), &TWO);
                match (&alone, &long) {
                    (Ok(one), Ok(all)) => assert_eq!(*all, one + lines as u64, "{bad}"),
                    (Err(one), Err(all)) => {
                        assert_eq!(*all, one.replacen(":2:", &format!(":{}:", lines + 2), 1), "{bad}")
                    }
                    _ => panic!("{bad:?}: {alone:?}, {long:?}"),
                }
            }
        }
        let seam = |before: usize| format!("a,b\n{},{}\n{},007\n", "y".repeat(before), 5, "z".repeat(9));
        for before in 4070..4110 {
            assert!(checked(&seam(before), &TWO).is_err_and(|message| message.contains(":3: column 'c1'")), "{before}");
        }
        assert_eq!(checked(&format!("a,b\n{},7\nx,8\n", "y".repeat(2 * BLOCK)), &TWO), Ok(2));
    }

    #[test]
    fn a_blank_line_among_rows_is_refused() {
        assert!(checked("a,b\nx,1\n\ny,2\n", &TWO).unwrap_err().starts_with("t.csv:3: a blank line"));
        assert!(checked("a,b\nx,1\n\r\ny,2\n", &TWO).unwrap_err().starts_with("t.csv:3: a blank line"));
    }

    #[test]
    fn a_stray_quote_is_named_with_its_line() {
        for (text, line, what) in [
            ("a,b\nx,1\n5\" pipe,1\n6\" pipe,2\n", 3, "stands inside a value"),
            ("a,b\n\"say \\\"hi\\\" again\",1\n", 2, "more of the value follows"),
            ("a,b\nx,1\n\"y,2\nz,3\n", 3, "never closed"),
        ] {
            let message = checked(text, &TWO).unwrap_err();
            assert!(message.contains(&format!("t.csv:{line}: ")) && message.contains(what), "{message}");
        }
    }

    #[test]
    fn an_integer_key_that_would_become_another_is_refused_wherever_it_stands() {
        for value in ["007", "+7", "-0", "\"07\""] {
            let message = checked(&format!("a,b\nx,7\ny,{value}\nz,\nz,-\n"), &TWO).unwrap_err();
            assert!(
                message.contains("t.csv:3: column 'c1'") && message.contains("types = { c1 = \"text\" }"),
                "{message}"
            );
        }
        assert_eq!(checked("a,b\nx,7\n007,0\n", &TWO), Ok(2));
    }
}
