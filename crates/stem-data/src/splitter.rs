//! Which split each row belongs to: read from a column, drawn, or decided by time once all rows have come.

use std::collections::BTreeMap;

use polars::prelude::*;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::dictionary::Dictionary;
use crate::error::{Error, Result};
use crate::facts::Times;
use crate::random;
use crate::ranks::numbers;
use crate::recipe::SplitRecipe;
use crate::split::Split;

/// A row that belongs to none.
pub(crate) const LEFT_OUT: u8 = 3;
/// Beside the split of a row: it was trained on before ([`SplitRecipe::Days`]). What becomes of it is decided once all rows have come.
pub(crate) const BEFORE: u8 = 0x80;

/// `Split as u8`, or [`LEFT_OUT`]. `[N]`
pub(crate) type Splits = Vec<u8>;

/// Where all rows went.
pub(crate) struct Placed {
    pub(crate) splits: Splits,
    /// Values of a split column that name no split, and how many rows hold each.
    pub(crate) strangers: BTreeMap<String, usize>,
    pub(crate) times: Times,
    /// Test rows of users without a training row, where the last rows of each user are tested on.
    pub(crate) untrained: Option<usize>,
}

/// Sees the rows chunk by chunk.
pub(crate) struct Splitter<'r> {
    recipe: &'r SplitRecipe,
    random: ChaCha8Rng,
    users: Option<Dictionary>,
    splits: Splits,
    times: Times,          // for a split by time
    user_of_row: Vec<u32>, // [N] for the last rows of each user
    /// Values of the split column that name no split, and how many rows hold each.
    strangers: Strangers,
}

/// Values of a split column that name no split, the first of them, and how many rows hold each.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Strangers(Vec<(String, usize)>);

/// Values of the split column that are remembered for a message.
const STRANGERS: usize = 20;

impl Strangers {
    fn see(&mut self, value: &str, rows: usize) {
        if let Some((_, so_far)) = self.0.iter_mut().find(|(own, _)| own == value) {
            *so_far += rows;
        } else if self.0.len() < STRANGERS {
            self.0.push((value.into(), rows));
        }
    }
}

/// What one rank's splitter has seen, beside what it has of each row.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    strangers: Strangers,
    a_day: Option<i64>,
    integers: bool,
}

impl<'r> Splitter<'r> {
    pub(crate) fn new(recipe: &'r SplitRecipe, users: Option<Dictionary>) -> Self {
        let seed = match recipe {
            SplitRecipe::Random { seed, .. } | SplitRecipe::Days { seed, .. } => *seed,
            _ => 0,
        };
        let random = random::stream(b"split\0\0\0", seed, 0);
        let (splits, times, user_of_row, strangers) = (vec![], Times::default(), vec![], Strangers::default());
        Self { recipe, random, users, splits, times, user_of_row, strangers }
    }

    pub(crate) fn see(&mut self, chunk: &DataFrame, first: usize) -> Result<()> {
        match self.recipe {
            SplitRecipe::Random { .. } => self.splits.resize(first + chunk.height(), Split::Train as u8), // drawn at the end
            SplitRecipe::Hash { column, valid, test, seed } => {
                let keys = chunk.column(column).and_then(|c| c.strict_cast(&DataType::String)).map_err(Error::query)?;
                for (row, key) in keys.str().map_err(Error::query)?.iter().enumerate() {
                    let key =
                        key.ok_or_else(|| Error::value(column, first + row, "a key to split by", "null".into()))?;
                    let hash = xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), *seed);
                    self.splits.push(at(random::unit_of(hash), *valid, *test));
                }
            }
            SplitRecipe::Column { column, values, .. } => {
                let column =
                    chunk.column(column).and_then(|c| c.strict_cast(&DataType::String)).map_err(Error::query)?;
                for value in column.str().map_err(Error::query)?.iter() {
                    let split = values.iter().position(|v| Some(v.as_str()) == value);
                    self.splits.push(split.map_or(LEFT_OUT, |split| split as u8));
                    if split.is_none() {
                        self.strangers.see(value.unwrap_or("null"), 1);
                    }
                }
            }
            SplitRecipe::Days { column, before, train, test, .. } => {
                let days = chunk.column(column).and_then(|c| c.strict_cast(&DataType::String)).map_err(Error::query)?;
                for day in days.str().map_err(Error::query)?.iter() {
                    let is_of = |days: &[String]| days.iter().any(|own| Some(own.as_str()) == day);
                    self.splits.push(match () {
                        () if is_of(train) => Split::Train as u8, // or validation: drawn at the end
                        () if is_of(before) => Split::Train as u8 | BEFORE,
                        () if is_of(test) => Split::Test as u8,
                        () => LEFT_OUT,
                    });
                }
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
        (self.times.a_day, self.times.integers) = (a_day(column.dtype()), column.dtype().is_integer());
        let null = |row| Error::value(name, first + row, "a number, a date or a time", "null".into());
        if column.dtype().is_float() {
            let column = column.strict_cast(&DataType::Float64).map_err(Error::query)?;
            for (row, value) in column.f64().map_err(Error::query)?.iter().enumerate() {
                // the bits of floats sort as their values do, once those of negatives are turned round
                let bits = value.filter(|v| !v.is_nan()).ok_or_else(|| null(row))?.to_bits() as i64;
                self.times.order.push(if bits < 0 { bits ^ i64::MAX } else { bits });
            }
        } else {
            let column = column.strict_cast(&DataType::Int64).map_err(Error::query)?;
            for (row, value) in column.i64().map_err(Error::query)?.iter().enumerate() {
                self.times.order.push(value.ok_or_else(|| null(row))?);
            }
        }
        Ok(())
    }

