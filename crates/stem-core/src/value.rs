//! Raw values as an application holds them, and the rows that [`Predictor`](crate::Predictor) scores.

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// A raw value of one column. Of a format without a schema, such as JSON, it takes null, booleans, numbers, text and lists of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
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

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

/// What a format holds, as `From` would take it.
struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a number, a text, true, false, or a list of them")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
        Value::deserialize(value)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
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

/// One impression to score: raw values by column name. A JSON object is one.
///
/// ```
/// use stem_core::Row;
/// let row = Row::new().with("user_id", 42).with("genres", vec!["Drama", "War"]).with("age", 31.5);
/// let same: Row = serde_json::from_str(r#"{ "user_id": 42, "genres": ["Drama", "War"], "age": 31.5 }"#)?;
/// assert_eq!(row, same);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
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
        self.insert(column, value);
        self
    }

    /// Adds or replaces the value of a column, and gives the value that was there before.
    pub fn insert(&mut self, column: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.values.insert(column.into(), value.into())
    }

    /// The value of a column, if the row has that column.
    pub fn get(&self, column: &str) -> Option<&Value> {
        self.values.get(column)
    }
}

impl<K: Into<String>, V: Into<Value>> Extend<(K, V)> for Row {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        self.values.extend(pairs.into_iter().map(|(column, value)| (column.into(), value.into())));
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Row {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut row = Row::new();
        row.extend(pairs);
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_beyond_i64_is_its_digits_as_text() {
        assert_eq!(Value::from(i64::MAX as u64), Value::Integer(i64::MAX));
        assert_eq!(Value::from(i64::MAX as u64 + 1), Value::Text("9223372036854775808".into()));
        assert_eq!(Value::from(u64::MAX), Value::Text("18446744073709551615".into()));
    }

    #[test]
    fn a_json_object_is_a_row() {
        let text =
            r#"{"a": null, "b": true, "c": -3, "d": 18446744073709551615, "e": 1.5, "f": "x", "g": [1, "y", false]}"#;
        let row: Row = serde_json::from_str(text).unwrap();
        let expected = Row::new()
            .with("a", Value::Null)
            .with("b", 1)
            .with("c", -3)
            .with("d", "18446744073709551615")
            .with("e", 1.5)
            .with("f", "x")
            .with("g", Value::List(vec![1.into(), "y".into(), 0.into()]));
        assert_eq!(row, expected);
        let again: Row = serde_json::from_value(serde_json::to_value(&row).unwrap()).unwrap();
        assert_eq!(again, row);
        let message = serde_json::from_str::<Row>(r#"{"a": {"b": 1}}"#).unwrap_err().to_string();
        assert!(message.contains("expected null, a number, a text, true, false, or a list of them"), "{message}");
    }

    #[test]
    fn a_row_grows_by_insertion_and_by_pairs() {
        let mut row: Row = [("a", 1)].into_iter().collect();
        assert_eq!((row.insert("a", "x"), row.insert("b", 2.0)), (Some(1.into()), None));
        row.extend([("c", true)]);
        assert_eq!(row, Row::new().with("a", "x").with("b", 2.0).with("c", 1));
    }
}
