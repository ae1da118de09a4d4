//! Parquet and Arrow IPC files: which of their columns can be read, and as what.
//!
//! A column that cannot be read does not matter until a recipe uses it. Polars panics on some types when it merely sees them in a
//! file's schema, so the schema is read here and handed to it without them.

use std::fs::File;
use std::path::{Path, PathBuf};

use polars::prelude::*;
use polars::prelude::{ArrowDataType as Arrow, ArrowSchema, ArrowTimeUnit};
use stem_core::files::FileError;

use super::files::SourceFile;
use super::parts::{Part, together};
use super::scratch::Unpacked;
use super::{Table, plain, sniff};
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::recipe::{Format, Source};
use crate::stop::StopFlag;

/// Opens the files of a source as one table. Its columns are of the types that the rest of the crate knows; with `keeps_types` they are
/// of those in the files, where all files have the same.
pub(super) fn open(
    source: &Source,
    files: Vec<SourceFile>,
    format: Format,
    keeps_types: bool,
    unpacked: &mut Unpacked,
    stop: &StopFlag,
) -> Result<Table> {
    let mut table = Table { rows: Some(0), ..Table::default() };
    let mut read = Vec::with_capacity(files.len());
    for file in files {
        let Found { schema, rows, bare } = schema_of(&file.path, format)?;
        if file.is_read {
            table.rows = table.rows.and_then(|so_far| Some(so_far + rows?));
            table.files.push((file.path.clone(), rows));
        }
        let mut readable = Schema::default();
        for (name, field) in schema.iter() {
            let dtype = readable_type(&field.dtype).and_then(|()| {
                guarded(|| DataType::from_arrow_field(field))
                    .map_err(|_| format!("{:?}, which is not read", field.dtype))
            });
            match dtype {
                Ok(dtype) => drop(readable.with_column(name.clone(), dtype)),
                Err(why) => {
                    let why = format!("column \"{name}\" of {} is {why}", file.path.display());
                    table.facts.unreadable.entry(name.to_string()).or_insert(why);
                }
            }
        }
        let is_odd = bare || readable.len() != schema.len();
        read.push((file, readable, is_odd));
    }
    let unreadable: Vec<PlSmallStr> = table.facts.unreadable.keys().map(|name| name.as_str().into()).collect();
    for (_, schema, _) in &mut read {
        schema.retain(|name, _| !unreadable.contains(name));
    }
    let keeps_types = keeps_types && read.windows(2).all(|pair| pair[0].1 == pair[1].1);
    let read_as = |name: &PlSmallStr, dtype: &DataType| match keeps_types {
        true => (Expr::Column(name.clone()), dtype.clone()),
        false => canonical(Expr::Column(name.clone()), dtype),
    };
    let mut parts = Vec::new();
    for same in read.chunk_by(|a, b| a.1 == b.1 && a.2 == b.2 && a.0.partitions == b.0.partitions) {
        let (first, schema, is_odd) = &same[0];
        let own: Vec<&PathBuf> = same.iter().filter(|(file, ..)| file.is_read).map(|(file, ..)| &file.path).collect();
        let frame = if own.is_empty() {
            Ok(DataFrame::empty_with_schema(schema).lazy()) // another rank reads them
        } else if !is_odd {
            scan(own.into_iter(), format, schema)
        } else {
            let names: Vec<String> = schema.iter_names().map(|name| name.to_string()).collect();
            let mut readable = Vec::with_capacity(own.len());
            for file in own {
                let path = unpacked.file()?;
                rewrite_readable(file, format, &names, schema, &path, stop)?;
                readable.push(path);
            }
            scan(readable.iter(), Format::Parquet, schema)
        };
        let frame = frame.map_err(Error::query)?;
        let columns = schema.iter().map(|(name, dtype)| (read_as(name, dtype), name.clone()));
        let (exprs, schema): (Vec<Expr>, Schema) =
            columns.map(|((expr, dtype), name)| (expr.alias(name.clone()), Field::new(name, dtype))).unzip();
        let frame = frame.select(exprs);
        parts.push(Part { frame, schema, partitions: first.partitions.clone(), name: first.path.clone() });
    }
    together(source, parts, &mut table)?;
    Ok(table)
}

