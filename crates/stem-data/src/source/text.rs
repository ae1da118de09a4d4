//! Text tables: their dialect, their columns, and the types that the values of the first rows decide.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use polars::prelude::*;

use super::checks::{TextColumn, TextTable};
use super::files::SourceFile;
use super::infer::{self, Evidence, Inferred};
use super::lines::Lines;
use super::parts::{Part, together};
use super::rewrite::{Rewriting, SEPARATOR};
use super::scratch::Unpacked;
use super::{Table, dtype_of, sniff};
use crate::error::{Error, Fault, Result};
use crate::recipe::{ColumnType, Format, Quote, Source};
use crate::stop::StopFlag;

/// Rows of a file whose values decide the types that the recipe leaves open.
const ROWS_TO_INFER: usize = 10_000;
/// Rows of all files that are looked at for this.
const ROWS_IN_ALL: usize = 100_000;

/// A file, and how it begins.
struct Text {
    file: SourceFile,
    /// What is read in its place.
    path: PathBuf,
    quote: Option<u8>,
    names: Vec<String>,
    /// Names that the header holds more than once.
    repeated: Vec<String>,
}

/// What the first rows of all files say of a column.
#[derive(Default)]
struct Column {
    evidence: Evidence,
    /// The first value that is no number, and where it stands.
    text: Option<String>,
    /// A time with an offset from UTC, where there is one.
    offset: Option<String>,
}

/// Opens the files of a text source as one table.
pub(super) fn open(
    recipe: &Path,
    source: &Source,
    files: Vec<SourceFile>,
    format: Format,
    unpacked: &mut Unpacked,
    stop: &StopFlag,
) -> Result<Table> {
    let dialect = &source.dialect;
    let separator = match dialect.separator.as_deref().map(str::as_bytes) {
        Some([byte]) => *byte,
        Some(_) => SEPARATOR,
        None if format == Format::Tsv => b'\t',
        None => b',',
    };
    let per_file = (ROWS_IN_ALL / files.len()).clamp(100, ROWS_TO_INFER);
    let (mut columns, mut order) = (HashMap::<String, Column>::new(), Vec::<String>::new());
    let (mut texts, mut empty) = (Vec::new(), None);
    for file in files {
        let start = sniff::start(&file.path)?;
        if start.is_empty() {
            empty = Some(Error::NoRows { path: file.path, found: "0 bytes" });
            continue; // writers leave parts without rows
        }
        let path = match Rewriting::of(&file.path, &start, dialect)? {
            None => file.path.clone(),
            Some(rewriting) => {
                let path = unpacked.file()?;
                let enough = |path: &Path| {
                    let quote = quote_of(source, format, path, separator);
                    has_rows(path, &file.path, (separator, quote), per_file)
                };
                // of a file that another rank reads the first rows are looked at, no more
                if file.is_read || !rewriting.run_first(&file.path, &path, stop)? || !enough(&path) {
                    rewriting.run(&file.path, &path, stop)?;
                }
                path
            }
        };
        let quote = quote_of(source, format, &path, separator);
        let names = match look(source, &file.path, &path, (separator, quote), per_file, &mut columns) {
            Err(error @ Error::NoRows { .. }) => {
                empty = Some(error);
                continue;
            }
            names => names?,
        };
        for name in &names.0 {
            if !order.contains(name) {
                order.push(name.clone());
            }
        }
        let (names, repeated) = names;
        texts.push(Text { file, path, quote, names, repeated });
    }
    if let (true, Some(error)) = (texts.is_empty(), empty) {
        return Err(error);
    }

    let in_folders = |name: &String| texts.iter().any(|text| text.file.partitions.iter().any(|(n, _)| n == name));
    let unknown = source.types.iter().filter(|(name, _)| !order.contains(name) && !in_folders(name));
    let faults = unknown.map(|(name, _)| {
        let what = format!("`types` names \"{name}\"; {} has: {}", texts[0].file.path.display(), order.join(", "));
        Fault { line: source.line, what }
    });
    let faults: Vec<Fault> = faults.collect();
    if !faults.is_empty() {
        return Err(Error::Recipe { path: recipe.into(), faults });
    }
    let given = |name: &str| source.types.iter().find(|(n, _)| n == name).map(|(_, kind)| *kind);
    let kind = |name: &str| {
        given(name).unwrap_or_else(|| match columns[name].evidence.inferred() {
            Inferred::Integer => ColumnType::Integer,
            Inferred::Float => ColumnType::Float,
            Inferred::Boolean => ColumnType::Boolean,
            Inferred::Text | Inferred::Nothing => ColumnType::Text,
        })
    };

    let mut table = Table::default();
    for name in texts.iter().flat_map(|text| &text.repeated) {
        let remark = format!("source \"{}\" has several columns \"{name}\": the first is read", source.name);
        table.facts.remarks.insert(name.clone(), remark);
    }
    for (name, column) in &columns {
        table.facts.offsets.extend(column.offset.iter().map(|offset| (name.clone(), offset.clone())));
        match column.evidence.inferred() {
            Inferred::Nothing if given(name).is_none() => drop(table.facts.undecided.insert(name.clone())),
            Inferred::Text => drop(column.text.clone().map(|text| table.facts.examples.insert(name.clone(), text))),
            _ => {}
        }
    }
    let mut parts = Vec::new();
    for same in
        texts.chunk_by(|a, b| a.names == b.names && a.quote == b.quote && a.file.partitions == b.file.partitions)
    {
        let first = &same[0];
        let schema: Schema = first.names.iter().map(|name| Field::new(name.into(), dtype_of(kind(name)))).collect();
        let own: Vec<&Text> = same.iter().filter(|text| text.file.is_read).collect();
        let stand_in = own.is_empty().then_some(first); // it has the columns, and no rows are read of it
        let paths = own.iter().copied().chain(stand_in).map(|text| PlRefPath::try_from_path(&text.path));
        let paths = paths.collect::<PolarsResult<_>>();
        let nulls = &dialect.null_values;
        let nulls = (!nulls.is_empty())
            .then(|| NullValues::AllColumns(nulls.iter().map(|text| text.as_str().into()).collect()));
        let frame = LazyCsvReader::new_paths(paths.map_err(Error::query)?)
            .with_glob(false)
            .with_separator(separator)
            .with_quote_char(first.quote)
            .with_null_values(nulls)
            .with_has_header(source.header)
            .with_schema(Some(schema.clone().into()))
            .finish()
            .map_err(Error::query)?;
        let frame = if own.is_empty() { frame.slice(0, 0) } else { frame };
        parts.push(Part { frame, schema, partitions: first.file.partitions.clone(), name: first.file.path.clone() });
        table.texts.extend(own.iter().map(|text| TextTable {
            path: text.path.clone(),
            shown: text.file.path.clone(),
            separator,
            quote: first.quote,
            header: source.header,
            columns: text.names.iter().map(|name| text_column(name, kind(name), given(name).is_some())).collect(),
            null_values: dialect.null_values.clone(),
        }));
    }
    together(source, parts, &mut table)?;
    Ok(table)
}

