//! Tables are written as they were read, with columns of numbers beside them.

use std::io::{self, BufWriter, Write};

use csv::QuoteStyle;
use polars::io::parquet::write::BatchedWriter;
use polars::prelude::*;
use serde_json::Value as Json;

use super::chunk::{Cells, Chunk};
use super::format::TableFormat;
use super::json::{line_of, text_of};
use crate::error::{Error, Place};
use crate::source::named_once;

/// Rows of a Parquet file that are written together.
const ROWS_OF_GROUP: usize = 1 << 17;

/// Writes chunks of a table to one file, each row with more numbers behind it: CSV, TSV, JSON lines or Parquet.
///
/// A column of the table that is named like one of them is an error, or gives way to it where that is [asked for](Self::overwriting).
pub struct TableWriter<W: Write> {
    to: To<W>,
    appended: Appended,
}

/// The columns that are added.
struct Appended {
    names: Vec<String>,
    /// Whether columns of these names give way.
    overwrites: bool,
}

impl Appended {
    fn holds(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    /// Refuses columns of the names that are added, unless they are to give way.
    fn check<'c>(&self, chunk: &Chunk, row: usize, mut columns: impl Iterator<Item = &'c str>) -> io::Result<()> {
        match columns.find(|name| self.holds(name)) {
            Some(name) if !self.overwrites => {
                let (path, place) = chunk.place(row);
                let row = match place {
                    Place::Line(line) => format!("line {line}"),
                    Place::Row(row) => format!("row {row}"),
                };
                let what = format!("{row} has a column '{name}' already, which is one that is added");
                Err(of_table(Error::Source { path: path.into(), what }))
            }
            _ => Ok(()),
        }
    }
}

enum To<W: Write> {
    /// The table, whether quotes are letters, and whether its first line is written.
    Text(Box<csv::Writer<Packed<W>>>, bool, bool),
    Json(Packed<W>),
    /// What is written to, once the types are known; rows that wait to be written.
    Parquet(Option<W>, Option<Box<BatchedWriter<W>>>, Option<DataFrame>),
}

/// Text that is packed on the way.
enum Packed<W: Write> {
    Plain(BufWriter<W>),
    Gzip(flate2::write::GzEncoder<BufWriter<W>>),
    Zstd(zstd::Encoder<'static, BufWriter<W>>),
}

impl<W: Write> TableWriter<W> {
    /// A table in the format and the packing that the end of its name says (`scores.csv`, `scores.jsonl.gz`), CSV where there is no
    /// such end. `appended` names the columns that are added.
    ///
    /// # Errors
    /// A name that ends otherwise, in words.
    pub fn new(name: &str, to: W, appended: &[String]) -> io::Result<Self> {
        let format = written_format(name)?;
        let packed = |to: W| -> io::Result<Packed<W>> {
            let to = BufWriter::with_capacity(1 << 16, to);
            Ok(match name.to_ascii_lowercase() {
                name if name.ends_with(".gz") => {
                    Packed::Gzip(flate2::write::GzEncoder::new(to, flate2::Compression::default()))
                }
                name if name.ends_with(".zst") => {
                    Packed::Zstd(zstd::Encoder::new(to, zstd::DEFAULT_COMPRESSION_LEVEL)?)
                }
                _ => Packed::Plain(to),
            })
        };
        let to = match format {
            TableFormat::Parquet => To::Parquet(Some(to), None, None),
            TableFormat::JsonLines => To::Json(packed(to)?),
            format => {
                let letters = format == TableFormat::Tsv;
                let (style, separator) =
                    if letters { (QuoteStyle::Never, b'\t') } else { (QuoteStyle::Necessary, b',') };
                let writer = csv::WriterBuilder::new().quote_style(style).delimiter(separator).from_writer(packed(to)?);
                To::Text(Box::new(writer), letters, false)
            }
        };
        Ok(Self { to, appended: Appended { names: appended.to_vec(), overwrites: false } })
    }

    /// The same; columns of the table that are named like those that are added are left out.
    #[must_use]
    pub fn overwriting(mut self, overwrites: bool) -> Self {
        self.appended.overwrites = overwrites;
        self
    }