fn scan<'p>(paths: impl Iterator<Item = &'p PathBuf>, format: Format, schema: &Schema) -> PolarsResult<LazyFrame> {
    let paths = paths.map(|path| PlRefPath::try_from_path(path)).collect::<PolarsResult<_>>()?;
    let sources = ScanSources::Paths(paths);
    let args = UnifiedScanArgs { glob: false, hive_options: HiveOptions::new_disabled(), ..Default::default() };
    let plan = match format {
        Format::Ipc => DslBuilder::scan_ipc(sources, IpcScanOptions::default(), args)?,
        _ => {
            let options = ParquetOptions { schema: Some(schema.clone().into()), ..Default::default() };
            DslBuilder::scan_parquet(sources, options, args)?
        }
    };
    Ok(plan.build().into())
}

/// Rows that are written anew at a time.
const ROWS_AT_ONCE: usize = 1 << 18;

/// Writes the readable columns of a file that has others too as a Parquet file: Polars' streaming readers look at all types of a file.
fn rewrite_readable(
    path: &Path,
    format: Format,
    names: &[String],
    schema: &Schema,
    to: &Path,
    stop: &StopFlag,
) -> Result<()> {
    let refused = |error: PolarsError| Error::Source { path: path.into(), what: plain(&error) };
    let open = || File::open(path).map_err(FileError::of("read", path));
    let output = File::create(to).map_err(FileError::of("write", to))?;
    let mut output = ParquetWriter::new(output)
        .with_compression(ParquetCompression::Uncompressed)
        .batched(schema)
        .map_err(refused)?;
    let rows = match format {
        Format::Ipc => 0,
        _ => ParquetReader::new(open()?).num_rows().map_err(refused)?,
    };
    let mut first = 0;
    loop {
        if stop.is_set() {
            return Err(Error::Stopped);
        }
        let columns = Some(names.to_vec());
        let frame = match format {
            Format::Ipc => IpcReader::new(open()?).with_columns(columns).finish(),
            _ => without_arrow(open()?)
                .map_err(refused)?
                .with_columns(columns)
                .with_slice(Some((first, ROWS_AT_ONCE)))
                .set_rechunk(true)
                .finish(),
        };
        let frame = frame.and_then(|frame| frame.select(names)).map_err(refused)?;
        output.write_batch(&frame).map_err(refused)?;
        first += ROWS_AT_ONCE;
        if first >= rows {
            output.finish().map_err(refused)?;
            return Ok(());
        }
    }
}

/// The schema that a file says it has.
struct Found {
    schema: ArrowSchema,
    /// Its rows, where it says them.
    rows: Option<u64>,
    /// Whether it is the schema of Parquet alone, without what Arrow wrote beside it.
    bare: bool,
}

fn schema_of(path: &Path, format: Format) -> Result<Found> {
    let start = sniff::start(path)?;
    if start.is_empty() {
        return Err(Error::NoRows { path: path.into(), found: "0 bytes" });
    }
    let refused = |what: String| Error::Source { path: path.into(), what };
    let (magic, name): (&[u8], _) = match format {
        Format::Ipc => (b"ARROW1", "an Arrow IPC file"),
        _ => (b"PAR1", "a Parquet file"),
    };
    if !start.starts_with(magic) {
        let is = sniff::binary(&start).unwrap_or_else(|| "text; say so with `format = \"csv\"` or \"tsv\"".into());
        return Err(refused(format!("it is not {name}: it is {is}")));
    }
    let file = File::open(path).map_err(FileError::of("read", path))?;
    let damaged = |error: PolarsError| refused(format!("it is damaged, or was cut short: {}", plain(&error)));
    match format {
        Format::Ipc => {
            let mut reader = IpcReader::new(file);
            let schema = reader.schema().map_err(damaged)?;
            Ok(Found { schema: schema.as_ref().clone(), rows: None, bare: false })
        }
        _ => {
            let mut reader = ParquetReader::new(file);
            let shown = reader.schema().map_err(damaged)?;
            let mut schema = shown.as_ref().clone();
            let bare = schema.iter_values().any(|field| is_misread(&field.dtype));
            if bare {
                let file = File::open(path).map_err(FileError::of("read", path))?;
                let found = without_arrow(file).and_then(|mut reader| reader.schema()).map_err(damaged)?;
                schema = found.as_ref().clone();
                for (name, field) in shown.iter().filter(|(_, field)| field.dtype == Arrow::Float16) {
                    schema.with_column(name.clone(), field.clone()); // two bytes otherwise
                }
            }
            let rows = reader.num_rows().map_err(damaged)? as u64;
            Ok(Found { schema, rows: Some(rows), bare })
        }
    }
}

