//! Binary cross-entropy from logits, per task.
//!
//! ```text
//! forward     L_t = sum_b share[b,t] (max(z,0) - z y + ln(1 + exp(-|z|)))        z, y of [b,t]
//! backward    dz[b,t] = dL_t share[b,t] (sigmoid(z) - y)
//! ```
//!
//! `share` is `1 / n_t` where a label is known and 0 where it is missing. One thread: a batch has few logits.

use crate::simd::{exp, log1p, vectorised};

/// Terms that are computed before they are summed.
const BLOCK: usize = 256;

vectorised! {
    /// Every task's loss, summed in double precision over ascending rows.
    ///
    /// # Shapes
    /// `z`, `y`, `share [B, T]`; writes `loss [T]`.
    ///
    /// # Panics
    /// When a length is not that of its shape.
    pub fn forward(z: &[f32], y: &[f32], share: &[f32], loss: &mut [f32]) {
        check([z.len(), y.len(), share.len()], loss.len());
        let mut sums = vec![0.0f64; loss.len()];
        let (mut terms, mut t) = ([0.0f32; BLOCK], 0);
        for ((z, y), share) in z.chunks(BLOCK).zip(y.chunks(BLOCK)).zip(share.chunks(BLOCK)) {
            for (((term, z), y), share) in terms.iter_mut().zip(z).zip(y).zip(share) {
                *term = share * cross_entropy(*z, *y);
            }
            for term in &terms[..z.len()] {
                sums[t] += f64::from(*term);
                t = if t + 1 < sums.len() { t + 1 } else { 0 };
            }
        }
        for (loss, sum) in loss.iter_mut().zip(sums) {
            *loss = sum as f32;
        }
    }

    /// The gradient of the logits from that of the tasks' losses.
    ///
    /// # Shapes
    /// `z`, `y`, `share [B, T]`, `d_loss [T]`; writes `dz [B, T]`.
    ///
    /// # Panics
    /// When a length is not that of its shape.
    pub fn backward(z: &[f32], y: &[f32], share: &[f32], d_loss: &[f32], dz: &mut [f32]) {
        check([z.len(), y.len(), share.len()], d_loss.len());
        assert_eq!(dz.len(), z.len(), "logits and their gradient are [B, T]");
        for (((dz, z), y), share) in dz.iter_mut().zip(z).zip(y).zip(share) {
            *dz = share * sigmoid_minus(*z, *y);
        }
        for row in dz.chunks_exact_mut(d_loss.len().max(1)) {
            for (dz, d_loss) in row.iter_mut().zip(d_loss) {
                *dz *= d_loss;
            }
        }
    }
}

fn check(lengths: [usize; 3], tasks: usize) {
    assert_eq!(lengths, [lengths[0]; 3], "logits, labels and shares are [B, T]");
    assert!(lengths[0].is_multiple_of(tasks), "{} logits are no [B, T] with T {tasks}", lengths[0]);
}

/// `-y ln sigmoid(z) - (1 - y) ln(1 - sigmoid(z))`, stable far out.
#[inline(always)]
fn cross_entropy(z: f32, y: f32) -> f32 {
    z.max(0.0) - z * y + log1p(exp(-z.abs()))
}

/// `sigmoid(z) - y`, exact far out where the label is right.
#[inline(always)]
fn sigmoid_minus(z: f32, y: f32) -> f32 {
    let e = exp(-z.abs());
    let tail = e / (1.0 + e); // sigmoid(-|z|)
    if z < 0.0 { tail - y } else { (1.0 - y) - tail }
}

/// The equations, loop by loop, in double precision.
#[cfg(test)]
mod spec {
    /// `L [T]`
    pub(super) fn forward(z: &[f32], y: &[f32], share: &[f32], tasks: usize) -> Vec<f64> {
        let mut loss = vec![0.0; tasks];
        for i in 0..z.len() {
            let (z, y) = (f64::from(z[i]), f64::from(y[i]));
            loss[i % tasks] += f64::from(share[i]) * (z.max(0.0) - z * y + (-z.abs()).exp().ln_1p());
        }
        loss
    }

