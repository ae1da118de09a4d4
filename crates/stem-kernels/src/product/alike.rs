//! Products of rows that begin alike, as the rows of one user's candidates do: what they begin with is multiplied once.
//!
//! Every element of `C` is a sum in the order of `k`, in blocks whose lengths follow from `k` alone. Rows that begin alike have the same
//! sum up to where they part, so it is taken of one row, and each row's goes on from it: the bits are those of
//! [`multiply`](super::multiply).

use super::{Way, choose, multiply, skinny};
use crate::arena;
use crate::mat::{Mat, MatMut};
use crate::precision::Precision;
use crate::product::epilogue::{Epilogue, check};

/// Numbers below which a beginning is not worth a product of its own.
const LEAST: usize = 16;

/// `C = relu(A B + bias)`, of an `A` whose rows lie one after another: the same bits as of [`multiply`](super::multiply), in less time
/// where rows begin alike and the machine has tiles.
///
/// # Shapes
/// `a [m, k]`, `b [k, n]`, `c [m, n]`, the bias `[n]`
///
/// # Panics
/// When the shapes disagree.
pub fn multiply_alike(precision: Precision, a: Mat, b: Mat, mut c: MatMut, epilogue: Epilogue) {
    check(a, b, &c, epilogue);
    let (k, n) = (a.cols(), b.cols());
    let empty = a.rows() == 0 || k == 0 || n == 0;
    let in_rows = a.col_stride() == 1 && b.col_stride() == 1 && !epilogue.accumulate;
    let machine = match choose(precision, a, b) {
        Way::Tile(machine) if !empty && in_rows => machine,
        _ => return multiply(precision, a, b, c, epilogue),
    };
    let terms = beginning(a).min(k - 1);
    if terms < LEAST {
        return multiply(precision, a, b, c, epilogue);
    }
    let (first, depth) = (a.rows_of(0..1), machine.depth(k));
    let whole = terms / depth * depth; // terms in blocks that are whole
    let mut sums = arena::take(n); // of all terms in those blocks, then of the others
    let product = |terms: std::ops::Range<usize>, sums: &mut [f32], accumulate| {
        let (row, weight) = (first.t().rows_of(terms.clone()).t(), b.rows_of(terms));
        skinny::multiply(row, weight, &mut MatMut::new(sums, 1, n), accumulate);
    };
    if whole > 0 {
        for block in (0..whole).step_by(depth) {
            product(block..block + depth, &mut sums, block > 0);
        }
        c.data().chunks_exact_mut(n).for_each(|row| row.copy_from_slice(&sums));
    }
    if terms > whole {
        product(whole..terms, &mut sums, false);
    }
    machine.go_on(a, b, c, epilogue, (terms, &sums));
}

/// Numbers that all rows begin with, bit by bit; of rows that lie one after another.
fn beginning(a: Mat) -> usize {
    let row = |i: usize| &a.data()[i * a.row_stride()..][..a.cols()];
    let mut alike = row(0);
    for i in 1..a.rows() {
        let own = &row(i)[..alike.len()];
        if bytemuck::cast_slice::<f32, u8>(own) != bytemuck::cast_slice::<f32, u8>(alike) {
            let same = alike.iter().zip(own).take_while(|(a, b)| a.to_bits() == b.to_bits());
            alike = &alike[..same.count()];
        }
        if alike.len() < LEAST {
            return 0;
        }
    }
    alike.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{bits, numbers};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 200 }))]

        #[test]
        fn rows_that_begin_alike_have_the_bits_that_they_have_otherwise(
            (m, k, n) in (1usize..80, prop_oneof![1usize..70, 240usize..270, 500usize..1100], 1usize..140),
            alike in 0.0f32..1.2,
            with_bias: bool,
            relu: bool,
            parted in 0usize..80,
        ) {
            let (mut a, b, bias) = (numbers(m * k, 1, 2.0), numbers(k * n, 2, 2.0), numbers(n, 3, 2.0));
            let alike = ((k as f32 * alike) as usize).min(k);
            let first = a[..alike].to_vec();
            a.chunks_exact_mut(k).for_each(|row| row[..alike].copy_from_slice(&first));
            if let Some(row) = a.chunks_exact_mut(k).nth(parted) {
                row[k / 2] += 1.0; // all rows alike but one, which parts from them earlier
            }
            let epilogue = Epilogue { accumulate: false, bias: with_bias.then_some(&*bias), relu };
            let run = |multiply: fn(Precision, Mat, Mat, MatMut, Epilogue)| {
                let mut c = vec![f32::NAN; m * n];
                multiply(Precision::F32, Mat::new(&a, m, k), Mat::new(&b, k, n), MatMut::new(&mut c, m, n), epilogue);
                bits(&c)
            };
            prop_assert_eq!(run(multiply_alike), run(multiply));
        }
    }

    #[test]
    fn a_beginning_is_what_all_rows_have_and_zeros_of_either_sign_are_two() {
        let mut rows = numbers(3 * 40, 1, 2.0);
        let first = rows[..30].to_vec();
        rows.chunks_exact_mut(40).for_each(|row| row[..30].copy_from_slice(&first));
        let of = |rows: &[f32]| beginning(Mat::new(rows, 3, 40));
        assert_eq!(of(&rows), 30);
        (rows[20], rows[60], rows[100]) = (0.0, 0.0, -0.0);
        assert_eq!(of(&rows), 20);
        rows[40 + LEAST - 1] += 1.0;
        assert_eq!(of(&rows), 0, "too little to be worth it");
    }
}
