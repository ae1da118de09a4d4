//! Tiles against three loops in f64.

use proptest::prelude::*;

use super::{Avx512, Avx512Bf16, Begun, blocks, kind};
use crate::mat::{Mat, MatMut};
use crate::product::epilogue::Epilogue;

/// A product, and what it rounds its operands to.
#[derive(Clone, Copy)]
struct Tested {
    multiply: fn(Mat, Mat, MatMut, Epilogue),
    round: fn(f32) -> f32,
}

/// Those that the machine has, small products too. Says so where it has none.
fn tested() -> Vec<Tested> {
    let single = Avx512::detect().map(|_| Tested {
        // SAFETY: the machine has the features, and the tests' shapes agree.
        multiply: |a, b, c, epilogue| unsafe { blocks::product::<kind::F32>(a, b, c, epilogue, Begun::default()) },
        round: |x| x,
    });
    let half = Avx512Bf16::detect().map(|_| Tested {
        // SAFETY: as above.
        multiply: |a, b, c, epilogue| unsafe { blocks::product::<kind::Bf16>(a, b, c, epilogue, Begun::default()) },
        round: to_bf16,
    });
    let lacks = [("AVX-512", single.is_none()), ("AVX-512 BF16", half.is_none())];
    for (what, _) in lacks.iter().filter(|(_, lacks)| *lacks) {
        println!("skipped: this machine lacks {what}, its tiles are not tested");
    }
    single.into_iter().chain(half).collect()
}

/// To nearest, even among two. Not for NaN.
fn to_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// A matrix `[rows, cols]` in memory, row after row or column after column.
#[derive(Debug, Clone)]
struct Held {
    data: Vec<f32>,
    rows: usize,
    cols: usize,
    turned: bool,
}

impl Held {
    fn new(seed: u32, rows: usize, cols: usize, turned: bool) -> Self {
        Self { data: fill(rows * cols, seed), rows, cols, turned }
    }

    /// The same, lying the other way.
    fn other_way(&self) -> Self {
        let (lines, along) = if self.turned { (self.rows, self.cols) } else { (self.cols, self.rows) };
        let at = |line, i| if self.turned { self.mat().at(line, i) } else { self.mat().at(i, line) };
        let data = (0..lines).flat_map(|line| (0..along).map(move |i| at(line, i))).collect();
        Self { data, turned: !self.turned, ..*self }
    }

    fn mat(&self) -> Mat<'_> {
        match self.turned {
            true => Mat::new(&self.data, self.cols, self.rows).t(),
            false => Mat::new(&self.data, self.rows, self.cols),
        }
    }
}

fn fill(length: usize, seed: u32) -> Vec<f32> {
    let number = |i: u32| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    (0..length as u32).map(number).collect()
}

/// What `C` must be, and `|C_before| + |A| |B| + |bias|`, from operands rounded by `round`.
fn expected(a: Mat, b: Mat, before: &[f32], epilogue: Epilogue, round: fn(f32) -> f32) -> Vec<(f64, f64)> {
    let n = b.cols();
    let one = |i: usize, j: usize| {
        let extra = |add: Option<f32>| add.map_or(0.0, f64::from);
        let (c, bias) =
            (extra(epilogue.accumulate.then(|| before[i * n + j])), extra(epilogue.bias.map(|bias| bias[j])));
        let products = (0..a.cols()).map(|k| f64::from(round(a.at(i, k))) * f64::from(round(b.at(k, j))));
        let (sum, size) = products.fold((c + bias, c.abs() + bias.abs()), |(sum, size), x| (sum + x, size + x.abs()));
        (if epilogue.relu && sum < 0.0 { 0.0 } else { sum }, size)
    };
    (0..a.rows()).flat_map(|i| (0..n).map(move |j| one(i, j))).collect()
}

fn check(a: &Held, b: &Held, epilogue: (bool, bool, bool)) -> Result<(), TestCaseError> {
    let (m, n) = (a.rows, b.cols);
    let bias = fill(n, 77);
    let epilogue = Epilogue { accumulate: epilogue.0, bias: epilogue.1.then_some(&bias[..]), relu: epilogue.2 };
    for Tested { multiply, round } in tested() {
        let before = fill(m * n, 99);
        let mut c = before.clone();
        c.extend([-7.0; 40]);
        multiply(a.mat(), b.mat(), MatMut::new(&mut c, m, n), epilogue);
        for (place, (y, (want, size))) in c.iter().zip(expected(a.mat(), b.mat(), &before, epilogue, round)).enumerate()
        {
            prop_assert!((f64::from(*y) - want).abs() <= 1e-5 * size + 1e-30, "at {place}: {y} for {want}");
        }
        prop_assert!(c[m * n..].iter().all(|x| *x == -7.0), "written beyond the end");
    }
    Ok(())
}

