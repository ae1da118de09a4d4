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

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::transform::{KeyKind, Transform};
use crate::value::Value;

/// Most slots that a row of a batch may have.
const MOST_SLOTS: usize = 65_536;

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

/// Which values of a list that is too long are kept, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Keep {
    /// The first ones.
    #[default]
    First,
    /// The last ones: the newest of a history that is written as it happened.
    Last,
}

impl Keep {
    fn is_first(&self) -> bool {
        *self == Keep::First
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
        /// Slots; of longer lists `max_len` values are kept.
        max_len: usize,
        /// Mean or sum.
        #[serde(default)]
        pooling: Pooling,
        /// Which values of a longer list are kept.
        #[serde(default, skip_serializing_if = "Keep::is_first")]
        keep: Keep,
    },
    /// A number: one slot, the field's one row, weight `(value - mean) / std`.
    Number {
        /// Subtracted from the value; 0 for a number taken as it is.
        mean: f32,
        /// The value is divided by it; 1 for a number taken as it is. Positive.
        std: f32,
    },
    /// `len` numbers, such as the embedding of an image: slot `i` has row `i` of the field's own vocabulary, and weighs the `i`-th
    /// number. The field's embedding is the vector times a matrix that is learned. Of null all weights are 0.
    Vector {
        /// How many numbers, which is the number of slots and of rows.
        len: usize,
    },
}

impl FieldKind {
    /// Weight of a slot that holds this number: `(value - mean) / std`, of a vector the number itself, for other kinds 1. Infinite
    /// where f32 cannot hold it.
    pub fn number_weight(&self, value: f64) -> f32 {
        match self {
            FieldKind::Number { mean, std } => ((value - f64::from(*mean)) / f64::from(*std)) as f32,
            FieldKind::Vector { .. } => value as f32,
            _ => 1.0,
        }
    }

    /// Slots that one row of a batch spends on this field.
    pub fn slots(&self) -> usize {
        match self {
            FieldKind::Sequence { max_len, .. } => *max_len,
            FieldKind::Vector { len } => *len,
            FieldKind::Category | FieldKind::Number { .. } => 1,
        }
    }

    /// Whether its values are keys of a vocabulary. Numbers and vectors weigh rows of their own.
    pub fn has_keys(&self) -> bool {
        matches!(self, FieldKind::Category | FieldKind::Sequence { .. })
    }
}

/// One input feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Field {
    /// Its name, which is that of its column where `columns` is empty.
    pub name: String,
    /// Category, sequence, number or vector.
    #[serde(flatten)]
    pub kind: FieldKind,
    /// Index into [`Schema::vocabularies`].
    pub vocabulary: usize,
    /// Text that separates the values of a sequence that arrives as one text, for instance `|`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The columns it is made of, where that is not one of its name: several are crossed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// What is done to a value, to each value of a sequence, before it is looked up or weighed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<Transform>,
    /// Stands in for null, as a raw value. Without it a null category is "unseen", a null sequence is empty and a null number weighs 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// How a column is computed from those of a raw table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Derived {
    /// The expression of the recipe's SELECT.
    pub sql: String,
    /// The raw columns that it reads, by which it can be computed again for a row alone. Empty where it takes other rows or tables, or a
    /// column of another type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reads: BTreeMap<String, ColumnType>,
}

impl Derived {
    /// An expression, and the raw columns that it reads.
    pub fn new(sql: impl Into<String>, reads: BTreeMap<String, ColumnType>) -> Self {
        Self { sql: sql.into(), reads }
    }
}

/// Type of a raw column. Those of a text file are the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ColumnType {
    /// 64-bit integer.
    Integer,
    /// 64-bit float.
    Float,
    /// `true` and `false`.
    Boolean,
    /// UTF-8 text.
    Text,
    /// 64-bit integer without a sign.
    UnsignedInteger,
    /// Day of the calendar.
    Date,
    /// Time of day.
    Time,
    /// Date and time of day, counted in milliseconds.
    DatetimeMs,
    /// Date and time of day, counted in microseconds.
    DatetimeUs,
    /// Date and time of day, counted in nanoseconds.
    DatetimeNs,
    /// List of 64-bit integers.
    IntegerList,
    /// List of 64-bit floats.
    FloatList,
    /// List of texts.
    TextList,
}

