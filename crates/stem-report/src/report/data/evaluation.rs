//! What a trained model comes to on data of another day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CalibrationBin, Interval, LabelKind, Metric};
use crate::metrics::TaskMetrics;

/// A model measured on rows that it was not trained on.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct EvaluationReport {
    /// Checksum of the bundle that was measured.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub checksum: String,
    /// On all rows, in the order of the model's tasks.
    pub tasks: Vec<MeasuredTask>,
    /// On the rows of each value of each column that was asked for.
    pub slices: Vec<MeasuredSlice>,
    /// The inputs and labels now, beside those of the training.
    pub drift: Vec<DriftReport>,
    /// Whether it is no worse than another model on the same rows.
    pub gate: Option<GateReport>,
    /// What each field is worth; empty where it was not asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub importance: Vec<FieldImportance>,
}

/// What a field is worth to a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FieldImportance {
    /// Its name.
    pub field: String,
    /// By how much each task gets worse where the field's values are dealt anew among the rows, in what decides on the task, with a 95 %
    /// interval over groups; `None` where that is undefined. In the order of the model's tasks.
    pub tasks: Vec<Option<Interval>>,
}

/// A task on some rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct MeasuredTask {
    /// Its name.
    pub task: String,
    /// What its label is.
    pub kind: LabelKind,
    /// Rows that have its label.
    pub rows: usize,
    /// Those with label 1, or above 0.
    pub positives: usize,
    /// What was measured.
    #[serde(flatten)]
    pub metrics: TaskMetrics,
    /// 95 % intervals of the metrics over the groups (over rows where there are no groups), by the metric.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub intervals: BTreeMap<Metric, Interval>,
    /// Tenths of the rows by ascending prediction.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deciles: Vec<CalibrationBin>,
}

/// The rows of one value of a column.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct MeasuredSlice {
    /// The column.
    pub column: String,
    /// The value.
    pub value: String,
    /// Rows.
    pub rows: usize,
    /// In the order of the model's tasks.
    pub tasks: Vec<MeasuredTask>,
}

/// Something of the data now and in training.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct DriftReport {
    /// What: `user: unseen values`, `click: base rate`.
    pub name: String,
    /// In training; of unseen values in its validation split.
    pub trained: Option<f64>,
    /// Now.
    pub now: Option<f64>,
    /// Whether it is more than days usually differ by.
    pub is_large: bool,
}

/// A model against another one on the same rows.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct GateReport {
    /// Name of the other one.
    pub against: String,
    /// What is compared, of tasks without a metric of their own.
    pub metric: Metric,
    /// A loss of less than this is no loss.
    pub margin: f64,
    /// In the order of the model's tasks.
    pub tasks: Vec<GateTask>,
    /// Whether every task is better or no worse.
    pub passed: bool,
}

/// A task of a model against the same of another.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct GateTask {
    /// Its name.
    pub task: String,
    /// What it is measured in.
    pub metric: Metric,
    /// By how much it is better, above zero in any metric, with its 95 % interval over groups; `None` where a metric is undefined.
    pub gain: Option<Interval>,
    /// What that means.
    pub verdict: GateVerdict,
}

/// What a gain means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateVerdict {
    /// The interval lies above zero.
    Better,
    /// It lies above the margin's loss.
    NoWorse,
    /// It lies below it.
    Worse,
    /// It lies on both sides: more rows would tell.
    #[default]
    Undecided,
}

impl GateVerdict {
    /// Of a gain, where a loss of less than `margin` is none.
    pub fn of(gain: Option<Interval>, margin: f64) -> Self {
        match gain {
            Some(gain) if gain.low > 0.0 => Self::Better,
            Some(gain) if gain.low > -margin => Self::NoWorse,
            Some(gain) if gain.high < -margin => Self::Worse,
            _ => Self::Undecided,
        }
    }

    /// Whether a model of that verdict may take the other's place.
    pub fn passes(self) -> bool {
        matches!(self, Self::Better | Self::NoWorse)
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::NoWorse => "no worse",
            Self::Worse => "worse",
            Self::Undecided => "undecided: too few rows",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_passes_where_its_interval_excludes_a_loss_that_matters() {
        let of = |low: f64, high: f64| GateVerdict::of(Some(Interval { mean: 0.0, low, high }), 0.001);
        assert_eq!(of(0.0001, 0.01), GateVerdict::Better);
        assert_eq!(of(-0.0009, 0.01), GateVerdict::NoWorse);
        assert_eq!(of(-0.02, -0.0011), GateVerdict::Worse);
        assert_eq!(of(-0.02, 0.02), GateVerdict::Undecided);
        assert_eq!(of(-0.002, -0.0005), GateVerdict::Undecided, "a loss, but perhaps one that does not matter");
        assert_eq!(GateVerdict::of(None, 0.001), GateVerdict::Undecided);
        assert!(GateVerdict::Better.passes() && GateVerdict::NoWorse.passes());
        assert!(!GateVerdict::Worse.passes() && !GateVerdict::Undecided.passes());
    }
}
