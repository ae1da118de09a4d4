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
mod derived;
mod field;
mod quantiles;
mod task;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use derived::{ColumnType, Derived};
pub use field::{Field, FieldKind, Keep, Pooling};
pub use quantiles::DurationQuantiles;
pub use task::{TargetTransform, Task, TaskKind};

use crate::error::{Error, Result};
use crate::transform::KeyKind;
use crate::value_ref::ValueRef;

/// Likeness (Jaro-Winkler, 0 to 1) above which a label's name is taken for another one mistyped.
const LIKE: f64 = 0.85;

/// A block of table rows: padding, the known values, and the row of the unseen; or one row for a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct VocabularySpec {
    /// Name, by default that of its first field.
    pub name: String,
    /// Table rows: known values or buckets + 2; 1 for a number, as many as it has numbers for a vector.
    pub rows: usize,
    /// What its keys are, where they are not known but hashed into `rows - 2` buckets, as [`hash_bucket`](crate::hash_bucket) does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashed: Option<KeyKind>,
}

impl VocabularySpec {
    /// A block of `rows` rows.
    pub fn new(name: impl Into<String>, rows: usize) -> Self {
        Self { name: name.into(), rows, hashed: None }
    }

    /// A block of `buckets` for keys that are hashed.
    pub fn hashed(name: impl Into<String>, buckets: usize, keys: KeyKind) -> Self {
        Self { hashed: Some(keys), ..Self::new(name, buckets.saturating_add(2)) }
    }
}

/// Fields, tasks and sizes. Built by a recipe, carried by data sets and bundles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Schema {
    /// `F` fields, in the order of their columns in `x_k`.
    #[serde(deserialize_with = "field::read")]
    pub fields: Vec<Field>,
    /// Blocks of the one table, in order.
    pub vocabularies: Vec<VocabularySpec>,
    /// `T` tasks.
    pub tasks: Vec<Task>,
    /// Column whose values group rows for gAUC (the user, as a rule).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Columns that were computed from raw ones, and how; a [`Row`](crate::Row) holds what came out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub derived: BTreeMap<String, Derived>,
    /// Texts that stand for null in the raw tables, besides the empty one; in a [`Row`](crate::Row) they do too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub null_values: Vec<String>,
}

impl Schema {
    /// A schema without groups.
    pub fn new(fields: Vec<Field>, vocabularies: Vec<VocabularySpec>, tasks: Vec<Task>) -> Self {
        Self { fields, vocabularies, tasks, group: None, derived: BTreeMap::new(), null_values: Vec::new() }
    }

    /// Groups rows for gAUC by the values of a column, which need not be a field.
    #[must_use]
    pub fn grouped_by(mut self, column: impl Into<String>) -> Self {
        self.group = Some(column.into());
        self
    }

    /// The columns that the fields read, each once, in the order of the fields.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        for column in self.fields.iter().flat_map(Field::columns) {
            if !columns.contains(&column.as_str()) {
                columns.push(column);
            }
        }
        columns
    }

    /// Whether a value stands for null: an empty text, for a CSV file cannot tell the two apart, and the texts of `null_values`.
    pub fn is_null<'v>(&self, value: impl Into<ValueRef<'v>>) -> bool {
        match value.into() {
            ValueRef::Null => true,
            ValueRef::Text(text) => text.is_empty() || self.null_values.iter().any(|null| null == text),
            _ => false,
        }
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

    /// The slot that is the [duration](TaskKind::duration) of each task, where it has one. `[T]`
    pub fn duration_slots(&self) -> Vec<Option<usize>> {
        let slot = |name: &str| {
            let place = self.fields.iter().position(|field| field.name == name)?;
            Some(self.slot_ranges()[place].start)
        };
        self.tasks.iter().map(|task| task.kind.duration().and_then(slot)).collect()
    }

    /// `L`: numbers that the towers end in, all tasks together; `T` where every label is 0 or 1.
    pub fn outputs(&self) -> usize {
        self.tasks.iter().map(|task| task.kind.outputs()).fold(0, usize::saturating_add)
    }

    /// Names of the tasks, in order.
    pub fn task_names(&self) -> Vec<String> {
        self.tasks.iter().map(|task| task.name.clone()).collect()
    }

    /// Index of a task by name.
    pub fn task(&self, name: &str) -> Option<usize> {
        self.tasks.iter().position(|t| t.name == name)
    }

    /// As [`task`](Self::task), of a label that is named in a section of an experiment.
    ///
    /// # Errors
    /// [`Error::UnknownLabel`](crate::Error::UnknownLabel), with the label most like it and all labels.
    pub fn task_of(&self, section: &'static str, name: &str) -> Result<usize> {
        self.task(name).ok_or_else(|| {
            let likeness = |task: &&Task| strsim::jaro_winkler(name, &task.name);
            let like = self.tasks.iter().filter(|task| likeness(task) > LIKE);
            let nearest = like.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).map(|task| task.name.clone());
            Error::UnknownLabel { section, name: name.into(), nearest, known: self.task_names().join(", ") }
        })
    }

    /// The same schema with one task alone, as a single-task model sees it. Labels outside of the task's space are missing
    /// already, and no other task is there to be named as that space.
    pub fn only_task(&self, task: usize) -> Schema {
        Schema { tasks: vec![Task { within: None, ..self.tasks[task].clone() }], ..self.clone() }
    }
}
