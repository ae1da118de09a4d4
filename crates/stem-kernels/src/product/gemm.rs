//! Products by the crate `gemm`, which takes pointers.
#![allow(unsafe_code)]

use crate::mat::{Mat, MatMut};

/// `C = [C +] A B`, on the calling thread.
///
/// # Panics
/// When the shapes disagree.
pub(super) fn multiply(a: Mat, b: Mat, c: &mut MatMut, accumulate: bool) {
    let (m, k, n) = (a.rows(), a.cols(), b.cols());
    assert_eq!((m, k, n), (c.rows(), b.rows(), c.cols()), "m, k, n");
    let strides = |m: Mat| (m.row_stride() as isize, m.col_stride() as isize);
    let ((a_row, a_col), (b_row, b_col)) = (strides(a), strides(b));
    let (left, right, out) = (a.data().as_ptr(), b.data().as_ptr(), c.data().as_mut_ptr());
    // SAFETY: a view holds every element that its shape and strides name (checked when it is made, its fields are private), the
    // shapes agree (checked above), and `c` is borrowed alone. `gemm` takes column stride before row stride, and its first factor
    // scales what the destination holds, which is read only if `accumulate`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            n as isize,
            accumulate,
            left,
            a_col,
            a_row,
            right,
            b_col,
            b_row,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
