//! One process of an MPI job.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mpi::environment::Universe;
use mpi::request::{self, WaitGuard};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, Equivalence, Source};
use mpi::{Rank, Tag, Threading};
use stem_data::ranks::Ranks;

/// Most bytes that a rank sends another in one call of MPI, which counts them in `i32`. What is more goes in several.
const MOST: usize = 1 << 30;

/// Of messages of which nothing is done beside, and of those that travel beside some work, which may send messages too: none is taken for another.
const ALONE: Tag = 0;
const BESIDE: Tag = 1;

/// The address of what is empty: that of an empty `Vec` is one that MPI may have a meaning for.
static NOTHING: [u8; 1] = [0];

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
        (threading >= Threading::Serialized).then_some(Self { universe, rank, ranks, piece: MOST, speaking, sent })
    }

    /// Sends longer messages in pieces of so many bytes; as many as MPI takes by default. The same on all ranks.
    #[must_use]
    pub fn in_pieces_of(self, bytes: usize) -> Self {
        Self { piece: bytes.clamp(1, MOST), ..self }
    }

    fn speak(&self) -> MutexGuard<'_, ()> {
        self.speaking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `parts[r]` to rank `r`, does `work`, and takes what the others have sent.
    fn send_and_receive(&self, mut parts: Vec<Vec<u8>>, tag: Tag, work: impl FnOnce()) -> Vec<Vec<u8>> {
        let own = std::mem::take(&mut parts[self.rank]);
        self.sent.fetch_add(parts.iter().map(Vec::len).sum::<usize>() as u64, Ordering::Relaxed);
        // Each rank begins with the one after it: else all would send to the same one first.
        let others = (1..self.ranks).map(|step| (self.rank + step) % self.ranks);
        let world = self.universe.world();
        let mut received = request::scope(|scope| {
            let speaking = self.speak();
            let send = |to: usize| {
                let to_rank = world.process_at_rank(to as Rank);
                let send = move |piece| WaitGuard::from(to_rank.immediate_send_with_tag(scope, piece, tag));
                pieces(&parts[to], self.piece).map(send).collect::<Vec<_>>()
            };
            let sends: Vec<_> = others.clone().flat_map(send).collect();
            drop(speaking);
            work();
            let _speaking = self.speak();
            let received = self.receive(&world, others.collect(), tag);
            drop(sends); // waits
            received
        });
        received[self.rank] = own;
        received
    }

    /// One message of each of the ranks `from`, nothing of the others. `[ranks]`
    fn receive(&self, world: &SimpleCommunicator, mut from: Vec<usize>, tag: Tag) -> Vec<Vec<u8>> {
        let mut received = vec![Vec::new(); self.ranks];
        while !from.is_empty() {
            // A message says how long it is when it is announced; those of all ranks come at once.
            let announced = from.iter().map(|&rank| {
                let (message, status) = world.process_at_rank(rank as Rank).matched_probe_with_tag(tag);
                (message, status.count(u8::equivalent_datatype()) as usize)
            });
            let (messages, lengths): (Vec<_>, Vec<usize>) = announced.unzip();
            let mut coming: Vec<Vec<u8>> = lengths.iter().map(|&length| vec![0; length + NOTHING.len()]).collect();
            request::scope(|scope| {
                let mut receives = Vec::new();
                for (message, (buffer, &length)) in messages.into_iter().zip(coming.iter_mut().zip(&lengths)) {
                    receives
                        .push(WaitGuard::from(message.immediate_matched_receive_into(scope, &mut buffer[..length])));
                }
                drop(receives); // waits
            });
            for (&rank, (mut piece, &length)) in from.iter().zip(coming.into_iter().zip(&lengths)) {
                piece.truncate(length);
                match received[rank].is_empty() {
                    true => received[rank] = piece,
                    false => received[rank].extend_from_slice(&piece),
                }
            }
            let mut lengths = lengths.into_iter();
            from.retain(|_| lengths.next() == Some(self.piece)); // those of whom there is more
        }
        received
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

    fn exchange(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        self.send_and_receive(parts, ALONE, || ())
    }

    fn exchange_while(&self, parts: Vec<Vec<u8>>, work: Box<dyn FnOnce() + '_>) -> Vec<Vec<u8>> {
        self.send_and_receive(parts, BESIDE, work)
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A message in pieces of so many bytes. The last one is not full, so that who is sent them knows it: it may have no byte.
fn pieces(message: &[u8], piece: usize) -> impl Iterator<Item = &[u8]> {
    let count = message.len() / piece + 1;
    (0..count).map(move |at| match at * piece == message.len() {
        true => &NOTHING[..0],
        false => &message[at * piece..message.len().min((at + 1) * piece)],
    })
}
