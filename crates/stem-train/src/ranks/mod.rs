//! Several processes that train one model together. Each has a number, its *rank*; what they say to each other goes through [`Ranks`].
//!
//! | body | ranks | carried by |
//! |---|---|---|
//! | [`Alone`] | one | nothing: nothing is sent |
//! | [`Threads`] | threads of one process, for tests | channels |
//! | `stem_mpi::Mpi` | processes of an MPI job, on one machine or on many | MPI |
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
mod threads;
mod wire;

use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use stem_core::with_causes;

pub(crate) use agree::agree;
pub(crate) use collect::Give;
pub(crate) use exchange::{Asked, Fetched, matrix};
pub(crate) use score::Scoring;
pub use score::score_over;
pub(crate) use shard::Shard;
pub use shard::owner;
pub use threads::Threads;
pub use wire::Wire;

/// The processes of a job, as one of them sees them.
///
/// All ranks make the same calls in the same order. A call returns on every rank or on none: where a rank is lost, what carries the messages
/// ends the job, as MPI does.
pub trait Ranks: Debug + Send + Sync {
    /// Of this process, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn ranks(&self) -> usize;

    /// Sends `parts[r]` to rank `r`; gives what each rank has sent to this one. `[ranks]` both. What a rank sends itself stays where it is.
    fn exchange(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>>;

    /// Bytes that this rank has sent to others so far.
    fn sent(&self) -> u64;

    /// Whether this is rank 0, which alone writes files.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// What every rank has said. `[ranks]`
    fn gather_all(&self, own: &[u8]) -> Vec<Vec<u8>> {
        self.exchange(vec![own.to_vec(); self.ranks()])
    }

    /// What every rank has said, on rank 0 `[ranks]`; nothing on the others.
    fn gather(&self, own: Vec<u8>) -> Vec<Vec<u8>> {
        let mut parts = vec![Vec::new(); self.ranks()];
        parts[0] = own;
        let all = self.exchange(parts);
        if self.is_first() { all } else { Vec::new() }
    }

    /// What rank 0 says; what the others give is not looked at.
    fn broadcast(&self, own: Vec<u8>) -> Vec<u8> {
        let parts = if self.is_first() { vec![own; self.ranks()] } else { vec![Vec::new(); self.ranks()] };
        self.exchange(parts).swap_remove(0)
    }

    /// Returns when all ranks have called it.
    fn barrier(&self) {
        self.gather_all(&[]);
    }
}

/// One process: what is sent is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }
    fn ranks(&self) -> usize {
        1
    }
    fn exchange(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        parts
    }
    fn sent(&self) -> u64 {
        0
    }
}

/// Ranks that several parts of a program hold; one process alone by default.
#[derive(Debug, Clone)]
pub struct Team(Arc<dyn Ranks>);

impl Default for Team {
    fn default() -> Self {
        Self(Arc::new(Alone))
    }
}

impl Team {
    /// Of a body of the trait.
    pub fn new(ranks: impl Ranks + 'static) -> Self {
        Self(Arc::new(ranks))
    }

    /// Whether there are others.
    pub fn is_several(&self) -> bool {
        self.0.ranks() > 1
    }

    /// What rank 0 finds, on all: it alone looks.
    pub fn from_first<T: Default + Serialize + DeserializeOwned>(&self, look: impl FnOnce() -> T) -> T {
        let found = if self.is_first() { look() } else { T::default() };
        if !self.is_several() {
            return found;
        }
        let said = self.broadcast(serde_json::to_vec(&found).expect("what is found is plain data"));
        if self.is_first() {
            return found;
        }
        serde_json::from_slice(&said).expect("rank 0 runs the same version, which was asked at the start")
    }

    /// What came of work that is rank 0's: its error is the others' too.
    ///
    /// # Errors
    /// On rank 0 its own, on the others [`Error::First`].
    pub(crate) fn as_first<T>(&self, done: Result<T>) -> Result<T> {
        let of_first = done.as_ref().err().map(|error| with_causes(error));
        match self.from_first(|| of_first) {
            Some(of_first) if !self.is_first() => Err(Error::First(of_first)),
            _ => done,
        }
    }
}

impl std::ops::Deref for Team {
    type Target = dyn Ranks;

    fn deref(&self) -> &Self::Target {
        &*self.0
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
            true => sum = part,
            false => sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += value),
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

/// Numbers out of a message, wherever it lies in memory.
pub(crate) fn numbers<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
    bytemuck::pod_collect_to_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn alone_nothing_is_sent_and_all_calls_return_what_was_given() {
        let alone = Team::default();
        assert!(!alone.is_several() && alone.is_first());
        assert_eq!(alone.exchange(vec![vec![1, 2]]), [vec![1, 2]]);
        assert_eq!((alone.gather(vec![3]), alone.broadcast(vec![4])), (vec![vec![3]], vec![4]));
        let mut values = [1.5];
        sum(&*alone, &mut values, Wire::F32);
        assert_eq!((values, alone.sent()), ([1.5], 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn what_one_rank_sends_another_is_what_that_one_is_sent(
            lengths in (1usize..5).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(0usize..40, n), n)),
        ) {
            let count = lengths.len();
            let message = |from: usize, to: usize| vec![(from * 10 + to) as u8; lengths[from][to]];
            let found = Threads::run(count, |ranks| {
                let from = ranks.rank();
                (ranks.exchange((0..count).map(|to| message(from, to)).collect()), ranks.sent())
            });
            for (to, (received, sent)) in found.into_iter().enumerate() {
                let expected: Vec<Vec<u8>> = (0..count).map(|from| message(from, to)).collect();
                prop_assert_eq!(received, expected);
                let others: usize = (0..count).filter(|other| *other != to).map(|other| lengths[to][other]).sum();
                prop_assert_eq!(sent, others as u64, "what stays at home is not sent");
            }
        }

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

    #[test]
    fn rank_0_speaks_to_all_and_hears_all() {
        let found = Threads::run(3, |ranks| {
            ranks.barrier();
            let own = vec![ranks.rank() as u8];
            (ranks.broadcast(own.clone()), ranks.gather(own.clone()), ranks.gather_all(&own))
        });
        for (rank, (said, gathered, all)) in found.into_iter().enumerate() {
            assert_eq!((said, all), (vec![0], vec![vec![0], vec![1], vec![2]]));
            assert_eq!(gathered.len(), if rank == 0 { 3 } else { 0 });
        }
    }
}
