//! Writing checkpoints beside the training: a thread of its own puts on the disk what it is given between the steps, a slice at a time. One
//! checkpoint at a time; the next one, and the end, wait for it.
//!
//! Where the table is on a GPU, or over several ranks, what is written is copied at once; over several ranks a whole one is written between two steps
//! where there is no memory for a copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stem_core::files::FileError;
use stem_core::nn::RowMatrix;

use super::changed::Changed;
use super::file::Matrices;
use super::snapshot::{Change, Room, Snapshot};
use super::state::{Base, Place};
use super::{CheckpointEvery, Clock, folder};
use crate::error::Result;
use crate::keep::{Keeper, KeeperState};
use crate::memory;

/// Writes a checkpoint of that place to that path, on the thread for it; gives its checksum.
type Write = Box<dyn FnOnce(&Place, &Path) -> Result<String, FileError> + Send>;

/// One of so many rows is written on top of a whole checkpoint at most, in all that are on top of it together.
const MOST_OF_A_TABLE: usize = 2;
/// So many checkpoints are on top of a whole one at most: all of them are read to go on.
const MOST_ON_TOP: usize = 16;
/// Over several ranks a copy is taken where memory for it is free so many times.
const ROOM: u64 = 2;

/// How a checkpoint is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Plan {
    /// Whole, between two steps, from where it lies.
    #[default]
    Between,
    /// Whole, beside the steps that follow.
    Beside,
    /// The rows that have changed, on top of the last one, beside the steps that follow.
    OnTop,
}

/// The checkpoints of a training.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    clock: Clock,
    /// What the kept ones know of best moments, the last first.
    kept: Vec<(usize, KeeperState)>,
    /// The last one, which the next may be on top of.
    base: Option<Base>,
    /// Rows of the table that have changed since.
    changed: Changed,
    under_way: Option<UnderWay>,
    /// What is given to the one that is being written.
    snapshot: Option<Snapshot>,
    /// How long steps have waited for that.
    held: Duration,
}

/// One that is being written.
#[derive(Debug)]
struct UnderWay {
    steps: usize,
    keeper: KeeperState,
    /// The base that it will be: all but its checksum is known.
    base: Base,
    /// Gives the checksum.
    thread: JoinHandle<Result<String, FileError>>,
}

impl Checkpoints {
    /// Those of a folder in which there are none, of a table of so many rows.
    pub(crate) fn start(folder: &Path, every: CheckpointEvery, rows: usize) -> Self {
        let (folder, clock, changed) = (folder.into(), Clock::start(every), Changed::of(rows));
        Self {
            folder,
            clock,
            kept: Vec::new(),
            base: None,
            changed,
            under_way: None,
            snapshot: None,
            held: Duration::ZERO,
        }
    }

    /// After a training has gone on from `base`; `kept` are those of the folder.
    pub(crate) fn go_on(&mut self, base: Base, kept: Vec<(usize, KeeperState)>) {
        (self.base, self.kept) = (Some(base), kept);
    }

    /// When the next one is due.
    pub(crate) fn clock(&mut self) -> &mut Clock {
        &mut self.clock
    }

    /// Before rows of the table change: what is being written has them as they are now. `matrices` are those of the table in the order of a file.
    pub(crate) fn before(&mut self, change: Change<'_>, matrices: &mut [&mut RowMatrix]) {
        self.hold(|snapshot| snapshot.keep(change, matrices));
        match change {
            Change::Rows(rows) => self.changed.mark(rows),
            Change::All => self.changed.mark_all(),
        }
    }

    /// How many rows of the table have changed since the last one.
    pub(crate) fn changed(&self) -> usize {
        self.changed.count()
    }

    /// Gives the one that is being written as much as it takes now.
    pub(crate) fn give_some(&mut self, matrices: &mut [&mut RowMatrix]) {
        self.hold(|snapshot| snapshot.give_some(matrices));
    }

    /// Gives it all that is left.
    pub(crate) fn give_all(&mut self, matrices: &mut [&mut RowMatrix]) {
        self.hold(|snapshot| snapshot.give_all(matrices));
    }

    /// Does what the steps wait for.
    fn hold(&mut self, work: impl FnOnce(&mut Snapshot)) {
        let Some(snapshot) = &mut self.snapshot else { return };
        let begun = Instant::now();
        work(snapshot);
        self.held += begun.elapsed();
    }

    /// So many rows of a table of `rows` may be written on top of the last checkpoint; `None` where the next one is to be whole.
    fn most_rows(&self, rows: usize) -> Option<usize> {
        let base = self.base.as_ref().filter(|base| base.on_top < MOST_ON_TOP)?;
        (rows / MOST_OF_A_TABLE).checked_sub(base.rows)
    }

    /// How the next one is written. Of the `rows` of the table, of so many bytes with what the optimizer has of them, so many have changed since
    /// the last one; `between` says whether it is copied at once, and may be written between two steps from where it lies.
    pub(crate) fn plan(&self, changed: usize, rows: usize, bytes: usize, between: bool) -> Plan {
        let has_room = |rows: usize| memory::available().map(|free| free / ROOM >= (rows * bytes) as u64);
        let is_few = self.most_rows(rows).is_some_and(|most| changed <= most);
        match () {
            () if is_few && (!between || has_room(changed) != Some(false)) => Plan::OnTop,
            () if between && has_room(rows) != Some(true) => Plan::Between,
            () => Plan::Beside,
        }
    }

