//! What goes in as numbers: number fields, vectors, categories that quantiles cut, and labels.

use polars::prelude::*;
use stem_core::{MISSING, TaskKind, Value};

use crate::dataset::NO_LABEL;
use crate::error::{Error, Result};
use crate::recipe::{FieldRecipe, Kind, LabelRecipe};

/// The numbers of a field in a chunk that begins with row `first`, NaN for null. `[n, width]`
pub(crate) fn numbers_of(
    field: &FieldRecipe,
    default: Option<&Value>,
    column: &Column,
    first: usize,
) -> Result<Vec<f64>> {
    match field.kind {
        Kind::Vector { len } => vectors(field, column, len, first),
        _ => single(field, default, column, first),
    }
}

fn single(field: &FieldRecipe, default: Option<&Value>, column: &Column, first: usize) -> Result<Vec<f64>> {
    let null = match default {
        Some(Value::Integer(default)) => *default as f64,
        Some(Value::Float(default)) => *default,
        _ => f64::NAN,
    };
    let column = column.strict_cast(&DataType::Float64).map_err(Error::query)?;
    let values = column.f64().map_err(Error::query)?.iter().enumerate().map(|(row, value)| match value {
        None => Ok(null),
        Some(value) => finite(field, first + row, value),
    });
    values.collect()
}

/// What a number must be; for NaN also how null is made of it.
fn finite_or_null(value: f64) -> &'static str {
    match value.is_nan() {
        true => "a finite number or null (NULLIF(..., CAST('NaN' AS DOUBLE)) in the sql makes null of NaN)",
        false => "a finite number or null",
    }
}

fn finite(field: &FieldRecipe, row: usize, value: f64) -> Result<f64> {
    match value.is_finite() {
        true => Ok(value),
        false => Err(Error::value(&field.columns[0], row, finite_or_null(value), value.to_string())),
    }
}

/// Lists of `len` numbers, as lists or as text.
fn vectors(field: &FieldRecipe, column: &Column, len: usize, first: usize) -> Result<Vec<f64>> {
    let mut values = Vec::with_capacity(column.len() * len);
    let mut append = |row: usize, numbers: Option<Vec<Option<f64>>>| {
        let Some(numbers) = numbers else {
            values.extend(std::iter::repeat_n(f64::NAN, len));
            return Ok(());
        };
        if numbers.len() != len {
            let expected = "as many numbers as the recipe's `length` says";
            return Err(Error::value(&field.columns[0], first + row, expected, format!("{} of {len}", numbers.len())));
        }
        for number in numbers {
            values.push(finite(field, first + row, number.unwrap_or(f64::NAN))?);
        }
        Ok(())
    };
    if *column.dtype() == DataType::String {
        for (row, text) in column.str().map_err(Error::query)?.iter().enumerate() {
            let text = text.filter(|text| !text.is_empty());
            let numbers = text.map(|text| {
                parsed(text, field.separator.as_deref()).ok_or_else(|| {
                    let expected = "a list of numbers, as JSON writes it, or with a `separator` between them";
                    Error::value(&field.columns[0], first + row, expected, text.to_string())
                })
            });
            append(row, numbers.transpose()?)?;
        }
        return Ok(values);
    }
    let lists = column.strict_cast(&DataType::List(Box::new(DataType::Float64))).map_err(Error::query)?;
    for (row, list) in lists.list().map_err(Error::query)?.amortized_iter().enumerate() {
        let numbers = list.map(|list| Ok(list.as_ref().f64()?.iter().collect())).transpose();
        append(row, numbers.map_err(|error: PolarsError| Error::query(error))?)?;
    }
    Ok(values)
}

fn parsed(text: &str, separator: Option<&str>) -> Option<Vec<Option<f64>>> {
    match separator {
        Some(separator) => text.split(separator).map(|piece| piece.trim().parse().ok().map(Some)).collect(),
        None => serde_json::from_str(text).ok(),
    }
}

