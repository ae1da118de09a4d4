//! Columns of the SELECT to those that fields take: the steps of `stem_core`, value by value, so that serving takes the same.

use polars::prelude::*;
use stem_core::{ColumnType, KeyKind, TimeUnit as Unit, Transform, Value};

use crate::derive::typed;
use crate::dictionary::has_integer_keys;
use crate::error::{Error, Result};
use crate::recipe::{FieldRecipe, Kind};
use crate::source::words;

/// The steps of a field, fitted to the types of its columns.
#[derive(Clone)]
pub(crate) struct Steps {
    /// As a schema holds them.
    pub(crate) transforms: Vec<Transform>,
    /// As the columns of the SELECT take them: a column of times counts microseconds.
    own: Vec<Transform>,
    /// Type of what comes out.
    pub(crate) dtype: DataType,
    /// What stands in for null, after the steps.
    pub(crate) default: Option<Value>,
}

impl Steps {
    /// Of a field, by the type of each of its columns.
    ///
    /// # Errors
    /// Why the columns cannot go through the steps, in words that follow the field's name.
    pub(crate) fn of(field: &FieldRecipe, types: &[DataType]) -> Result<Self, String> {
        if field.beside.is_some() {
            return Self::ago(field, types);
        }
        let mut transforms = field.transforms.clone();
        let mut dtype = types.first().cloned().unwrap_or(DataType::Null);
        if types.len() > 1 {
            let kinds = field.columns.iter().zip(types).map(|(column, dtype)| key_kind(column, dtype));
            transforms.insert(0, Transform::Cross { keys: kinds.collect::<Result<_, _>>()? });
        }
        let mut own = transforms.clone();
        for step in &mut own {
            dtype = match step {
                Transform::Cross { .. } => DataType::String,
                Transform::Time { unit, .. } => {
                    match (&dtype, &unit) {
                        (DataType::Date | DataType::Datetime(..), None) => *unit = Some(Unit::Microseconds),
                        (DataType::String, _) => {}
                        (dtype, Some(_)) if dtype.is_primitive_numeric() => {}
                        (dtype, None) if dtype.is_primitive_numeric() => {
                            return Err(format!(
                                "is {}, which tells no time without what it counts: add `unit = \"s\"`, \"ms\" or \"us\"",
                                words(dtype)
                            ));
                        }
                        (dtype, Some(_)) if dtype.is_temporal() => {
                            return Err(format!("holds {}, which need no `unit`: leave it out", words(dtype)));
                        }
                        (dtype, _) => return Err(format!("is {}, expected a time", words(dtype))),
                    }
                    DataType::Int64
                }
                Transform::Trim | Transform::Lower => match dtype {
                    DataType::String => DataType::String,
                    DataType::List(inner) if *inner == DataType::String => DataType::List(inner),
                    dtype => return Err(format!("is {}: `trim` and `lower` are for text", words(&dtype))),
                },
                _ if dtype.is_primitive_numeric() || dtype == DataType::Boolean || dtype == DataType::Null => {
                    match step {
                        Transform::Bucketize { .. } => DataType::Int64,
                        _ => DataType::Float64,
                    }
                }
                _ => return Err(format!("is {}, expected numbers", words(&dtype))),
            };
        }
        let mut default = field.default.clone();
        if let (Kind::Sequence { .. }, DataType::String, false) = (field.kind, &dtype, own.is_empty()) {
            (dtype, default) = (DataType::List(Box::new(DataType::String)), None); // it is filled in before the text is cut
        } else if let Some(value) = default.take() {
            let transformed = Transform::all(&transforms, value.clone());
            default = Some(transformed.map_err(|expected| format!("has the default {value}, expected {expected}"))?);
        }
        Ok(Self { transforms, own, dtype, default })
    }

