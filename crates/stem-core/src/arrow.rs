//! Arrow arrays as columns of a request: read where they lie, whatever wrote them.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use crate::columns::Cells;
use crate::error::{Error, Result};
use crate::value_ref::{ListRef, ValueRef};

/// The Arrow that this crate is built with: a request takes arrays of the same one.
pub use arrow_array;

const EXPECTED: &str = "integers, floats, booleans, texts, or lists of them (cast times to text or to integers)";

impl Cells<'static> {
    /// The values of an array: integers, floats, booleans, texts, dictionaries of them, and lists of all these. Nothing is copied.
    ///
    /// # Errors
    /// [`Error::ColumnType`], naming `column`, of an array of anything else.
    pub fn arrow(column: &str, array: ArrayRef) -> Result<Self> {
        if !is_read(array.data_type()) {
            let (column, found) = (column.into(), array.data_type().to_string());
            return Err(Error::ColumnType { column, expected: EXPECTED, found });
        }
        Ok(Self::of_arrow(array))
    }
}

/// Whether values of a type are raw values.
fn is_read(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_one(item.data_type()) // nulls take no memory: a list of them could be as long as it says
        }
        DataType::Null => true,
        other => is_one(other),
    }
}

fn is_one(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_plain(values),
        other => is_plain(other),
    }
}

fn is_plain(data_type: &DataType) -> bool {
    use DataType::*;
    matches!(
        data_type,
        Boolean
            | Int8
            | Int16
            | Int32
            | Int64
            | UInt8
            | UInt16
            | UInt32
            | UInt64
            | Float16
            | Float32
            | Float64
            | Utf8
            | LargeUtf8
            | Utf8View
    )
}

/// Bytes of the texts that an array's values are, each counted as often as it is read: those of dictionaries and views may be many more
/// than the array has in memory. 0 of arrays whose texts stand there as often as they are read.
pub fn repeated_text_bytes(array: &dyn Array) -> u64 {
    match array.data_type() {
        DataType::Dictionary(_, values)
            if !matches!(**values, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) =>
        {
            0
        }
        DataType::Dictionary(..) | DataType::Utf8View => {
            let bytes = |i| match value(array, i) {
                ValueRef::Text(text) => text.len() as u64,
                _ => 0,
            };
            (0..array.len()).map(bytes).sum()
        }
        DataType::List(_) => repeated_text_bytes(array.as_list::<i32>().values()),
        DataType::LargeList(_) => repeated_text_bytes(array.as_list::<i64>().values()),
        DataType::FixedSizeList(..) => repeated_text_bytes(array.as_fixed_size_list().values()),
        _ => 0,
    }
}

/// Value `i` of an array of a type that is read.
pub(crate) fn value(array: &dyn Array, i: usize) -> ValueRef<'_> {
    if array.is_null(i) {
        return ValueRef::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(i).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(i).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(i).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(i).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(i).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(i).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(i).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(i).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(i).into(),
        DataType::Float16 => array.as_primitive::<Float16Type>().value(i).to_f32().into(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(i).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(i).into(),
        DataType::Utf8 => array.as_string::<i32>().value(i).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(i).into(),
        DataType::Utf8View => array.as_string_view().value(i).into(),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            match value(dictionary.keys(), i) {
                ValueRef::Integer(key) => value(dictionary.values().as_ref(), key as usize),
                _ => ValueRef::Null,
            }
        }
        DataType::List(_) => {
            let (list, offsets) = (array.as_list::<i32>(), array.as_list::<i32>().value_offsets());
            items(list.values(), offsets[i] as usize..offsets[i + 1] as usize)
        }
        DataType::LargeList(_) => {
            let (list, offsets) = (array.as_list::<i64>(), array.as_list::<i64>().value_offsets());
            items(list.values(), offsets[i] as usize..offsets[i + 1] as usize)
        }
        DataType::FixedSizeList(..) => {
            let list = array.as_fixed_size_list();
            let start = list.value_offset(i) as usize;
            items(list.values(), start..start + list.value_length() as usize)
        }
        _ => ValueRef::Null, // of nulls; other types are refused before
    }
}

fn items(values: &ArrayRef, range: Range<usize>) -> ValueRef<'_> {
    ValueRef::List(list(values, range))
}

