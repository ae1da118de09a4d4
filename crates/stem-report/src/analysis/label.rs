//! What the label of a task is.

use serde::{Deserialize, Serialize};

/// What the label of a task is, and so what a score of it predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelKind {
    /// 0 or 1: it happened, or it did not. A score is its probability.
    #[default]
    Binary,
    /// A number: seconds watched, money spent, a count. A score is its expectation. Above 0 it is a positive.
    Value,
    /// One of some classes without an order, by its number. A score is the number of the most likely one.
    Class,
}

impl LabelKind {
    /// Every kind, as tables have them one after the other.
    pub const ALL: [LabelKind; 3] = [LabelKind::Binary, LabelKind::Value, LabelKind::Class];

    /// Whether a label of this kind says that something happened: of 0 and 1 above 0.5, of a number above 0.
    pub fn is_positive(self, label: f32) -> bool {
        label > if self == Self::Binary { 0.5 } else { 0.0 }
    }
}
