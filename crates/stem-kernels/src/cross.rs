//! A layer of crosses, number by number.
//!
//! ```text
//! forward     y = x_0 u + x
//! backward    dx_0 = dy u        du = dy x_0        dx = dy
//! ```

use rayon::prelude::*;

use crate::simd::vectorised;

/// Numbers that one task of a thread takes.
const CHUNK: usize = 1 << 14;

/// `y = x_0 u + x`
///
/// # Panics
/// When the lengths differ.
pub fn forward(x0: &[f32], u: &[f32], x: &[f32], y: &mut [f32]) {
    assert_eq!([x0.len(), u.len(), x.len()], [y.len(); 3], "a cross keeps its shape");
    let inputs = x0.par_chunks(CHUNK).zip(u.par_chunks(CHUNK)).zip(x.par_chunks(CHUNK));
    y.par_chunks_mut(CHUNK).zip(inputs).for_each(|(y, ((x0, u), x))| forward_chunk(x0, u, x, y));
}

/// `dx_0 = dy u` and `du = dy x_0`
///
/// # Panics
/// When the lengths differ.
pub fn backward(x0: &[f32], u: &[f32], dy: &[f32], dx0: &mut [f32], du: &mut [f32]) {
    assert_eq!([x0.len(), u.len(), dx0.len(), du.len()], [dy.len(); 4], "a cross keeps its shape");
    let inputs = x0.par_chunks(CHUNK).zip(u.par_chunks(CHUNK)).zip(dy.par_chunks(CHUNK));
    let outputs = dx0.par_chunks_mut(CHUNK).zip(du.par_chunks_mut(CHUNK));
    outputs.zip(inputs).for_each(|((dx0, du), ((x0, u), dy))| backward_chunk(x0, u, dy, dx0, du));
}

vectorised! {
    fn forward_chunk(x0: &[f32], u: &[f32], x: &[f32], y: &mut [f32]) {
        for (((y, x0), u), x) in y.iter_mut().zip(x0).zip(u).zip(x) {
            *y = x0 * u + x;
        }
    }

    fn backward_chunk(x0: &[f32], u: &[f32], dy: &[f32], dx0: &mut [f32], du: &mut [f32]) {
        for ((((dx0, du), x0), u), dy) in dx0.iter_mut().zip(du).zip(x0).zip(u).zip(dy) {
            *dx0 = dy * u;
            *du = dy * x0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{bits, close, numbers, on_threads};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn forward_and_backward_are_the_equations_on_any_number_of_threads(
            count in prop::sample::select(&[0usize, 1, 7, 64, CHUNK, CHUNK + 1, 3 * CHUNK + 77][..]),
            seed in any::<u64>(),
        ) {
            let [x0, u, x, dy] = [0, 1, 2, 3].map(|salt| numbers(count, seed ^ salt, 2.0));
            let all = |threads| on_threads(threads, || {
                let mut outputs = [0, 1, 2].map(|_| vec![f32::NAN; count]);
                let [y, dx0, du] = &mut outputs;
                forward(&x0, &u, &x, y);
                backward(&x0, &u, &dy, dx0, du);
                outputs
            });
            let of = |equation: &dyn Fn(usize) -> f64| (0..count).map(equation).collect::<Vec<f64>>();
            let wide = |values: &[f32], i: usize| f64::from(values[i]);
            let found = all(1);
            close(&found[0], &of(&|i| wide(&x0, i) * wide(&u, i) + wide(&x, i)))?;
            close(&found[1], &of(&|i| wide(&dy, i) * wide(&u, i)))?;
            close(&found[2], &of(&|i| wide(&dy, i) * wide(&x0, i)))?;
            for threads in [2, 3] {
                for (one, other) in found.iter().zip(all(threads)) {
                    prop_assert_eq!(bits(one), bits(&other));
                }
            }
        }
    }
}
