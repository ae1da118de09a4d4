//! Sums of embedding groups into streams.
//!
//! ```text
//! forward     y_k = sum over groups g of stream k of x_g
//! backward    dx_g = sum over streams k with g of dy_k
//! ```

use rayon::prelude::*;

use crate::elementwise::add_rows;
use crate::simd::vectorised;

/// Numbers that a thread takes at a time.
const NUMBERS: usize = 1 << 14;

/// The streams of planes.
///
/// # Shapes
/// `x [G, N]`; writes `y [K, N]`, a plane for each of `streams`.
///
/// # Panics
/// When a length is not that of its shape, or a stream names a group that is not there.
pub fn streams(streams: &[Vec<usize>], groups: usize, x: &[f32], y: &mut [f32]) {
    let plane = x.len() / groups.max(1);
    assert_eq!((x.len(), y.len()), (groups * plane, streams.len() * plane), "x [G, N], y [K, N]");
    sum_planes(plane, |k| streams[k].clone(), x, y, false);
}

/// The gradient of the planes from that of the streams; of a group that no stream reads 0. With `adds` it is added to what `dx` holds.
///
/// # Shapes
/// As [`streams`]; `dx` as `x`, `dy` as `y`.
///
/// # Panics
/// As [`streams`].
pub fn streams_backward(streams: &[Vec<usize>], groups: usize, dy: &[f32], dx: &mut [f32], adds: bool) {
    let plane = dx.len() / groups.max(1);
    assert_eq!((dx.len(), dy.len()), (groups * plane, streams.len() * plane), "dx [G, N], dy [K, N]");
    let reading = |g: usize| {
        let times = |k: usize| streams[k].iter().filter(move |group| **group == g).map(move |_| k);
        (0..streams.len()).flat_map(times).collect()
    };
    sum_planes(plane, reading, dy, dx, adds);
}

/// Every plane of `to` as the sum of planes of `from`, and of what it holds if that `adds`.
fn sum_planes(plane: usize, of: impl Fn(usize) -> Vec<usize> + Sync, from: &[f32], to: &mut [f32], adds: bool) {
    if plane == 0 {
        return;
    }
    to.par_chunks_mut(plane).enumerate().for_each(|(k, to)| {
        let planes = of(k);
        to.par_chunks_mut(NUMBERS).enumerate().for_each(|(i, to)| {
            let part = |plane_of: &usize| &from[plane_of * plane + i * NUMBERS..][..to.len()];
            let parts: Vec<&[f32]> = planes.iter().map(part).collect();
            match adds {
                false => sum_parts(&parts, to),
                true => parts.iter().for_each(|part| add_rows(to, part)),
            }
        });
    });
}

vectorised! {
    fn sum_parts(parts: &[&[f32]], to: &mut [f32]) {
        match parts {
            [] => to.fill(0.0),
            [one] => to.copy_from_slice(one),
            [one, other, rest @ ..] => {
                for ((to, one), other) in to.iter_mut().zip(*one).zip(*other) {
                    *to = one + other;
                }
                for part in rest {
                    for (to, part) in to.iter_mut().zip(*part) {
                        *to += part;
                    }
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 40 }))]

        #[test]
        fn streams_and_their_gradients_are_the_equations_on_any_number_of_threads(
            (groups, plane) in (1usize..4, prop_oneof![0usize..40, Just(NUMBERS + 7)]),
            picked in prop::collection::vec(prop::collection::vec(0usize..4, 1..4), 0..4),
            seed: u64,
        ) {
            let of: Vec<Vec<usize>> =
                picked.into_iter().map(|stream| stream.into_iter().map(|group| group % groups).collect()).collect();
            let (x, dy) = (numbers(groups * plane, seed >> 1, 2.0), numbers(of.len() * plane, seed >> 2, 2.0));
            let wide = |numbers: &[f32], at: usize| f64::from(numbers[at]);
            let run = || {
                let (mut y, mut dx) = (vec![f32::NAN; of.len() * plane], vec![f32::NAN; groups * plane]);
                streams(&of, groups, &x, &mut y);
                streams_backward(&of, groups, &dy, &mut dx, false);
                streams_backward(&of, groups, &dy, &mut dx, true);
                (y, dx)
            };
            let (y, dx) = on_threads(1, run);
            let expected = (0..y.len()).map(|i| of[i / plane].iter().map(|g| wide(&x, g * plane + i % plane)).sum());
            close(&y, &expected.collect::<Vec<f64>>())?;
            let times = |k: usize, g: usize| of[k].iter().filter(|group| **group == g).count() as f64;
            let expected = (0..dx.len())
                .map(|i| (0..of.len()).map(|k| 2.0 * times(k, i / plane) * wide(&dy, k * plane + i % plane)).sum());
            close(&dx, &expected.collect::<Vec<f64>>())?;
            let again = on_threads(3, run);
            prop_assert_eq!((bits(&y), bits(&dx)), (bits(&again.0), bits(&again.1)));
        }
    }
}
