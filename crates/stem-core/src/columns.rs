//! A request by columns: rows that share the values of some columns, as one user has many candidates.

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::featurize::encode_field;
use crate::schema::{Field, Schema};
use crate::value::Value;
use crate::vocabulary::Vocabulary;

/// Values of rows by column; what all rows share is there once.
///
/// ```no_run
/// use stem_core::{Columns, DeviceSpec, Predictor};
///
/// let predictor = Predictor::open("bundle.safetensors", &DeviceSpec::default().open()?)?;
/// let candidates = Columns::new(2).shared("user", 7).column("item", vec![21.into(), 22.into()]);
/// let scores = predictor.score(&predictor.encode_columns(&candidates)?)?;
/// # Ok::<(), stem_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    rows: usize,
    columns: Vec<(String, Column)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Column {
    /// Of every row.
    Shared(Value),
    /// Of each row its own. `[B]`
    Each(Vec<Value>),
}

impl Column {
    fn get(&self, row: usize) -> Option<&Value> {
        match self {
            Self::Shared(value) => Some(value),
            Self::Each(values) => values.get(row),
        }
    }
}

impl Columns {
    /// Rows without values.
    pub fn new(rows: usize) -> Self {
        Self { rows, columns: Vec::new() }
    }

    /// Adds a column that has one value in all rows.
    #[must_use]
    pub fn shared(mut self, column: impl Into<String>, value: impl Into<Value>) -> Self {
        self.columns.push((column.into(), Column::Shared(value.into())));
        self
    }

    /// Adds a column with a value for each row.
    ///
    /// # Panics
    /// When it has more or fewer values than there are rows.
    #[must_use]
    pub fn column(mut self, column: impl Into<String>, values: Vec<Value>) -> Self {
        assert_eq!(values.len(), self.rows, "values of a column, and rows");
        self.columns.push((column.into(), Column::Each(values)));
        self
    }

    /// `B`
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The value of a column in a row, if the rows have that column.
    pub fn get(&self, row: usize, column: &str) -> Option<&Value> {
        self.find(column)?.get(row)
    }

    /// Whether all rows have one value there.
    pub fn is_shared(&self, column: &str) -> bool {
        matches!(self.find(column), Some(Column::Shared(_)))
    }

    fn find(&self, column: &str) -> Option<&Column> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, column)| column)
    }
}

/// Looks every field of every row up, field by field.
pub(crate) fn encode_columns(schema: &Schema, vocabularies: &[Vocabulary], columns: &Columns) -> Result<Batch> {
    let (slots, offsets, rows) = (schema.slots(), schema.offsets(), columns.rows());
    let (mut ids, mut weights) = (vec![0; rows * slots], vec![0.0; rows * slots]);
    for (field, range) in schema.fields.iter().zip(schema.slot_ranges()) {
        let (offset, vocabulary) = (offsets[field.vocabulary], &vocabularies[field.vocabulary]);
        let found = sources(schema, field, columns)?;
        let encode = |row: usize, ids: &mut [u32], weights: &mut [f32]| {
            let get = |column: &str| {
                let (_, source) = found.iter().find(|(name, _)| *name == column)?;
                source.get(row)
            };
            let mut place = 0;
            encode_field(schema, field, vocabulary, get, row, |id, weight| {
                (ids[place], weights[place]) = (offset + id, weight);
                place += 1;
            })
        };
        let is_shared = found.iter().all(|(_, source)| matches!(source, Column::Shared(_)));
        for row in 0..rows {
            let start = row * slots + range.start;
            if is_shared && row > 0 {
                ids.copy_within(range.clone(), start);
                weights.copy_within(range.clone(), start);
            } else {
                let own = start..start + range.len();
                encode(row, &mut ids[own.clone()], &mut weights[own])?;
            }
        }
    }
    Ok(Batch::new(rows, ids, weights))
}

/// The columns that a field reads.
fn sources<'a>(schema: &Schema, field: &'a Field, columns: &'a Columns) -> Result<Vec<(&'a str, &'a Column)>> {
    let find = |column: &'a String| match columns.find(column) {
        Some(source) => Ok((column.as_str(), source)),
        None => {
            let columns = schema.columns().join(", ");
            Err(Error::MissingColumn { column: column.clone(), row: 0, columns })
        }
    };
    field.columns().iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::featurize::encode_rows;
    use crate::schema::{Task, VocabularySpec};
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
        let columns = Columns::new(3)
            .shared("user", 20)
            .shared("tags", "c|b|a")
            .column("site", sites.iter().map(|site| Value::from(*site)).collect());
        let expected = encode_rows(&schema, &vocabularies, &rows).unwrap();
        assert_eq!(encode_columns(&schema, &vocabularies, &columns).unwrap(), expected);
        assert_eq!((columns.get(1, "site"), columns.get(1, "user")), (Some(&"y".into()), Some(&20.into())));
        assert!(encode_columns(&schema, &vocabularies, &Columns::new(0)).is_err(), "no rows have no columns either");
    }

    #[test]
    fn errors_name_column_and_row() {
        let (schema, vocabularies) = (schema(), vocabularies());
        let columns = Columns::new(2)
            .shared("site", "x")
            .shared("tags", Value::Null)
            .column("user", vec![10.into(), "ten".into()]);
        let message = encode_columns(&schema, &vocabularies, &columns).unwrap_err().to_string();
        assert_eq!(message, "column 'user', row 1: expected an integer, found \"ten\"");
        let message = encode_columns(&schema, &vocabularies, &Columns::new(2)).unwrap_err().to_string();
        assert_eq!(message, "row 0 has no column 'user'; the model reads: user, tags, site");
    }
}
