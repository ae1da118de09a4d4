//! The order of an epoch: every row once, by chance, without a list of all rows where they are many.
//!
//! Up to [`WINDOW`] rows are put into one random order. Of more, blocks of [`BLOCK`] rows that follow each other are put into a random
//! order; as many blocks as fill a window are taken at a time, and the rows within a window are put into a random order. What is held
//! is one number a block and one a row of a window, and a disk reads whole blocks.

use rand_chacha::ChaCha8Rng;

use crate::random::shuffle;

/// Rows that are shuffled together.
const WINDOW: usize = 1 << 24;
/// Rows that follow each other in the columns and are read together: some tens of kilobytes.
const BLOCK: usize = 1 << 10;

/// `0..rows` in an order of its own for each stream.
pub(crate) struct Shuffled {
    rows: usize,
    block: usize,
    window: usize,
    random: ChaCha8Rng,
    /// Blocks that are still to come, last first; none where all rows fit into one window.
    blocks: Vec<usize>,
    /// Rows of the window that are still to come, last first.
    waiting: Vec<usize>,
}

impl Shuffled {
    pub(crate) fn new(rows: usize, random: ChaCha8Rng) -> Self {
        Self::in_windows(rows, WINDOW, BLOCK, random)
    }

    fn in_windows(rows: usize, window: usize, block: usize, mut random: ChaCha8Rng) -> Self {
        if rows <= window {
            let mut waiting: Vec<usize> = (0..rows).collect();
            shuffle(&mut waiting, &mut random);
            waiting.reverse();
            return Self { rows, block, window, random, blocks: vec![], waiting };
        }
        let mut blocks: Vec<usize> = (0..rows.div_ceil(block)).collect();
        shuffle(&mut blocks, &mut random);
        Self { rows, block, window, random, blocks, waiting: vec![] }
    }
}

impl Iterator for Shuffled {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.waiting.is_empty() {
            let kept = self.blocks.len().saturating_sub(self.window / self.block);
            for block in self.blocks.drain(kept..) {
                let first = block * self.block;
                self.waiting.extend(first..self.rows.min(first + self.block));
            }
            shuffle(&mut self.waiting, &mut self.random);
        }
        self.waiting.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    fn order(rows: usize, window: usize, block: usize, seed: u64) -> Vec<usize> {
        Shuffled::in_windows(rows, window, block, stream(b"batches\0", seed, 0)).collect()
    }

    #[test]
    fn every_row_comes_once_however_the_windows_fall() {
        for (rows, window, block) in
            [(0, 8, 2), (1, 8, 2), (8, 8, 2), (9, 8, 2), (1000, 64, 8), (1003, 64, 8), (129, 128, 1)]
        {
            let mut rows_seen = order(rows, window, block, 3);
            rows_seen.sort_unstable();
            assert_eq!(rows_seen, (0..rows).collect::<Vec<_>>(), "{rows} rows, windows of {window}, blocks of {block}");
        }
    }

    /// Chi-square of a place's row over seeds, and of the row after a row: both are uniform within what chance allows.
    #[test]
    fn a_row_falls_anywhere_and_what_follows_it_is_any_row() {
        let (rows, seeds) = (64, 20_000);
        let (mut place_of_5, mut after_5) = (vec![0f64; rows], vec![0f64; rows]);
        for seed in 0..seeds {
            let order = order(rows, 16, 2, seed);
            let place = order.iter().position(|&row| row == 5).expect("every row comes");
            place_of_5[place] += 1.0;
            if let Some(&next) = order.get(place + 1) {
                after_5[next] += 1.0;
            }
        }
        let chi_square = |counts: &[f64]| {
            let mean = counts.iter().sum::<f64>() / counts.len() as f64;
            counts.iter().map(|n| (n - mean) * (n - mean) / mean).sum::<f64>()
        };
        // 63 and 61 degrees of freedom: 120 is beyond the 99.999th percentile
        assert!(chi_square(&place_of_5) < 120.0, "{place_of_5:?}");
        after_5.remove(5);
        let partner = after_5.remove(4); // the other row of its block is in the same window for certain, and follows more often
        assert!(chi_square(&after_5) < 120.0, "{after_5:?}");
        let expected = f64::from(seeds as u32) / 16.0; // 15 others in a window of 16, and one place in 16 ends it
        assert!((partner - expected).abs() < 5.0 * expected.sqrt(), "{partner} times, expected {expected}");
    }

    #[test]
    fn rows_beyond_32_bits_are_numbered_right() {
        let (rows, random) = ((1usize << 32) + 5 * BLOCK - 3, stream(b"batches\0", 1, 0));
        let last = rows.div_ceil(BLOCK) - 1;
        let mut order = Shuffled { rows, block: BLOCK, window: BLOCK, random, blocks: vec![last], waiting: vec![] };
        let first = order.next().expect("the last block has rows");
        assert!((1 << 32..rows).contains(&first), "{first}");
        assert_eq!(order.count() + 1, BLOCK - 3);
    }
}
