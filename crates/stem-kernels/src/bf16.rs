//! Products in bfloat16: factors are rounded to 8 bits of precision, sums are taken in f32. Outside all stays f32.

use std::cell::RefCell;

use gemmkit::bf16;

use crate::loops;
use crate::mat::{Mat, MatMut};
use crate::product::{Gemm, Product, Then, finish};

/// Sides below which rounding the factors costs more than the faster product saves.
const LEAST_SIDE: usize = 128;

/// For [`product`](crate::product::product), which asks [`Bf16::detect`] first.
pub(crate) static BF16: Bf16 = Bf16(());

thread_local! {
    /// Factors and result of the product under way: kept from call to call.
    static SCRATCH: RefCell<[Vec<bf16>; 3]> = const { RefCell::new([const { Vec::new() }; 3]) };
}

/// The crate `gemmkit` on factors rounded to bfloat16. A result is rounded once too, then gets bias and ReLU in f32.
/// A product with a side below 128 is taken in f32.
#[derive(Debug, Clone, Copy)]
pub struct Bf16(());

impl Bf16 {
    /// `None` where the machine has no dot product for bfloat16: f32 is faster there, and more exact.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512bw") {
            return Some(Self(()));
        }
        None
    }
}

impl Product for Bf16 {
    fn multiply(&self, a: Mat, b: Mat, mut c: MatMut, then: Then) {
        if a.rows().min(a.cols()).min(b.cols()) < LEAST_SIDE {
            return Gemm.multiply(a, b, c, then);
        }
        SCRATCH.with_borrow_mut(|[left, right, out]| {
            let (m, n) = (c.rows(), c.cols());
            let (left, right, out) = (narrow(a, left), narrow(b, right), room(out, m * n));
            let result = gemmkit::MatMut::from_row_major(out, m, n);
            gemmkit::gemm(bf16::ONE, left, right, bf16::ZERO, result, gemmkit::Parallelism::Serial);
            loops::widen(c.data(), out, then.accumulate);
        });
        finish(&mut c, then);
    }
}

/// Rounds a matrix, without gaps and in the direction in which it lies.
fn narrow<'b>(m: Mat, buffer: &'b mut Vec<bf16>) -> gemmkit::MatRef<'b, bf16> {
    let (rows, cols) = (m.rows(), m.cols());
    let turned = m.col_stride() != 1;
    let flat = if turned { m.t() } else { m }; // its rows in one piece each
    let out = room(buffer, rows * cols);
    for (i, out) in out.chunks_exact_mut(flat.cols()).enumerate() {
        loops::narrow(out, &flat.data()[i * flat.row_stride()..][..flat.cols()]);
    }
    let (row_stride, col_stride) = if turned { (1, rows) } else { (cols, 1) };
    gemmkit::MatRef::new(out, rows, cols, row_stride as isize, col_stride as isize)
}

/// The first `length` places.
fn room(buffer: &mut Vec<bf16>, length: usize) -> &mut [bf16] {
    if buffer.len() < length {
        buffer.resize(length, bf16::ZERO);
    }
    &mut buffer[..length]
}
