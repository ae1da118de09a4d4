//! Matrix products `C = A B` on the calling thread. `A^T B` and `A B^T` are the same on [`Mat::t`].

use std::fmt::Debug;

use crate::loops;
use crate::mat::{Mat, MatMut};
use crate::precision::Precision;
use crate::tile::{Tile, TileBf16};
use crate::{raw, thin};

/// The product of this machine for a precision: tiles of our own with AVX-512, else the crate `gemm`.
pub fn product(precision: Precision) -> &'static dyn Product {
    if cfg!(miri) {
        return &Naive;
    }
    match (precision, TileBf16::detect(), Tile::detect()) {
        (Precision::Bf16, Some(tile), _) => tile,
        (_, _, Some(tile)) => tile,
        (_, _, None) => &Gemm,
    }
}

/// What becomes of a product: `C = relu(C + A B + bias)`, each part if asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Then<'a> {
    /// Whether the product is added to what `C` holds.
    pub accumulate: bool,
    /// A number for every column. `[n]`
    pub bias: Option<&'a [f32]>,
    /// Whether what is negative becomes 0. Not a number stays so.
    pub relu: bool,
}

/// A way to multiply matrices.
pub trait Product: Debug + Sync {
    /// What [`Product::run`] calls with shapes that agree, none of them 0.
    fn multiply(&self, a: Mat, b: Mat, c: MatMut, then: Then);

    /// `C = relu(C + A B + bias)`
    ///
    /// # Shapes
    /// `a [m, k]`, `b [k, n]`, `c [m, n]`, the bias `[n]`
    ///
    /// # Panics
    /// When the shapes disagree.
    fn run(&self, a: Mat, b: Mat, mut c: MatMut, then: Then) {
        assert_eq!((a.rows(), a.cols(), b.cols()), (c.rows(), b.rows(), c.cols()), "m, k, n");
        assert!(then.bias.is_none_or(|bias| bias.len() == c.cols()), "a bias for every column");
        if a.cols() > 0 && a.rows() > 0 && b.cols() > 0 {
            return self.multiply(a, b, c, then);
        }
        if !then.accumulate {
            c.data().fill(0.0);
        }
        finish(&mut c, then);
    }
}

/// Bias and ReLU on a product that is there.
pub(crate) fn finish(c: &mut MatMut, then: Then) {
    let cols = c.cols();
    loops::bias_relu(c.data(), cols, then.bias, then.relu);
}

/// Three loops: what the others are held against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Naive;

impl Product for Naive {
    fn multiply(&self, a: Mat, b: Mat, mut c: MatMut, then: Then) {
        let n = c.cols();
        for (i, row) in c.data().chunks_exact_mut(n).enumerate() {
            for (j, c) in row.iter_mut().enumerate() {
                let before = if then.accumulate { *c } else { 0.0 };
                *c = (0..a.cols()).fold(before, |sum, k| sum + a.at(i, k) * b.at(k, j));
            }
        }
        finish(&mut c, then);
    }
}

/// The crate `gemm`; loops of our own where a side is of a few numbers. Bias and ReLU are a pass after it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gemm;

impl Product for Gemm {
    fn multiply(&self, a: Mat, b: Mat, mut c: MatMut, then: Then) {
        match thin::takes(a, b) {
            true => thin::multiply(a, b, &mut c, then.accumulate),
            false => raw::gemm(a, b, &mut c, then.accumulate),
        }
        finish(&mut c, then);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::numbers;
    use proptest::prelude::*;

    /// Sides about which something changes, and any.
    fn side() -> impl Strategy<Value = usize> {
        prop_oneof![0usize..6, 0usize..70, 120usize..140, Just(257)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 400 }))]

        #[test]
        fn all_ways_to_multiply_agree(
            (m, k, n) in (side(), side(), side()),
            turned: (bool, bool),
            accumulate: bool,
            with_bias: bool,
            relu: bool,
        ) {
            let (a, b, bias) = (numbers(m * k, 1, 2.0), numbers(k * n, 2, 2.0), numbers(n, 3, 2.0));
            let a = if turned.0 { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
            let b = if turned.1 { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
            let then = Then { accumulate, bias: with_bias.then_some(&*bias), relu };
            let run = |product: &dyn Product| {
                let mut c = if accumulate { numbers(m * n, 4, 2.0) } else { vec![f32::NAN; m * n] };
                product.run(a, b, MatMut::new(&mut c, m, n), then);
                c
            };
            let expected = run(&Naive);
            let products = [(product(Precision::F32), 1e-6), (product(Precision::Bf16), 1e-2)];
            for (product, tolerance) in products {
                let scale = 1.0 + (k as f32).sqrt();
                for (found, expected) in run(product).iter().zip(&expected) {
                    prop_assert!((found - expected).abs() <= 4.0 * tolerance * scale, "{product:?}: {found}, {expected}");
                }
            }
        }

        #[test]
        fn what_is_not_a_number_is_passed_on((m, k, n) in (1usize..150, 1usize..150, 1usize..150), at in 0usize..1000) {
            let (mut a, b) = (numbers(m * k, 1, 2.0), numbers(k * n, 2, 2.0));
            let row = at % m;
            a[row * k + at % k] = f32::NAN;
            for precision in [Precision::F32, Precision::Bf16] {
                let mut c = vec![0.0; m * n];
                let then = Then { relu: true, ..Then::default() };
                product(precision).run(Mat::new(&a, m, k), Mat::new(&b, k, n), MatMut::new(&mut c, m, n), then);
                for (i, c) in c.chunks(n).enumerate() {
                    prop_assert!(c.iter().all(|c| c.is_nan() == (i == row)));
                }
            }
        }
    }
}
