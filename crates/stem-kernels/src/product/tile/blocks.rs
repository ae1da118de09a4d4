//! The loops around the kernel.
//!
//! ```text
//! for 512 columns of C and B
//!     for a block of k              pack B [cells, 512]: half a megabyte, stays in the second-level cache
//!         for a group of panels     pack A, or read it as it lies
//!             for a panel, 12 rows  stays in the first-level cache, while B runs past
//!                 strip
//! ```
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ops::Range;

use super::kernel::Out;
use super::kind::{Kind, LANES};
use super::pack::{ByColumn, ByRow, CELLS, PANEL, Piece, ROWS, STRIDE, Side};
use crate::mat::{Mat, MatMut};
use crate::product::epilogue::Epilogue;

/// Most columns of a block.
const COLUMNS: usize = 512;
/// Cells packed of a panel before those of the next: reads go along the rows, in the direction in which memory lies.
const CHUNK: usize = 8;
/// Places of a panel of `A`, of either layout.
const PANEL_PLACES: usize = CELLS * LANES;
/// Columns up to which packing `A` does not pay, if it can be read as it lies.
const NARROW: usize = 64;
/// Rows at a multiple of this distance (4096 bytes) compete for the same places in the first-level cache.
const ALIASED: usize = 1024;

const _: () = assert!(ROWS * STRIDE <= PANEL_PLACES && CELLS.is_multiple_of(CHUNK) && CHUNK.is_multiple_of(4));

thread_local! {
    /// Packed `A` and `B`: kept from call to call.
    static PACKED: RefCell<[Vec<i32>; 2]> = const { RefCell::new([const { Vec::new() }; 2]) };
}

/// The first `length` places of whole cache lines.
fn cache_aligned(buffer: &mut Vec<i32>, length: usize) -> &mut [i32] {
    if buffer.len() < length + LANES {
        buffer.resize(length + LANES, 0);
    }
    let start = buffer.as_ptr().align_offset(64).min(LANES);
    &mut buffer[start..][..length]
}

/// A range in steps.
fn chunks(range: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(step).map(move |start| start..range.end.min(start + step))
}

/// Sums that are taken already, the same for every row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begun<'a> {
    /// Terms of them all; `C` holds what the blocks of `k` before that of the last term gave.
    pub terms: usize,
    /// The sums of the terms in that block; of a block's first term on nothing is read. `[n]`
    pub sums: &'a [f32],
}

/// `C = A B` and what then becomes of it.
///
/// # Panics
/// When the shapes disagree or a side is 0.
///
/// # Safety
/// Features of `K`.
pub unsafe fn product<K: Kind>(a: Mat, b: Mat, c: MatMut, epilogue: Epilogue, begun: Begun) {
    crate::product::epilogue::check(a, b, &c, epilogue);
    assert!(begun.terms < a.cols() && (begun.terms == 0 || begun.sums.len() == b.cols()), "sums of some of the terms");
    assert!(a.rows() > 0 && a.cols() > 0 && b.cols() > 0, "a product of tiles has a row, a column and a term");
    // SAFETY: the features are promised, the shapes were just checked; a `Mat` has a stride of 1, that of `a` is looked at.
    unsafe {
        if a.col_stride() == 1 {
            blocks::<K, ByRow>(a, b, c, epilogue, begun)
        } else {
            blocks::<K, ByColumn>(a, b, c, epilogue, begun)
        }
    }
}

/// Terms of a block, of `k` in all: all blocks about the same.
pub(super) fn depth<K: Kind>(k: usize) -> usize {
    k.div_ceil(k.div_ceil(CELLS * K::DEPTH).max(1)).next_multiple_of(4 * K::DEPTH)
}

/// [`product`] of operands with a stride of 1; that of `a` is the one of `S`.
///
/// # Safety
/// Features of `K`; the shapes agree, none of them 0.
unsafe fn blocks<K: Kind, S: Side>(a: Mat, b: Mat, mut c: MatMut, epilogue: Epilogue, begun: Begun) {
    let (m, k, n) = (a.rows(), a.cols(), b.cols());
    let depth = depth::<K>(k);
    let unpacked = K::PLAIN && (n <= NARROW || !S::ROWS || !a.row_stride().is_multiple_of(ALIASED));
    PACKED.with_borrow_mut(|[left, right]| {
        let left = cache_aligned(left, S::GROUP * PANEL_PLACES);
        let right = cache_aligned(right, depth / K::DEPTH * n.min(COLUMNS).next_multiple_of(PANEL));
        for cols in chunks(0..n, COLUMNS) {
            for ks in chunks(0..k, depth) {
                if ks.end <= begun.terms {
                    continue;
                }
                let start = (begun.terms > ks.start).then(|| &begun.sums[cols.clone()]);
                let last = ks.end == k;
                let epilogue = Epilogue {
                    accumulate: epilogue.accumulate || ks.start > 0,
                    bias: epilogue.bias.filter(|_| last).map(|bias| &bias[cols.clone()]),
                    relu: epilogue.relu && last,
                };
                let ks = ks.start.max(begun.terms)..ks.end;
                // SAFETY: the features are promised.
                unsafe { pack_b::<K>(b, &ks, &cols, right) };
                for group in chunks(0..m, S::GROUP * ROWS) {
                    if !unpacked {
                        // SAFETY: the features are promised.
                        unsafe { pack_a::<K, S>(a, &group, &ks, left) };
                    }
                    for (rows, left) in chunks(group, ROWS).zip(left.chunks_exact(PANEL_PLACES)) {
                        let panel =
                            if unpacked { unpacked_panel::<S>(a, &rows, &ks) } else { (left.as_ptr(), S::STRIDE) };
                        let cells = ks.len().div_ceil(K::DEPTH);
                        // SAFETY: the features are promised; the panel holds these rows and the block's cells, packed or in `a`,
                        // `right` the block's columns.
                        unsafe { strips::<K, S>(cells, panel, right, (&rows, &cols), &mut c, (epilogue, start)) };
                    }
                }
            }
        }
    });
}

