//! A plain reader of text tables that knows line numbers. Polars reads the values; this one holds every line to the rules of the format.
//!
//! Polars fills short lines with null, joins lines between stray quotes, and reports neither lines nor columns. So every text table is
//! also walked here: on a thread beside the query for its shape, quotes, encoding and keys, and once more for its types when the query
//! failed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use stem_core::files::FileError;

use super::infer;
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
        let mut lines = self.lines()?;
        let mut rows = 0;
        while let Some(line) = lines.next()? {
            if stop.is_set() {
                break;
            }
            let Line { number, text, .. } = line;
            if text.is_empty() && expected > 1 {
                return Err(Error::Blank { path: self.shown.clone(), line: number }); // Polars takes it for a row of nulls
            }
            let found = line.values(self.separator, self.quote);
            if found != expected {
                return Err(Error::Ragged { path: self.shown.clone(), line: number, expected, found });
            }
            rows += 1;
            let may_change = || has_floats || may_hold_changed_integers(text.as_bytes(), self.separator, self.quote);
            if has_keys && (rows > 1 || !self.header) && may_change() {
                self.check_keys(number, text)?;
            }
        }
        Ok(rows - u64::from(self.header && rows > 0))
    }

    fn check_keys(&self, line: usize, text: &str) -> Result<()> {
        for (column, value) in self.columns.iter().zip(cut(text, self.separator, self.quote)) {
            let value = unquoted(value, self.quote);
            let is_number = || value.trim().parse::<f64>().is_ok_and(f64::is_finite);
            let is_plain = || match column.kind {
                ColumnType::Float => infer::is_plain_float(value),
                _ => infer::is_integer(value),
            };
            if column.is_inferred_number_key() && !self.is_null(value) && !is_plain() && is_number() {
                return Err(self.wrong_type(line, column, "a key that is written in one way", value));
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
        while let Some(Line { number, text, .. }) = lines.next()? {
            for (column, value) in self.columns.iter().zip(cut(text, self.separator, self.quote)) {
                let value = unquoted(value, self.quote);
                let is_boolean = || value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false");
                let expected = match column.kind {
                    ColumnType::Integer if value.parse::<i64>().is_err() => "an integer",
                    ColumnType::Float if value.parse::<f64>().is_err() => "a number",
                    ColumnType::Boolean if !is_boolean() => "true or false",
                    _ => continue,
                };
                if !self.is_null(value) {
                    return Err(self.wrong_type(number, column, expected, value));
                }
            }
        }
        Ok(())
    }

    fn is_null(&self, value: &str) -> bool {
        value.is_empty() || self.null_values.iter().any(|null| null == value)
    }

    fn wrong_type(&self, line: usize, column: &TextColumn, expected: &'static str, found: &str) -> Error {
        let (path, name, found) = (self.shown.clone(), column.name.clone(), found.to_string());
        Error::Type { path, line, column: name, expected, found, given: column.is_given }
    }

    fn lines(&self) -> Result<Lines<'_>> {
        Lines::open(&self.path, &self.shown, self.separator, self.quote)
    }
}

impl TextColumn {
    /// Whether other texts than one could name the same key, and the recipe does not say that this is meant.
    fn is_inferred_number_key(&self) -> bool {
        self.is_key && matches!(self.kind, ColumnType::Integer | ColumnType::Float) && !self.is_given
    }
}

/// Whether a value of the line may be an integer that is written as no other program would write it. Rarely true of other lines.
fn may_hold_changed_integers(line: &[u8], separator: u8, quote: Option<u8>) -> bool {
    let quote = quote.unwrap_or(b'+');
    let odd = |first: u8, second: u8| {
        (first == b'0') & second.is_ascii_digit()
            | (first == b'+')
            | (first == b' ')
            | (first == quote)
            | (first == b'-') & (second == b'0')
    };
    let at_start = matches!(line, [first, second, ..] if odd(*first, *second));
    at_start | line.windows(3).fold(false, |found, w| found | (w[0] == separator) & odd(w[1], w[2]))
}

