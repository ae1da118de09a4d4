//! How many directions a table or a representation uses, and its rows seen along the two that matter most.
//!
//! ```text
//! s_1 >= ... >= s_p          singular values of X [n, p], roots of the eigenvalues of X'X
//! q_k = s_k / sum_j s_j
//! effective rank = exp(- sum_k q_k log q_k)                Roy and Vetterli, 2007
//! ```
//!
//! Between 1 and the rank: `p` where all directions are alike, near 1 where embeddings have collapsed into one.

use super::jacobi::symmetric_eigen;
use super::matrix::Matrix;

/// Of `x` `[n, p]`, row-major, as it is, not centred; in descending order, `[p]`. Below `1e-7` or so of the largest, where the
/// products of columns have no digits left, they are 0.
///
/// `None` without two rows, or with a value that is no number.
pub fn singular_values(x: &[f32], p: usize) -> Option<Vec<f64>> {
    let x = Matrix::new(x, p).filter(|x| x.rows() > 1)?;
    let origin = vec![0.0; p];
    let values = symmetric_eigen(&x.products(&origin, &x, &origin), p)?.values;
    let rounding = values[0] * f64::EPSILON * x.rows().max(p) as f64;
    Some(values.into_iter().map(|v| if v > rounding { v.sqrt() } else { 0.0 }).collect())
}

/// Exponential of the entropy of the normalised [`singular_values`]. `None` where those are, and for zeros only.
///
/// ```
/// # use stem_report::analysis::effective_rank;
/// assert!((effective_rank(&[1.0, 0.0, 0.0, 1.0], 2).expect("two rows") - 2.0).abs() < 1e-12);
/// assert!((effective_rank(&[1.0, 2.0, 2.0, 4.0], 2).expect("two rows") - 1.0).abs() < 1e-12);
/// ```
pub fn effective_rank(x: &[f32], p: usize) -> Option<f64> {
    let values = singular_values(x, p)?;
    let sum: f64 = values.iter().sum();
    let shares = values.iter().map(|s| s / sum).filter(|q| *q > 0.0);
    (sum > 0.0).then(|| shares.map(|q| -q * q.ln()).sum::<f64>().exp())
}

/// Rows along the two directions of largest variance (principal components; Pearson, 1901).
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// Each row, measured from the mean. `[n]`
    pub points: Vec<[f64; 2]>,
    /// The two directions, of unit length. The first of the largest loadings is positive. `[p]` each
    pub axes: [Vec<f64>; 2],
    /// Their shares of the variance.
    pub explained: [f64; 2],
}

/// Projects the rows of `x` `[n, p]`, row-major.
///
/// `None` without two rows or two columns, with a value that is no number, or where all columns are constant.
pub fn project(x: &[f32], p: usize) -> Option<Projection> {
    let x = Matrix::new(x, p).filter(|x| x.rows() > 1 && p > 1)?;
    let means = x.means();
    let scatter = x.products(&means, &x, &means); // [p, p]
    let variance: f64 = (0..p).map(|i| scatter[i * p + i]).sum();
    if variance <= 0.0 {
        return None;
    }
    let eigen = symmetric_eigen(&scatter, p)?;
    let axes = [0, 1].map(|k| with_sign(&eigen.vectors[k * p..(k + 1) * p]));
    let explained = [0, 1].map(|k| (eigen.values[k] / variance).clamp(0.0, 1.0));
    let along = |row: &[f32], axis: &[f64]| {
        row.iter().zip(&means).zip(axis).map(|((v, mean), axis)| (f64::from(*v) - mean) * axis).sum::<f64>()
    };
    let points = (0..x.rows()).map(|row| [0, 1].map(|k| along(x.row(row), &axes[k]))).collect();
    Some(Projection { points, axes, explained })
}

