//! Vector loops. `unsafe` here chooses an instruction set at run time, and prefetches.
#![allow(unsafe_code)]

/// A loop that is compiled once for every instruction set and started by [`run`]. `vectorised` makes one of a function.
///
/// `run` and everything it calls must be `#[inline(always)]`, or it stays compiled for the baseline.
pub trait Kernel {
    /// What the loop gives.
    type Output;

    /// The loop.
    fn run(self) -> Self::Output;
}

/// Runs a kernel with the widest vectors that this machine has.
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn wide<K: Kernel>(kernel: K) -> K::Output {
            kernel.run()
        }
        #[target_feature(enable = "avx2")]
        fn middle<K: Kernel>(kernel: K) -> K::Output {
            kernel.run()
        }
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            // SAFETY: the four features that `wide` enables were just detected.
            return unsafe { wide(kernel) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the feature that `middle` enables was just detected.
            return unsafe { middle(kernel) };
        }
    }
    kernel.run()
}

/// Functions that are compiled once for every instruction set: a call runs the widest that this machine has.
///
/// What they call must be `#[inline(always)]`, or it stays compiled for the baseline.
macro_rules! vectorised {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident $(<const $size:ident: usize>)? ($($argument:ident: $type:ty),* $(,)?)
        $(-> $output:ty)? $body:block
    )+) => {$(
        $(#[$attribute])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name $(<const $size: usize>)? ($($argument: $type),*) $(-> $output)? {
            struct Call<T $(, const $size: usize)?>(T);

            impl $(<const $size: usize>)? $crate::simd::Kernel for Call<($($type,)*) $(, $size)?> {
                #[allow(unused_parens)]
                type Output = ($($output)?);

                #[inline(always)]
                fn run(self) -> Self::Output {
                    let ($($argument,)*) = self.0;
                    $body
                }
            }
            $crate::simd::run(Call::<_ $(, $size)?>(($($argument,)*)))
        }
    )+};
}
pub(crate) use vectorised;

/// Asks for the cache lines of `values`, to be read or written soon. Changes nothing.
#[inline(always)]
pub fn prefetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const LINE: usize = 64 / size_of::<f32>();
        for line in values.chunks(LINE) {
            // SAFETY: a prefetch reads nothing the program can see and cannot fault; the address lies in a live slice.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
        if let Some(last) = values.last() {
            // SAFETY: as above. A slice that starts inside a line ends in one more line than it has chunks.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(last).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// As [`prefetch`], of bytes.
#[inline(always)]
pub fn prefetch_bytes(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in bytes.chunks(64).map(|line| &line[0]).chain(bytes.last()) {
            // SAFETY: a prefetch reads nothing the program can see and cannot fault; the address lies in a live slice.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(line).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// `y = a x`
#[inline(always)]
pub fn scale(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = a * x;
    }
}

/// `y = a_0 x_0 + a_1 x_1`
#[inline(always)]
pub fn scale_two(y: &mut [f32], a: [f32; 2], x: [&[f32]; 2]) {
    for ((y, x0), x1) in y.iter_mut().zip(x[0]).zip(x[1]) {
        *y = a[0] * x0 + a[1] * x1;
    }
}

/// `y = y + a x`
#[inline(always)]
pub fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// `y = y + a_0 x_0 + a_1 x_1`
#[inline(always)]
pub fn add_two_scaled(y: &mut [f32], a: [f32; 2], x: [&[f32]; 2]) {
    for ((y, x0), x1) in y.iter_mut().zip(x[0]).zip(x[1]) {
        *y = *y + a[0] * x0 + a[1] * x1;
    }
}

/// `y_i = of(y_i, x_i)`, eight at a time: for slices as short as an embedding, where a vectorised loop of unknown length spends its
/// time on getting started.
#[inline(always)]
pub fn short(y: &mut [f32], x: &[f32], of: impl Fn(f32, f32) -> f32) {
    short_two(y, x, x, |y, x, _| of(y, x));
}

/// `y_i = of(y_i, a_i, b_i)`, eight at a time.
#[inline(always)]
pub fn short_two(y: &mut [f32], a: &[f32], b: &[f32], of: impl Fn(f32, f32, f32) -> f32) {
    let (y, y_rest) = y.as_chunks_mut::<8>();
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
        let mut new = [0.0; 8]; // all is read before any is written: the compiler need not ask whether they overlap
        for i in 0..8 {
            new[i] = of(y[i], a[i], b[i]);
        }
        *y = new;
    }
    for ((y, a), b) in y_rest.iter_mut().zip(a_rest).zip(b_rest) {
        *y = of(*y, *a, *b);
    }
}

/// Independent partial sums of [`dot`]: floats are never reassociated for us.
const LANES: usize = 64;

/// `sum_i a_i b_i`, in an order that depends on the length alone.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_wide, a_rest) = a.as_chunks::<LANES>();
    let (b_wide, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_wide.iter().zip(b_wide) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    let mut rest = [0.0f32; 8];
    let (a_small, a_rest) = a_rest.as_chunks::<8>();
    let (b_small, b_rest) = b_rest.as_chunks::<8>();
    for (a, b) in a_small.iter().zip(b_small) {
        for i in 0..8 {
            rest[i] += a[i] * b[i];
        }
    }
    let mut last = 0.0;
    for (a, b) in a_rest.iter().zip(b_rest) {
        last += a * b;
    }
    let wide = if a_wide.is_empty() { 0.0 } else { fold(lanes) };
    wide + ((rest[0] + rest[4]) + (rest[2] + rest[6])) + ((rest[1] + rest[5]) + (rest[3] + rest[7])) + last
}

/// The sum of all lanes, halves onto halves.
#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    // Opaque, so that the shape of this sum does not make the compiler keep the lanes of the loop before it in memory, or cut
    // them in fours: twice the time of a mix.
    let lanes = std::hint::black_box(lanes);
    let (mut wide, mut small) = ([0.0f32; 16], [0.0f32; 4]);
    for i in 0..16 {
        wide[i] = (lanes[i] + lanes[i + 32]) + (lanes[i + 16] + lanes[i + 48]);
    }
    for i in 0..4 {
        small[i] = (wide[i] + wide[i + 8]) + (wide[i + 4] + wide[i + 12]);
    }
    (small[0] + small[2]) + (small[1] + small[3])
}

/// `e^x` for `x <= 0` within 2 units in the last place; 0 below -87.3, and not a number of what is none.
///
/// Plain arithmetic without branches: vectorises, and gives the same bits on every machine.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to a whole number, held in the low bits
    const LOWEST: f32 = -87.3;
    let clamped = x.clamp(LOWEST, 0.0);
    let shifted = clamped * std::f32::consts::LOG2_E + SHIFT;
    let whole = shifted - SHIFT;
    let r = clamped - whole * 0.693_359_4 - whole * -2.121_944_4e-4; // ln 2 in two parts
    let p = 1.987_569_2e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5e-1;
    let p = p * (r * r) + r + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    if x < LOWEST { 0.0 } else { p * power }
}

