//! What a comparison is decided by.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::LabelKind;

/// What the quality of a model, or a difference of models, is measured in. In files and as a key of a map it is one text: `auc`,
/// `pr-auc`, `ndcg@10`.
///
/// `s` is a score, `y` its label, `w` the weight of the row (1 by default). "Within groups" is the plain mean over the groups that have
/// a positive, of rows ordered by descending score; rows of one score are in every order equally often, so that a tie is worth the mean
/// over its orders. A `k` of 0 measures nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Metric {
    /// Area under the ROC curve over all rows: `sum_ij w_i w_j [s_i > s_j] / sum_ij w_i w_j` over positives `i` and negatives `j`, equal
    /// scores counted half.
    #[default]
    Auc,
    /// The same within users: `sum_u n_u AUC_u / sum_u n_u` over users with both classes, `n_u` the rows of user `u`.
    Gauc,
    /// Mean cross-entropy, in nats: `mean(-y log s - (1 - y) log(1 - s))`.
    Logloss,
    /// Average precision, `sum_n (R_n - R_{n-1}) P_n` over the thresholds, which are the different scores (scikit-learn's
    /// `average_precision_score`).
    PrAuc,
    /// Normalised entropy: the logloss over the entropy of the share of label 1, `-p log p - (1 - p) log(1 - p)` (He et al., 2014,
    /// "Practical lessons from predicting clicks on ads at Facebook"). 1 is what the share itself reaches as a prediction.
    Ne,
    /// Expected calibration error, `sum_b n_b / n |mean y in b - mean s in b|` over 15 bins of equal width (Naeini et al., 2015;
    /// TorchMetrics' `BinaryCalibrationError` with norm `l1`).
    Ece,
    /// Within groups: `DCG / ideal DCG` with `DCG = sum_{r <= k} w y / log2(r + 1)` over the first `k` ranks `r`, the ideal order being by
    /// `w y` (Järvelin and Kekäläinen, 2002; scikit-learn's `ndcg_score` with its averaged ties). A label below 0 is no gain.
    Ndcg(u16),
    /// Within groups: `1 / rank` of the first positive. A row's weight does not change it, unless it is 0.
    Mrr,
    /// Within groups: the share of the positives, by their weight, that are among the first `k`.
    Recall(u16),
    /// Within groups: whether a positive is among the first `k`. A row's weight does not change it, unless it is 0.
    HitRate(u16),
    /// AUC of numbers: the share of the pairs of rows with different labels that the scores put in the labels' order, equal scores counted
    /// half, a pair weighing `w_i w_j` (Zhan et al., 2022, "Deconfounding duration bias in watch-time prediction"). The AUC where labels
    /// are 0 and 1.
    Xauc,
    /// Root of the mean squared error, `sqrt(mean((s - y)^2))`, in the label's unit.
    Rmse,
    /// Mean absolute error, `mean(|s - y|)`, in the label's unit.
    Mae,
    /// The share of the rows whose score is nearer than 0.5 to the label: of classes, whose most likely one is the label's.
    Accuracy,
}

/// A text that is no metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown metric \"{name}\"{hint}; known are {KNOWN}, with any k from 1 to 65535 for the 10")]
pub struct UnknownMetric {
    name: String,
    hint: String,
}

const KNOWN: &str =
    "auc, gauc, logloss, pr-auc, ne, ece, ndcg@10, mrr, recall@10, hitrate@10, xauc, rmse, mae, accuracy";

/// What people also write, and what it is.
const ALIASES: [(&str, &str); 5] = [
    ("pr_auc", "pr-auc"),
    ("hit_rate", "hitrate"),
    ("hit-rate", "hitrate"),
    ("normalised-entropy", "ne"),
    ("normalized-entropy", "ne"),
];

/// The `k` of those that ask for none.
const USUAL_K: u16 = 10;

/// Names without `@k`, and the metrics.
const PLAIN: [(&str, Metric); 11] = [
    ("auc", Metric::Auc),
    ("gauc", Metric::Gauc),
    ("logloss", Metric::Logloss),
    ("pr-auc", Metric::PrAuc),
    ("ne", Metric::Ne),
    ("ece", Metric::Ece),
    ("mrr", Metric::Mrr),
    ("xauc", Metric::Xauc),
    ("rmse", Metric::Rmse),
    ("mae", Metric::Mae),
    ("accuracy", Metric::Accuracy),
];

/// A metric of the first `k` rows.
type OfFirst = fn(u16) -> Metric;

/// Names with `@k`.
const CUT: [(&str, OfFirst); 3] = [("ndcg", Metric::Ndcg), ("recall", Metric::Recall), ("hitrate", Metric::HitRate)];

impl Metric {
    /// The three that every comparison of tasks with labels 0 and 1 shows.
    pub const ALL: [Metric; 3] = [Metric::Auc, Metric::Gauc, Metric::Logloss];