fn text_column(name: &str, kind: ColumnType, is_given: bool) -> TextColumn {
    TextColumn { name: name.into(), kind, is_key: false, is_given }
}

/// The quote of a source. In CSV it is `"`. Tab-separated logs hold titles and queries with single quotes in them: there a quote is a
/// letter, unless the names of the columns stand in quotes.
fn quote_of(source: &Source, format: Format, path: &Path, separator: u8) -> Option<u8> {
    match source.dialect.quote {
        _ if source.dialect.separator.as_ref().is_some_and(|separator| separator.len() > 1) => Some(b'"'), // as it was rewritten
        Some(Quote::None) => None,
        Some(Quote::Character(quote)) => Some(quote),
        None if format == Format::Csv || source.dialect.escape.is_some() => Some(b'"'),
        None => header_in_quotes(&sniff::start(path).unwrap_or_default(), separator).then_some(b'"'),
    }
}

/// Whether all values of the first line stand in quotes.
pub(crate) fn header_in_quotes(start: &[u8], separator: u8) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let first = start.split(|&b| b == b'\n' || b == b'\r').next().unwrap_or_default();
    let is_quoted = |value: &[u8]| value.len() > 1 && value.starts_with(b"\"") && value.ends_with(b"\"");
    first.split(|&b| b == separator).all(is_quoted)
}