/// `1 / (1 + e^-z)`; 0 below -87.3, and not a number of what is none.
#[inline(always)]
pub fn sigmoid(z: f32) -> f32 {
    let e = exp(-z.abs());
    let tail = e / (1.0 + e); // of -|z|
    if z < 0.0 { tail } else { 1.0 - tail }
}

/// `ln(1 + u)` for `u` from 0 to 1, within 2 units in the last place, and not a number of what is none.
///
/// ```text
/// ln(1 + u) = 2 artanh(s) = 2 s + s w p(w)        s = u / (2 + u)        w = s^2 <= 1/9        2 s = u - s u
/// ```
#[inline(always)]
pub fn log1p(u: f32) -> f32 {
    let s = u / (2.0 + u);
    let w = s * s;
    let p = 2.685_15e-1;
    let p = p * w + 2.823_662e-1;
    let p = p * w + 4.000_756e-1;
    let p = p * w + 6.666_664e-1;
    u - s * (u - w * p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sigmoid_is_the_logistic_function(z in -87.0f32..=87.0) {
            let expected = 1.0 / (1.0 + f64::from(-z).exp());
            let found = f64::from(sigmoid(z));
            prop_assert!((found - expected).abs() <= 4.0 * f64::from(f32::EPSILON) * expected, "{z}: {found}, {expected}");
        }

        #[test]
        fn exp_is_the_exponential(x in -87.0f32..=0.0) {
            let expected = f64::from(x).exp();
            prop_assert!(((f64::from(exp(x)) - expected) / expected).abs() < 2.0 * f64::from(f32::EPSILON), "{x}");
        }

        #[test]
        fn log1p_is_the_logarithm(u in prop_oneof![0.0f32..=1.0, 1e-30f32..1e-3]) {
            let expected = f64::from(u).ln_1p();
            prop_assert!((f64::from(log1p(u)) - expected).abs() <= 2.0 * f64::from(f32::EPSILON) * expected, "{u}");
        }

        #[test]
        fn dot_is_the_inner_product(a in prop::collection::vec(-1.0f32..1.0, 0..300)) {
            let expected: f64 = a.iter().map(|a| f64::from(*a) * f64::from(*a)).sum();
            prop_assert!((f64::from(dot(&a, &a)) - expected).abs() <= 1e-6 * expected);
        }
    }

    struct Sums<'a>(&'a [f32]);

    impl Kernel for Sums<'_> {
        type Output = (u32, Vec<[u32; 2]>);

        #[inline(always)]
        fn run(self) -> Self::Output {
            let of = |x: &f32| [exp(-x.abs()), log1p(exp(-x.abs()))].map(f32::to_bits);
            (dot(self.0, self.0).to_bits(), self.0.iter().map(of).collect())
        }
    }

    proptest! {
        #[test]
        fn every_instruction_set_gives_the_same_bits(a in prop::collection::vec(-20.0f32..20.0, 0..300)) {
            prop_assert_eq!(run(Sums(&a)), Sums(&a).run());
        }
    }

    #[test]
    fn what_is_special_is_kept() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1000.0), 0.0);
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(log1p(0.0), 0.0);
        assert!(log1p(f32::NAN).is_nan());
    }
}
