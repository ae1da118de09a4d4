//! Raw rows to a batch: the same ids and weights that the training data were encoded to.

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::schema::{Field, FieldKind, Keep, Schema};
use crate::transform::{Transform, number_of};
use crate::value::{Row, Value};
use crate::value_ref::ValueRef;
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
    let (mut ids, mut weights) = (vec![0; rows.len() * slots], vec![0.0; rows.len() * slots]);
    let cells = ids.chunks_exact_mut(slots.max(1)).zip(weights.chunks_exact_mut(slots.max(1)));
    for ((index, row), (ids, weights)) in (first..).zip(rows).zip(cells) {
        for (field, range) in schema.fields.iter().zip(schema.slot_ranges()) {
            let (offset, vocabulary) = (offsets[field.vocabulary], &vocabularies[field.vocabulary]);
            let own = (&mut ids[range.clone()], &mut weights[range]);
            encode_field((schema, field), (vocabulary, offset), |column| row.get(column).map(Into::into), index, own)?;
        }
    }
    check_beside(schema, &weights, first)?;
    Ok(Batch::new(rows.len(), ids, weights))
}

/// Refuses a row in which a sequence does not have a value for each value of the one that it stands beside. `weights [B, S]`; errors count from
/// row `first`.
pub(crate) fn check_beside(schema: &Schema, weights: &[f32], first: usize) -> Result<()> {
    for (place, field) in schema.fields.iter().enumerate() {
        let Some(of) = &field.beside else { continue };
        let Some(other) = schema.fields.iter().position(|other| other.name == *of) else { continue }; // it was checked to be there
        let (slots, ranges) = (schema.slots(), schema.slot_ranges());
        for (row, weights) in (first..).zip(weights.chunks_exact(slots.max(1))) {
            let there = |field: usize| weights[ranges[field].clone()].iter().filter(|weight| **weight != 0.0).count();
            let (found, expected) = (there(place), there(other));
            if found != expected {
                return Err(Error::Beside { field: field.name.clone(), row, found, of: of.clone(), expected });
            }
        }
    }
    Ok(())
}

/// The slots of a field in a row: ids in the table, of which the vocabulary's begin at `offset`, and weights. `[S_f]` each
pub(crate) fn encode_field<'v>(
    (schema, field): (&Schema, &'v Field),
    (vocabulary, offset): (&Vocabulary, u32),
    get: impl Fn(&str) -> Option<ValueRef<'v>>,
    index: usize,
    (ids, weights): (&mut [u32], &mut [f32]),
) -> Result<()> {
    let prepared = prepared(schema, field, &get, index)?;
    let value = prepared.get();
    match &field.kind {
        FieldKind::Category => {
            (ids[0], weights[0]) = (offset + vocabulary.id_of(value, &field.name, index)?, 1.0);
        }
        FieldKind::Number { .. } => (ids[0], weights[0]) = (offset, number(value, field, index)?),
        FieldKind::Vector { .. } => {
            (offset..).zip(&mut *ids).for_each(|(component, id)| *id = component);
            vector(value, field, index, weights)?;
        }
        FieldKind::Sequence { pooling, keep, .. } => {
            let moment = match field.columns() {
                [_, moment] if is_ago(field) => Some((moment.as_str(), raw(schema, &get, moment, index)?)),
                _ => None,
            };
            let there = sequence(value, (field, moment), (vocabulary, offset), *keep, index, ids)?;
            weights[..there].fill(pooling.weight(there));
            ids[there..].fill(offset + PADDING);
            weights[there..].fill(0.0);
        }
    }
    Ok(())
}

/// A value as it lies, or one that was made of it.
enum Prepared<'r> {
    Lent(ValueRef<'r>),
    Made(Value),
}

impl Prepared<'_> {
    fn get(&self) -> ValueRef<'_> {
        match self {
            Self::Lent(value) => *value,
            Self::Made(value) => value.into(),
        }
    }
}

