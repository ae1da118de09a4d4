//! CSV and TSV, record by record.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::{ErrorKind, Reader, StringRecord};
use stem_core::files::FileError;

use super::chunk::{Cells, Chunk};
use super::format::TableFormat;
use super::{Facts, ROWS_AT_ONCE, open};
use crate::error::{Error, Result};
use crate::source::files::SourceFile;
use crate::source::{StrictQuotes, header_in_quotes, sniff};

type Open = Reader<Box<dyn Read>>;

/// Text files as one table.
pub(super) struct TextFiles {
    format: TableFormat,
    /// Names of all columns, in the order of first sight.
    columns: Arc<[String]>,
    files: Vec<TextFile>,
}

struct TextFile {
    path: PathBuf,
    /// Names in its first line.
    header: Vec<String>,
    partitions: Vec<(String, Option<String>)>,
    /// Kept where it cannot be opened twice.
    open: Option<Open>,
}

impl TextFiles {
    /// Reads the first line of each file.
    ///
    /// # Errors
    /// Files that do not read, and files without a common column.
    pub(super) fn open(files: Vec<SourceFile>, format: TableFormat, facts: &mut Facts) -> Result<Self> {
        let (mut texts, mut empty) = (Vec::with_capacity(files.len()), None);
        for SourceFile { path, partitions, .. } in files {
            let (mut reader, start) = reader(&path, format)?;
            let header = reader.headers().map_err(|error| unreadable(&path, 1, error))?;
            if header.is_empty() {
                let found = if start.is_empty() { "0 bytes" } else { "blank lines alone" };
                empty = Some(Error::NoRows { path, found }); // writers leave parts without rows
                continue;
            }
            let header: Vec<String> = header.iter().map(str::to_string).collect();
            hint_of_separator(&path, &header, &start, format)?;
            let open = (!path.is_file()).then_some(reader);
            texts.push(TextFile { path, header, partitions, open });
        }
        if let (true, Some(error)) = (texts.is_empty(), empty) {
            return Err(error);
        }
        let columns = together(&texts, facts)?;
        Ok(Self { format, columns, files: texts })
    }

