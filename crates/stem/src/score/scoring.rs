//! A model, and the rows of a table that it scores, chunk by chunk.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;

use stem_core::{Batch, Derived, Predictor, Row, Value, with_causes};
use stem_data::{Chunk, Derivation, TableFormat, TableWriter, Tables};

use super::OnError;
use super::explained::Explained;
use super::unseen::Unseen;
use crate::console::{Console, Result};

/// Rows left out whose reasons are told.
const TOLD: usize = 3;

/// Why rows were not scored.
pub(super) enum Failure {
    /// The output does not take them.
    Output(io::Error),
    /// The table cannot be read.
    Table(stem_data::Error),
    /// Anything else.
    Other(Box<dyn std::error::Error>),
}

impl From<stem_data::Error> for Failure {
    fn from(error: stem_data::Error) -> Self {
        Self::Table(error)
    }
}

/// A model, and what is known of the rows that it scores.
pub(super) struct Scoring<'a> {
    predictor: Predictor,
    /// What the recipe's SELECT computed of raw columns.
    derivation: Option<Derivation>,
    /// Whether an empty text is null.
    is_untyped: bool,
    on_error: OnError,
    /// Whether columns of the table that are called like scores give way to them.
    overwrites: bool,
    /// What explains the scores, where that is asked for.
    explained: Option<Explained>,
    /// Rows that are still wanted.
    left: usize,
    /// Rows left out, and why the first of them were.
    pub(super) skipped: usize,
    reasons: Vec<String>,
    /// Rows scored so far.
    pub(super) scored: usize,
    pub(super) unseen: Unseen,
    console: &'a Console,
}

impl<'a> Scoring<'a> {
    /// A model for a table, which messages call `shown`.
    ///
    /// # Errors
    /// Columns that are missing or there twice.
    pub(super) fn new(
        predictor: Predictor,
        tables: &Tables,
        shown: &str,
        is_derived: bool,
        (on_error, overwrites, explain): (OnError, bool, Option<usize>),
        console: &'a Console,
    ) -> Result<Self> {
        let names: Vec<&str> = tables.columns().iter().map(String::as_str).collect();
        let derivation = if is_derived { None } else { Derivation::of(predictor.schema(), &names) };
        let is_computed = |column: &str| derivation.as_ref().is_some_and(|derivation| derivation.gives(column));
        let mut read: Vec<&str> = derivation.iter().flat_map(Derivation::reads).collect();
        for column in predictor.schema().columns().into_iter().filter(|column| !is_computed(column)) {
            let trained = predictor.schema().derived.get(column);
            if !names.contains(&column) {
                return Err(lacks(tables, shown, column, trained).into());
            }
            read.push(column);
            match (trained, tables.derived(column)) {
                (Some(trained), Some(now)) if *trained.sql != *now.sql => {
                    tracing::warn!("'{column}' is {} in {shown}; in training it was {}", now.sql, trained.sql)
                }
                (Some(trained), None) if !is_derived => {
                    tracing::warn!("'{column}' is taken from {shown} as it is; in training it was {}", trained.sql)
                }
                _ => {}
            }
        }
        for column in read {
            let count = names.iter().filter(|name| **name == column).count();
            if count > 1 {
                return Err(format!("{shown} has {count} columns '{column}', expected one").into());
            }
            if let Some(remark) = tables.remark(column) {
                tracing::warn!("{remark}");
            }
        }
        for (_, why) in tables.unreadable() {
            tracing::warn!("{why}: it is left out of the output");
        }
        let explained = explain.map(|_| Explained::new(&predictor)).transpose()?;
        let left = explain.filter(|rows| *rows > 0).unwrap_or(usize::MAX);
        let appended = appended(&predictor, explained.as_ref());
        if let Some(there) = appended.iter().find(|score| names.contains(&score.as_str()) && !overwrites) {
            return Err(format!("{shown} {}", is_there(there)).into());
        }
        let is_untyped = tables.format().is_some_and(TableFormat::is_untyped);
        let unseen = Unseen::new(predictor.schema());
        let (skipped, reasons, scored) = (0, Vec::new(), 0);
        Ok(Self {
            predictor,
            derivation,
            is_untyped,
            on_error,
            overwrites,
            explained,
            left,
            skipped,
            reasons,
            scored,
            unseen,
            console,
        })
    }

