//! Raw rows to a batch: the same ids and weights that the training data were encoded to.

use std::borrow::Cow;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::schema::{Field, FieldKind, Keep, Schema};
use crate::transform::{Transform, number_of};
use crate::value::{Row, Value};
use crate::vocabulary::{PADDING, Vocabulary};

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
            let (offset, vocabulary) = (offsets[field.vocabulary], &vocabularies[field.vocabulary]);
            encode_field(
                schema,
                field,
                vocabulary,
                |column| row.get(column),
                index,
                |id, weight| {
                    batch.ids.push(offset + id);
                    batch.weights.push(weight);
                },
            )?;
        }
    }
    Ok(batch)
}

/// The slots of a field in a row: local ids and weights, exactly as many as the field has.
pub(crate) fn encode_field<'v>(
    schema: &Schema,
    field: &'v Field,
    vocabulary: &Vocabulary,
    get: impl Fn(&str) -> Option<&'v Value>,
    index: usize,
    mut slot: impl FnMut(u32, f32),
) -> Result<()> {
    let value = prepared(schema, field, get, index)?;
    match &field.kind {
        FieldKind::Category => slot(vocabulary.id_of(&value, &field.name, index)?, 1.0),
        FieldKind::Number { .. } => slot(0, number(&value, field, index)?),
        FieldKind::Vector { len } => {
            let weights = vector(&value, field, *len, index)?;
            (0..).zip(weights).for_each(|(component, weight)| slot(component, weight));
        }
        FieldKind::Sequence { max_len, pooling, keep } => {
            let ids = sequence(&value, field, vocabulary, (*keep, *max_len), index)?;
            let weight = pooling.weight(ids.len());
            ids.iter().for_each(|&id| slot(id, weight));
            (ids.len()..*max_len).for_each(|_| slot(PADDING, 0.0));
        }
    }
    Ok(())
}

/// The value of a field in a row, after its transforms; of a sequence and a vector the raw one, whose values are transformed one by
/// one. Null where nothing is left and nothing stands in for it.
fn prepared<'r>(
    schema: &Schema,
    field: &'r Field,
    get: impl Fn(&str) -> Option<&'r Value>,
    index: usize,
) -> Result<Cow<'r, Value>> {
    let value_of = |column: &str| {
        let columns = || schema.columns().join(", ");
        get(column).ok_or_else(|| Error::MissingColumn { column: column.into(), row: index, columns: columns() })
    };
    let raw = match field.columns() {
        [column] => match value_of(column)? {
            value if schema.is_null(value) => Cow::Owned(Value::Null),
            value => Cow::Borrowed(value),
        },
        columns => {
            let values = columns.iter().map(|column| match value_of(column)? {
                value if schema.is_null(value) => Ok(Value::Null),
                value => Ok(value.clone()),
            });
            Cow::Owned(Value::List(values.collect::<Result<_>>()?))
        }
    };
    let one_by_one = matches!(field.kind, FieldKind::Sequence { .. } | FieldKind::Vector { .. });
    let transformed = |value: Cow<'r, Value>| match field.transforms.is_empty() || one_by_one {
        true => Ok(value),
        false => transformed(field, value.into_owned(), index).map(Cow::Owned),
    };
    match (transformed(raw)?, &field.default) {
        (value, Some(default)) if *value == Value::Null => transformed(Cow::Borrowed(default)),
        (value, _) => Ok(value),
    }
}

fn transformed(field: &Field, value: Value, row: usize) -> Result<Value> {
    Transform::all(&field.transforms, value.clone()).map_err(|expected| wrong(field, row, expected, &value))
}

fn wrong(field: &Field, row: usize, expected: &'static str, found: &Value) -> Error {
    Error::WrongType { column: field.columns().join(", "), row, expected, found: found.to_string() }
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
    if is_null(value) {
        return Ok(0.0);
    }
    let number = number_of(value).map_err(|expected| wrong(field, row, expected, value))?;
    let weight = field.kind.number_weight(number);
    if weight.is_finite() { Ok(weight) } else { Err(wrong(field, row, "a number that 32 bits can hold", value)) }
}