    /// Writes a checkpoint; `written` of the rows of the table have changed since the last one. Over several ranks it is the work of all of them, and
    /// rank 0 writes. What is [given](Self::give_some) from now on may be of it.
    pub(crate) fn write(
        &mut self,
        place: Place,
        matrices: &Matrices<'_>,
        plan: Plan,
        written: usize,
        keeper: &mut Keeper,
    ) -> Result<()> {
        let rows = (plan == Plan::OnTop).then(|| self.changed.take());
        self.changed.forget();
        let below = self.base.take().filter(|_| plan == Plan::OnTop);
        let base = below.map(|below| Base { rows: below.rows + written, on_top: below.on_top + 1, ..below });
        let path = folder::path(&self.folder, place.steps, base.as_ref().map(|base| base.steps));
        let (rows_on_top, on_top) = base.as_ref().map_or((0, 0), |base| (base.rows, base.on_top));
        let place = Place { base, ..place };
        let (steps, known) = (place.steps, place.keeper.clone());
        let next = Base { steps, checksum: String::new(), rows: rows_on_top, on_top };
        if plan == Plan::Between {
            let Some(checksum) = matrices.write(&place, &path)? else { return Ok(()) };
            return self.is_written(Base { checksum, ..next }, known, keeper);
        }
        let Some(write) = self.writing(matrices, rows, place, path) else { return Ok(()) };
        let thread = std::thread::Builder::new().name("checkpoint".into());
        let thread = thread.spawn(write).map_err(FileError::of("write", &self.folder))?;
        self.under_way = Some(UnderWay { steps, keeper: known, base: next, thread });
        self.pin(keeper)
    }

    /// What the thread does: it writes slices where rows lie on the host of one process, and else a copy. `None` on another rank than 0.
    fn writing(
        &mut self,
        matrices: &Matrices<'_>,
        rows: Option<Vec<u32>>,
        place: Place,
        path: PathBuf,
    ) -> Option<Box<dyn FnOnce() -> Result<String, FileError> + Send>> {
        let write: Write = match matrices.is_here() {
            true => {
                let rows: Option<Arc<[u32]>> = rows.map(Into::into);
                let (coming, [table, width]) = (matrices.coming(rows.clone()), matrices.table.dims());
                let room = Room::beside(4 * table * width);
                let (snapshot, from) = Snapshot::new(rows, table, 1 + matrices.table_state.len(), room);
                self.snapshot = Some(snapshot);
                Box::new(move |place, path| coming.write_slices(place, path, &from))
            }
            false => {
                let copied = matrices.copied(rows.as_deref())?;
                Box::new(move |place, path| copied.write(place, path))
            }
        };
        Some(Box::new(move || {
            let begun = Instant::now();
            let checksum = write(&place, &path)?;
            tracing::debug!("{} written in {:.3} s", path.display(), begun.elapsed().as_secs_f64());
            Ok(checksum)
        }))
    }

    /// Takes account of the one that is being written, where it is on the disk by now.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn look(&mut self, keeper: &mut Keeper) -> Result<()> {
        match &self.under_way {
            Some(under_way) if under_way.thread.is_finished() => self.wait(keeper),
            _ => Ok(()),
        }
    }

    /// Waits for the one that is being written, to which all [is given](Self::give_all).
    ///
    /// # Errors
    /// Why it is not on the disk.
    pub(crate) fn wait(&mut self, keeper: &mut Keeper) -> Result<()> {
        if let Some(snapshot) = self.snapshot.take() {
            // dropped here: its thread does not wait for more
            let (held, kept) = (std::mem::take(&mut self.held).as_secs_f64(), snapshot.most_kept());
            tracing::debug!("steps waited {held:.3} s for its rows, of which {kept} bytes at most were kept");
        }
        let Some(UnderWay { keeper: known, base, thread, .. }) = self.under_way.take() else { return Ok(()) };
        let checksum = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        self.is_written(Base { checksum, ..base }, known, keeper)
    }

    fn is_written(&mut self, base: Base, known: KeeperState, keeper: &mut Keeper) -> Result<()> {
        self.kept.insert(0, (base.steps, known));
        self.base = Some(base);
        let kept = folder::clean(&self.folder)?;
        self.kept.retain(|(steps, _)| kept.contains(steps));
        self.pin(keeper)
    }

    /// The weights that checkpoints know of stay, also those of one that is being written.
    fn pin(&self, keeper: &mut Keeper) -> Result<()> {
        let known = self.kept.iter().map(|(_, known)| known).chain(self.under_way.iter().map(|one| &one.keeper));
        Ok(keeper.pin(known)?)
    }
}

/// A training that fails does not leave a thread behind that still writes into its folder: what has not been given is given up.
impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.snapshot = None;
        if let Some(UnderWay { steps, thread, .. }) = self.under_way.take()
            && let Ok(Err(error)) = thread.join()
        {
            tracing::warn!("the checkpoint of step {steps} was not written: {error}");
        }
    }
}
