//! Raw values as an application holds them, and the rows that [`Predictor`](crate::Predictor) scores.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// A raw value of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Missing.
    Null,
    /// An integer; booleans are 0 and 1.
    Integer(i64),
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
    /// Several values, for a sequence field.
    List(Vec<Value>),
}

impl Value {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Integer(v) => write!(f, "{v}"),
            Value::Float(v) => write!(f, "{v}"),
            Value::Text(v) => write!(f, "\"{v}\""),
            Value::List(v) => write!(f, "a list of {}", v.len()),
        }
    }
}

macro_rules! from {
    ($($source:ty => $variant:ident as $target:ty),* $(,)?) => { $(
        impl From<$source> for Value {
            fn from(value: $source) -> Self {
                Value::$variant(<$target>::from(value))
            }
        }
    )* };
}
from! {
    i64 => Integer as i64, i32 => Integer as i64, i16 => Integer as i64, i8 => Integer as i64,
    u32 => Integer as i64, u16 => Integer as i64, u8 => Integer as i64, bool => Integer as i64,
    f64 => Float as f64, f32 => Float as f64, &str => Text as String, String => Text as String,
}

/// An integer; beyond `i64` its digits as text, which is how such a column is read.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Integer)
    }
}

/// As [`From<u64>`](#impl-From<u64>-for-Value).
impl From<usize> for Value {
    fn from(value: usize) -> Self {
        (value as u64).into()
    }
}

impl<V: Into<Value>> From<Vec<V>> for Value {
    fn from(values: Vec<V>) -> Self {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

impl<V: Into<Value>> From<Option<V>> for Value {
    fn from(value: Option<V>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// One impression to score: raw values by column name.
///
/// ```
/// use stem_core::Row;
/// let row = Row::new().with("user_id", 42).with("genres", vec!["Drama", "War"]).with("age", 31.5);
/// assert!(row.get("user_id").is_some());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    values: HashMap<String, Value>,
}

impl Row {
    /// A row without values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces the value of a column.
    #[must_use]
    pub fn with(mut self, column: impl Into<String>, value: impl Into<Value>) -> Self {
        self.values.insert(column.into(), value.into());
        self
    }

    /// The value of a column, if the row has that column.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.values.get(column)
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Row {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Row { values: pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect() }
    }
}
