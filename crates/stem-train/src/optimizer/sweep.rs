//! The update on the host: one sweep over weights and state together, in place, by as many threads as it is worth.

use rayon::join;
use stem_kernels::simd::{self, Kernel, prefetch};

use super::rule::Rule;

/// Elements a thread updates before it is worth asking another one.
const GRAIN: usize = 32_768;

/// Rows ahead of the one in work whose memory is asked for: rows of a table lie anywhere.
const AHEAD: usize = 8;

/// Rows of a matrix that one thread owns.
#[derive(Debug)]
pub(super) struct Slab<'a> {
    values: &'a mut [f32],
    width: usize,
}

impl<'a> Slab<'a> {
    /// Values of whole rows, row-major.
    pub(super) fn new(values: &'a mut [f32], width: usize) -> Self {
        Self { values, width }
    }

    #[inline(always)]
    fn row(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.width..(row + 1) * self.width]
    }

    /// Keeps `rows` rows and gives the others.
    fn split_off(&mut self, rows: usize) -> Self {
        let values = self.values.split_off_mut(rows * self.width..).expect("a part is split at a row of its own");
        Self { values, width: self.width }
    }
}

/// A stretch of the matrices: rows from `first` on, rows `from..to` of the gradient.
pub(super) struct Part<'a, const N: usize> {
    pub(super) first: usize,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) weights: Slab<'a>,
    pub(super) state: [Slab<'a>; N],
}

/// Updates the rows that `row` gives for each row of the gradient `[U, W]`. Splits at a row boundary until a part is small;
/// rows ascend, so the halves never touch the same memory.
pub(super) fn sweep<const N: usize>(
    part: Part<'_, N>,
    rule: impl Rule<N>,
    row: &(impl Fn(usize) -> usize + Sync),
    grad: &[f32],
    scale: f32,
) {
    let Part { first, from, to, mut weights, mut state } = part;
    let width = weights.width;
    if (to - from) * width > GRAIN && to - from > 1 {
        let middle = from + (to - from) / 2;
        let cut = row(middle) - first;
        let high = Part {
            first: row(middle),
            from: middle,
            to,
            weights: weights.split_off(cut),
            state: state.each_mut().map(|slab| slab.split_off(cut)),
        };
        let low = Part { first, from, to: middle, weights, state };
        join(|| sweep(low, rule, row, grad, scale), || sweep(high, rule, row, grad, scale));
        return;
    }
    simd::run(Stretch { part: Part { first, from, to, weights, state }, rule, row, grad, scale });
}

/// A part that one thread updates, row after row.
struct Stretch<'a, const N: usize, R, F> {
    part: Part<'a, N>,
    rule: R,
    row: &'a F,
    grad: &'a [f32],
    scale: f32,
}

impl<const N: usize, R: Rule<N>, F: Fn(usize) -> usize> Kernel for Stretch<'_, N, R, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Stretch { part: Part { first, from, to, mut weights, mut state }, rule, row, grad, scale } = self;
        let width = weights.width;
        for i in from..to {
            if i + AHEAD < to {
                let ahead = row(i + AHEAD) - first;
                prefetch(weights.row(ahead));
                for slab in &mut state {
                    prefetch(slab.row(ahead));
                }
            }
            let at = row(i) - first;
            let state = state.each_mut().map(|slab| slab.row(at));
            rule.row(weights.row(at), state, &grad[i * width..(i + 1) * width], scale);
        }
    }
}
