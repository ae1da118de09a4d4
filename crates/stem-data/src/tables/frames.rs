//! Parquet and Arrow IPC files, and the SELECT of a recipe: tables with types.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::*;
use stem_core::Derived;

use super::chunk::{Cells, Chunk};
use super::{Facts, ROWS_AT_ONCE};
use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::recipe::{Format, Recipe, Source};
use crate::scan::{self, Query};
use crate::source::files::SourceFile;
use crate::source::{self, Unpacked};
use crate::stop::StopFlag;

/// A query whose rows are scored.
pub(super) struct Frames {
    columns: Arc<[String]>,
    /// Without rows.
    empty: DataFrame,
    query: Query,
    /// Where rows stand: the row that each file begins with.
    places: Vec<(usize, PathBuf)>,
}

impl Frames {
    /// Files with the types that they have.
    ///
    /// # Errors
    /// Files that do not read, and columns whose types in two files have nothing in common.
    pub(super) fn open(
        files: Vec<SourceFile>,
        format: Format,
        mut unpacked: Unpacked,
        facts: &mut Facts,
    ) -> Result<Self> {
        let source = Source { name: "input".into(), ..Source::default() };
        let first = files.first().map_or_else(PathBuf::new, |file| file.path.clone());
        let table = guarded(|| source::open_typed(&source, files, format, &mut unpacked));
        let table = table.unwrap_or_else(|said| {
            Err(Error::Source { path: first.clone(), what: format!("it cannot be read: {said}") })
        })?;
        facts.remarks.extend(table.facts.remarks);
        facts.unreadable.extend(table.facts.unreadable);
        let mut places = vec![(0, first)];
        for (place, (path, rows)) in table.files.iter().enumerate() {
            let (start, _) = places[places.len() - 1];
            match rows {
                Some(rows) => {
                    places[place].1 = path.clone();
                    places.push((start + *rows as usize, path.clone()));
                }
                None => break, // rows are counted from the first file's first
            }
        }
        let (columns, empty) = columns_of(table.frame.clone())?;
        Ok(Self { columns, empty, query: Query::plain(table.frame, unpacked), places })
    }

    /// What the SELECT of a recipe gives of the raw tables in `data`. Labels, groups and splits need not be there.
    ///
    /// # Errors
    /// As [`prepare`](crate::prepare()) gives them.
    pub(super) fn select(recipe: &Recipe, data: &Path, stop: &StopFlag) -> Result<Self> {
        let query = scan::open_to_score(recipe, data, stop)?;
        query.notes.iter().for_each(|note| tracing::warn!("{}: {note}", recipe.name));
        let (columns, empty) = columns_of(query.frame().clone())?;
        Ok(Self { columns, empty, query, places: vec![(0, recipe.path.clone())] })
    }

    pub(super) fn columns(&self) -> &Arc<[String]> {
        &self.columns
    }

    /// How the SELECT of a recipe computes a column.
    pub(super) fn derived(&self, column: &str) -> Option<&Derived> {
        self.query.derived.get(column)
    }

    /// Hands all rows over.
    pub(super) fn for_each_chunk<E: From<Error>>(
        self,
        stop: &StopFlag,
        mut see: impl FnMut(Chunk) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { columns, empty, query, places } = self;
        let (mut failed, mut row) = (None, 0);
        let done = query.for_each(ROWS_AT_ONCE, stop, |frame| {
            let chunk = Chunk::new(columns.clone(), Cells::Frame(frame), row, places.clone());
            row = chunk.next_row();
            see(chunk).map_err(|error| {
                failed = Some(error);
                Error::Stopped
            })
        });
        match (failed, done) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(_)) if row > 0 => Ok(()),
            (None, Ok(_)) => see(Chunk::new(columns, Cells::Frame(empty), 0, places)),
        }
    }
}

/// Names of the columns, and a table of them without rows.
fn columns_of(frame: LazyFrame) -> Result<(Arc<[String]>, DataFrame)> {
    let mut frame = frame;
    let schema = guarded(|| frame.collect_schema()).map_err(Error::query)?.map_err(Error::query)?;
    let names: Vec<String> = schema.iter_names().map(|name| name.to_string()).collect();
    Ok((names.into(), DataFrame::empty_with_schema(&schema)))
}
