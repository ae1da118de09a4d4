//! Columns of tables as the values that a predictor looks up.

use polars::prelude::*;
use serde_json::{Map, Value as Json};
use stem_core::Value;

use crate::error::{Error, Result};
use crate::source::{canonical_column, words};

/// The values of a column, which name the keys that the column's name in training. Dates and times are texts.
///
/// # Errors
/// A type that no value holds.
pub(crate) fn values_of(column: &Column) -> Result<Vec<Value>> {
    let column = canonical_column(column)?;
    let column = column.as_materialized_series();
    match column.dtype() {
        DataType::List(_) => {
            let lists = column.list().map_err(Error::query)?;
            lists
                .amortized_iter()
                .map(|list| match list {
                    Some(list) => values_of(&list.as_ref().clone().into()).map(Value::List),
                    None => Ok(Value::Null),
                })
                .collect()
        }
        DataType::Null => Ok(vec![Value::Null; column.len()]),
        DataType::Boolean => Ok(column.bool().map_err(Error::query)?.iter().map(Value::from).collect()),
        DataType::UInt64 => Ok(column.u64().map_err(Error::query)?.iter().map(Value::from).collect()),
        DataType::Int64 => Ok(column.i64().map_err(Error::query)?.iter().map(Value::from).collect()),
        DataType::Float64 => Ok(column.f64().map_err(Error::query)?.iter().map(Value::from).collect()),
        DataType::String => Ok(column.str().map_err(Error::query)?.iter().map(Value::from).collect()),
        dtype if dtype.is_temporal() => {
            let texts = column.strict_cast(&DataType::String).map_err(Error::query)?;
            Ok(texts.str().map_err(Error::query)?.iter().map(Value::from).collect())
        }
        dtype => Err(Error::query(format!("column '{}' is {}, which no field takes", column.name(), words(dtype)))),
    }
}

/// The cells of a column as JSON knows them: true and false as such, floats that are no numbers as texts. What no value holds is a text.
///
/// # Errors
/// What Polars says.
pub(crate) fn json_of(column: &Column) -> Result<Vec<Json>> {
    let series = column.as_materialized_series();
    match column.dtype() {
        DataType::Boolean => Ok(series.bool().map_err(Error::query)?.iter().map(Json::from).collect()),
        DataType::Float32 => {
            // as few digits as tell it from other floats of 32 bits
            let wide = |value: f32| value.to_string().parse().map_or(Value::Null, Value::Float);
            let floats = series.f32().map_err(Error::query)?;
            Ok(floats.iter().map(|value| value.map_or(Json::Null, |value| json(wide(value)))).collect())
        }
        DataType::List(inner) if inner.is_nested() || **inner == DataType::Float32 || **inner == DataType::Boolean => {
            let lists = series.list().map_err(Error::query)?;
            let json = |list: Option<Series>| match list {
                Some(list) => json_of(&list.into()).map(Json::Array),
                None => Ok(Json::Null),
            };
            lists.amortized_iter().map(|list| json(list.map(|list| list.as_ref().clone()))).collect()
        }
        DataType::Struct(_) => {
            let mut rows: Vec<Json> = series
                .is_not_null()
                .iter()
                .map(|is| if is == Some(true) { Json::Object(Map::new()) } else { Json::Null })
                .collect();
            for field in series.struct_().map_err(Error::query)?.fields_as_series() {
                let name = field.name().to_string();
                for (row, value) in rows.iter_mut().zip(json_of(&field.into())?) {
                    if let Json::Object(row) = row {
                        row.insert(name.clone(), value);
                    }
                }
            }
            Ok(rows)
        }
        _ => match values_of(column) {
            Ok(values) => Ok(values.into_iter().map(json).collect()),
            Err(_) => {
                let text = |row| match column.get(row).map_err(Error::query)? {
                    AnyValue::Null => Ok(Json::Null),
                    value => Ok(Json::String(value.to_string())),
                };
                (0..column.len()).map(text).collect()
            }
        },
    }
}

fn json(value: Value) -> Json {
    match value {
        Value::Integer(value) => value.into(),
        Value::Float(value) => {
            serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Json::Number)
        }
        Value::Text(text) => text.into(),
        Value::List(values) => Json::Array(values.into_iter().map(json).collect()),
        _ => Json::Null,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nested_is_nested_in_json_too() {
        let inner = df!("x" => [1i64, 2], "flag" => [Some(true), None]).unwrap().into_struct("s".into()).into_series();
        let lists = Column::new("l".into(), [inner.head(Some(1)), inner.clone()]);
        let expected = serde_json::json!([
            [{ "x": 1, "flag": true }],
            [{ "x": 1, "flag": true }, { "x": 2, "flag": null }]
        ]);
        assert_eq!(Json::Array(json_of(&lists).unwrap()), expected);
        assert!(values_of(&inner.into()).unwrap_err().to_string().contains("column 's' is"));
        let odd = Column::new("f".into(), [1.5, f64::NAN]);
        assert_eq!(json_of(&odd).unwrap(), [Json::from(1.5), Json::from("NaN")]);
        let short = Column::new("f".into(), [Some(0.1f32), Some(f32::NAN), None]);
        assert_eq!(json_of(&short).unwrap(), [Json::from(0.1), Json::from("NaN"), Json::Null]);
    }
}
