//! The rows of the table as they were between two steps, given to the thread that writes them a slice at a time, while the steps go on.
//!
//! ```text
//! file      optimizer's state 0 | state 1 | table          each row by row
//! given     ---------------------------^                   what lies beyond is still to be given
//! ```
//!
//! Before a step changes a row that is still to be given, its values are kept as they are, and given in the place of the new ones. So the file
//! is the one that a copy of the whole would make. What is held besides the table is bounded: see [`Room`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use stem_core::nn::RowMatrix;

/// What is held besides the table is at most one of so many of its parts: half of it slices that wait, half of it rows that were kept.
const PART_OF_THE_TABLE: usize = 10;
/// So many slices wait to be written, where that many are not too small.
const SLICES: usize = 8;
/// Bytes of a slice at most.
const MOST_OF_A_SLICE: usize = 1 << 20;
/// Slices that are held and do not wait in the queue: the one that is being written, and one that found no place.
const OUT_OF_QUEUE: usize = 2;
/// Bytes that a kept row takes beside its values.
const BESIDE_A_ROW: usize = 64;

/// Rows of the table that a step is about to change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'c> {
    /// These, each once.
    Rows(&'c [u32]),
    /// All of them.
    All,
}

/// What a snapshot may hold, in bytes. A slice has a row at least, and three slices are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Of a slice.
    slice: usize,
    /// Slices that wait in the queue.
    queue: usize,
    /// Kept rows.
    kept: usize,
}

impl Room {
    /// Beside a table of so many bytes.
    pub(super) fn beside(table: usize) -> Self {
        let half = table / PART_OF_THE_TABLE / 2;
        let slice = (half / SLICES).clamp(1, MOST_OF_A_SLICE);
        Self { slice, queue: (half / slice).saturating_sub(OUT_OF_QUEUE).max(1), kept: half }
    }
}

/// Rows as they were at one moment, as far as they have not been given.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Which rows of the table, ascending; all of them where `None`.
    rows: Option<Arc<[u32]>>,
    count: usize,
    /// The matrix, and the place among the rows, of what is given next.
    next: (usize, usize),
    matrices: usize,
    /// Rows that have changed and are still to be given, as they were; by matrix.
    kept: Vec<BTreeMap<u32, Box<[f32]>>>,
    /// What they take, and the most that they have taken.
    kept_bytes: usize,
    most_kept: usize,
    room: Room,
    /// A slice for which there was no place.
    waiting: Option<Vec<f32>>,
    /// `None` where nothing is to be given any more.
    to: Option<SyncSender<Vec<f32>>>,
}

impl Snapshot {
    /// Of `rows`, or all, of so many `matrices` of `table_rows` rows; and where its slices come out.
    pub(super) fn new(
        rows: Option<Arc<[u32]>>,
        table_rows: usize,
        matrices: usize,
        room: Room,
    ) -> (Self, Receiver<Vec<f32>>) {
        let (to, from) = sync_channel(room.queue);
        let count = rows.as_ref().map_or(table_rows, |rows| rows.len());
        let kept = vec![BTreeMap::new(); matrices];
        let snapshot = Self {
            rows,
            count,
            next: (0, 0),
            matrices,
            kept,
            kept_bytes: 0,
            most_kept: 0,
            room,
            waiting: None,
            to: Some(to),
        };
        (snapshot, from)
    }

    /// Before a change: keeps what it overwrites. `matrices` are those of the table in the order of the file, `[V, W]` each. Waits until enough is written
    /// where more rows would be kept than there is room for.
    pub(super) fn keep(&mut self, change: Change<'_>, matrices: &mut [&mut RowMatrix]) {
        let rows = match change {
            Change::Rows(rows) => rows,
            Change::All => return self.give_all(matrices),
        };
        while self.to.is_some() && self.kept_bytes + self.bytes_of(rows.len(), matrices) > self.room.kept {
            self.give(matrices, true);
        }
        if self.to.is_none() {
            return;
        }
        for (k, matrix) in matrices.iter_mut().enumerate().skip(self.next.0) {
            let [_, width] = matrix.dims();
            let new: Vec<u32> = rows
                .iter()
                .copied()
                .filter(|row| self.is_to_come(k, *row) && !self.kept[k].contains_key(row))
                .collect();
            self.kept_bytes += new.len() * (4 * width + BESIDE_A_ROW);
            let kept = &mut self.kept[k];
            matrix.host_mut(|values| {
                kept.extend(new.into_iter().map(|row| (row, values[row as usize * width..][..width].into())));
            });
        }
        self.most_kept = self.most_kept.max(self.kept_bytes);
    }

