//! What joins did to the rows of a log: told where they multiply them or leave some out.

use std::path::Path;

use polars::prelude::*;
use polars::sql::SQLContext;

use crate::error::{Error, Result};
use crate::gather::CodedRows;
use crate::guard::guarded;
use crate::joins::{Joined, ROWS, Trunk, trunks};
use crate::recipe::Recipe;
use crate::source::{self, Unpacked, plain};
use crate::sql::with_room;
use crate::stop::StopFlag;

/// In words, with the keys that do it. The joined tables are read once more where the number of rows alone does not say that all is well.
///
/// # Errors
/// Files that do not read.
pub(crate) fn joined_rows(recipe: &Recipe, data: &Path, scratch: &Path, rows: &CodedRows) -> Result<Vec<String>> {
    let trunks = recipe.sql.as_deref().map(trunks).unwrap_or_default();
    let joins = || trunks.iter().flat_map(|trunk| &trunk.joins);
    if joins().next().is_none() {
        return Ok(vec![]);
    }
    let found = rows.rows as u64;
    let rows_of = |trunk: &Trunk| rows.sources.iter().find(|(name, _)| name.eq_ignore_ascii_case(&trunk.from));
    let of: Option<u64> = trunks.iter().map(|trunk| rows_of(trunk).map(|(_, rows)| *rows)).sum();
    let is_filtered = trunks.iter().any(|trunk| trunk.filtered);
    let keeps_all = joins().all(|join| join.keeps);
    if of == Some(found) && !is_filtered && keeps_all {
        return Ok(vec![]);
    }
    let tables = Tables::open(recipe, data, scratch)?;
    let mut from: Vec<String> = trunks.iter().map(|trunk| format!("\"{}\"", trunk.from)).collect();
    from.dedup();
    let gives = match of {
        Some(of) => format!("the SELECT gives {found} rows of {of} in {}", from.join(" and ")),
        None => format!("the SELECT gives {found} rows, made of {}", from.join(" and ")),
    };
    let mut notes = Vec::new();
    if let Some(of) = of.filter(|of| found < *of && !is_filtered) {
        notes.push(format!(
            "the SELECT gives {found} of the {of} rows in {}: the join leaves out rows whose key is not in the other table; LEFT JOIN keeps them",
            from.join(" and ")
        ));
    }
    for [before, after] in trunks.iter().flat_map(|trunk| &trunk.counts) {
        let (before, after) = (tables.count(before)?, tables.count(after)?);
        if after < before {
            notes.push(format!(
                "of {before} rows {} are left out by a join, for their key is not in the other table; LEFT JOIN keeps them",
                before - after
            ));
        }
    }
    let left_out = notes.len();
    let is_undone = |trunk: &Trunk| trunk.distinct && of.is_some_and(|of| found <= of);
    for Joined { table, keys, rows_of_keys, .. } in
        trunks.iter().filter(|trunk| !is_undone(trunk)).flat_map(|trunk| &trunk.joins)
    {
        let repeated = rows_of_keys.as_ref().map(|sql| tables.repeated(sql, keys)).transpose()?.unwrap_or_default();
        if !repeated.is_empty() {
            notes.push(format!(
                "{gives}: {} is not unique in \"{table}\" ({}), and each repetition copies rows, into training and test alike",
                keys.join(", "),
                repeated.join(", ")
            ));
        }
    }
    if notes.len() == left_out
        && let Some(of) = of.filter(|of| found > *of)
    {
        notes.push(format!(
            "the SELECT gives {found} rows of {of} in {}: a join multiplies them, and copies fall into training and test alike",
            from.join(" and ")
        ));
    }
    notes.dedup();
    Ok(notes)
}

/// The sources of a recipe, to be asked about their rows.
struct Tables {
    context: SQLContext,
    _unpacked: Unpacked, // text that was unpacked is there as long as it is asked
}

impl Tables {
    fn open(recipe: &Recipe, data: &Path, scratch: &Path) -> Result<Self> {
        let (context, mut unpacked) = (SQLContext::new(), Unpacked::within(scratch));
        for source in &recipe.sources {
            let opened =
                guarded(|| source::open(&recipe.path, source, data, None, &mut unpacked, &StopFlag::default()));
            context.register(&source.name, opened.map_err(Error::query)??.frame);
        }
        Ok(Self { context, _unpacked: unpacked })
    }

    fn run(&self, sql: &str, then: impl FnOnce(LazyFrame) -> LazyFrame + Send) -> Result<DataFrame> {
        let mut context = self.context.clone();
        let ran = guarded(|| {
            with_room(|| {
                let frame = then(context.execute(sql)?);
                Ok(frame.collect_with_engine(Engine::Streaming)?.unwrap_single())
            })
        });
        ran.map_err(Error::query)?.map_err(|error: PolarsError| Error::query(plain(&error)))
    }

    /// The number that a SELECT counts.
    fn count(&self, sql: &str) -> Result<u64> {
        let counted = self.run(sql, |frame| frame)?;
        let count = counted.columns().first().map(|column| column.cast(&DataType::UInt64));
        let count = count.transpose().map_err(Error::query)?;
        Ok(count.and_then(|count| count.u64().ok()?.get(0)).unwrap_or_default())
    }

    /// Keys that a table holds more than once, most often first, in words; `sql` gives the rows of each. Null is no key: it joins nothing.
    fn repeated(&self, sql: &str, keys: &[String]) -> Result<Vec<String>> {
        let most = SortMultipleOptions::default().with_order_descending(true);
        let is_key = keys.iter().map(|key| Expr::Column(key.as_str().into()).is_not_null());
        let wanted = is_key.fold(col(ROWS).gt(lit(1)), Expr::and);
        let repeated = self.run(sql, |frame| frame.filter(wanted).sort([ROWS], most).limit(3))?;
        let row = |row: usize| {
            let value = |column: &Column| match column.get(row) {
                Ok(AnyValue::String(text)) => text.to_string(),
                Ok(value) => value.to_string(),
                Err(_) => String::new(),
            };
            let values: Vec<String> = repeated.columns().iter().map(value).collect();
            let (key, times) = values.split_at(keys.len());
            format!("{} ({} times)", key.join(", "), times.concat())
        };
        Ok((0..repeated.height()).map(row).collect())
    }
}
