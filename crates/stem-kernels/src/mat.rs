//! Matrices as views of slices. Every element that a view can name lies inside its slice: checked once, when it is made.

use std::ops::Range;

/// A matrix to read, `[rows, cols]`: its rows or its columns lie in one piece each.
#[derive(Debug, Clone, Copy)]
pub struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// A matrix to write, `[rows, cols]`, row after row without gaps.
#[derive(Debug)]
pub struct MatMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
}

impl<'a> Mat<'a> {
    /// The first `rows cols` numbers, row after row.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        let size = size(rows, cols, data.len());
        Self { data: &data[..size], rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn rows_of(self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        let start = (rows.start * self.row_stride).min(self.data.len());
        Self { data: &self.data[start..], rows: rows.len(), ..self }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Distance of an element to the one below it.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Distance of an element to the one right of it.
    pub fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// The slice that the view reaches over, element `(0, 0)` first.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// Element `(row, col)`.
    ///
    /// # Panics
    /// When it is outside the slice.
    #[inline(always)]
    pub fn at(&self, row: usize, col: usize) -> f32 {
        self.data[row * self.row_stride + col * self.col_stride]
    }
}

impl<'a> MatMut<'a> {
    /// The first `rows cols` numbers, row after row.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        let size = size(rows, cols, data.len());
        Self { data: &mut data[..size], rows, cols }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All elements, row after row.
    pub fn data(&mut self) -> &mut [f32] {
        self.data
    }
}

/// `rows cols`, when so many numbers are there.
fn size(rows: usize, cols: usize, there: usize) -> usize {
    let size = rows.checked_mul(cols).filter(|&size| size <= there);
    size.unwrap_or_else(|| panic!("[{rows}, {cols}] exceeds {there} numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn views_name_the_elements_they_should(rows in 0usize..6, cols in 0usize..6, from in 0usize..6, to in 0usize..6) {
            let data: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
            let (from, to) = (from.min(to).min(rows), to.min(rows));
            let part = Mat::new(&data, rows, cols).rows_of(from..to);
            let columns = Mat::new(&data, cols, rows).t(); // [rows, cols], columns in one piece
            for (i, row) in (from..to).enumerate() {
                for col in 0..cols {
                    prop_assert_eq!(part.at(i, col), (row * cols + col) as f32);
                    prop_assert_eq!(part.t().at(col, i), part.at(i, col));
                    prop_assert_eq!(columns.rows_of(from..to).at(i, col), (col * rows + row) as f32);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "exceeds")]
    fn a_view_of_too_few_numbers_is_refused() {
        let _ = Mat::new(&[0.0; 5], 2, 3);
    }
}
