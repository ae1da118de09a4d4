//! Skinny products (gemv and its like): a result of a few rows or columns, at which a library for large ones spends its time on
//! preparations.
//!
//! Where the machine has tiles, sums are taken as they take them: fused, in the order of `k`, in their blocks. A row alone then has the bits
//! that it has among many.

use super::tile::Avx512;
use crate::mat::{Mat, MatMut};
use crate::simd::vectorised;

/// Columns of a result up to which this is faster.
const COLS: usize = 4;

/// Rows that are summed side by side.
const ROWS: usize = 4;

/// Below so many there is nothing to gain.
const LEAST: usize = 16;

/// Whether the result is skinny, and a sum of whole rows of `A^T` or of `B`. `a [m, k]`, `b [k, n]`
pub(super) fn fits(a: Mat, b: Mat) -> bool {
    fits_columns(a, b) || a.rows() == 1 && b.cols() >= LEAST && b.col_stride() == 1
}

fn fits_columns(a: Mat, b: Mat) -> bool {
    b.cols() <= COLS && a.rows() >= LEAST && a.row_stride() == 1
}

/// `C = [C +] A B` of what [`fits`] says, or of few rows and a `B` whose rows lie in one piece.
///
/// # Shapes
/// `a [m, k]`, `b [k, n]`, `c [m, n]`, none of them 0
pub(super) fn multiply(a: Mat, b: Mat, c: &mut MatMut, accumulate: bool) {
    let (k, n, columns) = (a.cols(), c.cols(), fits_columns(a, b));
    let tiles = Avx512::detect();
    let (depth, fused) = (tiles.map_or(k, |tiles| tiles.depth(k)), tiles.is_some());
    for from in (0..k).step_by(depth) {
        let terms = from..k.min(from + depth);
        let (a, b) = (a.t().rows_of(terms.clone()).t(), b.rows_of(terms));
        let accumulate = accumulate || from > 0;
        if columns {
            // C^T = B^T A^T
            let out = Destination { data: c.data(), row: 1, col: n, accumulate, fused };
            sums(b.t(), a.t(), out);
            continue;
        }
        for first in (0..a.rows()).step_by(ROWS) {
            let rows = first..a.rows().min(first + ROWS);
            let out = Destination { data: &mut c.data()[first * n..], row: n, col: 1, accumulate, fused };
            sums(a.rows_of(rows), b, out);
        }
    }
}

/// Where a result of few rows goes.
struct Destination<'a> {
    data: &'a mut [f32],
    row: usize, // distance of an element to the one below it
    col: usize, // and to the one right of it
    accumulate: bool,
    /// Whether a product is not rounded before it is added.
    fused: bool,
}

/// `out(i, j) = sum_k a(i, k) b(k, j)`. `a [S, K]`, `b [K, n]` its rows in one piece
fn sums(a: Mat, b: Mat, out: Destination) {
    match a.rows() {
        1 => sums_of::<1>(a, b, out),
        2 => sums_of::<2>(a, b, out),
        3 => sums_of::<3>(a, b, out),
        _ => sums_of::<ROWS>(a, b, out),
    }
}

vectorised! {
    fn sums_of<const S: usize>(a: Mat<'_>, b: Mat<'_>, out: Destination<'_>) {
        let mut out = out;
        match out.fused {
            true => all_columns::<S, true>(a, b, &mut out),
            false => all_columns::<S, false>(a, b, &mut out),
        }
    }
}

#[inline(always)]
fn all_columns<const S: usize, const FUSED: bool>(a: Mat, b: Mat, out: &mut Destination) {
    let mut from = 0;
    from = columns::<S, 64, FUSED>(a, b, out, from);
    from = columns::<S, 16, FUSED>(a, b, out, from);
    from = columns::<S, 4, FUSED>(a, b, out, from);
    columns::<S, 1, FUSED>(a, b, out, from);
}

/// The columns from `from` on, `N` at a time, which registers hold, while there are so many; gives the first that is left.
#[inline(always)]
fn columns<const S: usize, const N: usize, const FUSED: bool>(
    a: Mat,
    b: Mat,
    out: &mut Destination,
    mut from: usize,
) -> usize {
    while from + N <= b.cols() {
        let mut sums = [[0.0f32; N]; S];
        for k in 0..b.rows() {
            let row = &b.data()[k * b.row_stride() + from..][..N];
            for (i, sums) in sums.iter_mut().enumerate() {
                let factor = a.at(i, k);
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum = if FUSED { factor.mul_add(*x, *sum) } else { *sum + factor * x };
                }
            }
        }
        for (i, sums) in sums.into_iter().enumerate() {
            for (j, sum) in sums.into_iter().enumerate() {
                let place = &mut out.data[i * out.row + (from + j) * out.col];
                *place = if out.accumulate { *place + sum } else { sum };
            }
        }
        from += N;
    }
    from
}
