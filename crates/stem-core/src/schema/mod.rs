//! The contract of all crates: which fields a row has, which tasks are learned, where each field's rows lie in the table.
//!
//! A *vocabulary* owns a block of table rows; fields point at a vocabulary, so two fields share embeddings by naming the
//! same one. A field fills one or more *slots* of a batch; the embedding of field `f` is `sum over its slots of weight * row(id)`.
//!
//! ```
//! use stem_core::{Field, Schema, Task, VocabularySpec};
//!
//! let fields = vec![
//!     Field::category("user_id", 0),
//!     Field::sequence("genres", 1, 3).separated_by("|"),
//!     Field::number("age", 2).standardized(40.0, 10.0),
//! ];
//! let vocabularies = vec![VocabularySpec::new("user_id", 1002), VocabularySpec::new("genres", 20), VocabularySpec::new("age", 1)];
//! let tasks = vec![Task::new("click"), Task::new("purchase").within("click")];
//! let schema = Schema::new(fields, vocabularies, tasks).grouped_by("user_id");
//! schema.check()?;
//! assert_eq!((schema.rows(), schema.slots()), (1023, 5));
//! # Ok::<(), stem_core::Error>(())
//! ```

mod check;

use serde::{Deserialize, Serialize};
use std::ops::Range;

use crate::value::Value;

/// How several values of one field become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pooling {
    /// Every slot weighs `1 / len`.
    #[default]
    Mean,
    /// Every slot weighs 1.
    Sum,
}

impl Pooling {
    /// Weight of each of `len` values.
    pub fn weight(self, len: usize) -> f32 {
        match self {
            Pooling::Mean => 1.0 / len.max(1) as f32,
            Pooling::Sum => 1.0,
        }
    }
}

/// What a field holds, and how it is turned into slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FieldKind {
    /// One value of a vocabulary: one slot of weight 1.
    Category,
    /// Up to `max_len` values of a vocabulary: `max_len` slots, unused ones are padding of weight 0.
    Sequence {
        /// Slots; of longer lists the first `max_len` values are kept.
        max_len: usize,
        /// Mean or sum.
        #[serde(default)]
        pooling: Pooling,
    },
    /// A number: one slot, the field's one row, weight `(value - mean) / std`.
    Number {
        /// Subtracted from the value; 0 for a number taken as it is.
        mean: f32,
        /// The value is divided by it; 1 for a number taken as it is. Positive.
        std: f32,
    },
}

impl FieldKind {
    /// Weight of a number's slot: `(value - mean) / std`, for other kinds 1. Infinite where f32 cannot hold it.
    pub fn number_weight(&self, value: f64) -> f32 {
        match self {
            FieldKind::Number { mean, std } => ((value - f64::from(*mean)) / f64::from(*std)) as f32,
            _ => 1.0,
        }
    }

    /// Slots that one row of a batch spends on this field.
    pub fn slots(&self) -> usize {
        match self {
            FieldKind::Sequence { max_len, .. } => *max_len,
            FieldKind::Category | FieldKind::Number { .. } => 1,
        }
    }
}

/// One input feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Field {
    /// Column it is read from, and its name in messages.
    pub name: String,
    /// Category, sequence or number.
    #[serde(flatten)]
    pub kind: FieldKind,
    /// Index into [`Schema::vocabularies`].
    pub vocabulary: usize,
    /// Text that separates the values of a sequence that arrives as one text, for instance `|`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// Stands in for null. Without it a null category is "unseen", a null sequence is empty and a null number weighs 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

impl Field {
    /// A field of that kind with the vocabulary of that index in [`Schema::vocabularies`].
    pub fn new(name: impl Into<String>, kind: FieldKind, vocabulary: usize) -> Self {
        Self { name: name.into(), kind, vocabulary, separator: None, default: None }
    }

    /// One value of a vocabulary.
    pub fn category(name: impl Into<String>, vocabulary: usize) -> Self {
        Self::new(name, FieldKind::Category, vocabulary)
    }

    /// Up to `max_len` values of a vocabulary, as their mean.
    pub fn sequence(name: impl Into<String>, vocabulary: usize, max_len: usize) -> Self {
        Self::new(name, FieldKind::Sequence { max_len, pooling: Pooling::default() }, vocabulary)
    }

    /// A number as it is; its vocabulary is its own and has one row.
    pub fn number(name: impl Into<String>, vocabulary: usize) -> Self {
        Self::new(name, FieldKind::Number { mean: 0.0, std: 1.0 }, vocabulary)
    }

    /// How the values of a sequence become one vector; other kinds stay as they are.
    #[must_use]
    pub fn pooled(mut self, by: Pooling) -> Self {
        if let FieldKind::Sequence { pooling, .. } = &mut self.kind {
            *pooling = by;
        }
        self
    }