/// What some programs put before text in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of a line at most: beyond them a quote was opened and never closed.
const LONGEST: usize = 16 << 20;

/// A line, or several that one quoted value joins.
pub(crate) struct Line<'l> {
    /// Of the first of them, counted from 1.
    pub(crate) number: usize,
    /// Without the end of the line.
    pub(crate) text: &'l str,
    has_quotes: bool,
}

impl Line<'_> {
    /// How many values it holds.
    fn values(&self, separator: u8, quote: Option<u8>) -> usize {
        match self.has_quotes {
            true => cut(self.text, separator, quote).count(),
            false => 1 + self.text.as_bytes().iter().filter(|&&b| b == separator).count(),
        }
    }
}

/// The lines of a file.
pub(crate) struct Lines<'p> {
    path: &'p Path,
    reader: BufReader<File>,
    separator: u8,
    quote: Option<u8>,
    next: usize,
    bytes: Vec<u8>,
}

/// Where in a line a reader is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    /// Before a value.
    Start,
    /// In a value without quotes.
    Plain,
    /// In a value in quotes.
    Quoted,
    /// Behind a quote in a quoted value: its end, or the first of two.
    Quote,
}

impl<'p> Lines<'p> {
    /// The lines of `path`, which messages call `shown`.
    pub(crate) fn open(path: &Path, shown: &'p Path, separator: u8, quote: Option<u8>) -> Result<Self> {
        let file = File::open(path).map_err(FileError::of("read", shown))?;
        let reader = BufReader::with_capacity(1 << 18, file);
        Ok(Self { path: shown, reader, separator, quote, next: 1, bytes: Vec::new() })
    }

    /// The next line.
    ///
    /// # Errors
    /// Bytes that are no UTF-8, and quotes that stand where none may.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>> {
        let Self { path, reader, separator, quote, next, bytes } = self;
        let (first, mut at, mut has_quotes) = (*next, At::Start, false);
        bytes.clear();
        loop {
            let from = bytes.len();
            if reader.read_until(b'\n', bytes).map_err(FileError::of("read", path))? == 0 {
                if at == At::Quoted {
                    return Err(Error::Quote { path: path.to_path_buf(), line: first, what: "is never closed" });
                }
                break;
            }
            *next += 1;
            let from = if *next == 2 && bytes.starts_with(MARK) { MARK.len() } else { from };
            let line = without_end(&bytes[from..]);
            if let Some(quote) = quote.filter(|quote| at == At::Quoted || line.contains(quote)) {
                has_quotes = true;
                at = follow(line, *separator, quote, at).map_err(|what| Error::Quote {
                    path: path.to_path_buf(),
                    line: *next - 1,
                    what,
                })?;
            }
            if at != At::Quoted {
                break;
            }
            if bytes.len() > LONGEST {
                return Err(Error::Quote { path: path.to_path_buf(), line: first, what: "is never closed" });
            }
        }
        if *next == first {
            return Ok(None);
        }
        let start = if first == 1 && bytes.starts_with(MARK) { MARK.len() } else { 0 };
        let text = std::str::from_utf8(without_end(&bytes[start..])).map_err(|error| {
            let before = bytes[..start + error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            Error::Utf8 { path: path.to_path_buf(), line: first + before }
        })?;
        Ok(Some(Line { number: first, text, has_quotes }))
    }
}

/// A line without its end.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Follows the quotes of a line.
///
/// # Errors
/// What is wrong with a quote.
fn follow(line: &[u8], separator: u8, quote: u8, mut at: At) -> std::result::Result<At, &'static str> {
    for &byte in line {
        at = at.then(byte, separator, quote)?;
    }
    Ok(at)
}

