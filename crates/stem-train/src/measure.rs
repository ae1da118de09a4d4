//! Scores and metrics of a learner's model: of the weights that are drawn, that are being trained, or that were best.

use burn::module::Module;
use stem_core::Predictor;
use stem_core::models::ModelSpec;
use stem_core::nn::score;
use stem_data::{BatchPlan, Split};
use stem_report::analysis::{LabelKind, Metric};
use stem_report::metrics::TaskMetrics;

use crate::error::Result;
use crate::keep::BUNDLE;
use crate::learner::Learner;
use crate::monitor::Monitor;
use crate::ranks::Scoring;
use crate::step::TrainState;

impl<C: ModelSpec> Learner<'_, C> {
    /// Metrics of every task on a split, by the forward that the predictor uses.
    ///
    /// # Errors
    /// Batches that do not read.
    pub fn evaluate(&self, split: Split) -> Result<Vec<TaskMetrics>> {
        Ok(self.measure(&self.score(split)?, split))
    }

    pub(crate) fn measure(&self, scores: &[f32], split: Split) -> Vec<TaskMetrics> {
        self.measure_for(scores, split, &self.config.monitor)
    }

    /// The same, with what a monitor asks for.
    pub(crate) fn measure_for(&self, scores: &[f32], split: Split, monitor: &Monitor) -> Vec<TaskMetrics> {
        let (labels, groups) = (self.dataset.labels(split), self.dataset.groups(split));
        let monitored = |kind| vec![monitor.metric_of(kind)];
        TaskMetrics::per_task(
            &self.dataset.label_kinds(),
            scores,
            labels,
            groups,
            self.dataset.weights(split),
            monitored,
        )
    }

    /// Each task's name and kind of label beside its metrics.
    pub(crate) fn named<'m>(
        &self,
        metrics: &'m [TaskMetrics],
    ) -> impl Iterator<Item = (&str, LabelKind, &'m TaskMetrics)> {
        let names = self.dataset.schema().tasks.iter().map(|task| task.name.as_str());
        names.zip(self.dataset.label_kinds()).zip(metrics).map(|((name, kind), metrics)| (name, kind, metrics))
    }

    /// Scores of every row of a split, in order, by the drawn weights before a training and the best ones after it. `[N, T]`,
    /// row-major.
    ///
    /// # Errors
    /// Batches and bundles that do not read.
    pub fn score(&self, split: Split) -> Result<Vec<f32>> {
        if let Some(state) = &self.state {
            return scores_of(self, state, split);
        }
        let mut scores = Vec::new();
        for batch in self.dataset.batches(split, BatchPlan { size: self.config.batch_size, shuffle: None }) {
            self.trained()?.score(&batch)?.rows().for_each(|row| scores.extend_from_slice(row));
        }
        Ok(scores)
    }

    /// What the last training left.
    fn trained(&self) -> Result<&Predictor<C>> {
        if let Some(trained) = self.trained.get() {
            return Ok(trained);
        }
        let opened = Predictor::open_model(self.work.join(BUNDLE), &self.device)?;
        Ok(self.trained.get_or_init(|| opened))
    }

    /// What decides whether weights are better: the metric that was asked for, or AUC where validation cannot measure that.
    pub(crate) fn measurable_monitor(&self) -> Monitor {
        let monitor = self.config.monitor.clone();
        let labels = self.dataset.labels(Split::Valid).len();
        // Whether a metric is defined does not hang on the scores.
        let measured = |monitor: &Monitor| self.measure_for(&vec![0.5; labels], Split::Valid, monitor);
        let mean = |monitor: &Monitor| monitor.mean(self.named(&measured(monitor)));
        if labels == 0 || mean(&monitor).is_some() {
            return monitor;
        }
        let by_auc = Monitor { metric: Metric::Auc, ..monitor.clone() };
        let nothing = "every evaluation counts as the best so far, and training stops after the last";
        match (monitor.metric, mean(&by_auc)) {
            (metric, Some(_)) if metric.needs_groups() => tracing::warn!(
                "monitor = \"{metric}\" cannot be measured: no group of the validation split has what it asks for{}. AUC decides in its place",
                if metric == Metric::Gauc { ", rows of both labels" } else { ", a positive" }
            ),
            _ => tracing::warn!(
                "{} cannot be measured: no task has rows of both labels in the validation split. So {nothing}",
                monitor.name()
            ),
        }
        by_auc
    }
}

/// Scores of every row of a split, in order, by weights that are being trained. `[N, T]`, row-major. Over several ranks each scores its part of
/// every batch, and all scores are on rank 0, nothing on the others.
pub(crate) fn scores_of<C: ModelSpec>(
    learner: &Learner<'_, C>,
    state: &TrainState<C::Model>,
    split: Split,
) -> Result<Vec<f32>> {
    let network = state.network.valid();
    let Learner { dataset, config, .. } = learner;
    if let Some(shard) = state.shard() {
        let scoring = Scoring { network: &network, table: &state.table, layout: state.layout(), shard };
        return scoring.split(dataset, split, config.batch_size);
    }
    let schema = dataset.schema();
    let mut scores = Vec::new();
    for batch in dataset.batches(split, BatchPlan { size: config.batch_size, shuffle: None }) {
        batch.check(schema)?;
        scores.extend(score(&network, &state.table, state.layout(), schema, &batch));
    }
    Ok(scores)
}
