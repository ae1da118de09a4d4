//! The days of a log, or whatever a column cuts it into that comes one after another.

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::*;

use crate::error::{Error, Result};
use crate::locate::located;
use crate::prepare::{PrepareOptions, simulate_missing};
use crate::recipe::{Recipe, SplitRecipe};
use crate::scan;
use crate::source::Unpacked;

/// Values beyond which a column names no days.
const MOST: usize = 10_000;

/// The values of a column of the recipe's SELECT in ascending order, each with its rows: of numbers, dates and times by size, of texts by
/// their bytes. They are spelled as [`SplitRecipe::Days`] names them.
///
/// # Errors
/// Tables that cannot be read as the recipe says, a column that the SELECT does not have, one with nulls or very many values, and a stop.
pub fn days(recipe: &Recipe, data: &Path, column: &str, options: &PrepareOptions) -> Result<Vec<(String, usize)>> {
    let bar = options.progress.counter();
    simulate_missing(recipe, data, &options.stop, &bar)?;
    let (before, train, test) = (Vec::new(), Vec::new(), Vec::new());
    let split = SplitRecipe::Days { column: column.into(), before, train, valid: 0.0, test, seed: 0 };
    let query = scan::open(&recipe.clone().with_split(split), data, Unpacked::default(), &options.stop)?;
    bar.say(format!("rows read for the values of {column}"));
    let mut found = BTreeMap::<(i64, String), usize>::new();
    let mut rows = 0;
    let read = query.for_each_chunk(&options.stop, |chunk| {
        let values = chunk.column(column).map_err(Error::query)?;
        let order = match values.dtype() {
            DataType::String => None,
            _ => Some(values.strict_cast(&DataType::Int64).map_err(Error::query)?),
        };
        let order = order.as_ref().map(|order| order.i64()).transpose().map_err(Error::query)?;
        let words = values.strict_cast(&DataType::String).map_err(Error::query)?;
        for (place, word) in words.str().map_err(Error::query)?.iter().enumerate() {
            let word = word.ok_or_else(|| Error::value(column, rows + place, "a day", "null".into()))?;
            let key = (order.and_then(|order| order.get(place)).unwrap_or(0), word.to_string());
            *found.entry(key).or_default() += 1;
        }
        if found.len() > MOST {
            return Err(Error::Slices { column: column.into(), most: MOST });
        }
        rows += chunk.height();
        bar.at(rows as u64);
        Ok(())
    });
    read.map_err(|error| located(recipe, data, None, Unpacked::default(), error))?;
    Ok(found.into_iter().map(|((_, word), rows)| (word, rows)).collect())
}