impl At {
    /// Where the reader is after one more byte of the line.
    fn then(self, byte: u8, separator: u8, quote: u8) -> std::result::Result<At, &'static str> {
        Ok(match (self, byte) {
            (At::Start | At::Plain, b) if b == separator => At::Start,
            (At::Start, b) if b == quote => At::Quoted,
            (At::Plain, b) if b == quote => return Err("stands inside a value that does not begin with one"),
            (At::Start | At::Plain, _) => At::Plain,
            (At::Quoted, b) if b == quote => At::Quote,
            (At::Quoted, _) => At::Quoted,
            (At::Quote, b) if b == quote => At::Quoted,
            (At::Quote, b) if b == separator => At::Start,
            (At::Quote, _) => return Err("ends a value, and more of the value follows"),
        })
    }
}

/// Text with values between commas, or another character, that is passed through as it is, and held to the rules of its quotes on the way: a stray quote, which readers
/// join lines by, is an error that names its line.
#[derive(Debug)]
pub struct StrictQuotes<R> {
    input: R,
    separator: u8,
    at: At,
    line: usize,
    /// Bytes at the start that are no text.
    mark: usize,
    /// A carriage return that may belong to the end of the line.
    is_return: bool,
}

impl<R: Read> StrictQuotes<R> {
    /// Text that has not been read yet.
    pub fn new(input: R) -> Self {
        Self { input, separator: b',', at: At::Start, line: 1, mark: 0, is_return: false }
    }

    /// Another character than a comma between values.
    #[must_use]
    pub fn separated_by(self, separator: u8) -> Self {
        Self { separator, ..self }
    }

    fn see(&mut self, byte: u8) -> std::result::Result<(), &'static str> {
        if self.line == 1 && self.mark < MARK.len() {
            if byte == MARK[self.mark] {
                self.mark += 1;
                return Ok(());
            }
            self.mark = MARK.len();
        }
        if self.at != At::Quoted && byte == b'\n' {
            (self.at, self.is_return) = (At::Start, false);
        } else if self.at != At::Quoted && byte == b'\r' {
            self.is_return = true;
        } else {
            if std::mem::take(&mut self.is_return) && self.at == At::Quote {
                return Err("ends a value, and more of the value follows");
            }
            self.at = self.at.then(byte, self.separator, b'"')?;
        }
        self.line += usize::from(byte == b'\n');
        Ok(())
    }
}

impl<R: Read> Read for StrictQuotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        let refused = |line: usize, what: &str| {
            let what = format!("line {line}: a quote {what}; quotes within quotes are doubled");
            std::io::Error::new(std::io::ErrorKind::InvalidData, what)
        };
        for &byte in &buffer[..read] {
            let line = self.line;
            self.see(byte).map_err(|what| refused(line, what))?;
        }
        if read == 0 && !buffer.is_empty() && self.at == At::Quoted {
            return Err(refused(self.line, "is never closed"));
        }
        Ok(read)
    }
}

/// The values of a line; quotes stay on them.
fn cut(text: &str, separator: u8, quote: Option<u8>) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |letter: char| {
        quoted ^= quote.is_some_and(|quote| letter == char::from(quote));
        !quoted && letter == char::from(separator)
    })
}

/// A value without the quotes round it.
fn unquoted(value: &str, quote: Option<u8>) -> &str {
    quote.map_or(value, |quote| value.trim_matches(char::from(quote)))
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

    #[test]
    fn strict_quotes_pass_what_is_whole_and_stop_at_what_is_not() {
        let read = |text: &str| {
            let mut out = String::new();
            StrictQuotes::new(text.as_bytes()).read_to_string(&mut out).map(|_| out).map_err(|e| e.to_string())
        };
        for whole in ["\u{feff}\"a\",b\r\n\"x\"\"y\",\"1,\n2\"\r\n,\n", "a,b\n1,2", ""] {
            assert_eq!(read(whole), Ok(whole.to_string()));
        }
        for (stray, line) in [("a,b\n1,\"x\n2,3\n", 4), ("a\nPa\"ris\n", 2), ("a\n\"Pa\"ris\n", 2)] {
            let message = read(stray).unwrap_err();
            assert!(message.starts_with(&format!("line {line}: a quote ")), "{message}");
        }
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
