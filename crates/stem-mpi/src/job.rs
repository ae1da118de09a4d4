//! One process of an MPI job.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};
use mpi::{Count, Threading};
use stem_data::ranks::Ranks;

/// Most bytes that a rank sends or is sent in one call of MPI, which counts them in `i32`. What is more goes in several.
const MOST: usize = 1 << 30;

/// At the end of every buffer: one that is empty has an address that Open MPI takes for `MPI_IN_PLACE`.
const SPARE: [u8; 1] = [0];

/// This process as a rank of the job that `mpirun` has started; alone where it was started without.
pub struct Mpi {
    universe: Universe,
    rank: usize,
    ranks: usize,
    /// Most bytes of a message to one rank that go in one call.
    piece: usize,
    /// One thread speaks at a time.
    speaking: Mutex<()>,
    sent: AtomicU64,
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mpi").field("rank", &self.rank).field("ranks", &self.ranks).finish_non_exhaustive()
    }
}

impl Mpi {
    /// Joins the job; `None` where this process has done so before, or MPI lets no thread but the first speak.
    pub fn join() -> Option<Self> {
        let (universe, threading) = mpi::initialize_with_threading(Threading::Serialized)?;
        let world = universe.world();
        let (rank, ranks) = (world.rank() as usize, world.size() as usize);
        let (speaking, sent) = (Mutex::new(()), AtomicU64::new(0));
        let piece = MOST / ranks;
        (threading >= Threading::Serialized).then_some(Self { universe, rank, ranks, piece, speaking, sent })
    }

    /// Sends longer messages in pieces of so many bytes; as many as MPI takes by default. The same on all ranks.
    #[must_use]
    pub fn in_pieces_of(self, bytes: usize) -> Self {
        Self { piece: bytes.clamp(1, MOST / self.ranks), ..self }
    }

    fn world(&self) -> (SimpleCommunicator, MutexGuard<'_, ()>) {
        (self.universe.world(), self.speaking.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Ends the job on all ranks with an exit code, without waiting for them; alone, this process.
pub fn end_job(code: u8) -> ! {
    if mpi::environment::is_initialized() && !mpi::environment::is_finalized() {
        SimpleCommunicator::world().abort(i32::from(code))
    }
    process::exit(i32::from(code))
}

impl Ranks for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn exchange(&self, mut parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let (world, _speaking) = self.world();
        let own = std::mem::take(&mut parts[self.rank]);
        let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
        self.sent.fetch_add(lengths.iter().sum::<usize>() as u64, Ordering::Relaxed);
        // Each rank says how long its message is, and its longest: the longest of all says in how many pieces they go.
        let longest = lengths.iter().copied().max().unwrap_or(0) as u64;
        let said: Vec<[u64; 2]> = lengths.iter().map(|&length| [length as u64, longest]).collect();
        let mut heard = vec![0u64; 2 * self.ranks];
        world.all_to_all_into(&said.concat()[..], &mut heard[..]);
        let (heard, _) = heard.as_chunks::<2>();
        let coming: Vec<usize> = heard.iter().map(|[length, _]| *length as usize).collect();
        let longest = heard.iter().map(|[_, longest]| *longest as usize).max().unwrap_or(0);
        let mut received: Vec<Vec<u8>> = coming.iter().map(|&length| Vec::with_capacity(length)).collect();
        for from in (0..longest).step_by(self.piece) {
            let of = |length: usize| length.saturating_sub(from).min(self.piece);
            let pieces: Vec<&[u8]> = parts.iter().map(|part| &part[from.min(part.len())..][..of(part.len())]).collect();
            let (counts, starts) = layout(pieces.iter().map(|piece| piece.len()));
            let out = [&pieces.concat()[..], &SPARE].concat();
            let (coming_counts, coming_starts) = layout(coming.iter().map(|&length| of(length)));
            let mut buffer = vec![0u8; coming_counts.iter().map(|&count| count as usize).sum::<usize>() + SPARE.len()];
            world.all_to_all_varcount_into(
                &Partition::new(&out[..], &counts[..], &starts[..]),
                &mut PartitionMut::new(&mut buffer[..], &coming_counts[..], &coming_starts[..]),
            );
            for (message, (&count, &start)) in received.iter_mut().zip(coming_counts.iter().zip(&coming_starts)) {
                message.extend_from_slice(&buffer[start as usize..][..count as usize]);
            }
        }
        received[self.rank] = own;
        received
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// How many bytes each rank has in a buffer, and where they begin.
fn layout(lengths: impl Iterator<Item = usize>) -> (Vec<Count>, Vec<Count>) {
    let counts: Vec<Count> = lengths.map(|length| length as Count).collect();
    let starts = counts.iter().scan(0, |end, count| {
        let start = *end;
        *end += count;
        Some(start)
    });
    let starts = starts.collect();
    (counts, starts)
}
