//! The two kinds of arithmetic. Both see a matrix as cells of 32 bits along `k`, so that everything else is written once:
//!
//! ```text
//! f32    cell p = x[p]
//! bf16   cell p = (x[2 p], x[2 p + 1]), each rounded to nearest even, the first in the low half
//! ```
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::kernel::{self, Out};
use super::pack::{self, Piece, Side};

/// Lanes of a register.
pub const LANES: usize = 16;
/// Every lane.
pub const ALL_LANES: __mmask16 = 0xffff;

/// An arithmetic.
///
/// # Safety
/// Whoever calls a function of it vouches for the machine's features (avx512f, bw, dq, vl; for [`Bf16`] avx512bf16 too). What is
/// read and written is told at each.
pub trait Kind {
    /// Numbers along `k` in a cell.
    const DEPTH: usize;
    /// Whether numbers are cells as they lie in memory.
    const PLAIN: bool;

    /// `sum + a b`, in every lane.
    ///
    /// # Safety
    /// Features.
    unsafe fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512;

    /// The cells of the first `16 DEPTH` of `count` numbers that follow each other along `k`; 0 where there are fewer.
    ///
    /// # Safety
    /// Features; `count` numbers at `from`, or `16 DEPTH` where `count` is more.
    unsafe fn load_along(from: *const f32, count: usize) -> __m512i;

    /// A cell each of the lanes in `mask`, which are neighbours in memory; 0 elsewhere. Its numbers along `k` lie `step` apart, and
    /// there are `count >= 1` of them; what a cell holds beyond is 0.
    ///
    /// # Safety
    /// Features; the lanes at `from`, and at `from + step` if `DEPTH` and `count` are 2 or more.
    unsafe fn load_across(from: *const f32, step: usize, count: usize, mask: __mmask16) -> __m512i;

    /// [`kernel::strip`], compiled with the features.
    ///
    /// # Safety
    /// Features, and as there.
    unsafe fn strip<S: Side, const R: usize>(cells: usize, a: (*const i32, usize), b: *const i32, out: Out);

    /// [`pack::rows`], compiled with the features.
    ///
    /// # Safety
    /// Features, and as there.
    unsafe fn pack_rows(from: Piece, to: &mut [i32]);

    /// [`pack::columns`], compiled with the features.
    ///
    /// # Safety
    /// Features, and as there.
    unsafe fn pack_columns<const V: usize>(from: Piece, to: &mut [i32]);

    /// [`pack::transposed`], compiled with the features.
    ///
    /// # Safety
    /// Features, and as there.
    unsafe fn pack_transposed(from: Piece, to: &mut [i32]);
}

/// The lanes below `count`.
#[inline(always)]
pub fn lane_mask(count: usize) -> __mmask16 {
    if count >= LANES { ALL_LANES } else { (1 << count) - 1 }
}

/// What a kind compiles with its own features.
macro_rules! compiled {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        unsafe fn strip<S: Side, const R: usize>(cells: usize, a: (*const i32, usize), b: *const i32, out: Out) {
            // SAFETY: as promised here.
            unsafe { kernel::strip::<Self, S, R>(cells, a, b, out) }
        }

        #[target_feature(enable = $features)]
        unsafe fn pack_rows(from: Piece, to: &mut [i32]) {
            // SAFETY: as promised here.
            unsafe { pack::rows::<Self>(from, to) }
        }

        #[target_feature(enable = $features)]
        unsafe fn pack_columns<const V: usize>(from: Piece, to: &mut [i32]) {
            // SAFETY: as promised here.
            unsafe { pack::columns::<Self, V>(from, to) }
        }

        #[target_feature(enable = $features)]
        unsafe fn pack_transposed(from: Piece, to: &mut [i32]) {
            // SAFETY: as promised here.
            unsafe { pack::transposed::<Self>(from, to) }
        }
    };
}

/// f32.
pub enum F32 {}

impl Kind for F32 {
    const DEPTH: usize = 1;
    const PLAIN: bool = true;

    #[inline(always)]
    unsafe fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: the features are promised.
        unsafe { _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum) }
    }

    #[inline(always)]
    unsafe fn load_along(from: *const f32, count: usize) -> __m512i {
        // SAFETY: lanes outside the mask are not read.
        unsafe { _mm512_castps_si512(_mm512_maskz_loadu_ps(lane_mask(count), from)) }
    }

    #[inline(always)]
    unsafe fn load_across(from: *const f32, _: usize, _: usize, mask: __mmask16) -> __m512i {
        // SAFETY: lanes outside the mask are not read.
        unsafe { _mm512_castps_si512(_mm512_maskz_loadu_ps(mask, from)) }
    }

    compiled!("avx512f,avx512bw,avx512dq,avx512vl");
}

/// bfloat16, summed in f32.
pub enum Bf16 {}

impl Kind for Bf16 {
    const DEPTH: usize = 2;
    const PLAIN: bool = false;

    #[inline(always)]
    unsafe fn dot(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        // SAFETY: the features are promised; both types are 512 bits of anything.
        unsafe {
            _mm512_dpbf16_ps(
                sum,
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        }
    }

    #[inline(always)]
    unsafe fn load_along(from: *const f32, count: usize) -> __m512i {
        // SAFETY: lanes outside the masks are not read.
        unsafe {
            let low = _mm512_maskz_loadu_ps(lane_mask(count), from);
            let high = _mm512_maskz_loadu_ps(lane_mask(count.saturating_sub(LANES)), from.wrapping_add(LANES));
            std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
        }
    }

    #[inline(always)]
    unsafe fn load_across(from: *const f32, step: usize, count: usize, mask: __mmask16) -> __m512i {
        // SAFETY: lanes outside the masks are not read.
        unsafe {
            let first = _mm512_maskz_loadu_ps(mask, from);
            let second = _mm512_maskz_loadu_ps(if count > 1 { mask } else { 0 }, from.wrapping_add(step));
            // (first 0, first 1, ..., second 0, second 1, ...) to (first 0, second 0, first 1, second 1, ...)
            let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second, first));
            let order: [i16; 32] = const {
                let mut order = [0; 32];
                let mut i = 0;
                while i < 32 {
                    order[i] = (i / 2 + i % 2 * LANES) as i16;
                    i += 1;
                }
                order
            };
            _mm512_permutexvar_epi16(_mm512_loadu_si512(order.as_ptr().cast()), both)
        }
    }

    compiled!("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16");
}
