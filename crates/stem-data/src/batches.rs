//! Batches of a split, in an order that seed and epoch decide, filled on a thread ahead of the model.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use stem_core::{Batch, FieldKind, PADDING};

use crate::dataset::{Dataset, label};
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

/// Iterator over the batches of a split. Dropping it stops its thread.
#[derive(Debug)]
pub struct Batches {
    batches: Option<Receiver<Batch>>,
    thread: Option<JoinHandle<()>>,
    left: usize,
}

impl Batches {
    pub(crate) fn new(dataset: Dataset, split: Split, plan: BatchPlan) -> Self {
        let (rows, size) = (dataset.rows(split), plan.size.max(1));
        let (sender, receiver) = sync_channel(AHEAD);
        let thread = std::thread::spawn(move || {
            let mut order: Box<dyn Iterator<Item = usize>> = match plan.shuffle {
                Some((seed, epoch)) => Box::new(Shuffled::new(rows, random::stream(b"batches\0", seed, epoch))),
                None => Box::new(0..rows),
            };
            let mut places = Vec::with_capacity(size.min(rows));
            loop {
                places.clear();
                places.extend(order.by_ref().take(size));
                if places.is_empty() || sender.send(dataset.fill(split, &places)).is_err() {
                    return; // all rows are through, or the other end was dropped
                }
            }
        });
        Self { batches: Some(receiver), thread: Some(thread), left: rows.div_ceil(size) }
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
        Batches::new(self.clone(), split, plan)
    }

    /// Copies rows out of the columns and derives the weights that the columns leave out.
    fn fill(&self, split: Split, rows: &[usize]) -> Batch {
        let schema = self.schema();
        let (labels, of_first, stride) = self.strided_labels(split); // [N, stride]
        let (ids, numbers, cols) = self.features(split); // ids [N, S], numbers [N, cols]
        let (slots, tasks) = (schema.slots(), schema.tasks.len());
        let offsets = schema.offsets();
        let ranges = schema.slot_ranges();
        let mut batch = Batch::new(rows.len(), Vec::with_capacity(rows.len() * slots), vec![1.0; rows.len() * slots])
            .with_labels(Vec::with_capacity(rows.len() * tasks));
        for (b, &row) in rows.iter().enumerate() {
            let from = &ids[row * slots..(row + 1) * slots];
            batch.ids.extend_from_slice(from);
            let first = row * stride + of_first;
            batch.labels.extend(labels[first..first + tasks].iter().map(|&byte| label(byte)));
            let weights = &mut batch.weights[b * slots..(b + 1) * slots];
            let mut number = 0;
            for (field, range) in schema.fields.iter().zip(&ranges) {
                match &field.kind {
                    FieldKind::Number { .. } | FieldKind::Vector { .. } => {
                        let own = &numbers[row * cols + number..][..range.len()];
                        weights[range.clone()].copy_from_slice(own);
                        number += range.len();
                    }
                    FieldKind::Sequence { pooling, .. } => {
                        let padding = offsets[field.vocabulary] + PADDING;
                        let len = from[range.clone()].iter().take_while(|&&id| id != padding).count();
                        weights[range.start..range.start + len].fill(pooling.weight(len));
                        weights[range.start + len..range.end].fill(0.0);
                    }
                    _ => {} // a category's slot weighs 1
                }
            }
        }
        batch
    }
}