    /// Scores all rows to an output of that name; gives their number.
    pub(super) fn write(&mut self, tables: Tables, name: &str, output: impl Write) -> Result<usize, Failure> {
        let appended = appended(&self.predictor, self.explained.as_ref());
        let output = TableWriter::new(name, output, &appended).map_err(Failure::Output)?;
        let mut output = output.overwriting(self.overwrites);
        tables.for_each_chunk(&self.console.stop(), |mut chunk| {
            if chunk.len() > self.left {
                chunk.retain(&(0..chunk.len()).map(|row| row < self.left).collect::<Vec<_>>());
            }
            if chunk.is_empty() && self.scored > 0 {
                return Ok(()); // all that are wanted are there
            }
            let batch = self.encode_whole(&mut chunk).map_err(Failure::Other)?;
            self.left = self.left.saturating_sub(chunk.len());
            let scores = self.predictor.score(&batch).map_err(|error| Failure::Other(error.into()))?.into_values();
            let numbers = match &self.explained {
                Some(explained) => explained.beside(&self.predictor, &batch, &scores).map_err(Failure::Other)?,
                None => scores,
            };
            output.write(&chunk, &numbers).map_err(Failure::Output)?;
            self.scored += chunk.len();
            Ok::<(), Failure>(())
        })?;
        output.finish().map_err(Failure::Output)?;
        Ok(self.scored)
    }

    /// The rows of a chunk as ids; of those that can be scored, where others are left out.
    fn encode_whole(&mut self, chunk: &mut Chunk) -> Result<Batch> {
        match (self.on_error, chunk.refused().first()) {
            (OnError::Fail, Some(error)) => return Err(with_causes(error).into()),
            _ => chunk
                .refused()
                .iter()
                .map(|error| with_causes(error))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|why| self.skip(why)),
        }
        let encoded = self.encode(chunk, 0..chunk.len());
        let (rows, batch) = match (encoded, self.on_error) {
            (Ok(encoded), _) => encoded,
            (Err(error), OnError::Fail) => return Err(error),
            (Err(_), OnError::Skip) => {
                let mut keep = vec![true; chunk.len()];
                self.sift(chunk, 0..chunk.len(), &mut keep);
                chunk.retain(&keep);
                self.encode(chunk, 0..chunk.len())?
            }
        };
        self.unseen.see(self.predictor.schema(), self.predictor.vocabularies(), &rows, &batch);
        Ok(batch)
    }

    /// Marks the rows that cannot be scored, half by half.
    fn sift(&mut self, chunk: &Chunk, rows: Range<usize>, keep: &mut [bool]) {
        match self.encode(chunk, rows.clone()) {
            Ok(_) => {}
            Err(error) if rows.len() == 1 => {
                keep[rows.start] = false;
                self.skip(error.to_string());
            }
            Err(_) => {
                let middle = rows.start + rows.len() / 2;
                self.sift(chunk, rows.start..middle, keep);
                self.sift(chunk, middle..rows.end, keep);
            }
        }
    }

    fn skip(&mut self, why: String) {
        self.skipped += 1;
        if self.reasons.len() < TOLD {
            self.reasons.push(why);
        }
    }

    /// Some rows of a chunk as a model takes them, and as ids.
    fn encode(&self, chunk: &Chunk, rows: Range<usize>) -> Result<(Vec<Row>, Batch)> {
        let first = rows.start;
        let values = self.rows(chunk, rows).map_err(|error| in_table(chunk, first, error))?;
        let batch = self.predictor.encode(&values).map_err(|error| in_file(chunk, first, error))?;
        Ok((values, batch))
    }

    /// Some rows with the columns that the recipe's SELECT computes.
    fn rows(&self, chunk: &Chunk, range: Range<usize>) -> stem_data::Result<Vec<Row>> {
        let height = range.len();
        let is_computed = |column: &str| self.derivation.as_ref().is_some_and(|derivation| derivation.gives(column));
        let read = self.predictor.schema().columns().into_iter().filter(|column| !is_computed(column));
        let columns = read.map(|column| Ok((column.to_string(), chunk.values(column, range.clone())?)));
        let mut columns: Vec<(String, Vec<Value>)> = columns.collect::<stem_data::Result<_>>()?;
        if let Some(derivation) = &self.derivation {
            let raw = derivation.reads().map(|column| Ok((column, self.raw(chunk, column, range.clone())?)));
            let raw: BTreeMap<&str, Vec<Value>> = raw.collect::<stem_data::Result<_>>()?;
            columns.extend(derivation.run(|column| raw.get(column).cloned().unwrap_or_default())?);
        }
        let mut columns: Vec<(String, _)> =
            columns.into_iter().map(|(name, values)| (name, values.into_iter())).collect();
        let value = |(name, values): &mut (String, std::vec::IntoIter<Value>)| {
            (name.clone(), values.next().unwrap_or(Value::Null))
        };
        Ok((0..height).map(|_| columns.iter_mut().map(value).collect()).collect())
    }

    /// A raw column, with null where a text stands for it.
    fn raw(&self, chunk: &Chunk, column: &str, range: Range<usize>) -> stem_data::Result<Vec<Value>> {
        let is_null = |value: &Value| match value {
            Value::Text(text) if text.is_empty() => self.is_untyped,
            value => self.predictor.schema().is_null(value),
        };
        let values = chunk.values(column, range)?;
        Ok(values.into_iter().map(|value| if is_null(&value) { Value::Null } else { value }).collect())
    }

    /// Says how many rows were left out and why, and which columns look wrong.
    pub(super) fn tell(&self) {
        if self.skipped > 0 {
            let more = if self.skipped > TOLD { "\n  ..." } else { "" };
            let reasons = self.reasons.iter().map(|reason| format!("\n  {reason}")).collect::<String>();
            tracing::warn!("{} rows cannot be scored and are left out:{reasons}{more}", self.skipped);
        }
        self.unseen
            .warnings(self.predictor.schema(), self.predictor.vocabularies())
            .for_each(|warning| tracing::warn!("{warning}"));
    }
}

