//! A few thousand rows of a table.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::StringRecord;
use polars::prelude::*;
use serde_json::Value as Json;
use stem_core::Value;

use super::json::{Object, kind_of, text_of, value_of};
use crate::derive::typed;
use crate::error::{Error, Place, Result};
use crate::source::{column_type, common};
use crate::values::{json_of, values_of};

/// Rows as their table holds them.
#[derive(Debug, Clone)]
pub(super) enum Cells {
    /// Text without types.
    Records(Vec<StringRecord>),
    /// Columns with types.
    Frame(DataFrame),
    /// Objects, and the type of each column in the first rows.
    Objects(Vec<Object>, Arc<[Option<DataType>]>),
}

/// Rows of a table, those of its lines that are no rows, and where they stand.
#[derive(Debug)]
pub struct Chunk {
    columns: Arc<[String]>,
    pub(super) cells: Cells,
    /// The number of each row, counted from the first of the table.
    rows: Vec<usize>,
    /// The line that each row begins on, of files that have lines.
    lines: Vec<usize>,
    next: usize,
    /// The row that each file begins with.
    places: Vec<(usize, PathBuf)>,
    refused: Vec<Error>,
}

impl Chunk {
    pub(super) fn new(columns: Arc<[String]>, cells: Cells, first: usize, places: Vec<(usize, PathBuf)>) -> Self {
        let height = if let Cells::Frame(frame) = &cells { frame.height() } else { 0 };
        let rows = (first..first + height).collect();
        Self { columns, cells, rows, lines: Vec::new(), next: first + height, places, refused: Vec::new() }
    }

    /// The same objects, of a table with these columns.
    pub(super) fn of_objects(self, columns: &Arc<[String]>, types: &Arc<[Option<DataType>]>) -> Self {
        let cells = match self.cells {
            Cells::Objects(objects, _) => Cells::Objects(objects, types.clone()),
            other => other,
        };
        Self { columns: columns.clone(), cells, ..self }
    }

    pub(super) fn push_record(&mut self, record: StringRecord, line: usize) {
        if let Cells::Records(records) = &mut self.cells {
            records.push(record);
            self.rows.push(self.next);
            self.lines.push(line);
        }
        self.next += 1;
    }

    pub(super) fn push_object(&mut self, object: Object, line: usize) {
        if let Cells::Objects(objects, _) = &mut self.cells {
            objects.push(object);
            self.rows.push(self.next);
            self.lines.push(line);
        }
        self.next += 1;
    }

    /// Counts a row that cannot be read.
    pub(super) fn refuse(&mut self, error: Error) {
        self.refused.push(error);
        self.next += 1;
    }

    /// The number of the row behind the last one.
    pub(super) fn next_row(&self) -> usize {
        self.next
    }

    /// Names of the columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Rows that were read.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Why rows among these could not be read.
    pub fn refused(&self) -> &[Error] {
        &self.refused
    }

    /// Where a row of the chunk stands: its file, and the line or the row there. Where the rows of its file cannot be counted, the first
    /// file of the table, and the row from there on; the SELECT's recipe, and the row of its result.
    pub fn place(&self, row: usize) -> (&Path, Place) {
        let number = self.rows.get(row).copied().unwrap_or(self.next);
        let file = self.places.partition_point(|(start, _)| *start <= number).saturating_sub(1);
        let (path, first) = self.places.get(file).map_or((Path::new(""), 0), |(start, path)| (path.as_path(), *start));
        let in_file = Place::Row((number - first) as u64);
        (path, self.lines.get(row).map_or(in_file, |line| Place::Line(*line)))
    }

    /// The error of a value in a row of the chunk, with its place.
    pub fn value_error(
        &self,
        row: usize,
        column: &str,
        expected: impl Into<Cow<'static, str>>,
        found: String,
    ) -> Error {
        let (path, place) = self.place(row);
        Error::ValueAt { path: path.into(), place, column: format!("'{column}'"), expected: expected.into(), found }
    }

    /// The values of a column in some rows, as a [`Row`](stem_core::Row) takes them: cells of text as texts, dates and times too.
    /// Null for what is missing.
    ///
    /// # Errors
    /// [`Error::Value`] with the row, counted from the first of these; a type that no field takes.
    pub fn values(&self, column: &str, rows: Range<usize>) -> Result<Vec<Value>> {
        let first = rows.start;
        match &self.cells {
            Cells::Records(records) => {
                let place = self.place_of(column)?;
                Ok(records[rows].iter().map(|record| record.get(place).map_or(Value::Null, Value::from)).collect())
            }
            Cells::Frame(frame) => {
                let column = frame.column(column).map_err(Error::query)?;
                values_of(&column.slice(rows.start as i64, rows.len()))
            }
            Cells::Objects(objects, _) => {
                let value = |(row, object): (usize, &Object)| {
                    let value = object.get(column);
                    let refused =
                        || Error::value(column, row - first, "a value or a list of values", value.to_string());
                    value_of(value).ok_or_else(refused)
                };
                objects.iter().enumerate().take(rows.end).skip(first).map(value).collect()
            }
        }
    }

