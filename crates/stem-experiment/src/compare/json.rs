//! `comparison.json`: the numbers of a report for programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use stem_report::analysis::Metric;
use stem_report::report::{
    EmbeddingReport, GateMap, Interval, ModelReport, PriorReport, Report, StratumReport, StratumTask, TaskReport,
};

/// All numbers of a comparison. What is undefined is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// What `transfer`, `valid` and `joint` are measured in.
    #[serde(default)]
    pub metric: Metric,
    /// The same of tasks of which another metric decides, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Metric>,
    /// By name of the model.
    pub models: BTreeMap<String, ModelComparison>,
    /// By `TASK_A|TASK_B`, then by stratum: `TASK_A-dominant`, `comparable`, `TASK_B-dominant`.
    pub strata: BTreeMap<String, BTreeMap<String, StratumComparison>>,
    /// Where the users were cut, by `TASK_A|TASK_B`: shares of `TASK_B` among a user's positives of both, smoothed where `notes` say so.
    pub cuts: BTreeMap<String, [f64; 2]>,
    /// How users were cut where plain shares would not do, by `TASK_A|TASK_B`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
    /// Test rows in no stratum, for want of a positive of their user in training, by `TASK_A|TASK_B`.
    pub unassigned: BTreeMap<String, u64>,
    /// What a reader has to know before believing the numbers.
    pub warnings: Vec<String>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelComparison {
    /// Of network and table.
    pub parameters: u64,
    /// In training steps, one per seed.
    pub seconds: Vec<f64>,
    /// By name of the task; the transfer of single-task itself is zeros.
    pub tasks: BTreeMap<String, TaskReport>,
    /// Mean gate weights over the test split: all users, then every stratum.
    pub gates: Vec<GateMap>,
    /// What a learned prior came to, of the first seed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priors: Vec<PriorReport>,
    /// Norms, effective ranks and likeness of the embeddings, of the first seed.
    pub embeddings: Option<EmbeddingReport>,
}

/// Every model on the test rows of one stratum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StratumComparison {
    /// Test rows.
    pub rows: u64,
    /// By model, then by task; the transfer of single-task itself is zeros.
    pub models: BTreeMap<String, BTreeMap<String, StratumTask>>,
}

impl Comparison {
    /// The numbers of a report.
    pub fn of(report: &Report) -> Self {
        // Of the reference against itself nothing, where it has one of its metrics.
        let transfer = |model: &String, measured: Option<Interval>, has_auc: bool| match report.reference.as_ref() {
            Some(reference) if reference == model => has_auc.then(Interval::default),
            _ => measured,
        };
        let model = |m: &ModelReport| {
            let task = |task: &TaskReport| TaskReport {
                transfer: transfer(
                    &m.name,
                    task.transfer,
                    task.auc.is_some() || task.others.contains_key(&Metric::Xauc),
                ),
                ..task.clone()
            };
            let embeddings = m.embeddings.clone().map(|found| EmbeddingReport { pictures: Vec::new(), ..found });
            let numbers = ModelComparison {
                parameters: m.parameters,
                seconds: m.seconds.clone(),
                tasks: report.tasks.iter().cloned().zip(m.tasks.iter().map(task)).collect(),
                gates: m.gates.clone(),
                priors: m.priors.clone(),
                embeddings,
            };
            (m.name.clone(), numbers)
        };
        let stratum = |stratum: &StratumReport| {
            let models = stratum.models.iter().map(|m| {
                let task = |task: &StratumTask| {
                    let transfer = transfer(&m.model, task.transfer, task.auc.is_some());
                    (task.task.clone(), StratumTask { transfer, ..task.clone() })
                };
                (m.model.clone(), m.tasks.iter().map(task).collect())
            });
            (stratum.name.clone(), StratumComparison { rows: stratum.rows, models: models.collect() })
        };
        let pairs = || report.pairs.iter().map(|pair| (format!("{}|{}", pair.a, pair.b), pair));
        Self {
            metric: report.metric,
            metrics: report
                .tasks
                .iter()
                .enumerate()
                .map(|(t, task)| (task.clone(), report.metric_of(t)))
                .filter(|(_, metric)| *metric != report.metric)
                .collect(),
            models: report.models.iter().map(model).collect(),
            strata: pairs().map(|(name, pair)| (name, pair.strata.iter().map(stratum).collect())).collect(),
            notes: pairs().filter_map(|(name, pair)| Some((name, pair.note.clone()?))).collect(),
            cuts: pairs().map(|(name, pair)| (name, pair.cuts)).collect(),
            unassigned: pairs().map(|(name, pair)| (name, pair.unassigned)).collect(),
            warnings: report.warnings.clone(),
        }
    }
}
