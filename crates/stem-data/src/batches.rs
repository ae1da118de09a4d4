//! Batches of a split, in an order that seed and epoch decide, filled on a thread ahead of the model.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use rayon::prelude::*;
use stem_core::{Batch, FieldKind, PADDING};

use crate::dataset::Dataset;
use crate::negatives::Sampled;
use crate::random;
use crate::shuffle::Shuffled;
use crate::split::Split;

/// Batches that wait to be taken while the thread fills another.
const AHEAD: usize = 2;

/// How a split is cut into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlan {
    /// Rows of a batch; the last one holds what remains.
    pub size: usize,
    /// Seed and epoch of the order; `None` keeps the order of the file.
    pub shuffle: Option<(u64, u64)>,
}

/// Which rows an epoch is made of.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EpochRows {
    /// All rows that are positive for some task and this share of the others, drawn anew in every epoch; all of them where it is `None`. A
    /// row that is kept of the others counts by as much more ([`Batch::row_weights`]), so that a loss is, in expectation, that of all rows.
    pub keep: Option<f64>,
    /// Whether the rows of a group follow each other, and batches name each row's group ([`Batch::groups`]). Groups are in an order that seed
    /// and epoch decide, and so are the rows within them; a group is cut where a batch ends. Without groups in the data nothing of this.
    pub whole_groups: bool,
    /// Which part of every batch is filled, and of how many: all of it where it is `None`. See [`part_of`].
    pub part: Option<(usize, usize)>,
}

/// The rows of a batch of so many `rows` that are part `part` of `parts`: stretches one after the other, of lengths that differ by one at most.
pub fn part_of(rows: usize, part: usize, parts: usize) -> Range<usize> {
    rows * part / parts..rows * (part + 1) / parts
}

/// Rows in groups: by a draw for each group, then by one for each row.
fn in_groups(dataset: &Dataset, split: Split, seed: u64, epoch: u64) -> impl Iterator<Item = usize> + use<> {
    let groups = dataset.groups(split).unwrap_or_default();
    let draw = |of: u64, salt: u64| xxhash_rust::xxh3::xxh3_64_with_seed(bytemuck::bytes_of(&[of, epoch, salt]), seed);
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.par_sort_unstable_by_key(|&row| (draw(u64::from(groups[row]), 0), groups[row], draw(row as u64, 1), row));
    order.into_iter()
}

/// Iterator over the batches of a split. Dropping it stops its thread.
#[derive(Debug)]
pub struct Batches {
    batches: Option<Receiver<Batch>>,
    thread: Option<JoinHandle<()>>,
    left: usize,
}