    /// Writes rows; `numbers` holds those that are added, row by row. `[n, A]`
    ///
    /// # Errors
    /// What the output does not take, and cells that the format cannot hold.
    pub fn write(&mut self, chunk: &Chunk, numbers: &[f32]) -> io::Result<()> {
        let appended = &self.appended;
        appended.check(chunk, 0, chunk.columns().iter().map(String::as_str))?;
        match &mut self.to {
            To::Text(writer, letters, has_header) => {
                let kept: Vec<bool> = chunk.columns().iter().map(|name| !appended.holds(name)).collect();
                if !std::mem::replace(has_header, true) {
                    let names = kept_of(chunk.columns(), &kept).chain(&appended.names).map(String::as_str);
                    write_record(writer, *letters, names).map_err(of_csv)?;
                }
                write_text(writer, *letters, chunk, &kept, numbers, appended.names.len().max(1))
            }
            To::Json(to) => write_json(to, chunk, appended, numbers),
            To::Parquet(to, writer, waiting) => {
                let frame = with_numbers(chunk, appended, numbers)?;
                match waiting {
                    Some(waiting) => drop(waiting.vstack_mut(&frame).map_err(of_polars)?),
                    None => *waiting = Some(frame),
                }
                match waiting.as_ref().is_some_and(|waiting| waiting.height() >= ROWS_OF_GROUP) {
                    true => write_group(to, writer, waiting),
                    false => Ok(()),
                }
            }
        }
    }

    /// Writes what waits, and the end of the file.
    ///
    /// # Errors
    /// What the output does not take.
    pub fn finish(self) -> io::Result<()> {
        match self.to {
            To::Text(writer, ..) => writer.into_inner().map_err(|error| error.into_error())?.finish(),
            To::Json(to) => to.finish(),
            To::Parquet(mut to, mut writer, mut waiting) => {
                write_group(&mut to, &mut writer, &mut waiting)?;
                writer.map_or(Ok(()), |writer| writer.finish().map(drop).map_err(of_polars))
            }
        }
    }
}

/// The format that a name asks for.
fn written_format(name: &str) -> io::Result<TableFormat> {
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    match TableFormat::of_name(file) {
        Some(TableFormat::Ipc) | None if file.contains('.') => {
            let what = "its name does not tell a format that is written: .csv, .tsv, .jsonl (each with .gz or .zst behind it) or .parquet";
            Err(io::Error::other(what))
        }
        Some(TableFormat::Parquet) if !(file.ends_with("parquet") || file.ends_with("pq")) => {
            Err(io::Error::other("a Parquet file is packed in itself: leave .gz and .zst out"))
        }
        format => Ok(format.unwrap_or(TableFormat::Csv)),
    }
}

/// Those of some cells that are kept.
fn kept_of<C>(cells: impl IntoIterator<Item = C>, kept: &[bool]) -> impl Iterator<Item = C> {
    cells.into_iter().zip(kept).filter_map(|(cell, kept)| kept.then_some(cell))
}

fn write_text<W: Write>(
    writer: &mut csv::Writer<W>,
    letters: bool,
    chunk: &Chunk,
    kept: &[bool],
    numbers: &[f32],
    width: usize,
) -> io::Result<()> {
    let shown = |numbers: &[f32]| numbers.iter().map(f32::to_string).collect::<Vec<_>>();
    let rows = numbers.chunks(width);
    if let Cells::Records(records) = &chunk.cells {
        for (record, numbers) in records.iter().zip(rows) {
            let numbers = shown(numbers);
            let cells = kept_of(record, kept).chain(numbers.iter().map(String::as_str));
            write_record(writer, letters, cells).map_err(of_csv)?;
        }
        return Ok(());
    }
    let columns = chunk.json().map_err(of_table)?;
    for (row, numbers) in rows.enumerate().take(chunk.len()) {
        let cells = kept_of(&columns, kept).map(|column| text_of(&column[row]));
        let cells: Vec<String> = cells.chain(shown(numbers)).collect();
        write_record(writer, letters, cells.iter().map(String::as_str)).map_err(of_csv)?;
    }
    Ok(())
}

/// Writes a line; in TSV, where a quote is a letter, no cell can hold what ends one.
fn write_record<'c, W: Write>(
    writer: &mut csv::Writer<W>,
    letters: bool,
    cells: impl Iterator<Item = &'c str>,
) -> csv::Result<()> {
    for cell in cells {
        if letters && cell.contains(['\t', '\n', '\r']) {
            let shown: String = cell.chars().take(40).collect();
            let what = format!("a tab or an end of a line stands in {shown:?}, which TSV cannot hold: write CSV");
            return Err(io::Error::other(what).into());
        }
        writer.write_field(cell)?;
    }
    writer.write_record(None::<&[u8]>)
}

