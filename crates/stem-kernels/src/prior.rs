//! The pull of Gaussian priors on rows of a table: what the logarithm of the prior adds to their gradients.
//!
//! ```text
//! diagonal    g_u[k, d] = g_u[k, d] + c_u P_v[k, d] w_u[k, d]
//! tied        g_u[k, d] = g_u[k, d] + c_u sum_h P_v[k, h] w_u[h, d]
//! ```
//!
//! `v` is the vocabulary of row `u`, `P_v` the inverse of its variances, or of its covariance between embedding groups `k`, `h`.

use rayon::prelude::*;

use crate::simd::{add_scaled, vectorised};

/// Numbers that one task of a thread takes.
const CHUNK: usize = 1 << 15;

/// The inverse variances of every vocabulary's rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Precisions {
    /// A variance for every number of a row.
    Diagonal {
        /// `[vocabularies, W]`
        values: Vec<f32>,
        /// `W`
        width: usize,
    },
    /// A covariance between the groups of a row, the same for every dimension.
    Tied {
        /// `[vocabularies, G, G]`
        values: Vec<f32>,
        /// `G`
        groups: usize,
        /// `D`
        dim: usize,
    },
}

impl Precisions {
    /// `W`
    pub fn width(&self) -> usize {
        match *self {
            Self::Diagonal { width, .. } => width,
            Self::Tied { groups, dim, .. } => groups * dim,
        }
    }
}

/// Adds the pull on `rows [U, W]` to their gradients `grad [U, W]`; row `u` is of vocabulary `of[u]` and pulled `strength[u]` times.
///
/// # Panics
/// When the lengths do not fit each other, or a vocabulary has no precision.
pub fn add_pull(grad: &mut [f32], rows: &[f32], of: &[u32], strength: &[f32], precisions: &Precisions) {
    let width = precisions.width();
    assert!(
        grad.len() == rows.len() && rows.len() == of.len() * width && of.len() == strength.len(),
        "rows and their pull"
    );
    let rows_at_once = (CHUNK / width.max(1)).max(1);
    let numbers = rows_at_once * width.max(1);
    let parts = grad.par_chunks_mut(numbers).zip(rows.par_chunks(numbers));
    let parts = parts.zip(of.par_chunks(rows_at_once)).zip(strength.par_chunks(rows_at_once));
    parts.for_each(|(((grad, rows), of), strength)| match precisions {
        Precisions::Diagonal { values, width } => diagonal(grad, rows, of, strength, values, *width),
        Precisions::Tied { values, groups, dim } => tied(grad, rows, of, strength, values, [*groups, *dim]),
    });
}

vectorised! {
    fn diagonal(grad: &mut [f32], rows: &[f32], of: &[u32], strength: &[f32], values: &[f32], width: usize) -> () {
        let each = grad.chunks_exact_mut(width).zip(rows.chunks_exact(width)).zip(of).zip(strength);
        for (((grad, row), &v), &strength) in each {
            let precision = &values[v as usize * width..][..width];
            for ((grad, weight), precision) in grad.iter_mut().zip(row).zip(precision) {
                *grad += strength * precision * weight;
            }
        }
    }

    fn tied(grad: &mut [f32], rows: &[f32], of: &[u32], strength: &[f32], values: &[f32], sizes: [usize; 2]) -> () {
        let [groups, dim] = sizes;
        let each = grad.chunks_exact_mut(groups * dim).zip(rows.chunks_exact(groups * dim)).zip(of).zip(strength);
        for (((grad, row), &v), &strength) in each {
            let precision = &values[v as usize * groups * groups..][..groups * groups];
            for (grad, precision) in grad.chunks_exact_mut(dim).zip(precision.chunks_exact(groups)) {
                for (weights, precision) in row.chunks_exact(dim).zip(precision) {
                    add_scaled(grad, strength * precision, weights);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{bits, close, numbers, on_threads};
    use proptest::prelude::*;

    /// The equations, number by number, in double precision.
    fn spec(grad: &[f32], rows: &[f32], of: &[u32], strength: &[f32], precisions: &Precisions) -> Vec<f64> {
        let width = precisions.width();
        let pull = |u: usize, k: usize| -> f64 {
            let (row, v) = (&rows[u * width..][..width], of[u] as usize);
            match precisions {
                Precisions::Diagonal { values, .. } => f64::from(values[v * width + k]) * f64::from(row[k]),
                Precisions::Tied { values, groups, dim } => {
                    let of_group = |h: usize| f64::from(values[(v * groups + k / dim) * groups + h]);
                    (0..*groups).map(|h| of_group(h) * f64::from(row[h * dim + k % dim])).sum()
                }
            }
        };
        let numbers = grad.iter().enumerate();
        numbers.map(|(i, g)| f64::from(*g) + f64::from(strength[i / width]) * pull(i / width, i % width)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_pull_is_its_equation_on_any_number_of_threads(
            rows in prop::sample::select(&[0usize, 1, 3, 100, 2000][..]),
            (groups, dim) in prop::sample::select(&[(1usize, 1usize), (1, 16), (3, 16), (5, 3), (4, 8)][..]),
            tied in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let (width, vocabularies) = (groups * dim, 3);
            let precisions = if tied {
                Precisions::Tied { values: numbers(vocabularies * groups * groups, seed ^ 1, 2.0), groups, dim }
            } else {
                Precisions::Diagonal { values: numbers(vocabularies * width, seed ^ 1, 2.0), width }
            };
            let of: Vec<u32> = (0..rows as u32).map(|u| u * vocabularies as u32 / rows as u32).collect();
            let (grad, values) = (numbers(rows * width, seed ^ 2, 2.0), numbers(rows * width, seed ^ 3, 2.0));
            let strength = numbers(rows, seed ^ 4, 2.0);
            let all = |threads| on_threads(threads, || {
                let mut grad = grad.clone();
                add_pull(&mut grad, &values, &of, &strength, &precisions);
                grad
            });
            let found = all(1);
            close(&found, &spec(&grad, &values, &of, &strength, &precisions))?;
            for threads in [2, 3] {
                prop_assert_eq!(bits(&found), bits(&all(threads)));
            }
        }
    }
}
