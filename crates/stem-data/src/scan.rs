//! From sources to one lazy query: the SELECT over them, and the chunks of rows that it gives.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use polars::prelude::*;
use polars::sql::SQLContext;
use stem_core::{ColumnType, Derived};

use crate::error::{Error, Fault, Result};
use crate::faults::{faults, used_columns};
use crate::guard::guarded;
use crate::leave_out::without;
use crate::look::column_names;
use crate::provenance::{Origins, join_columns, origins, raw_column};
use crate::recipe::{Recipe, Source, SplitRecipe};
use crate::room::lines_about;
use crate::row_order::keep_order;
use crate::source::{self, ColumnFacts, Share, TextTable, Unpacked, column_type, plain};
use crate::sql;
use crate::stop::StopFlag;
use crate::transform::Steps;

/// Rows that are encoded at a time.
const CHUNK: usize = 1 << 17;
/// Chunks that wait to be encoded while Polars reads on.
const AHEAD: usize = 2;

/// The SELECT, reduced to the columns that are used, and the text files it reads.
pub(crate) struct Query {
    frame: LazyFrame,
    /// Text files, each with the place of its source.
    texts: Vec<(usize, TextTable)>,
    /// Name of each source, and its rows where the files say them.
    sources: Vec<(String, Option<u64>)>,
    /// Type of each column of the SELECT.
    pub(crate) types: HashMap<String, DataType>,
    /// What a reader of the recipe should know of the sources, in words.
    pub(crate) notes: Vec<String>,
    /// What is done to the values of each field. `[F]`
    pub(crate) steps: Vec<Steps>,
    /// Columns of the SELECT that it computes, and how.
    pub(crate) derived: HashMap<String, Derived>,
    _unpacked: Unpacked, // text that was unpacked is there as long as it is read
}

/// Opens every source and runs the SELECT as far as its columns' names and types. Text that has to be unpacked or rewritten goes to
/// `unpacked`.
///
/// # Errors
/// Files that are missing or empty, and everything that the columns show to be wrong with the recipe.
pub(crate) fn open(recipe: &Recipe, data: &Path, unpacked: Unpacked, stop: &StopFlag) -> Result<Query> {
    open_columns(recipe, data, false, None, unpacked, stop)
}

/// As [`open`], of the rows that are made of one rank's `share` of the source at that place.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_share(
    recipe: &Recipe,
    data: &Path,
    share: Option<(usize, Share)>,
    unpacked: Unpacked,
    stop: &StopFlag,
) -> Result<Query> {
    open_columns(recipe, data, false, share, unpacked, stop)
}

/// As [`open`], of rows that are to be scored: all columns of the SELECT, without what only a training needs. Where raw tables lack
/// labels, groups and splits, the SELECT is run without the columns of these names.
///
/// # Errors
/// As [`open`].
pub(crate) fn open_to_score(recipe: &Recipe, data: &Path, stop: &StopFlag) -> Result<Query> {
    let plain = Recipe {
        group: None,
        weight: None,
        labels: Vec::new(),
        split: SplitRecipe::Random { valid: 0.1, test: 0.1, seed: 1 },
        ..recipe.clone()
    };
    let open = |recipe: &Recipe| open_columns(recipe, data, true, None, Unpacked::default(), stop);
    match open(&plain) {
        Err(error @ Error::Recipe { .. }) => {
            let answers: Vec<&str> = used_columns(recipe)
                .into_iter()
                .map(|(column, _)| column)
                .filter(|column| !recipe.fields.iter().flat_map(|field| &field.columns).any(|read| read == column))
                .collect();
            let leave_out = |sql: &str| sql::with_room(|| without(sql, &answers)).unwrap_or_else(|| sql.to_string());
            let sql = plain.sql.as_deref().map(leave_out);
            let sources = plain.sources.iter().map(|source| with_types_of_columns(source, data)).collect::<Result<_>>();
            let Ok(sources) = sources else { return Err(error) };
            open(&Recipe { sql, sources, ..plain }).map_err(|_| error)
        }
        opened => opened,
    }
}

/// The source without types of columns that its files lack.
fn with_types_of_columns(source: &Source, data: &Path) -> Result<Source> {
    let mut plain = Source { types: Vec::new(), ..source.clone() };
    let names = column_names(&plain, data)?;
    plain.types = source.types.iter().filter(|(name, _)| names.contains(name)).cloned().collect();
    Ok(plain)
}

