//! Products of pairs of fields, mapped onto the features beside which they stand.
//!
//! ```text
//! forward     b = 1/2 ((sum_f v_f)^2 - sum_f v_f^2)                y = x_2 + b W + c          v_f [D] the fields of a row of x
//! backward    db = dy W^T             dW = b^T dy                  dc = sum_rows dy
//!             dv_f = db (sum_h v_h - v_f)                          dx_2 = dy
//! ```
//!
//! `x_2` is `x` itself, or given beside it. A block (`blocks`) of rows goes through all of it at once; the backward computes anew what lies
//! between.

use crate::arena::take;
use crate::blocks::{Blocks, Rows};
use crate::elementwise::add_rows;
use crate::map::{GroupMap, Map, MapGradient};
use crate::precision::Precision;
use crate::simd::vectorised;

/// The map, and the sizes of what it stands beside.
#[derive(Debug, Clone, Copy)]
pub struct Fm<'a> {
    /// Of all products.
    pub precision: Precision,
    /// `G`
    pub groups: usize,
    /// `B`
    pub batch: usize,
    /// `F`
    pub fields: usize,
    /// `D`
    pub dim: usize,
    /// `W`, `c` from `D` numbers to `F D`.
    pub map: Map<'a>,
}

/// # Shapes
/// `x [G, B, F D]`; `x2` as many, `None` where it is `x`; `y` as many
///
/// # Panics
/// When a length is not that of its shape.
pub fn forward(of: &Fm, x: &[f32], x2: Option<&[f32]>, y: &mut [f32]) {
    of.check([x.len(), x2.unwrap_or(x).len(), y.len()]);
    let rows = of.rows();
    of.blocks().forward(y, &|g, block, y| {
        let x2 = rows.of(x2.unwrap_or(x), g, &block);
        let mut b = take(block.len() * of.dim);
        pairs(of.fields, of.dim, rows.of(x, g, &block), &mut b);
        of.of_group(g).forward(of.precision, &b, false, y);
        add_rows(y, x2);
    });
}

/// The gradients of all that [`forward`] read, from that of what it gave, which is that of `x2` too.
///
/// # Shapes
/// `x [G, B, F D]`; `dx` as many, turned in place into the gradient of `x`: with that of `x2` in it, unless that is `apart`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn backward(of: &Fm, x: &[f32], apart: bool, dx: &mut [f32], gradient: &mut MapGradient) {
    of.check([x.len(), dx.len(), dx.len()]);
    gradient.check(&of.map);
    let (rows, blocks) = (of.rows(), of.blocks());
    let size = of.of_group(0).sums();
    let scratch = || [(); 2].map(|()| take(blocks.block * of.dim));
    let sums = blocks.backward(dx, size, &scratch, &|g, block, dx, [b, db], sums| {
        let (thin, x, map) = (block.len() * of.dim, rows.of(x, g, &block), of.of_group(g));
        let (b, db) = (&mut b[..thin], &mut db[..thin]);
        pairs(of.fields, of.dim, x, b);
        map.add_gradient(of.precision, b, dx, sums);
        map.input_gradient(of.precision, dx, db, false);
        if apart {
            dx.fill(0.0);
        }
        add_pairs_backward(of.fields, of.dim, x, db, dx);
    }); // [G, sums]
    for (g, sums) in sums.chunks_exact(size.max(1)).enumerate() {
        of.of_group(g).write(g, sums, gradient);
    }
}

impl<'a> Fm<'a> {
    fn check(&self, numbers: [usize; 3]) {
        let rows = self.rows();
        assert_eq!(numbers, [rows.count(); 3], "features are [G, B, F D]");
        assert!(self.groups > 0 && self.map.output == rows.width, "the map goes from D to F D, in some groups");
        self.map.check(self.groups, self.dim);
    }

    fn rows(&self) -> Rows {
        Rows { groups: self.groups, batch: self.batch, width: self.fields * self.dim }
    }

    fn blocks(&self) -> Blocks {
        let width = self.fields * self.dim;
        Blocks::new(self.rows(), 2 * width, 2 * width * self.dim)
    }

    fn of_group(&self, g: usize) -> GroupMap<'a> {
        self.map.of_group(g, self.dim)
    }
}

/// Columns that are summed side by side: a register.
const LANES: usize = 16;

vectorised! {
    /// `b = 1/2 ((sum_f v_f)^2 - sum_f v_f^2)`
    fn pairs(fields: usize, dim: usize, x: &[f32], b: &mut [f32]) {
        for (x, b) in x.chunks_exact((fields * dim).max(1)).zip(b.chunks_exact_mut(dim.max(1))) {
            let mut from = 0;
            while from + LANES <= dim {
                pairs_of::<LANES>(dim, &x[from..], &mut b[from..]);
                from += LANES;
            }
            while from < dim {
                pairs_of::<1>(dim, &x[from..], &mut b[from..]);
                from += 1;
            }
        }
    }

    /// `dv_f = dv_f + db (sum_h v_h - v_f)`
    fn add_pairs_backward(fields: usize, dim: usize, x: &[f32], db: &[f32], dx: &mut [f32]) {
        let rows = x.chunks_exact((fields * dim).max(1)).zip(dx.chunks_exact_mut((fields * dim).max(1)));
        for ((x, dx), db) in rows.zip(db.chunks_exact(dim.max(1))) {
            let mut from = 0;
            while from + LANES <= dim {
                add_pairs_of::<LANES>(dim, &x[from..], &db[from..], &mut dx[from..]);
                from += LANES;
            }
            while from < dim {
                add_pairs_of::<1>(dim, &x[from..], &db[from..], &mut dx[from..]);
                from += 1;
            }
        }
    }
}

