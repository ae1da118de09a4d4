//! What a comparison is decided by.

use serde::{Deserialize, Serialize};

/// A metric that a difference of models can be measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Area under the ROC curve over all rows.
    #[default]
    Auc,
    /// The same within users: `sum_u n_u AUC_u / sum_u n_u` over users with both classes.
    Gauc,
    /// Mean cross-entropy, in nats.
    Logloss,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 3] = [Metric::Auc, Metric::Gauc, Metric::Logloss];

    /// For a reader.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auc => "AUC",
            Self::Gauc => "gAUC",
            Self::Logloss => "logloss",
        }
    }

    /// As files have it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Auc => "auc",
            Self::Gauc => "gauc",
            Self::Logloss => "logloss",
        }
    }

    /// Whether more of it is better.
    pub fn higher_is_better(self) -> bool {
        self != Self::Logloss
    }

    /// How much better `value` is than `reference`: positive is a gain, also where less is better.
    pub fn gain(self, value: f64, reference: f64) -> f64 {
        self.goodness(value) - self.goodness(reference)
    }

    /// The value, turned so that more is better.
    pub(crate) fn goodness(self, value: f64) -> f64 {
        if self.higher_is_better() { value } else { -value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_is_positive_in_every_metric() {
        assert!(Metric::Auc.gain(0.8, 0.7) > 0.0 && Metric::Gauc.gain(0.8, 0.7) > 0.0);
        assert!(Metric::Logloss.gain(0.4, 0.5) > 0.0);
    }

    #[test]
    fn names_in_files_are_kebab_case() {
        let names: Vec<String> = Metric::ALL.iter().map(|m| serde_json::to_string(m).unwrap()).collect();
        assert!(Metric::ALL.iter().zip(&names).all(|(metric, name)| *name == format!("\"{}\"", metric.key())));
        assert_eq!(names, ["\"auc\"", "\"gauc\"", "\"logloss\""]);
    }
}
