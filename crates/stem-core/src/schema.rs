//! The contract of all crates: which fields a row has, which tasks are learned, where each field's rows lie in the table.
//!
//! A *vocabulary* owns a block of table rows; fields point at a vocabulary, so two fields share embeddings by naming the
//! same one. A field fills one or more *slots* of a batch; the embedding of field `f` is `sum over its slots of weight * row(id)`.

use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::value::Value;

/// Most slots that a row of a batch may have.
const MOST_SLOTS: usize = 65_536;

/// How several values of one field become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// Weight of a number's slot: `(value - mean) / std`, for other kinds 1.
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
    /// A category with the vocabulary of that index.
    pub fn category(name: impl Into<String>, vocabulary: usize) -> Self {
        Self { name: name.into(), kind: FieldKind::Category, vocabulary, separator: None, default: None }
    }
}

/// A block of table rows: padding, the known values, and the row of the unseen; or one row for a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VocabularySpec {
    /// Name, by default that of its first field.
    pub name: String,
    /// Table rows: known values + 2, or 1 for a number.
    pub rows: usize,
}

/// One kind of feedback that is learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Column of its 0/1 label, and its name in reports.
    pub name: String,
    /// Another task whose positives are this one's sample space (a purchase is judged among clicks).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

/// Fields, tasks and sizes. Built by a recipe, carried by data sets and bundles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Refuses a schema no model could use: nothing to read or learn, names twice, pointers to nowhere, sizes of 0.
    pub fn check(&self) -> Result<()> {
        let fault = |what: String| Err(Error::Schema { what });
        if self.fields.is_empty() {
            return fault("it has no fields: name at least one".into());
        }
        if self.tasks.is_empty() {
            return fault("it has no tasks: name at least one label".into());
        }
        let mut seen = HashSet::new();
        for name in self.fields.iter().map(|f| &f.name) {
            if !seen.insert(name) {
                return fault(format!("field '{name}' appears twice"));
            }
        }
        let mut seen = HashSet::new();
        for name in self.tasks.iter().map(|t| &t.name) {
            if !seen.insert(name) {
                return fault(format!("task '{name}' appears twice"));
            }
        }
        let mut seen = HashSet::new();
        for name in self.vocabularies.iter().map(|v| &v.name) {
            if !seen.insert(name) {
                return fault(format!("vocabulary '{name}' appears twice"));
            }
        }
        for field in &self.fields {
            let Some(vocabulary) = self.vocabularies.get(field.vocabulary) else {
                return fault(format!(
                    "field '{}' points at vocabulary {} of {}",
                    field.name,
                    field.vocabulary,
                    self.vocabularies.len()
                ));
            };
            let least = match &field.kind {
                FieldKind::Number { std, mean } => {
                    if !(std.is_finite() && *std > 0.0 && mean.is_finite()) {
                        return fault(format!(
                            "number '{}' has mean {mean} and std {std}: both must be finite, std positive",
                            field.name
                        ));
                    }
                    1
                }
                FieldKind::Sequence { max_len: 0, .. } => {
                    return fault(format!("sequence '{}' has max_len 0: give it at least 1", field.name));
                }
                _ => 2,
            };
            if vocabulary.rows < least {
                return fault(format!(
                    "vocabulary '{}' of field '{}' has {} rows, at least {least} are needed",
                    vocabulary.name, field.name, vocabulary.rows
                ));
            }
        }
        if self.slots() > MOST_SLOTS {
            return fault(format!(
                "a row has {} slots, at most {MOST_SLOTS} are taken for meant: lower max_len",
                self.slots()
            ));
        }
        if i32::try_from(self.rows()).is_err() {
            return fault(format!(
                "its table has {} rows, more than the {} that 32-bit ids can name",
                self.rows(),
                i32::MAX
            ));
        }
        Ok(())
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

    /// The same schema with one task alone, as a single-task model sees it.
    pub fn only_task(&self, task: usize) -> Schema {
        Schema { tasks: vec![self.tasks[task].clone()], ..self.clone() }
    }
}
