//! Products with a side of a few numbers, at which a library for large ones spends its time on preparations.

use crate::mat::{Mat, MatMut};
use crate::simd::{self, Kernel};

/// What is a few.
const FEW: usize = 4;

/// `C = [C +] A B` if a side is short; else nothing, and `false`.
///
/// # Shapes
/// `a [m, k]`, `b [k, n]`, `c [m, n]`, none of them 0
pub fn multiply(a: Mat, b: Mat, c: &mut MatMut, accumulate: bool) -> bool {
    let (m, k, n) = (a.rows(), a.cols(), b.cols());
    let by_row = |data| Out { data, long: n, short: 1, accumulate };
    let by_col = |data| Out { data, long: 1, short: n, accumulate };
    match () {
        _ if k <= FEW => outer(a, b, c.data(), accumulate),
        _ if n <= FEW && a.col_stride() == 1 => dots(a, b.t(), by_row(c.data())),
        _ if n <= FEW => sums(a.t(), b.t(), by_row(c.data())),
        _ if m <= FEW && b.col_stride() == 1 => sums(b, a, by_col(c.data())),
        _ if m <= FEW => dots(b.t(), a, by_col(c.data())),
        _ => return false,
    }
    true
}

/// A matrix with one long and one short side, to write.
struct Out<'a> {
    data: &'a mut [f32],
    long: usize,  // distance of neighbours along the long side
    short: usize, // and along the short
    accumulate: bool,
}

impl Out<'_> {
    #[inline(always)]
    fn put(&mut self, long: usize, short: usize, value: f32, accumulate: bool) {
        let place = &mut self.data[long * self.long + short * self.short];
        *place = if accumulate { *place + value } else { value };
    }
}

/// Starts a kernel compiled for the number of short rows.
macro_rules! start {
    ($rows:expr, $kernel:ident { $($field:ident),* }) => {
        match $rows {
            1 => simd::run($kernel::<1> { $($field),* }),
            2 => simd::run($kernel::<2> { $($field),* }),
            3 => simd::run($kernel::<3> { $($field),* }),
            _ => simd::run($kernel::<FEW> { $($field),* }),
        }
    };
}

/// `out(r, s) = sum_k long(r, k) few(s, k)`. `long [R, K]` its rows in one piece, `few [S, K]`
fn dots(long: Mat, few: Mat, out: Out) {
    start!(few.rows(), Dots { long, few, out });
}

/// `out(j, s) = sum_k few(s, k) long(k, j)`. `long [K, J]` its rows in one piece, `few [S, K]`
fn sums(long: Mat, few: Mat, out: Out) {
    start!(few.rows(), Sums { long, few, out });
}

/// `c(i, j) = sum_k a(i, k) b(k, j)`. `a [m, K]`, `b [K, n]`, `c [m, n]`
fn outer(a: Mat, b: Mat, c: &mut [f32], accumulate: bool) {
    start!(a.cols(), Outer { a, b, c, accumulate });
}

/// Columns of a short matrix that are copied into one piece at a time.
const STRIP: usize = 256;

/// `few(.., columns from ..)`, in one piece.
#[inline(always)]
fn strip<const S: usize>(few: Mat, from: usize, width: usize) -> [[f32; STRIP]; S] {
    let mut strip = [[0.0; STRIP]; S];
    for (row, strip) in strip.iter_mut().enumerate() {
        for (col, value) in strip[..width].iter_mut().enumerate() {
            *value = few.at(row, from + col);
        }
    }
    strip
}

struct Dots<'a, const S: usize> {
    long: Mat<'a>,
    few: Mat<'a>,
    out: Out<'a>,
}

impl<const S: usize> Kernel for Dots<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { long, few, mut out } = self;
        for from in (0..long.cols()).step_by(STRIP) {
            let width = STRIP.min(long.cols() - from);
            let few = strip::<S>(few, from, width);
            for r in 0..long.rows() {
                let row = &long.data()[r * long.row_stride() + from..][..width];
                let sums = dot::<S>(row, &few);
                for (s, sum) in sums.into_iter().enumerate() {
                    out.put(r, s, sum, out.accumulate || from > 0);
                }
            }
        }
    }
}

