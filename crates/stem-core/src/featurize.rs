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
    encode_part(schema, vocabularies, rows, 0)
}

/// Rows of a larger request: errors count from its row `first`.
pub(crate) fn encode_part(schema: &Schema, vocabularies: &[Vocabulary], rows: &[Row], first: usize) -> Result<Batch> {
    let (slots, offsets) = (schema.slots(), schema.offsets());
    let mut batch = Batch { rows: rows.len(), ..Batch::default() };
    batch.ids.reserve(rows.len() * slots);
    batch.weights.reserve(rows.len() * slots);
    for (index, row) in (first..).zip(rows) {
        for field in &schema.fields {
            let value = row.get(&field.name).ok_or_else(|| Error::MissingColumn {
                column: field.name.clone(),
                row: index,
                columns: schema.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>().join(", "),
            })?;
            let value = match (value, &field.default) {
                (value, Some(default)) if schema.is_null(value) => default,
                (value, _) if schema.is_null(value) => &Value::Null,
                (value, _) => value,
            };
            let mut slot = |id: u32, weight: f32| {
                batch.ids.push(offsets[field.vocabulary] + id);
                batch.weights.push(weight);
            };
            let vocabulary = &vocabularies[field.vocabulary];
            match &field.kind {
                FieldKind::Category => slot(vocabulary.id_of(value, &field.name, index)?, 1.0),
                FieldKind::Number { .. } => {
                    slot(0, number(value, field, index)?);
                }
                FieldKind::Sequence { max_len, pooling } => {
                    let is_one = field.separator.is_none() && field.default.as_ref() == Some(value);
                    let ids = match is_one {
                        true => vec![vocabulary.id_of(value, &field.name, index)?], // a default is one value, as in training
                        false => sequence(value, field, vocabulary, *max_len, index)?,
                    };
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
fn is_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        _ => false,
    }
}

/// The weight of a number's slot, 0 for null.
fn number(value: &Value, field: &Field, row: usize) -> Result<f32> {
    let number = match value {
        Value::Null => return Ok(0.0),
        Value::Integer(v) => Some(*v as f64),
        Value::Float(v) => Some(*v),
        Value::Text(v) => v.trim().parse().ok().or_else(|| integer_key(v).map(|v| v as f64)),
        Value::List(_) => None,
    };
    let wrong = |expected| Error::WrongType { column: field.name.clone(), row, expected, found: value.to_string() };
    let number = number.filter(|v| v.is_finite()).ok_or_else(|| wrong("a finite number"))?;
    let weight = field.kind.number_weight(number);
    if weight.is_finite() { Ok(weight) } else { Err(wrong("a number that 32 bits can hold")) }
}

/// Local ids of the first `max_len` values. Text is cut at the field's separator; nulls and empty pieces are left out.
fn sequence(value: &Value, field: &Field, vocabulary: &Vocabulary, max_len: usize, row: usize) -> Result<Vec<u32>> {
    let id = |value: &Value| vocabulary.id_of(value, &field.name, row);
    match (value, &field.separator) {
        (Value::Null, _) => Ok(Vec::new()),
        (Value::List(values), _) => values.iter().filter(|v| !is_null(v)).take(max_len).map(id).collect(),
        (Value::Text(text), Some(separator)) => text
            .split(separator.as_str())
            .filter(|piece| !piece.is_empty())
            .take(max_len)
            .map(|piece| id(&Value::Text(piece.into())))
            .collect(),
        (Value::Text(text), None) => match serde_json::from_str(text) {
            Ok(list @ Value::List(_)) => sequence(&list, field, vocabulary, max_len, row),
            _ => Err(Error::WrongType {
                column: field.name.clone(),
                row,
                expected: "a list, as JSON writes it ([1, 2], [\"a\", \"b\"])",
                found: value.to_string(),
            }),
        },
        (single, _) => Ok(vec![id(single)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Pooling, Task, VocabularySpec};

    /// A category, a mean of at most two texts, a number.
    fn encode(row: Row) -> Result<Batch> {
        let fields = vec![
            Field::category("user", 0),
            Field::sequence("tags", 1, 2).separated_by("|"),
            Field::number("age", 2).standardized(40.0, 10.0),
        ];
        let specs = [("user", 4), ("tags", 5), ("age", 1)].map(|(name, rows)| VocabularySpec::new(name, rows));
        let schema = Schema::new(fields, specs.into(), vec![Task::new("like")]);
        schema.check()?;
        let keys = [Vocabulary::integers([10, 20]), Vocabulary::texts(["a", "b", "c"]), Vocabulary::Number];
        let batch = encode_rows(&schema, &keys, &[row])?;
        batch.check(&schema)?;
        Ok(batch)
    }

    fn row() -> Row {
        Row::new().with("user", 10).with("tags", "a").with("age", 50)
    }

    #[test]
    fn of_more_values_than_a_sequence_takes_the_first_are_taken() {
        let ids = |tags: Value| encode(row().with("tags", tags)).unwrap().ids[1..3].to_vec();
        assert_eq!(ids("c|b|a".into()), [4 + 3, 4 + 2]);
        assert_eq!(ids(vec!["c", "", "b", "a"].into()), [4 + 3, 4 + 2]);
        assert_eq!(ids("b".into()), [4 + 2, 4]);
        assert_eq!(encode(row().with("tags", "c|b|a")).unwrap().weights[1..3], [Pooling::Mean.weight(2); 2]);
    }

    #[test]
    fn what_stood_for_null_in_training_does_in_serving() {
        let mut city = Field::category("city", 0);
        city.default = Some("Rome".into());
        let mut tags = Field::sequence("tags", 0, 2);
        tags.default = Some("Oslo".into());
        let mut schema = Schema::new(vec![city, tags], vec![VocabularySpec::new("city", 4)], vec![Task::new("like")]);
        schema.null_values = vec!["NA".into()];
        let keys = [Vocabulary::texts(["Oslo", "Rome"])];
        for null in ["NA", ""] {
            let row = Row::new().with("city", null).with("tags", null);
            assert_eq!(encode_rows(&schema, &keys, &[row]).unwrap().ids, [2, 1, 0]);
        }
    }

    #[test]
    fn a_list_in_text_is_a_list_and_other_text_is_none() {
        let schema = Schema::new(
            vec![Field::sequence("genres", 0, 3)],
            vec![VocabularySpec::new("genres", 4)],
            vec![Task::new("like")],
        );
        let keys = [Vocabulary::texts(["Drama", "War"])];
        let ids =
            |genres: Value| encode_rows(&schema, &keys, &[Row::new().with("genres", genres)]).map(|batch| batch.ids);
        assert_eq!(ids(vec!["War", "Drama"].into()).unwrap(), [2, 1, 0]);
        assert_eq!(ids("[\"War\", \"Drama\"]".into()).unwrap(), [2, 1, 0]);
        assert_eq!(ids("[]".into()).unwrap(), [0, 0, 0]);
        for text in ["War", "War|Drama", "[War", "{}"] {
            let message = ids(text.into()).unwrap_err().to_string();
            assert!(message.starts_with("column 'genres', row 0: expected a list, as JSON writes it"), "{message}");
        }
    }

    #[test]
    fn an_empty_text_is_null_for_every_kind() {
        let empty = encode(row().with("user", "").with("tags", "").with("age", "")).unwrap();
        let null = encode(["user", "tags", "age"].map(|column| (column, Value::Null)).into_iter().collect()).unwrap();
        assert_eq!(empty, null);
        assert_eq!(empty.weights, [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_number_that_32_bits_cannot_hold_is_named_with_its_column() {
        assert_eq!(encode(row()).unwrap().weights[3], 1.0);
        for (age, shown) in [(1e300, format!("{}", 1e300)), (-4e39, format!("{}", -4e39))] {
            let message = encode(row().with("age", age)).unwrap_err().to_string();
            let expected = "column 'age', row 0: expected a number that 32 bits can hold, found ";
            assert_eq!(message, format!("{expected}{shown}"));
        }
    }
}
