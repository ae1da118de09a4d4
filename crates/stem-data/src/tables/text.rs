//! CSV and TSV, record by record.

use std::borrow::Cow;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::StringRecord;

use super::chunk::{Cells, Chunk};
use super::format::TableFormat;
use super::{Facts, ROWS_AT_ONCE, open};
use crate::error::{Error, Result};
use crate::source::files::SourceFile;
use crate::source::{Lines, header_in_quotes, sniff};

type Open = Lines<Box<dyn BufRead>>;

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
            let header = header(&mut reader)?;
            if header.is_empty() {
                let found = if start.is_empty() { "0 bytes" } else { "blank lines alone" };
                empty = Some(Error::NoRows { path, found }); // writers leave parts without rows
                continue;
            }
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
                    header(&mut open)?;
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

/// The values of the first line; none where there is no line.
fn header(open: &mut Open) -> Result<Vec<String>> {
    let line = open.next_row().map_err(in_a_table)?;
    Ok(line.map_or_else(Vec::new, |line| line.values().map(Cow::into_owned).collect()))
}

/// Reads rows until a chunk is full; gives whether the file ends here. Rows that are none are refused.
fn fill(open: &mut Open, path: &Path, columns: usize, chunk: &mut Chunk) -> Result<bool> {
    for _ in 0..ROWS_AT_ONCE {
        match open.next_row() {
            Ok(None) => return Ok(true),
            Ok(Some(line)) => {
                let record: StringRecord = line.values().collect();
                match record.len() {
                    found if found == columns => chunk.push_record(record, line.number),
                    found => {
                        chunk.refuse(Error::Ragged { path: path.into(), line: line.number, expected: columns, found });
                    }
                }
            }
            Err(error @ Error::Utf8 { .. }) => chunk.refuse(error),
            Err(error) => return Err(in_a_table(error)),
        }
    }
    Ok(false)
}

/// Advice that needs no recipe.
fn in_a_table(error: Error) -> Error {
    match error {
        Error::Quote { path, line, what } => {
            Error::Source { path, what: format!("line {line}: a quote {what}; quotes within quotes are doubled") }
        }
        other => other,
    }
}

fn separator(format: TableFormat) -> u8 {
    if format == TableFormat::Tsv { b'\t' } else { b',' }
}

fn reader(path: &Path, format: TableFormat) -> Result<(Open, Vec<u8>)> {
    let (text, start) = open::text(path)?;
    let separator = separator(format);
    let quoting = format == TableFormat::Csv || header_in_quotes(&start, separator);
    Ok((Lines::new(text, path, separator, quoting.then_some(b'"')), start))
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