impl Field {
    /// A field of that kind with the vocabulary of that index in [`Schema::vocabularies`].
    pub fn new(name: impl Into<String>, kind: FieldKind, vocabulary: usize) -> Self {
        Self {
            name: name.into(),
            kind,
            vocabulary,
            separator: None,
            columns: vec![],
            transforms: vec![],
            default: None,
        }
    }

    /// The columns that it reads.
    pub fn columns(&self) -> &[String] {
        if self.columns.is_empty() { std::slice::from_ref(&self.name) } else { &self.columns }
    }

    /// One value of a vocabulary.
    pub fn category(name: impl Into<String>, vocabulary: usize) -> Self {
        Self::new(name, FieldKind::Category, vocabulary)
    }

    /// Up to `max_len` values of a vocabulary, as their mean.
    pub fn sequence(name: impl Into<String>, vocabulary: usize, max_len: usize) -> Self {
        Self::new(name, FieldKind::Sequence { max_len, pooling: Pooling::default(), keep: Keep::default() }, vocabulary)
    }

    /// A number as it is; its vocabulary is its own and has one row.
    pub fn number(name: impl Into<String>, vocabulary: usize) -> Self {
        Self::new(name, FieldKind::Number { mean: 0.0, std: 1.0 }, vocabulary)
    }

    /// `len` numbers; its vocabulary is its own and has as many rows.
    pub fn vector(name: impl Into<String>, vocabulary: usize, len: usize) -> Self {
        Self::new(name, FieldKind::Vector { len }, vocabulary)
    }

    /// Reads other columns than the one of its name; several want a [`Transform::Cross`].
    #[must_use]
    pub fn reading<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a step that values go through.
    #[must_use]
    pub fn transformed(mut self, step: Transform) -> Self {
        self.transforms.push(step);
        self
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
    pub fn is_null(&self, value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Text(text) => text.is_empty() || self.null_values.iter().any(|null| null == text),
            _ => false,
        }
    }

    /// Refuses a schema no model could use: nothing to read or learn, names twice, pointers to nowhere, sizes of 0.
    ///
    /// # Errors
    /// [`Error::Schema`] with the first fault and its names.
    pub fn check(&self) -> Result<()> {
        let checked = self.check_names().and_then(|()| self.check_fields()).and_then(|()| self.check_spaces());
        checked.and_then(|()| self.check_sizes()).map_err(|what| Error::Schema { what })
    }

    fn check_names(&self) -> Result<(), String> {
        if self.fields.is_empty() {
            return Err("it has no fields: name at least one".into());
        }
        if self.tasks.is_empty() {
            return Err("it has no tasks: name at least one label".into());
        }
        let fields = self.fields.iter().map(|f| ("field", &f.name));
        let tasks = self.tasks.iter().map(|t| ("task", &t.name));
        let vocabularies = self.vocabularies.iter().map(|v| ("vocabulary", &v.name));
        let mut seen = HashSet::new();
        match fields.chain(tasks).chain(vocabularies).find(|named| !seen.insert(*named)) {
            Some((what, name)) => Err(format!("{what} '{name}' appears twice")),
            None => Ok(()),
        }
    }