/// A panel of `A` as it lies, and its stride that is not 1.
fn unpacked_panel<S: Side>(a: Mat, rows: &Range<usize>, ks: &Range<usize>) -> (*const i32, usize) {
    let data = &a.data()[rows.start * a.row_stride() + ks.start * a.col_stride()..];
    (data.as_ptr().cast(), if S::ROWS { a.row_stride() } else { a.col_stride() })
}

/// Packs `B`, a panel of 32 columns after the other.
///
/// # Safety
/// Features of `K`.
unsafe fn pack_b<K: Kind>(b: Mat, ks: &Range<usize>, cols: &Range<usize>, to: &mut [i32]) {
    let cells = ks.len().div_ceil(K::DEPTH);
    let row_major = b.col_stride() == 1;
    let chunk = if row_major { CHUNK } else { 2 * LANES };
    for (i, ks) in chunks(ks.clone(), chunk * K::DEPTH).enumerate() {
        for (cols, to) in chunks(cols.clone(), PANEL).zip(to.chunks_exact_mut(cells * PANEL)) {
            let (piece, to) = (Piece::new(b.t(), &cols, &ks), &mut to[i * chunk * PANEL..]);
            // SAFETY: the features are promised.
            unsafe { if row_major { K::pack_columns::<2>(piece, to) } else { K::pack_transposed(piece, to) } }
        }
    }
}

/// Packs `A`, a panel of 12 rows after the other.
///
/// # Safety
/// Features of `K`.
unsafe fn pack_a<K: Kind, S: Side>(a: Mat, rows: &Range<usize>, ks: &Range<usize>, to: &mut [i32]) {
    let chunk = if S::ROWS { CELLS } else { CHUNK };
    for (i, ks) in chunks(ks.clone(), chunk * K::DEPTH).enumerate() {
        for (rows, to) in chunks(rows.clone(), ROWS).zip(to.chunks_exact_mut(PANEL_PLACES)) {
            let (piece, to) = (Piece::new(a, &rows, &ks), &mut to[i * chunk * LANES..]);
            // SAFETY: the features are promised.
            unsafe { if S::ROWS { K::pack_rows(piece, to) } else { K::pack_columns::<1>(piece, to) } }
        }
    }
}

/// A panel of `A` times all of `b`: 12 rows at once, or what is left in strips of 8, 4, 2 and 1.
///
/// # Safety
/// Features of `K`. `a` (with its stride that is not 1) holds `rows` and `cells`, as `S` has it.
unsafe fn strips<K: Kind, S: Side>(
    cells: usize,
    (a, stride): (*const i32, usize),
    b: &[i32],
    (rows, cols): (&Range<usize>, &Range<usize>),
    c: &mut MatMut,
    (epilogue, start): (Epilogue, Option<&[f32]>),
) {
    assert!(rows.end <= c.rows() && cols.end <= c.cols());
    assert!(
        b.len() >= cells * cols.len().next_multiple_of(PANEL)
            && [epilogue.bias, start].iter().flatten().all(|numbers| numbers.len() == cols.len())
    );
    let row_stride = c.cols();
    let mut done = 0;
    while done < rows.len() {
        let corner = &mut c.data()[(rows.start + done) * row_stride + cols.start..];
        let out = Out { c: corner.as_mut_ptr(), row_stride, cols: cols.len(), epilogue, start };
        let a = (a.wrapping_add(if S::ROWS { done * stride } else { done }), stride);
        let (strip, height): (unsafe fn(_, _, _, Out), _) = match rows.len() - done {
            ROWS.. => (K::strip::<S, ROWS>, ROWS),
            8.. => (K::strip::<S, 8>, 8),
            4.. => (K::strip::<S, 4>, 4),
            2.. => (K::strip::<S, 2>, 2),
            _ => (K::strip::<S, 1>, 1),
        };
        // SAFETY: `a` is promised. `c`, which nobody else has, holds these rows and columns (a `MatMut` holds all that its shape names);
        // `b` has a panel for every 32 columns, bias and start, if any, a number for each.
        unsafe { strip(cells, a, b.as_ptr(), out) };
        done += height;
    }
}
