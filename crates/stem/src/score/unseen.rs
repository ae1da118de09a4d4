//! Values that training did not see: a column in which nearly all are is written otherwise than it was in training.

use std::collections::BTreeMap;

use stem_core::{Batch, Field, FieldKind, Row, Schema, Value, Vocabulary};
use stem_report::report::count;

/// Values of a field that are judged at least.
const LEAST: u64 = 100;

/// How many values each field had, and how many of them were unseen. Null is no value.
pub(super) struct Unseen {
    fields: Vec<(String, Seen)>,
}

#[derive(Default)]
struct Seen {
    values: u64,
    unseen: u64,
    /// The first of them.
    example: Option<String>,
}

impl Unseen {
    pub(super) fn new(schema: &Schema) -> Self {
        Self { fields: schema.fields.iter().map(|field| (field.name.clone(), Seen::default())).collect() }
    }

    /// Counts the values of rows, and of the same rows as ids.
    pub(super) fn see(&mut self, schema: &Schema, vocabularies: &[Vocabulary], rows: &[Row], batch: &Batch) {
        let (slots, offsets) = (schema.slots(), schema.offsets());
        let fields = self.fields.iter_mut().zip(&schema.fields).zip(schema.slot_ranges());
        for (((_, seen), field), range) in fields.filter(|((_, field), _)| field.kind.has_keys()) {
            let padding = offsets[field.vocabulary];
            let unseen = padding + vocabularies[field.vocabulary].unseen();
            for (row, ids) in rows.iter().zip(batch.ids.chunks_exact(slots)) {
                let ids = ids[range.clone()].iter().filter(|id| **id != padding).enumerate();
                let may_be_null = field.default.is_some() || ids.clone().any(|(_, id)| *id == unseen);
                let mut raw = field.columns().iter().filter_map(|column| row.get(column));
                let value = if may_be_null { raw.clone().next() } else { None };
                if may_be_null && raw.any(|value| schema.is_null(value)) {
                    continue;
                }
                for (place, id) in ids {
                    seen.values += 1;
                    if let (true, Some(value)) = (*id == unseen, value) {
                        seen.unseen += 1;
                        seen.example.get_or_insert_with(|| piece(field, value, place));
                    }
                }
            }
        }
    }

    /// Values of each field with a vocabulary, and how many of them were unseen.
    pub(super) fn counts(&self) -> (BTreeMap<&str, u64>, BTreeMap<&str, u64>) {
        let counts = |count: fn(&Seen) -> u64| self.fields.iter().map(move |(name, seen)| (name.as_str(), count(seen)));
        (counts(|seen| seen.values).collect(), counts(|seen| seen.unseen).collect())
    }

    /// The fields that are nearly all unseen.
    pub(super) fn warnings(&self, schema: &Schema, vocabularies: &[Vocabulary]) -> impl Iterator<Item = String> {
        let fields = self.fields.iter().zip(&schema.fields);
        let judged = fields.filter(|((_, seen), field)| {
            seen.values >= LEAST && 2 * seen.unseen > seen.values && !vocabularies[field.vocabulary].is_empty()
        });
        judged.map(|((name, Seen { values, unseen, example }), field)| {
            let share = 100 * unseen / values;
            let example = example.as_deref().unwrap_or_default();
            let question = match (&field.kind, &field.separator) {
                (FieldKind::Sequence { .. }, Some(_)) => "is the separator right?",
                _ => "are they written as in training?",
            };
            format!(
                "field '{name}': {share} % of the {} values are unseen (for instance {example}): {question}",
                count(*values)
            )
        })
    }
}

/// The value of a slot, as messages show it.
fn piece(field: &Field, value: &Value, place: usize) -> String {
    match (value, &field.separator) {
        (Value::Text(text), Some(separator)) => {
            let piece = text.split(separator.as_str()).filter(|piece| !piece.is_empty()).nth(place);
            format!("\"{}\"", piece.unwrap_or(text))
        }
        (Value::List(values), _) => {
            let values = values.iter().filter(|value| !matches!(value, Value::Null) && **value != Value::from(""));
            values.clone().nth(place).unwrap_or(value).to_string()
        }
        (value, _) => value.to_string(),
    }
}
