//! `C = relu(C_before + A B + bias)` on AVX-512, by tiles of 12 rows and 32 columns that are summed in registers.
//!
//! | file | what |
//! |---|---|
//! | `blocks` | the loops around: blocks of columns and of `k` that stay in the caches |
//! | `pack` | operands copied into the order in which they are read |
//! | `kernel` | a tile: sums in registers, then bias, ReLU and the way to memory |
//! | `kind` | the two kinds of arithmetic, f32 and bfloat16 |
//!
//! Every element of `C` is summed in the order of `k`, in blocks whose lengths follow from `k` alone. Its bits are therefore the same
//! however rows or columns are split into calls, wherever it lies in a tile, and whichever way `A` and `B` lie in memory.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod blocks;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod kind;
#[cfg(target_arch = "x86_64")]
mod pack;

#[cfg(all(test, target_arch = "x86_64"))]
#[allow(clippy::unwrap_used)]
mod tests;

use crate::mat::{Mat, MatMut};
use crate::product::{Gemm, Product, Then};
use crate::thin;

/// Rows of a result below which packing `B` is not worth it.
const FEW_ROWS: usize = 16;

/// Sides below which rounding factors to bfloat16 costs more than it saves.
const NARROW: usize = 32;

/// Products in f32. Sums are fused: a product is not rounded before it is added.
#[derive(Debug, Clone, Copy)]
pub struct Tile(());

/// Products in bfloat16 of f32 matrices: `A` and `B` are rounded to nearest even while they are packed, sums are taken in f32, bias and
/// ReLU too. The machine takes denormal operands and sums for 0. What is too small to gain is done in f32.
#[derive(Debug, Clone, Copy)]
pub struct TileBf16(());

impl Tile {
    /// `None` where the machine lacks AVX-512 (F, BW, DQ, VL).
    pub fn detect() -> Option<&'static Self> {
        avx512().then_some(&Self(()))
    }
}

impl TileBf16 {
    /// `None` where the machine lacks AVX-512 (F, BW, DQ, VL) or its dot product for bfloat16.
    pub fn detect() -> Option<&'static Self> {
        #[cfg(target_arch = "x86_64")]
        let dot = is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let dot = false;
        (avx512() && dot).then_some(&Self(()))
    }
}

impl Product for Tile {
    fn multiply(&self, a: Mat, b: Mat, c: MatMut, then: Then) {
        if a.rows() < FEW_ROWS || thin::takes(a, b) {
            return Gemm.multiply(a, b, c, then);
        }
        // SAFETY: `detect` saw the features, `Product::run` that the shapes agree and none is 0.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            blocks::product::<kind::F32>(a, b, c, then);
        }
    }
}

impl Product for TileBf16 {
    fn multiply(&self, a: Mat, b: Mat, c: MatMut, then: Then) {
        if a.rows().min(a.cols()).min(b.cols()) < NARROW {
            return Tile(()).multiply(a, b, c, then);
        }
        // SAFETY: `detect` saw the features, `Product::run` that the shapes agree and none is 0.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            blocks::product::<kind::Bf16>(a, b, c, then);
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn avx512() -> bool {
    let bits = [is_x86_feature_detected!("avx512f"), is_x86_feature_detected!("avx512bw")];
    bits == [true; 2] && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
fn avx512() -> bool {
    false
}
