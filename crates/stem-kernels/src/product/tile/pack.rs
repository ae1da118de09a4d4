//! Packing: a block of an operand is copied, as cells, into the order in which the kernel reads it.
//!
//! ```text
//! B panel     [cells, 32]      32 columns side by side, cell after cell; absent columns are 0
//! A, rows     [12, STRIDE]     rows as they lie (A row after row), a fixed distance apart
//! A, columns  [cells, 16]      columns as they lie (A transposed), 12 of 16 places used
//! ```
//!
//! What is packed next is prefetched on the way.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::kind::{ALL_LANES, Kind, LANES, lane_mask};
use crate::mat::Mat;

/// Columns of a panel of `B`: two registers.
pub const PANEL: usize = 2 * LANES;
/// Rows of a panel of `A`.
pub const ROWS: usize = 12;
/// Most cells of a block along `k`.
pub const CELLS: usize = 256;
/// Distance of the rows of a panel of `A`, in cells: not a power of 2, for the cache's sake.
pub const STRIDE: usize = CELLS + LANES;

/// How `A` lies: which of its strides is 1.
pub trait Side {
    /// Whether it is the one along `k`.
    const ROWS: bool;
    /// The stride of a packed panel that is not 1.
    const STRIDE: usize;
    /// Panels packed at a time.
    const GROUP: usize;
}

/// Row after row. Packed `[12, STRIDE]`.
pub enum ByRow {}

impl Side for ByRow {
    const ROWS: bool = true;
    const STRIDE: usize = STRIDE;
    const GROUP: usize = 1;
}

/// Transposed: column after column. Packed `[cells, 16]`.
pub enum ByColumn {}

impl Side for ByColumn {
    const ROWS: bool = false;
    const STRIDE: usize = LANES;
    const GROUP: usize = 8;
}

/// A piece of a matrix that is there: `lines` (rows of `A`, columns of `B`) by `depth` numbers along `k`.
#[derive(Clone, Copy)]
pub struct Piece {
    data: *const f32,
    lines: usize,
    depth: usize,
    stride: usize, // that is not 1
}

impl Piece {
    /// Of `m [lines, k]`, which has a stride of 1.
    ///
    /// # Panics
    /// When it is not there.
    pub fn new(m: Mat, lines: &Range<usize>, ks: &Range<usize>) -> Self {
        assert!(lines.end <= m.rows() && ks.end <= m.cols() && !lines.is_empty() && !ks.is_empty());
        let data = m.data()[lines.start * m.row_stride() + ks.start * m.col_stride()..].as_ptr();
        let stride = if m.col_stride() == 1 { m.row_stride() } else { m.col_stride() };
        Self { data, lines: lines.len(), depth: ks.len(), stride }
    }

    /// From number `start` along `k` on, where numbers lie `apart`.
    fn from(self, start: usize, apart: usize) -> Self {
        Self { data: self.data.wrapping_add(start * apart), depth: self.depth - start, ..self }
    }
}

/// Lines that lie along `k`, to `to [lines, STRIDE]`.
///
/// # Safety
/// Features of `K`; lines lie along `k`; what the piece was made of is still there.
#[inline(always)]
pub unsafe fn rows<K: Kind + ?Sized>(piece: Piece, to: &mut [i32]) {
    let step = LANES * K::DEPTH; // numbers that fill a register
    for (line, to) in (0..piece.lines).zip(to.chunks_exact_mut(STRIDE)) {
        let data = piece.data.wrapping_add(line * piece.stride);
        let next = data.wrapping_add(piece.lines * piece.stride); // the line's place in the next panel
        let mut to = to.chunks_exact_mut(LANES);
        for (start, to) in (0..piece.depth / step).map(|i| i * step).zip(&mut to) {
            // SAFETY: `step` numbers of the line; `to` has 16 places. A prefetch reads nothing.
            unsafe {
                for i in 0..K::DEPTH {
                    _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(start + i * LANES).cast());
                }
                _mm512_storeu_si512(to.as_mut_ptr().cast(), K::load_along(data.wrapping_add(start), step));
            }
        }
        let rest = piece.depth % step;
        if let Some(to) = to.next().filter(|_| rest > 0) {
            // SAFETY: the line's last numbers; `to` has 16 places.
            unsafe {
                _mm512_storeu_si512(to.as_mut_ptr().cast(), K::load_along(data.wrapping_add(piece.depth - rest), rest))
            };
        }
    }
}

