//! The lines of a text file, each with its number. Whoever reads text here reads it with these: what a line is, where its values end and
//! which number it has is decided once.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use stem_core::files::FileError;

use crate::error::{Error, Result};

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
    separator: u8,
    /// `None` where no quote stands in it.
    quote: Option<u8>,
}

impl<'l> Line<'l> {
    /// How many values it holds.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        match self.quote {
            Some(_) => self.cut().count(),
            None => 1 + self.text.as_bytes().iter().filter(|&&b| b == self.separator).count(),
        }
    }

    /// Its values, without the quotes round them.
    pub(crate) fn values(&self) -> impl Iterator<Item = Cow<'l, str>> + use<'l> {
        let quote = self.quote.map(char::from);
        self.cut().map(move |value| quote.map_or(Cow::Borrowed(value), |quote| unquoted(value, quote)))
    }

    /// Its values; quotes stay on them.
    fn cut(&self) -> impl Iterator<Item = &'l str> + use<'l> {
        let (separator, quote, mut quoted) = (char::from(self.separator), self.quote.map(char::from), false);
        self.text.split(move |letter: char| {
            quoted ^= quote == Some(letter);
            !quoted && letter == separator
        })
    }
}

/// A value without the quotes round it, and of two within it one.
fn unquoted(value: &str, quote: char) -> Cow<'_, str> {
    match value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)) {
        Some(value) if value.contains(quote) => value.replace(&format!("{quote}{quote}"), &quote.to_string()).into(),
        Some(value) => value.into(),
        None => value.into(),
    }
}

/// The lines of a file.
pub(crate) struct Lines<R> {
    path: PathBuf,
    reader: R,
    separator: u8,
    quote: Option<u8>,
    /// Number of the line that is read next, and of the one in `bytes`.
    next: usize,
    first: usize,
    bytes: Vec<u8>,
    /// Bytes at the start of `bytes` that are no text.
    mark: usize,
    has_quotes: bool,
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

impl Lines<BufReader<File>> {
    /// The lines of `path`, which messages call `shown`.
    pub(crate) fn open(path: &Path, shown: &Path, separator: u8, quote: Option<u8>) -> Result<Self> {
        let file = File::open(path).map_err(FileError::of("read", shown))?;
        Ok(Self::new(BufReader::with_capacity(1 << 18, file), shown, separator, quote))
    }
}

impl<R: BufRead> Lines<R> {
    /// The lines of what `reader` gives, which messages call `shown`.
    pub(crate) fn new(reader: R, shown: &Path, separator: u8, quote: Option<u8>) -> Self {
        let (path, bytes) = (shown.to_path_buf(), Vec::new());
        Self { path, reader, separator, quote, next: 1, first: 1, bytes, mark: 0, has_quotes: false }
    }

    /// The same, of which the first has this number.
    pub(crate) fn numbered_from(mut self, number: usize) -> Self {
        self.next = number;
        self
    }

    /// The next line.
    ///
    /// # Errors
    /// Bytes that are no UTF-8, and quotes that stand where none may.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>> {
        match self.read()? {
            true => self.line().map(Some),
            false => Ok(None),
        }
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    /// Those of [`next`](Self::next).
    pub(crate) fn next_row(&mut self) -> Result<Option<Line<'_>>> {
        while self.read()? {
            if !without_end(&self.bytes[self.mark..]).is_empty() {
                return self.line().map(Some);
            }
        }
        Ok(None)
    }

