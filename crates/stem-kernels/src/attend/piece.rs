//! A piece of the rows: which values their histories hold, each once, gathered from the table.

use std::ops::Range;

use super::lanes::{LANES, Lanes, STEP, ZERO, vectors};
use super::{Attention, Order, Values};
use crate::rows::ReadRows;

/// The values of some rows, padding left out. Those of a row are padded to a multiple of [`STEP`] with values of weight 0.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// First value of every row, and the end of the last.
    pub starts: Vec<usize>,
    /// Values of every row without what pads them.
    pub counts: Vec<usize>,
    /// The slot of every value: of the first that holds it.
    pub slots: Vec<u32>,
    /// What its slots weigh together.
    pub weights: Vec<f32>,
    /// How many slots hold it.
    pub times: Vec<f32>,
    /// Its position.
    pub positions: Vec<u32>,
    /// What is judged: of every row all groups, of every group its values. `[N, G, D]`
    pub judged: Vec<Lanes>,
    /// What is summed, where that is something else.
    pub summed: Vec<Lanes>,
}

/// Values ahead of the one in work whose rows are asked for.
const AHEAD: usize = 8;

impl Piece {
    pub fn new<R: ReadRows>(of: &Attention, values: Values<R>, rows: Range<usize>) -> Self {
        let mut piece = Self { starts: vec![0], ..Self::default() };
        let merges = of.positions.is_none() && of.gaps.is_none();
        let mut seen = Seen::of(of.slots.len());
        for b in rows.clone() {
            let index = match values {
                Values::Rows { index, .. } if merges => Some(&index[b * of.all_slots..][of.slots.clone()]),
                _ => None,
            };
            piece.push_row(of, b, index, &mut seen);
        }
        let size = piece.slots.len() * of.groups * vectors(of.dim);
        piece.judged = vec![ZERO; size];
        match values {
            Values::Rows { rows: table, index } => piece.read_rows(of, table, index, rows.start),
            Values::Given(k) => piece.read_given(of, k, rows.start),
        }
        piece
    }

    /// The values of row `b`; equal ones are one where `index` is given.
    fn push_row(&mut self, of: &Attention, b: usize, index: Option<&[u32]>, seen: &mut Seen) {
        let first = self.slots.len();
        let weights = &of.weights[b * of.all_slots..][of.slots.clone()];
        let there = weights.iter().filter(|weight| **weight != 0.0).count();
        seen.clear();
        for (slot, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
            let next = self.slots.len() - first;
            let place = first + index.map_or(next, |index| seen.place(index[slot], next));
            if place < self.slots.len() {
                self.weights[place] += weight;
                self.times[place] += 1.0;
                continue;
            }
            let position = match of.positions {
                Some((_, Order::FromLast)) => there.saturating_sub(slot + 1) as u32,
                _ => slot as u32,
            };
            self.push(slot as u32, weight, 1.0, position);
        }
        self.counts.push(self.slots.len() - first);
        while !(self.slots.len() - first).is_multiple_of(STEP) {
            self.push(0, 0.0, 0.0, 0);
        }
        self.starts.push(self.slots.len());
    }

    fn push(&mut self, slot: u32, weight: f32, times: f32, position: u32) {
        self.slots.push(slot);
        self.weights.push(weight);
        self.times.push(times);
        self.positions.push(position);
    }

    /// Where the values of a row begin, and those of a group of it, among the vectors.
    pub fn vectors_of(&self, row: usize, g: usize, groups: usize, width: usize) -> Range<usize> {
        let (start, end) = (self.starts[row], self.starts[row + 1]);
        let first = (start * groups + g * (end - start)) * width;
        first..first + (end - start) * width
    }

