//! Rows of a table as a bag reads them: f32 as they lie in memory, or packed into fewer bytes.
//!
//! ```text
//! f16     every number rounded to half precision
//! int8    row(id)[g] = scale(s) * q      q in -127..=127, a byte each      s: one byte per row and group
//! int4    row(id)[g] = scale(s) * q      q in   -7..=7,   two in a byte
//! scale(0) = 0        scale(s) = largest * 2^((s - 255) / 8)
//! ```
//!
//! The scale of a group is the least of these steps, 9 % apart, that holds the group's largest number. One byte where a float would take
//! two or four: of a group of 16 numbers `int8` takes 17 bytes in place of 64.

mod half;
mod packed;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use packed::{PackedRows, Packer, Packing, RowFormat};

use crate::simd::prefetch;

/// Rows of a table, by their numbers.
pub trait ReadRows: Copy + Send + Sync {
    /// `V`
    fn count(&self) -> usize;

    /// Numbers that [`read`](Self::read) needs as scratch: 0 where rows are f32.
    fn scratch(&self) -> usize;

    /// Row `id` `[W]`, in `scratch` where it has to be unpacked; `None` outside the table.
    fn read<'s>(&self, id: u32, scratch: &'s mut [f32]) -> Option<&'s [f32]>
    where
        Self: 's;

    /// Asks for the memory of row `id`, to be read soon; of f32 that of the columns `span` alone.
    fn prefetch(&self, id: u32, span: &std::ops::Range<usize>);
}

/// Rows of `width` numbers side by side.
#[derive(Debug, Clone, Copy)]
pub struct PlainRows<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> PlainRows<'a> {
    /// `[V, W]`, row-major.
    pub fn new(values: &'a [f32], width: usize) -> Self {
        Self { values, width }
    }

    #[inline(always)]
    fn row(&self, id: u32) -> Option<&'a [f32]> {
        let start = id as usize * self.width;
        self.values.get(start..start + self.width)
    }
}

impl ReadRows for PlainRows<'_> {
    fn count(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    fn scratch(&self) -> usize {
        0
    }

    #[inline(always)]
    fn read<'s>(&self, id: u32, _: &'s mut [f32]) -> Option<&'s [f32]>
    where
        Self: 's,
    {
        self.row(id)
    }

    #[inline(always)]
    fn prefetch(&self, id: u32, span: &std::ops::Range<usize>) {
        if let Some(row) = self.row(id) {
            prefetch(&row[span.clone()]);
        }
    }
}
