//! Columns by whose values a measurement is cut: beside the fields, which they need not be.

use polars::prelude::*;
use serde::{Deserialize, Serialize};

use crate::dictionary::{Dictionary, Keys, NULL};
use crate::error::{Error, Result};

/// A column that rows are cut by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// The column of the SELECT.
    pub column: String,
    /// Its values in the order in which they come first, null before them.
    pub values: Vec<String>,
}

/// Values of a column beyond which nobody reads them one by one.
const MOST: usize = 1000;

impl Slice {
    pub(crate) fn new(column: &str, mut keys: Dictionary) -> Self {
        let keys: Vec<String> = match keys.take_keys() {
            Keys::Integers(keys) => keys.iter().map(i64::to_string).collect(),
            Keys::Texts(texts) => (0..texts.len()).map(|place| texts.get(place).to_string()).collect(),
            Keys::Hashed(_) => Vec::new(),
        };
        Self { column: column.into(), values: ["null".to_string()].into_iter().chain(keys).collect() }
    }
}

/// Which of its column's values each row of a chunk has. `[n, slices]`
///
/// # Errors
/// A column with more values than are told apart, or of a type that has no keys.
pub(crate) fn slice_codes(
    columns: &[String],
    keys: &mut [Dictionary],
    chunk: &DataFrame,
    first: usize,
) -> Result<Vec<u32>> {
    let mut codes = vec![0; chunk.height() * columns.len()];
    for (place, (column, keys)) in columns.iter().zip(keys).enumerate() {
        let own = keys.codes_of(chunk.column(column).map_err(Error::query)?, NULL, first)?;
        if keys.keys() > MOST {
            return Err(Error::Slices { column: column.clone(), most: MOST });
        }
        codes[place..].iter_mut().step_by(columns.len()).zip(own).for_each(|(code, own)| *code = own - NULL);
    }
    Ok(codes)
}
