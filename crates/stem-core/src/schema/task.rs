//! What is learned: tasks, what their labels are, and how a tower's numbers become a score.
//!
//! ```text
//! kind             outputs z            score                                       what the score estimates
//! binary           z                    sigmoid(z)                                  P(y = 1)
//! regression       z                    f^-1(mean + std z),  f = id or ln(1 + y)    E y; of ln(1 + y) the median of y
//! count            z                    scale exp(z)                                E y
//! watch-time       z                    scale exp(z), exp(z) the odds of sigmoid(z) E y     (Covington et al., RecSys 2016)
//! ordinal          z_0 ... z_{K-1}      sum_k k softmax(z)_k                        E y
//! classes          z_0 ... z_{K-1}      the first k with the greatest z_k              the most likely class
//! zero-inflated    z, m, s              scale sigmoid(z) exp(m + softplus(s)^2 / 2) E y     (Wang et al., arXiv 1912.07753)
//! watch-quantile   z                    Q_d(1/2 + z / sqrt(12)), d the duration     the label of its mean rank (Zhan et al., KDD 2022)
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use super::quantiles::DurationQuantiles;

/// One kind of feedback that is learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Task {
    /// Column of its label, and its name in reports.
    pub name: String,
    /// Another task whose positives are this one's sample space (a purchase is judged among clicks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// What its label is.
    #[serde(default, skip_serializing_if = "TaskKind::is_binary")]
    pub kind: TaskKind,
}

impl Task {
    /// A task with a label of 0 or 1 that is judged on every row.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), within: None, kind: TaskKind::Binary }
    }

    /// Makes another task's positives this one's sample space.
    #[must_use]
    pub fn within(mut self, task: impl Into<String>) -> Self {
        self.within = Some(task.into());
        self
    }

    /// Another label than 0 or 1.
    #[must_use]
    pub fn of_kind(mut self, kind: TaskKind) -> Self {
        self.kind = kind;
        self
    }
}

/// What a task's label is. It decides how many numbers a tower ends in, how they become a score, and which losses there are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TaskKind {
    /// 0 or 1.
    #[default]
    Binary,
    /// Any number; what is learned is `(f(y) - mean) / std`.
    Regression {
        /// `f`.
        #[serde(default)]
        transform: TargetTransform,
        /// Of `f(y)` in the training rows; 0 where it is not standardised.
        mean: f32,
        /// Of `f(y)` in the training rows, above 0; 1 where it is not standardised.
        std: f32,
    },
    /// 0, 1, 2 ...: how often something happened.
    Count {
        /// What labels are divided by before they are learned, above 0: of the size of their mean.
        scale: f32,
    },
    /// A time or an amount of 0 or more: its odds are learned, by a logistic loss whose positives weigh as much as they last.
    WatchTime {
        /// As of [`Count`](Self::Count).
        scale: f32,
    },
    /// One of the levels `0 .. classes`, in their order.
    Ordinal {
        /// `K`, from 2 on.
        classes: usize,
    },
    /// One of the classes `0 .. classes`, which have no order.
    Classes {
        /// `K`, from 2 on.
        classes: usize,
    },
    /// An amount of 0 or more with many zeros: whether there is one, and a log-normal amount.
    ZeroInflated {
        /// As of [`Count`](Self::Count).
        scale: f32,
    },
    /// A time of 0 or more: its rank among the training rows of about the same duration is learned.
    WatchQuantile(DurationQuantiles),
}

/// What is done to a number before it is learned, and undone in scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetTransform {
    /// It is learned as it is.
    #[default]
    None,
    /// `ln(1 + y)`, for numbers of 0 or more with a long tail.
    Log1p,
}

impl TargetTransform {
    /// `f(y)`
    pub fn apply(self, y: f64) -> f64 {
        match self {
            Self::None => y,
            Self::Log1p => y.ln_1p(),
        }
    }

    /// `f^-1(x)`
    pub fn undo(self, x: f64) -> f64 {
        match self {
            Self::None => x,
            Self::Log1p => x.exp_m1(),
        }
    }
}

