//! Columns that a recipe's SELECT computes of raw ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a column is computed from those of a raw table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Derived {
    /// The expression of the recipe's SELECT.
    pub sql: String,
    /// The raw columns that it reads, by which it can be computed again for a row alone. Empty where it takes other rows or tables, or a
    /// column of another type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reads: BTreeMap<String, ColumnType>,
}

impl Derived {
    /// An expression, and the raw columns that it reads.
    pub fn new(sql: impl Into<String>, reads: BTreeMap<String, ColumnType>) -> Self {
        Self { sql: sql.into(), reads }
    }
}

/// Type of a raw column. Those of a text file are the first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ColumnType {
    /// 64-bit integer.
    Integer,
    /// 64-bit float.
    Float,
    /// `true` and `false`.
    Boolean,
    /// UTF-8 text.
    Text,
    /// 64-bit integer without a sign.
    UnsignedInteger,
    /// Day of the calendar.
    Date,
    /// Time of day.
    Time,
    /// Date and time of day, counted in milliseconds.
    DatetimeMs,
    /// Date and time of day, counted in microseconds.
    DatetimeUs,
    /// Date and time of day, counted in nanoseconds.
    DatetimeNs,
    /// List of 64-bit integers.
    IntegerList,
    /// List of 64-bit floats.
    FloatList,
    /// List of texts.
    TextList,
}
