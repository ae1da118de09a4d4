//! Where a value stands that its field, label or split cannot take: the file, and the line or the row in it.

use std::path::Path;
use std::sync::Arc;

use polars::prelude::*;
use polars::sql::SQLContext;

use crate::error::{Error, Place, Result};
use crate::guard::guarded;
use crate::provenance::raw_column;
use crate::recipe::Recipe;
use crate::row_marks::{MARK, marked};
use crate::row_order::keep_order;
use crate::scan::quoted;
use crate::source::{self, Share, Table, Unpacked};
use crate::sql;
use crate::stop::StopFlag;

/// The same error with the place of its value in the sources, where it is a value and the SELECT lets it be traced back: the SELECT is run
/// once more, up to that row; of one rank's `share` where the row is one of its. Other errors stay as they are.
pub(crate) fn located(
    recipe: &Recipe,
    data: &Path,
    share: Option<(usize, Share)>,
    unpacked: Unpacked,
    error: Error,
) -> Error {
    let Error::Value { column, row, expected, found } = error else { return error };
    match place(recipe, data, share, unpacked, &column, row) {
        Some((path, place, column)) => Error::ValueAt { path, place, column, expected, found },
        None => Error::Value { column, row, expected, found },
    }
}

/// File, place, and the column as the file calls it.
fn place(
    recipe: &Recipe,
    data: &Path,
    share: Option<(usize, Share)>,
    mut unpacked: Unpacked,
    column: &str,
    row: usize,
) -> Option<(std::path::PathBuf, Place, String)> {
    let open = |(place, source)| {
        let share = share.and_then(|(of, share)| (of == place).then_some(share));
        source::open(&recipe.path, source, data, share, &mut unpacked, &StopFlag::default())
    };
    let tables = recipe.sources.iter().enumerate().map(open);
    let tables: Vec<Table> = guarded(|| tables.collect::<Result<_>>()).ok()?.ok()?;
    let sql = recipe.sql.clone().unwrap_or_else(|| format!("SELECT * FROM {}", quoted(&recipe.sources[0].name)));
    let (plan, bare) = planned(recipe, &tables, &sql, None)?;
    let raw_in = |place: usize| raw_column(&plan.logical_plan, column, &bare[place..=place]);
    // the table that holds the column as it is; otherwise the first whose rows the result's are
    let raw = (0..tables.len()).find_map(|place| Some((place, raw_in(place)?)));
    let candidates = raw.as_ref().map_or_else(|| (0..tables.len()).collect(), |(place, _)| vec![*place]);
    let (source, at) = candidates.into_iter().find_map(|place| {
        let sql = sql::with_room(|| marked(&sql, &recipe.sources[place].name))?;
        let (plan, _) = planned(recipe, &tables, &sql, Some(place))?;
        Some((place, mark_of(plan, row)?))
    })?;
    let shown = match raw {
        Some((_, raw)) if raw == column => format!("'{column}'"),
        Some((_, raw)) => format!("'{raw}' ('{column}' of the SELECT)"),
        None => format!("'{column}' of the SELECT"),
    };
    let (path, place) = in_file(&tables[source], at)?;
    Some((path, place, shown))
}

/// The SELECT over the tables, of which the one at `mark` has its rows numbered; and the plans of the tables.
fn planned(
    recipe: &Recipe,
    tables: &[Table],
    sql: &str,
    mark: Option<usize>,
) -> Option<(LazyFrame, Vec<*const DslPlan>)> {
    let planned = guarded(|| {
        let (mut context, mut plans) = (SQLContext::new(), Vec::new());
        for (place, (source, table)) in recipe.sources.iter().zip(tables).enumerate() {
            let mut frame = table.frame.clone();
            if mark == Some(place) {
                frame = frame.with_row_index(MARK, None).with_column(col(MARK).cast(DataType::Int64));
            }
            let schema = frame.collect_schema()?;
            let columns: Vec<Expr> = schema.iter_names().map(|name| Expr::Column(name.clone())).collect();
            let frame = frame.select(columns);
            if let DslPlan::Select { input, .. } = &frame.logical_plan {
                plans.push(Arc::as_ptr(input));
            }
            context.register(&source.name, frame);
        }
        let frame = sql::with_room(|| context.execute(sql))?;
        PolarsResult::Ok((frame, plans))
    });
    planned.ok()?.ok().filter(|(_, plans)| plans.len() == tables.len())
}

/// The row of the marked table that a row of the result is made of.
fn mark_of(plan: LazyFrame, row: usize) -> Option<u64> {
    let frame = LazyFrame::from(keep_order(plan.select([col(MARK)]).logical_plan)).slice(row as i64, 1);
    let found = guarded(|| sql::with_room(|| frame.collect_with_engine(Engine::Streaming))).ok()?.ok()?;
    let found = found.unwrap_single();
    let mark = found.column(MARK).ok()?.i64().ok()?.get(0)?;
    u64::try_from(mark).ok()
}

/// The file of a row of a table, and its place there.
fn in_file(table: &Table, mut row: u64) -> Option<(std::path::PathBuf, Place)> {
    for text in &table.texts {
        match text.line_of(row).ok()? {
            Ok(line) => return Some((text.shown.clone(), Place::Line(line))),
            Err(rows) => row -= rows,
        }
    }
    if let [(path, None)] = table.files.as_slice() {
        return Some((path.clone(), Place::Row(row)));
    }
    for (path, rows) in &table.files {
        match (*rows)? {
            rows if row < rows => return Some((path.clone(), Place::Row(row))),
            rows => row -= rows,
        }
    }
    None
}
