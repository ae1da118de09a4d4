//! Why a row has its scores: what each field adds, and whose experts each task reads.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use serde::Serialize;

use crate::batch::Batch;
use crate::bundle::State;
use crate::calibration::calibrate;
use crate::embedding::upload_rows;
use crate::error::Result;
use crate::forward::{score_pooled, upload};
use crate::models::{Model, ModelSpec};
use crate::nn::DistinctRows;
use crate::precision;
use crate::predictor::Predictor;
use crate::value::Row;

/// Keys whose rows a field's mean row is made of, at most; evenly among them, where there are more.
const KEYS: usize = 1 << 16;

/// Why a row has its scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// As [`Predictor::predict`] gives them, by task.
    pub scores: BTreeMap<String, f32>,
    /// What each field adds to each task's score, in the order of the schema's fields.
    pub fields: Vec<Contribution>,
    /// Of each layer with gates, by task: the weight that the task's gate gives every expert, those of the tasks first and the shared ones last;
    /// one gate for all tasks stands under each of them. Empty of models without gates.
    pub gates: Vec<BTreeMap<String, Vec<f32>>>,
}

/// What a field adds to a row's scores.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Contribution {
    /// The field.
    pub field: String,
    /// By task: the score minus what it would be if the field had its mean row in place of its own. In the score's unit.
    pub tasks: BTreeMap<String, f32>,
}

impl<C: ModelSpec> Predictor<C> {
    /// Says for each row what each field adds to the scores, and what the gates weigh. A field is left out by putting its *mean row* in the place of its
    /// own: the mean of the rows of its keys, every key counting once, of 65,536 keys at most; of a number the mean that it was standardized
    /// by, of a vector zeros. The contributions of all fields do not add up to the score: fields act together. A row takes as many
    /// forwards as there are fields, and one more.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn explain(&self, rows: &[Row]) -> Result<Vec<Explanation>> {
        self.explain_batch(&self.encode(rows)?)
    }

    /// As [`explain`](Self::explain), of rows that are encoded already.
    ///
    /// # Errors
    /// [`Error::Batch`](crate::Error::Batch) when the batch does not fit the schema.
    pub fn explain_batch(&self, batch: &Batch) -> Result<Vec<Explanation>> {
        batch.check(self.schema())?;
        let slots = self.schema().slots();
        let rows = batch.ids.chunks_exact(slots).zip(batch.weights.chunks_exact(slots));
        Ok(rows.map(|(ids, weights)| self.explain_row(ids, weights)).collect())
    }

    /// `ids [S]`, `weights [S]`
    fn explain_row(&self, ids: &[u32], weights: &[f32]) -> Explanation {
        let schema = self.schema();
        let (tasks, fields) = (&schema.tasks, &schema.fields);
        let distinct = DistinctRows::of(ids);
        let known = distinct.rows.len() as u32; // mean rows follow
        let count = 1 + fields.len();
        let mut index = distinct.inverse.repeat(count); // [1 + F, S]
        let mut weighed = weights.repeat(count);
        let durations = weighed.clone(); // a field's part is that of what its embedding says: a row stays as long as it is
        for (f, (field, own)) in fields.iter().zip(schema.slot_ranges()).enumerate() {
            let start = (1 + f) * ids.len();
            let places = start + own.start..start + own.end;
            let total: f32 = weights[own].iter().sum();
            weighed[places.clone()].fill(0.0);
            if let Some(first) = places.clone().next().filter(|_| field.kind.has_keys()) {
                (index[first], weighed[first]) = (known + f as u32, if total == 0.0 { 1.0 } else { total });
            }
        }
        let mut scores = vec![0.0; count * tasks.len()]; // [1 + F, T]
        let mut gates: Vec<BTreeMap<String, Vec<f32>>> = Vec::new();
        for (state, means) in self.states_with_means() {
            let mut values = state.table.gather(&distinct.rows);
            values.extend(means.iter().flatten());
            let rows = upload_rows(values, means.first().map_or(1, Vec::len), self.device()); // [U + F, W]
            let (index_on, weights_on) = upload(&index, &weighed, count, self.device());
            let pooled = || self.layout().pool(rows.clone(), index_on.clone(), weights_on.clone());
            let (own, weights) = precision::with(self.precision(), || {
                (score_pooled(&state.network, pooled, schema, (&durations, count)), state.network.gates(pooled()))
            });
            for (all, own) in scores.chunks_exact_mut(tasks.len()).zip(own.chunks_exact(tasks.len())) {
                state.tasks.iter().for_each(|&task| all[task] = own[task]);
            }
            gates.resize_with(gates.len().max(weights.len()), BTreeMap::new);
            for (layer, weights) in gates.iter_mut().zip(weights) {
                state.tasks.iter().for_each(|&t| drop(layer.insert(tasks[t].name.clone(), of_task(&weights, t))));
            }
        }
        calibrate(&mut scores, tasks, self.calibration().iter().map(Option::as_ref));
        let (whole, without) = scores.split_at(tasks.len());
        let by_task =
            |of: &dyn Fn(usize) -> f32| tasks.iter().enumerate().map(|(t, task)| (task.name.clone(), of(t))).collect();
        let contribution = |(field, without): (&crate::Field, &[f32])| Contribution {
            field: field.name.clone(),
            tasks: by_task(&|t| whole[t] - without[t]),
        };
        Explanation {
            scores: by_task(&|t| whole[t]),
            fields: fields.iter().zip(without.chunks_exact(tasks.len())).map(contribution).collect(),
            gates,
        }
    }

    /// The mean row of every field, of one state. `[F, W]`
    pub(crate) fn means_of(&self, state: &State<C::Model>) -> Vec<Vec<f32>> {
        let (schema, offsets) = (self.schema(), self.schema().offsets());
        let width: usize = state.table.widths().iter().sum();
        let mean = |field: &crate::Field| {
            let keys = if field.kind.has_keys() { self.vocabularies()[field.vocabulary].len() } else { 0 };
            let taken = keys.min(KEYS);
            let ids: Vec<u32> =
                (0..taken).map(|i| offsets[field.vocabulary] + 1 + (i * keys / taken.max(1)) as u32).collect();
            let mut sums = vec![0.0f64; width];
            for row in state.table.gather(&ids).chunks_exact(width) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            sums.into_iter().map(|sum| (sum / taken.max(1) as f64) as f32).collect()
        };
        schema.fields.iter().map(mean).collect()
    }
}

/// The weights of a task's gate on the first row, of `[T, B, E]`, `[T + 1, B, E]` or `[1, B, E]`.
fn of_task(gates: &Tensor<3>, task: usize) -> Vec<f32> {
    let [streams, _, _] = gates.dims();
    let stream = if streams == 1 { 0 } else { task };
    let own = gates.clone().slice_dim(0, stream..stream + 1).slice_dim(1, 0..1);
    own.into_data().try_into_vec().expect("gates are f32")
}
