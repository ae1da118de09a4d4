//! From files to one lazy query: sources with explicit names and types, the SELECT over them, and what its columns can be.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use polars::prelude::*;
use polars::sql::SQLContext;
use stem_core::files::FileError;

use crate::dictionary::has_integer_keys;
use crate::error::{Error, Fault, Result};
use crate::lines::{self, TextTable};
use crate::plan;
use crate::recipe::{ColumnType, FieldRecipe, Format, Kind, Recipe, Source, SplitRecipe, nearest};
use crate::stop::StopFlag;

/// Rows whose values decide the type of a column that the recipe leaves open.
const ROWS_TO_INFER: usize = 10_000;
/// Rows that are encoded at a time.
const CHUNK: usize = 1 << 17;
/// Chunks that wait to be encoded while Polars reads on.
const AHEAD: usize = 2;

/// The SELECT, reduced to the columns that are used, and the text files it reads.
pub(crate) struct Query {
    frame: LazyFrame,
    tables: Vec<TextTable>,
    /// Type of each column of the SELECT.
    pub(crate) types: HashMap<String, DataType>,
}

/// Opens every source and runs the SELECT as far as its columns' names and types.
///
/// # Errors
/// Files that are missing or empty, and everything that the columns show to be wrong with the recipe.
pub(crate) fn open(recipe: &Recipe, data: &Path) -> Result<Query> {
    let context = SQLContext::new();
    let mut tables = Vec::new();
    for source in &recipe.sources {
        let (frame, table) = open_source(recipe, source, &data.join(&source.file))?;
        context.register(&source.name, frame);
        tables.extend(table);
    }
    let (frame, types) = select(recipe, context)?;
    let faults = faults(recipe, &frame.logical_plan, &types);
    if !faults.is_empty() {
        tables.iter().try_for_each(|table| table.check_shape(&StopFlag::default()))?; // a ragged line may be what made a column look wrong
        return Err(Error::Recipe { path: recipe.path.clone(), faults });
    }
    let used = used_columns(recipe).into_iter().map(|(column, _)| col(column)).collect::<Vec<_>>();
    let plan = plan::keep_order(frame.select(unique(used)).logical_plan);
    let frame = LazyFrame::from(plan);
    Ok(Query { frame, tables, types })
}

fn open_source(recipe: &Recipe, source: &Source, path: &Path) -> Result<(LazyFrame, Option<TextTable>)> {
    let size = std::fs::metadata(path).map_err(FileError::of("read", path))?.len();
    if size == 0 {
        return Err(Error::NoRows { path: path.into(), found: "0 bytes" });
    }
    let place = PlRefPath::try_from_path(path).map_err(Error::query)?;
    let unreadable = |error: PolarsError| Error::Query { what: format!("{}: {}", path.display(), plain(&error)) };
    match source.format {
        Format::Parquet => {
            let options = ScanArgsParquet { glob: false, ..Default::default() };
            let mut frame = LazyFrame::scan_parquet(place, options).map_err(unreadable)?;
            frame.collect_schema().map_err(unreadable)?;
            Ok((frame, None))
        }
        Format::Ipc => {
            let options = UnifiedScanArgs { glob: false, ..Default::default() };
            let mut frame = LazyFrame::scan_ipc(place, Default::default(), options).map_err(unreadable)?;
            frame.collect_schema().map_err(unreadable)?;
            Ok((frame, None))
        }
        Format::Text { separator } => {
            let Some((found, more)) = lines::first_line(path, separator)? else {
                return Err(Error::NoRows { path: path.into(), found: "0 bytes" });
            };
            if source.header && !more {
                return Err(Error::NoRows { path: path.into(), found: "a header alone" });
            }
            if let Some(expected) = source.columns.as_ref().map(Vec::len).filter(|&n| n != found) {
                return Err(Error::Ragged { path: path.into(), line: 1, expected, found });
            }
            let frame = LazyCsvReader::new(place)
                .with_glob(false)
                .with_separator(separator)
                .with_has_header(source.header)
                .with_infer_schema_length(Some(ROWS_TO_INFER))
                .with_schema_modify(|inferred| Ok(named(source, inferred)))
                .and_then(LazyCsvReader::finish);
            let mut frame = frame.map_err(unreadable)?;
            let schema = frame.collect_schema().map_err(unreadable)?;
            let unknown = source.types.iter().filter(|(name, _)| !schema.contains(name));
            let faults = unknown.map(|(name, _)| Fault {
                line: source.line,
                what: format!("`types` names \"{name}\"; {} has: {}", path.display(), names(&schema)),
            });
            let faults: Vec<Fault> = faults.collect();
            if !faults.is_empty() {
                return Err(Error::Recipe { path: recipe.path.clone(), faults });
            }
            let columns = schema.iter().map(|(name, dtype)| (name.to_string(), column_type(dtype))).collect();
            Ok((frame, Some(TextTable { path: path.into(), separator, header: source.header, columns })))
        }
    }
}

