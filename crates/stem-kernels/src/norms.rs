//! Squared norms of gradients, and the gradient that an L2 penalty adds, in one pass over memory.
//!
//! ```text
//! ||g||^2 = sum_i g_i g_i                g = g + lambda w, with ||w||^2 and ||g||^2
//! ```
//!
//! In single precision within a block, in double precision over blocks; blocks have a fixed size and are summed in their order.

use rayon::prelude::*;

use crate::simd::{add_scaled, dot, vectorised};

/// Numbers that one task of a thread takes.
const CHUNK: usize = 1 << 15;

/// Numbers that are summed in single precision, and lie in the cache from one loop over them to the next.
const BLOCK: usize = 1 << 11;

/// `||values||^2`
pub fn squared(values: &[f32]) -> f64 {
    if values.len() <= CHUNK {
        return squared_chunk(values);
    }
    let parts: Vec<f64> = values.par_chunks(CHUNK).map(squared_chunk).collect();
    parts.iter().sum()
}

/// `grad = grad + lambda weights`; gives `(||weights||^2, ||grad||^2)`, the latter after adding.
///
/// # Panics
/// When the lengths differ.
pub fn add_scaled_norms(grad: &mut [f32], weights: &[f32], lambda: f32) -> (f64, f64) {
    assert_eq!(grad.len(), weights.len(), "a gradient has the length of its weights");
    if grad.len() <= CHUNK {
        return add_scaled_chunk(grad, weights, lambda);
    }
    let chunks = grad.par_chunks_mut(CHUNK).zip(weights.par_chunks(CHUNK));
    let parts: Vec<(f64, f64)> = chunks.map(|(grad, weights)| add_scaled_chunk(grad, weights, lambda)).collect();
    parts.iter().fold((0.0, 0.0), |sums, part| (sums.0 + part.0, sums.1 + part.1))
}

vectorised! {
    fn squared_chunk(values: &[f32]) -> f64 {
        let mut sum = 0.0;
        for block in values.chunks(BLOCK) {
            sum += f64::from(dot(block, block));
        }
        sum
    }

    fn add_scaled_chunk(grad: &mut [f32], weights: &[f32], lambda: f32) -> (f64, f64) {
        let mut sums = (0.0, 0.0);
        for (grad, weights) in grad.chunks_mut(BLOCK).zip(weights.chunks(BLOCK)) {
            add_scaled(grad, lambda, weights);
            sums.0 += f64::from(dot(weights, weights));
            sums.1 += f64::from(dot(grad, grad));
        }
        sums
    }
}

/// The equations, number by number, in double precision.
#[cfg(test)]
mod spec {
    pub(super) fn squared(values: &[f32]) -> f64 {
        values.iter().map(|x| f64::from(*x) * f64::from(*x)).sum()
    }

    pub(super) fn add_scaled(grad: &[f32], weights: &[f32], lambda: f32) -> Vec<f64> {
        grad.iter().zip(weights).map(|(g, w)| f64::from(*g) + f64::from(lambda) * f64::from(*w)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{bits, close, numbers, on_threads};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn norms_are_the_equations_on_any_number_of_threads(
            count in prop::sample::select(&[0usize, 1, 7, 64, 100, BLOCK + 1, CHUNK, CHUNK + 1, 3 * CHUNK + 77][..]),
            lambda in prop::sample::select(&[0.0f32, 1e-3, 2.0][..]),
            seed in any::<u64>(),
        ) {
            let (grad, weights) = (numbers(count, seed, 2.0), numbers(count, seed ^ 1, 2.0));
            let all = |threads| on_threads(threads, || {
                let mut grad = grad.clone();
                let plain = squared(&grad);
                let (weights, added) = add_scaled_norms(&mut grad, &weights, lambda);
                (grad, [plain, weights, added])
            });
            let (added, norms) = all(1);
            close(&added, &spec::add_scaled(&grad, &weights, lambda))?;
            for (found, values) in norms.into_iter().zip([&grad, &weights, &added]) {
                let expected = spec::squared(values);
                prop_assert!((found - expected).abs() <= 1e-6 * expected, "{} expected {}", found, expected);
            }
            prop_assert_eq!(norms[2].to_bits(), squared(&added).to_bits());
            for threads in [2, 3] {
                let (other, other_norms) = all(threads);
                prop_assert_eq!(bits(&added), bits(&other));
                prop_assert_eq!(norms.map(f64::to_bits), other_norms.map(f64::to_bits));
            }
        }
    }

    #[test]
    fn what_is_no_number_is_not_hidden() {
        assert!(squared(&[1.0, f32::NAN]).is_nan());
        let (weights, grad) = add_scaled_norms(&mut [f32::NAN], &[2.0], 0.5);
        assert!(weights == 4.0 && grad.is_nan());
    }
}
