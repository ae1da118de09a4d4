//! Writing checkpoints beside the training: what has changed is copied between two steps, and a thread of its own puts it on the disk. One at
//! a time; the next one, and the end, wait for it. A copy is taken where memory allows, and else a whole one written between the steps.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use stem_core::files::FileError;

use super::file::Matrices;
use super::state::{Base, Place};
use super::{CheckpointEvery, Clock, folder};
use crate::error::Result;
use crate::keep::{Keeper, KeeperState};
use crate::memory;

/// One of so many rows is written on top of a whole checkpoint at most, in all that are on top of it together.
const MOST_OF_A_TABLE: usize = 2;
/// So many checkpoints are on top of a whole one at most: all of them are read to go on.
const MOST_ON_TOP: usize = 16;
/// A copy is taken where memory for it is free so many times.
const ROOM: u64 = 2;

/// How a checkpoint is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Plan {
    /// Whole, between two steps, from where it lies.
    #[default]
    Between,
    /// Whole, copied, beside the steps that follow.
    Beside,
    /// The rows that have changed, copied, on top of the last one, beside the steps that follow.
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
    under_way: Option<UnderWay>,
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
    /// Those of a folder in which there are none.
    pub(crate) fn start(folder: &Path, every: CheckpointEvery) -> Self {
        Self { folder: folder.into(), clock: Clock::start(every), kept: Vec::new(), base: None, under_way: None }
    }

    /// After a training has gone on from `base`; `kept` are those of the folder.
    pub(crate) fn go_on(&mut self, base: Base, kept: Vec<(usize, KeeperState)>) {
        (self.base, self.kept) = (Some(base), kept);
    }

    /// When the next one is due.
    pub(crate) fn clock(&mut self) -> &mut Clock {
        &mut self.clock
    }

    /// So many rows of a table of `rows` may be written on top of the last checkpoint; `None` where the next one is to be whole.
    fn most_rows(&self, rows: usize) -> Option<usize> {
        let base = self.base.as_ref().filter(|base| base.on_top < MOST_ON_TOP)?;
        (rows / MOST_OF_A_TABLE).checked_sub(base.rows)
    }

    /// How the next one is written. Of the `rows` of the table, of so many bytes with what the optimizer has of them, so many have changed since
    /// the last one; `between` says whether what is whole may be written between two steps from where it lies.
    pub(crate) fn plan(&self, changed: usize, rows: usize, bytes: usize, between: bool) -> Plan {
        let has_room = |rows: usize| memory::available().map(|free| free / ROOM >= (rows * bytes) as u64);
        let is_few = self.most_rows(rows).is_some_and(|most| changed <= most);
        match () {
            () if is_few && (!between || has_room(changed) != Some(false)) => Plan::OnTop,
            () if between && has_room(rows) != Some(true) => Plan::Between,
            () => Plan::Beside,
        }
    }

    /// Writes a checkpoint: on top of the last one where `rows` says which rows of the table have changed since, whole without. Over several ranks it
    /// is the work of all of them, and rank 0 writes.
    pub(crate) fn write(
        &mut self,
        place: Place,
        matrices: &Matrices<'_>,
        plan: Plan,
        (rows, written): (Option<&[u32]>, usize),
        keeper: &mut Keeper,
    ) -> Result<()> {
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
        let Some(copied) = matrices.copied(rows) else { return Ok(()) };
        let thread = std::thread::Builder::new().name("checkpoint".into());
        let write = move || {
            let begun = Instant::now();
            let checksum = copied.write(&place, &path)?;
            tracing::debug!("{} written in {:.3} s", path.display(), begun.elapsed().as_secs_f64());
            Ok(checksum)
        };
        let thread = thread.spawn(write).map_err(FileError::of("write", &self.folder))?;
        self.under_way = Some(UnderWay { steps, keeper: known, base: next, thread });
        self.pin(keeper)
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

    /// Waits for the one that is being written.
    ///
    /// # Errors
    /// Why it is not on the disk.
    pub(crate) fn wait(&mut self, keeper: &mut Keeper) -> Result<()> {
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

/// A training that fails does not leave a thread behind that still writes into its folder.
impl Drop for Checkpoints {
    fn drop(&mut self) {
        if let Some(UnderWay { steps, thread, .. }) = self.under_way.take()
            && let Ok(Err(error)) = thread.join()
        {
            tracing::warn!("the checkpoint of step {steps} was not written: {error}");
        }
    }
}