/// Opens the columns of a recipe that are used, or all.
fn open_columns(
    recipe: &Recipe,
    data: &Path,
    is_all: bool,
    share: Option<(usize, Share)>,
    mut unpacked: Unpacked,
    stop: &StopFlag,
) -> Result<Query> {
    let (context, mut facts) = (SQLContext::new(), ColumnFacts::default());
    let (mut texts, mut sources, mut raw, mut tables) = (Vec::new(), Vec::new(), HashMap::new(), Vec::new());
    for (place, source) in recipe.sources.iter().enumerate() {
        let share = share.and_then(|(of, share)| (of == place).then_some(share));
        let opened = guarded(|| source::open(&recipe.path, source, data, share, &mut unpacked, stop));
        let table = opened.unwrap_or_else(|said| {
            Err(Error::Source { path: data.join(&source.files[0]), what: format!("it cannot be read: {said}") })
        })?;
        let mut frame = table.frame;
        let schema = guarded(|| frame.collect_schema()).map_err(Error::query)?.map_err(Error::query)?;
        let types = schema.iter().filter_map(|(name, dtype)| Some((name.to_string(), column_type(dtype)?)));
        raw.insert(source.name.to_lowercase(), types.collect());
        let frame = frame.select(schema.iter_names().map(|name| Expr::Column(name.clone())).collect::<Vec<_>>());
        if let DslPlan::Select { input, .. } = &frame.logical_plan {
            tables.push(Arc::as_ptr(input));
        }
        context.register(&source.name, frame);
        sources.push((source.name.clone(), table.rows));
        texts.extend(table.texts.into_iter().map(|text| (place, text)));
        facts.extend(table.facts);
    }
    let (frame, order, mut types) = select(recipe, context, &facts)?;
    let used = used_columns(recipe);
    let origins: Origins = used.iter().map(|(column, _)| (*column, origins(&frame.logical_plan, column))).collect();
    let faults = faults(recipe, &frame.logical_plan, &types, &facts, &origins);
    if !faults.is_empty() {
        // a ragged line may be what made a column look wrong
        texts.iter().try_for_each(|(_, text)| text.check_lines(&StopFlag::default()).map(drop))?;
        return Err(Error::Recipe { path: recipe.path.clone(), faults });
    }
    mark_keys(recipe, &origins, &join_columns(&frame.logical_plan), &mut texts);
    let mut notes: Vec<String> = Vec::new();
    for column in origins.values().flatten() {
        let note = facts.remarks.get(&column.column).filter(|note| !notes.contains(note));
        notes.extend(note.cloned());
    }
    let numbers = numbers(recipe);
    let mut seen = HashSet::new();
    let used = used.iter().map(|(column, _)| *column).filter(|column| seen.insert(*column));
    let wanted: Vec<&str> = if is_all { order.iter().map(String::as_str).collect() } else { used.collect() };
    let columns = wanted.into_iter().map(|column| {
        let is_undecided = |column: &str| {
            types[column] == DataType::String && origins[column].iter().all(|c| facts.undecided.contains(&c.column))
        };
        match numbers.contains(column) && is_undecided(column) {
            true => {
                types.insert(column.to_string(), DataType::Float64);
                Expr::Column(column.into()).strict_cast(DataType::Float64)
            }
            false => Expr::Column(column.into()),
        }
    });
    let columns: Vec<Expr> = columns.collect();
    let steps = recipe.fields.iter().map(|field| {
        let of: Vec<DataType> = field.columns.iter().map(|column| types[column].clone()).collect();
        Steps::of(field, &of).map_err(|what| Error::Recipe {
            path: recipe.path.clone(),
            faults: vec![Fault { line: field.line, what: format!("field \"{}\" {what}", field.name) }],
        })
    });
    let steps = steps.collect::<Result<_>>()?;
    let derived = derived(recipe, &raw, |column| raw_column(&frame.logical_plan, column, &tables));
    let frame = LazyFrame::from(keep_order(frame.select(columns).logical_plan));
    Ok(Query { frame, texts, sources, types, notes, steps, derived, _unpacked: unpacked })
}

