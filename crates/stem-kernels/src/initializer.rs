//! The initializer of a table, `N(0, std^2)` from a seed: in parallel, and the same on any number of threads and on any machine.
//!
//! Blocks of a fixed size have 64 generators xoshiro128++ (Blackman and Vigna, 2019) side by side, their states drawn from a stream
//! of ChaCha8 that belongs to the block. Two draws make two normal numbers by Box and Muller (1958):
//!
//! ```text
//! u = (a + 1/2) / 2^31        r = std sqrt(-2 ln u)        z = r cos(phi), r sin(phi)        phi uniform on the circle
//! ```
//!
//! Logarithm and trigonometry are polynomials without branches, so that the whole is one vector loop. With 31 bits of `u` no number
//! is further out than 6.66 std (one of 4e10 would be); libraries for GPUs do the same.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::simd::{self, Kernel};

/// Generators side by side.
const LANES: usize = 64;

/// Numbers drawn from one set of generators.
pub const BLOCK: usize = 1 << 16;

/// Fills `values` with `N(0, std^2)`.
pub fn normal(values: &mut [f32], std: f32, seed: u64) {
    normal_from(0, values, std, seed);
}

/// Fills `values` with those of a longer run of [`normal`] from its block `first` on: from its number `first * BLOCK`.
pub fn normal_from(first: usize, values: &mut [f32], std: f32, seed: u64) {
    values
        .par_chunks_mut(BLOCK)
        .enumerate()
        .for_each(|(block, values)| simd::run(Block { state: state(seed, first + block), values, std }));
}

/// So many zeros, in memory that is taken now, by all threads, rather than page by page in the steps that touch a row first.
pub fn zeros(count: usize) -> Vec<f32> {
    let mut values = vec![0.0; count];
    values.par_chunks_mut(BLOCK).for_each(|values| values.fill(0.0));
    values
}

/// The states of a block's generators, word by word.
fn state(seed: u64, block: usize) -> [[u32; LANES]; 4] {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(block as u64 + 1);
    let mut state = [[0; LANES]; 4];
    for word in state.iter_mut().flatten() {
        *word = rng.next_u32();
    }
    state
}

struct Block<'a> {
    state: [[u32; LANES]; 4],
    values: &'a mut [f32],
    std: f32,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let (chunks, rest) = self.values.as_chunks_mut::<{ 2 * LANES }>();
        for chunk in chunks {
            draw(&mut self.state, chunk, self.std);
        }
        if !rest.is_empty() {
            let mut chunk = [0.0; 2 * LANES];
            draw(&mut self.state, &mut chunk, self.std);
            rest.copy_from_slice(&chunk[..rest.len()]);
        }
    }
}

/// Two numbers from every generator.
#[inline(always)]
fn draw([s0, s1, s2, s3]: &mut [[u32; LANES]; 4], chunk: &mut [f32; 2 * LANES], std: f32) {
    let (first, second) = chunk.split_at_mut(LANES);
    let (Some(first), Some(second)) = (first.as_mut_array::<LANES>(), second.as_mut_array::<LANES>()) else { return };
    for i in 0..LANES {
        let (a, state) = next([s0[i], s1[i], s2[i], s3[i]]);
        let (b, state) = next(state);
        [s0[i], s1[i], s2[i], s3[i]] = state;
        let r = radius(a) * std;
        let (cos, sin) = direction(b);
        first[i] = r * cos;
        second[i] = r * sin;
    }
}

/// xoshiro128++: a number and the next state.
#[inline(always)]
fn next([s0, s1, s2, s3]: [u32; 4]) -> (u32, [u32; 4]) {
    let number = s0.wrapping_add(s3).rotate_left(7).wrapping_add(s0);
    let (s2, s3, t) = (s2 ^ s0, s3 ^ s1, s1 << 9);
    (number, [s0 ^ s3, s1 ^ s2, s2 ^ t, s3.rotate_left(11)])
}

