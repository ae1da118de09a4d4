//! Row-major matrices as plain slices, and the sums over their rows that the analyses need. Sums are `f64`, taken over chunks
//! of rows in parallel and added in order: the same on any number of threads.

use rayon::prelude::*;

/// Chunks a sum over rows is split into.
const CHUNKS: usize = 16;

/// `[n, width]`, row-major, every value a number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) values: &'a [f32],
    pub(super) width: usize,
}

impl<'a> Matrix<'a> {
    /// `None` unless there are whole rows, at least one, of finite values.
    pub(super) fn new(values: &'a [f32], width: usize) -> Option<Self> {
        let whole = width > 0 && !values.is_empty() && values.len().is_multiple_of(width);
        (whole && values.iter().all(|v| v.is_finite())).then_some(Self { values, width })
    }

    pub(super) fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    /// `[width]`
    pub(super) fn means(&self) -> Vec<f64> {
        let n = self.rows() as f64;
        let sums = sum_over_rows(self.rows(), self.width, |row, sum| {
            sum.iter_mut().zip(self.row(row)).for_each(|(s, v)| *s += f64::from(*v));
        });
        sums.into_iter().map(|sum| sum / n).collect()
    }

    pub(super) fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.width..(row + 1) * self.width]
    }

    /// `(X - x)' (Y - y)` for rows `x`, `y` taken from every row of either matrix. `[self.width, other.width]`, row-major.
    pub(super) fn products(&self, x: &[f64], other: &Matrix<'_>, y: &[f64]) -> Vec<f64> {
        let width = other.width;
        sum_over_rows(self.rows(), self.width * width, |row, sum| {
            let right: Vec<f64> = other.row(row).iter().zip(y).map(|(v, y)| f64::from(*v) - y).collect();
            for ((v, x), sum) in self.row(row).iter().zip(x).zip(sum.chunks_exact_mut(width)) {
                let left = f64::from(*v) - x;
                sum.iter_mut().zip(&right).for_each(|(s, r)| *s += left * r);
            }
        })
    }
}

/// The sum of what `add` adds for each row.
fn sum_over_rows(rows: usize, width: usize, add: impl Fn(usize, &mut [f64]) + Sync) -> Vec<f64> {
    let size = rows.div_ceil(CHUNKS).max(1);
    let partial: Vec<Vec<f64>> = (0..rows.div_ceil(size))
        .into_par_iter()
        .map(|chunk| {
            let mut sum = vec![0.0; width];
            (chunk * size..rows.min((chunk + 1) * size)).for_each(|row| add(row, &mut sum));
            sum
        })
        .collect();
    let mut total = vec![0.0; width];
    for sum in partial {
        total.iter_mut().zip(sum).for_each(|(t, s)| *t += s);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ragged_empty_and_non_finite_matrices_are_none() {
        assert!(Matrix::new(&[], 2).is_none());
        assert!(Matrix::new(&[1.0; 3], 2).is_none());
        assert!(Matrix::new(&[1.0; 3], 0).is_none());
        assert!(Matrix::new(&[1.0, f32::NAN], 2).is_none());
        assert!(Matrix::new(&[1.0, f32::INFINITY], 2).is_none());
        assert_eq!(Matrix::new(&[1.0; 6], 2).map(|m| m.rows()), Some(3));
    }

    #[test]
    fn products_are_those_of_the_shifted_matrices() {
        let values: Vec<f32> = (0..200).map(|i| ((i * 37) % 11) as f32).collect();
        let (x, y) = (Matrix::new(&values[..100], 2).unwrap(), Matrix::new(&values[50..], 3).unwrap());
        let (mx, my) = (x.means(), y.means());
        let products = x.products(&mx, &y, &my);
        for (k, &product) in products.iter().enumerate() {
            let (i, j) = (k / 3, k % 3);
            let expected: f64 =
                (0..50).map(|r| (f64::from(x.row(r)[i]) - mx[i]) * (f64::from(y.row(r)[j]) - my[j])).sum();
            assert!((product - expected).abs() < 1e-9);
        }
    }
}
