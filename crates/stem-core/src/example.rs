//! A row that a model scores, of keys that it knows.

use serde_json::{Map, Value, json};

use crate::schema::{Field, FieldKind, Schema};
use crate::transform::{KeyKind, Transform};
use crate::vocabulary::Vocabulary;

/// A value for every column that a model reads, as a JSON object.
pub fn example_row(schema: &Schema, vocabularies: &[Vocabulary]) -> Map<String, Value> {
    let mut row = Map::new();
    for field in &schema.fields {
        for (place, column) in field.columns().iter().enumerate() {
            row.entry(column.clone()).or_insert_with(|| value(field, place, &vocabularies[field.vocabulary]));
        }
    }
    row
}

/// The value of the field's column at `place`.
fn value(field: &Field, place: usize, vocabulary: &Vocabulary) -> Value {
    let middle = vocabulary.len() / 2;
    match (&field.kind, field.transforms.first()) {
        (_, Some(Transform::Time { .. })) => json!("2024-03-01 12:00:00"),
        (_, Some(Transform::Cross { keys })) => match (key(vocabulary, middle), keys.get(place)) {
            (Value::String(crossed), kind) if !matches!(vocabulary, Vocabulary::Hashed { .. }) => {
                let own = crossed.split('\u{1f}').nth(place).unwrap_or_default();
                match kind {
                    Some(KeyKind::Integers) => own.parse::<i64>().map_or_else(|_| json!(own), |own| json!(own)),
                    _ => json!(own),
                }
            }
            (_, Some(KeyKind::Integers)) => json!(1),
            _ => json!("a"),
        },
        (FieldKind::Category, _) => match field.transforms.last() {
            Some(Transform::Bucketize { .. }) => json!(1),
            _ => key(vocabulary, middle),
        },
        (FieldKind::Number { mean, .. }, None) => json!(mean),
        (FieldKind::Number { .. }, Some(_)) => json!(1),
        (FieldKind::Vector { len }, _) => json!(vec![0.0; *len]),
        (FieldKind::Sequence { max_len, .. }, _) => {
            let places = (middle..vocabulary.len()).take(2.min(*max_len));
            let keys: Vec<Value> = places.map(|place| key(vocabulary, place)).collect();
            match &field.separator {
                Some(separator) => {
                    let text = |key: &Value| key.as_str().map_or_else(|| key.to_string(), str::to_string);
                    json!(keys.iter().map(text).collect::<Vec<_>>().join(separator))
                }
                None => json!(keys),
            }
        }
    }
}

fn key(vocabulary: &Vocabulary, place: usize) -> Value {
    match vocabulary {
        Vocabulary::Integers(keys) => keys.get(place).map_or(Value::Null, |key| json!(key)),
        Vocabulary::Texts(keys) if place < keys.len() => json!(keys.get(place)),
        Vocabulary::Hashed { keys: KeyKind::Integers, .. } => json!(1),
        Vocabulary::Hashed { .. } => json!("a"),
        _ => Value::Null,
    }
}