    /// Reads table rows: `k_j`, and `k_j + r_j` where there are gaps.
    fn read_rows<R: ReadRows>(&mut self, of: &Attention, table: R, index: &[u32], first: usize) {
        let (width, columns) = (vectors(of.dim), 0..of.groups * of.dim);
        let mut scratch = vec![0.0; table.scratch()];
        let outside = |id: u32| -> ! { panic!("index {id} lies outside {} rows of a table", table.count()) };
        if of.gaps.is_some() {
            self.summed = vec![ZERO; self.judged.len()];
        }
        for row in 0..self.counts.len() {
            let index = &index[(first + row) * of.all_slots..][..of.all_slots];
            let start = self.starts[row];
            let slots = &self.slots[start..start + self.counts[row]];
            for (j, &slot) in slots.iter().enumerate() {
                if let Some(&ahead) = slots.get(j + AHEAD) {
                    table.prefetch(index[of.slots.start + ahead as usize], &columns);
                }
                let id = index[of.slots.start + slot as usize];
                let values = table.read(id, &mut scratch).unwrap_or_else(|| outside(id));
                let to = if of.gaps.is_some() { &mut self.summed } else { &mut self.judged };
                for g in 0..of.groups {
                    let at = (start * of.groups + g * (self.starts[row + 1] - start) + j) * width;
                    copy_in(&values[g * of.dim..][..of.dim], &mut to[at..at + width]);
                }
            }
            let Some(gaps) = &of.gaps else { continue };
            let weights = &of.weights[(first + row) * of.all_slots..][gaps.clone()];
            for (j, &slot) in slots.iter().enumerate() {
                let gap = (weights[slot as usize] != 0.0).then(|| index[gaps.start + slot as usize]);
                let values = gap.map(|id| table.read(id, &mut scratch).unwrap_or_else(|| outside(id)));
                for g in 0..of.groups {
                    let at = (start * of.groups + g * (self.starts[row + 1] - start) + j) * width;
                    let (judged, summed) = (&mut self.judged[at..at + width], &self.summed[at..at + width]);
                    judged.copy_from_slice(summed);
                    if let Some(values) = values {
                        let values = &values[g * of.dim..][..of.dim];
                        judged.as_flattened_mut().iter_mut().zip(values).for_each(|(k, r)| *k += r);
                    }
                }
            }
        }
    }

    /// Reads values that are there. `k [G, B, L, D]`
    fn read_given(&mut self, of: &Attention, k: &[f32], first: usize) {
        let (width, length, all) = (vectors(of.dim), of.slots.len(), of.rows());
        for row in 0..self.counts.len() {
            for g in 0..of.groups {
                let k = &k[(g * all + first + row) * length * of.dim..][..length * of.dim];
                let to = self.vectors_of(row, g, of.groups, width);
                let slots = &self.slots[self.starts[row]..][..self.counts[row]];
                for (to, &slot) in self.judged[to].chunks_exact_mut(width).zip(slots) {
                    copy_in(&k[slot as usize * of.dim..][..of.dim], to);
                }
            }
        }
    }
}

/// Numbers into vectors, which hold 0 beyond.
#[inline(always)]
pub(super) fn copy_in(numbers: &[f32], to: &mut [Lanes]) {
    let (whole, rest) = numbers.as_chunks::<LANES>();
    for (to, whole) in to.iter_mut().zip(whole) {
        *to = *whole;
    }
    if let Some(to) = to.get_mut(whole.len()) {
        to[..rest.len()].copy_from_slice(rest);
    }
}

/// Vectors into numbers, as many as there are.
#[inline(always)]
pub(super) fn copy_out(from: &[Lanes], numbers: &mut [f32]) {
    let (whole, rest) = numbers.as_chunks_mut::<LANES>();
    let count = whole.len();
    for (whole, from) in whole.iter_mut().zip(from) {
        *whole = *from;
    }
    if let Some(from) = from.get(count) {
        rest.copy_from_slice(&from[..rest.len()]);
    }
}

/// Which ids a row has had, each with a number: a table of open addresses that is cleared by counting on.
struct Seen {
    /// When an address was taken, by which id, and its number.
    taken: Vec<(u32, u32, u32)>,
    now: u32,
}

impl Seen {
    /// For up to so many ids.
    fn of(ids: usize) -> Self {
        Self { taken: vec![(0, 0, 0); (2 * ids).next_power_of_two()], now: 0 }
    }

    fn clear(&mut self) {
        self.now += 1;
    }

    /// The number of `id`: `next`, if it was not there.
    fn place(&mut self, id: u32, next: usize) -> usize {
        const SPREAD: u32 = 0x9e37_79b1; // 2^32 over the golden ratio
        let mask = self.taken.len() - 1;
        let mut at = (id.wrapping_mul(SPREAD) >> 8) as usize & mask;
        loop {
            match self.taken[at] {
                (when, other, place) if when == self.now && other == id => return place as usize,
                (when, ..) if when == self.now => at = (at + 1) & mask,
                _ => {
                    self.taken[at] = (self.now, id, next as u32);
                    return next;
                }
            }
        }
    }
}
