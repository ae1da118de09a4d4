//! A request by columns: rows that share the values of some columns, as one user has many candidates.

mod cells;

use std::borrow::Cow;
use std::mem::replace;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::featurize::{check_beside, encode_field};
use crate::schema::{Field, FieldKind, Schema};
use crate::value::Value;
use crate::value_ref::ValueRef;
use crate::vocabulary::Vocabulary;

pub use cells::Cells;

/// Values of rows by column; what all rows share is there once. Nothing of what is borrowed is copied.
///
/// ```no_run
/// use stem_core::{Columns, DeviceSpec, Predictor};
///
/// let predictor = Predictor::open("bundle.safetensors", &DeviceSpec::default().open()?)?;
/// let (items, prices) = ([21i64, 22], [9.5f32, 0.5]);
/// let candidates = Columns::new(2).shared("user", 7).column("item", &items[..]).column("price", &prices[..]);
/// let scores = predictor.score(&predictor.encode_columns(&candidates)?)?;
/// # Ok::<(), stem_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns<'a> {
    rows: usize,
    columns: Vec<(Cow<'a, str>, Column<'a>)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Column<'a> {
    /// Of every row.
    Shared(Value),
    /// Of every row, where it lies.
    Lent(ValueRef<'a>),
    /// Of each row its own. `[B]`
    Each(Cells<'a>),
}

impl Column<'_> {
    fn get(&self, row: usize) -> Option<ValueRef<'_>> {
        match self {
            Self::Shared(value) => Some(value.into()),
            Self::Lent(value) => Some(*value),
            Self::Each(cells) => cells.get(row),
        }
    }

    fn is_shared(&self) -> bool {
        !matches!(self, Self::Each(_))
    }
}

impl<'a> Columns<'a> {
    /// Rows without values.
    pub fn new(rows: usize) -> Self {
        Self { rows, columns: Vec::new() }
    }

    /// Adds a column that has one value in all rows.
    #[must_use]
    pub fn shared(mut self, column: impl Into<Cow<'a, str>>, value: impl Into<Value>) -> Self {
        self.columns.push((column.into(), Column::Shared(value.into())));
        self
    }

    /// The same of a value that lies elsewhere: a text, a slice that is a list.
    #[must_use]
    pub fn shared_ref(mut self, column: impl Into<Cow<'a, str>>, value: impl Into<ValueRef<'a>>) -> Self {
        self.columns.push((column.into(), Column::Lent(value.into())));
        self
    }

    /// Adds a column with a value for each row. One that has more or fewer is refused when the rows are looked up.
    #[must_use]
    pub fn column(mut self, column: impl Into<Cow<'a, str>>, values: impl Into<Cells<'a>>) -> Self {
        self.columns.push((column.into(), Column::Each(values.into())));
        self
    }

    /// `B`
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The value of a column in a row, if the rows have that column.
    pub fn get(&self, row: usize, column: &str) -> Option<ValueRef<'_>> {
        self.find(column)?.get(row)
    }

    /// Whether all rows have one value there.
    pub fn is_shared(&self, column: &str) -> bool {
        self.find(column).is_some_and(Column::is_shared)
    }

    fn find(&self, column: &str) -> Option<&Column<'a>> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, column)| column)
    }
}

/// Looks every field of every row up, field by field.
pub(crate) fn encode_columns(schema: &Schema, vocabularies: &[Vocabulary], columns: &Columns<'_>) -> Result<Batch> {
    let (mut ids, mut weights) = (Vec::new(), Vec::new());
    encode_columns_into((schema, &schema.offsets()), vocabularies, columns, (&mut ids, &mut weights))?;
    Ok(Batch::new(columns.rows(), ids, weights))
}

