//! Outputs `[N, B, width]` that threads divide by rows, in safe code.

use std::ops::Range;

use crate::divide::{Cut, divide};

/// The same rows of several matrices of one width.
#[derive(Debug)]
pub struct Planes<'a> {
    width: usize,
    values: Values<'a>,
}

#[derive(Debug)]
enum Values<'a> {
    /// All in one slice, `plane` numbers each.
    Whole { all: &'a mut [f32], count: usize, plane: usize },
    /// A slice per matrix.
    Apart(Vec<&'a mut [f32]>),
}

impl<'a> Planes<'a> {
    /// The matrices of `all [count, rows, width]`. Allocates nothing.
    pub fn whole(all: &'a mut [f32], [count, rows, width]: [usize; 3]) -> Self {
        Self { width, values: Values::Whole { all, count, plane: rows * width } }
    }

    /// Matrices `[rows, width]` that lie anywhere.
    pub fn apart(planes: Vec<&'a mut [f32]>, width: usize) -> Self {
        Self { width, values: Values::Apart(planes) }
    }

    /// Rows of one matrix, counted from the first row held.
    #[inline(always)]
    pub fn rows(&mut self, plane: usize, rows: Range<usize>) -> &mut [f32] {
        let (start, end) = (rows.start * self.width, rows.end * self.width);
        match &mut self.values {
            Values::Whole { all, plane: size, .. } => &mut all[plane * *size..][start..end],
            Values::Apart(planes) => &mut planes[plane][start..end],
        }
    }

    /// One row of one matrix, counted from the first row held.
    #[inline(always)]
    pub fn row(&mut self, plane: usize, row: usize) -> &mut [f32] {
        self.rows(plane, row..row + 1)
    }
}

impl Cut for Planes<'_> {
    /// The first `rows` rows of every matrix, and the others.
    fn cut(self, rows: usize) -> (Self, Self) {
        let width = self.width;
        let planes: Vec<&mut [f32]> = match self.values {
            Values::Whole { mut all, count, plane } => {
                (0..count).map(|_| all.split_off_mut(..plane).unwrap_or_default()).collect()
            }
            Values::Apart(planes) => planes,
        };
        let (low, high) = planes.into_iter().map(|plane| plane.split_at_mut(rows * width)).unzip();
        (Self::apart(low, width), Self::apart(high, width))
    }
}

/// Rows, of so many numbers each, that are worth a thread of their own.
pub fn grain(numbers: usize) -> usize {
    const ROWS: usize = 64;
    const NUMBERS: usize = 1 << 16;
    (NUMBERS / numbers.max(1)).max(ROWS)
}

/// Calls `work` with stretches of at most `grain` of `rows` and those rows of `planes`, on all threads. A single stretch is worked
/// where it is, and nothing is allocated.
pub fn split_rows<const N: usize>(
    planes: [Planes<'_>; N],
    rows: Range<usize>,
    grain: usize,
    work: &(impl Fn(Range<usize>, [Planes<'_>; N]) + Sync),
) {
    if !rows.is_empty() {
        divide(rows, grain, planes, work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_of_every_plane_is_worked_once(
            [count, rows, width, grain] in [0usize..4, 0usize..40, 0usize..4, 0usize..9],
        ) {
            let mut whole = vec![0.0; count * rows * width];
            let mut apart = vec![vec![0.0; rows * width]; count];
            let planes = [
                Planes::whole(&mut whole, [count, rows, width]),
                Planes::apart(apart.iter_mut().map(Vec::as_mut_slice).collect(), width),
            ];
            split_rows(planes, 0..rows, grain, &|stretch, mut planes| {
                assert!(stretch.len() <= grain.max(1));
                for (plane, row) in (0..count).flat_map(|plane| stretch.clone().map(move |row| (plane, row))) {
                    for planes in &mut planes {
                        planes.row(plane, row - stretch.start).iter_mut().for_each(|x| *x += (plane * rows + row) as f32);
                    }
                }
            });
            let expected: Vec<f32> = (0..count * rows).flat_map(|i| std::iter::repeat_n(i as f32, width)).collect();
            prop_assert_eq!(&whole, &expected);
            prop_assert_eq!(apart.concat(), expected);
        }
    }
}