    /// What it has of each row, as bytes, and how many of them are a row's; and what else it has seen. The user of each row gets the code
    /// that `users` has for it.
    pub(crate) fn into_part(self, users: Option<&[u32]>) -> ([(Vec<u8>, usize); 3], Seen) {
        let Self { splits, times, user_of_row, strangers, .. } = self;
        let users: Vec<u32> =
            user_of_row.iter().map(|&user| users.map_or(user, |codes| codes[user as usize])).collect();
        let (order, users) = (bytemuck::cast_slice(&times.order).to_vec(), bytemuck::cast_slice(&users).to_vec());
        let of_rows = [(splits, 1), (order, size_of::<i64>()), (users, size_of::<u32>())];
        (of_rows, Seen { strangers, a_day: times.a_day, integers: times.integers })
    }

    /// The users whose last rows are tested on.
    pub(crate) fn users(&mut self) -> Option<&mut Dictionary> {
        self.users.as_mut()
    }

    /// Adds what another rank's has seen whose rows come next.
    pub(crate) fn add(&mut self, Seen { strangers, a_day, integers }: Seen) {
        strangers.0.iter().for_each(|(value, rows)| self.strangers.see(value, *rows));
        self.times.a_day = self.times.a_day.or(a_day);
        self.times.integers |= integers;
    }

    /// Adds rows of that rank: what [`into_part`](Self::into_part) has of them.
    pub(crate) fn add_rows(&mut self, [splits, order, users]: [&[u8]; 3]) {
        self.splits.extend_from_slice(splits);
        self.times.order.extend(numbers::<i64>(order));
        self.user_of_row.extend(numbers::<u32>(users));
    }

    /// Once all rows have come.
    pub(crate) fn finish(mut self) -> Placed {
        let (rows, order) = (self.times.order.len(), &self.times.order);
        let mut untrained = None;
        match self.recipe {
            SplitRecipe::Hash { .. } | SplitRecipe::Column { .. } => {}
            SplitRecipe::Random { valid, test, .. } => {
                self.splits.fill_with(|| at(random::unit(&mut self.random), *valid, *test));
            }
            SplitRecipe::Days { valid, .. } => {
                for split in &mut self.splits {
                    let point = random::unit(&mut self.random); // of every row, so that days do not change each other's
                    if *split & !BEFORE == Split::Train as u8 {
                        *split |= at(point, *valid, 0.0); // training is 0
                    }
                }
            }
            SplitRecipe::Time { valid, test, .. } => {
                let mut places: Vec<u32> = (0..rows as u32).collect();
                places.sort_unstable_by_key(|&row| (order[row as usize], row));
                let time = |place: usize| order[places[place] as usize];
                let share = |share: f64| (share * rows as f64).round() as usize;
                let tested = between_times(rows - share(*test), rows, time);
                let validated = between_times(tested.saturating_sub(share(*valid)), tested, time);
                self.splits = last_of(&[&places], rows - tested, tested - validated, rows);
            }
            SplitRecipe::Last { valid, test, .. } => {
                let mut places: Vec<u32> = (0..rows as u32).collect();
                let user = |row: u32| self.user_of_row[row as usize];
                places.sort_unstable_by_key(|&row| (user(row), order[row as usize], row));
                let users: Vec<&[u32]> = places.chunk_by(|&a, &b| user(a) == user(b)).collect();
                let short = users.iter().map(|own| own.len()).filter(|own| *own <= test + valid);
                untrained = Some(short.map(|own| own.min(*test)).sum());
                self.splits = last_of(&users, *test, *valid, rows);
            }
        }
        Placed { splits: self.splits, strangers: self.strangers.0.into_iter().collect(), times: self.times, untrained }
    }
}

/// How much of a column's values is a day, where its type tells.
pub(crate) fn a_day(dtype: &DataType) -> Option<i64> {
    match dtype {
        DataType::Date => Some(1),
        DataType::Datetime(unit, _) => Some(match unit {
            TimeUnit::Milliseconds => 86_400_000,
            TimeUnit::Microseconds => 86_400_000_000,
            TimeUnit::Nanoseconds => 86_400_000_000_000,
        }),
        _ => None,
    }
}

/// The split of a point in `[0, 1)`.
fn at(point: f64, valid: f64, test: f64) -> u8 {
    let split = if point < test {
        Split::Test
    } else if point < test + valid {
        Split::Valid
    } else {
        Split::Train
    };
    split as u8
}

/// The place next to `place` where the time changes, among the first `end` places in the order of time: rows of one time stay together.
/// Where both sides have one, neither side is left empty.
fn between_times(place: usize, end: usize, time: impl Fn(usize) -> i64) -> usize {
    if place == 0 || place >= end {
        return place.min(end);
    }
    let here = time(place);
    let before = (0..place).rev().find(|&earlier| time(earlier) != here).map_or(0, |earlier| earlier + 1);
    let after = (place..end).find(|&later| time(later) != here).unwrap_or(end);
    match (before, after) {
        (0, after) => after,
        (before, after) if after == end || place - before <= after - place => before,
        (_, after) => after,
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