    /// The most bytes that kept rows have taken.
    pub(super) fn most_kept(&self) -> usize {
        self.most_kept
    }

    /// Gives as many slices as there is room for now.
    pub(super) fn give_some(&mut self, matrices: &mut [&mut RowMatrix]) {
        while self.give(matrices, false) {}
    }

    /// Gives all that is left, and waits for room for it.
    pub(super) fn give_all(&mut self, matrices: &mut [&mut RowMatrix]) {
        while self.give(matrices, true) {}
    }

    /// What so many rows take at most if they are kept now.
    fn bytes_of(&self, rows: usize, matrices: &[&mut RowMatrix]) -> usize {
        matrices.iter().skip(self.next.0).map(|matrix| rows * (4 * matrix.dims()[1] + BESIDE_A_ROW)).sum()
    }

    /// Whether a row of a matrix is still to be given.
    fn is_to_come(&self, matrix: usize, row: u32) -> bool {
        let place = match &self.rows {
            None => row as usize,
            Some(rows) => match rows.binary_search(&row) {
                Ok(place) => place,
                Err(_) => return false,
            },
        };
        (matrix, place) >= self.next
    }

    /// Gives the next slice; whether there was one, and room for it.
    fn give(&mut self, matrices: &mut [&mut RowMatrix], wait: bool) -> bool {
        let Some(to) = self.to.take() else { return false };
        let Some(slice) = self.waiting.take().or_else(|| self.slice(matrices)) else { return false };
        let given = match wait {
            true => to.send(slice).map_err(|_| None),
            false => to.try_send(slice).map_err(|error| match error {
                TrySendError::Full(slice) => Some(slice),
                TrySendError::Disconnected(_) => None,
            }),
        };
        let is_given = given.is_ok();
        match given {
            Ok(()) if self.next.0 < self.matrices => self.to = Some(to),
            Ok(()) => {}
            Err(Some(slice)) => (self.waiting, self.to) = (Some(slice), Some(to)),
            Err(None) => self.kept.iter_mut().for_each(BTreeMap::clear), // it could not be written, which its thread tells
        }
        is_given
    }

    /// The next slice as it was, in its place of the file; `None` at the end.
    fn slice(&mut self, matrices: &mut [&mut RowMatrix]) -> Option<Vec<f32>> {
        while self.next.0 < self.matrices && self.count == 0 {
            self.next.0 += 1;
        }
        let (k, first) = self.next;
        let matrix = matrices.get_mut(k).filter(|_| k < self.matrices)?;
        let [_, width] = matrix.dims();
        let last = (first + (self.room.slice / (4 * width).max(1)).max(1)).min(self.count);
        let rows = self.rows.as_deref().map(|rows| &rows[first..last]);
        let mut slice = Vec::with_capacity((last - first) * width);
        matrix.host_mut(|values| match rows {
            None => slice.extend_from_slice(&values[first * width..last * width]),
            Some(rows) => {
                rows.iter().for_each(|row| slice.extend_from_slice(&values[*row as usize * width..][..width]))
            }
        });
        let end = match &self.rows {
            None => last as u32,
            Some(rows) => rows[last - 1] + 1,
        };
        let later = self.kept[k].split_off(&end);
        for (row, values) in std::mem::replace(&mut self.kept[k], later) {
            let place = rows.map_or(row as usize - first, |rows| rows.partition_point(|own| *own < row));
            slice[place * width..][..width].copy_from_slice(&values);
            self.kept_bytes -= 4 * width + BESIDE_A_ROW;
        }
        self.next = if last == self.count { (k + 1, 0) } else { (k, last) };
        Some(slice)
    }
}