/// Reads the first rows of a file: gives its columns' names, and adds what their values say.
fn look(
    source: &Source,
    shown: &Path,
    path: &Path,
    (separator, quote): (u8, Option<u8>),
    rows: usize,
    columns: &mut HashMap<String, Column>,
) -> Result<(Vec<String>, Vec<String>)> {
    let mut lines = Lines::open(path, shown, separator, quote)?;
    let first = match lines.next_row() {
        Err(error @ Error::Quote { line: 1, .. }) => {
            hint_of_separator(source, shown, path, &["...".into()], separator)?; // a quote within what is no value
            return Err(error);
        }
        first => first?.map(|line| (line.number, line.values().map(Cow::into_owned).collect::<Vec<String>>())),
    };
    let Some((line, first)) = first else {
        return Err(Error::NoRows { path: shown.into(), found: "blank lines alone" });
    };
    let (names, repeated) = match &source.columns {
        Some(names) => (names.clone(), vec![]),
        None => named_once(&first),
    };
    if first.len() != names.len() {
        return Err(Error::Ragged { path: shown.into(), line, expected: names.len(), found: first.len() });
    }
    hint_of_separator(source, shown, path, &names, separator)?;
    if !source.header {
        lines = Lines::open(path, shown, separator, quote)?;
    }
    for name in &names {
        columns.entry(name.clone()).or_default();
    }
    let nulls = &source.dialect.null_values;
    for row in 0..rows {
        let Some(line) = lines.next_row()? else {
            match row {
                0 => return Err(Error::NoRows { path: shown.into(), found: "a header alone" }),
                _ => break,
            }
        };
        if let ([name], 0, 2..) = (names.as_slice(), row, line.count()) {
            let what = format!(
                "its first line holds one name, \"{name}\", and line {} has {} values: leave out what stands above the names of the columns",
                line.number,
                line.count()
            );
            return Err(Error::Source { path: shown.into(), what });
        }
        for (name, value) in names.iter().zip(line.values()) {
            let value = &*value;
            if value.is_empty() || nulls.iter().any(|null| null == value) || is_no_number(value) {
                continue;
            }
            let column = columns.get_mut(name).expect("every name was put in above");
            column.evidence.see(value);
            if column.offset.is_none() && has_offset(value) {
                column.offset = Some(value.to_string());
            }
            if column.text.is_none() && !infer::is_number(value) {
                let shown_value: String = value.chars().take(40).collect();
                column.text = Some(format!("\"{shown_value}\" ({}, line {})", shown.display(), line.number));
            }
        }
    }
    Ok((names, repeated))
}

/// Whether a text has more than so many rows, as far as it can be read.
fn has_rows(path: &Path, shown: &Path, (separator, quote): (u8, Option<u8>), rows: usize) -> bool {
    let Ok(mut lines) = Lines::open(path, shown, separator, quote) else { return false };
    (0..rows + 2).all(|_| matches!(lines.next_row(), Ok(Some(_))))
}

/// Whether this is a time with an offset from UTC other than none: `2024-03-01T00:00:00+05:30`.
fn has_offset(value: &str) -> bool {
    let bytes = value.as_bytes();
    let is_time = bytes.len() >= 17 && bytes[4] == b'-' && matches!(bytes[10], b'T' | b' ') && bytes[13] == b':';
    let Some(place) = value.rfind(['+', '-']).filter(|place| is_time && *place > 13) else { return false };
    let digits: String = value[place + 1..].chars().filter(|c| *c != ':').collect();
    matches!(digits.len(), 2 | 4) && digits.bytes().all(|b| b.is_ascii_digit()) && digits.bytes().any(|b| b != b'0')
}

/// How floats that are no numbers are written: among numbers, they make no text of a column.
fn is_no_number(value: &str) -> bool {
    let value = value.strip_prefix(['-', '+']).unwrap_or(value);
    ["nan", "inf", "infinity"].iter().any(|name| value.eq_ignore_ascii_case(name))
}

/// The names of a header, every later one of two that are the same told apart, and which were the same.
pub(crate) fn named_once(header: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut names, mut repeated) = (Vec::<String>::new(), Vec::new());
    for name in header {
        let count = (2..).map(|n| format!("{name}_{n}"));
        let unique = std::iter::once(name.to_string()).chain(count).find(|name| !names.contains(name));
        repeated.extend(unique.iter().filter(|unique| *unique != name).map(|_| name.to_string()));
        names.extend(unique);
    }
    (names, repeated)
}

/// A table of one column whose lines another separator cuts into several was read with the wrong one.
fn hint_of_separator(source: &Source, shown: &Path, path: &Path, names: &[String], separator: u8) -> Result<()> {
    if names.len() > 1 || source.dialect.separator.is_some() {
        return Ok(());
    }
    match sniff::separator(&sniff::start(path)?) {
        Some((values, found)) if found != separator => {
            let found = if found == b'\t' { "\\t".to_string() } else { char::from(found).to_string() };
            let what = format!(
                "it has one column, \"{}\", but every line has {values} values between \"{found}\": add `separator = \"{found}\"` to the source",
                names[0]
            );
            Err(Error::Source { path: shown.into(), what })
        }
        _ => Ok(()),
    }
}
