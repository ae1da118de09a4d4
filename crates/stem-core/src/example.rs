//! A row that a model scores, of keys that it knows.

use serde_json::{Map, Value, json};

use crate::schema::{Field, FieldKind, Schema};
use crate::transform::{KeyKind, Transform};
use crate::vocabulary::Vocabulary;

/// A value for every column that a model reads, as a JSON object.
pub fn example_row(schema: &Schema, vocabularies: &[Vocabulary]) -> Map<String, Value> {
    row(schema, vocabularies, (1, 2))
}

/// So many rows, of keys from the first to the last of each vocabulary, and as the last row one of nulls.
pub(crate) fn example_rows(
    schema: &Schema,
    vocabularies: &[Vocabulary],
    count: usize,
) -> impl Iterator<Item = Map<String, Value>> {
    let known = (1..count).map(move |n| row(schema, vocabularies, (n - 1, count.saturating_sub(2).max(1))));
    let nulls = schema.columns().into_iter().map(|column| (column.to_string(), Value::Null)).collect();
    known.chain([nulls])
}

/// A row of what stands `part` of the way through what each field knows: `n` of so many parts.
fn row(schema: &Schema, vocabularies: &[Vocabulary], part: (usize, usize)) -> Map<String, Value> {
    let mut row = Map::new();
    for field in &schema.fields {
        let vocabulary = |field: &Field| &vocabularies[field.vocabulary];
        let sequence = schema.fields.iter().find(|other| field.beside.as_ref() == Some(&other.name)).unwrap_or(field);
        let length = length(sequence, vocabulary(sequence), part);
        for (place, column) in field.columns().iter().enumerate() {
            row.entry(column.clone()).or_insert_with(|| value(field, place, vocabulary(field), part, length));
        }
    }
    row
}

/// The place of the key that is `n` of so many parts through a vocabulary.
fn middle(vocabulary: &Vocabulary, (n, parts): (usize, usize)) -> usize {
    (vocabulary.len() * n / parts).min(vocabulary.len().saturating_sub(1))
}

/// How many values a sequence has.
fn length(field: &Field, vocabulary: &Vocabulary, part: (usize, usize)) -> usize {
    (vocabulary.len() - middle(vocabulary, part)).min(2).min(field.kind.slots())
}

/// The value of the field's column at `place`; of a sequence a list of that length.
fn value(field: &Field, place: usize, vocabulary: &Vocabulary, (n, parts): (usize, usize), length: usize) -> Value {
    let middle = middle(vocabulary, (n, parts));
    let part = n as f32 / parts as f32 - 0.5; // -0.5 ..= 0.5
    match (&field.kind, field.transforms.first()) {
        (_, Some(Transform::Time { .. })) => {
            json!(format!("2024-03-{:02} 12:00:00", n % 28 + usize::from(n % 28 == 0)))
        }
        (_, Some(Transform::Ago)) if place == 1 => json!(100),
        (_, Some(Transform::Ago)) => {
            let times = (0..length).map(|k| 90 + k * n);
            match &field.separator {
                Some(separator) => json!(times.map(|time| time.to_string()).collect::<Vec<_>>().join(separator)),
                None => json!(times.collect::<Vec<_>>()),
            }
        }
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
        (FieldKind::Number { mean, std }, None) => json!(mean + 4.0 * part * std),
        (FieldKind::Number { .. }, Some(_)) => json!(1),
        (FieldKind::Vector { len }, _) => json!(vec![part; *len]),
        (FieldKind::Sequence { .. }, _) => {
            let places = (middle..middle + length).map(|place| place.min(vocabulary.len().saturating_sub(1)));
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