    /// Reads a line into `bytes`; gives whether there was one.
    fn read(&mut self) -> Result<bool> {
        let mut at = At::Start;
        (self.first, self.mark, self.has_quotes) = (self.next, 0, false);
        self.bytes.clear();
        let stray = |line: usize, what| Error::Quote { path: self.path.clone(), line, what };
        loop {
            let from = self.bytes.len();
            let read = self.reader.read_until(b'\n', &mut self.bytes);
            if read.map_err(FileError::of("read", &self.path))? == 0 {
                if at == At::Quoted {
                    return Err(stray(self.first, "is never closed"));
                }
                break;
            }
            self.next += 1;
            if self.next == 2 && self.bytes.starts_with(MARK) {
                self.mark = MARK.len();
            }
            let line = without_end(&self.bytes[from.max(self.mark)..]);
            if self.next == 2 && !self.bytes.ends_with(b"\n") && line.contains(&b'\r') {
                let what = "its lines end in a carriage return alone, as very old programs wrote them: end them in line feeds, tr '\\r' '\\n'";
                return Err(Error::Source { path: self.path.clone(), what: what.into() });
            }
            if let Some(quote) = self.quote.filter(|quote| at == At::Quoted || line.contains(quote)) {
                self.has_quotes = true;
                at = follow(line, self.separator, quote, at).map_err(|what| stray(self.next - 1, what))?;
            }
            if at != At::Quoted {
                break;
            }
            if self.bytes.len() > LONGEST {
                return Err(stray(self.first, "is never closed"));
            }
        }
        Ok(self.next > self.first)
    }

    /// The line in `bytes`.
    fn line(&self) -> Result<Line<'_>> {
        let text = std::str::from_utf8(without_end(&self.bytes[self.mark..])).map_err(|error| {
            let before = self.bytes[..self.mark + error.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
            Error::Utf8 { path: self.path.clone(), line: self.first + before }
        })?;
        let quote = self.quote.filter(|_| self.has_quotes);
        Ok(Line { number: self.first, text, separator: self.separator, quote })
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Number and values of each line that is not blank.
    fn rows(text: &[u8]) -> Result<Vec<(usize, Vec<String>)>> {
        let mut lines = Lines::new(text, Path::new("t.csv"), b',', Some(b'"'));
        let mut rows = Vec::new();
        while let Some(line) = lines.next_row()? {
            let values: Vec<String> = line.values().map(Cow::into_owned).collect();
            assert_eq!(line.count(), values.len());
            rows.push((line.number, values));
        }
        Ok(rows)
    }

    #[test]
    fn a_line_has_the_number_that_an_editor_shows_whatever_ends_lines_and_stands_before() {
        let found = |text: &str| -> Vec<usize> { rows(text.as_bytes()).unwrap().iter().map(|row| row.0).collect() };
        for end in ["\n", "\r\n"] {
            assert_eq!(found(&["a,b", "1,2", "", "3,4", "5,6"].join(end)), [1, 2, 4, 5]);
            assert_eq!(found(&["\u{feff}a,b", "\"1", "\",2", "3,4", ""].join(end)), [1, 2, 4]);
            assert_eq!(found(&["", "", "a,b", "1,2"].join(end)), [3, 4]);
        }
    }

    #[test]
    fn values_come_without_their_quotes() {
        let text = "\u{feff}\"a\",b\r\n\"x\"\"y\",\"1,\n2\"\r\n,\n\"\",\"\"\"\"\n";
        let found: Vec<Vec<String>> = rows(text.as_bytes()).unwrap().into_iter().map(|row| row.1).collect();
        let expected = [["a", "b"], ["x\"y", "1,\n2"], ["", ""], ["", "\""]];
        assert_eq!(found, expected.map(|row| row.map(String::from).to_vec()));
    }

    #[test]
    fn what_is_no_line_of_text_is_told_by_its_number() {
        let refused = |text: &[u8]| rows(text).unwrap_err().to_string();
        assert!(refused(b"a,b\r\n1,2\r\n3,\xff\r\n").starts_with("t.csv:3: not valid UTF-8"));
        assert!(refused(b"a,b\r\n\"1\r\n2\xff\",2\r\n").starts_with("t.csv:3: not valid UTF-8"));
        for (stray, line) in [("a,b\r\n1,\"x\r\n2,3\r\n", 2), ("a\nPa\"ris\n", 2), ("a\n\n\"Pa\"ris\n", 3)] {
            assert!(refused(stray.as_bytes()).starts_with(&format!("t.csv:{line}: a quote ")), "{stray}");
        }
        assert!(refused(b"a,b\r1,2\r3,4\r").contains("a carriage return alone"));
    }
}