/// The fields that the SELECT computes. `raw` are the columns of each source that text can hold, `unchanged` is the raw column that a
/// column is.
fn derived(
    recipe: &Recipe,
    raw: &HashMap<String, BTreeMap<String, ColumnType>>,
    unchanged: impl Fn(&str) -> Option<String>,
) -> HashMap<String, Derived> {
    let sources: Vec<&str> = recipe.sources.iter().map(|source| source.name.as_str()).collect();
    let mut computed = recipe.sql.as_deref().map(|sql| sql::computed(sql, &sources)).unwrap_or_default();
    let fields = recipe.fields.iter().flat_map(|field| &field.columns);
    let derived =
        fields.filter(|column| recipe.sql.is_some() && unchanged(column).as_ref() != Some(column)).map(|column| {
            let own = computed.remove(column).filter(|own| own.sql.trim_matches('"') != column.as_str());
            let sql::Computed { sql, from, reads } = own.unwrap_or_default(); // itself: computed further inside
            let types = from.and_then(|from| raw.get(&from.to_lowercase()));
            let types = types
                .and_then(|types| reads.iter().map(|column| Some((column.clone(), *types.get(column)?))).collect());
            (column.clone(), Derived::new(sql, types.unwrap_or_default()))
        });
    derived.collect()
}

/// Columns that are read as numbers.
fn numbers(recipe: &Recipe) -> HashSet<&str> {
    let fields = recipe.fields.iter().filter(|field| !field.is_keyed());
    fields
        .flat_map(|field| &field.columns)
        .map(String::as_str)
        .chain(recipe.labels.iter().map(|label| label.column.as_str()))
        .collect()
}

/// Marks the columns of text files whose values are keys: of categories, sequences, groups and users, of splits and of joins.
fn mark_keys(recipe: &Recipe, origins: &Origins, joined: &BTreeSet<String>, texts: &mut [(usize, TextTable)]) {
    let fields = recipe.fields.iter().filter(|field| field.is_keyed()).flat_map(|field| &field.columns);
    let split = match &recipe.split {
        SplitRecipe::Last { column, .. }
        | SplitRecipe::Hash { column, .. }
        | SplitRecipe::Days { column, .. }
        | SplitRecipe::Column { column, .. } => Some(column),
        SplitRecipe::Random { .. } | SplitRecipe::Time { .. } => None,
    };
    let keys: HashSet<&String> = fields
        .chain(&recipe.group)
        .chain(split)
        .flat_map(|column| &origins[column.as_str()])
        .map(|origin| &origin.column)
        .chain(joined)
        .collect();
    for column in texts.iter_mut().flat_map(|(_, text)| &mut text.columns) {
        column.is_key = keys.contains(&column.name);
    }
}

fn select(
    recipe: &Recipe,
    mut context: SQLContext,
    facts: &ColumnFacts,
) -> Result<(LazyFrame, Vec<String>, HashMap<String, DataType>)> {
    let fault = |what: String| Error::Recipe {
        path: recipe.path.clone(),
        faults: vec![Fault { line: recipe.lines.sql, what }],
    };
    let sources: Vec<&str> = recipe.sources.iter().map(|source| source.name.as_str()).collect();
    if let Some(sql) = &recipe.sql {
        sql::check(sql, &sources).map_err(|what| fault(format!("the SELECT does not work: {what}")))?;
    }
    let sql = recipe.sql.clone().unwrap_or_else(|| format!("SELECT * FROM {}", quoted(&recipe.sources[0].name)));
    let planned = guarded(|| {
        sql::with_room(|| {
            let mut frame = context.execute(&sql)?;
            let schema = frame.collect_schema()?;
            Ok((frame, schema))
        })
    });
    let planned =
        planned.map_err(|said| fault(format!("the SELECT does not work: the SQL engine cannot read it ({said})")))?;
    let (frame, schema) = planned.map_err(|error: PolarsError| {
        fault(format!("the SELECT does not work: {}{}", plain(&error), hint(&error.to_string(), facts)))
    })?;
    let order = schema.iter_names().map(|name| name.to_string()).collect();
    Ok((frame, order, schema.iter().map(|(name, dtype)| (name.to_string(), dtype.clone())).collect()))
}

/// A name as SQL reads it whatever stands in it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Help with a message that does not say what to do.
fn hint(message: &str, facts: &ColumnFacts) -> String {
    if message.contains("unsupported function") {
        return "; a column or table that is called like a word of SQL wants double quotes: \"user\"".into();
    }
    if message.contains("`str`") && message.contains("date") || message.contains("strptime") {
        return "; a date or a time in text is read by its form: STRPTIME(column, '%Y-%m-%d %H:%M:%S')".into();
    }
    if message.contains("join keys") {
        return "; the tables hold the key in two types: write `types` for it in one of the sources, or CAST it in both".into();
    }
    let unreadable = facts.unreadable.iter().find(|(name, _)| message.contains(name.as_str()));
    unreadable.map_or(String::new(), |(_, why)| format!("; {why}"))
}

