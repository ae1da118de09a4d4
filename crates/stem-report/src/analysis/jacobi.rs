//! Eigenvalues of a small symmetric matrix by cyclic Jacobi rotations (Golub and Van Loan, Matrix Computations, 8.5).
//!
//! ```text
//! A = J' A J,  J turns the plane of rows i and j by the angle that makes A_ij zero;  V = V J
//! t = sign(d) / (|d| + sqrt(1 + d d))    d = (A_jj - A_ii) / (2 A_ij)    c = 1 / sqrt(1 + t t)    s = t c
//! ```
//!
//! Sweeps over all pairs shrink what lies off the diagonal, at the end quadratically.

/// Sweeps that suffice for any matrix of a few hundred rows many times over.
const SWEEPS: usize = 64;

/// Eigenvalues in descending order, and their vectors.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Eigen {
    pub(super) values: Vec<f64>,
    /// `[p, p]`; row `k` is the unit vector of value `k`.
    pub(super) vectors: Vec<f64>,
}

/// Of a symmetric matrix `[p, p]`. `None` unless every number is finite.
pub(super) fn symmetric_eigen(matrix: &[f64], p: usize) -> Option<Eigen> {
    if matrix.len() != p * p || !matrix.iter().all(|v| v.is_finite()) {
        return None;
    }
    let mut a = matrix.to_vec();
    let mut vectors: Vec<f64> = (0..p * p).map(|at| f64::from(u8::from(at / p == at % p))).collect();
    for _ in 0..SWEEPS {
        // A rotation that changes no eigenvalue by more than rounding does is left out.
        let scale = (0..p).map(|i| a[i * p + i].abs()).fold(0.0, f64::max).max(largest_off_diagonal(&a, p));
        let negligible = scale * f64::EPSILON / p as f64;
        if largest_off_diagonal(&a, p) <= negligible {
            break;
        }
        for i in 0..p {
            for j in i + 1..p {
                if a[i * p + j].abs() > negligible {
                    rotate(&mut a, &mut vectors, p, i, j);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..p).collect();
    order.sort_by(|&i, &j| a[j * p + j].total_cmp(&a[i * p + i]));
    let values = order.iter().map(|&k| a[k * p + k]).collect();
    Some(Eigen { values, vectors: order.iter().flat_map(|&k| vectors[k * p..(k + 1) * p].to_vec()).collect() })
}

fn largest_off_diagonal(a: &[f64], p: usize) -> f64 {
    let off = (0..p).flat_map(|i| a[i * p + i + 1..(i + 1) * p].iter());
    off.fold(0.0, |largest, v| v.abs().max(largest))
}

/// Makes `a_ij` zero. `vectors` holds the columns of `V` as rows.
fn rotate(a: &mut [f64], vectors: &mut [f64], p: usize, i: usize, j: usize) {
    let d = (a[j * p + j] - a[i * p + i]) / (2.0 * a[i * p + j]);
    let t = d.signum() / (d.abs() + d.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    let turn = |x: f64, y: f64| (c * x - s * y, s * x + c * y);
    let (ii, ij, jj) = (a[i * p + i], a[i * p + j], a[j * p + j]);
    turn_rows(a, p, i, j, turn);
    for k in 0..p {
        // Columns are rows mirrored.
        a[k * p + i] = a[i * p + k];
        a[k * p + j] = a[j * p + k];
    }
    (a[i * p + i], a[j * p + j]) = (ii - t * ij, jj + t * ij);
    (a[i * p + j], a[j * p + i]) = (0.0, 0.0);
    turn_rows(vectors, p, i, j, turn);
}

/// Rows `i < j`, in place.
fn turn_rows(m: &mut [f64], p: usize, i: usize, j: usize, turn: impl Fn(f64, f64) -> (f64, f64)) {
    let (head, tail) = m.split_at_mut(j * p);
    for (x, y) in head[i * p..(i + 1) * p].iter_mut().zip(&mut tail[..p]) {
        (*x, *y) = turn(*x, *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::tests::gaussian;
    use proptest::prelude::*;

    fn close(a: &[f64], b: &[f64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12)
    }

    #[test]
    fn textbook_matrices_have_their_eigenvalues() {
        let two = symmetric_eigen(&[2.0, 1.0, 1.0, 2.0], 2).unwrap();
        assert!(close(&two.values, &[3.0, 1.0]));
        assert!((two.vectors[0] - two.vectors[1]).abs() < 1e-12 && (two.vectors[2] + two.vectors[3]).abs() < 1e-12);
        let root = 2f64.sqrt();
        let three = symmetric_eigen(&[2.0, -1.0, 0.0, -1.0, 2.0, -1.0, 0.0, -1.0, 2.0], 3).unwrap();
        assert!(close(&three.values, &[2.0 + root, 2.0, 2.0 - root]));
        assert_eq!(symmetric_eigen(&[3.0, 0.0, 0.0, 5.0], 2).unwrap().values, [5.0, 3.0]);
        assert_eq!(symmetric_eigen(&[0.0; 9], 3).unwrap().values, [0.0; 3]);
        assert_eq!(symmetric_eigen(&[-4.0], 1).unwrap(), Eigen { values: vec![-4.0], vectors: vec![1.0] });
        assert!(close(&symmetric_eigen(&[1.0; 16], 4).unwrap().values, &[4.0, 0.0, 0.0, 0.0]));
        assert!(close(&symmetric_eigen(&[0.0, 1.0, 1.0, 0.0], 2).unwrap().values, &[1.0, -1.0]));
    }

    #[test]
    fn what_is_no_finite_square_is_none() {
        assert_eq!(symmetric_eigen(&[1.0, f64::NAN, f64::NAN, 1.0], 2), None);
        assert_eq!(symmetric_eigen(&[1.0, 2.0], 2), None);
    }

    proptest! {
        #[test]
        fn a_v_is_v_l_and_v_is_orthonormal(seed in any::<u64>(), p in 1usize..24, exponent in -20i32..20) {
            let g = gaussian(seed, p * p);
            let scale = 10f64.powi(exponent);
            let a: Vec<f64> = (0..p * p).map(|at| f64::from(g[at] + g[at % p * p + at / p]) * scale).collect();
            let Eigen { values, vectors } = symmetric_eigen(&a, p).unwrap();
            prop_assert!(values.is_sorted_by(|a, b| a >= b));
            let size = a.iter().map(|v| v * v).sum::<f64>().sqrt();
            for k in 0..p {
                let v = &vectors[k * p..(k + 1) * p];
                for i in 0..p {
                    let av: f64 = (0..p).map(|j| a[i * p + j] * v[j]).sum();
                    prop_assert!((av - values[k] * v[i]).abs() <= 1e-13 * size);
                    let product: f64 = (0..p).map(|j| v[j] * vectors[i * p + j]).sum();
                    prop_assert!((product - f64::from(u8::from(i == k))).abs() < 1e-13);
                }
            }
        }
    }
}