/// The same into vectors that are there, whatever is in them; `offsets` are the schema's. `[B, S]` each
pub(crate) fn encode_columns_into(
    (schema, offsets): (&Schema, &[u32]),
    vocabularies: &[Vocabulary],
    columns: &Columns<'_>,
    (ids, weights): (&mut Vec<u32>, &mut Vec<f32>),
) -> Result<()> {
    let (slots, rows) = (schema.slots(), columns.rows());
    for (name, column) in &columns.columns {
        if let Column::Each(cells) = column
            && cells.len() != rows
        {
            return Err(Error::Length { column: name.to_string(), found: cells.len(), expected: rows });
        }
    }
    ids.resize(rows * slots, 0); // every slot is written below
    weights.resize(rows * slots, 0.0);
    let find = |column: &str| {
        columns.find(column).ok_or_else(|| {
            let columns = schema.columns().join(", ");
            Error::MissingColumn { column: column.into(), row: 0, columns }
        })
    };
    let fields = || {
        let ends = schema.fields.iter().scan(0, |end, field| {
            let start = replace(end, *end + field.kind.slots());
            Some((field, start..*end))
        });
        ends.map(|(field, range)| (field, range, (&vocabularies[field.vocabulary], offsets[field.vocabulary])))
    };
    let is_shared = |field: &Field| {
        field.columns().iter().try_fold(true, |all, column| Ok::<_, Error>(find(column)?.is_shared() && all))
    };
    for (field, range, keys) in fields() {
        if is_shared(field)? && rows > 0 {
            let get = |column: &str| columns.find(column)?.get(0);
            encode_field((schema, field), keys, get, 0, (&mut ids[range.clone()], &mut weights[range]))?;
        }
    }
    for row in 1..rows {
        ids.copy_within(..slots, row * slots); // what is not shared is written below
        weights.copy_within(..slots, row * slots);
    }
    for (field, range, (vocabulary, offset)) in fields() {
        if is_shared(field)? {
            continue;
        }
        let only = match field.columns() {
            [column] => Some(find(column)?), // found once, not for each row
            _ => None,
        };
        if let (FieldKind::Category, [], Vocabulary::Integers(_)) = (&field.kind, &field.transforms[..], vocabulary)
            && let Some(Column::Each(cells)) = only
            && let Some(sought) = cells.integers()
        {
            vocabulary.ids_of_integers(sought, |row, id| {
                let slot = row * slots + range.start;
                (ids[slot], weights[slot]) = (offset + id, 1.0);
            });
            continue;
        }
        for row in 0..rows {
            let own = row * slots + range.start..row * slots + range.end;
            let get = |column: &str| only.or_else(|| columns.find(column))?.get(row);
            let keys = (vocabulary, offset);
            encode_field((schema, field), keys, get, row, (&mut ids[own.clone()], &mut weights[own]))?;
        }
    }
    check_beside(schema, weights, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::featurize::encode_rows;
    use crate::schema::{Field, Task, VocabularySpec};
    use crate::transform::{KeyKind, Transform};
    use crate::value::Row;

    fn schema() -> Schema {
        let cross = Field::category("pair", 2)
            .reading(["user", "site"])
            .transformed(Transform::Cross { keys: vec![KeyKind::Integers, KeyKind::Texts] });
        let fields = vec![Field::category("user", 0), Field::sequence("tags", 1, 2).separated_by("|"), cross];
        let sizes = [("user", 4), ("tags", 5)].map(|(name, rows)| VocabularySpec::new(name, rows));
        let hashed = VocabularySpec::hashed("pair", 7, KeyKind::Texts);
        let specs = sizes.into_iter().chain([hashed]).collect();
        Schema::new(fields, specs, vec![Task::new("like")])
    }

    fn vocabularies() -> Vec<Vocabulary> {
        let hashed = Vocabulary::Hashed { buckets: 7, keys: KeyKind::Texts };
        vec![Vocabulary::integers([10, 20]), Vocabulary::texts(["a", "b", "c"]), hashed]
    }

    #[test]
    fn columns_give_the_ids_and_weights_of_rows_that_hold_all_values_themselves() {
        let (schema, vocabularies) = (schema(), vocabularies());
        let sites = ["x", "y", "x"];
        let rows: Vec<Row> =
            sites.iter().map(|site| Row::new().with("user", 20).with("tags", "c|b|a").with("site", *site)).collect();
        let columns = Columns::new(3).shared("user", 20).shared("tags", "c|b|a").column("site", &sites[..]);
        let expected = encode_rows(&schema, &vocabularies, &rows).unwrap();
        assert_eq!(encode_columns(&schema, &vocabularies, &columns).unwrap(), expected);
        assert_eq!((columns.get(1, "site"), columns.get(1, "user")), (Some("y".into()), Some(20.into())));
        assert!(encode_columns(&schema, &vocabularies, &Columns::new(0)).is_err(), "no rows have no columns either");
    }

    #[test]
    fn borrowed_values_have_the_ids_of_values_of_ones_own() {
        let (schema, vocabularies) = (schema(), vocabularies());
        let (users, tags, ends) = ([10i64, 30, 20], ["c", "b", "zz", "a"], [2, 2, 4]);
        let lent = Columns::new(3)
            .column("user", &users[..])
            .column("tags", Cells::lists(&tags[..], &ends[..]))
            .shared_ref("site", "x");
        let rows = [vec!["c", "b"], vec![], vec!["zz", "a"]].into_iter().zip(users);
        let rows: Vec<Row> =
            rows.map(|(tags, user)| Row::new().with("user", user).with("tags", tags).with("site", "x")).collect();
        let expected = encode_rows(&schema, &vocabularies, &rows).unwrap();
        assert_eq!(encode_columns(&schema, &vocabularies, &lent).unwrap(), expected);
        let (mut ids, mut weights) = (vec![9; 100], vec![9.0; 1]);
        encode_columns_into((&schema, &schema.offsets()), &vocabularies, &lent, (&mut ids, &mut weights)).unwrap();
        assert_eq!((ids, weights), (expected.ids, expected.weights), "whatever was in them before");
    }

    #[test]
    fn errors_name_column_and_row() {
        let (schema, vocabularies) = (schema(), vocabularies());
        let columns = Columns::new(2)
            .shared("site", "x")
            .shared("tags", Value::Null)
            .column("user", vec![Value::from(10), "ten".into()]);
        let message = encode_columns(&schema, &vocabularies, &columns).unwrap_err().to_string();
        assert_eq!(message, "column 'user', row 1: expected an integer, found \"ten\"");
        let short = Columns::new(3).shared("site", "x").shared("tags", Value::Null).column("user", &[10i64, 20][..]);
        let message = encode_columns(&schema, &vocabularies, &short).unwrap_err().to_string();
        assert_eq!(message, "column 'user' has 2 values, there are 3 rows");
        let message = encode_columns(&schema, &vocabularies, &Columns::new(2)).unwrap_err().to_string();
        assert_eq!(message, "row 0 has no column 'user'; the model reads: user, tags, site");
    }
}