/// `sqrt(-2 ln u)`
#[inline(always)]
fn radius(a: u32) -> f32 {
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let u = ((a >> 1) as i32 as f32 + 0.5) * (1.0 / (1u32 << 31) as f32);
    let power = (u.to_bits().wrapping_sub(ROOT_HALF) as i32) >> 23; // u = 2^power (1 + f), 1 + f from sqrt(1/2) to sqrt(2)
    let f = f32::from_bits(u.to_bits().wrapping_sub((power << 23) as u32)) - 1.0;
    let p = 7.037_684e-2;
    let p = p * f - 1.151_461e-1;
    let p = p * f + 1.167_699_9e-1;
    let p = p * f - 1.242_014_1e-1;
    let p = p * f + 1.424_932_3e-1;
    let p = p * f - 1.666_805_8e-1;
    let p = p * f + 2.000_071_5e-1;
    let p = p * f - 2.499_999_4e-1;
    let p = p * f + 3.333_333e-1;
    let square = f * f;
    let ln = (f - square * 0.5) + square * f * p + power as f32 * std::f32::consts::LN_2;
    let minus = -2.0 * ln;
    (if minus > 0.0 { minus } else { 0.0 }).sqrt() // u may round to 1
}

/// Cosine and sine of a uniform angle: within an eighth of the circle either way from the upper bits, then one of four quarters.
#[inline(always)]
fn direction(b: u32) -> (f32, f32) {
    let phi = b as i32 as f32 * (std::f32::consts::FRAC_PI_4 / (1u32 << 31) as f32);
    let square = phi * phi;
    let p = -1.951_529_6e-4;
    let p = p * square + 8.332_161e-3;
    let p = p * square - 1.666_665_5e-1;
    let sin = p * square * phi + phi;
    let p = 2.443_315_7e-5;
    let p = p * square - 1.388_731_6e-3;
    let p = p * square + 4.166_664_6e-2;
    let cos = p * square * square - 0.5 * square + 1.0;
    let (x, y) = if b & 1 == 0 { (cos, sin) } else { (sin, cos) };
    let sign = (b & 2) << 30;
    (f32::from_bits(x.to_bits() ^ sign), f32::from_bits(y.to_bits() ^ sign))
}

/// The equations, number by number, in double precision.
#[cfg(test)]
mod spec {
    use super::{BLOCK, LANES, next, state};

