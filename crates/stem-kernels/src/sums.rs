//! Sums of what lies side by side: of embedding groups into streams, and of fields into the products of their pairs.
//!
//! ```text
//! streams     y_k = sum over groups g of stream k of x_g                        backward     dx_g = sum over streams k with g of dy_k
//! pairs       b = 1/2 ((sum_f v_f)^2 - sum_f v_f^2)                             backward     dv_f = db (sum_h v_h - v_f)
//! ```

use rayon::prelude::*;

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
    sum_planes(plane, |k| streams[k].clone(), x, y);
}

/// The gradient of the planes from that of the streams; of a group that no stream reads 0.
///
/// # Shapes
/// As [`streams`]; `dx` as `x`, `dy` as `y`.
///
/// # Panics
/// As [`streams`].
pub fn streams_backward(streams: &[Vec<usize>], groups: usize, dy: &[f32], dx: &mut [f32]) {
    let plane = dx.len() / groups.max(1);
    assert_eq!((dx.len(), dy.len()), (groups * plane, streams.len() * plane), "dx [G, N], dy [K, N]");
    let reading = |g: usize| {
        let times = |k: usize| streams[k].iter().filter(move |group| **group == g).map(move |_| k);
        (0..streams.len()).flat_map(times).collect()
    };
    sum_planes(plane, reading, dy, dx);
}

/// Every plane of `to` as the sum of planes of `from`.
fn sum_planes(plane: usize, of: impl Fn(usize) -> Vec<usize> + Sync, from: &[f32], to: &mut [f32]) {
    if plane == 0 {
        return;
    }
    to.par_chunks_mut(plane).enumerate().for_each(|(k, to)| {
        let planes = of(k);
        to.par_chunks_mut(NUMBERS).enumerate().for_each(|(i, to)| {
            let part = |plane_of: &usize| &from[plane_of * plane + i * NUMBERS..][..to.len()];
            let parts: Vec<&[f32]> = planes.iter().map(part).collect();
            sum_parts(&parts, to);
        });
    });
}

/// Products of pairs of fields, summed.
///
/// # Shapes
/// `x [N, F * D]` of `fields` fields; writes `b [N, D]`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn pairs(fields: usize, dim: usize, x: &[f32], b: &mut [f32]) {
    assert_eq!(x.len(), b.len() * fields, "x [N, F * D], b [N, D]");
    let rows = (NUMBERS / (fields * dim).max(1)).max(1);
    let pieces = x.par_chunks((rows * fields * dim).max(1));
    b.par_chunks_mut((rows * dim).max(1)).zip(pieces).for_each(|(b, x)| pairs_piece(fields, dim, x, b));
}

/// The gradient of the fields from that of the products.
///
/// # Shapes
/// As [`pairs`]; writes `dx` as `x`, from `db` as `b`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn pairs_backward(fields: usize, dim: usize, x: &[f32], db: &[f32], dx: &mut [f32]) {
    assert_eq!((x.len(), dx.len()), (db.len() * fields, x.len()), "x [N, F * D], db [N, D]");
    let rows = (NUMBERS / (fields * dim).max(1)).max(1);
    let size = (rows * fields * dim).max(1);
    let pieces = x.par_chunks(size).zip(db.par_chunks((rows * dim).max(1)));
    dx.par_chunks_mut(size).zip(pieces).for_each(|(dx, (x, db))| pairs_backward_piece(fields, dim, x, db, dx));
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

    fn pairs_piece(fields: usize, dim: usize, x: &[f32], b: &mut [f32]) {
        let mut sum = vec![0.0f32; dim];
        for (x, b) in x.chunks_exact(fields * dim).zip(b.chunks_exact_mut(dim)) {
            sum.fill(0.0);
            b.fill(0.0);
            for v in x.chunks_exact(dim) {
                for ((sum, squares), v) in sum.iter_mut().zip(&mut *b).zip(v) {
                    *sum += v;
                    *squares += v * v;
                }
            }
            for (b, sum) in b.iter_mut().zip(&sum) {
                *b = 0.5 * (sum * sum - *b);
            }
        }
    }

    fn pairs_backward_piece(fields: usize, dim: usize, x: &[f32], db: &[f32], dx: &mut [f32]) {
        let mut sum = vec![0.0f32; dim];
        let rows = x.chunks_exact(fields * dim).zip(db.chunks_exact(dim));
        for ((x, db), dx) in rows.zip(dx.chunks_exact_mut(fields * dim)) {
            sum.fill(0.0);
            for v in x.chunks_exact(dim) {
                for (sum, v) in sum.iter_mut().zip(v) {
                    *sum += v;
                }
            }
            for (v, dv) in x.chunks_exact(dim).zip(dx.chunks_exact_mut(dim)) {
                for (((dv, v), sum), db) in dv.iter_mut().zip(v).zip(&sum).zip(db) {
                    *dv = db * (sum - v);
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
                streams_backward(&of, groups, &dy, &mut dx);
                (y, dx)
            };
            let (y, dx) = on_threads(1, run);
            let expected = (0..y.len()).map(|i| of[i / plane].iter().map(|g| wide(&x, g * plane + i % plane)).sum());
            close(&y, &expected.collect::<Vec<f64>>())?;
            let times = |k: usize, g: usize| of[k].iter().filter(|group| **group == g).count() as f64;
            let expected = (0..dx.len())
                .map(|i| (0..of.len()).map(|k| times(k, i / plane) * wide(&dy, k * plane + i % plane)).sum());
            close(&dx, &expected.collect::<Vec<f64>>())?;
            let again = on_threads(3, run);
            prop_assert_eq!((bits(&y), bits(&dx)), (bits(&again.0), bits(&again.1)));
        }

        #[test]
        fn products_of_pairs_and_their_gradients_are_the_equations(
            (rows, fields, dim) in (prop_oneof![0usize..9, Just(700usize)], 1usize..9, 1usize..20),
            seed: u64,
        ) {
            let (x, db) = (numbers(rows * fields * dim, seed >> 1, 1.0), numbers(rows * dim, seed >> 2, 1.0));
            let (mut b, mut dx) = (vec![f32::NAN; rows * dim], vec![f32::NAN; x.len()]);
            pairs(fields, dim, &x, &mut b);
            pairs_backward(fields, dim, &x, &db, &mut dx);
            let of = |n: usize, f: usize, d: usize| f64::from(x[(n * fields + f) * dim + d]);
            let two = |n: usize, d: usize| {
                (0..fields).flat_map(move |f| (f + 1..fields).map(move |h| (f, h))).map(move |(f, h)| of(n, f, d) * of(n, h, d)).sum()
            };
            close(&b, &(0..b.len()).map(|i| two(i / dim, i % dim)).collect::<Vec<f64>>())?;
            let others = |i: usize| {
                let (n, f, d) = (i / dim / fields, i / dim % fields, i % dim);
                (0..fields).filter(|h| *h != f).map(|h| of(n, h, d)).sum::<f64>() * f64::from(db[n * dim + d])
            };
            close(&dx, &(0..dx.len()).map(others).collect::<Vec<f64>>())?;
        }
    }
}
