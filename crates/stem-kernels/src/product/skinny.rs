//! Skinny products (gemv and its like): a result of one row or a few columns, at which a library for large ones spends its time on
//! preparations.

use crate::mat::{Mat, MatMut};
use crate::simd::vectorised;

/// Columns of a result up to which this is faster. Of rows it is one alone.
const COLS: usize = 4;

/// Below so many there is nothing to gain.
const LEAST: usize = 16;

/// Whether the result is skinny, and a sum of whole rows of `A^T` or of `B`. `a [m, k]`, `b [k, n]`
pub(super) fn fits(a: Mat, b: Mat) -> bool {
    let (m, n) = (a.rows(), b.cols());
    n <= COLS && m >= LEAST && a.row_stride() == 1 || m == 1 && n >= LEAST && b.col_stride() == 1
}

/// `C = [C +] A B` of what [`fits`] says.
///
/// # Shapes
/// `a [m, k]`, `b [k, n]`, `c [m, n]`, none of them 0
pub(super) fn multiply(a: Mat, b: Mat, c: &mut MatMut, accumulate: bool) {
    let n = c.cols();
    if a.rows() == 1 {
        sums(a, b, Destination { data: c.data(), row: n, col: 1, accumulate });
    } else {
        sums(b.t(), a.t(), Destination { data: c.data(), row: 1, col: n, accumulate }); // C^T = B^T A^T
    }
}

/// Where a result of few rows goes.
struct Destination<'a> {
    data: &'a mut [f32],
    row: usize, // distance of an element to the one below it
    col: usize, // and to the one right of it
    accumulate: bool,
}

/// `out(i, j) = sum_k a(i, k) b(k, j)`. `a [S, K]`, `b [K, n]` its rows in one piece
fn sums(a: Mat, b: Mat, out: Destination) {
    match a.rows() {
        1 => sums_of::<1>(a, b, out),
        2 => sums_of::<2>(a, b, out),
        3 => sums_of::<3>(a, b, out),
        _ => sums_of::<COLS>(a, b, out),
    }
}

vectorised! {
    fn sums_of<const S: usize>(a: Mat<'_>, b: Mat<'_>, out: Destination<'_>) {
        let mut out = out;
        let mut from = 0;
        from = columns::<S, 64>(a, b, &mut out, from);
        from = columns::<S, 16>(a, b, &mut out, from);
        from = columns::<S, 4>(a, b, &mut out, from);
        columns::<S, 1>(a, b, &mut out, from);
    }
}

/// The columns from `from` on, `N` at a time, which registers hold, while there are so many; gives the first that is left.
#[inline(always)]
fn columns<const S: usize, const N: usize>(a: Mat, b: Mat, out: &mut Destination, mut from: usize) -> usize {
    while from + N <= b.cols() {
        let mut sums = [[0.0f32; N]; S];
        for k in 0..b.rows() {
            let row = &b.data()[k * b.row_stride() + from..][..N];
            for (i, sums) in sums.iter_mut().enumerate() {
                let factor = a.at(i, k);
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum += factor * x;
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