    /// What a finished model is measured in besides [`TaskMetrics`](crate::metrics::TaskMetrics)' fields, with `k = 10`.
    pub fn usual(kind: LabelKind) -> Vec<Metric> {
        let within = [Self::Ndcg(USUAL_K), Self::Mrr, Self::Recall(USUAL_K), Self::HitRate(USUAL_K)];
        match kind {
            LabelKind::Binary => [Self::PrAuc, Self::Ne, Self::Ece].into_iter().chain(within).collect(),
            LabelKind::Value => within.into_iter().chain(Self::shown(kind).iter().copied()).collect(),
            LabelKind::Class => vec![Self::Accuracy],
        }
    }

    /// What is shown first of tasks whose label is of that kind.
    pub fn shown(kind: LabelKind) -> &'static [Metric] {
        match kind {
            LabelKind::Binary => &Self::ALL,
            LabelKind::Value => &[Self::Xauc, Self::Rmse, Self::Mae],
            LabelKind::Class => &[Self::Accuracy],
        }
    }

    /// What decides on a task whose label is of that kind, where what is asked for says nothing of it.
    pub fn plain(kind: LabelKind) -> Metric {
        Self::shown(kind)[0]
    }

    /// For a reader.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::Auc => "AUC".into(),
            Self::Gauc => "gAUC".into(),
            Self::Logloss => "logloss".into(),
            Self::PrAuc => "PR-AUC".into(),
            Self::Ne => "NE".into(),
            Self::Ece => "ECE".into(),
            Self::Ndcg(k) => format!("NDCG@{k}").into(),
            Self::Mrr => "MRR".into(),
            Self::Recall(k) => format!("recall@{k}").into(),
            Self::HitRate(k) => format!("hit rate@{k}").into(),
            Self::Xauc => "XAUC".into(),
            Self::Rmse => "RMSE".into(),
            Self::Mae => "MAE".into(),
            Self::Accuracy => "accuracy".into(),
        }
    }

    /// As files have it.
    pub fn key(self) -> Cow<'static, str> {
        match self {
            Self::Auc => "auc".into(),
            Self::Gauc => "gauc".into(),
            Self::Logloss => "logloss".into(),
            Self::PrAuc => "pr-auc".into(),
            Self::Ne => "ne".into(),
            Self::Ece => "ece".into(),
            Self::Ndcg(k) => format!("ndcg@{k}").into(),
            Self::Mrr => "mrr".into(),
            Self::Recall(k) => format!("recall@{k}").into(),
            Self::HitRate(k) => format!("hitrate@{k}").into(),
            Self::Xauc => "xauc".into(),
            Self::Rmse => "rmse".into(),
            Self::Mae => "mae".into(),
            Self::Accuracy => "accuracy".into(),
        }
    }

    /// Whether more of it is better.
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Self::Logloss | Self::Ne | Self::Ece | Self::Rmse | Self::Mae)
    }

    /// Whether it is measured within groups, and so asks for them.
    pub fn needs_groups(self) -> bool {
        matches!(self, Self::Gauc) || self.is_within_groups()
    }

    /// Whether it is the plain mean over groups with a positive.
    pub(super) fn is_within_groups(self) -> bool {
        matches!(self, Self::Ndcg(_) | Self::Mrr | Self::Recall(_) | Self::HitRate(_))
    }

    /// Whether it says something of labels of that kind. Labels 0 and 1 are numbers, too: every metric applies to them.
    pub fn applies_to(self, kind: LabelKind) -> bool {
        match kind {
            LabelKind::Binary => true,
            LabelKind::Value => self.is_within_groups() || matches!(self, Self::Xauc | Self::Rmse | Self::Mae),
            LabelKind::Class => self == Self::Accuracy,
        }
    }

    /// How much better `value` is than `reference`: positive is a gain, also where less is better.
    pub fn gain(self, value: f64, reference: f64) -> f64 {
        self.goodness(value) - self.goodness(reference)
    }

    /// The value, turned so that more is better.
    pub fn goodness(self, value: f64) -> f64 {
        if self.higher_is_better() { value } else { -value }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.key().into_owned()
    }
}

impl TryFrom<String> for Metric {
    type Error = UnknownMetric;

    fn try_from(text: String) -> Result<Self, UnknownMetric> {
        text.parse()
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    /// # Errors
    /// [`UnknownMetric`], which lists what is known and names what is nearest.
    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let unknown = |hint: String| UnknownMetric { name: text.into(), hint };
        let (written, k) = text.split_once('@').map_or((text, None), |(name, k)| (name, Some(k)));
        let name = ALIASES.iter().find(|(alias, _)| *alias == written).map_or(written, |(_, name)| name);
        let plain = PLAIN.iter().find(|(plain, _)| *plain == name).map(|(_, metric)| *metric);
        let cut = CUT.iter().find(|(cut, _)| *cut == name).map(|(_, metric)| *metric);
        match (plain, cut, k) {
            (Some(metric), _, None) => Ok(metric),
            (Some(_), _, Some(_)) => Err(unknown(format!(": it takes no @, write \"{name}\""))),
            (_, Some(metric), Some(k)) => match k.parse::<u16>() {
                Ok(k) if k > 0 => Ok(metric(k)),
                _ => Err(unknown(format!(": after the @ stands how many rows count, write \"{name}@{USUAL_K}\""))),
            },
            (_, Some(_), None) => Err(unknown(format!(": it asks how many rows count, write \"{name}@{USUAL_K}\""))),
            (None, None, _) => {
                Err(unknown(nearest(name).map_or(String::new(), |near| format!(", did you mean \"{near}\"?"))))
            }
        }
    }
}

