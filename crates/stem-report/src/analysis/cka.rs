//! Linear centred kernel alignment (Kornblith et al., 2019): how alike two representations of the same rows are, whatever the
//! axes they are written in.
//!
//! ```text
//! CKA(X, Y) = ||Y'X||^2 / (||X'X|| ||Y'Y||)          columns centred, Frobenius norms
//! ```
//!
//! 1 for a rotation and a scaling; about `sqrt(p q) / n` for independent `X` `[n, p]` and `Y` `[n, q]` of many rows.

use super::matrix::Matrix;

/// Between `x` `[n, p]` and `y` `[n, q]`, row-major; by products of columns, `p q` numbers, never `n n`.
///
/// `None` without two rows, with different numbers of rows, with a value that is no number, or where all columns of one are
/// constant.
///
/// ```
/// # use stem_report::analysis::linear_cka;
/// let x = [0.0, 1.0, 2.0, 0.0, 1.0, 5.0];
/// let turned: Vec<f32> = x.chunks(2).flat_map(|row| [-3.0 * row[1], 3.0 * row[0]]).collect();
/// assert!((linear_cka(&x, 2, &turned, 2).expect("no constant column") - 1.0).abs() < 1e-9);
/// ```
pub fn linear_cka(x: &[f32], p: usize, y: &[f32], q: usize) -> Option<f64> {
    let (x, y) = (Matrix::new(x, p)?, Matrix::new(y, q)?);
    if x.rows() != y.rows() {
        return None;
    }
    let (mx, my) = (x.means(), y.means());
    let squares = |products: Vec<f64>| products.into_iter().map(|v| v * v).sum::<f64>();
    let xx = squares(x.products(&mx, &x, &mx));
    let yy = squares(y.products(&my, &y, &my));
    let xy = squares(x.products(&mx, &y, &my));
    (xx > 0.0 && yy > 0.0).then(|| (xy / (xx.sqrt() * yy.sqrt())).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::gaussian;
    use proptest::prelude::*;

    #[test]
    fn a_rotation_and_a_scaling_change_nothing() {
        let (x, n, p) = (gaussian(1, 200 * 3), 200, 3);
        let (c, s) = (0.6, 0.8);
        let turned: Vec<f32> =
            x.chunks(p).flat_map(|r| [7.0 * (c * r[0] - s * r[1]), 7.0 * (s * r[0] + c * r[1]), 7.0 * r[2]]).collect();
        assert!((linear_cka(&x, p, &turned, p).unwrap() - 1.0).abs() < 1e-6);
        let wide: Vec<f32> = (0..n).flat_map(|i| [x[i * p], x[i * p + 1], x[i * p + 2], 4.0]).collect();
        assert!((linear_cka(&x, p, &wide, p + 1).unwrap() - 1.0).abs() < 1e-9, "a constant column adds nothing");
    }

    #[test]
    fn independent_representations_are_near_zero() {
        let cka = linear_cka(&gaussian(1, 5000 * 8), 8, &gaussian(2, 5000 * 5), 5).unwrap();
        assert!((0.0..0.01).contains(&cka), "{cka}");
    }

    #[test]
    fn the_definition_by_kernels_of_rows_gives_the_same() {
        let (n, p, q) = (40, 3, 5);
        let (x, y) = (gaussian(4, n * p), gaussian(5, n * q));
        let kernel = |m: &[f32], w: usize| -> Vec<f64> {
            let k = |i: usize, j: usize| (0..w).map(|c| f64::from(m[i * w + c]) * f64::from(m[j * w + c])).sum::<f64>();
            let mean = |i: usize| (0..n).map(|j| k(i, j)).sum::<f64>() / n as f64;
            let all = (0..n).map(mean).sum::<f64>() / n as f64;
            (0..n * n).map(|ij| k(ij / n, ij % n) - mean(ij / n) - mean(ij % n) + all).collect()
        };
        let hsic = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (k, l) = (kernel(&x, p), kernel(&y, q));
        let expected = hsic(&k, &l) / (hsic(&k, &k) * hsic(&l, &l)).sqrt();
        assert!((linear_cka(&x, p, &y, q).unwrap() - expected).abs() < 1e-10);
    }

    #[test]
    fn degenerate_representations_have_none() {
        let x = gaussian(3, 20);
        assert_eq!(linear_cka(&x, 2, &[0.1; 20], 2), None, "constant columns");
        assert_eq!(linear_cka(&x, 2, &[0.0; 10], 1), None, "all zeros");
        assert_eq!(linear_cka(&x, 2, &x[..10], 2), None, "different rows");
        assert_eq!(linear_cka(&x[..2], 2, &x[..2], 2), None, "one row");
        assert_eq!(linear_cka(&[], 2, &[], 2), None, "no row");
        assert_eq!(linear_cka(&[f32::NAN, 1.0], 1, &[0.0, 1.0], 1), None, "no number");
        assert_eq!(linear_cka(&x, 0, &x, 2), None, "no column");
        assert_eq!(linear_cka(&[f32::MAX, f32::MIN], 1, &[1e-45, 0.0], 1).map(|c| c.round()), Some(1.0));
    }

    proptest! {
        #[test]
        fn it_is_symmetric_and_between_0_and_1(seed in 0u64..1000, n in 2usize..30, p in 1usize..5, q in 1usize..5) {
            let (x, y) = (gaussian(seed, n * p), gaussian(seed + 1000, n * q));
            let (xy, yx) = (linear_cka(&x, p, &y, q).unwrap(), linear_cka(&y, q, &x, p).unwrap());
            prop_assert!((0.0..=1.0).contains(&xy));
            prop_assert!((xy - yx).abs() < 1e-12);
        }
    }
}
