//! The micro-kernel: a tile of `R` rows by `V` registers of columns, summed in registers over a block of `k`.
//!
//! ```text
//!                 b: V registers a cell, from a panel [cells, 32]
//!                 +-------+-------+
//! a: a cell  +-+  |       |       |
//! of each    | |  |  sum  |  sum  |   sum[r][v] += a[r] b[v], cell after cell
//! row, to    | |  |       |       |
//! all lanes  +-+  +-------+-------+
//! ```
//!
//! Every element of `C` is summed in the order of `k`, whatever tile it falls in: that order is all its bits depend on.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::kind::{ALL_LANES, Kind, LANES, lane_mask};
use super::pack::{PANEL, Side};
use crate::product::epilogue::Epilogue;

/// Where a strip of `C` goes, and how.
#[derive(Clone, Copy)]
pub struct Out<'a> {
    /// Its first element.
    pub c: *mut f32,
    /// Distance of the rows.
    pub row_stride: usize,
    /// Its columns.
    pub cols: usize,
    /// What becomes of it; a bias is that of its columns.
    pub epilogue: Epilogue<'a>,
    /// What the sums of every row start with, in place of 0: a number for every column.
    pub start: Option<&'a [f32]>,
}

/// `R` rows of `C`, a tile after the other.
///
/// # Safety
/// Features of `K`. `a` holds `R` rows and `cells` cells, its one stride as `S` has it and the other given; `b` as many panels
/// `[cells, 32]` as hold the columns. `out.c` holds `R` rows of the columns, which nobody else uses, the bias and the start a number for every column.
#[inline(always)]
pub unsafe fn strip<K: Kind + ?Sized, S: Side, const R: usize>(
    cells: usize,
    a: (*const i32, usize),
    b: *const i32,
    out: Out,
) {
    let (bias, start) = (out.epilogue.bias.map(<[f32]>::as_ptr), out.start.map(<[f32]>::as_ptr));
    for col in (0..out.cols).step_by(PANEL) {
        // SAFETY: as promised above; a panel, its columns, their biases and starts at a time.
        unsafe {
            let b = b.add(col * cells);
            let [bias, start] = [bias, start].map(|numbers| numbers.map(|numbers| numbers.add(col)));
            let to = To { c: out.c.add(col), bias, start, out: &out };
            match out.cols - col {
                PANEL.. => tile::<K, S, R, 2>(cells, a, b, to, ALL_LANES),
                left @ ..=LANES => tile::<K, S, R, 1>(cells, a, b, to, lane_mask(left)),
                left => tile::<K, S, R, 2>(cells, a, b, to, lane_mask(left - LANES)),
            }
        }
    }
}

/// Where a tile goes.
#[derive(Clone, Copy)]
struct To<'a> {
    c: *mut f32,
    bias: Option<*const f32>,
    start: Option<*const f32>,
    out: &'a Out<'a>,
}

/// `R` rows by `V` registers of columns, of the last of which only those in `mask` are there.
///
/// # Safety
/// As [`strip`].
#[inline(always)]
unsafe fn tile<K: Kind + ?Sized, S: Side, const R: usize, const V: usize>(
    cells: usize,
    (mut a, stride): (*const i32, usize),
    mut b: *const i32,
    to: To,
    mask: __mmask16,
) {
    const UNROLL: usize = 4;
    // SAFETY: as promised above. `b` ends at the end of its panel, `a` perhaps beyond what it points into: it is not read there.
    unsafe {
        for r in 0..R {
            for v in 0..V {
                _mm_prefetch::<_MM_HINT_T0>(to.c.wrapping_add(r * to.out.row_stride + v * LANES).cast());
            }
        }
        let mut sums = [[_mm512_setzero_ps(); V]; R];
        if let Some(start) = to.start {
            for v in 0..V {
                let start = _mm512_maskz_loadu_ps(if v + 1 == V { mask } else { ALL_LANES }, start.add(v * LANES));
                sums.iter_mut().for_each(|sums| sums[v] = start);
            }
        }
        let next = if S::ROWS { 1 } else { stride };
        for _ in 0..cells / UNROLL {
            step::<K, S, R, V>(&mut sums, (a, stride), b);
            step::<K, S, R, V>(&mut sums, (a.add(next), stride), b.add(PANEL));
            step::<K, S, R, V>(&mut sums, (a.add(2 * next), stride), b.add(2 * PANEL));
            step::<K, S, R, V>(&mut sums, (a.add(3 * next), stride), b.add(3 * PANEL));
            a = a.wrapping_add(UNROLL * next);
            b = b.add(UNROLL * PANEL);
        }
        for _ in 0..cells % UNROLL {
            step::<K, S, R, V>(&mut sums, (a, stride), b);
            a = a.wrapping_add(next);
            b = b.add(PANEL);
        }
        if to.out.epilogue.accumulate {
            store::<true, R, V>(&sums, to, mask)
        } else {
            store::<false, R, V>(&sums, to, mask)
        }
    }
}

/// One cell of `k`.
///
/// # Safety
/// As [`tile`], for one cell.
#[inline(always)]
unsafe fn step<K: Kind + ?Sized, S: Side, const R: usize, const V: usize>(
    sums: &mut [[__m512; V]; R],
    (a, stride): (*const i32, usize),
    b: *const i32,
) {
    // SAFETY: as promised above.
    unsafe {
        let mut right = [_mm512_setzero_si512(); V];
        for (v, right) in right.iter_mut().enumerate() {
            *right = _mm512_loadu_si512(b.add(v * LANES).cast());
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let left = _mm512_set1_epi32(*a.add(if S::ROWS { r * stride } else { r }));
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = K::dot(*sum, left, right);
            }
        }
    }
}

/// What becomes of the sums. Parts that are not asked for do nothing: `y + -0.0` is `y`, and nothing is less than minus infinity.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn store<const ADD: bool, const R: usize, const V: usize>(sums: &[[__m512; V]; R], to: To, mask: __mmask16) {
    // SAFETY: as promised above; lanes outside the masks are neither read nor written.
    unsafe {
        let limit = _mm512_set1_ps(if to.out.epilogue.relu { 0.0 } else { f32::NEG_INFINITY });
        for v in 0..V {
            let mask = if v + 1 == V { mask } else { ALL_LANES };
            let mut bias = _mm512_set1_ps(-0.0);
            if let Some(numbers) = to.bias {
                bias = _mm512_maskz_loadu_ps(mask, numbers.add(v * LANES));
            }
            for (r, sums) in sums.iter().enumerate() {
                let c = to.c.add(r * to.out.row_stride + v * LANES);
                let mut y = sums[v];
                if ADD {
                    y = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c), y);
                }
                y = _mm512_add_ps(y, bias);
                let not_below = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(y, limit); // NaN too
                _mm512_mask_storeu_ps(c, mask, _mm512_maskz_mov_ps(not_below, y));
            }
        }
    }
}