/// Most classes that are taken for meant.
const MOST_CLASSES: usize = 1024;

impl TaskKind {
    /// Whether the label is 0 or 1.
    pub fn is_binary(&self) -> bool {
        *self == Self::Binary
    }

    /// In a word, as recipes have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Regression { .. } => "regression",
            Self::Count { .. } => "count",
            Self::WatchTime { .. } => "watch-time",
            Self::Ordinal { .. } => "ordinal",
            Self::Classes { .. } => "classes",
            Self::ZeroInflated { .. } => "zero-inflated",
            Self::WatchQuantile(_) => "watch-quantile",
        }
    }

    /// A score within what the label may be: a line that calibrates scores may lead out of it.
    pub fn bound(&self, score: f32) -> f32 {
        match self {
            Self::Binary => score.clamp(0.0, 1.0),
            Self::Regression { .. } => score,
            Self::Count { .. } | Self::WatchTime { .. } | Self::ZeroInflated { .. } | Self::WatchQuantile(_) => {
                score.max(0.0)
            }
            Self::Ordinal { classes } | Self::Classes { classes } => score.clamp(0.0, classes.saturating_sub(1) as f32),
        }
    }

    /// Numbers that its tower ends in.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Binary
            | Self::Regression { .. }
            | Self::Count { .. }
            | Self::WatchTime { .. }
            | Self::WatchQuantile(_) => 1,
            Self::Ordinal { classes } | Self::Classes { classes } => *classes,
            Self::ZeroInflated { .. } => 3,
        }
    }

    /// What a label must be, in words; `None` where this one is.
    pub fn misfit(&self, label: f32) -> Option<String> {
        let (fits, expected) = match self {
            Self::Binary => (label == 0.0 || label == 1.0, "0, 1"),
            Self::Ordinal { classes } | Self::Classes { classes } => {
                let fits = label >= 0.0 && label.fract() == 0.0 && label < *classes as f32;
                let last = classes.saturating_sub(1);
                let what = if matches!(self, Self::Ordinal { .. }) { "level" } else { "class" };
                return (!fits).then(|| format!("a {what} from 0 to {last} (`classes = {classes}`, counted from 0)"));
            }
            Self::Regression { transform: TargetTransform::None, .. } => (label.is_finite(), "a finite number"),
            Self::Regression { .. } | Self::WatchTime { .. } | Self::ZeroInflated { .. } | Self::WatchQuantile(_) => {
                (label.is_finite() && label >= 0.0, "a finite number of 0 or more")
            }
            Self::Count { .. } => {
                (label.is_finite() && label >= 0.0 && label.fract() == 0.0, "a whole number of 0 or more")
            }
        };
        (!fits).then(|| expected.into())
    }

    /// The field whose slot is the `duration` of [`target`](Self::target) and [`score`](Self::score), where there is one.
    pub fn duration(&self) -> Option<&str> {
        match self {
            Self::WatchQuantile(quantiles) => Some(quantiles.duration()),
            _ => None,
        }
    }

    /// What is learned of a label. `duration` is what the slot of the [duration](Self::duration) weighs; it says nothing where there is none.
    pub fn target(&self, label: f32, duration: f32) -> f32 {
        match self {
            Self::Regression { transform, mean, std } => {
                ((transform.apply(f64::from(label)) - f64::from(*mean)) / f64::from(*std)) as f32
            }
            Self::Count { scale } | Self::WatchTime { scale } | Self::ZeroInflated { scale } => label / scale,
            Self::WatchQuantile(quantiles) => quantiles.target(label, duration),
            Self::Binary | Self::Ordinal { .. } | Self::Classes { .. } => label,
        }
    }

    /// The score that a tower's `outputs` stand for, in a row of that `duration` (as of [`target`](Self::target)).
    pub fn score(&self, outputs: &[f32], duration: f32) -> f32 {
        let z = f64::from(outputs[0]);
        let score = match self {
            Self::Binary => sigmoid(z),
            Self::Regression { transform, mean, std } => transform.undo(f64::from(*mean) + f64::from(*std) * z),
            Self::Count { scale } | Self::WatchTime { scale } => f64::from(*scale) * z.exp(),
            Self::WatchQuantile(quantiles) => quantiles.score(z, duration),
            Self::Ordinal { .. } => {
                let largest = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let odds = || outputs.iter().map(|z| f64::from(z - largest).exp());
                odds().enumerate().map(|(k, odds)| k as f64 * odds).sum::<f64>() / odds().sum::<f64>()
            }
            Self::Classes { .. } => match outputs.iter().any(|z| z.is_nan()) {
                true => f64::NAN,
                false => {
                    let most = |most: usize, k: usize| if outputs[k] > outputs[most] { k } else { most };
                    (1..outputs.len()).fold(0, most) as f64
                }
            },
            Self::ZeroInflated { scale } => {
                let (mean, spread) = (f64::from(outputs[1]), softplus(f64::from(outputs[2])));
                f64::from(*scale) * sigmoid(z) * (mean + spread * spread / 2.0).exp()
            }
        };
        // An odd row gets a large number, not an infinite one; what is no number stays none, for whoever looks after broken weights.
        score.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
    }

    /// Why nothing can be learned of it; `None` where it can.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Self::Regression { mean, std, .. } if !(std.is_finite() && *std > 0.0 && mean.is_finite()) => {
                Some(format!("has mean {mean} and std {std}: both must be finite, std positive"))
            }
            Self::Count { scale } | Self::WatchTime { scale } | Self::ZeroInflated { scale }
                if !(scale.is_finite() && *scale > 0.0) =>
            {
                Some(format!("has scale {scale}, expected a number above 0"))
            }
            Self::WatchQuantile(quantiles) => quantiles.fault(),
            Self::Ordinal { classes } | Self::Classes { classes } if !(2..=MOST_CLASSES).contains(classes) => {
                Some(format!("has {classes} classes, expected 2 to {MOST_CLASSES}"))
            }
            _ => None,
        }
    }
}