/// A stretch of an array, as far as it is there.
pub(crate) fn list(values: &ArrayRef, range: Range<usize>) -> ListRef<'_> {
    let end = range.end.min(values.len());
    let len = end.saturating_sub(range.start);
    ListRef::arrow(ArrowItems { values: values.as_ref(), start: range.start, len })
}

/// A stretch of an array: the values of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArrowItems<'a> {
    values: &'a dyn Array,
    start: usize,
    len: usize,
}

impl<'a> ArrowItems<'a> {
    pub(crate) fn len(self) -> usize {
        self.len
    }

    pub(crate) fn get(self, i: usize) -> ValueRef<'a> {
        if i < self.len { value(self.values, self.start + i) } else { ValueRef::Null }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, StringBuilder};
    use arrow_array::*;

    use super::*;
    use crate::value::Value;

    fn values(array: ArrayRef) -> Vec<Value> {
        (0..array.len()).map(|i| value(&array, i).to_value()).collect()
    }

    #[test]
    fn an_array_has_the_values_that_it_shows() {
        let of = |array: ArrayRef| {
            Cells::arrow("c", array.clone()).unwrap();
            values(array)
        };
        assert_eq!(of(Arc::new(Int8Array::from(vec![Some(-1), None]))), [(-1).into(), Value::Null]);
        assert_eq!(of(Arc::new(UInt64Array::from(vec![7, u64::MAX]))), [7.into(), u64::MAX.into()]);
        assert_eq!(of(Arc::new(BooleanArray::from(vec![true, false]))), [1.into(), 0.into()]);
        assert_eq!(of(Arc::new(Float32Array::from(vec![0.1]))), [0.1f32.into()]);
        for texts in [
            Arc::new(StringArray::from(vec!["a", "", "a"])) as ArrayRef,
            Arc::new(LargeStringArray::from(vec!["a", "", "a"])),
            Arc::new(StringViewArray::from(vec!["a", "", "a"])),
            Arc::new(["a", "", "a"].into_iter().collect::<DictionaryArray<types::Int8Type>>()),
        ] {
            assert_eq!(of(texts), ["a", "", "a"].map(Value::from));
        }
        assert_eq!(of(Arc::new(NullArray::new(2))), [Value::Null, Value::Null]);
        let mut list = ListBuilder::new(StringBuilder::new());
        list.append_value([Some("x"), None]);
        list.append_null();
        list.append_value([Some("y")]);
        let lists = list.finish();
        let expected = [Value::List(vec!["x".into(), Value::Null]), Value::Null, Value::List(vec!["y".into()])];
        assert_eq!(of(Arc::new(lists.clone())), expected);
        assert_eq!(of(Arc::new(lists.slice(2, 1))), expected[2..]);
        let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), 2);
        for pair in [[0.5, 1.0], [2.0, 4.0]] {
            vectors.values().append_slice(&pair);
            vectors.append(true);
        }
        let vectors: ArrayRef = Arc::new(vectors.finish());
        assert_eq!(of(vectors.slice(1, 1)), [Value::from(vec![2.0, 4.0])]);
    }

    #[test]
    fn an_array_that_holds_no_raw_values_is_refused_by_its_column() {
        let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![0]));
        let told = Cells::arrow("at", times).unwrap_err().to_string();
        assert!(
            told.starts_with("column 'at': expected integers, floats") && told.contains("found Timestamp"),
            "{told}"
        );
        let nulls = Arc::new(arrow_schema::Field::new("item", DataType::Null, true));
        let lists: ArrayRef =
            Arc::new(FixedSizeListArray::new(nulls, 1 << 30, Arc::new(NullArray::new(1 << 30)), None));
        assert!(Cells::arrow("tags", lists).is_err());
    }

    #[test]
    fn texts_that_stand_once_and_are_read_often_are_counted_as_often() {
        let long = "x".repeat(100);
        let dictionary: DictionaryArray<types::Int8Type> = [long.as_str(), "y", &long].into_iter().collect();
        assert_eq!(repeated_text_bytes(&dictionary), 201);
        assert_eq!(repeated_text_bytes(&StringViewArray::from(vec![long.as_str(); 3])), 300);
        assert_eq!(repeated_text_bytes(&StringArray::from(vec![long.as_str(); 3])), 0);
    }
}
