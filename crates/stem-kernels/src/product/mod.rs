//! Matrix products `C = relu(C + A B + bias)` on the calling thread. `A^T B` and `A B^T` are the same on [`Mat::t`].
//!
//! Four ways lead to a product, and `choose` is the one place that picks:
//!
//! | way | what for |
//! |---|---|
//! | `skinny` | results of a few rows or columns (gemv and its like): sums of whole rows, with AVX-512 in the order of the tiles |
//! | `gemm` | the crate `gemm`: machines without AVX-512 |
//! | `tile` | AVX-512: tiles of our own that end with bias and ReLU in registers |
//! | `tile` in bfloat16 | the same with factors rounded to bfloat16, where that is asked for and worth it |

mod alike;
mod epilogue;
mod gemm;
mod skinny;
mod tile;

use crate::mat::{Mat, MatMut};
use crate::precision::Precision;
use epilogue::{check, finish};
use tile::{Avx512, Avx512Bf16};

pub use alike::multiply_alike;
pub use epilogue::Epilogue;

/// `C = relu(C + A B + bias)`
///
/// # Shapes
/// `a [m, k]`, `b [k, n]`, `c [m, n]`, the bias `[n]`
///
/// # Panics
/// When the shapes disagree.
pub fn multiply(precision: Precision, a: Mat, b: Mat, mut c: MatMut, epilogue: Epilogue) {
    check(a, b, &c, epilogue);
    let empty = a.rows() == 0 || a.cols() == 0 || b.cols() == 0;
    match if empty { Way::Nothing } else { choose(precision, a, b) } {
        Way::Tile(machine) => machine.multiply(a, b, c, epilogue),
        Way::TileBf16(machine) => machine.multiply(a, b, c, epilogue),
        Way::Skinny => {
            skinny::multiply(a, b, &mut c, epilogue.accumulate);
            finish(&mut c, epilogue);
        }
        Way::Gemm => {
            gemm::multiply(a, b, &mut c, epilogue.accumulate);
            finish(&mut c, epilogue);
        }
        #[cfg(miri)]
        Way::Naive => naive(a, b, c, epilogue),
        Way::Nothing => {
            if !epilogue.accumulate {
                c.data().fill(0.0);
            }
            finish(&mut c, epilogue);
        }
    }
}

/// Whether this machine multiplies and adds without rounding between at no cost: it has tiles, which do.
pub(crate) fn fuses() -> bool {
    Avx512::detect().is_some()
}

/// A way to multiply. That of a machine's instructions holds the proof that the machine has them.
enum Way {
    Skinny,
    Gemm,
    Tile(Avx512),
    TileBf16(Avx512Bf16),
    /// Three loops: Miri knows none of the instructions.
    #[cfg(miri)]
    Naive,
    /// A side is 0.
    Nothing,
}

/// Sides below which rounding factors to bfloat16 costs more than it saves.
const NARROW: usize = 32;

/// Rows of a result below which packing `B` into the order of tiles is not worth it.
const FEW_ROWS: usize = 16;

/// The one table of choice, first match first. `a [m, k]`, `b [k, n]`, no side 0
#[cfg(not(miri))]
fn choose(precision: Precision, a: Mat, b: Mat) -> Way {
    let (m, k, n) = (a.rows(), a.cols(), b.cols());
    let wide = precision == Precision::Bf16 && m.min(k).min(n) >= NARROW;
    if wide && let Some(machine) = Avx512Bf16::detect() {
        Way::TileBf16(machine)
    } else if skinny::fits(a, b) {
        Way::Skinny
    } else {
        match Avx512::detect() {
            Some(machine) if m >= FEW_ROWS => Way::Tile(machine),
            Some(_) if b.col_stride() == 1 => Way::Skinny, // in the order of the tiles
            _ => Way::Gemm,
        }
    }
}

#[cfg(miri)]
fn choose(_: Precision, _: Mat, _: Mat) -> Way {
    Way::Naive
}