/// Lines that are neighbours, to `to [cells, V, 16]`.
///
/// # Safety
/// Features of `K`; lines are neighbours, at most `16 V`; what the piece was made of is still there.
#[inline(always)]
pub unsafe fn columns<K: Kind + ?Sized, const V: usize>(piece: Piece, to: &mut [i32]) {
    // SAFETY: as promised above. The common case is compiled with constants.
    unsafe {
        if piece.lines == V * LANES {
            columns_in::<K, V>([ALL_LANES; V], piece, to);
        } else {
            columns_in::<K, V>(std::array::from_fn(|v| lane_mask(piece.lines.saturating_sub(v * LANES))), piece, to);
        }
    }
}

/// [`columns`], of those in `masks`.
///
/// # Safety
/// As there; the masks have the piece's lines.
#[inline(always)]
unsafe fn columns_in<K: Kind + ?Sized, const V: usize>(masks: [__mmask16; V], piece: Piece, to: &mut [i32]) {
    let to = &mut to[..piece.depth.div_ceil(K::DEPTH) * V * LANES];
    for (cell, to) in to.chunks_exact_mut(V * LANES).enumerate() {
        let piece = piece.from(cell * K::DEPTH, piece.stride);
        for (v, mask) in masks.into_iter().enumerate() {
            let data = piece.data.wrapping_add(v * LANES);
            // SAFETY: the lines in the mask, of at least one number; `to` has `16 V` places. A prefetch reads nothing.
            unsafe {
                for i in 0..K::DEPTH {
                    let next = data.wrapping_add(i * piece.stride + piece.lines);
                    _mm_prefetch::<_MM_HINT_T0>(next.cast());
                }
                let cells = K::load_across(data, piece.stride, piece.depth, mask);
                _mm512_storeu_si512(to.as_mut_ptr().add(v * LANES).cast(), cells);
            }
        }
    }
}

/// Lines that lie along `k`, at most 32, to `to [cells, 32]`: 16 by 16 cells at a time.
///
/// # Safety
/// Features of `K`; lines lie along `k`; what the piece was made of is still there.
#[inline(always)]
pub unsafe fn transposed<K: Kind + ?Sized>(piece: Piece, to: &mut [i32]) {
    let to = &mut to[..piece.depth.div_ceil(K::DEPTH) * PANEL];
    for (i, to) in to.chunks_mut(LANES * PANEL).enumerate() {
        let piece = piece.from(i * LANES * K::DEPTH, 1);
        for first in [0, LANES] {
            // SAFETY: lines that are there, as many numbers of each as are there.
            let square = unsafe {
                let mut square = [_mm512_setzero_si512(); LANES];
                for (square, line) in square.iter_mut().zip(first..piece.lines) {
                    *square = K::load_along(piece.data.wrapping_add(line * piece.stride), piece.depth);
                }
                transpose(square)
            };
            for (row, to) in square.into_iter().zip(to.chunks_exact_mut(PANEL)) {
                // SAFETY: 16 places.
                unsafe { _mm512_storeu_si512(to[first..][..LANES].as_mut_ptr().cast(), row) };
            }
        }
    }
}

/// Rows become columns: first within the four quarters of registers, then whole quarters change places.
///
/// # Safety
/// avx512f.
#[inline(always)]
unsafe fn transpose(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let (mut within, mut columns) = (rows, rows);
    // SAFETY: the feature is promised.
    unsafe {
        for (rows, within) in rows.chunks_exact(4).zip(within.chunks_exact_mut(4)) {
            let low = [_mm512_unpacklo_epi32(rows[0], rows[1]), _mm512_unpacklo_epi32(rows[2], rows[3])];
            let high = [_mm512_unpackhi_epi32(rows[0], rows[1]), _mm512_unpackhi_epi32(rows[2], rows[3])];
            within[0] = _mm512_unpacklo_epi64(low[0], low[1]); // lane 0 of each quarter, of four rows
            within[1] = _mm512_unpackhi_epi64(low[0], low[1]);
            within[2] = _mm512_unpacklo_epi64(high[0], high[1]);
            within[3] = _mm512_unpackhi_epi64(high[0], high[1]);
        }
        for lane in 0..4 {
            // a, b, c, d: rows 0 to 3, 4 to 7, 8 to 11, 12 to 15. Quarter q of each: column 4 q + lane.
            let [a, b, c, d] = [within[lane], within[4 + lane], within[8 + lane], within[12 + lane]];
            let even = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d)]; // quarters 0, 2
            let odd = [_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d)]; // 1, 3
            columns[lane] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
            columns[4 + lane] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
            columns[8 + lane] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
            columns[12 + lane] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
        }
    }
    columns
}
