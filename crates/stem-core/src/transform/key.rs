//! Keys as text: what is crossed, and what is hashed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::value::Value;
use crate::value_ref::ValueRef;
use crate::vocabulary::{integer_key, whole};

/// What the keys of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyKind {
    /// Integers: `7`, `7.0`, `" 7"` and `true` name the keys 7 and 1.
    Integers,
    /// Texts as they are; an integer names the text of its digits.
    Texts,
}

impl KeyKind {
    /// The one spelling of a key, `None` of null.
    ///
    /// # Errors
    /// What was expected, where the value names no key.
    pub fn spell<'v>(self, value: impl Into<ValueRef<'v>>) -> Result<Option<Cow<'v, str>>, &'static str> {
        let digits = |key: i64| Ok(Some(Cow::Owned(key.to_string())));
        match (self, value.into()) {
            (_, ValueRef::Null) => Ok(None),
            (_, ValueRef::List(_)) => Err("one value"),
            (_, ValueRef::Integer(key)) => digits(key),
            (_, ValueRef::Unsigned(key)) => Ok(Some(Cow::Owned(key.to_string()))), // beyond 64 bits with a sign
            (Self::Integers, ValueRef::Float(key)) => whole(key).map_or(Err("an integer"), digits),
            (Self::Integers, ValueRef::Text(text)) => match (integer_key(text), text.trim()) {
                (Some(key), _) => digits(key),
                (None, "") => Ok(None),
                (None, text) if text.parse::<i128>().is_ok() => Ok(Some(Cow::Borrowed(text))), // beyond 64 bits
                (None, _) => Err("an integer"),
            },
            (Self::Texts, ValueRef::Float(_)) => Err("text or an integer"),
            (Self::Texts, ValueRef::Text(text)) => Ok((!text.is_empty()).then_some(Cow::Borrowed(text))),
        }
    }
}

/// Between the keys of a cross.
const BETWEEN: char = '\u{1f}';

/// The keys of all columns as one text.
pub(super) fn crossed(kinds: &[KeyKind], values: &Value) -> Result<Value, &'static str> {
    let Value::List(values) = values else { return Err("a value of each column that is crossed") };
    if values.len() != kinds.len() {
        return Err("a value of each column that is crossed");
    }
    let mut text = String::new();
    for (place, (kind, value)) in kinds.iter().zip(values).enumerate() {
        let Some(key) = kind.spell(value)? else { return Ok(Value::Null) };
        if place > 0 {
            text.push(BETWEEN);
        }
        text.push_str(&key);
    }
    Ok(Value::Text(text))
}

/// The bucket of a key, under `buckets`: XXH3 (64 bits, seed 0) of its UTF-8 bytes, modulo the number of buckets. Bundles rest on it:
/// it never changes.
pub fn hash_bucket(key: &str, buckets: usize) -> usize {
    (xxh3_64(key.as_bytes()) % buckets as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hashed_as_it_always_was() {
        // numbers of the reference implementation, `xxhash.xxh3_64_intdigest(key.encode()) % 1000003` in Python
        assert_eq!(
            ["", "7", "Paris", "東京"].map(|key| hash_bucket(key, 1_000_003)),
            [778_394, 218_222, 669_183, 968_632]
        );
    }

    #[test]
    fn what_names_one_key_has_one_spelling() {
        let spelt = |kind: KeyKind, value: Value| kind.spell(&value).map(|key| key.map(Cow::into_owned));
        for value in [Value::from(7), 7.0.into(), " 7".into(), "7.0".into()] {
            assert_eq!(spelt(KeyKind::Integers, value), Ok(Some("7".into())));
        }
        let large = "18446744073709551615";
        assert_eq!(spelt(KeyKind::Integers, u64::MAX.into()), Ok(Some(large.into())));
        assert_eq!(spelt(KeyKind::Texts, 7.into()), Ok(Some("7".into())));
        assert_eq!(spelt(KeyKind::Texts, " 7".into()), Ok(Some(" 7".into())));
        assert_eq!(spelt(KeyKind::Texts, "".into()), Ok(None));
        assert!(spelt(KeyKind::Texts, 7.5.into()).is_err() && spelt(KeyKind::Integers, "x".into()).is_err());
    }

    #[test]
    fn a_cross_keeps_its_parts_apart_and_is_null_where_one_of_them_is() {
        let kinds = [KeyKind::Texts, KeyKind::Integers];
        let cross = |a: &str, b: Value| crossed(&kinds, &Value::List(vec![a.into(), b])).unwrap();
        assert_eq!(cross("a", 12.into()), "a\u{1f}12".into());
        assert_ne!(cross("a1", 2.into()), cross("a", 12.into()));
        assert_eq!(cross("a", Value::Null), Value::Null);
        assert!(crossed(&kinds, &"a".into()).is_err());
    }
}
