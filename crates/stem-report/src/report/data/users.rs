//! Pairs of tasks, and models on parts of the users.

use serde::{Deserialize, Serialize};

use super::Interval;

/// Two tasks, and users split in three by which of the two they give more of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PairReport {
    /// One task.
    pub a: String,
    /// The other.
    pub b: String,
    /// Where users are cut: share of `b` among a user's positives of both in the training split; 0 is all `a`.
    pub cuts: [f64; 2],
    /// How users were cut where not by the share alone, and why; `a` and `b` in it are a user's positives of either task.
    pub note: Option<String>,
    /// Test rows of users without positives of either, who have no share.
    pub unassigned: u64,
    /// `a` dominates, comparable, `b` dominates.
    pub strata: Vec<StratumReport>,
}

/// Some of the users.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StratumReport {
    /// Its name, as "like-dominant".
    pub name: String,
    /// Test rows of these users.
    pub rows: u64,
    /// Every model on these rows.
    pub models: Vec<StratumModel>,
}

/// One model on some of the users.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StratumModel {
    /// Name of the model.
    pub model: String,
    /// The pair's two tasks.
    pub tasks: Vec<StratumTask>,
}

/// One model on one task on some of the users.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StratumTask {
    /// Name of the task; what the numbers are filed under in JSON.
    #[serde(skip)]
    pub task: String,
    /// Rows with a positive label.
    pub positives: u64,
    /// Rows with a label.
    pub labelled: u64,
    /// `None` with one class only.
    pub auc: Option<f64>,
    /// The same within users.
    pub gauc: Option<f64>,
    /// Mean cross-entropy, in nats.
    pub logloss: Option<f64>,
    /// Mean prediction over mean label; 1 is calibrated.
    pub calibration: Option<f64>,
    /// By how much [the task's metric](super::Report::metric_of) is better than the reference's on the same rows.
    pub transfer: Option<Interval>,
}