/// `sum_k x_k few(s, k)` for every `s`.
#[inline(always)]
fn dot<const S: usize>(x: &[f32], few: &[[f32; STRIP]; S]) -> [f32; S] {
    let mut lanes = [[0.0f32; LANES]; S];
    let (wide, rest) = x.as_chunks::<LANES>();
    let (mut from, mut last) = (0, [0.0f32; S]);
    for x in wide {
        for s in 0..S {
            let few = &few[s][from..][..LANES];
            for i in 0..LANES {
                lanes[s][i] += x[i] * few[i];
            }
        }
        from += LANES;
    }
    for s in 0..S {
        for (x, few) in rest.iter().zip(&few[s][from..]) {
            last[s] += x * few;
        }
        last[s] += fold(lanes[s]);
    }
    last
}

/// Partial sums of a dot product.
const LANES: usize = 16;

/// The sum of all lanes, halves onto halves.
#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    let (mut eight, mut four) = ([0.0f32; 8], [0.0f32; 4]);
    for i in 0..8 {
        eight[i] = lanes[i] + lanes[i + 8];
    }
    for i in 0..4 {
        four[i] = eight[i] + eight[i + 4];
    }
    (four[0] + four[2]) + (four[1] + four[3])
}

struct Sums<'a, const S: usize> {
    long: Mat<'a>,
    few: Mat<'a>,
    out: Out<'a>,
}

impl<const S: usize> Kernel for Sums<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let mut from = 0;
        from = self.strips::<64>(from);
        from = self.strips::<16>(from);
        from = self.strips::<4>(from);
        self.strips::<1>(from);
    }
}

impl<const S: usize> Sums<'_, S> {
    /// Columns from `from` on, `N` at a time while there are so many; gives the first that is left.
    #[inline(always)]
    fn strips<const N: usize>(&mut self, mut from: usize) -> usize {
        let Self { long, few, out } = self;
        while from + N <= long.cols() {
            let mut sums = [[0.0f32; N]; S];
            for k in 0..long.rows() {
                let row = &long.data()[k * long.row_stride() + from..][..N];
                for (s, sums) in sums.iter_mut().enumerate() {
                    let factor = few.at(s, k);
                    for (sum, x) in sums.iter_mut().zip(row) {
                        *sum += factor * x;
                    }
                }
            }
            for (s, sums) in sums.into_iter().enumerate() {
                for (j, sum) in sums.into_iter().enumerate() {
                    out.put(from + j, s, sum, out.accumulate);
                }
            }
            from += N;
        }
        from
    }
}

struct Outer<'a, const K: usize> {
    a: Mat<'a>,
    b: Mat<'a>,
    c: &'a mut [f32],
    accumulate: bool,
}

impl<const K: usize> Kernel for Outer<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (n, a) = (self.b.cols(), self.a);
        for from in (0..n).step_by(STRIP) {
            let width = STRIP.min(n - from);
            let b = strip::<K>(self.b, from, width);
            for i in 0..a.rows() {
                let mut factors = [0.0; K];
                for (k, factor) in factors.iter_mut().enumerate() {
                    *factor = a.at(i, k);
                }
                let row = &mut self.c[i * n + from..][..width];
                if !self.accumulate {
                    row.fill(0.0);
                }
                add_rows(row, factors, &b);
            }
        }
    }
}

/// `c += sum_k factor_k b_k`
#[inline(always)]
fn add_rows<const K: usize>(c: &mut [f32], factors: [f32; K], b: &[[f32; STRIP]; K]) {
    let (wide, rest) = c.as_chunks_mut::<LANES>();
    let mut from = 0;
    for c in wide {
        let mut sums = *c;
        for (factor, b) in factors.iter().zip(b) {
            for (sum, b) in sums.iter_mut().zip(&b[from..][..LANES]) {
                *sum += factor * b;
            }
        }
        *c = sums;
        from += LANES;
    }
    for (factor, b) in factors.iter().zip(b) {
        for (c, b) in rest.iter_mut().zip(&b[from..]) {
            *c += factor * b;
        }
    }
}
