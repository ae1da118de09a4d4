//! The three splits of a data set.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Rows are trained on, validated on, or tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Vocabularies, statistics and weights come from these rows alone.
    Train,
    /// Early stopping looks at these.
    Valid,
    /// Measured at the end; nothing is chosen by them.
    Test,
}

impl Split {
    /// All three, in order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

    /// Name of its folder.
    pub fn name(self) -> &'static str {
        ["train", "valid", "test"][self as usize]
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Split::Train => "training",
            Split::Valid => "validation",
            Split::Test => "test",
        })
    }
}

/// What is known about one split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitStatistics {
    /// Rows.
    pub rows: usize,
    /// Rows with label 1, for each task.
    pub positives: Vec<usize>,
    /// Rows without a label, for each task.
    pub missing: Vec<usize>,
}