/// The columns that are written behind the table's.
fn appended(predictor: &Predictor, explained: Option<&Explained>) -> Vec<String> {
    let scores = predictor.schema().tasks.iter().map(|task| score_of(&task.name));
    scores.chain(explained.into_iter().flat_map(Explained::names).cloned()).collect()
}

/// The column of a task's scores.
pub(super) fn score_of(task: &str) -> String {
    format!("p_{task}")
}

/// What is to be done where a table has a column of scores.
fn is_there(score: &str) -> String {
    format!(
        "has a column '{score}' already, which is where scores go: leave it out or name it otherwise, or let scores take its place, --overwrite-columns"
    )
}

/// What a table lacks that a model reads, and where training had it from.
fn lacks(tables: &Tables, shown: &str, column: &str, trained: Option<&Derived>) -> String {
    let mut reads = trained.iter().flat_map(|derived| derived.reads.keys()).map(String::as_str).chain([column]);
    let unreadable = reads.find_map(|column| tables.unreadable().find(|(name, _)| *name == column));
    if let Some((_, why)) = unreadable {
        return why.to_string();
    }
    let Some(Derived { sql, reads, .. }) = trained else {
        return format!("{shown} has no column '{column}'");
    };
    let reads = reads.keys().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let from = match reads.as_str() {
        "" => "which cannot be computed again from a row alone: add its result to the table, or let the recipe compute it from the raw tables (--recipe FILE --data FOLDER)".to_string(),
        reads => format!("computed from {reads}: add what is missing of them"),
    };
    format!("{shown} has no column '{column}'; in training it was {sql}, {from}")
}

/// The error of rows that begin with row `first` of the chunk, with its file and its place there.
fn in_table(chunk: &Chunk, first: usize, error: stem_data::Error) -> Box<dyn std::error::Error> {
    match error {
        stem_data::Error::Value { column, row, expected, found } => {
            chunk.value_error(first + row, &column, expected, found).into()
        }
        other => format!("{}: {}", chunk.place(first).0.display(), with_causes(&other)).into(),
    }
}

/// The same of the model's errors.
fn in_file(chunk: &Chunk, first: usize, error: stem_core::Error) -> Box<dyn std::error::Error> {
    use stem_core::Error::{Beside, MissingColumn, WrongType};
    match error {
        WrongType { column, row, expected, found } => chunk.value_error(first + row, &column, expected, found).into(),
        Beside { field, row, found, of, expected } => {
            let expected = format!("a value for each of the {expected} of '{of}'");
            chunk.value_error(first + row, &field, expected, found.to_string()).into()
        }
        MissingColumn { column, row, columns } => {
            let (path, place) = chunk.place(first + row);
            format!("{}{place}: there is no column '{column}'; the model reads: {columns}", path.display()).into()
        }
        other => format!("{}: {}", chunk.place(first).0.display(), with_causes(&other)).into(),
    }
}
