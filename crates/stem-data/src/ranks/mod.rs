//! Several processes that do one work together. Each has a number, its *rank*; what they say to each other goes through [`Ranks`].
//!
//! | body | ranks | carried by |
//! |---|---|---|
//! | [`Alone`] | one | nothing: nothing is sent |
//! | [`Threads`] | threads of one process, for tests | channels |
//! | `stem_mpi::Mpi` | processes of an MPI job, on one machine or on many | MPI |

mod threads;

use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use threads::Threads;

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

    /// The same while `work` is done: messages are on their way when it begins, and have come when it has ended. `work` may make exchanges, but no other
    /// one of this kind. A body that can only wait for messages waits before it.
    fn exchange_while(&self, parts: Vec<Vec<u8>>, work: Box<dyn FnOnce() + '_>) -> Vec<Vec<u8>> {
        let heard = self.exchange(parts);
        work();
        heard
    }

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

    /// One rank after the other, for what two processes on a machine must not do at once: what the first has done, the others find done; or do it, where
    /// they are on other machines.
    ///
    /// # Errors
    /// That of the work, where it has one: it has to end all ranks, for the others wait.
    pub fn in_turn<T, E>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        (0..self.rank()).for_each(|_| self.barrier());
        let done = work()?;
        (self.rank()..self.ranks()).for_each(|_| self.barrier());
        Ok(done)
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
}

impl std::ops::Deref for Team {
    type Target = dyn Ranks;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// Numbers out of a message, wherever it lies in memory.
pub fn numbers<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
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
        let mut done = false;
        assert_eq!(alone.exchange_while(vec![vec![1, 2]], Box::new(|| done = true)), [vec![1, 2]]);
        assert!(done);
        assert_eq!((alone.gather(vec![3]), alone.broadcast(vec![4]), alone.sent()), (vec![vec![3]], vec![4], 0));
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
