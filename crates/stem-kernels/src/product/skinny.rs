//! Skinny products (gemv and its like): a result of one row or a few columns, at which a library for large ones spends its time on
//! preparations.

use crate::mat::{Mat, MatMut};
use crate::simd::{self, Kernel};

/// Columns of a result up to which this is faster. Of rows it is one alone.
const COLS: usize = 4;

/// Below so many there is nothing to gain.
const LEAST: usize = 16;

/// Whether the result is skinny, and a sum of whole rows of `A^T` or of `B`. `a [m, k]`, `b [k, n]`
pub(super) fn takes(a: Mat, b: Mat) -> bool {
    let (m, n) = (a.rows(), b.cols());
    n <= COLS && m >= LEAST && a.row_stride() == 1 || m == 1 && n >= LEAST && b.col_stride() == 1
}

/// `C = [C +] A B` of what [`takes`] says.
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
        1 => simd::run(Sums::<1> { a, b, out }),
        2 => simd::run(Sums::<2> { a, b, out }),
        3 => simd::run(Sums::<3> { a, b, out }),
        _ => simd::run(Sums::<COLS> { a, b, out }),
    }
}

struct Sums<'a, const S: usize> {
    a: Mat<'a>,
    b: Mat<'a>,
    out: Destination<'a>,
}

impl<const S: usize> Kernel for Sums<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let mut from = 0;
        from = self.columns::<64>(from);
        from = self.columns::<16>(from);
        from = self.columns::<4>(from);
        self.columns::<1>(from);
    }
}

impl<const S: usize> Sums<'_, S> {
    /// The columns from `from` on, `N` at a time, which registers hold, while there are so many; gives the first that is left.
    #[inline(always)]
    fn columns<const N: usize>(&mut self, mut from: usize) -> usize {
        let Self { a, b, out } = self;
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
                    out.put(i, from + j, sum);
                }
            }
            from += N;
        }
        from
    }
}

impl Destination<'_> {
    #[inline(always)]
    fn put(&mut self, row: usize, col: usize, sum: f32) {
        let place = &mut self.data[row * self.row + col * self.col];
        *place = if self.accumulate { *place + sum } else { sum };
    }
}