/// The values of a list, of a text that a separator cuts, or of one that holds a list as JSON writes it.
fn values_of<'v>(value: &'v Value, field: &Field, row: usize) -> Result<Vec<Cow<'v, Value>>> {
    Ok(match (value, &field.separator) {
        (Value::Null, _) => vec![],
        (Value::List(values), _) => values.iter().map(Cow::Borrowed).collect(),
        (Value::Text(text), Some(separator)) => {
            text.split(separator.as_str()).map(|piece| Cow::Owned(Value::Text(piece.into()))).collect()
        }
        (Value::Text(text), None) => match serde_json::from_str(text) {
            Ok(Value::List(values)) => values.into_iter().map(Cow::Owned).collect(),
            _ => return Err(wrong(field, row, "a list, as JSON writes it ([1, 2], [\"a\", \"b\"])", value)),
        },
        (single, _) => vec![Cow::Borrowed(single)],
    })
}

/// Local ids of the first or last `max_len` values of a sequence. Nulls and empty pieces are left out.
fn sequence<'v>(
    value: &'v Value,
    field: &Field,
    vocabulary: &Vocabulary,
    (keep, max_len): (Keep, usize),
    row: usize,
) -> Result<Vec<u32>> {
    let is_one = field.separator.is_none() && field.default.as_ref() == Some(value); // a default is one value, as in training
    let mut values = if is_one { vec![Cow::Borrowed(value)] } else { values_of(value, field, row)? };
    if keep == Keep::Last {
        values.reverse();
    }
    let transform = |value: Cow<'v, Value>| match field.transforms.is_empty() {
        true => Ok(value),
        false => transformed(field, value.into_owned(), row).map(Cow::Owned),
    };
    let values = values.into_iter().filter(|value| !is_null(value)).map(transform);
    let values = values.filter(|value| !value.as_ref().is_ok_and(|value| is_null(value))).take(max_len);
    let mut ids = values.map(|value| vocabulary.id_of(&*value?, &field.name, row)).collect::<Result<Vec<u32>>>()?;
    if keep == Keep::Last {
        ids.reverse();
    }
    Ok(ids)
}

/// The weights of a vector's slots, all 0 for null.
fn vector(value: &Value, field: &Field, len: usize, row: usize) -> Result<Vec<f32>> {
    if is_null(value) {
        return Ok(vec![0.0; len]);
    }
    let values = values_of(value, field, row)?;
    if values.len() != len {
        let expected = "a list of as many numbers as the model was trained with";
        let (column, found) = (field.columns().join(", "), format!("{} of {len}", values.len()));
        return Err(Error::WrongType { column, row, expected, found });
    }
    let weight = |value: &Value| {
        let number = number_of(value).map_err(|expected| wrong(field, row, expected, value))? as f32;
        if number.is_finite() { Ok(number) } else { Err(wrong(field, row, "a number that 32 bits can hold", value)) }
    };
    values.iter().map(|value| weight(value)).collect()
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
    fn a_cross_of_nothing_is_null_and_so_is_a_vector_of_nothing() {
        let mut cross = Field::category("page", 0);
        cross.columns = vec!["site".into(), "slot".into()];
        cross.transforms = vec![Transform::Cross { keys: vec![crate::transform::KeyKind::Texts; 2] }];
        let vector = Field::vector("image", 1, 2);
        let mut schema = Schema::new(
            vec![cross, vector],
            vec![VocabularySpec::new("page", 4), VocabularySpec::new("image", 2)],
            vec![Task::new("like")],
        );
        schema.null_values = vec!["NA".into()];
        let of = |site: &str, image: Value| {
            let keys =
                [Vocabulary::Hashed { buckets: 2, keys: crate::transform::KeyKind::Texts }, Vocabulary::Vector(2)];
            let row = Row::new().with("site", site).with("slot", "top").with("image", image);
            encode_rows(&schema, &keys, &[row])
        };
        let known = of("a", vec![0.5, -2.0].into()).unwrap();
        assert!((1..=2).contains(&known.ids[0]), "{known:?}");
        assert_eq!((&known.ids[1..], &known.weights[..]), (&[4, 5][..], &[1.0, 0.5, -2.0][..]));
        let unknown = of("NA", Value::Null).unwrap();
        assert_eq!((unknown.ids, unknown.weights), (vec![3, 4, 5], vec![1.0, 0.0, 0.0]));
        let message = of("a", vec![0.5].into()).unwrap_err().to_string();
        assert_eq!(
            message,
            "column 'image', row 0: expected a list of as many numbers as the model was trained with, found 1 of 2"
        );
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
