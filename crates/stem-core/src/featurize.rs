//! Raw rows to a batch: the same ids and weights that the training data were encoded to.

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::schema::{Field, FieldKind, Schema};
use crate::value::{Row, Value};
use crate::vocabulary::{PADDING, Vocabulary, integer_key};

/// Looks every field of every row up.
///
/// # Errors
/// [`Error::MissingColumn`] and [`Error::WrongType`], naming column and row.
pub fn encode_rows(schema: &Schema, vocabularies: &[Vocabulary], rows: &[Row]) -> Result<Batch> {
    let (slots, offsets) = (schema.slots(), schema.offsets());
    let mut batch = Batch { rows: rows.len(), ..Batch::default() };
    batch.ids.reserve(rows.len() * slots);
    batch.weights.reserve(rows.len() * slots);
    for (place, row) in rows.iter().enumerate() {
        for field in &schema.fields {
            let value = row.get(&field.name).ok_or_else(|| Error::MissingColumn {
                column: field.name.clone(),
                row: place,
                columns: schema.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", "),
            })?;
            let value = match (value, &field.default) {
                (value, Some(default)) if is_null(value, field) => default,
                (value, _) if is_null(value, field) => &Value::Null,
                (value, _) => value,
            };
            let mut slot = |id: u32, weight: f32| {
                batch.ids.push(offsets[field.vocabulary] + id);
                batch.weights.push(weight);
            };
            let vocabulary = &vocabularies[field.vocabulary];
            match &field.kind {
                FieldKind::Category => slot(vocabulary.id_of(value, &field.name, place)?, 1.0),
                FieldKind::Number { .. } => {
                    let number = number(value, field, place)?;
                    slot(0, number.map_or(0.0, |number| field.kind.number_weight(number)));
                }
                FieldKind::Sequence { max_len, pooling } => {
                    let ids = sequence(value, field, vocabulary, *max_len, place)?;
                    let weight = pooling.weight(ids.len());
                    ids.iter().for_each(|&id| slot(id, weight));
                    (ids.len()..*max_len).for_each(|_| slot(PADDING, 0.0));
                }
            }
        }
    }
    Ok(batch)
}

/// An empty text is null: a CSV file cannot tell the two apart.
fn is_null(value: &Value, field: &Field) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty() && !matches!(field.kind, FieldKind::Number { .. }),
        _ => false,
    }
}

/// A finite number, or `None` for null.
fn number(value: &Value, field: &Field, row: usize) -> Result<Option<f64>> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::Integer(v) => Some(*v as f64),
        Value::Float(v) => Some(*v),
        Value::Text(v) => v.trim().parse().ok().or_else(|| integer_key(v).map(|v| v as f64)),
        Value::List(_) => None,
    };
    match number.filter(|v| v.is_finite()) {
        Some(number) => Ok(Some(number)),
        None => Err(Error::WrongType {
            column: field.name.clone(),
            row,
            expected: "a finite number",
            found: value.to_string(),
        }),
    }
}

/// Local ids of the first `max_len` values. Text is cut at the field's separator; nulls and empty pieces are left out.
fn sequence(value: &Value, field: &Field, vocabulary: &Vocabulary, max_len: usize, row: usize) -> Result<Vec<u32>> {
    let id = |value: &Value| vocabulary.id_of(value, &field.name, row);
    match (value, &field.separator) {
        (Value::Null, _) => Ok(Vec::new()),
        (Value::List(values), _) => values.iter().filter(|v| !is_null(v, field)).take(max_len).map(id).collect(),
        (Value::Text(text), Some(separator)) => text
            .split(separator.as_str())
            .filter(|piece| !piece.is_empty())
            .take(max_len)
            .map(|piece| id(&Value::Text(piece.into())))
            .collect(),
        (Value::Text(text), None) if text.is_empty() => Ok(Vec::new()),
        (single, _) => Ok(vec![id(single)?]),
    }
}