/// In words, with what sets it apart from others of its name and is not fitted: `ordinal of 5 classes`.
impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Regression { transform: TargetTransform::Log1p, .. } => f.write_str("regression of log1p"),
            Self::Ordinal { classes } => write!(f, "ordinal of {classes} classes"),
            Self::Classes { classes } => write!(f, "{classes} classes"),
            Self::WatchQuantile(quantiles) => write!(f, "watch-quantile of {}", quantiles.duration()),
            kind => f.write_str(kind.name()),
        }
    }
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// `ln(1 + exp(z))`
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f32, expected: f64) {
        assert!((f64::from(found) - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{found} expected {expected}");
    }

    #[test]
    fn a_score_stays_where_its_label_may_be() {
        let ordinal = TaskKind::Ordinal { classes: 5 };
        assert_eq!([-1.0, 2.5, 5.31].map(|score| ordinal.bound(score)), [0.0, 2.5, 4.0]);
        assert_eq!([-1.0, 9.0].map(|score| TaskKind::Count { scale: 2.0 }.bound(score)), [0.0, 9.0]);
        let any = TaskKind::Regression { transform: TargetTransform::None, mean: 0.0, std: 1.0 };
        assert_eq!([any.bound(-1.0), TaskKind::Binary.bound(1.5)], [-1.0, 1.0]);
    }

    #[test]
    fn a_score_is_what_the_outputs_stand_for() {
        close(TaskKind::Binary.score(&[0.5], 0.0), 0.622_459_33);
        let plain = TaskKind::Regression { transform: TargetTransform::None, mean: 10.0, std: 2.0 };
        close(plain.score(&[-1.5], 0.0), 7.0);
        let log = TaskKind::Regression { transform: TargetTransform::Log1p, mean: 1.0, std: 2.0 };
        close(log.score(&[0.5], 0.0), 2f64.exp() - 1.0);
        close(TaskKind::Count { scale: 1.0 }.score(&[2.0], 0.0), 2f64.exp());
        close(TaskKind::WatchTime { scale: 50.0 }.score(&[-1.0], 0.0), 50.0 * (-1f64).exp());
        close(TaskKind::Ordinal { classes: 3 }.score(&[0.0, 0.0, 0.0], 0.0), 1.0);
        close(TaskKind::Ordinal { classes: 3 }.score(&[-80.0, 300.0, 300.0], 0.0), 1.5);
        let classes = TaskKind::Classes { classes: 3 };
        let most_likely = [[0.5, 0.5, 0.4], [-3.0, -1.0, -2.0], [1.0, 2.0, 300.0]].map(|z| classes.score(&z, 0.0));
        assert_eq!(most_likely, [0.0, 1.0, 2.0], "of two that are as likely the first");
        // softplus(0.541325) is 1, so that the mean of the amount is exp(0.5 + 0.5)
        close(TaskKind::ZeroInflated { scale: 4.0 }.score(&[0.0, 0.5, 0.541_324_85], 0.0), 2.0 * 1f64.exp());
        assert_eq!(TaskKind::Count { scale: 1.0 }.score(&[1e4], 0.0), f32::MAX);
    }

    #[test]
    fn what_is_no_number_is_not_hidden_and_nothing_is_infinite() {
        let plain = TaskKind::Regression { transform: TargetTransform::None, mean: 0.0, std: 1.0 };
        for kind in [
            TaskKind::Binary,
            plain.clone(),
            TaskKind::Count { scale: 1.0 },
            TaskKind::Ordinal { classes: 3 },
            TaskKind::Classes { classes: 3 },
            TaskKind::ZeroInflated { scale: 1.0 },
        ] {
            assert!(kind.score(&[f32::NAN; 3], 0.0).is_nan(), "{kind}");
            assert!(
                kind.score(&[300.0, 300.0, 300.0], 0.0).is_finite() && kind.score(&[-300.0; 3], 0.0).is_finite(),
                "{kind}"
            );
        }
        assert_eq!(plain.score(&[f32::NEG_INFINITY], 0.0), f32::MIN);
    }

    #[test]
    fn a_target_is_undone_in_the_score() {
        for transform in [TargetTransform::None, TargetTransform::Log1p] {
            let kind = TaskKind::Regression { transform, mean: 0.7, std: 3.0 };
            for label in [0.0, 0.5, 12.0, 4000.0] {
                close(kind.score(&[kind.target(label, 0.0)], 0.0), f64::from(label));
            }
        }
        assert_eq!(TaskKind::Count { scale: 2.0 }.target(3.0, 0.0), 1.5);
    }

    #[test]
    fn a_label_that_does_not_fit_says_what_would() {
        let log = TaskKind::Regression { transform: TargetTransform::Log1p, mean: 0.0, std: 1.0 };
        for (kind, good, bad) in [
            (TaskKind::Binary, 1.0, 0.5),
            (TaskKind::Regression { transform: TargetTransform::None, mean: 0.0, std: 1.0 }, -7.5, f32::INFINITY),
            (log, 7.5, -0.5),
            (TaskKind::Count { scale: 1.0 }, 12.0, 1.5),
            (TaskKind::WatchTime { scale: 1.0 }, 1.5, -1.0),
            (TaskKind::Ordinal { classes: 5 }, 4.0, 5.0),
            (TaskKind::Ordinal { classes: 5 }, 0.0, 0.5),
            (TaskKind::Classes { classes: 5 }, 4.0, 5.0),
            (TaskKind::ZeroInflated { scale: 1.0 }, 0.0, f32::NAN),
        ] {
            assert_eq!(kind.misfit(good), None, "{kind:?} {good}");
            assert!(kind.misfit(bad).is_some(), "{kind:?} {bad}");
        }
    }

    #[test]
    fn a_binary_task_is_written_as_it_always_was() {
        let json = |task: &Task| serde_json::to_string(task).expect("plain data");
        assert_eq!(json(&Task::new("click")), r#"{"name":"click"}"#);
        let rating = Task::new("rating").of_kind(TaskKind::Ordinal { classes: 5 });
        assert_eq!(json(&rating), r#"{"name":"rating","kind":{"name":"ordinal","classes":5}}"#);
        assert_eq!(serde_json::from_str::<Task>(&json(&rating)).expect("what was written"), rating);
    }
}