fn write_json<W: Write>(to: &mut W, chunk: &Chunk, appended: &Appended, numbers: &[f32]) -> io::Result<()> {
    let pairs = |numbers: &[f32]| {
        let pair = |(name, number): (&String, &f32)| format!("{}:{number}", Json::String(name.clone()));
        appended.names.iter().zip(numbers).map(pair).collect::<Vec<_>>().join(",")
    };
    let rows = numbers.chunks(appended.names.len().max(1));
    let mut write = |line: &str, numbers: &[f32]| {
        let open = line.trim_end().strip_suffix('}').unwrap_or(line).trim_end();
        let comma = if open.ends_with('{') { "" } else { "," };
        writeln!(to, "{open}{comma}{}}}", pairs(numbers))
    };
    if let Cells::Objects(objects, _) = &chunk.cells {
        for ((row, object), numbers) in objects.iter().enumerate().zip(rows) {
            appended.check(chunk, row, object.values.iter().map(|(name, _)| name.as_str()))?; // the first rows may lack it
            let is_added = |(name, _): &&(String, Json)| appended.holds(name);
            match object.values.iter().any(|pair| is_added(&pair)) {
                false => write(&object.line, numbers)?,
                true => {
                    let kept = object.values.iter().filter(|pair| !is_added(pair)).cloned().collect::<Vec<_>>();
                    write(&line_of(&kept), numbers)?;
                }
            }
        }
        return Ok(());
    }
    let names = named_once(chunk.columns()).0;
    let columns = chunk.json().map_err(of_table)?;
    for (row, numbers) in rows.enumerate().take(chunk.len()) {
        let pairs = names.iter().zip(&columns).filter(|(name, _)| !appended.holds(name));
        let pairs: Vec<(String, Json)> = pairs.map(|(name, column)| (name.clone(), column[row].clone())).collect();
        write(&line_of(&pairs), numbers)?;
    }
    Ok(())
}

/// The table of a chunk with its numbers.
fn with_numbers(chunk: &Chunk, appended: &Appended, numbers: &[f32]) -> io::Result<DataFrame> {
    let frame = chunk.frame().map_err(of_table)?;
    let mut columns: Vec<Column> =
        frame.columns().iter().filter(|column| !appended.holds(column.name())).cloned().collect();
    for (place, name) in appended.names.iter().enumerate() {
        let numbers: Vec<f32> = numbers.iter().skip(place).step_by(appended.names.len()).copied().collect();
        columns.push(Column::new(name.into(), numbers));
    }
    DataFrame::new(chunk.len(), columns).map_err(of_polars)
}

fn write_group<W: Write>(
    to: &mut Option<W>,
    writer: &mut Option<Box<BatchedWriter<W>>>,
    waiting: &mut Option<DataFrame>,
) -> io::Result<()> {
    let Some(mut frame) = waiting.take() else { return Ok(()) };
    if let Some(to) = to.take() {
        *writer = Some(Box::new(ParquetWriter::new(to).batched(frame.schema()).map_err(of_polars)?));
    }
    frame.rechunk_mut();
    match writer {
        Some(writer) if frame.height() > 0 => writer.write_batch(&frame).map_err(of_polars),
        _ => Ok(()),
    }
}

impl<W: Write> Packed<W> {
    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut to) => to.flush(),
            Self::Gzip(to) => to.finish()?.flush(),
            Self::Zstd(to) => to.finish()?.flush(),
        }
    }
}

impl<W: Write> Write for Packed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(to) => to.write(bytes),
            Self::Gzip(to) => to.write(bytes),
            Self::Zstd(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.flush(),
            Self::Gzip(to) => to.flush(),
            Self::Zstd(to) => to.flush(),
        }
    }
}

fn of_csv(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")), // records of one length, by the header
    }
}

fn of_polars(error: PolarsError) -> io::Error {
    match error {
        PolarsError::IO { error, .. } => io::Error::new(error.kind(), error.to_string()),
        other => io::Error::other(crate::source::plain(&other)),
    }
}

fn of_table(error: Error) -> io::Error {
    io::Error::other(error)
}