    /// Of a sequence whose values are told by how long ago they were.
    fn ago(field: &FieldRecipe, types: &[DataType]) -> Result<Self, String> {
        let is_number = |dtype: &DataType| dtype.is_primitive_numeric() || *dtype == DataType::Null;
        match (types, &field.separator) {
            ([DataType::List(inner), ..], None) if is_number(inner) || **inner == DataType::String => {}
            ([DataType::String, ..], Some(_)) => {}
            ([dtype, ..], _) if is_number(dtype) => {} // a column without a value
            ([dtype, ..], separator) => {
                let expected = match separator {
                    Some(_) => "a text with that separator",
                    None => "a list of numbers, or a text with a `separator`",
                };
                return Err(format!("is {}, expected {expected}", words(dtype)));
            }
            ([], _) => {}
        }
        if let Some((column, dtype)) = field.columns.get(1).zip(types.get(1).filter(|dtype| !is_number(dtype))) {
            let found = words(dtype);
            return Err(format!(
                "counts from \"{column}\", which is {found}, expected a number in the unit of the list: EXTRACT(EPOCH FROM \"{column}\") in the sql"
            ));
        }
        let (transforms, dtype) = (field.transforms.clone(), DataType::List(Box::new(DataType::Int64)));
        Ok(Self { own: transforms.clone(), transforms, dtype, default: None })
    }

    /// The column of a field in a chunk that begins with row `first`.
    ///
    /// # Errors
    /// [`Error::Value`] for a value that a step does not take.
    pub(crate) fn column(&self, field: &FieldRecipe, chunk: &DataFrame, first: usize) -> Result<Column> {
        let columns = field.columns.iter().map(|column| chunk.column(column)).collect::<PolarsResult<Vec<_>>>();
        let columns = columns.map_err(Error::query)?;
        if self.own.is_empty() {
            return Ok(columns[0].clone());
        }
        if field.beside.is_some() {
            return self.buckets_ago(field, &columns, first);
        }
        let name = || field.columns.join(", ");
        let apply = |value: Value, row: usize| {
            Transform::all(&self.own, value.clone())
                .map_err(|expected| Error::value(&name(), first + row, expected, value.to_string()))
        };
        if let Kind::Sequence { .. } = field.kind {
            return self.lists(field, columns[0], apply);
        }
        let mut values = columns.iter().map(|column| Ok(values_of(column)?.into_iter())).collect::<Result<Vec<_>>>()?;
        let values = (0..chunk.height()).map(|row| match &mut values[..] {
            [own] => apply(own.next().unwrap_or(Value::Null), row),
            crossed => {
                let row_of = crossed.iter_mut().map(|own| own.next().unwrap_or(Value::Null));
                apply(Value::List(row_of.collect()), row)
            }
        });
        let kind = match self.dtype {
            DataType::String => ColumnType::Text,
            DataType::Float64 => ColumnType::Float,
            _ => ColumnType::Integer,
        };
        typed(&field.name, kind, &values.collect::<Result<Vec<_>>>()?)
    }

    /// How long ago each value of a list was, in buckets: of a column of times and the rows' times, or of how long ago itself.
    fn buckets_ago(&self, field: &FieldRecipe, columns: &[&Column], first: usize) -> Result<Column> {
        let times = crate::values::values_of(columns[0])?;
        let moments = columns.get(1).map(|column| crate::values::values_of(column)).transpose()?;
        let name = field.name.as_str().into();
        let mut lists = ListPrimitiveChunkedBuilder::<Int64Type>::new(name, times.len(), times.len(), DataType::Int64);
        let mut buckets = Vec::new();
        for (row, value) in times.into_iter().enumerate() {
            let separator = field.separator.as_deref().unwrap_or("|");
            let pieces: Vec<Value> = match value {
                Value::List(values) => values,
                Value::Text(text) => text.split(separator).filter(|piece| !piece.is_empty()).map(Value::from).collect(),
                Value::Null => Vec::new(),
                single => vec![single],
            };
            buckets.clear();
            for piece in pieces {
                let value = match &moments {
                    Some(moments) if moments[row] == Value::Null => {
                        let expected = "a number, for the values of a list are told by how long before it they were";
                        return Err(Error::value(&field.columns[1], first + row, expected, "null".into()));
                    }
                    Some(moments) => Value::List(vec![piece.clone(), moments[row].clone()]),
                    None => piece.clone(),
                };
                match Transform::all(&self.own, value) {
                    Ok(Value::Integer(bucket)) => buckets.push(bucket),
                    Ok(_) => {} // of null
                    Err(expected) => {
                        return Err(Error::value(&field.columns[0], first + row, expected, piece.to_string()));
                    }
                }
            }
            lists.append_slice(&buckets);
        }
        Ok(lists.finish().into_column())
    }