/// The inferred schema under the recipe's names and types.
fn named(source: &Source, inferred: Schema) -> Schema {
    let columns = source.columns.as_deref().unwrap_or_default();
    let types = |name: &str| source.types.iter().find(|(n, _)| n == name).map(|(_, t)| *t);
    let fields = inferred.into_iter().enumerate().map(|(place, (name, dtype))| {
        let name = columns.get(place).map_or(name, |name| name.as_str().into());
        let dtype = match types(&name) {
            Some(ColumnType::Integer) => DataType::Int64,
            Some(ColumnType::Float) => DataType::Float64,
            Some(ColumnType::Text) => DataType::String,
            None => dtype,
        };
        Field::new(name, dtype)
    });
    fields.collect()
}

fn column_type(dtype: &DataType) -> ColumnType {
    match dtype {
        dtype if dtype.is_integer() => ColumnType::Integer,
        dtype if dtype.is_float() => ColumnType::Float,
        _ => ColumnType::Text,
    }
}

fn select(recipe: &Recipe, mut context: SQLContext) -> Result<(LazyFrame, HashMap<String, DataType>)> {
    let sql = recipe.sql.clone().unwrap_or_else(|| format!("SELECT * FROM \"{}\"", recipe.sources[0].name));
    let fault = |error: PolarsError| Error::Recipe {
        path: recipe.path.clone(),
        faults: vec![Fault {
            line: recipe.lines.sql,
            what: format!("the SELECT does not work: {}{}", plain(&error), hint(&error)),
        }],
    };
    // Some malformed SELECTs panic inside Polars' SQL engine.
    let planned = catch_unwind(AssertUnwindSafe(|| {
        let mut frame = context.execute(&sql)?;
        let schema = frame.collect_schema()?;
        Ok((frame, schema))
    }));
    let panicked = || Err(PolarsError::ComputeError("the SQL engine cannot read it".into()));
    let (frame, schema) = planned.unwrap_or_else(|_| panicked()).map_err(fault)?;
    Ok((frame, schema.iter().map(|(name, dtype)| (name.to_string(), dtype.clone())).collect()))
}

/// Help with a message that does not say what to do.
fn hint(error: &PolarsError) -> &'static str {
    match error.to_string().contains("unsupported function") {
        true => "; a column or table that is called like a word of SQL wants double quotes: \"user\"",
        false => "",
    }
}

/// The first paragraph of a Polars message.
fn plain(error: &PolarsError) -> String {
    let message = error.to_string();
    message.split("\n\n").next().unwrap_or_default().trim().to_string()
}

/// Columns the recipe reads, each with the line that names it.
fn used_columns(recipe: &Recipe) -> Vec<(&str, usize)> {
    let fields = recipe.fields.iter().map(|f| (f.column.as_str(), f.line));
    let labels = recipe.labels.iter().map(|l| (l.column.as_str(), l.line));
    let group = recipe.group.iter().map(|g| (g.as_str(), recipe.lines.group));
    let split = match &recipe.split {
        SplitRecipe::Random { .. } => vec![],
        SplitRecipe::Column { column, .. } | SplitRecipe::Time { column, .. } => vec![column],
        SplitRecipe::Last { column, order, .. } => vec![column, order],
    };
    let split = split.into_iter().map(|column| (column.as_str(), recipe.lines.split));
    fields.chain(labels).chain(group).chain(split).collect()
}

