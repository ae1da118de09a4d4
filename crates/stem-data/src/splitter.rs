//! Which split each row belongs to: read from a column, drawn, or decided by time once all rows have come.

use polars::prelude::*;
use rand_chacha::ChaCha8Rng;

use crate::dictionary::Dictionary;
use crate::error::{Error, Result};
use crate::random;
use crate::recipe::SplitRecipe;
use crate::split::Split;

/// A row that belongs to none.
pub(crate) const LEFT_OUT: u8 = 3;

/// `Split as u8`, or [`LEFT_OUT`]. `[N]`
pub(crate) type Splits = Vec<u8>;

/// Sees the rows chunk by chunk.
pub(crate) struct Splitter<'r> {
    recipe: &'r SplitRecipe,
    random: ChaCha8Rng,
    users: Option<Dictionary>,
    splits: Splits,
    order: Vec<i64>,       // [N] for a split by time
    user_of_row: Vec<u32>, // [N] for the last rows of each user
}

impl<'r> Splitter<'r> {
    pub(crate) fn new(recipe: &'r SplitRecipe, users: Option<Dictionary>) -> Self {
        let seed = if let SplitRecipe::Random { seed, .. } = recipe { *seed } else { 0 };
        let random = random::stream(b"split\0\0\0", seed, 0);
        Self { recipe, random, users, splits: vec![], order: vec![], user_of_row: vec![] }
    }

    pub(crate) fn see(&mut self, chunk: &DataFrame, first: usize) -> Result<()> {
        match self.recipe {
            SplitRecipe::Random { valid, test, .. } => {
                let random = &mut self.random;
                self.splits.extend((0..chunk.height()).map(|_| {
                    let point = random::unit(random);
                    let split = if point < *test {
                        Split::Test
                    } else if point < test + valid {
                        Split::Valid
                    } else {
                        Split::Train
                    };
                    split as u8
                }));
            }
            SplitRecipe::Column { column, values } => {
                let column =
                    chunk.column(column).and_then(|c| c.strict_cast(&DataType::String)).map_err(Error::query)?;
                let split = |value: Option<&str>| values.iter().position(|v| Some(v.as_str()) == value);
                let splits = column.str().map_err(Error::query)?.iter().map(|v| split(v).map_or(LEFT_OUT, |s| s as u8));
                self.splits.extend(splits);
            }
            SplitRecipe::Time { column, .. } => self.see_order(chunk, column, first)?,
            SplitRecipe::Last { column, order, .. } => {
                self.see_order(chunk, order, first)?;
                if let Some(users) = &mut self.users {
                    self.user_of_row.extend(users.codes_of_groups(chunk, column, first)?);
                }
            }
        }
        Ok(())
    }

    fn see_order(&mut self, chunk: &DataFrame, name: &str, first: usize) -> Result<()> {
        let column = chunk.column(name).map_err(Error::query)?;
        let null = |row| Error::value(name, first + row, "a number, a date or a time", "null".into());
        if column.dtype().is_float() {
            let column = column.strict_cast(&DataType::Float64).map_err(Error::query)?;
            for (row, value) in column.f64().map_err(Error::query)?.iter().enumerate() {
                // the bits of floats sort as their values do, once those of negatives are turned round
                let bits = value.filter(|v| !v.is_nan()).ok_or_else(|| null(row))?.to_bits() as i64;
                self.order.push(if bits < 0 { bits ^ i64::MAX } else { bits });
            }
        } else {
            let column = column.strict_cast(&DataType::Int64).map_err(Error::query)?;
            for (row, value) in column.i64().map_err(Error::query)?.iter().enumerate() {
                self.order.push(value.ok_or_else(|| null(row))?);
            }
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Splits {
        let rows = self.order.len();
        match self.recipe {
            SplitRecipe::Random { .. } | SplitRecipe::Column { .. } => {}
            SplitRecipe::Time { valid, test, .. } => {
                let mut places: Vec<u32> = (0..rows as u32).collect();
                places.sort_unstable_by_key(|&row| (self.order[row as usize], row));
                let count = |share: f64| (share * rows as f64).round() as usize;
                let (tested, validated) = (count(*test), count(*valid));
                self.splits = last_of(&[&places], tested, validated, rows);
            }
            SplitRecipe::Last { valid, test, .. } => {
                let mut places: Vec<u32> = (0..rows as u32).collect();
                let user = |row: u32| self.user_of_row[row as usize];
                places.sort_unstable_by_key(|&row| (user(row), self.order[row as usize], row));
                let users: Vec<&[u32]> = places.chunk_by(|&a, &b| user(a) == user(b)).collect();
                self.splits = last_of(&users, *test, *valid, rows);
            }
        }
        self.splits
    }
}

/// Of each run of rows, the last `test` are tested on, the `valid` before them validated on.
fn last_of(runs: &[&[u32]], test: usize, valid: usize, rows: usize) -> Splits {
    let mut splits = vec![Split::Train as u8; rows];
    for run in runs {
        for (back, &row) in run.iter().rev().enumerate().take(test + valid) {
            splits[row as usize] = if back < test { Split::Test } else { Split::Valid } as u8;
        }
    }
    splits
}