    /// `dz [B, T]`
    pub(super) fn backward(z: &[f32], y: &[f32], share: &[f32], d_loss: &[f32]) -> Vec<f64> {
        let sigmoid = |z: f32| 1.0 / (1.0 + f64::from(-z).exp());
        let weight = |i: usize| f64::from(d_loss[i % d_loss.len()]) * f64::from(share[i]);
        (0..z.len()).map(|i| weight(i) * (sigmoid(z[i]) - f64::from(y[i]))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{bits, close, numbers, on_threads};
    use proptest::prelude::*;

    fn both(z: &[f32], y: &[f32], share: &[f32], d_loss: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut loss, mut dz) = (vec![f32::NAN; d_loss.len()], vec![f32::NAN; z.len()]);
        forward(z, y, share, &mut loss);
        backward(z, y, share, d_loss, &mut dz);
        (loss, dz)
    }

    proptest! {
        #[test]
        fn forward_and_backward_are_the_equations_on_any_number_of_threads(
            rows in prop::sample::select(&[0usize, 1, 3, 17, 1000][..]),
            tasks in prop::sample::select(&[0usize, 1, 2, 5, 300][..]),
            seed in any::<u64>(),
        ) {
            let z = numbers(rows * tasks, seed, 60.0);
            let y: Vec<f32> = numbers(z.len(), seed ^ 1, 1.0).iter().map(|x| f32::from(*x > 0.0)).collect();
            let share: Vec<f32> =
                numbers(z.len(), seed ^ 2, 1.0).iter().map(|x| if *x > 0.0 { 1.0 / rows as f32 } else { 0.0 }).collect();
            let d_loss = numbers(tasks, seed ^ 3, 4.0);
            let (loss, dz) = both(&z, &y, &share, &d_loss);
            close(&loss, &spec::forward(&z, &y, &share, tasks))?;
            close(&dz, &spec::backward(&z, &y, &share, &d_loss))?;
            for threads in [2, 3] {
                let (other_loss, other_dz) = on_threads(threads, || both(&z, &y, &share, &d_loss));
                prop_assert_eq!(bits(&loss), bits(&other_loss));
                prop_assert_eq!(bits(&dz), bits(&other_dz));
            }
        }

        #[test]
        fn one_logit_is_right_to_a_few_units_in_the_last_place(z in -80.0f32..80.0, y in 0u8..2) {
            let y = f32::from(y);
            let (loss, dz) = both(&[z], &[y], &[1.0], &[1.0]);
            let wrong = f64::from(if y == 1.0 { -z } else { z }); // the logit of the other label
            let exact = [wrong.max(0.0) + (-wrong.abs()).exp().ln_1p(), 1.0 / (1.0 + (-wrong).exp())];
            for (found, exact) in [loss[0], dz[0].abs()].into_iter().zip(exact) {
                prop_assert!((f64::from(found) - exact).abs() <= 4e-7 * exact, "{} expected {}", found, exact);
            }
        }
    }

    #[test]
    fn a_logit_that_is_no_number_is_not_hidden() {
        let (loss, dz) = both(&[f32::NAN, 1.0], &[0.0, 1.0], &[1.0; 2], &[1.0; 2]);
        assert!(loss[0].is_nan() && dz[0].is_nan());
        assert!(!loss[1].is_nan() && !dz[1].is_nan());
    }

    #[test]
    fn the_gradient_at_zero_is_half_less_the_label() {
        let (loss, dz) = both(&[0.0, -0.0], &[0.0, 1.0], &[1.0; 2], &[1.0; 2]);
        assert_eq!(dz, [0.5, -0.5]);
        assert_eq!(loss, [std::f32::consts::LN_2; 2]);
    }

    #[test]
    fn a_task_without_labels_has_loss_zero() {
        let (loss, dz) = both(&[300.0, -300.0], &[0.0; 2], &[0.0; 2], &[1.0]);
        assert_eq!((loss, dz), (vec![0.0], vec![0.0; 2]));
    }
}
