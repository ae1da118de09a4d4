//! Columns that the SELECT of a recipe computes, computed again for rows that are to be scored.

use std::collections::BTreeMap;

use polars::prelude::*;
use polars::sql::SQLContext;
use stem_core::{ColumnType, Derived, Schema, Value, whole};

use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::scan::quoted;
use crate::source::{dtype_of, plain};
use crate::values::values_of;

/// What has to be computed of raw columns before a model can read its columns.
///
/// ```
/// use stem_core::{ColumnType, Derived, Field, Schema, Task, Value, VocabularySpec};
/// use stem_data::Derivation;
///
/// let city = Field::category("city", 0);
/// let mut schema = Schema::new(vec![city], vec![VocabularySpec::new("city", 3)], vec![Task::new("click")]);
/// let lower = Derived::new("LOWER(city)", [("city".to_string(), ColumnType::Text)].into());
/// schema.derived.insert("city".into(), lower);
///
/// let derivation = Derivation::of(&schema, &["city", "day"]).expect("the table has what it reads");
/// let values = derivation.run(|_column| vec!["Paris".into(), Value::Null])?;
/// assert_eq!(values, [("city".to_string(), vec![Value::Text("paris".into()), Value::Null])]);
/// # Ok::<(), stem_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Derivation {
    computed: Vec<String>,
    sql: String,
    reads: BTreeMap<String, ColumnType>,
}

/// Name of the table that is computed from.
const TABLE: &str = "raw";

impl Derivation {
    /// The fields that can be computed from `columns` of a raw table; `None` where there are none.
    pub fn of(schema: &Schema, columns: &[&str]) -> Option<Self> {
        let mut reads = BTreeMap::new();
        let (mut computed, mut selected) = (Vec::new(), Vec::new());
        for (column, Derived { sql, reads: own, .. }) in &schema.derived {
            if !own.is_empty() && own.keys().all(|column| columns.contains(&column.as_str())) {
                computed.push(column.clone());
                selected.push(format!("{sql} AS {}", quoted(column)));
                reads.extend(own.clone());
            }
        }
        let sql = format!("SELECT {} FROM {TABLE}", selected.join(", "));
        (!selected.is_empty()).then_some(Self { computed, sql, reads })
    }

    /// Whether it computes a field of that name.
    pub fn gives(&self, field: &str) -> bool {
        self.computed.iter().any(|name| name == field)
    }

    /// The raw columns that it reads.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        self.reads.keys().map(String::as_str)
    }

    /// Computes the fields: `values` gives a raw column. Each field comes with a value for every row. Dates and times are texts
    /// (`2024-03-01`, `2024-03-01 12:30:00`), a list may be a text as JSON writes it.
    ///
    /// # Errors
    /// [`Error::Value`] for a value that is not of the column's type, and what the query says.
    pub fn run(&self, values: impl Fn(&str) -> Vec<Value>) -> Result<Vec<(String, Vec<Value>)>> {
        let columns =
            self.reads.iter().map(|(name, kind)| typed(name, *kind, &values(name))).collect::<Result<Vec<_>>>()?;
        let rows = columns.first().map_or(0, Column::len);
        let frame = DataFrame::new(rows, columns).map_err(Error::query)?;
        let computed = guarded(|| {
            let mut context = SQLContext::new();
            context.register(TABLE, frame.lazy());
            context.execute(&self.sql)?.collect()
        });
        let computed = computed.map_err(Error::query)?.map_err(|error| Error::query(plain(&error)))?;
        computed.columns().iter().map(|column| Ok((column.name().to_string(), values_of(column)?))).collect()
    }
}

/// Values as a column of a type.
pub(crate) fn typed(name: &str, kind: ColumnType, values: &[Value]) -> Result<Column> {
    let label = PlSmallStr::from(name);
    Ok(match kind {
        ColumnType::Integer => Column::new(label, parsed(name, values, "an integer", integer)?),
        ColumnType::UnsignedInteger => Column::new(label, parsed(name, values, "an integer without a sign", unsigned)?),
        ColumnType::Float => Column::new(label, parsed(name, values, "a number", float)?),
        ColumnType::Boolean => Column::new(label, parsed(name, values, "true or false", boolean)?),
        ColumnType::Date => time(name, kind, values, "a date (2024-03-01)")?,
        ColumnType::Time => time(name, kind, values, "a time of day (12:30:00)")?,
        ColumnType::DatetimeMs | ColumnType::DatetimeUs | ColumnType::DatetimeNs => {
            time(name, kind, values, "a time (2024-03-01 12:30:00)")?
        }
        ColumnType::IntegerList => lists(name, kind, values, "a list of integers", |list| {
            Some(Series::new(PlSmallStr::EMPTY, each(list, integer)?))
        })?,
        ColumnType::FloatList => lists(name, kind, values, "a list of numbers", |list| {
            Some(Series::new(PlSmallStr::EMPTY, each(list, float)?))
        })?,
        ColumnType::TextList => lists(name, kind, values, "a list of texts", |list| {
            Some(Series::new(PlSmallStr::EMPTY, each(list, text)?))
        })?,
        _ => Column::new(label, parsed(name, values, "a text", text)?),
    })
}

/// Each value as `parse` takes it, null as `None`.
fn parsed<T>(
    name: &str,
    values: &[Value],
    expected: &'static str,
    parse: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<Option<T>>> {
    let values = values.iter().enumerate().map(|(row, value)| match value {
        Value::Null => Ok(None),
        value => parse(value).map(Some).ok_or_else(|| Error::value(name, row, expected, value.to_string())),
    });
    values.collect()
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(value) => Some(*value),
        Value::Float(value) => whole(*value),
        Value::Text(text) => text.trim().parse().ok().or_else(|| text.trim().parse().ok().and_then(whole)),
        _ => None,
    }
}

fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::Text(text) if text.trim().parse::<u64>().is_ok() => text.trim().parse().ok(),
        value => integer(value).and_then(|value| u64::try_from(value).ok()),
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Text(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
        Value::Text(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
        value => match integer(value)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        _ => None,
    }
}

/// Dates and times, which are written as texts.
fn time(name: &str, kind: ColumnType, values: &[Value], expected: &'static str) -> Result<Column> {
    let texts = parsed(name, values, expected, |value| text(value).map(|text| plain_time(text.trim(), kind)))?;
    let frame = DataFrame::new(values.len(), vec![Column::new(name.into(), texts)]).map_err(Error::query)?;
    let format = match kind {
        ColumnType::Date => "%Y-%m-%d",
        ColumnType::Time => "%H:%M:%S%.f",
        _ => "%Y-%m-%d %H:%M:%S%.f",
    };
    let options = StrptimeOptions { format: Some(format.into()), strict: false, exact: true, cache: false };
    let read = col(name).str().strptime(dtype_of(kind), options, lit("raise"));
    let times = guarded(|| frame.lazy().select([read]).collect()).map_err(Error::query)?.map_err(Error::query)?;
    let times = times.column(name).map_err(Error::query)?.clone();
    let unread =
        times.is_null().iter().zip(values).position(|(null, value)| null == Some(true) && *value != Value::Null);
    match unread {
        Some(row) => Err(Error::value(name, row, expected, values[row].to_string())),
        None => Ok(times),
    }
}

/// A time as it is read: a blank between day and hour, an hour where there is none.
fn plain_time(text: &str, kind: ColumnType) -> String {
    match kind {
        ColumnType::Date | ColumnType::Time => text.to_string(),
        _ if text.len() == 10 => format!("{text} 00:00:00"),
        _ => text.replacen('T', " ", 1).trim_end_matches('Z').to_string(),
    }
}

/// Lists; `series` makes one of the values in it, where they are of its type.
fn lists(
    name: &str,
    kind: ColumnType,
    values: &[Value],
    expected: &'static str,
    series: impl Fn(&[Value]) -> Option<Series>,
) -> Result<Column> {
    let list = |value: &Value| match value {
        Value::Text(text) => match serde_json::from_str(text).ok()? {
            Value::List(list) => series(&list),
            _ => None,
        },
        Value::List(list) => series(list),
        _ => None,
    };
    let lists = Column::new(name.into(), parsed(name, values, expected, list)?);
    lists.cast(&dtype_of(kind)).map_err(Error::query)
}

/// The values of a list, null among them; `None` where one is of another type.
fn each<T>(list: &[Value], parse: impl Fn(&Value) -> Option<T>) -> Option<Vec<Option<T>>> {
    list.iter().map(|value| if *value == Value::Null { Some(None) } else { parse(value).map(Some) }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text_of(kind: ColumnType, values: Vec<Value>) -> Result<Vec<Value>> {
        values_of(&typed("c", kind, &values)?)
    }

    #[test]
    fn whole_floats_are_integers_and_one_and_zero_are_true_and_false() {
        let integers =
            text_of(ColumnType::Integer, vec!["12.0".into(), 12.0.into(), " 7".into(), Value::Null]).unwrap();
        assert_eq!(integers, [12.into(), 12.into(), 7.into(), Value::Null]);
        let booleans =
            ["1", "0", "True", "false"].map(Value::from).into_iter().chain([1.into(), false.into()]).collect();
        assert_eq!(text_of(ColumnType::Boolean, booleans).unwrap(), [1, 0, 1, 0, 1, 0].map(Value::from));
        for (kind, value) in [(ColumnType::Integer, "12.5"), (ColumnType::Boolean, "2"), (ColumnType::Boolean, "yes")] {
            let message = text_of(kind, vec![Value::Null, value.into()]).unwrap_err().to_string();
            assert!(message.starts_with("column 'c', row 1: expected"), "{message}");
        }
    }

    #[test]
    fn dates_times_and_lists_come_back_as_they_were() {
        for (kind, value) in [
            (ColumnType::Date, "2024-02-29"),
            (ColumnType::Time, "23:59:58"),
            (ColumnType::DatetimeMs, "2024-02-29 23:59:58.123"),
            (ColumnType::DatetimeUs, "2024-02-29 23:59:58.123456"),
            (ColumnType::DatetimeNs, "2024-02-29 23:59:58.123456789"),
        ] {
            assert_eq!(text_of(kind, vec![value.into(), Value::Null]).unwrap(), [value.into(), Value::Null]);
            let message = text_of(kind, vec!["x".into()]).unwrap_err().to_string();
            assert!(message.contains("row 0: expected a ") && message.ends_with("found \"x\""), "{message}");
        }
        let list = |values: &[i64]| Value::from(values.to_vec());
        let lists = vec![list(&[1, 2]), "[3]".into(), Value::Null, list(&[])];
        let integers = text_of(ColumnType::IntegerList, lists).unwrap();
        assert_eq!(integers, [list(&[1, 2]), list(&[3]), Value::Null, list(&[])]);
        assert!(text_of(ColumnType::TextList, vec!["a".into()]).unwrap_err().to_string().contains("a list of texts"));
        assert_eq!(text_of(ColumnType::FloatList, vec![Value::Null]).unwrap(), [Value::Null]);
    }
}
