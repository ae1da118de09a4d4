//! Dropout, drawn anew in every training step (Srivastava et al., JMLR 2014).

use std::cell::RefCell;

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::device::on_host;

thread_local! {
    static GENERATOR: RefCell<ChaCha8Rng> = RefCell::new(ChaCha8Rng::seed_from_u64(0));
}

/// What the next forwards on this thread drop, on every device. Every thread has a generator of its own, so that trainings beside each other
/// draw what each draws alone; the generator of a GPU's backend is the whole process's and is not asked.
pub fn seed(seed: u64) {
    GENERATOR.with_borrow_mut(|generator| *generator = ChaCha8Rng::seed_from_u64(seed));
}

/// `y = x ⊙ m / (1 - p)` with `m ~ Bernoulli(1 - p)` on an autodiff device, `y = x` on any other.
#[derive(Module, Debug)]
pub(crate) struct Dropout {
    share: f64,
}

impl Dropout {
    /// With the share `p` of what is set to 0, `0 <= p < 1`.
    pub(crate) fn new(share: f64) -> Self {
        Self { share }
    }

    /// # Shapes
    /// `x [E, B, O]`; gives the same.
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let device = x.device();
        if self.share == 0.0 || !device.is_autodiff() {
            return x;
        }
        let kept = 1.0 - self.share;
        let (below, scale) = (kept * 2.0f64.powi(32), 1.0 / kept); // below: of 2^32 numbers
        let dims = x.dims();
        let count = dims.iter().product();
        let mask: Tensor<1> = GENERATOR.with_borrow_mut(|generator| {
            if on_host(&device) {
                let number = |_| if generator.next_u32() < below as u32 { scale as f32 } else { 0.0 };
                Tensor::from_data(TensorData::new((0..count).map(number).collect(), [count]), &device)
            } else {
                let keys = [generator.next_u32(), generator.next_u32()].map(u32::cast_signed);
                hashed(count, keys, &device).lower_elem((below - 2.0f64.powi(31)) as i32).float() * scale
            }
        });
        x * mask.reshape(dims) // [E, B, O]
    }
}

/// Numbers that are even over all of `i32`, drawn where they are used: every place goes through the mixer `lowbias32` (C. Wellons, 2018) with two
/// keys of the draw.
///
/// # Shapes
/// Gives `[count]`.
fn hashed(count: usize, keys: [i32; 2], device: &Device) -> Tensor<1, Int> {
    let shifted =
        |h: Tensor<1, Int>, by: i32| h.bitwise_right_shift_scalar(by).bitwise_and_scalar((1 << (32 - by)) - 1);
    let spread = |h: Tensor<1, Int>, by: i32| h.clone().bitwise_xor(shifted(h, by));
    let place = Tensor::arange(0..count as i64, device); // [count]
    let h = spread(place.bitwise_xor_scalar(keys[0]), 16) * 0x7feb_352d_i32;
    let h = spread(h.bitwise_xor_scalar(keys[1]), 15) * 0x846c_a68b_u32.cast_signed();
    spread(h, 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSpec;

    /// Of ones: where they go, and their mean.
    fn drawn(share: f64, device: &Device) -> Vec<f32> {
        let y = Dropout::new(share).forward(Tensor::ones([2, 100, 50], device));
        y.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn a_share_is_zero_and_the_mean_stays() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        assert!(drawn(0.3, &device).iter().all(|y| *y == 1.0), "nothing is dropped while scoring");
        for share in [0.1, 0.5, 0.9] {
            let y = drawn(share, &device.clone().autodiff());
            let zeros = y.iter().filter(|y| **y == 0.0).count() as f64 / y.len() as f64;
            let bound = 5.0 * (share * (1.0 - share) / y.len() as f64).sqrt();
            assert!((zeros - share).abs() < bound, "{zeros} of {share}");
            assert!(y.iter().all(|y| *y == 0.0 || (f64::from(*y) - 1.0 / (1.0 - share)).abs() < 1e-5));
        }
    }

    #[test]
    fn trainings_beside_each_other_draw_what_each_draws_alone() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let device = device.autodiff();
        let of = |number: u64| {
            seed(number);
            drawn(0.5, &device)
        };
        let (alone, other) = (of(1), of(2));
        assert!(alone != other);
        let beside = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|i| scope.spawn(move || of(1 + i % 2))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(beside.iter().step_by(2).all(|y| *y == alone) && beside.iter().skip(1).step_by(2).all(|y| *y == other));
    }
}