/// An axis turned so that the first of its largest loadings is positive; those that differ by rounding are alike.
fn with_sign(axis: &[f64]) -> Vec<f64> {
    let largest = axis.iter().fold(0.0f64, |largest, v| v.abs().max(largest));
    let first = axis.iter().find(|v| v.abs() >= largest * (1.0 - 1e-9));
    let sign = first.map_or(1.0, |v| v.signum());
    axis.iter().map(|v| v * sign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::gaussian;
    use proptest::prelude::*;

    #[test]
    fn the_identity_has_full_rank_and_one_direction_has_rank_one() {
        for p in [1usize, 2, 7, 40] {
            let identity: Vec<f32> = (0..2 * p * p).map(|at| f32::from(u8::from(at / p % p == at % p))).collect();
            assert!((effective_rank(&identity, p).unwrap() - p as f64).abs() < 1e-9);
            let (rows, direction) = (gaussian(1, 90), gaussian(2, p));
            let line: Vec<f32> = rows
                .iter()
                .flat_map(|r| direction.iter().map(move |d| (r * 16.0).round() * (d * 16.0).round()))
                .collect();
            assert!((effective_rank(&line, p).unwrap() - 1.0).abs() < 1e-6, "{p}");
        }
    }

    #[test]
    fn singular_values_are_those_of_a_known_matrix() {
        // [[3, 0], [4, 5]]: 3 sqrt(5) and sqrt(5).
        let values = singular_values(&[3.0, 0.0, 4.0, 5.0], 2).unwrap();
        assert!((values[0] - 3.0 * 5f64.sqrt()).abs() < 1e-12 && (values[1] - 5f64.sqrt()).abs() < 1e-12);
        let entropy = -(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((effective_rank(&[3.0, 0.0, 4.0, 5.0], 2).unwrap() - entropy.exp()).abs() < 1e-12);
    }

    #[test]
    fn a_planted_direction_is_found() {
        let (n, planted) = (4000, [0.0, -0.8, 0.6]);
        let (along, noise) = (gaussian(3, n), gaussian(4, 3 * n));
        let x: Vec<f32> = (0..3 * n).map(|at| 5.0 + 4.0 * along[at / 3] * planted[at % 3] + noise[at]).collect();
        let Projection { points, axes, explained } = project(&x, 3).unwrap();
        let cosine: f64 = axes[0].iter().zip(planted).map(|(a, b)| a * f64::from(b)).sum();
        assert!(cosine < -0.999, "the largest loading is positive: {:?}", axes[0]);
        assert!((explained[0] - 17.0 / 19.0).abs() < 0.01 && (explained[1] - 1.0 / 19.0).abs() < 0.01, "{explained:?}");
        let mean = |k: usize| points.iter().map(|point| point[k]).sum::<f64>() / n as f64;
        let product = points.iter().map(|[a, b]| a * b).sum::<f64>() / n as f64;
        assert!(mean(0).abs() < 1e-9 && mean(1).abs() < 1e-9 && product.abs() < 1e-9);
    }

    #[test]
    fn degenerate_matrices_have_none() {
        let constant: Vec<f32> = [0.1, -7.3].repeat(33);
        assert_eq!(project(&constant, 2), None, "constant columns");
        assert_eq!(effective_rank(&constant, 2).map(f64::round), Some(1.0), "which are one direction all the same");
        assert_eq!((effective_rank(&[0.0; 8], 2), project(&[0.0; 8], 2)), (None, None), "all zeros");
        assert_eq!((effective_rank(&[1.0; 2], 2), project(&[1.0; 2], 2)), (None, None), "one row");
        assert_eq!((effective_rank(&[], 2), project(&[], 2)), (None, None), "no row");
        let nan = [1.0, f32::NAN, 2.0, 3.0];
        assert_eq!(
            (singular_values(&nan, 2), effective_rank(&nan, 2), project(&nan, 2)),
            (None, None, None),
            "no number"
        );
        assert_eq!(project(&[1.0, 2.0], 1), None, "one column");
        let line = project(&[0.0, 0.0, 1.0, 1.0], 2).unwrap();
        assert!((line.explained[0] - 1.0).abs() < 1e-12 && line.explained[1] < 1e-12 && line.axes[0][0] > 0.0);
    }

    proptest! {
        #[test]
        fn effective_rank_lies_between_one_and_the_rank(seed in any::<u64>(), n in 2usize..20, p in 1usize..10) {
            let x = gaussian(seed, n * p);
            let rank = effective_rank(&x, p).unwrap();
            prop_assert!(rank >= 1.0 - 1e-9 && rank <= n.min(p) as f64 + 1e-9);
            let scaled: Vec<f32> = x.iter().map(|v| v * 4096.0).collect();
            prop_assert!((rank - effective_rank(&scaled, p).unwrap()).abs() < 1e-9);
        }
    }
}
