//! Golden rows: rows that a bundle brings along with the scores that it has to give them, wherever it scores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Manifest;
use crate::batch::Batch;
use crate::calibration::calibrate;
use crate::embedding::{EmbeddingTable, SlotLayout};
use crate::example::example_rows;
use crate::featurize::encode_rows;
use crate::forward::{pool, score_pooled};
use crate::models::Model;
use crate::precision::{self, Precision};
use crate::schema::Schema;
use crate::scores::Scores;
use crate::value::Row;
use crate::vocabulary::Vocabulary;

/// Rows that a bundle is given.
const ROWS: usize = 16;
/// Bytes that they may have as JSON; rows beyond are left out.
const BYTES: usize = 64 << 10;

/// Rows of keys that the model knows, with the scores that it gave them when it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Values by column.
    pub rows: Vec<Map<String, Value>>,
    /// `[B]` by task.
    pub scores: BTreeMap<String, Vec<f32>>,
    /// How far a score may be off: other processors and devices round otherwise. Of a number above 1 it is a share of that number.
    #[serde(default = "tolerance")]
    pub tolerance: f32,
}

fn tolerance() -> f32 {
    1e-4
}

/// What is wrong with golden rows, or with who scores them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenFault {
    /// A row without a column, or with a value that none takes.
    #[error("its golden rows do not score")]
    Row(#[source] Box<crate::Error>),
    /// A task that the model does not have.
    #[error("its golden rows have a task '{task}', which it does not score")]
    Task {
        /// Its name.
        task: String,
    },
    /// Not a score for every row.
    #[error("it has {rows} golden rows and {scores} scores of '{task}'")]
    Count {
        /// The task.
        task: String,
        /// Rows.
        rows: usize,
        /// Scores.
        scores: usize,
    },
    /// Another score than it was written with.
    #[error("golden row {row}, task '{task}': expected {expected}, scored {found}")]
    Off {
        /// The row, counted from 0.
        row: usize,
        /// The task.
        task: String,
        /// As the bundle says.
        expected: f32,
        /// As it scores here.
        found: f32,
    },
}

impl Golden {
    /// Rows for a model, scored; `score` gives `[B, T]`. `None` where it gives no numbers.
    pub(super) fn of(
        manifest: &Manifest,
        vocabularies: &[Vocabulary],
        score: impl FnOnce(&Batch) -> Vec<f32>,
    ) -> Option<Self> {
        let schema = &manifest.schema;
        if vocabularies.len() != schema.vocabularies.len() {
            return None;
        }
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for row in example_rows(schema, vocabularies, ROWS) {
            let value = Value::Object(row);
            bytes += value.to_string().len();
            let is_scored = serde_json::from_value::<Row>(value.clone())
                .is_ok_and(|row| encode_rows(schema, vocabularies, &[row]).is_ok());
            if let (true, true, Value::Object(row)) = (bytes <= BYTES, is_scored, value) {
                rows.push(row);
            }
        }
        let batch = encode_rows(schema, vocabularies, &values(&rows).ok()?).ok()?;
        let mut scores = precision::with(Precision::F32, || score(&batch)); // [B, T]
        let maps = schema.tasks.iter().map(|task| manifest.calibration.get(&task.name));
        calibrate(&mut scores, &schema.tasks, maps);
        let tasks = schema.tasks.len();
        let of_task = |(t, name): (usize, String)| (name, scores.iter().skip(t).step_by(tasks).copied().collect());
        let is_finite = !rows.is_empty() && scores.iter().all(|score| score.is_finite());
        let scores = schema.task_names().into_iter().enumerate().map(of_task).collect();
        is_finite.then_some(Self { rows, scores, tolerance: tolerance() })
    }

    /// The scores of these tasks alone.
    pub(super) fn only(&self, tasks: &[String]) -> BTreeMap<String, Vec<f32>> {
        self.scores.iter().filter(|(task, _)| tasks.contains(task)).map(|(t, s)| (t.clone(), s.clone())).collect()
    }

    /// Compares what `score` gives the rows with what they have to get.
    pub(crate) fn check(&self, score: impl FnOnce(&[Row]) -> crate::Result<Scores>) -> Result<(), GoldenFault> {
        let rows = values(&self.rows).and_then(|rows| score(&rows));
        let scores = rows.map_err(|error| GoldenFault::Row(Box::new(error)))?;
        for (task, expected) in &self.scores {
            let found = scores.task(task).ok_or_else(|| GoldenFault::Task { task: task.clone() })?;
            let found: Vec<f32> = found.collect();
            if found.len() != expected.len() {
                let (rows, scores) = (found.len(), expected.len());
                return Err(GoldenFault::Count { task: task.clone(), rows, scores });
            }
            let is_off = |(found, expected): (&f32, &f32)| {
                let off = (found - expected).abs();
                off.is_nan() || off > self.tolerance * expected.abs().max(1.0)
            };
            if let Some(row) = found.iter().zip(expected).position(is_off) {
                let (found, expected) = (found[row], expected[row]);
                return Err(GoldenFault::Off { row, task: task.clone(), expected, found });
            }
        }
        Ok(())
    }
}

/// Scores of a network and table that are being written, on whatever device and graph they are.
pub(super) fn scores<M: Model>(network: &M, table: &EmbeddingTable, schema: &Schema, batch: &Batch) -> Vec<f32> {
    let (network, layout) = (network.valid(), SlotLayout::new(schema, table.widths()));
    score_pooled(&network, || pool(table, &layout, batch), schema, (&batch.weights, batch.rows))
}

fn values(rows: &[Map<String, Value>]) -> crate::Result<Vec<Row>> {
    let row = |row: &Map<String, Value>| {
        let unread = |error: serde_json::Error| crate::Error::Batch { what: error.to_string() };
        serde_json::from_value(Value::Object(row.clone())).map_err(unread)
    };
    rows.iter().map(row).collect()
}
