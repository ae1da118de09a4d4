//! What says how good the weights are while they are trained, when it is asked, and which weights are kept.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stem_core::Schema;
use stem_report::analysis::{LabelKind, Metric};
use stem_report::metrics::TaskMetrics;

use crate::error::{Result, require};

/// What early stopping and the rate go by, on the validation split: a metric, by default of every task.
///
/// ```toml
/// monitor = "gauc"                                                   # every task, or their mean
/// monitor = { metric = "logloss", task = "click" }                   # one task decides for all
/// monitor = { metric = "auc", weights = { click = 1.0, like = 0.5 } }  # a weighted mean decides for all
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Monitor {
    /// What is measured.
    pub metric: Metric,
    /// Weights of the tasks whose mean decides for all; empty where no task is named, which is a weight of 1 for every task.
    pub weights: BTreeMap<String, f64>,
}

/// A monitor as a table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MonitorTable {
    #[serde(default)]
    metric: Metric,
    task: Option<String>,
    #[serde(default)]
    weights: BTreeMap<String, f64>,
}

impl From<Metric> for Monitor {
    fn from(metric: Metric) -> Self {
        Self { metric, weights: BTreeMap::new() }
    }
}

impl<'de> Deserialize<'de> for Monitor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Monitor;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a metric like \"auc\", \"logloss\" or \"ndcg@10\", or a table like { metric = \"auc\", task = \"click\" }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> std::result::Result<Monitor, E> {
                Metric::deserialize(de::value::StrDeserializer::new(name)).map(Monitor::from)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> std::result::Result<Monitor, A::Error> {
                let table = MonitorTable::deserialize(MapAccessDeserializer::new(map))?;
                match (table.task, table.weights.is_empty()) {
                    (Some(_), false) => Err(de::Error::custom("either `task` or `weights`, not both")),
                    (Some(task), true) => Ok(Monitor { metric: table.metric, weights: [(task, 1.0)].into() }),
                    (None, _) => Ok(Monitor { metric: table.metric, weights: table.weights }),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for Monitor {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Table<'a> {
            metric: Metric,
            weights: &'a BTreeMap<String, f64>,
        }
        if self.weights.is_empty() {
            return self.metric.serialize(serializer);
        }
        Table { metric: self.metric, weights: &self.weights }.serialize(serializer)
    }
}

impl Monitor {
    /// As people write it.
    pub fn name(&self) -> Cow<'static, str> {
        self.metric.name()
    }

    /// What is measured of a task with a label of that kind: XAUC, the AUC of numbers, and accuracy of
    /// classes, where the metric says nothing of them.
    pub fn metric_of(&self, kind: LabelKind) -> Metric {
        if self.metric.applies_to(kind) { self.metric } else { Metric::plain(kind) }
    }

    /// How good a task is, more being better; `None` where that is undefined. Of what has the label's unit it is the logarithm, so that a mean
    /// over tasks does not hang on their units.
    pub fn goodness(&self, kind: LabelKind, metrics: &TaskMetrics) -> Option<f64> {
        match self.metric_of(kind) {
            metric @ (Metric::Rmse | Metric::Mae) => {
                metrics.get(metric).map(|error| -error.max(f64::MIN_POSITIVE).ln())
            }
            metric => metrics.goodness(metric),
        }
    }

    /// `sum_t w_t m_t / sum_t w_t`, `m_t` a task's [goodness](Self::goodness), over the tasks that have the metric, more being better; `None` when none has. `tasks` are names, kinds
    /// of labels, and metrics.
    pub fn mean<'a>(&self, tasks: impl IntoIterator<Item = (&'a str, LabelKind, &'a TaskMetrics)>) -> Option<f64> {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (task, kind, metrics) in tasks {
            let weight = if self.weights.is_empty() { 1.0 } else { self.weights.get(task).copied().unwrap_or(0.0) };
            if let Some(gain) = self.goodness(kind, metrics).filter(|_| weight > 0.0) {
                sum += weight * gain;
                weights += weight;
            }
        }
        (weights > 0.0).then(|| sum / weights)
    }

    /// Refuses weights that weigh nothing.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with what stands there.
    pub(crate) fn check(&self) -> Result<()> {
        for (name, &weight) in &self.weights {
            let holds = weight.is_finite() && weight >= 0.0;
            require("monitor.weights", format_args!("{name} = {weight}"), "numbers of 0 or more", holds)?;
        }
        let holds = self.weights.is_empty() || self.weights.values().any(|&weight| weight > 0.0);
        require("monitor.weights", "0 for every task", "a task with a weight above 0", holds)
    }

    /// Refuses what a schema does not have.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) where there are no groups, [`UnknownLabel`](stem_core::Error::UnknownLabel) of `stem-core`.
    pub(crate) fn check_schema(&self, schema: &Schema) -> Result<()> {
        let groups = !self.metric.needs_groups() || schema.group.is_some();
        let expected = "auc or logloss, or a `group` in the recipe: it is measured within groups";
        require("monitor", self.metric, expected, groups)?;
        self.weights.keys().try_for_each(|name| schema.task_of("`monitor` of [train]", name).map(drop))?;
        Ok(())
    }
}

