//! What models learned: their trainings, their gates, their embeddings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::Metric;

/// A training, from one measurement on the validation split to the next: once an epoch, or several times.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LearningCurve {
    /// Its seed.
    pub seed: u64,
    /// Its measurements, in the order of training.
    pub epochs: Vec<EpochPoint>,
    /// Per task the place in `epochs`, from 0, whose weights are kept; `None`, or no entry, is that of the best metric.
    pub kept: Vec<Option<usize>>,
    /// How many epochs it was allowed; `None` is not known.
    pub max_epochs: Option<usize>,
    /// Per task whether the last allowed epoch was still the best. Without an entry it is found from `epochs`, `kept` and
    /// `max_epochs`.
    pub ran_out: Vec<bool>,
}

/// One measurement of a training.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EpochPoint {
    /// The epoch it is within or at the end of; from 1.
    pub epoch: usize,
    /// How far training had come, in epochs: 1.5 is the middle of the second. 0, as by default, is the end of `epoch`.
    pub at: f64,
    /// Training loss since the last measurement, in nats, per task; NaN where the task's own training had stopped.
    pub loss: Vec<f64>,
    /// AUC on the validation split, per task; `None` where there is none, as after a stop.
    pub auc: Vec<Option<f64>>,
    /// Mean cross-entropy on the validation split, in nats, per task; `None` where there is none.
    pub logloss: Vec<Option<f64>>,
    /// What else was measured on the validation split, per task.
    pub others: Vec<BTreeMap<Metric, f64>>,
}

/// Mean weights of a layer's gates.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GateMap {
    /// From 0; shown from 1.
    pub layer: usize,
    /// The users it is the mean over; `None` is all of them.
    pub stratum: Option<String>,
    /// The pair of tasks by which those users were split.
    pub pair: Option<(String, String)>,
    /// The gates.
    pub rows: Vec<String>,
    /// Groups of experts.
    pub columns: Vec<String>,
    /// `[rows, columns]`, from 0 to 1.
    pub values: Vec<Vec<f64>>,
}

/// What a learned prior came to believe of the embeddings of some fields.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PriorReport {
    /// The fields that share a vocabulary, with commas.
    pub fields: String,
    /// Embedding groups, one per task and the shared one.
    pub groups: Vec<String>,
    /// Standard deviation of an embedding's numbers, per group.
    pub deviations: Vec<f64>,
    /// Correlation of the same number in two groups, `[groups, groups]`; empty where groups are not tied.
    pub correlation: Vec<Vec<f64>>,
}

/// What a model's embeddings look like.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EmbeddingReport {
    /// One per field.
    pub fields: Vec<FieldEmbedding>,
    /// One field's embeddings in the plane, one picture per embedding group.
    pub pictures: Vec<Picture>,
}

/// The embeddings of one field.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FieldEmbedding {
    /// Name of the field.
    pub field: String,
    /// Rows of the table looked at.
    pub sampled: u64,
    /// Embedding groups, one per task and the shared one.
    pub groups: Vec<String>,
    /// Mean length of an embedding, per group.
    pub norms: Vec<f64>,
    /// Dimensions in use, per group.
    pub effective_rank: Vec<Option<f64>>,
    /// Similarity of two groups, `[groups, groups]`: 1 is the same up to rotation and scale, 0 is unrelated.
    pub cka: Vec<Vec<Option<f64>>>,
}

/// Embeddings of one field and group on their first two principal components.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Picture {
    /// Name of the field.
    pub field: String,
    /// Name of the embedding group.
    pub group: String,
    /// Share of the variance along either component.
    pub explained: [f64; 2],
    /// Names of the strata that points belong to.
    pub strata: Vec<String>,
    /// First component, second component, index into `strata`.
    pub points: Vec<(f64, f64, usize)>,
}
