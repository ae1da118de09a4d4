//! What is counted of the data beside their encoding: what each field lacks, how its values are spread, what splits have in common.
//!
//! | what | module |
//! |---|---|
//! | one walk over the coded rows | `count` |
//! | rows that are there more than once | `copies` |
//! | mean, spread and histogram of numbers | `numbers` |
//! | how often the values of a vocabulary occur | `values` |
//! | rows and labels by day | `days` |
//! | what of it is odd, in words | `warnings` |

mod copies;
mod count;
mod days;
mod numbers;
mod values;
mod warnings;

use serde::{Deserialize, Serialize};

pub use copies::CopyFacts;
pub(crate) use count::Counter;
pub use days::DayFacts;
pub(crate) use days::Times;
pub use numbers::{Histogram, NumberFacts};
pub use values::{CountBin, ValueFacts};
pub(crate) use warnings::warnings;

/// What was counted of a data set. Arrays of three are training, validation and test.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// Of each field. `[F]`
    pub fields: Vec<FieldFacts>,
    /// Of each vocabulary, `None` for that of a number. `[V]`
    pub vocabularies: Vec<Option<ValueFacts>>,
    /// Of the groups (users) of each split; `None` where the recipe names no group.
    pub groups: Option<[GroupFacts; 3]>,
    /// Rows and labels of each day that has rows, in the order of time; empty where the split orders by no time.
    pub days: Vec<DayFacts>,
    /// Rows that are there more than once.
    pub copies: CopyFacts,
    /// Of each task: rows with label 1 where the label that it is within is not 1. They count as missing. `[T]`
    pub outside: Vec<usize>,
    /// Test rows of users without a training row, where the last rows of each user are tested on.
    pub untrained: Option<usize>,
    /// Fields that the recipe lets past the search for leaks.
    pub allow_leak: Vec<String>,
}

impl Facts {
    /// The same with the counts of one task.
    pub(crate) fn only_task(&self, task: usize) -> Self {
        let only = |counts: &[usize]| counts.get(task).copied().into_iter().collect();
        let day = |day: &DayFacts| DayFacts { positives: only(&day.positives), labelled: only(&day.labelled), ..*day };
        Self { outside: only(&self.outside), days: self.days.iter().map(day).collect(), ..self.clone() }
    }
}

/// Of a field in each split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldFacts {
    /// What it lacks.
    pub splits: [FieldCounts; 3],
    /// Its numbers before they are standardised; `None` for a field of keys, and for a split without a number.
    pub numbers: [Option<NumberFacts>; 3],
    /// How its numbers are spread in training; `None` for a field of keys.
    pub histogram: Option<Histogram>,
}

/// What a field lacks in one split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldCounts {
    /// Rows.
    pub rows: usize,
    /// Rows without a value: null, an empty text, a list without values; none where the recipe gives a `default`.
    pub nulls: usize,
    /// Values that are not null; of a list each counts.
    pub values: usize,
    /// Values that the vocabulary does not know; none of a number.
    pub unseen: usize,
}

impl FieldCounts {
    /// Share of rows without a value; `None` without rows.
    pub fn null_share(&self) -> Option<f64> {
        share(self.nulls, self.rows)
    }

    /// Share of values that the vocabulary does not know; `None` without values.
    pub fn unseen_share(&self) -> Option<f64> {
        share(self.unseen, self.values)
    }
}

/// Of the groups (users) of one split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupFacts {
    /// Groups that have rows here.
    pub groups: usize,
    /// Those of them that have training rows too.
    pub trained: usize,
    /// Rows here of groups that have training rows too.
    pub rows: usize,
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