/// The first `N` columns of every field: their sums.
#[inline(always)]
fn sum_of<const N: usize>(dim: usize, x: &[f32], mut each: impl FnMut([f32; N])) -> [f32; N] {
    let mut sum = [0.0; N];
    for v in x.chunks(dim) {
        let mut own = [0.0; N];
        own.copy_from_slice(&v[..N]);
        (0..N).for_each(|i| sum[i] += own[i]);
        each(own);
    }
    sum
}

#[inline(always)]
fn pairs_of<const N: usize>(dim: usize, x: &[f32], b: &mut [f32]) {
    let mut squares = [0.0; N];
    let sum = sum_of(dim, x, |v: [f32; N]| (0..N).for_each(|i| squares[i] += v[i] * v[i]));
    (0..N).for_each(|i| squares[i] = 0.5 * (sum[i] * sum[i] - squares[i]));
    b[..N].copy_from_slice(&squares);
}

#[inline(always)]
fn add_pairs_of<const N: usize>(dim: usize, x: &[f32], db: &[f32], dx: &mut [f32]) {
    let sum = sum_of(dim, x, |_: [f32; N]| ());
    let mut scale = [0.0; N];
    scale.copy_from_slice(&db[..N]);
    for (v, dv) in x.chunks(dim).zip(dx.chunks_mut(dim)) {
        let mut new = [0.0; N];
        (0..N).for_each(|i| new[i] = dv[i] + scale[i] * (sum[i] - v[i]));
        dv[..N].copy_from_slice(&new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{bits, close, numbers, on_threads};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 40 }))]

        #[test]
        fn products_of_pairs_and_all_gradients_are_the_equations_on_any_number_of_threads(
            groups in 1usize..4,
            batch in prop::sample::select(&[0usize, 1, 7, 33, 700][..]),
            (fields, dim) in (1usize..9, 1usize..20),
            apart in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let width = fields * dim;
            let size = groups * batch * width;
            let [x, x2, dy] = [1, 2, 3].map(|salt| numbers(size, seed ^ salt, 1.0));
            let (weight, bias) = (numbers(groups * dim * width, seed ^ 4, 1.0), numbers(groups * width, seed ^ 5, 1.0));
            let map = Map { weight: &weight, bias: &bias, output: width };
            let of = Fm { precision: Precision::F32, groups, batch, fields, dim, map };
            let run = |threads| on_threads(threads, || {
                let (mut y, mut dx) = (vec![f32::NAN; size], dy.clone());
                let (mut dweight, mut dbias) = (vec![f32::NAN; weight.len()], vec![f32::NAN; bias.len()]);
                forward(&of, &x, apart.then_some(&x2), &mut y);
                backward(&of, &x, apart, &mut dx, &mut MapGradient { weight: &mut dweight, bias: &mut dbias });
                [y, dx, dweight, dbias]
            });
            let found = run(1);
            let at = |numbers: &[f32], place: usize| f64::from(numbers[place]);
            let (mut y, mut dx) = (vec![0.0; size], vec![0.0; size]);
            let (mut dweight, mut dbias) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
            for row in 0..groups * batch {
                let g = row / batch;
                let v = |f: usize, d: usize| at(&x, row * width + f * dim + d);
                for i in 0..width {
                    y[row * width + i] += at(if apart { &x2 } else { &x }, row * width + i) + at(&bias, g * width + i);
                    dbias[g * width + i] += at(&dy, row * width + i);
                    dx[row * width + i] += if apart { 0.0 } else { at(&dy, row * width + i) };
                }
                for d in 0..dim {
                    let b: f64 = (0..fields).flat_map(|f| (f + 1..fields).map(move |h| (f, h))).map(|(f, h)| v(f, d) * v(h, d)).sum();
                    let mut db = 0.0;
                    for i in 0..width {
                        let (w, dy) = ((g * dim + d) * width + i, at(&dy, row * width + i));
                        y[row * width + i] += b * at(&weight, w);
                        dweight[w] += b * dy;
                        db += dy * at(&weight, w);
                    }
                    for f in 0..fields {
                        let others: f64 = (0..fields).filter(|h| *h != f).map(|h| v(h, d)).sum();
                        dx[row * width + f * dim + d] += db * others;
                    }
                }
            }
            for (found, expected) in found.iter().zip([y, dx, dweight, dbias]) {
                close(found, &expected)?;
            }
            for (one, other) in found.iter().zip(run(3)) {
                prop_assert_eq!(bits(one), bits(&other));
            }
        }
    }
}