    /// Keeps some of the rows. `keep [n]`
    pub fn retain(&mut self, keep: &[bool]) {
        fn kept<T>(values: &mut Vec<T>, keep: &[bool]) {
            let mut keep = keep.iter();
            values.retain(|_| keep.next().copied().unwrap_or(false));
        }
        kept(&mut self.rows, keep);
        kept(&mut self.lines, keep);
        match &mut self.cells {
            Cells::Records(records) => kept(records, keep),
            Cells::Objects(objects, _) => kept(objects, keep),
            Cells::Frame(frame) => {
                let mask = BooleanChunked::new(PlSmallStr::EMPTY, keep);
                if let Ok(kept) = frame.filter(&mask) {
                    *frame = kept; // a mask of another length than the table is not asked for
                }
            }
        }
    }

    fn place_of(&self, column: &str) -> Result<usize> {
        let place = self.columns.iter().position(|name| name == column);
        place.ok_or_else(|| Error::query(format!("there is no column '{column}'")))
    }

    /// All cells as JSON knows them, column by column. `[columns][n]`
    pub(super) fn json(&self) -> Result<Vec<Vec<Json>>> {
        match &self.cells {
            Cells::Records(records) => {
                let cell = |record: &StringRecord, place| match record.get(place) {
                    None | Some("") => Json::Null,
                    Some(text) => Json::String(text.to_string()),
                };
                let column = |place| records.iter().map(|record| cell(record, place)).collect();
                Ok((0..self.columns.len()).map(column).collect())
            }
            Cells::Frame(frame) => frame.columns().iter().map(json_of).collect(),
            Cells::Objects(objects, _) => {
                self.refuse_new_columns(objects)?;
                let column = |name: &String| objects.iter().map(|object| object.get(name).clone()).collect();
                Ok(self.columns.iter().map(column).collect())
            }
        }
    }

    /// All cells as columns with types; those of text as texts, without types.
    pub(super) fn frame(&self) -> Result<DataFrame> {
        let columns = match &self.cells {
            Cells::Frame(frame) => return Ok(frame.clone()),
            Cells::Records(records) => {
                let cell = |place| {
                    move |record: &StringRecord| record.get(place).filter(|text| !text.is_empty()).map(str::to_string)
                };
                let names = crate::source::named_once(&self.columns).0;
                let column = |(place, name): (usize, String)| {
                    Column::new(name.into(), records.iter().map(cell(place)).collect::<Vec<Option<String>>>())
                };
                names.into_iter().enumerate().map(column).collect()
            }
            Cells::Objects(objects, types) => {
                self.refuse_new_columns(objects)?;
                let columns = self.columns.iter().zip(types.iter());
                columns.map(|(name, dtype)| self.typed(name, dtype.as_ref(), objects)).collect::<Result<Vec<_>>>()?
            }
        };
        DataFrame::new(self.len(), columns).map_err(Error::query)
    }

    /// A column of objects, of the type that it has in the first rows.
    fn typed(&self, name: &str, dtype: Option<&DataType>, objects: &[Object]) -> Result<Column> {
        let refused =
            |row: usize, expected: &'static str, value: &Json| self.value_error(row, name, expected, value.to_string());
        let dtype = match dtype {
            Some(DataType::Null) => &DataType::String,
            Some(dtype) => dtype,
            None => {
                let value = objects.first().map_or(&Json::Null, |object| object.get(name));
                return Err(refused(
                    0,
                    "values of one type, for the table that is written has types (JSON lines has not)",
                    value,
                ));
            }
        };
        let mut values = Vec::with_capacity(objects.len());
        for (row, object) in objects.iter().enumerate() {
            let value = object.get(name);
            if common(dtype, &kind_of(value)).as_ref() != Some(dtype) {
                return Err(refused(
                    row,
                    "the type of the first rows, for the table that is written has types (JSON lines has not)",
                    value,
                ));
            }
            values.push(match (dtype, value) {
                (_, Json::Null) => Value::Null,
                (DataType::String, value) => Value::Text(text_of(value)),
                (_, value) => value_of(value).unwrap_or(Value::Null),
            });
        }
        match (dtype, column_type(dtype)) {
            (_, Some(kind)) => typed(name, kind, &values),
            _ => typed(name, stem_core::ColumnType::TextList, &values), // lists that are empty
        }
    }

    /// A table has the columns of its first rows.
    fn refuse_new_columns(&self, objects: &[Object]) -> Result<()> {
        for (row, object) in objects.iter().enumerate() {
            if let Some((name, value)) = object.values.iter().find(|(name, _)| !self.columns.contains(name)) {
                let expected = "a column that the first rows have too, for the table that is written has columns (JSON lines has not)";
                return Err(self.value_error(row, name, expected, value.to_string()));
            }
        }
        Ok(())
    }
}
