//! One input feature: what it holds, which columns it reads, and how it is turned into slots.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::transform::Transform;
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
    /// Index into [`Schema::vocabularies`](crate::Schema::vocabularies).
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
    /// The sequence that this one stands beside, by name: it has a value for each value of that one, and a row in which it has not is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
    /// Stands in for null, as a raw value. Without it a null category is "unseen", a null sequence is empty and a null number weighs 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
}

/// The keys that a field may have, those of its kind among them.
const KEYS: &[&str] = &[
    "name",
    "kind",
    "max_len",
    "pooling",
    "keep",
    "mean",
    "std",
    "len",
    "vocabulary",
    "separator",
    "columns",
    "transforms",
    "beside",
    "default",
];

/// Reads fields and refuses keys that none has, which serde cannot do where the keys of a kind stand among others.
pub(super) fn read<'de, D: Deserializer<'de>>(fields: D) -> Result<Vec<Field>, D::Error> {
    let fields: Vec<Map<String, Json>> = Vec::deserialize(fields)?;
    let field = |field: Map<String, Json>| match field.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => Err(D::Error::unknown_field(key, KEYS)),
        None => serde_json::from_value(Json::Object(field)).map_err(D::Error::custom),
    };
    fields.into_iter().map(field).collect()
}

impl Field {
    /// A field of that kind with the vocabulary of that index in [`Schema::vocabularies`](crate::Schema::vocabularies).
    pub fn new(name: impl Into<String>, kind: FieldKind, vocabulary: usize) -> Self {
        Self {
            name: name.into(),
            kind,
            vocabulary,
            separator: None,
            columns: vec![],
            transforms: vec![],
            beside: None,
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

    /// Stands beside another sequence, with a value for each value of it.
    #[must_use]
    pub fn beside(mut self, sequence: impl Into<String>) -> Self {
        self.beside = Some(sequence.into());
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
