//! Work divided over threads, together with the outputs that it fills, in safe code and without lists of tasks.

use std::ops::Range;

use rayon::join;

/// The same pieces of several planes of one size. A piece, a row for instance, is `width` numbers of a plane; the last may have fewer.
#[derive(Debug)]
pub struct Planes<'a> {
    /// Numbers in a plane.
    size: usize,
    width: usize,
    values: Values<'a>,
}

#[derive(Debug)]
enum Values<'a> {
    /// All planes in one slice.
    Whole { all: &'a mut [f32], count: usize },
    /// A slice per plane.
    Apart(Vec<&'a mut [f32]>),
}

impl<'a> Planes<'a> {
    /// The `count` planes that `all` consists of. Allocates nothing.
    pub fn whole(all: &'a mut [f32], count: usize, width: usize) -> Self {
        Self { size: all.len() / count.max(1), width, values: Values::Whole { all, count } }
    }

    /// Planes that lie anywhere.
    pub fn apart(planes: Vec<&'a mut [f32]>, width: usize) -> Self {
        Self { size: planes.first().map_or(0, |plane| plane.len()), width, values: Values::Apart(planes) }
    }

    /// Some rows of one plane, counted from the first that is held.
    #[inline(always)]
    pub fn rows(&mut self, plane: usize, rows: Range<usize>) -> &mut [f32] {
        let (start, end) = (rows.start * self.width, rows.end * self.width);
        match &mut self.values {
            Values::Whole { all, .. } => &mut all[plane * self.size..][start..end],
            Values::Apart(planes) => &mut planes[plane][start..end],
        }
    }

    /// One row of one plane, counted from the first that is held.
    #[inline(always)]
    pub fn row(&mut self, plane: usize, row: usize) -> &mut [f32] {
        self.rows(plane, row..row + 1)
    }

    /// All that is held of one plane.
    pub fn plane(&mut self, plane: usize) -> &mut [f32] {
        match &mut self.values {
            Values::Whole { all, .. } => &mut all[plane * self.size..][..self.size],
            Values::Apart(planes) => planes[plane],
        }
    }

    /// One piece of one plane, counted from the first that is held, with what numbers it has.
    pub fn piece(&mut self, plane: usize, piece: usize) -> &mut [f32] {
        let [start, end] = [piece, piece + 1].map(|piece| self.size.min(piece * self.width));
        &mut self.plane(plane)[start..end]
    }

    /// Keeps the first `pieces` and gives the others.
    fn split_off(&mut self, pieces: usize) -> Self {
        let (width, size) = (self.width, self.size.min(pieces * self.width));
        let rest = |plane: &mut &'a mut [f32]| plane.split_off_mut(size..).unwrap_or_default();
        if let Values::Whole { all, count } = &mut self.values
            && *count != 1
        {
            let planes = (0..*count).map(|_| all.split_off_mut(..self.size).unwrap_or_default());
            self.values = Values::Apart(planes.collect());
        }
        self.size = size;
        match &mut self.values {
            Values::Whole { all, .. } => Self::whole(rest(all), 1, width),
            Values::Apart(planes) => Self::apart(planes.iter_mut().map(rest).collect(), width),
        }
    }
}

/// Calls `work` with stretches of at most `grain` of the `pieces` and those pieces of the outputs: on all threads, or on this one, with
/// nothing allocated, when there is one stretch.
pub fn divide<const N: usize>(
    pieces: Range<usize>,
    grain: usize,
    outputs: [Planes; N],
    work: &(impl Fn(Range<usize>, [Planes; N]) + Sync),
) {
    let middle = |pieces: &Range<usize>| (pieces.len() > grain.max(1)).then_some(pieces.start + pieces.len() / 2);
    divide_at(&middle, pieces, outputs, work);
}

/// As [`divide`], where `middle` says before which piece a stretch is cut in two, if at all.
pub fn divide_at<const N: usize>(
    middle: &(impl Fn(&Range<usize>) -> Option<usize> + Sync),
    pieces: Range<usize>,
    mut outputs: [Planes; N],
    work: &(impl Fn(Range<usize>, [Planes; N]) + Sync),
) {
    let Some(cut) = middle(&pieces) else { return work(pieces, outputs) };
    let others = outputs.each_mut().map(|planes| planes.split_off(cut - pieces.start));
    join(|| divide_at(middle, pieces.start..cut, outputs, work), || divide_at(middle, cut..pieces.end, others, work));
}

/// Rows, of so many numbers each, that are worth a thread of their own.
pub fn grain(numbers: usize) -> usize {
    const ROWS: usize = 64;
    const NUMBERS: usize = 1 << 16;
    (NUMBERS / numbers.max(1)).max(ROWS)
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
                Planes::whole(&mut whole, count, width),
                Planes::apart(apart.iter_mut().map(Vec::as_mut_slice).collect(), width),
            ];
            divide(0..rows, grain, planes, &|stretch, mut planes| {
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