/// The value of a column in a row; null of what stands for it.
fn raw<'r>(
    schema: &Schema,
    get: impl Fn(&str) -> Option<ValueRef<'r>>,
    column: &str,
    row: usize,
) -> Result<ValueRef<'r>> {
    match get(column) {
        Some(value) if schema.is_null(value) => Ok(ValueRef::Null),
        Some(value) => Ok(value),
        None => Err(Error::MissingColumn { column: column.into(), row, columns: schema.columns().join(", ") }),
    }
}

/// Whether the values of a sequence are told by how long before the row they were.
fn is_ago(field: &Field) -> bool {
    field.transforms.first() == Some(&Transform::Ago)
}

/// The value of a field in a row, after its transforms; of a sequence and a vector the raw one, whose values are transformed one by
/// one. Null where nothing is left and nothing stands in for it.
fn prepared<'r>(
    schema: &Schema,
    field: &'r Field,
    get: impl Fn(&str) -> Option<ValueRef<'r>>,
    index: usize,
) -> Result<Prepared<'r>> {
    let value_of = |column: &str| raw(schema, &get, column, index);
    let raw = match field.columns() {
        [column] => Prepared::Lent(value_of(column)?),
        [times, _] if is_ago(field) => Prepared::Lent(value_of(times)?),
        columns => {
            let values = columns.iter().map(|column| value_of(column).map(ValueRef::to_value));
            Prepared::Made(Value::List(values.collect::<Result<_>>()?))
        }
    };
    let one_by_one = matches!(field.kind, FieldKind::Sequence { .. } | FieldKind::Vector { .. });
    let after = |value: Prepared<'r>| match field.transforms.is_empty() || one_by_one {
        true => Ok(value),
        false => transformed(field, value.get().to_value(), index).map(Prepared::Made),
    };
    match (after(raw)?, &field.default) {
        (value, Some(default)) if value.get() == ValueRef::Null => after(Prepared::Lent(default.into())),
        (value, _) => Ok(value),
    }
}

fn transformed(field: &Field, value: Value, row: usize) -> Result<Value> {
    Transform::all(&field.transforms, value.clone()).map_err(|expected| wrong(field, row, expected, (&value).into()))
}

fn wrong(field: &Field, row: usize, expected: &'static str, found: ValueRef<'_>) -> Error {
    Error::WrongType { column: field.columns().join(", "), row, expected, found: found.to_string() }
}

/// The weight of a number's slot, 0 for null.
fn number(value: ValueRef<'_>, field: &Field, row: usize) -> Result<f32> {
    if value.is_null() {
        return Ok(0.0);
    }
    let number = number_of(value).map_err(|expected| wrong(field, row, expected, value))?;
    let weight = field.kind.number_weight(number);
    if weight.is_finite() { Ok(weight) } else { Err(wrong(field, row, "a number that 32 bits can hold", value)) }
}

/// Gives `take` the values of a list, of a text that a separator cuts, or of one that holds a list as JSON writes it, one after another or
/// from the last to the first, until it has enough.
fn each_value(
    value: ValueRef<'_>,
    (field, row): (&Field, usize),
    keep: Keep,
    mut take: impl FnMut(ValueRef<'_>) -> Result<Enough>,
) -> Result<()> {
    let mut until = |values: &mut dyn Iterator<Item = ValueRef<'_>>| {
        for value in values {
            if take(value)? == Enough::Yes {
                break;
            }
        }
        Ok(())
    };
    let is_first = keep == Keep::First;
    match (value, &field.separator) {
        (ValueRef::Null, _) => Ok(()),
        (ValueRef::List(values), _) if is_first => until(&mut values.iter()),
        (ValueRef::List(values), _) => until(&mut values.iter().rev()),
        (ValueRef::Text(text), Some(separator)) => {
            let pieces = || text.split(separator.as_str()).map(ValueRef::Text);
            match is_first {
                true => until(&mut pieces()),
                false if separator.len() == 1 => until(&mut text.rsplit(separator.as_str()).map(ValueRef::Text)),
                false => until(&mut pieces().collect::<Vec<_>>().into_iter().rev()), // from the right a separator may cut elsewhere
            }
        }
        (ValueRef::Text(text), None) => match serde_json::from_str(text) {
            Ok(Value::List(values)) if is_first => until(&mut values.iter().map(ValueRef::from)),
            Ok(Value::List(values)) => until(&mut values.iter().rev().map(ValueRef::from)),
            _ => Err(wrong(field, row, "a list, as JSON writes it ([1, 2], [\"a\", \"b\"])", value)),
        },
        (single, _) => until(&mut std::iter::once(single)),
    }
}