/// A reader of a Parquet file that passes over the Arrow schema in it. Parquet itself holds instants; the zone that they are shown in is
/// Arrow's.
fn without_arrow(file: File) -> PolarsResult<ParquetReader<File>> {
    let again = file.try_clone()?;
    let mut reader = ParquetReader::new(file);
    let mut metadata = reader.get_metadata()?.as_ref().clone();
    metadata.key_value_metadata = None;
    let mut bare = ParquetReader::new(again);
    bare.set_metadata(metadata.into());
    Ok(bare)
}

/// Whether what Arrow wrote beside Parquet's own schema leads Polars astray: zones that it does not know, and times of day in seconds,
/// which Parquet holds in milliseconds.
fn is_misread(dtype: &Arrow) -> bool {
    match dtype {
        Arrow::Timestamp(_, zone) => TimeZone::opt_try_new(zone.clone()).is_err(),
        Arrow::Time32(unit) => *unit == ArrowTimeUnit::Second,
        _ => false,
    }
}

/// Whether Polars reads a type, and why not.
fn readable_type(dtype: &Arrow) -> std::result::Result<(), String> {
    match dtype {
        Arrow::Timestamp(_, zone) => match TimeZone::opt_try_new(zone.clone()) {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "a time in the zone \"{}\", which is not read: write it in UTC, or in a zone of the time zone database",
                zone.as_deref().unwrap_or_default()
            )),
        },
        Arrow::Float16 => Err("of half floats (16 bits), which are not read: write them as 32-bit floats".into()),
        Arrow::Decimal256(precision, _) | Arrow::Decimal(precision, _) if *precision > 38 => Err(format!(
            "a decimal of {precision} digits, which is not read: write it with 38 digits at most, or as a float"
        )),
        Arrow::Interval(_) => Err("a calendar interval, which is not read: write it as a number".into()),
        Arrow::Union(_) | Arrow::Unknown | Arrow::Extension(_) => Err(format!("{dtype:?}, which is not read")),
        Arrow::List(inner) | Arrow::LargeList(inner) | Arrow::FixedSizeList(inner, _) | Arrow::Map(inner, _) => {
            readable_type(&inner.dtype).map_err(|why| format!("a list, each value {why}"))
        }
        Arrow::Struct(fields) => fields.iter().try_for_each(|field| readable_type(&field.dtype)),
        Arrow::Dictionary(_, values, _) => readable_type(values),
        _ => Ok(()),
    }
}

/// A column as one of the few types that the rest of the crate knows, with all its values: a warehouse writes whole numbers as
/// decimals, a time with a zone is an instant.
fn canonical(column: Expr, dtype: &DataType) -> (Expr, DataType) {
    let to = match dtype {
        DataType::Datetime(unit, Some(_)) => {
            let to = DataType::Datetime(*unit, None);
            return (column.to_physical().cast(to.clone()), to);
        }
        DataType::Array(inner, _) if !matches!(**inner, DataType::Array(..)) => {
            DataType::List(Box::new(plain_type(inner)))
        }
        DataType::List(inner) => DataType::List(Box::new(plain_type(inner))),
        dtype => plain_type(dtype),
    };
    if to == *dtype { (column, to) } else { (column.strict_cast(to.clone()), to) }
}

/// The type that holds all values of another: sums of small integers must not wrap round.
fn plain_type(dtype: &DataType) -> DataType {
    match dtype {
        DataType::Decimal(_, 0) => DataType::Int64,
        DataType::Decimal(..) => DataType::Float64,
        DataType::UInt64 => DataType::UInt64,
        dtype if dtype.is_integer() => DataType::Int64,
        dtype if dtype.is_float() => DataType::Float64,
        DataType::Categorical(..) | DataType::Enum(..) | DataType::Binary | DataType::BinaryOffset => DataType::String,
        dtype => dtype.clone(),
    }
}

/// A column as [`canonical`] reads it.
pub(crate) fn canonical_column(column: &Column) -> Result<Column> {
    let (expr, to) = canonical(col(column.name().clone()), column.dtype());
    if to == *column.dtype() {
        return Ok(column.clone());
    }
    let frame = DataFrame::new(column.len(), vec![column.clone()]).map_err(Error::query)?;
    let frame = guarded(|| frame.lazy().select([expr]).collect()).map_err(Error::query)?;
    let frame = frame.map_err(|error| Error::query(plain(&error)))?;
    frame.columns().first().cloned().ok_or_else(|| Error::query("a column was lost"))
}