    /// Takes a number as `(value - mean) / std`; other kinds stay as they are.
    #[must_use]
    pub fn standardized(mut self, mean: f32, std: f32) -> Self {
        if matches!(self.kind, FieldKind::Number { .. }) {
            self.kind = FieldKind::Number { mean, std };
        }
        self
    }

    /// The text that separates the values of a sequence that arrives as one text.
    #[must_use]
    pub fn separated_by(mut self, separator: impl Into<String>) -> Self {
        self.separator = Some(separator.into());
        self
    }

    /// The value that stands in for null.
    #[must_use]
    pub fn with_default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }
}

/// A block of table rows: padding, the known values, and the row of the unseen; or one row for a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct VocabularySpec {
    /// Name, by default that of its first field.
    pub name: String,
    /// Table rows: known values + 2, or 1 for a number.
    pub rows: usize,
}

impl VocabularySpec {
    /// A block of `rows` rows.
    pub fn new(name: impl Into<String>, rows: usize) -> Self {
        Self { name: name.into(), rows }
    }
}

/// One kind of feedback that is learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Task {
    /// Column of its 0/1 label, and its name in reports.
    pub name: String,
    /// Another task whose positives are this one's sample space (a purchase is judged among clicks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

impl Task {
    /// A task that is judged on every row.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), within: None }
    }

    /// Makes another task's positives this one's sample space.
    #[must_use]
    pub fn within(mut self, task: impl Into<String>) -> Self {
        self.within = Some(task.into());
        self
    }
}

/// Fields, tasks and sizes. Built by a recipe, carried by data sets and bundles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Schema {
    /// `F` fields, in the order of their columns in `x_k`.
    pub fields: Vec<Field>,
    /// Blocks of the one table, in order.
    pub vocabularies: Vec<VocabularySpec>,
    /// `T` tasks.
    pub tasks: Vec<Task>,
    /// Column whose values group rows for gAUC (the user, as a rule).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Schema {
    /// A schema without groups.
    pub fn new(fields: Vec<Field>, vocabularies: Vec<VocabularySpec>, tasks: Vec<Task>) -> Self {
        Self { fields, vocabularies, tasks, group: None }
    }

    /// Groups rows for gAUC by the values of a column, which need not be a field.
    #[must_use]
    pub fn grouped_by(mut self, column: impl Into<String>) -> Self {
        self.group = Some(column.into());
        self
    }

    /// `V`: rows of the table, all vocabularies together.
    pub fn rows(&self) -> usize {
        self.vocabularies.iter().map(|v| v.rows).fold(0, usize::saturating_add)
    }

    /// `S`: slots of a batch row.
    pub fn slots(&self) -> usize {
        self.fields.iter().map(|f| f.kind.slots()).fold(0, usize::saturating_add)
    }

    /// First table row of each vocabulary.
    pub fn offsets(&self) -> Vec<u32> {
        let starts = self.vocabularies.iter().scan(0, |next, v| {
            let start = *next;
            *next += v.rows as u32;
            Some(start)
        });
        starts.collect()
    }

    /// The slots of each field, in order: a partition of `0..S`.
    pub fn slot_ranges(&self) -> Vec<Range<usize>> {
        let ranges = self.fields.iter().scan(0, |next, f| {
            let start = *next;
            *next += f.kind.slots();
            Some(start..*next)
        });
        ranges.collect()
    }

    /// Names of the tasks, in order.
    pub fn task_names(&self) -> Vec<String> {
        self.tasks.iter().map(|task| task.name.clone()).collect()
    }

    /// Index of a task by name.
    pub fn task(&self, name: &str) -> Option<usize> {
        self.tasks.iter().position(|t| t.name == name)
    }

    /// The same schema with one task alone, as a single-task model sees it. Labels outside of the task's space are missing
    /// already, and no other task is there to be named as that space.
    pub fn only_task(&self, task: usize) -> Schema {
        Schema { tasks: vec![Task::new(&self.tasks[task].name)], ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_built_kind_by_kind() {
        let kind = FieldKind::Sequence { max_len: 4, pooling: Pooling::Sum };
        let field = Field::sequence("tags", 1, 4).pooled(Pooling::Sum).separated_by("|").with_default("a");
        let expected = Field { separator: Some("|".into()), default: Some("a".into()), ..Field::new("tags", kind, 1) };
        assert_eq!(field, expected);
        assert_eq!(Field::category("a", 0).pooled(Pooling::Sum).standardized(1.0, 2.0).kind, FieldKind::Category);
        assert_eq!(Field::number("a", 0).kind, FieldKind::Number { mean: 0.0, std: 1.0 });
    }
}