/// Labels side by side: a mark for each, `[n, T]`, and the numbers of those that are numbers, at their `places`. `[n, R]`
pub(crate) fn labels_of(
    chunk: &DataFrame,
    labels: &[LabelRecipe],
    places: &[Option<usize>],
    first: usize,
) -> Result<(Vec<u8>, Vec<f32>)> {
    let (width, numeric) = (labels.len(), places.iter().flatten().count());
    let (mut marks, mut values) = (vec![0; chunk.height() * width], vec![MISSING; chunk.height() * numeric]);
    for ((own, label), place) in labels.iter().enumerate().zip(places) {
        let (name, kind) = (&label.column, label.kind.unfitted());
        let column = chunk.column(name).and_then(|c| c.strict_cast(&DataType::Float64)).map_err(Error::query)?;
        for (row, value) in column.f64().map_err(Error::query)?.iter().enumerate() {
            let Some(exact) = value else {
                marks[row * width + own] = NO_LABEL;
                continue;
            };
            let value = exact as f32;
            // 0.99999999999 is not 1, though as 32 bits it would be
            let is_whole = matches!(kind, TaskKind::Count { .. } | TaskKind::Ordinal { .. } | TaskKind::Classes { .. });
            let misfit = match if kind.is_binary() { None } else { kind.misfit(value) } {
                _ if kind.is_binary() => misfit_of_bits(exact).map(String::from),
                None if is_whole && f64::from(value) != exact => {
                    Some("a whole number that 32-bit floats can hold".into())
                }
                None => None,
                Some(_) if value.is_infinite() && exact.is_finite() => {
                    Some("a number that 32-bit floats can hold".into())
                }
                misfit => misfit,
            };
            if let Some(expected) = misfit {
                return Err(Error::value(
                    name,
                    first + row,
                    expected_of(&expected, kind.is_binary(), exact),
                    exact.to_string(),
                ));
            }
            marks[row * width + own] = u8::from(value > 0.0);
            if let Some(place) = place {
                values[row * numeric + place] = value;
            }
        }
    }
    Ok((marks, values))
}

fn expected_of(expected: &str, is_binary: bool, found: f64) -> String {
    let hint = match is_binary {
        _ if found.is_nan() => " (NULLIF(..., CAST('NaN' AS DOUBLE)) in the sql makes null of NaN)",
        true => " (a label of numbers has a `kind`: \"regression\", \"count\" ...)",
        false => "",
    };
    format!("{expected} or null{hint}")
}

fn misfit_of_bits(label: f64) -> Option<&'static str> {
    (label != 0.0 && label != 1.0).then_some("0, 1")
}

/// How much each row of a chunk counts. `[n]`
pub(crate) fn weights_of(chunk: &DataFrame, name: &str, first: usize) -> Result<Vec<f32>> {
    let column = chunk.column(name).and_then(|c| c.strict_cast(&DataType::Float64)).map_err(Error::query)?;
    let wrong = |row: usize, found: String| {
        Error::value(
            name,
            first + row,
            "a weight: a finite number of 0 or more (COALESCE in the sql fills nulls)",
            found,
        )
    };
    let weights = column.f64().map_err(Error::query)?.iter().enumerate().map(|(row, value)| match value {
        Some(value) if value >= 0.0 && (value as f32).is_finite() => Ok(value as f32),
        Some(value) => Err(wrong(row, value.to_string())),
        None => Err(wrong(row, "null".into())),
    });
    weights.collect()
}

/// Row after row what fields have column by column, each with its width. `[n, sum of widths]`
pub(crate) fn side_by_side(height: usize, parts: &[(usize, Vec<f64>)]) -> Vec<f64> {
    let width = parts.iter().map(|(width, _)| width).sum::<usize>();
    let mut values = Vec::with_capacity(height * width);
    for row in 0..height {
        parts.iter().for_each(|(width, part)| values.extend_from_slice(&part[row * width..][..*width]));
    }
    values
}