fn unique(mut columns: Vec<Expr>) -> Vec<Expr> {
    let mut seen = PlHashSet::new();
    columns.retain(|column| seen.insert(column.clone()));
    columns
}

/// What the columns of the SELECT show to be wrong with the recipe.
fn faults(recipe: &Recipe, plan: &DslPlan, types: &HashMap<String, DataType>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (column, line) in used_columns(recipe) {
        if !types.contains_key(column) {
            let mut known: Vec<&str> = types.keys().map(String::as_str).collect();
            known.sort_unstable();
            let hint = nearest(column, known.iter().copied());
            let hint = hint.map_or(".".to_string(), |near| format!("; did you mean \"{near}\"?"));
            let what = format!("there is no column \"{column}\"{hint} The SELECT gives: {}", known.join(", "));
            faults.push(Fault { line, what });
        }
    }
    for field in &recipe.fields {
        if let Some(what) = types.get(&field.column).and_then(|dtype| misfit(field, dtype)) {
            faults.push(Fault { line: field.line, what: format!("field \"{}\" {what}", field.column) });
        }
    }
    let mut kinds: HashMap<&str, (&FieldRecipe, bool)> = HashMap::new();
    for field in recipe.fields.iter().filter(|f| !matches!(f.kind, Kind::Number { .. })) {
        let Some(dtype) = types.get(&field.column) else { continue };
        let name = field.vocabulary.as_deref().unwrap_or(&field.column);
        let (first, integers) = *kinds.entry(name).or_insert((field, has_integer_keys(dtype)));
        if integers != has_integer_keys(dtype) {
            let what = format!(
                "vocabulary \"{name}\" holds integers in one of \"{}\" and \"{}\", text in the other: CAST one in the sql",
                first.column, field.column
            );
            faults.push(Fault { line: field.line, what });
        }
    }
    for label in &recipe.labels {
        let Some(dtype) = types.get(&label.column) else { continue };
        if !(dtype.is_primitive_numeric() || matches!(dtype, DataType::Boolean | DataType::Null)) {
            let what = format!("label \"{}\" is {}, expected 0, 1 or null", label.column, words(dtype));
            faults.push(Fault { line: label.line, what });
        }
        let answer = plan::origins(plan, &label.column);
        for field in &recipe.fields {
            if !answer.is_empty()
                && field.column != label.column
                && answer.is_subset(&plan::origins(plan, &field.column))
            {
                let columns = answer.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let what = format!(
                    "field \"{}\" is made of {columns}, as label \"{}\" is: the model would read the answer",
                    field.column, label.column
                );
                faults.push(Fault { line: field.line, what });
            } else if let Some(column) = answer.intersection(&plan::origins(plan, &field.column)).next() {
                tracing::warn!(
                    "field \"{}\" holds {column}, from which label \"{}\" is computed too: is it known before the feedback?",
                    field.column,
                    label.column
                );
            }
        }
    }
    let ordered = match &recipe.split {
        SplitRecipe::Time { column, .. } => Some(column),
        SplitRecipe::Last { order, .. } => Some(order),
        _ => None,
    };
    if let Some((column, dtype)) = ordered.and_then(|column| Some((column, types.get(column)?)))
        && !(dtype.is_primitive_numeric() || dtype.is_temporal())
    {
        let what =
            format!("the split orders by \"{column}\", which is {}, expected a number, a date or a time", words(dtype));
        faults.push(Fault { line: recipe.lines.split, what });
    }
    faults.sort_by_key(|fault| fault.line);
    faults.dedup();
    faults
}

