//! The values of one column.

use std::borrow::Cow;
use std::ops::Range;

#[cfg(feature = "arrow")]
use arrow_array::{Array, ArrayRef};

use crate::value::Value;
use crate::value_ref::{ListRef, ValueRef};

/// A value for each row of a column: a slice of integers, floats, texts or [`Value`]s, or a vector of them; lists of them; an Arrow array.
#[derive(Debug, Clone)]
pub struct Cells<'a>(Form<'a>);

#[derive(Debug, Clone)]
enum Form<'a> {
    Values(Cow<'a, [Value]>),
    Integers(Cow<'a, [i64]>),
    Floats(Cow<'a, [f64]>),
    SmallFloats(Cow<'a, [f32]>),
    Texts(&'a [&'a str]),
    Strings(Cow<'a, [String]>),
    /// Of row `i` the values from `ends[i - 1]`, or 0, to `ends[i]`.
    Lists(Box<Form<'a>>, Cow<'a, [usize]>),
    #[cfg(feature = "arrow")]
    Arrow(ArrayRef),
}

impl<'a> Cells<'a> {
    /// A list for each row: that of row `i` has the values from where the one before it ends, of the first from 0, to `ends[i]`.
    ///
    /// ```
    /// use stem_core::Cells;
    /// let histories = Cells::lists(&[3i64, 5, 8][..], &[2usize, 2, 3][..]); // [3, 5], [], [8]
    /// assert_eq!((histories.len(), histories.get(0)), (3, Some((&[3i64, 5][..]).into())));
    /// ```
    pub fn lists(values: impl Into<Cells<'a>>, ends: impl Into<Cow<'a, [usize]>>) -> Self {
        Self(Form::Lists(Box::new(values.into().0), ends.into()))
    }

    #[cfg(feature = "arrow")]
    pub(crate) fn of_arrow(array: ArrayRef) -> Self {
        Self(Form::Arrow(array))
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Values(values) => values.len(),
            Form::Integers(values) => values.len(),
            Form::Floats(values) => values.len(),
            Form::SmallFloats(values) => values.len(),
            Form::Texts(values) => values.len(),
            Form::Strings(values) => values.len(),
            Form::Lists(_, ends) => ends.len(),
            #[cfg(feature = "arrow")]
            Form::Arrow(array) => array.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a row, if there is one.
    pub fn get(&self, row: usize) -> Option<ValueRef<'_>> {
        Some(match &self.0 {
            Form::Values(values) => values.get(row)?.into(),
            Form::Integers(values) => (*values.get(row)?).into(),
            Form::Floats(values) => (*values.get(row)?).into(),
            Form::SmallFloats(values) => (*values.get(row)?).into(),
            Form::Texts(values) => (*values.get(row)?).into(),
            Form::Strings(values) => values.get(row)?.into(),
            Form::Lists(values, ends) => {
                let start = if row == 0 { 0 } else { *ends.get(row - 1)? };
                ValueRef::List(values.list(start..*ends.get(row)?))
            }
            #[cfg(feature = "arrow")]
            Form::Arrow(array) if row < array.len() => crate::arrow::value(array.as_ref(), row),
            #[cfg(feature = "arrow")]
            Form::Arrow(_) => return None,
        })
    }

    /// The values where they lie, where they are 64-bit integers and none is missing.
    pub(crate) fn integers(&self) -> Option<&[i64]> {
        match &self.0 {
            Form::Integers(values) => Some(values),
            _ => None,
        }
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = ValueRef<'_>> {
        (0..self.len()).filter_map(|row| self.get(row))
    }
}

impl PartialEq for Cells<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Form<'_> {
    /// The values of a list; of a stretch that is not there none.
    fn list(&self, range: Range<usize>) -> ListRef<'_> {
        match self {
            Form::Values(values) => values.get(range).unwrap_or_default().into(),
            Form::Integers(values) => values.get(range).unwrap_or_default().into(),
            Form::Floats(values) => values.get(range).unwrap_or_default().into(),
            Form::SmallFloats(values) => values.get(range).unwrap_or_default().into(),
            Form::Texts(values) => values.get(range).unwrap_or_default().into(),
            Form::Strings(values) => values.get(range).unwrap_or_default().into(),
            Form::Lists(..) => (&[] as &[i64]).into(), // a list of lists is none
            #[cfg(feature = "arrow")]
            Form::Arrow(array) => crate::arrow::list(array, range),
        }
    }
}

macro_rules! from {
    ($($item:ty => $variant:ident),* $(,)?) => { $(
        impl<'a> From<&'a [$item]> for Cells<'a> {
            fn from(values: &'a [$item]) -> Self {
                Self(Form::$variant(values.into()))
            }
        }
        impl From<Vec<$item>> for Cells<'_> {
            fn from(values: Vec<$item>) -> Self {
                Self(Form::$variant(values.into()))
            }
        }
    )* };
}
from! { Value => Values, i64 => Integers, f64 => Floats, f32 => SmallFloats, String => Strings }

impl<'a> From<&'a [&'a str]> for Cells<'a> {
    fn from(values: &'a [&'a str]) -> Self {
        Self(Form::Texts(values))
    }
}