    fn check_fields(&self) -> Result<(), String> {
        for field in &self.fields {
            let (name, count) = (&field.name, self.vocabularies.len());
            let Some(vocabulary) = self.vocabularies.get(field.vocabulary) else {
                return Err(format!("field '{name}' points at vocabulary {} of {count}", field.vocabulary));
            };
            let owner = || format!("vocabulary '{}' of field '{name}' has {} rows", vocabulary.name, vocabulary.rows);
            match field.kind {
                FieldKind::Number { std, mean } if !(std.is_finite() && std > 0.0 && mean.is_finite()) => {
                    return Err(format!(
                        "number '{name}' has mean {mean} and std {std}: both must be finite, std positive"
                    ));
                }
                FieldKind::Number { .. } if vocabulary.rows != 1 => {
                    return Err(format!("{}, a number's has exactly 1", owner()));
                }
                FieldKind::Vector { len: 0 } => {
                    return Err(format!("vector '{name}' has no numbers: give it at least 1"));
                }
                FieldKind::Vector { len } if vocabulary.rows != len => {
                    return Err(format!("{}, a vector of {len} numbers has exactly {len}", owner()));
                }
                FieldKind::Number { .. } | FieldKind::Vector { .. } if vocabulary.hashed.is_some() => {
                    return Err(format!("{}, which hashes keys, and it has none", owner()));
                }
                FieldKind::Sequence { max_len: 0, .. } => {
                    return Err(format!("sequence '{name}' has max_len 0: give it at least 1"));
                }
                FieldKind::Category | FieldKind::Sequence { .. } if vocabulary.rows < 2 => {
                    return Err(format!("{}, at least 2 are needed", owner()));
                }
                FieldKind::Category | FieldKind::Sequence { .. }
                    if vocabulary.hashed.is_some() && vocabulary.rows < 3 =>
                {
                    return Err(format!("{}, at least 3 are needed to hash into", owner()));
                }
                _ => {}
            }
            if let Some(fault) = field.transforms.iter().find_map(Transform::fault) {
                return Err(format!("field '{name}' {fault}"));
            }
            let crossed =
                matches!(&field.transforms[..], [Transform::Cross { keys }, ..] if keys.len() == field.columns.len());
            if field.columns.len() > 1 && !crossed {
                return Err(format!("field '{name}' reads {} columns and does not cross them", field.columns.len()));
            }
        }
        Ok(())
    }

    /// Spaces of samples are tasks, without circles; groups are made by a column that is no label.
    fn check_spaces(&self) -> Result<(), String> {
        let within = |task: &Task| task.within.as_deref().and_then(|space| self.task(space));
        for task in &self.tasks {
            let (name, space) = (&task.name, task.within.as_deref());
            if let Some(space) = space.filter(|space| self.task(space).is_none()) {
                return Err(format!("task '{name}' is within '{space}', which is no task"));
            }
            let mut spaces = std::iter::successors(within(task), |&space| within(&self.tasks[space]));
            if spaces.by_ref().take(self.tasks.len()).any(|space| self.tasks[space].name == *name) {
                return Err(format!("task '{name}' is within itself, by way of '{}'", space.unwrap_or(name)));
            }
        }
        match self.group.as_deref() {
            Some("") => Err("its group has no name: name a column, or leave it out".into()),
            Some(group) if self.task(group).is_some() => {
                Err(format!("its group '{group}' is a task: name the column of users or requests"))
            }
            _ => Ok(()),
        }
    }