    pub(super) fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    /// Hands all rows over.
    pub(super) fn for_each_chunk<E: From<Error>>(self, mut see: impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
        let mut first = 0;
        for file in self.files {
            let source = file.places(&self.columns);
            let names = file.header.len();
            let mut open = match file.open {
                Some(open) => open,
                None => {
                    let (mut open, _) = reader(&file.path, self.format)?;
                    open.headers().map_err(|error| unreadable(&file.path, 1, error))?;
                    open
                }
            };
            let start = first;
            loop {
                let places = vec![(start, file.path.clone())];
                let mut chunk = Chunk::new(self.columns.clone(), Cells::Records(Vec::new()), first, places);
                let is_last = fill(&mut open, &file.path, names, &mut chunk)?;
                first = chunk.next_row();
                if let (Some(source), Cells::Records(records)) = (&source, &mut chunk.cells) {
                    records.iter_mut().for_each(|record| *record = source.arranged(record));
                }
                see(chunk)?;
                if is_last {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl TextFile {
    /// Names of the columns, those of its folders included.
    fn names(&self) -> Vec<String> {
        let own = |name: &String| self.header.contains(name);
        let folders = self.partitions.iter().map(|(name, _)| name).filter(|name| !own(name));
        self.header.iter().chain(folders).cloned().collect()
    }

    /// Where the values of `columns` stand; `None` where they stand in order.
    fn places(&self, columns: &[String]) -> Option<Arrangement> {
        if self.header == columns {
            return None;
        }
        let from = columns.iter().map(|column| {
            let folder =
                || self.partitions.iter().find(|(name, _)| name == column).and_then(|(_, value)| value.clone());
            match self.header.iter().position(|name| name == column) {
                Some(place) => Origin::Line(place),
                None => Origin::Folder(folder().unwrap_or_default()),
            }
        });
        Some(Arrangement(from.collect()))
    }
}

/// Where each value of a row comes from.
struct Arrangement(Vec<Origin>);

enum Origin {
    Line(usize),
    Folder(String),
}

impl Arrangement {
    fn arranged(&self, record: &StringRecord) -> StringRecord {
        let value = |from: &Origin| match from {
            Origin::Line(place) => record.get(*place).unwrap_or_default().to_string(),
            Origin::Folder(value) => value.clone(),
        };
        self.0.iter().map(value).collect()
    }
}

/// The columns of all files.
fn together(files: &[TextFile], facts: &mut Facts) -> Result<Arc<[String]>> {
    let Some(first) = files.first() else { return Ok(Arc::new([])) };
    let mut columns = first.names();
    for file in &files[1..] {
        if file.header == first.header && file.names() == columns {
            continue;
        }
        if !file.header.iter().any(|name| columns.contains(name)) {
            let what = format!(
                "it has none of the columns of {} ({}): does its first line name the columns?",
                first.path.display(),
                columns.join(", ")
            );
            return Err(Error::Source { path: file.path.clone(), what });
        }
        let names = file.names();
        columns.extend(names.into_iter().filter(|name| !columns.contains(name)).collect::<Vec<_>>());
    }
    for column in &columns {
        let lacks = |file: &&TextFile| !file.names().contains(column);
        if let Some(file) = files.iter().find(lacks) {
            let count = files.iter().filter(lacks).count();
            let remark = format!(
                "column \"{column}\" is not in every file (in {count} it is missing, first in {}): it is read as null there",
                file.path.display()
            );
            facts.remarks.insert(column.clone(), remark);
        }
    }
    Ok(columns.into())
}

/// Reads rows until a chunk is full; gives whether the file ends here. Rows that are none are refused.
fn fill(open: &mut Open, path: &Path, columns: usize, chunk: &mut Chunk) -> Result<bool> {
    for _ in 0..ROWS_AT_ONCE {
        let mut record = StringRecord::new();
        match open.read_record(&mut record) {
            Ok(false) => return Ok(true),
            Ok(true) if record.len() == columns => chunk.push_record(record),
            Ok(true) => {
                let line = record.position().map_or(0, |at| at.line() as usize);
                let (path, found) = (path.to_path_buf(), record.len());
                chunk.refuse(Error::Ragged { path, line, expected: columns, found });
            }
            Err(error) if error.is_io_error() => return Err(unreadable(path, 0, error)),
            Err(error) => {
                let line = error.position().map_or(0, |at| at.line() as usize);
                chunk.refuse(unreadable(path, line, error));
            }
        }
    }
    Ok(false)
}

fn unreadable(path: &Path, line: usize, error: csv::Error) -> Error {
    match error.into_kind() {
        ErrorKind::Io(error) => FileError::of("read", path)(error).into(),
        ErrorKind::Utf8 { pos, .. } => {
            Error::Utf8 { path: path.into(), line: pos.map_or(line, |pos| pos.line() as usize) }
        }
        other => Error::Source { path: path.into(), what: format!("line {line}: {other:?}") },
    }
}

fn separator(format: TableFormat) -> u8 {
    if format == TableFormat::Tsv { b'\t' } else { b',' }
}

fn reader(path: &Path, format: TableFormat) -> Result<(Open, Vec<u8>)> {
    let (text, start) = open::text(path)?;
    let separator = separator(format);
    let quoting = format == TableFormat::Csv || header_in_quotes(&start, separator);
    let text: Box<dyn Read> = match quoting {
        true => Box::new(StrictQuotes::new(text).separated_by(separator)),
        false => Box::new(text),
    };
    let mut builder = csv::ReaderBuilder::new();
    Ok((builder.delimiter(separator).quoting(quoting).flexible(true).from_reader(text), start))
}

/// A table of one column whose lines another separator cuts into several is read with the wrong one.
fn hint_of_separator(path: &Path, header: &[String], start: &[u8], format: TableFormat) -> Result<()> {
    let [name] = header else { return Ok(()) };
    match sniff::separator(start) {
        Some((values, found)) if found != separator(format) => {
            let shown = if found == b'\t' { "\\t".to_string() } else { char::from(found).to_string() };
            let what = format!(
                "it is read as {format} and has one column, \"{name}\", but every line has {values} values between \"{shown}\": say its format, or read it by a recipe whose source has `separator = \"{shown}\"`"
            );
            Err(Error::Source { path: path.into(), what })
        }
        _ => Ok(()),
    }
}