    /// The first `count` numbers of a table.
    pub(super) fn normal(count: usize, std: f64, seed: u64) -> Vec<f64> {
        let mut values = vec![0.0; count];
        for (block, values) in values.chunks_mut(BLOCK).enumerate() {
            let mut words = state(seed, block);
            for chunk in values.chunks_mut(2 * LANES) {
                for i in 0..LANES {
                    let (a, after) = next([words[0][i], words[1][i], words[2][i], words[3][i]]);
                    let (b, after) = next(after);
                    words.iter_mut().zip(after).for_each(|(word, new)| word[i] = new);
                    let u = (f64::from(a >> 1) + 0.5) / f64::from(1u32 << 31);
                    let r = std * (-2.0 * u.ln()).sqrt();
                    let phi = f64::from(b as i32) / f64::from(1u32 << 31) * std::f64::consts::FRAC_PI_4;
                    let quarter = if b & 1 == 0 { phi } else { std::f64::consts::FRAC_PI_2 - phi };
                    let angle = if b & 2 == 0 { quarter } else { quarter + std::f64::consts::PI };
                    if let Some(value) = chunk.get_mut(i) {
                        *value = r * angle.cos();
                    }
                    if let Some(value) = chunk.get_mut(LANES + i) {
                        *value = r * angle.sin();
                    }
                }
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{bits, on_threads};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn numbers_are_the_equations_on_any_number_of_threads(
            count in prop::sample::select(&[0usize, 1, 63, 64, 129, BLOCK - 1, BLOCK, 2 * BLOCK + 77][..]),
            std in prop::sample::select(&[1.0f32, 1e-4][..]),
            seed in any::<u64>(),
        ) {
            let all = |threads| on_threads(threads, || {
                let mut values = vec![f32::NAN; count];
                normal(&mut values, std, seed);
                values
            });
            let found = all(1);
            for (i, (found, expected)) in found.iter().zip(spec::normal(count, f64::from(std), seed)).enumerate() {
                // Near u = 1 the single-precision u rounds: a radius of 1e-3 or less is known to that much only.
                let difference = (f64::from(*found) - expected).abs() / f64::from(std);
                prop_assert!(difference < 4e-4, "at {}: {} expected {}", i, found, expected);
            }
            prop_assert_eq!(bits(&found), bits(&all(2)));
            prop_assert_eq!(bits(&found), bits(&all(3)));
        }
    }

    #[test]
    fn the_generator_is_xoshiro128_plus_plus_as_published() {
        // What the authors' xoshiro128plusplus.c gives from the state 1, 2, 3, 4.
        const PUBLISHED: [u32; 10] = [
            641,
            1_573_767,
            3_222_811_527,
            3_517_856_514,
            836_907_274,
            4_247_214_768,
            3_867_114_732,
            1_355_841_295,
            495_546_011,
            621_204_420,
        ];
        let mut state = [1, 2, 3, 4];
        for expected in PUBLISHED {
            let (number, after) = next(state);
            assert_eq!(number, expected);
            state = after;
        }
    }

    /// A seed's table is part of what a seed means: these numbers may not change.
    #[test]
    fn a_seeds_first_numbers_are_what_they_always_were() {
        let mut values = vec![0.0; BLOCK + 2];
        normal(&mut values, 1.0, 7);
        assert_eq!(
            bits(&[values[0], values[1], values[LANES], values[BLOCK], values[BLOCK + 1]]),
            [1_073_809_066, 1_045_295_628, 1_054_256_560, 1_041_286_795, 1_058_385_282]
        );
    }

    #[test]
    fn every_instruction_set_gives_the_same_numbers() {
        let (mut wide, mut narrow) = (vec![0.0; 1000], vec![0.0; 1000]);
        simd::run(Block { state: state(5, 0), values: &mut wide, std: 1.0 });
        Block { state: state(5, 0), values: &mut narrow, std: 1.0 }.run();
        assert_eq!(bits(&wide), bits(&narrow));
    }

    fn large() -> Vec<f32> {
        let mut values = vec![0.0; 1 << 23];
        normal(&mut values, 1.0, 2024);
        values
    }

    #[test]
    fn moments_are_those_of_the_normal_distribution() {
        let values = large();
        let n = values.len() as f64;
        let moment = |power: i32| values.iter().map(|z| f64::from(*z).powi(power)).sum::<f64>() / n;
        // expected value, variance of a single term
        for (power, expected, variance) in [
            (1, 0.0, 1.0f64),
            (2, 1.0, 2.0),
            (3, 0.0, 15.0),
            (4, 3.0, 96.0),
            (6, 15.0, 10_170.0),
            (8, 105.0, 2_016_000.0),
        ] {
            let off = (moment(power) - expected) / (variance / n).sqrt();
            assert!(off.abs() < 4.0, "moment {power} is off by {off} standard errors");
        }
    }

    #[test]
    fn numbers_fall_where_the_normal_distribution_has_them() {
        // P(Z < z)
        const POINTS: [(f32, f64); 9] = [
            (-5.0, 2.866_515_7e-7),
            (-4.0, 3.167_124_2e-5),
            (-3.0, 1.349_898e-3),
            (-1.0, 0.158_655_25),
            (0.0, 0.5),
            (0.1, 0.539_827_84),
            (1.0, 0.841_344_75),
            (3.0, 0.998_650_1),
            (4.5, 0.999_996_602_3),
        ];
        let values = large();
        let n = values.len() as f64;
        for (z, p) in POINTS {
            let share = values.iter().filter(|value| **value < z).count() as f64 / n;
            let off = (share - p) / (p * (1.0 - p) / n).sqrt();
            assert!(off.abs() < 4.0, "the share below {z} is off by {off} standard errors");
        }
        assert!(values.iter().all(|z| z.abs() < 6.7));
    }

    #[test]
    fn neighbours_generators_and_blocks_do_not_know_of_each_other() {
        let values = large();
        for lag in [1, 2, 3, 48, LANES, 2 * LANES, 4 * LANES, BLOCK] {
            for square in [false, true] {
                let of = |z: f32| if square { (f64::from(z).powi(2) - 1.0) / 2f64.sqrt() } else { f64::from(z) };
                let pairs = values.len() - lag;
                let sum: f64 = values.iter().zip(&values[lag..]).map(|(a, b)| of(*a) * of(*b)).sum();
                let off = sum / (pairs as f64).sqrt();
                assert!(off.abs() < 4.5, "lag {lag}, squares {square}: off by {off} standard errors");
            }
        }
    }
}
