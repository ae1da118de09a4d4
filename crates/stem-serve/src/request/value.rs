//! A value of a column: null, a number, a text, true, false, or a list of them. What is kept takes a constant times its bytes.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use stem_core::Value;

use super::{Fault, Skip};
use crate::refusal::Refusal;

/// What a column may hold.
const EXPECTED: &str = "null, a number, a text, true, false, or a list of them";

/// Reads a value, and names column and row of what is none.
#[derive(Clone, Copy)]
pub(super) struct ValueSeed<'a> {
    pub(super) fault: &'a Fault,
    pub(super) column: &'a str,
    pub(super) row: Option<usize>,
    /// Whether it is a value of a list.
    pub(super) is_inner: bool,
}

impl ValueSeed<'_> {
    fn wrong<E: serde::de::Error>(&self, found: &str) -> E {
        let (column, row) = (self.column.to_string(), self.row);
        let expected = if self.is_inner { "values that are neither lists nor objects" } else { EXPECTED };
        self.fault.refuse(Refusal::WrongType { column, row, expected: expected.into(), found: found.into() })
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
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
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        if self.is_inner {
            return Err(self.wrong("a list"));
        }
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(ValueSeed { is_inner: true, ..self })? {
            values.push(value);
        }
        Ok(Value::List(values))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        map.next_key_seed(Skip)?;
        Err(self.wrong("an object"))
    }
}