/// Why a column cannot be this field.
fn misfit(field: &FieldRecipe, dtype: &DataType) -> Option<String> {
    let found = words(dtype);
    match field.kind {
        Kind::Category => match dtype {
            DataType::List(_) => Some(format!("is {found}: make it a sequence")),
            dtype if dtype.is_float() => {
                Some(format!("is {found}: a category holds integers or text; CAST it in the sql, or make it a number"))
            }
            DataType::Struct(_) => Some(format!("is {found}, expected integers or text")),
            _ => default_misfit(field, dtype),
        },
        Kind::Sequence { .. } => match (dtype, &field.separator) {
            (DataType::String, None) => Some("is text: add `separator = \"|\"`, or cut it in the sql".into()),
            (DataType::String, Some(_)) => default_misfit(field, dtype),
            (DataType::List(_), Some(_)) => Some("is a list already: leave `separator` out".into()),
            (DataType::List(inner), None) if inner.is_integer() || **inner == DataType::String => {
                default_misfit(field, dtype)
            }
            _ => Some(format!("is {found}: a sequence is a list of integers or text, or a text with a separator")),
        },
        Kind::Number { .. } => match (dtype, &field.default) {
            (dtype, _) if !(dtype.is_primitive_numeric() || *dtype == DataType::Boolean) => {
                Some(format!("is {found}, expected numbers; make it a category, or CAST it in the sql"))
            }
            (_, Some(stem_core::Value::Text(text))) => Some(format!("has the default \"{text}\", expected a number")),
            _ => None,
        },
    }
}

fn default_misfit(field: &FieldRecipe, dtype: &DataType) -> Option<String> {
    let default = field.default.as_ref()?;
    let fits = match default {
        stem_core::Value::Integer(_) => true,
        stem_core::Value::Text(_) => !has_integer_keys(dtype),
        _ => false,
    };
    (!fits).then(|| format!("is {}, and has the default {default}", words(dtype)))
}

fn words(dtype: &DataType) -> String {
    match dtype {
        DataType::String => "text".into(),
        DataType::List(inner) => format!("a list of {}", words(inner)),
        dtype if dtype.is_integer() => "integers".into(),
        dtype if dtype.is_float() => "floats".into(),
        dtype => format!("{dtype}"),
    }
}

fn names(schema: &Schema) -> String {
    schema.iter_names().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

impl Query {
    /// Runs the query on the streaming engine and hands its rows over in order, chunk by chunk, while Polars reads on.
    ///
    /// # Errors
    /// Those of `see`; what is wrong in the sources, with file and line; [`Error::Stopped`] between two chunks.
    pub(crate) fn for_each_chunk(self, stop: &StopFlag, mut see: impl FnMut(DataFrame) -> Result<()>) -> Result<()> {
        let (sender, receiver) = sync_channel::<DataFrame>(AHEAD);
        let closed = PlanCallback::new(move |frame| Ok(sender.send(frame).is_err()));
        let frame = self.frame.sink_batches(closed, true, std::num::NonZeroUsize::new(CHUNK)).map_err(Error::query)?;
        let tables = &self.tables;
        std::thread::scope(|scope| {
            let shapes = scope.spawn(move || tables.iter().try_for_each(|table| table.check_shape(stop)));
            let query = scope.spawn(move || frame.collect_with_engine(Engine::Streaming).map(drop));
            let mut seen = Ok(());
            for chunk in receiver {
                seen = if stop.is_set() { Err(Error::Stopped) } else { see(chunk) };
                if seen.is_err() {
                    break; // the receiver is dropped, and the query ends
                }
            }
            let query = query.join().unwrap_or_else(|_| Err(polars_err!(ComputeError: "the query engine panicked")));
            let shapes = shapes.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            shapes?; // a short line makes nulls: tell of the line, not of the null
            if let (Err(error), true) = (query, seen.is_ok()) {
                tables.iter().try_for_each(TextTable::check_types)?;
                return Err(Error::Query { what: plain(&error) });
            }
            seen
        })
    }
}

/// The files a recipe reads.
pub(crate) fn files(recipe: &Recipe, data: &Path) -> Vec<PathBuf> {
    recipe.sources.iter().map(|source| data.join(&source.file)).collect()
}
