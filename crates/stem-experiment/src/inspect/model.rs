//! What a model is like on the test split, run by run: of a single run, or of every seed of a comparison.

use std::collections::BTreeMap;
use std::path::Path;

use stem_core::Predictor;
use stem_core::models::ModelSpec;
use stem_core::nn::GateSums;
use stem_data::{Dataset, Split};

use super::priors::priors;
use super::strata::Pair;
use super::{Colours, embedding_report, gate_map, learning_curve, spread, spreads, task_report};
use crate::error::Result;
use crate::measured::{RunMetrics, in_order};
use stem_report::analysis::{Metric, Stratum};
use stem_report::metrics::TaskMetrics;
use stem_report::report::{EmbeddingReport, GateMap, LearningCurve, ModelReport, PriorReport, Spread, TaskReport};

/// A model's scores `[N, T]` of the test split, seed by seed.
pub(crate) type TestScores = Vec<Vec<f32>>;

/// The runs of one model.
pub(crate) struct ModelRuns<'a> {
    dataset: &'a Dataset,
    pairs: &'a [Pair],
    tasks: Vec<String>,
    /// Whose its groups of experts are; empty where they are nobody's.
    owners: Vec<usize>,
    gates: GateSums,
    scores: TestScores,
    learning: Vec<LearningCurve>,
    priors: Option<Vec<PriorReport>>,
    /// The tasks that are scored with the state that gates and embeddings are told of, where there are several.
    told_of: Option<Vec<String>>,
    embeddings: Option<EmbeddingReport>,
}

impl<'a> ModelRuns<'a> {
    /// None yet. Gates are told of all rows, and of the strata of every pair.
    pub(crate) fn new(config: &impl ModelSpec, dataset: &'a Dataset, pairs: &'a [Pair]) -> Self {
        let owners = config.gate_groups(dataset.schema());
        let gates = GateSums::new(&owners, part(pairs.len(), Stratum::ALL[0]));
        let tasks = dataset.schema().task_names();
        Self {
            dataset,
            pairs,
            tasks,
            owners,
            gates,
            scores: Vec::new(),
            learning: Vec::new(),
            priors: None,
            told_of: None,
            embeddings: None,
        }
    }

    /// Adds a run: its model, what that predicts, the folder with its log, and its epochs at most. A field is drawn in the colours
    /// given.
    ///
    /// # Errors
    /// A log or a batch that does not read.
    pub(crate) fn add<C: ModelSpec>(
        &mut self,
        predictor: &Predictor<C>,
        scores: Vec<f32>,
        seed: u64,
        folder: &Path,
        max_epochs: usize,
        picture: Option<(usize, &Colours)>,
    ) -> Result<()> {
        // Experts of nobody have other numbers in every seed: the first stands for them.
        if !self.owners.is_empty() || self.scores.is_empty() {
            for (first, batch) in in_order(self.dataset, Split::Test) {
                let gates = predictor.gates(&batch)?;
                if gates.is_empty() {
                    break;
                }
                let pairs = self.pairs;
                self.gates.add(gates, |row| parts_of(pairs, first + row));
            }
        }
        self.scores.push(scores);
        let learning = learning_curve(folder, seed, &self.tasks)?;
        self.learning.push(LearningCurve { max_epochs: Some(max_epochs), ..learning });
        self.told_of = self.told_of.take().or_else(|| predictor.manifest().states.first().cloned());
        self.priors.get_or_insert_with(|| priors(&predictor.manifest().training));
        if self.embeddings.is_none() {
            self.embeddings = embedding_report(predictor, seed, picture);
        }
        Ok(())
    }

    /// All of it, with the metrics of the same `runs`, of which those of `metrics` decide, one for each task.
    pub(crate) fn report(
        self,
        runs: &[RunMetrics],
        metrics: &[Metric],
        mut settings: Vec<(String, String)>,
    ) -> (ModelReport, TestScores) {
        let first = runs.first();
        if let (Some(run), Some(tasks)) = (first, &self.told_of) {
            let moments = self.tasks.iter().filter_map(|task| Some(format!("{task} {:.2}", run.kept.get(task)?.at)));
            settings.push((format!("best epochs, seed {}", run.seed), moments.collect::<Vec<_>>().join(", ")));
            settings.push(("gates and embeddings of the state for".into(), tasks.join(", ")));
        }
        let report = ModelReport {
            name: first.map_or_else(String::new, |run| run.model.clone()),
            parameters: runs.iter().map(|run| (run.parameters * run.states) as u64).max().unwrap_or(0),
            seconds: runs.iter().map(|run| run.seconds).collect(),
            memory_gb: first.map(|run| run.memory as f64 / 1e9),
            tasks: (0..self.tasks.len())
                .map(|t| {
                    let (valid, joint) = beside_test(runs, metrics[t], &self.tasks[t]);
                    let before = runs.iter().filter_map(|run| run.uncalibrated_test.get(&self.tasks[t]).cloned());
                    let [_, _, logloss, calibration] = spreads(&before.collect::<Vec<_>>());
                    let uncalibrated = logloss.zip(calibration).map(|(logloss, calibration)| [logloss, calibration]);
                    TaskReport {
                        valid,
                        joint,
                        uncalibrated,
                        ..task_report(&self.scores, self.dataset, t, &metrics[t..=t])
                    }
                })
                .collect(),
            gates: self.gate_maps(),
            learning: self.learning,
            priors: self.priors.unwrap_or_default(),
            embeddings: self.embeddings,
            settings,
        };
        (report, self.scores)
    }

    /// All users first, then every stratum.
    fn gate_maps(&self) -> Vec<GateMap> {
        let maps = |part: usize| -> Vec<GateMap> {
            let means = self.gates.means(part);
            means.iter().enumerate().map(|(l, mean)| gate_map(l, mean, &self.owners, &self.tasks)).collect()
        };
        let mut all = maps(0);
        for (p, pair) in self.pairs.iter().enumerate() {
            for (stratum, name) in pair.parts() {
                let [a, b] = pair.tasks.map(|t| self.tasks[t].clone());
                let of = |map| GateMap { stratum: Some(name.into()), pair: Some((a.clone(), b.clone())), ..map };
                all.extend(maps(part(p, stratum)).into_iter().map(of));
            }
        }
        all
    }
}

/// A task's metric on validation, and on test had one moment of the training been kept for all tasks, where that is another.
fn beside_test(runs: &[RunMetrics], metric: Metric, task: &str) -> (Option<Spread>, Option<Spread>) {
    let of = |metrics: &BTreeMap<String, TaskMetrics>| metrics.get(task)?.get(metric);
    let valid = spread(runs.iter().map(|run| of(&run.valid)));
    let joint = spread(runs.iter().map(|run| of(if run.joint_test.is_empty() { &run.test } else { &run.joint_test })));
    (valid, joint.filter(|_| runs.iter().any(|run| !run.joint_test.is_empty())))
}

/// The parts that a test row's gates are added up in.
fn parts_of(pairs: &[Pair], row: usize) -> impl Iterator<Item = usize> {
    let of_pairs = pairs.iter().enumerate().filter_map(move |(p, pair)| Some(part(p, pair.strata.rows[row]?)));
    [0].into_iter().chain(of_pairs)
}

/// The part of a pair's stratum, in which its rows' gates are added up: part 0 is all rows.
fn part(pair: usize, stratum: Stratum) -> usize {
    1 + Stratum::ALL.len() * pair + stratum as usize
}