    /// Lists of texts, or texts that a separator cuts, each value by itself.
    fn lists(
        &self,
        field: &FieldRecipe,
        column: &Column,
        apply: impl Fn(Value, usize) -> Result<Value>,
    ) -> Result<Column> {
        let mut lists = ListStringChunkedBuilder::new(field.name.as_str().into(), column.len(), column.len());
        let taken = |pieces: &mut dyn Iterator<Item = &str>, row: usize| -> Result<Vec<String>> {
            let mut texts = Vec::new();
            for piece in pieces {
                if let Value::Text(text) = apply(piece.into(), row)? {
                    texts.push(text);
                }
            }
            Ok(texts)
        };
        match column.dtype() {
            DataType::String => {
                let separator = field.separator.as_deref().unwrap_or("|");
                let default = field.default.as_ref().map(|value| match value {
                    Value::Text(text) => text.clone(),
                    other => other.to_string(),
                });
                for (row, text) in column.str().map_err(Error::query)?.iter().enumerate() {
                    let text = text.filter(|text| !text.is_empty()).or(default.as_deref());
                    let texts = text.map_or(Ok(vec![]), |text| taken(&mut text.split(separator), row))?;
                    lists.append_values_iter(texts.iter().map(String::as_str));
                }
            }
            _ => {
                for (row, list) in column.list().map_err(Error::query)?.amortized_iter().enumerate() {
                    let Some(list) = list else {
                        lists.append_null();
                        continue;
                    };
                    let texts = taken(&mut list.as_ref().str().map_err(Error::query)?.iter().flatten(), row)?;
                    lists.append_values_iter(texts.iter().map(String::as_str));
                }
            }
        }
        Ok(lists.finish().into_column())
    }
}

/// What the keys of a crossed column are.
fn key_kind(column: &str, dtype: &DataType) -> Result<KeyKind, String> {
    match dtype {
        DataType::String => Ok(KeyKind::Texts),
        DataType::List(_) => Err(format!("crosses \"{column}\", which is a list")),
        dtype if has_integer_keys(dtype) => Ok(KeyKind::Integers),
        dtype => Err(format!("crosses \"{column}\", which is {}, expected integers or text", words(dtype))),
    }
}

/// The values of a column; times as microseconds since 1970.
fn values_of(column: &Column) -> Result<Vec<Value>> {
    let to_micros: fn(i64) -> i64 = match column.dtype() {
        DataType::Date => |days| days * 86_400_000_000,
        DataType::Datetime(TimeUnit::Nanoseconds, _) => |count| count.div_euclid(1000),
        DataType::Datetime(TimeUnit::Microseconds, _) => |count| count,
        DataType::Datetime(TimeUnit::Milliseconds, _) => |count| count.saturating_mul(1000),
        _ => return crate::values::values_of(column),
    };
    let counts = column.to_physical_repr().strict_cast(&DataType::Int64).map_err(Error::query)?;
    let counts = counts.i64().map_err(Error::query)?.iter();
    Ok(counts.map(|count| count.map(to_micros).into()).collect())
}