impl Batches {
    pub(crate) fn new(dataset: Dataset, split: Split, plan: BatchPlan, taken: usize, of: EpochRows) -> Self {
        let EpochRows { keep, whole_groups, part } = of;
        let groups = whole_groups && dataset.groups(split).is_some();
        let (rows, size) = (dataset.rows(split), plan.size.max(1));
        let kept = dataset.rows_kept(split, keep);
        let (sender, receiver) = sync_channel(AHEAD);
        let thread = std::thread::spawn(move || {
            let sampled = keep.map(|keep| Sampled::draw(&dataset, split, keep, plan.shuffle.unwrap_or_default()));
            let all: Box<dyn Iterator<Item = usize>> = match plan.shuffle {
                Some((seed, epoch)) if groups => Box::new(in_groups(&dataset, split, seed, epoch)),
                Some((seed, epoch)) => Box::new(Shuffled::new(rows, random::stream(b"batches\0", seed, epoch))),
                None => Box::new(0..rows),
            };
            let mut order = all.filter(|&row| sampled.as_ref().is_none_or(|sampled| sampled.has(row)));
            if let Some(last) = taken.saturating_mul(size).min(kept).checked_sub(1) {
                order.nth(last);
            }
            let mut places = Vec::with_capacity(size.min(rows));
            loop {
                places.clear();
                places.extend(order.by_ref().take(size));
                if places.is_empty() {
                    return; // all rows are through
                }
                let own = part.map_or(0..places.len(), |(part, parts)| part_of(places.len(), part, parts));
                if sender.send(dataset.fill(split, &places[own], sampled.as_ref(), groups)).is_err() {
                    return; // the other end was dropped
                }
            }
        });
        Self { batches: Some(receiver), thread: Some(thread), left: kept.div_ceil(size).saturating_sub(taken) }
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        match self.batches.as_ref()?.recv() {
            Ok(batch) => {
                self.left -= 1;
                Some(batch)
            }
            Err(_) => {
                // the thread has ended: with its work done, or with a panic that must not pass for the end of the data
                if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                    std::panic::resume_unwind(panic);
                }
                None
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        self.batches = None; // a thread that waits to send wakes and ends
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Dataset {
    /// Batches of a split, prepared on a thread ahead.
    ///
    /// The same plan gives the same batches on every device and platform; every row comes exactly once. Of more than 16 million rows
    /// the order is that of shuffled blocks, shuffled again within windows, so that a data set larger than memory is read in runs.
    pub fn batches(&self, split: Split, plan: BatchPlan) -> Batches {
        self.batches_after(split, plan, 0)
    }

    /// The same without the first `taken` batches: a training goes on in the middle of an epoch.
    pub fn batches_after(&self, split: Split, plan: BatchPlan, taken: usize) -> Batches {
        self.batches_of(split, plan, taken, EpochRows::default())
    }

    /// The same with the rows that an epoch is made of: part of them, or in groups.
    pub fn batches_of(&self, split: Split, plan: BatchPlan, taken: usize, of: EpochRows) -> Batches {
        Batches::new(self.clone(), split, plan, taken, of)
    }

    /// Copies rows out of the columns and derives the weights that the columns leave out.
    fn fill(&self, split: Split, rows: &[usize], sampled: Option<&Sampled>, with_groups: bool) -> Batch {
        let schema = self.schema();
        let (ids, numbers) = self.features(split);
        let (slots, tasks) = (schema.slots(), schema.tasks.len());
        let offsets = schema.offsets();
        let mut batch = Batch::new(rows.len(), Vec::with_capacity(rows.len() * slots), vec![1.0; rows.len() * slots])
            .with_labels(Vec::with_capacity(rows.len() * tasks));
        if let Some(weights) = self.weights(split) {
            batch.row_weights = rows.iter().map(|&row| weights[row]).collect();
        }
        if let Some(groups) = self.groups(split).filter(|_| with_groups) {
            batch.groups = rows.iter().map(|&row| groups[row]).collect();
        }
        self.append_labels(split, rows.iter().copied(), &mut batch.labels);
        for &row in rows {
            let (mut own_ids, mut own_numbers) = (ids.row(row), numbers.row(row));
            for field in &schema.fields {
                let (start, padding) = (batch.ids.len(), offsets[field.vocabulary] + PADDING);
                let end = start + field.kind.slots();
                match &field.kind {
                    FieldKind::Sequence { pooling, .. } => {
                        let own = match ids.has_lengths() {
                            true => take_list(&mut own_ids),
                            false => take_padded(&mut own_ids, field.kind.slots(), padding),
                        };
                        let fits = own.filter(|own| own.len() <= field.kind.slots());
                        let own = fits.unwrap_or_default();
                        batch.ids.extend_from_slice(own);
                        batch.ids.resize(end, if fits.is_some() { padding } else { NO_ID });
                        let weights = &mut batch.weights[start..end];
                        weights[..own.len()].fill(pooling.weight(own.len()));
                        weights[own.len()..].fill(0.0);
                    }
                    kind => {
                        batch.ids.extend_from_slice(take(&mut own_ids, kind.slots()));
                        batch.ids.resize(end, NO_ID);
                        if !kind.has_keys() {
                            batch.weights[start..end].copy_from_slice(take(&mut own_numbers, kind.slots()));
                        } // a category's slot weighs 1
                    }
                }
            }
        }
        if let Some(sampled) = sampled {
            let of_rows = rows.iter().enumerate();
            batch.row_weights = of_rows.map(|(place, &row)| batch.row_weight(place) * sampled.weight(row)).collect();
        }
        batch
    }
}

/// Stands where a damaged file has no id, or more than there is room for: no table is that large, and every batch is checked.
const NO_ID: u32 = u32::MAX;

/// A list: as many ids as the number before them says. `None` where there are fewer.
fn take_list<'v>(ids: &mut &'v [u32]) -> Option<&'v [u32]> {
    let (&length, after) = ids.split_first()?;
    let (own, left) = after.split_at_checked(length as usize)?;
    *ids = left;
    Some(own)
}

/// A list that an earlier version wrote: ids up to the first padding, of as many slots as the field has.
fn take_padded<'v>(ids: &mut &'v [u32], slots: usize, padding: u32) -> Option<&'v [u32]> {
    take(ids, slots).split(|&id| id == padding).next()
}

/// The first of some values, as many as there are of `count`; the others are left.
fn take<'v, T>(values: &mut &'v [T], count: usize) -> &'v [T] {
    let (taken, left) = values.split_at(count.min(values.len()));
    *values = left;
    taken
}