impl Query {
    /// Rows of the largest source: as the files say, estimated for text. `None` where neither tells.
    pub(crate) fn rows_about(&self) -> Option<u64> {
        let told = self.sources.iter().filter_map(|(_, rows)| *rows).max();
        let of_source = |place: usize| {
            let texts = self.texts.iter().filter(|(of, _)| *of == place);
            texts.filter_map(|(_, text)| lines_about(&text.path)).sum::<u64>()
        };
        told.into_iter().chain((0..self.sources.len()).map(of_source).filter(|&rows| rows > 0)).max()
    }

    /// A table as it is.
    pub(crate) fn plain(frame: LazyFrame, unpacked: Unpacked) -> Self {
        let (texts, sources, types, notes, steps, derived) = Default::default();
        Self { frame, texts, sources, types, notes, steps, derived, _unpacked: unpacked }
    }

    /// The type of each column, in the order of their names.
    pub(crate) fn types_in_words(&self) -> BTreeMap<String, String> {
        self.types.iter().map(|(name, dtype)| (name.clone(), format!("{dtype:?}"))).collect()
    }

    /// What it gives.
    pub(crate) fn frame(&self) -> &LazyFrame {
        &self.frame
    }

    /// Runs the query on the streaming engine and hands its rows over in order, chunk by chunk, while Polars reads on. Gives how many
    /// rows each source has.
    ///
    /// # Errors
    /// Those of `see`; what is wrong in the sources, with file and line; [`Error::Stopped`] between two chunks.
    pub(crate) fn for_each_chunk(
        self,
        stop: &StopFlag,
        see: impl FnMut(DataFrame) -> Result<()>,
    ) -> Result<HashMap<String, u64>> {
        self.for_each(CHUNK, stop, see)
    }

    /// As [`for_each_chunk`](Self::for_each_chunk), with `rows` rows a chunk.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn for_each(
        self,
        rows: usize,
        stop: &StopFlag,
        mut see: impl FnMut(DataFrame) -> Result<()>,
    ) -> Result<HashMap<String, u64>> {
        let (sender, receiver) = sync_channel::<DataFrame>(AHEAD);
        let closed = PlanCallback::new(move |frame| Ok(sender.send(frame).is_err()));
        let frame = self.frame.sink_batches(closed, true, std::num::NonZeroUsize::new(rows)).map_err(Error::query)?;
        let (texts, sources) = (&self.texts, self.sources);
        std::thread::scope(|scope| {
            let lines = scope.spawn(move || {
                let rows = texts.iter().map(|(source, text)| Ok((*source, text.check_lines(stop)?)));
                rows.collect::<Result<Vec<(usize, u64)>>>()
            });
            let query = scope
                .spawn(move || guarded(|| sql::with_room(|| frame.collect_with_engine(Engine::Streaming).map(drop))));
            let mut seen = Ok(());
            for chunk in receiver {
                seen = if stop.is_set() { Err(Error::Stopped) } else { see(chunk) };
                if seen.is_err() {
                    break; // the receiver is dropped, and the query ends
                }
            }
            let query = query.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let lines = lines.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let lines = lines?; // a short line makes nulls: tell of the line, not of the null
            let failed = match query {
                Ok(Ok(())) => None,
                Ok(Err(error)) => {
                    Some(format!("{}{}", plain(&error), hint(&error.to_string(), &ColumnFacts::default())))
                }
                Err(said) => Some(format!("it cannot be run ({said})")),
            };
            if let (Some(what), true) = (failed, seen.is_ok()) {
                texts.iter().try_for_each(|(_, text)| text.check_types())?;
                return Err(Error::Query { what });
            }
            seen?;
            let rows_of =
                |place: usize| lines.iter().filter(|(source, _)| *source == place).map(|(_, rows)| rows).sum();
            let rows = sources.into_iter().enumerate();
            Ok(rows.map(|(place, (name, rows))| (name, rows.unwrap_or_else(|| rows_of(place)))).collect())
        })
    }
}