/// The known metric whose name is most like one.
fn nearest(name: &str) -> Option<Metric> {
    let like = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), known);
    let plain = PLAIN.iter().map(|(name, metric)| (like(name), *metric));
    let all = plain.chain(CUT.iter().map(|(name, metric)| (like(name), metric(USUAL_K))));
    all.filter(|(likeness, _)| *likeness > 0.7).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, metric)| metric)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const EVERY: [Metric; 14] = [
        Metric::Auc,
        Metric::Gauc,
        Metric::Logloss,
        Metric::PrAuc,
        Metric::Ne,
        Metric::Ece,
        Metric::Ndcg(10),
        Metric::Mrr,
        Metric::Recall(10),
        Metric::HitRate(10),
        Metric::Xauc,
        Metric::Rmse,
        Metric::Mae,
        Metric::Accuracy,
    ];

    #[test]
    fn a_gain_is_positive_in_every_metric() {
        for metric in EVERY {
            let (better, worse) = if metric.higher_is_better() { (0.8, 0.7) } else { (0.4, 0.5) };
            assert!(metric.gain(better, worse) > 0.0, "{metric}");
        }
        let less: Vec<String> = EVERY.into_iter().filter(|m| !m.higher_is_better()).map(String::from).collect();
        assert_eq!(less, ["logloss", "ne", "ece", "rmse", "mae"]);
    }

    #[test]
    fn a_metric_is_one_text_in_files_and_a_key_of_maps() {
        assert_eq!(EVERY.map(String::from).join(", "), KNOWN);
        for metric in EVERY.into_iter().chain([Metric::Ndcg(1), Metric::Recall(u16::MAX)]) {
            let text = serde_json::to_string(&metric).unwrap();
            assert_eq!(text, format!("\"{}\"", metric.key()));
            assert_eq!(serde_json::from_str::<Metric>(&text).unwrap(), metric);
        }
        let map: BTreeMap<Metric, f64> = [(Metric::Ndcg(5), 0.5), (Metric::Auc, 0.7)].into();
        let text = serde_json::to_string(&map).unwrap();
        assert_eq!(text, r#"{"auc":0.7,"ndcg@5":0.5}"#);
        assert_eq!(serde_json::from_str::<BTreeMap<Metric, f64>>(&text).unwrap(), map);
    }

    #[test]
    fn what_people_also_write_is_understood() {
        let of = |text: &str| text.parse::<Metric>().unwrap();
        assert_eq!(
            (of("pr_auc"), of("hit_rate@10"), of("hit-rate@3")),
            (Metric::PrAuc, Metric::HitRate(10), Metric::HitRate(3))
        );
        assert_eq!((of("normalised-entropy"), of("normalized-entropy")), (Metric::Ne, Metric::Ne));
    }

    #[test]
    fn a_text_that_is_no_metric_is_refused_with_what_to_write() {
        let says = |text: &str| text.parse::<Metric>().unwrap_err().to_string();
        for wrong in ["ndcg@0", "ndcg@x", "ndcg@65536", "ndcg@", "ndcg", "ndcg@-1"] {
            let message = says(wrong);
            assert!(message.starts_with(&format!("unknown metric \"{wrong}\"")), "{message}");
            assert!(message.contains("write \"ndcg@10\"") && message.contains(KNOWN), "{message}");
        }
        assert!(says("auc@3").contains("takes no @, write \"auc\""), "{}", says("auc@3"));
        for (wrong, near) in [("loglos", "logloss"), ("ndgc@5", "ndcg@10"), ("RMSE", "rmse"), ("prauc", "pr-auc")] {
            assert!(says(wrong).contains(&format!("did you mean \"{near}\"?")), "{}", says(wrong));
        }
        assert!(!says("zzz").contains("did you mean"));
        assert!(serde_json::from_str::<Metric>("\"ndcg\"").unwrap_err().to_string().contains("ndcg@10"));
    }

    #[test]
    fn what_is_usual_applies_to_the_kind_and_probabilities_are_not_asked_of_numbers() {
        for kind in LabelKind::ALL {
            let usual = Metric::usual(kind);
            assert!(usual.iter().all(|metric| metric.applies_to(kind)));
            assert!(usual.iter().all(|metric| !Metric::ALL.contains(metric)), "those are fields");
        }
        let of_values = EVERY.into_iter().filter(|m| m.applies_to(LabelKind::Value)).map(String::from);
        assert_eq!(of_values.collect::<Vec<_>>(), ["ndcg@10", "mrr", "recall@10", "hitrate@10", "xauc", "rmse", "mae"]);
    }
}