/// Three loops: what the others are held against.
#[cfg(any(test, miri))]
fn naive(a: Mat, b: Mat, mut c: MatMut, epilogue: Epilogue) {
    let n = c.cols();
    for i in 0..c.rows() {
        for j in 0..n {
            let c = &mut c.data()[i * n + j];
            let before = if epilogue.accumulate { *c } else { 0.0 };
            *c = (0..a.cols()).fold(before, |sum, k| sum + a.at(i, k) * b.at(k, j));
        }
    }
    finish(&mut c, epilogue);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::numbers;
    use proptest::prelude::*;

    /// Sides about which something changes, and any.
    fn side() -> impl Strategy<Value = usize> {
        prop_oneof![0usize..6, 0usize..70, 120usize..140, Just(257)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 400 }))]

        #[test]
        fn all_ways_to_multiply_agree(
            (m, k, n) in (side(), side(), side()),
            turned: (bool, bool),
            accumulate: bool,
            with_bias: bool,
            relu: bool,
        ) {
            let (a, b, bias) = (numbers(m * k, 1, 2.0), numbers(k * n, 2, 2.0), numbers(n, 3, 2.0));
            let a = if turned.0 { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
            let b = if turned.1 { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
            let epilogue = Epilogue { accumulate, bias: with_bias.then_some(&*bias), relu };
            let run = |multiply: &dyn Fn(MatMut)| {
                let mut c = if accumulate { numbers(m * n, 4, 2.0) } else { vec![f32::NAN; m * n] };
                multiply(MatMut::new(&mut c, m, n));
                c
            };
            let expected = run(&|c| naive(a, b, c, epilogue));
            let any = run(&|mut c| {
                gemm::multiply(a, b, &mut c, accumulate);
                finish(&mut c, epilogue);
            });
            let ways = [
                ("f32", run(&|c| multiply(Precision::F32, a, b, c, epilogue)), 1e-6),
                ("bf16", run(&|c| multiply(Precision::Bf16, a, b, c, epilogue)), 1e-2),
                ("gemm", if m * k * n > 0 { any } else { expected.clone() }, 1e-6),
            ];
            for (way, found, tolerance) in ways {
                let scale = 1.0 + (k as f32).sqrt();
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert!((found - expected).abs() <= 4.0 * tolerance * scale, "{way}: {found}, {expected}");
                }
            }
        }

        #[test]
        fn what_is_not_a_number_is_passed_on((m, k, n) in (1usize..150, 1usize..150, 1usize..150), at in 0usize..1000) {
            let (mut a, b) = (numbers(m * k, 1, 2.0), numbers(k * n, 2, 2.0));
            let row = at % m;
            a[row * k + at % k] = f32::NAN;
            for precision in [Precision::F32, Precision::Bf16] {
                let mut c = vec![0.0; m * n];
                let epilogue = Epilogue { relu: true, ..Epilogue::default() };
                multiply(precision, Mat::new(&a, m, k), Mat::new(&b, k, n), MatMut::new(&mut c, m, n), epilogue);
                for (i, c) in c.chunks(n).enumerate() {
                    prop_assert!(c.iter().all(|c| c.is_nan() == (i == row)));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 100 }))]

        /// What a server promises of rows that are scored together rests on it.
        #[test]
        fn with_tiles_a_row_has_the_same_bits_alone_and_among_others(
            (k, n) in (1usize..1200, 1usize..140),
            first in 0usize..40,
            rows in 1usize..20,
            accumulate: bool,
        ) {
            if Avx512::detect().is_none() {
                return Ok(());
            }
            let m = 64;
            let (a, b, bias) = (numbers(m * k, 1, 2.0), numbers(k * n, 2, 2.0), numbers(n, 3, 2.0));
            let epilogue = Epilogue { accumulate, bias: Some(&*bias), relu: true };
            let before = numbers(m * n, 4, 2.0);
            let run = |rows: std::ops::Range<usize>| {
                let mut c = before[rows.start * n..rows.end * n].to_vec();
                let (count, b) = (rows.len(), Mat::new(&b, k, n));
                multiply(Precision::F32, Mat::new(&a, m, k).rows_of(rows), b, MatMut::new(&mut c, count, n), epilogue);
                c.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            prop_assert!(run(first..first + rows) == run(0..m)[first * n..(first + rows) * n]);
        }
    }

    #[test]
    fn the_table_sends_small_results_round_the_tiles_and_wide_ones_to_bfloat16() {
        let zeros = vec![0.0; 64 * 64];
        let way = |precision, m, k, n| choose(precision, Mat::new(&zeros, m, k), Mat::new(&zeros, k, n));
        let (f32, bf16) = (Precision::F32, Precision::Bf16);
        assert!(matches!(way(f32, 1, 64, 64), Way::Skinny));
        if Avx512::detect().is_none() {
            assert!(matches!(way(f32, FEW_ROWS - 1, 64, 64), Way::Gemm));
            return println!("skipped: this machine lacks AVX-512");
        }
        assert!(matches!(way(f32, FEW_ROWS - 1, 64, 64), Way::Skinny));
        assert!(matches!(way(f32, FEW_ROWS, 64, 64), Way::Tile(_)));
        assert!(matches!(way(bf16, 64, NARROW - 1, 64), Way::Tile(_)));
        if Avx512Bf16::detect().is_none() {
            return println!("skipped: this machine lacks AVX-512 BF16");
        }
        assert!(matches!(way(bf16, 64, NARROW, 64), Way::TileBf16(_)));
    }
}