/// Whether more values are wanted.
#[derive(PartialEq, Eq)]
enum Enough {
    Yes,
    No,
}

/// Writes the ids of the first or last values of a sequence, as many as there is room for, and gives their number. Nulls and empty pieces
/// are left out. `moment` is the row's time and its column, where values are told by how long before it they were.
fn sequence(
    value: ValueRef<'_>,
    (field, moment): (&Field, Option<(&str, ValueRef<'_>)>),
    (vocabulary, offset): (&Vocabulary, u32),
    keep: Keep,
    row: usize,
    ids: &mut [u32],
) -> Result<usize> {
    let mut there = 0;
    let mut take = |value: ValueRef<'_>| {
        if there == ids.len() {
            return Ok(Enough::Yes);
        }
        if value.is_null() {
            return Ok(Enough::No);
        }
        let made = match (field.transforms.is_empty(), moment) {
            (true, _) => Prepared::Lent(value),
            (false, None) => Prepared::Made(transformed(field, value.to_value(), row)?),
            (false, Some((column, moment))) => {
                let expected = "a number, for the values of a list are told by how long before it they were";
                number_of(moment).map_err(|_| Error::WrongType {
                    column: column.into(),
                    row,
                    expected,
                    found: moment.to_string(),
                })?;
                let both = Value::List(vec![value.to_value(), moment.to_value()]);
                let made = Transform::all(&field.transforms, both);
                Prepared::Made(made.map_err(|expected| wrong(field, row, expected, value))?)
            }
        };
        if !made.get().is_null() {
            ids[there] = offset + vocabulary.id_of(made.get(), &field.name, row)?;
            there += 1;
        }
        Ok(Enough::No)
    };
    match &field.default {
        // a default is one value, as in training
        Some(default) if field.separator.is_none() && ValueRef::from(default) == value => {
            take(value)?;
        }
        _ => each_value(value, (field, row), keep, take)?,
    }
    if keep == Keep::Last {
        ids[..there].reverse();
    }
    Ok(there)
}

/// Writes the weights of a vector's slots, all 0 for null.
fn vector(value: ValueRef<'_>, field: &Field, row: usize, weights: &mut [f32]) -> Result<()> {
    if value.is_null() {
        weights.fill(0.0);
        return Ok(());
    }
    let (mut found, mut fault) = (0, None);
    let weight = |value: ValueRef<'_>| {
        let number = number_of(value).map_err(|expected| wrong(field, row, expected, value))? as f32;
        if number.is_finite() { Ok(number) } else { Err(wrong(field, row, "a number that 32 bits can hold", value)) }
    };
    each_value(value, (field, row), Keep::First, |value| {
        match (weights.get_mut(found), weight(value)) {
            (Some(place), Ok(weight)) => *place = weight,
            (Some(_), Err(error)) => drop(fault.get_or_insert(error)),
            (None, _) => {}
        }
        found += 1;
        Ok(Enough::No)
    })?;
    if found != weights.len() {
        let expected = "a list of as many numbers as the model was trained with";
        let (column, found) = (field.columns().join(", "), format!("{found} of {}", weights.len()));
        return Err(Error::WrongType { column, row, expected, found });
    }
    fault.map_or(Ok(()), Err)
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
