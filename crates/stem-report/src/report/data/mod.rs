//! The numbers of a report. Shapes only; every list may be empty, and no number is trusted to be finite. With serde go those that
//! `comparison.json` has.

mod evaluation;
mod learned;
mod replay;
mod users;

pub use evaluation::{
    DriftReport, EvaluationReport, FieldImportance, GateReport, GateTask, GateVerdict, MeasuredSlice, MeasuredTask,
};
pub use learned::{EmbeddingReport, EpochPoint, FieldEmbedding, GateMap, LearningCurve, Picture, PriorReport};
pub use replay::{ReplayDay, ReplayReport, ReplayWay};
pub use users::{PairReport, StratumModel, StratumReport, StratumTask};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::analysis::{CalibrationBin, Interval, LabelKind, Metric};

/// Several models on one data set, compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The page's heading.
    pub title: String,
    /// What was run, and how to run it again.
    pub provenance: Provenance,
    /// Names of the tasks; all lists per task are in this order.
    pub tasks: Vec<String>,
    /// Name of the single-task model, which transfer is measured against.
    pub reference: Option<String>,
    /// The metric that decides, and that transfer is measured in, for tasks without one of their own.
    pub metric: Metric,
    /// The metric of each task; empty where it is `metric` for all.
    pub metrics: Vec<Metric>,
    /// The models, the reference among them.
    pub models: Vec<ModelReport>,
    /// Pairs of tasks, and users split by which of the two they give more of.
    pub pairs: Vec<PairReport>,
    /// What a reader has to know before believing the numbers.
    pub warnings: Vec<String>,
    /// How settings were chosen.
    pub search: Option<SearchReport>,
    /// What a model comes to on data of another day.
    pub evaluation: Option<EvaluationReport>,
    /// What ways to keep a model up to date come to, day by day.
    pub replay: Option<ReplayReport>,
}

impl Report {
    /// The metric that decides on task `t`, and that its transfer is measured in.
    pub fn metric_of(&self, t: usize) -> Metric {
        self.metrics.get(t).copied().unwrap_or(self.metric)
    }

    /// The metric that decides on every task; `None` where they differ.
    pub(super) fn one_metric(&self) -> Option<Metric> {
        let first = self.metric_of(0);
        (1..self.tasks.len()).all(|t| self.metric_of(t) == first).then_some(first)
    }
}

/// Where the numbers come from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Provenance {
    /// Name of the recipe.
    pub recipe: String,
    /// Rows of train, valid and test.
    pub rows: [u64; 3],
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
    /// Where it ran.
    pub device: String,
    /// Names and versions of what ran.
    pub versions: Vec<(String, String)>,
    /// The command that does it again.
    pub command: String,
    /// When it was done.
    pub finished: String,
    /// How long training took, all runs together.
    pub seconds: f64,
    /// Names and values of what held for all models.
    pub settings: Vec<(String, String)>,
}

/// One model: its quality, its cost, and what it learned.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelReport {
    /// As on the command line.
    pub name: String,
    /// Of network and table together, of all states that are served: the most of any seed.
    pub parameters: u64,
    /// Training time, one per seed.
    pub seconds: Vec<f64>,
    /// What table, optimizer state and a batch take, as planned before training.
    pub memory_gb: Option<f64>,
    /// Names and values of what held for this model.
    pub settings: Vec<(String, String)>,
    /// In the order of [`Report::tasks`].
    pub tasks: Vec<TaskReport>,
    /// One per seed.
    pub learning: Vec<LearningCurve>,
    /// Mean gate weights, per layer and stratum.
    pub gates: Vec<GateMap>,
    /// What a learned prior came to, of the first seed and the last moment that is kept.
    pub priors: Vec<PriorReport>,
    /// What the embeddings look like.
    pub embeddings: Option<EmbeddingReport>,
}

/// A number over seeds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Spread {
    /// Mean of `values`.
    pub mean: f64,
    /// Standard deviation of `values`; says nothing when there is only one.
    pub sd: f64,
    /// One per seed.
    pub values: Vec<f64>,
}

/// One model on one task; of the test split, where nothing else is said.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskReport {
    /// What its label is.
    #[serde(skip_serializing_if = "is_binary")]
    pub kind: LabelKind,
    /// Area under the ROC curve.
    pub auc: Option<Spread>,
    /// The same within users.
    pub gauc: Option<Spread>,
    /// Mean cross-entropy, in nats.
    pub logloss: Option<Spread>,
    /// Mean prediction over mean label; 1 is calibrated.
    pub calibration: Option<Spread>,
    /// By what metric else.
    #[serde(flatten)]
    pub others: BTreeMap<Metric, Spread>,
    /// By how much [the task's metric](Report::metric_of) is better than the reference's, with its interval over users and seeds: above zero is a gain in
    /// any metric.
    pub transfer: Option<Interval>,
    /// [The task's metric](Report::metric_of) on the validation split, by which models are chosen.
    pub valid: Option<Spread>,
    /// [The task's metric](Report::metric_of) on the test split, had one stopping point been kept for all tasks. `None` where that is what was kept.
    pub joint: Option<Spread>,
    /// Logloss and calibration before the scores were calibrated. `None` where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncalibrated: Option<[Spread; 2]>,
    /// Points of the ROC curve: false positive rate, true positive rate; ascending. For the page alone.
    #[serde(skip)]
    pub roc: Vec<[f64; 2]>,
    /// Rows in bins of ascending prediction. For the page alone.
    #[serde(skip)]
    pub calibration_curve: Vec<CalibrationBin>,
}

impl TaskReport {
    /// A metric over seeds, where it was measured.
    pub fn get(&self, metric: Metric) -> Option<&Spread> {
        match metric {
            Metric::Auc => self.auc.as_ref(),
            Metric::Gauc => self.gauc.as_ref(),
            Metric::Logloss => self.logloss.as_ref(),
            other => self.others.get(&other),
        }
    }
}

fn is_binary(kind: &LabelKind) -> bool {
    *kind == LabelKind::Binary
}

/// How settings were chosen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SearchReport {
    /// How much every model was given.
    pub budget: String,
    /// What a reader has to know about it.
    pub note: String,
    /// All that was tried.
    pub trials: Vec<Trial>,
}

/// One training of a search.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trial {
    /// Name of the model.
    pub model: String,
    /// Names and values of what was varied.
    pub settings: Vec<(String, String)>,
    /// Epochs trained.
    pub epochs: usize,
    /// On the validation split; higher is better.
    pub score: Option<f64>,
    /// Whether it is the one the model was then run with.
    pub won: bool,
}