/// Whose best weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Best {
    /// Each task is scored with the weights that were best for it: a bundle holds as many states of the model as there are different
    /// best moments. Where a model's tasks do not stand apart (ESMM), and where the monitor names tasks, as [`Joint`](Self::Joint).
    #[default]
    PerTask,
    /// One state, the best by the mean over the tasks.
    Joint,
}

/// How often validation is asked.
///
/// ```toml
/// evaluate_every = { steps = 200 }    # or 200
/// evaluate_every = { epochs = 0.25 }  # or 0.25
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvaluateEvery {
    /// After so many steps, counted from the start of the training.
    Steps(usize),
    /// After such a part of an epoch, or so many epochs.
    Epochs(f64),
}

impl<'de> Deserialize<'de> for EvaluateEvery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum Table {
            Steps(usize),
            #[serde(alias = "share")]
            Epochs(f64),
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = EvaluateEvery;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("steps, as { steps = 200 } or 200, or a part of an epoch, as { epochs = 0.25 } or 0.25")
            }

            fn visit_i64<E: de::Error>(self, steps: i64) -> std::result::Result<EvaluateEvery, E> {
                Ok(EvaluateEvery::Steps(steps.max(0) as usize)) // 0 is refused by the check
            }

            fn visit_u64<E: de::Error>(self, steps: u64) -> std::result::Result<EvaluateEvery, E> {
                Ok(EvaluateEvery::Steps(steps as usize))
            }

            fn visit_f64<E: de::Error>(self, epochs: f64) -> std::result::Result<EvaluateEvery, E> {
                Ok(EvaluateEvery::Epochs(epochs))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> std::result::Result<EvaluateEvery, A::Error> {
                Ok(match Table::deserialize(MapAccessDeserializer::new(map))? {
                    Table::Steps(steps) => EvaluateEvery::Steps(steps),
                    Table::Epochs(epochs) => EvaluateEvery::Epochs(epochs),
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Default for EvaluateEvery {
    fn default() -> Self {
        Self::Epochs(1.0)
    }
}

impl EvaluateEvery {
    /// Refuses what never comes.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with what stands there.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Steps(steps) => require("evaluate_every.steps", steps, "1 or more", steps >= 1),
            Self::Epochs(epochs) => {
                let holds = epochs.is_finite() && epochs > 0.0;
                require("evaluate_every.epochs", epochs, "a number above 0", holds)
            }
        }
    }

    /// Whether it is time after `step` steps, counted from 1, of epochs of `an_epoch` steps and a training of `planned`. The end of a
    /// training always is.
    pub(crate) fn is_due(self, step: usize, an_epoch: usize, planned: usize) -> bool {
        let times = |step: usize| match self {
            Self::Steps(every) => step / every,
            Self::Epochs(epochs) => (step as f64 / (epochs * an_epoch as f64).max(1.0) + 1e-9) as usize,
        };
        step == planned || times(step) > times(step - 1)
    }

    /// Evaluations in an epoch of `an_epoch` steps, 1 where they are further apart.
    pub(crate) fn in_an_epoch(self, an_epoch: usize) -> usize {
        let times = match self {
            Self::Steps(every) => an_epoch as f64 / every as f64,
            Self::Epochs(epochs) => 1.0 / epochs,
        };
        times.min(an_epoch as f64).round().max(1.0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(text: &str) -> std::result::Result<Monitor, String> {
        #[derive(Deserialize)]
        struct Holder {
            monitor: Monitor,
        }
        toml::from_str::<Holder>(text).map(|holder| holder.monitor).map_err(|e| e.to_string())
    }

    #[test]
    fn a_monitor_is_a_metric_or_a_metric_of_tasks_and_is_written_as_it_is_read() {
        let weights = |of: &[(&str, f64)]| of.iter().map(|(task, weight)| (task.to_string(), *weight)).collect();
        for (text, metric, expected) in [
            ("monitor = \"gauc\"", Metric::Gauc, weights(&[])),
            ("monitor = { metric = \"ndcg@5\" }", Metric::Ndcg(5), weights(&[])),
            ("monitor = { metric = \"logloss\", task = \"click\" }", Metric::Logloss, weights(&[("click", 1.0)])),
            ("monitor = { weights = { a = 1.0, b = 0.5 } }", Metric::Auc, weights(&[("a", 1.0), ("b", 0.5)])),
        ] {
            let found = monitor(text).unwrap();
            assert_eq!(found, Monitor { metric, weights: expected }, "{text}");
            let json = serde_json::to_string(&found).unwrap();
            assert_eq!(serde_json::from_str::<Monitor>(&json).unwrap(), found, "{json}");
        }
        for (text, what) in [
            ("monitor = \"acc\"", "unknown metric \"acc\""),
            ("monitor = { task = \"a\", weights = { b = 1.0 } }", "either `task` or `weights`"),
            ("monitor = { tasks = \"a\" }", "unknown field `tasks`"),
            ("monitor = 3", "a metric like \"auc\", \"logloss\" or \"ndcg@10\", or a table"),
        ] {
            let message = monitor(text).unwrap_err();
            assert!(message.contains(what), "{message}");
        }
    }

    #[test]
    fn means_are_weighted_leave_out_what_is_undefined_and_grow_with_quality() {
        let of = |auc: Option<f64>, logloss: f64| TaskMetrics { auc, logloss: Some(logloss), ..TaskMetrics::default() };
        let tasks = [("a", of(Some(0.8), 0.5)), ("b", of(Some(0.6), 0.3)), ("c", of(None, 0.1))];
        let tasks = || tasks.iter().map(|(name, metrics)| (*name, LabelKind::Binary, metrics));
        let mean = |text: &str| monitor(text).unwrap().mean(tasks());
        assert!((mean("monitor = \"auc\"").unwrap() - 0.7).abs() < 1e-12);
        assert!((mean("monitor = { weights = { a = 3.0, b = 1.0, c = 9.0 } }").unwrap() - 0.75).abs() < 1e-12);
        assert_eq!(mean("monitor = { task = \"c\" }"), None);
        assert!((mean("monitor = \"logloss\"").unwrap() + 0.3).abs() < 1e-12);
    }

    #[test]
    fn a_task_of_numbers_is_monitored_by_xauc_where_the_metric_is_not_for_it() {
        let clicks = TaskMetrics { auc: Some(0.8), ..TaskMetrics::default() };
        let others = [(Metric::Xauc, 0.6), (Metric::Rmse, 3.0)].into();
        let seconds = TaskMetrics { others, ..TaskMetrics::default() };
        let mean = |text: &str| {
            let tasks = [("click", LabelKind::Binary, &clicks), ("seconds", LabelKind::Value, &seconds)];
            monitor(text).unwrap().mean(tasks)
        };
        assert!((mean("monitor = \"auc\"").unwrap() - 0.7).abs() < 1e-12);
        assert_eq!(mean("monitor = { metric = \"rmse\", task = \"seconds\" }"), Some(-3f64.ln()), "less is better");
        assert_eq!(mean("monitor = { metric = \"logloss\", task = \"seconds\" }"), Some(0.6));
    }

    #[test]
    fn how_often_is_a_number_or_a_table_and_is_written_as_it_is_read() {
        #[derive(Deserialize)]
        struct Holder {
            every: EvaluateEvery,
        }
        let read = |text: &str| toml::from_str::<Holder>(text).map(|holder| holder.every).map_err(|e| e.to_string());
        for (text, expected) in [
            ("every = 200", EvaluateEvery::Steps(200)),
            ("every = { steps = 200 }", EvaluateEvery::Steps(200)),
            ("every = 0.25", EvaluateEvery::Epochs(0.25)),
            ("every = { epochs = 2 }", EvaluateEvery::Epochs(2.0)),
            ("every = { share = 0.5 }", EvaluateEvery::Epochs(0.5)),
        ] {
            let found = read(text).unwrap();
            assert_eq!(found, expected, "{text}");
            let json = serde_json::to_string(&found).unwrap();
            assert_eq!(serde_json::from_str::<EvaluateEvery>(&json).unwrap(), found, "{json}");
        }
        assert!(read("every = \"often\"").unwrap_err().contains("{ steps = 200 } or 200"));
        assert!(read("every = { rows = 3 }").unwrap_err().contains("unknown variant `rows`"));
        assert!(EvaluateEvery::Steps(0).check().is_err() && EvaluateEvery::Epochs(f64::NAN).check().is_err());
    }

    #[test]
    fn validation_is_asked_on_a_grid_of_steps_or_of_epochs_and_at_the_end() {
        let times = [
            (EvaluateEvery::Epochs(1.0), 1),
            (EvaluateEvery::Epochs(2.0), 1),
            (EvaluateEvery::Epochs(0.25), 4),
            (EvaluateEvery::Epochs(1e-9), 10), // after every step
            (EvaluateEvery::Steps(3), 3),
            (EvaluateEvery::Steps(20), 1),
        ];
        times.iter().for_each(|(every, times)| assert_eq!(every.in_an_epoch(10), *times, "{every:?}"));
        let due = |every: EvaluateEvery| (1..=25).filter(|&step| every.is_due(step, 10, 25)).collect::<Vec<_>>();
        assert_eq!(due(EvaluateEvery::default()), [10, 20, 25]);
        assert_eq!(due(EvaluateEvery::Steps(7)), [7, 14, 21, 25]);
        assert_eq!(due(EvaluateEvery::Epochs(0.25)), [3, 5, 8, 10, 13, 15, 18, 20, 23, 25]);
        assert_eq!(due(EvaluateEvery::Epochs(2.0)), [20, 25]);
        assert_eq!(due(EvaluateEvery::Epochs(0.001)).len(), 25, "no more often than every step");
        let thirds = (1..=30).filter(|&step| EvaluateEvery::Epochs(1.0 / 3.0).is_due(step, 10, 30)).count();
        assert_eq!(thirds, 9);
    }
}
