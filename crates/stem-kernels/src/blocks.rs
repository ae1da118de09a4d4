//! Rows of several groups in blocks: a block goes through all that an op does without leaving the cache, forward and backward.
//!
//! Pieces of rows are cut by the shape alone, and what is summed over rows is summed in their order: results are the same bits on any number of
//! threads.

use std::ops::Range;

use crate::arena::{Buffer, take};
use crate::divide::{Planes, divide};
use crate::elementwise::add_rows;
use crate::linear::TASK_OPERATIONS;

/// Numbers that a block of rows may have in all that works on it: half of a small second-level cache.
const BLOCK: usize = 1 << 16;

/// Pieces of rows to aim at, so that up to so many threads have something to do.
const PIECES: usize = 16;

/// Rows `[G, B, I]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    /// `G`
    pub groups: usize,
    /// `B`
    pub batch: usize,
    /// `I`
    pub width: usize,
}

impl Rows {
    /// How many numbers they are.
    pub fn count(&self) -> usize {
        self.groups * self.batch * self.width
    }

    /// Some rows of a group. `[rows, I]`
    pub fn of<'x>(&self, x: &'x [f32], g: usize, rows: &Range<usize>) -> &'x [f32] {
        &x[(g * self.batch + rows.start) * self.width..][..rows.len() * self.width]
    }
}

/// How rows are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks {
    of: Rows,
    /// Rows that are worked on at a time.
    pub block: usize,
    /// Rows of a piece: whole blocks, but for the last.
    piece: usize,
    /// Pieces of a group; none without rows.
    pieces: usize,
    /// Groups and pieces that one task takes: all where there is little to do.
    grain: [usize; 2],
}

impl Blocks {
    /// Blocks of an op that works on `numbers` numbers for each row, with so many operations.
    pub fn new(of: Rows, numbers: usize, operations: usize) -> Self {
        let rows = of.groups * of.batch;
        let block = (BLOCK / numbers.max(1) / 16 * 16).clamp(32, 1024);
        let piece = rows.div_ceil(PIECES).next_multiple_of(block).max(1);
        let pieces = of.batch.div_ceil(piece);
        let grain = if rows * operations < TASK_OPERATIONS { [of.groups, pieces] } else { [1, 1] };
        Self { of, block, piece, pieces, grain }
    }

    /// Calls `work` with every block: its group, its rows, and their `y [rows, I]` of `y [G, B, I]`.
    pub fn forward(&self, y: &mut [f32], work: &(impl Fn(usize, Range<usize>, &mut [f32]) + Sync)) {
        self.backward(y, 0, &|| (), &|g, rows, y, (), _| work(g, rows, y));
    }

    /// The same with a scratch of the thread's, and with sums to add to; gives the sums over all rows of a group. `[G, sums]`
    pub fn backward<S>(
        &self,
        dx: &mut [f32],
        sums: usize,
        scratch: &(impl Fn() -> S + Sync),
        work: &(impl Fn(usize, Range<usize>, &mut [f32], &mut S, &mut [f32]) + Sync),
    ) -> Buffer {
        let (Rows { groups, batch, width }, pieces) = (self.of, self.pieces);
        let mut partial = take(groups * pieces * sums); // [G, pieces, sums]
        let outputs = [Planes::whole(dx, 1, batch * width), Planes::whole(&mut partial, 1, pieces * sums)];
        divide(0..groups, self.grain[0], outputs, &|groups, [mut dx, mut partial]| {
            for (i, g) in groups.enumerate() {
                let dx = Planes::whole(dx.piece(0, i), 1, self.piece * width);
                let outputs = [dx, Planes::whole(partial.piece(0, i), 1, sums)];
                divide(0..pieces, self.grain[1], outputs, &|pieces, [mut dx, mut partial]| {
                    let mut scratch = scratch();
                    for (i, piece) in pieces.enumerate() {
                        let (dx, sums) = (dx.piece(0, i), partial.row(0, i));
                        sums.fill(0.0);
                        for rows in self.blocks(piece) {
                            let first = (rows.start - piece * self.piece) * width;
                            let dx = &mut dx[first..][..rows.len() * width];
                            work(g, rows, dx, &mut scratch, sums);
                        }
                    }
                });
            }
        });
        let mut all = take(groups * sums); // [G, sums]
        all.fill(0.0);
        if sums > 0 && pieces > 0 {
            let of_groups = all.chunks_exact_mut(sums).zip(partial.chunks_exact(pieces * sums));
            of_groups.for_each(|(all, partial)| add_rows(all, partial));
        }
        all
    }

    /// The blocks of a piece.
    fn blocks(&self, piece: usize) -> impl Iterator<Item = Range<usize>> {
        let (end, block) = (((piece + 1) * self.piece).min(self.of.batch), self.block);
        (piece * self.piece..end).step_by(block).map(move |start| start..end.min(start + block))
    }
}
