//! `comparison.json`: the numbers of a report for programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use stem_report::report::{EmbeddingReport, GateMap, Interval, ModelReport, PairReport, Report, Spread, StratumTask};

/// All numbers of a comparison. What is undefined is `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// By name of the model.
    pub models: BTreeMap<String, ModelComparison>,
    /// By `TASK_A|TASK_B`, then by stratum: `TASK_A-dominant`, `comparable`, `TASK_B-dominant`.
    pub strata: BTreeMap<String, BTreeMap<String, StratumComparison>>,
    /// Where the users were cut, by `TASK_A|TASK_B`: shares of `TASK_B` among a user's positives of both.
    pub cuts: BTreeMap<String, [f64; 2]>,
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
    /// By name of the task.
    pub tasks: BTreeMap<String, TaskComparison>,
    /// Mean gate weights over the test split: all users, then every stratum.
    pub gates: Vec<GateMap>,
    /// Norms, effective ranks and likeness of the embeddings, of the first seed.
    pub embeddings: Option<EmbeddingReport>,
}

/// One model on one task of the test split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskComparison {
    /// Area under the ROC curve.
    pub auc: Option<Spread>,
    /// AUC within groups.
    pub gauc: Option<Spread>,
    /// Mean cross-entropy, in nats.
    pub logloss: Option<Spread>,
    /// Mean prediction over mean label.
    pub calibration: Option<Spread>,
    /// AUC less single-task's, seeds averaged, with its 95 % interval; zeros for single-task itself.
    pub transfer: Option<Interval>,
}

/// Every model on the test rows of one stratum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StratumComparison {
    /// Test rows.
    pub rows: u64,
    /// By model, then by task.
    pub models: BTreeMap<String, BTreeMap<String, StratumNumbers>>,
}

/// One model on one task of one stratum, seeds averaged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StratumNumbers {
    /// Rows with a positive label.
    pub positives: u64,
    /// Rows with a label.
    pub labelled: u64,
    /// `None` with one class only; so are the others that need both.
    pub auc: Option<f64>,
    /// AUC within groups.
    pub gauc: Option<f64>,
    /// Mean cross-entropy, in nats.
    pub logloss: Option<f64>,
    /// Mean prediction over mean label.
    pub calibration: Option<f64>,
    /// AUC less single-task's on the same rows; zeros for single-task itself.
    pub transfer: Option<Interval>,
}

impl Comparison {
    /// The numbers of a report.
    pub fn of(report: &Report) -> Self {
        let is_reference = |name: &str| report.reference.as_deref() == Some(name);
        let model =
            |model: &ModelReport| (model.name.clone(), model_numbers(model, &report.tasks, is_reference(&model.name)));
        let name = |pair: &PairReport| format!("{}|{}", pair.a, pair.b);
        let stratum = |stratum: &stem_report::report::StratumReport| {
            let models = stratum.models.iter().map(|model| {
                let numbers =
                    |task: &StratumTask| (task.task.clone(), stratum_numbers(task, is_reference(&model.model)));
                (model.model.clone(), model.tasks.iter().map(numbers).collect())
            });
            (stratum.name.clone(), StratumComparison { rows: stratum.rows, models: models.collect() })
        };
        Self {
            models: report.models.iter().map(model).collect(),
            strata: report.pairs.iter().map(|pair| (name(pair), pair.strata.iter().map(stratum).collect())).collect(),
            cuts: report.pairs.iter().map(|pair| (name(pair), pair.cuts)).collect(),
            unassigned: report.pairs.iter().map(|pair| (name(pair), pair.unassigned)).collect(),
            warnings: report.warnings.clone(),
        }
    }
}

/// Of the reference against itself nothing, where it has an AUC.
fn transfer<A>(measured: Option<Interval>, auc: &Option<A>, is_reference: bool) -> Option<Interval> {
    if is_reference { auc.as_ref().map(|_| Interval::default()) } else { measured }
}

fn model_numbers(model: &ModelReport, tasks: &[String], is_reference: bool) -> ModelComparison {
    let task = |(name, task): (&String, &stem_report::report::TaskReport)| {
        let numbers = TaskComparison {
            auc: task.auc.clone(),
            gauc: task.gauc.clone(),
            logloss: task.logloss.clone(),
            calibration: task.calibration.clone(),
            transfer: transfer(task.transfer, &task.auc, is_reference),
        };
        (name.clone(), numbers)
    };
    ModelComparison {
        parameters: model.parameters,
        seconds: model.seconds.clone(),
        tasks: tasks.iter().zip(&model.tasks).map(task).collect(),
        gates: model.gates.clone(),
        embeddings: model.embeddings.clone().map(|embeddings| EmbeddingReport { pictures: Vec::new(), ..embeddings }),
    }
}

fn stratum_numbers(task: &StratumTask, is_reference: bool) -> StratumNumbers {
    StratumNumbers {
        positives: task.positives,
        labelled: task.labelled,
        auc: task.auc,
        gauc: task.gauc,
        logloss: task.logloss,
        calibration: task.calibration,
        transfer: transfer(task.transfer, &task.auc, is_reference),
    }
}