fn bits(c: &[f32]) -> Vec<u32> {
    c.iter().map(|c| c.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn small_products_are_the_sums(
        (m, k, n) in (1usize..60, 1usize..80, 1usize..80),
        turned in any::<(bool, bool)>(),
        epilogue in any::<(bool, bool, bool)>(),
        seed in any::<u32>(),
    ) {
        check(&Held::new(seed, m, k, turned.0), &Held::new(seed ^ 5, k, n, turned.1), epilogue)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn products_of_several_blocks_are_the_sums(
        (m, k, n) in (1usize..70, 200usize..1100, 1usize..1100),
        turned in any::<(bool, bool)>(),
        epilogue in any::<(bool, bool, bool)>(),
        seed in any::<u32>(),
    ) {
        check(&Held::new(seed, m, k, turned.0), &Held::new(seed ^ 5, k, n, turned.1), epilogue)?;
    }

    #[test]
    fn bits_depend_on_no_split_of_rows_and_no_way_of_lying(
        (m, k, n) in (1usize..200, 1usize..1300, 1usize..140),
        row in 0.0..1.0,
        epilogue in any::<(bool, bool, bool)>(),
        seed in any::<u32>(),
    ) {
        let row = (row * m as f64) as usize;
        let (a, b) = (Held::new(seed, m, k, false), Held::new(seed ^ 5, k, n, false));
        let (a_other, b_other) = (a.other_way(), b.other_way());
        let bias = fill(n, 77);
        let epilogue = Epilogue { accumulate: epilogue.0, bias: epilogue.1.then_some(&bias[..]), relu: epilogue.2 };
        for Tested { multiply, .. } in tested() {
            let (mut whole, mut rows, mut other) = (fill(m * n, 9), fill(m * n, 9), fill(m * n, 9));
            multiply(a.mat(), b.mat(), MatMut::new(&mut whole, m, n), epilogue);
            let (above, below) = rows.split_at_mut(row * n);
            if row > 0 {
                multiply(a.mat().rows_of(0..row), b.mat(), MatMut::new(above, row, n), epilogue);
            }
            multiply(a.mat().rows_of(row..m), b.mat(), MatMut::new(below, m - row, n), epilogue);
            prop_assert_eq!(bits(&whole), bits(&rows));
            multiply(a_other.mat(), b_other.mat(), MatMut::new(&mut other, m, n), epilogue);
            prop_assert_eq!(bits(&whole), bits(&other));
        }
    }

    #[test]
    fn nan_and_infinity_pass_through(
        (m, k, n) in (1usize..40, 1usize..80, 1usize..70),
        at in (0.0..1.0, 0.0..1.0),
        relu in any::<bool>(),
        turned in any::<bool>(),
    ) {
        let (row, place) = ((at.0 * m as f64) as usize, (at.1 * k as f64) as usize);
        let b = Held { data: vec![0.5; k * n], rows: k, cols: n, turned };
        for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut a = Held::new(3, m, k, false);
            a.data[row * k + place] = special;
            for Tested { multiply, .. } in tested() {
                let mut c = vec![f32::NAN; m * n];
                multiply(a.mat(), b.mat(), MatMut::new(&mut c, m, n), Epilogue { relu, ..Epilogue::default() });
                for (i, c) in c.chunks(n).enumerate() {
                    let want = if relu && special < 0.0 { 0.0 } else { special };
                    let right = |c: &f32| if i != row { c.is_finite() } else { *c == want || c.is_nan() && want.is_nan() };
                    prop_assert!(c.iter().all(right), "row {i}, special {special} in row {row}: {c:?}");
                }
            }
        }
    }
}

#[test]
fn nan_in_c_in_the_bias_and_in_b_stays() {
    for Tested { multiply, .. } in tested() {
        let (a, mut b, mut bias) = (vec![1.0; 3 * 5], vec![1.0; 5 * 40], vec![0.0; 40]);
        b[2 * 40 + 7] = f32::NAN;
        bias[35] = f32::NAN;
        let mut c = vec![1.0; 3 * 40];
        c[40 + 20] = f32::NAN;
        let epilogue = Epilogue { accumulate: true, bias: Some(&bias), relu: true };
        multiply(Mat::new(&a, 3, 5), Mat::new(&b, 5, 40), MatMut::new(&mut c, 3, 40), epilogue);
        for (i, y) in c.iter().enumerate() {
            let expected = i % 40 == 7 || i % 40 == 35 || i == 60;
            assert!(if expected { y.is_nan() } else { *y == 6.0 }, "{i}: {y}");
        }
    }
}

#[test]
fn rounding_is_to_nearest_even() {
    let tested = tested();
    let Some(Tested { multiply, .. }) = tested.last().filter(|_| Avx512Bf16::detect().is_some()) else { return };
    let halfway = |bits: u32| f32::from_bits(bits << 16 | 0x8000);
    let a = [halfway(0x3f80), halfway(0x3f81), f32::from_bits(0x3f80_7fff), f32::from_bits(0x3f80_8001), f32::MAX];
    let mut c = [0.0; 5];
    multiply(Mat::new(&a, 5, 1), Mat::new(&[1.0], 1, 1), MatMut::new(&mut c, 5, 1), Epilogue::default());
    let rounded = |bits: u32| f32::from_bits(bits << 16);
    assert_eq!(c, [rounded(0x3f80), rounded(0x3f82), rounded(0x3f80), rounded(0x3f81), f32::INFINITY]);
}
