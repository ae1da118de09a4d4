//! Several processes that train one model together. What they say to each other goes through [`Ranks`], which `stem-data` has, for data are
//! prepared by several too.
//!
//! | what travels | module |
//! |---|---|
//! | rows of the table, which live where a hash says | `shard` |
//! | what a step needs of other ranks, and gives them | `exchange` |
//! | matrices with the rows of the table, on their way into a file of rank 0 and out of one | `collect` |
//! | a bundle's table, and the scores of a split by it | `score` |
//! | whether all read the same data by the same settings | `agree` |
//! | how numbers travel | `wire` |
//! | sums that have one order | here |
//!
//! Every sum over ranks is taken in the order of the ranks: the same job gives the same bits every time.

mod agree;
mod collect;
mod exchange;
mod score;
mod shard;
mod wire;

use crate::error::{Error, Result};
use stem_core::with_causes;

pub(crate) use agree::agree;
pub(crate) use collect::Give;
pub(crate) use exchange::{Asked, Fetched, Question, Questions, matrix};
pub(crate) use score::Scoring;
pub use score::score_over;
pub(crate) use shard::Shard;
pub use shard::owner;
pub(crate) use stem_data::ranks::numbers;
pub use stem_data::ranks::{Alone, Ranks, Team, Threads};
pub use wire::Wire;

/// What came of work that is rank 0's: its error is the others' too.
///
/// # Errors
/// On rank 0 its own, on the others [`Error::First`].
pub(crate) fn as_first<T>(ranks: &Team, done: Result<T>) -> Result<T> {
    let of_first = done.as_ref().err().map(|error| with_causes(error));
    match ranks.from_first(|| of_first) {
        Some(of_first) if !ranks.is_first() => Err(Error::First(of_first)),
        _ => done,
    }
}

/// `sum_r values_r`, in the order of the ranks, on every rank. Each rank sums a part of the numbers and sends it to all: what a rank sends and
/// is sent is about twice `values`, for any number of ranks.
pub(crate) fn sum(ranks: &dyn Ranks, values: &mut [f32], wire: Wire) {
    let count = ranks.ranks();
    if count == 1 {
        return;
    }
    let bounds: Vec<usize> = (0..=count).map(|r| values.len() * r / count).collect();
    let parts = bounds.windows(2).map(|part| wire.pack(&values[part[0]..part[1]])).collect();
    let (own, mut sum) = (&mut *values, Vec::<f32>::new());
    for part in ranks.exchange(parts) {
        let part = wire.unpack(&part);
        match sum.is_empty() {
            true => sum = part.into_owned(),
            false => sum.iter_mut().zip(&*part).for_each(|(sum, value)| *sum += value),
        }
    }
    // Also the rank that has summed a part takes it as it travels: all have the same.
    for (part, bounds) in ranks.gather_all(&wire.pack(&sum)).iter().zip(bounds.windows(2)) {
        own[bounds[0]..bounds[1]].copy_from_slice(&wire.unpack(part));
    }
}

/// The same of a few numbers, in one exchange.
pub(crate) fn sum_few(ranks: &dyn Ranks, values: &mut [f64]) {
    if ranks.ranks() == 1 {
        return;
    }
    let all = ranks.gather_all(bytemuck::cast_slice(values));
    values.fill(0.0);
    for of_rank in all {
        values.iter_mut().zip(numbers::<f64>(&of_rank)).for_each(|(sum, value)| *sum += value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sum_of_one_process_is_its_own() {
        let mut values = [1.5];
        sum(&Alone, &mut values, Wire::F32);
        assert_eq!(values, [1.5]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn a_sum_is_taken_in_the_order_of_the_ranks_and_is_the_same_on_all(
            values in (1usize..5, 0usize..20)
                .prop_flat_map(|(n, len)| prop::collection::vec(prop::collection::vec(-1e3f32..1e3, len), n)),
        ) {
            let expected: Vec<f32> = (0..values[0].len())
                .map(|i| values[1..].iter().fold(values[0][i], |sum, of_rank| sum + of_rank[i]))
                .collect();
            let found = Threads::run(values.len(), |ranks| {
                let mut own = values[ranks.rank()].clone();
                sum(&*ranks, &mut own, Wire::F32);
                let mut few: Vec<f64> = values[ranks.rank()].iter().map(|value| f64::from(*value)).collect();
                sum_few(&*ranks, &mut few);
                (own, few)
            });
            for (found, few) in &found {
                prop_assert_eq!(found, &expected);
                prop_assert!(few.iter().zip(&expected).all(|(few, sum)| (few - f64::from(*sum)).abs() < 1e-2));
            }
        }
    }
}