    fn check_sizes(&self) -> Result<(), String> {
        let (slots, rows) = (self.slots(), self.rows());
        if slots > MOST_SLOTS {
            return Err(format!("a row has {slots} slots, at most {MOST_SLOTS} are taken for meant: lower max_len"));
        }
        if i32::try_from(rows).is_err() {
            return Err(format!("its table has {rows} rows, more than the {} that 32-bit ids can name", i32::MAX));
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

    /// The same schema with one task alone, as a single-task model sees it. Labels outside of the task's space are missing
    /// already, and no other task is there to be named as that space.
    pub fn only_task(&self, task: usize) -> Schema {
        Schema { tasks: vec![Task::new(&self.tasks[task].name)], ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One field of each kind, two tasks.
    fn schema() -> Schema {
        let fields = vec![
            Field::category("user", 0),
            Field::sequence("tags", 1, 3).pooled(Pooling::Sum),
            Field::number("age", 2).standardized(40.0, 10.0),
        ];
        let specs = [("user", 5), ("tags", 4), ("age", 1)].map(|(name, rows)| VocabularySpec::new(name, rows));
        Schema::new(fields, specs.into(), vec![Task::new("click"), Task::new("buy").within("click")]).grouped_by("user")
    }

    #[track_caller]
    fn refused(edit: impl FnOnce(&mut Schema), expected: &str) {
        let mut schema = schema();
        edit(&mut schema);
        let message = schema.check().unwrap_err().to_string();
        assert_eq!(message, format!("the schema cannot be used: {expected}"));
    }

    #[test]
    fn every_fault_is_refused_with_its_names() {
        schema().check().unwrap();
        refused(|s| s.fields.clear(), "it has no fields: name at least one");
        refused(|s| s.tasks.clear(), "it has no tasks: name at least one label");
        refused(|s| s.fields[1].name = "user".into(), "field 'user' appears twice");
        refused(|s| s.tasks[1].name = "click".into(), "task 'click' appears twice");
        refused(|s| s.vocabularies[2].name = "user".into(), "vocabulary 'user' appears twice");
        refused(|s| s.fields[0].vocabulary = 3, "field 'user' points at vocabulary 3 of 3");
        refused(|s| s.fields[1] = Field::sequence("tags", 1, 0), "sequence 'tags' has max_len 0: give it at least 1");
        refused(|s| s.vocabularies[0].rows = 1, "vocabulary 'user' of field 'user' has 1 rows, at least 2 are needed");
        refused(|s| s.vocabularies[1].rows = 0, "vocabulary 'tags' of field 'tags' has 0 rows, at least 2 are needed");
        refused(
            |s| s.fields[2].vocabulary = 0,
            "vocabulary 'user' of field 'age' has 5 rows, a number's has exactly 1",
        );
        refused(|s| s.vocabularies[2].rows = 0, "vocabulary 'age' of field 'age' has 0 rows, a number's has exactly 1");
        refused(|s| s.tasks[1].within = Some("like".into()), "task 'buy' is within 'like', which is no task");
        refused(|s| s.tasks[1].within = Some("buy".into()), "task 'buy' is within itself, by way of 'buy'");
        refused(|s| s.tasks[0].within = Some("buy".into()), "task 'click' is within itself, by way of 'buy'");
        refused(|s| s.group = Some(String::new()), "its group has no name: name a column, or leave it out");
        refused(|s| s.group = Some("buy".into()), "its group 'buy' is a task: name the column of users or requests");
        refused(
            |s| s.fields[1] = Field::sequence("tags", 1, 65_535),
            "a row has 65537 slots, at most 65536 are taken for meant: lower max_len",
        );
    }

    #[test]
    fn a_number_is_divided_by_a_positive_finite_std() {
        for (mean, std) in [(0.0, 0.0), (0.0, -1.0), (0.0, f32::NAN), (0.0, f32::INFINITY), (f32::NAN, 1.0)] {
            refused(
                |s| s.fields[2] = Field::number("age", 2).standardized(mean, std),
                &format!("number 'age' has mean {mean} and std {std}: both must be finite, std positive"),
            );
        }
    }

    #[test]
    fn a_table_has_as_many_rows_as_an_i32_names() {
        let largest = i32::MAX as usize - 5; // beside 4 rows of tags and 1 of age
        let mut schema = schema();
        schema.vocabularies[0].rows = largest;
        schema.check().unwrap();
        refused(
            |s| s.vocabularies[0].rows = largest + 1,
            "its table has 2147483648 rows, more than the 2147483647 that 32-bit ids can name",
        );
        refused(
            |s| s.vocabularies[0].rows = usize::MAX,
            "its table has 18446744073709551615 rows, more than the 2147483647 that 32-bit ids can name",
        );
    }

    #[test]
    fn one_task_alone_is_a_schema_too() {
        schema().only_task(1).check().unwrap();
    }

    #[test]
    fn a_field_is_built_kind_by_kind() {
        let kind = FieldKind::Sequence { max_len: 4, pooling: Pooling::Sum, keep: Keep::First };
        let field = Field::sequence("tags", 1, 4).pooled(Pooling::Sum).separated_by("|").with_default("a");
        let expected = Field { separator: Some("|".into()), default: Some("a".into()), ..Field::new("tags", kind, 1) };
        assert_eq!(field, expected);
        assert_eq!(Field::category("a", 0).pooled(Pooling::Sum).standardized(1.0, 2.0).kind, FieldKind::Category);
        assert_eq!(Field::number("a", 0).kind, FieldKind::Number { mean: 0.0, std: 1.0 });
    }
}
