//! Ranks that are threads of one process: the same code as over MPI, where there is no MPI.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{Ranks, Team};

/// One of several threads, with a channel from each to each.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Mutex<Vec<Receiver<Vec<u8>>>>,
    sent: AtomicU64,
}

impl Threads {
    /// Runs `work` on so many threads, each with a rank of its own; gives what each comes to, in the order of the ranks.
    ///
    /// # Panics
    /// When one of them does: the others end at their next call.
    pub fn run<T: Send>(ranks: usize, work: impl Fn(Team) -> T + Sync) -> Vec<T> {
        let mut senders: Vec<Vec<Sender<Vec<u8>>>> = (0..ranks).map(|_| Vec::new()).collect();
        let mut own = Vec::new();
        for _ in 0..ranks {
            let (to, from): (Vec<_>, Vec<_>) = (0..ranks).map(|_| channel()).unzip();
            senders.iter_mut().zip(to).for_each(|(senders, to)| senders.push(to));
            own.push(from);
        }
        let teams = senders.into_iter().zip(own).enumerate();
        let teams: Vec<Self> = teams
            .map(|(rank, (to, from))| Self { rank, to, from: Mutex::new(from), sent: AtomicU64::new(0) })
            .collect();
        let work = &work;
        thread::scope(|scope| {
            let threads: Vec<_> = teams.into_iter().map(|own| scope.spawn(move || work(Team::new(own)))).collect();
            let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            ended.into_iter().map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }
}

impl Ranks for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.to.len()
    }

    fn exchange(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        for (rank, part) in parts.into_iter().enumerate() {
            let counted = if rank == self.rank { 0 } else { part.len() as u64 };
            self.sent.fetch_add(counted, Ordering::Relaxed);
            self.to[rank].send(part).unwrap_or_else(|_| panic!("rank {rank} has ended"));
        }
        let from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let next =
            |(rank, from): (usize, &Receiver<Vec<u8>>)| from.recv().unwrap_or_else(|_| panic!("rank {rank} has ended"));
        from.iter().enumerate().map(next).collect()
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}
