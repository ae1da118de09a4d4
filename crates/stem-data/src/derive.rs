//! Columns that the SELECT of a recipe computes, computed again for rows that are to be scored.

use std::collections::BTreeMap;

use polars::prelude::*;
use polars::sql::SQLContext;
use stem_core::{ColumnType, Derived, Schema, Value};

use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::scan::quoted;
use crate::source::plain;

/// What has to be computed of raw columns before a model can read its fields.
///
/// ```
/// use stem_core::{ColumnType, Derived, Field, Schema, Task, Value, VocabularySpec};
/// use stem_data::Derivation;
///
/// let mut city = Field::category("city", 0);
/// city.derived = Some(Derived::new("LOWER(city)", [("city".to_string(), ColumnType::Text)].into()));
/// let schema = Schema::new(vec![city], vec![VocabularySpec::new("city", 3)], vec![Task::new("click")]);
///
/// let derivation = Derivation::of(&schema, &["city", "day"]).expect("the table has what it reads");
/// let values = derivation.run(|_column| vec![Some("Paris".into()), None])?;
/// assert_eq!(values, [("city".to_string(), vec![Value::Text("paris".into()), Value::Null])]);
/// # Ok::<(), stem_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Derivation {
    fields: Vec<String>,
    sql: String,
    reads: BTreeMap<String, ColumnType>,
}

/// Name of the table that is computed from.
const TABLE: &str = "raw";

impl Derivation {
    /// The fields that can be computed from `columns` of a raw table; `None` where there are none.
    pub fn of(schema: &Schema, columns: &[&str]) -> Option<Self> {
        let mut reads = BTreeMap::new();
        let (mut fields, mut selected) = (Vec::new(), Vec::new());
        for field in &schema.fields {
            let Some(Derived { sql, reads: own, .. }) = &field.derived else { continue };
            if !own.is_empty() && own.keys().all(|column| columns.contains(&column.as_str())) {
                fields.push(field.name.clone());
                selected.push(format!("{sql} AS {}", quoted(&field.name)));
                reads.extend(own.clone());
            }
        }
        let sql = format!("SELECT {} FROM {TABLE}", selected.join(", "));
        (!selected.is_empty()).then_some(Self { fields, sql, reads })
    }

    /// Whether it computes a field of that name.
    pub fn gives(&self, field: &str) -> bool {
        self.fields.iter().any(|name| name == field)
    }

    /// The raw columns that it reads.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        self.reads.keys().map(String::as_str)
    }

    /// Computes the fields: `values` gives a raw column as text, `None` for null. Each field comes with a value for every row.
    ///
    /// # Errors
    /// [`Error::Value`] for a text that is not of the column's type, and what the query says.
    pub fn run(&self, values: impl Fn(&str) -> Vec<Option<String>>) -> Result<Vec<(String, Vec<Value>)>> {
        let columns =
            self.reads.iter().map(|(name, kind)| typed(name, *kind, values(name))).collect::<Result<Vec<_>>>()?;
        let rows = columns.first().map_or(0, Column::len);
        let frame = DataFrame::new(rows, columns).map_err(Error::query)?;
        let computed = guarded(|| {
            let mut context = SQLContext::new();
            context.register(TABLE, frame.lazy());
            context.execute(&self.sql)?.collect()
        });
        let computed = computed.map_err(Error::query)?.map_err(|error| Error::query(plain(&error)))?;
        computed.columns().iter().map(|column| Ok((column.name().to_string(), values_of(column)?))).collect()
    }
}

fn typed(name: &str, kind: ColumnType, values: Vec<Option<String>>) -> Result<Column> {
    fn parsed<T>(
        name: &str,
        values: Vec<Option<String>>,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<Option<T>>> {
        let values = values.into_iter().enumerate().map(|(row, text)| match text {
            None => Ok(None),
            Some(text) => parse(text.trim()).map(Some).ok_or_else(|| Error::value(name, row, expected, text.clone())),
        });
        values.collect()
    }
    let label = PlSmallStr::from(name);
    Ok(match kind {
        ColumnType::Integer => Column::new(label, parsed(name, values, "an integer", |text| text.parse::<i64>().ok())?),
        ColumnType::Float => Column::new(label, parsed(name, values, "a number", |text| text.parse::<f64>().ok())?),
        ColumnType::Boolean => {
            let boolean = |text: &str| text.to_ascii_lowercase().parse::<bool>().ok();
            Column::new(label, parsed(name, values, "true or false", boolean)?)
        }
        _ => Column::new(label, values),
    })
}

fn values_of(column: &Column) -> Result<Vec<Value>> {
    let value = |value: AnyValue<'_>| -> Result<Value> {
        Ok(match value {
            AnyValue::Null => Value::Null,
            AnyValue::Boolean(value) => value.into(),
            AnyValue::String(text) => text.into(),
            AnyValue::StringOwned(text) => text.as_str().into(),
            AnyValue::Float32(value) => value.into(),
            AnyValue::Float64(value) => value.into(),
            AnyValue::UInt64(value) => value.into(),
            other => match other.extract::<i64>() {
                Some(value) if other.is_primitive_numeric() => value.into(),
                _ => Value::Text(other.to_string()),
            },
        })
    };
    let rows = 0..column.len();
    rows.map(|row| match column.get(row).map_err(Error::query)? {
        AnyValue::List(list) => Ok(Value::List(list.iter().map(value).collect::<Result<_>>()?)),
        single => value(single),
    })
    .collect()
}
