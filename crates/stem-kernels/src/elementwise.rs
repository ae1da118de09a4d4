//! Loops over all elements of matrices, compiled for each instruction set.

use crate::simd::vectorised;

/// What is negative becomes 0. Not a number stays so: a network that diverged must not look healthy.
#[inline(always)]
pub fn relu(y: f32) -> f32 {
    if y < 0.0 { 0.0 } else { y }
}

/// `y = relu(y + b)` for every row, each part if asked for. `y [rows, n]`, `b [n]`
pub fn bias_relu(y: &mut [f32], bias: Option<&[f32]>, relu: bool) {
    match bias {
        Some(bias) => add_bias(y, bias, relu),
        None if relu => relu_in_place(y),
        None => {}
    }
}

/// The gradient behind a ReLU, from that of its output `y`: 0 where the ReLU cut. Then `db`, the sums of the columns.
/// `dz, y [rows, n]`, `db [n]`; without ReLU `y` is `None` and `dz` is left alone.
pub fn relu_backward(dz: &mut [f32], y: Option<&[f32]>, db: &mut [f32]) {
    db.fill(0.0);
    match y {
        Some(y) => cut_and_add_rows(dz, y, db),
        None => add_rows(db, dz),
    }
}

vectorised! {
    fn add_bias(y: &mut [f32], bias: &[f32], positive: bool) {
        if let [bias] = *bias {
            for y in y {
                *y = if positive { relu(*y + bias) } else { *y + bias };
            }
            return;
        }
        for row in y.chunks_exact_mut(bias.len().max(1)) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y = if positive { relu(*y + b) } else { *y + b };
            }
        }
    }

    fn relu_in_place(y: &mut [f32]) {
        for y in y {
            *y = relu(*y);
        }
    }

    fn cut_and_add_rows(dz: &mut [f32], y: &[f32], db: &mut [f32]) {
        let n = db.len().max(1);
        for (dz, y) in dz.chunks_exact_mut(n).zip(y.chunks_exact(n)) {
            for ((dz, y), db) in dz.iter_mut().zip(y).zip(db.iter_mut()) {
                *dz = if *y <= 0.0 { 0.0 } else { *dz }; // kept where y is not a number
                *db += *dz;
            }
        }
    }

    /// `dz = 0` where `y`, what a ReLU gave, is 0.
    pub fn relu_mask(dz: &mut [f32], y: &[f32]) {
        for (dz, y) in dz.iter_mut().zip(y) {
            *dz = if *y <= 0.0 { 0.0 } else { *dz }; // kept where y is not a number
        }
    }

    /// `sum += rows`, first to last. `rows [rows, n]`, `sum [n]`
    pub fn add_rows(sum: &mut [f32], rows: &[f32]) {
        for row in rows.chunks_exact(sum.len().max(1)) {
            for (sum, x) in sum.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_relu_keeps_what_is_not_a_number() {
        for cols in [1, 3, 40] {
            let mut y = [-1.0, 2.0, f32::NAN].repeat(40);
            bias_relu(&mut y, Some(&vec![0.5; cols]), true);
            assert!(y.chunks(3).all(|y| y[0] == 0.0 && y[1] == 2.5 && y[2].is_nan()), "{y:?}");
            let (mut dz, mut db) = (vec![1.0; y.len()], vec![7.0; cols]);
            relu_backward(&mut dz, Some(&y), &mut db);
            assert!(dz.chunks(3).all(|dz| dz == [0.0, 1.0, 1.0]));
            assert_eq!(db.iter().sum::<f32>(), 80.0);
        }
    }
}
