//! Values where they lie: in a [`Value`], in a slice of the caller's, in an Arrow array. What is looked up is not copied first.

use std::fmt;

#[cfg(feature = "arrow")]
use crate::arrow::ArrowItems;
use crate::value::Value;

/// A raw value that lies elsewhere; what [`Value`] is to it, `String` is to `&str`.
///
/// ```
/// use stem_core::{Value, ValueRef};
/// assert_eq!(ValueRef::from("Rome"), ValueRef::from(&Value::from("Rome")));
/// assert_eq!(ValueRef::from(&[3i64, 5][..]), ValueRef::from(&Value::from(vec![3, 5])));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// Missing.
    Null,
    /// An integer; booleans are 0 and 1.
    Integer(i64),
    /// An integer beyond `i64`, which is the text of its digits.
    Unsigned(u64),
    /// A float.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Several values, for a sequence or a vector.
    List(ListRef<'a>),
}

/// Several values that lie elsewhere, one after another.
#[derive(Debug, Clone, Copy)]
pub struct ListRef<'a>(Items<'a>);

#[derive(Debug, Clone, Copy)]
enum Items<'a> {
    Values(&'a [Value]),
    Integers(&'a [i64]),
    Floats(&'a [f64]),
    SmallFloats(&'a [f32]),
    Texts(&'a [&'a str]),
    Strings(&'a [String]),
    #[cfg(feature = "arrow")]
    Arrow(ArrowItems<'a>),
}

impl<'a> ListRef<'a> {
    #[cfg(feature = "arrow")]
    pub(crate) fn arrow(items: ArrowItems<'a>) -> Self {
        Self(Items::Arrow(items))
    }

    /// How many values.
    pub fn len(&self) -> usize {
        match self.0 {
            Items::Values(values) => values.len(),
            Items::Integers(values) => values.len(),
            Items::Floats(values) => values.len(),
            Items::SmallFloats(values) => values.len(),
            Items::Texts(values) => values.len(),
            Items::Strings(values) => values.len(),
            #[cfg(feature = "arrow")]
            Items::Arrow(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `i`; null where there is none.
    pub fn get(&self, i: usize) -> ValueRef<'a> {
        match self.0 {
            Items::Values(values) => values.get(i).map_or(ValueRef::Null, ValueRef::from),
            Items::Integers(values) => values.get(i).copied().into(),
            Items::Floats(values) => values.get(i).copied().into(),
            Items::SmallFloats(values) => values.get(i).copied().into(),
            Items::Texts(values) => values.get(i).copied().into(),
            Items::Strings(values) => values.get(i).map(String::as_str).into(),
            #[cfg(feature = "arrow")]
            Items::Arrow(items) => items.get(i),
        }
    }

    /// All values.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = ValueRef<'a>> + ExactSizeIterator {
        (0..self.len()).map(move |i| self.get(i))
    }
}

impl PartialEq for ListRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a> ValueRef<'a> {
    /// The value, copied.
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(value),
            Self::Unsigned(value) => value.into(),
            Self::Float(value) => Value::Float(value),
            Self::Text(value) => Value::Text(value.into()),
            Self::List(values) => Value::List(values.iter().map(Self::to_value).collect()),
        }
    }

    /// Null, or an empty text: a CSV file cannot tell the two apart.
    pub(crate) fn is_null(self) -> bool {
        matches!(self, Self::Null | Self::Text(""))
    }
}

impl fmt::Display for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Integer(v) => write!(f, "{v}"),
            Self::Unsigned(v) => write!(f, "\"{v}\""),
            Self::Float(v) => write!(f, "{v}"),
            Self::Text(v) => write!(f, "\"{v}\""),
            Self::List(v) => write!(f, "a list of {}", v.len()),
        }
    }
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(v) => Self::Integer(*v),
            Value::Float(v) => Self::Float(*v),
            Value::Text(v) => Self::Text(v),
            Value::List(v) => Self::List(ListRef(Items::Values(v))),
        }
    }
}

macro_rules! from {
    ($($source:ty => $variant:ident as $target:ty),* $(,)?) => { $(
        impl From<$source> for ValueRef<'_> {
            fn from(value: $source) -> Self {
                Self::$variant(<$target>::from(value))
            }
        }
    )* };
}
from! {
    i64 => Integer as i64, i32 => Integer as i64, i16 => Integer as i64, i8 => Integer as i64,
    u32 => Integer as i64, u16 => Integer as i64, u8 => Integer as i64, bool => Integer as i64,
    f64 => Float as f64, f32 => Float as f64,
}

impl From<u64> for ValueRef<'_> {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Unsigned(value), Self::Integer)
    }
}

impl<'a> From<&'a str> for ValueRef<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for ValueRef<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a, V: Into<ValueRef<'a>>> From<Option<V>> for ValueRef<'a> {
    fn from(value: Option<V>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! lists {
    ($($item:ty => $variant:ident),* $(,)?) => { $(
        impl<'a> From<&'a [$item]> for ListRef<'a> {
            fn from(values: &'a [$item]) -> Self {
                Self(Items::$variant(values))
            }
        }
        impl<'a> From<&'a [$item]> for ValueRef<'a> {
            fn from(values: &'a [$item]) -> Self {
                Self::List(values.into())
            }
        }
    )* };
}
lists! { Value => Values, i64 => Integers, f64 => Floats, f32 => SmallFloats, &'a str => Texts, String => Strings }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_lent_is_the_value() {
        let values = [
            Value::Null,
            7.into(),
            2.5.into(),
            "x".into(),
            u64::MAX.into(),
            Value::List(vec![1.into(), "y".into(), Value::Null]),
        ];
        for value in &values {
            let lent = ValueRef::from(value);
            assert_eq!((lent.to_value(), lent.to_string()), (value.clone(), value.to_string()));
        }
        let large = ValueRef::from(u64::MAX);
        assert_eq!((large.to_value(), large.to_string()), (u64::MAX.into(), values[4].to_string()));
        assert_eq!(ValueRef::from(&["a", "b"][..]), ValueRef::from(&Value::from(vec!["a", "b"])));
        assert_ne!(ValueRef::from(&[1.0f64][..]), ValueRef::from(&[1i64][..]));
        let list = ListRef::from(&[1.5f32, 2.5][..]);
        assert_eq!((list.get(1), list.get(2), list.is_empty()), (2.5.into(), ValueRef::Null, false));
    }
}
