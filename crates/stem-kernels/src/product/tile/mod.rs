//! `C = relu(C_before + A B + bias)` on AVX-512, by tiles of 12 rows and 32 columns that are summed in registers.
//!
//! | file | what |
//! |---|---|
//! | `blocks` | the loops around: blocks of columns and of `k` that stay in the caches |
//! | `pack` | operands copied into the order in which they are read |
//! | `kernel` | a tile: sums in registers, then bias, ReLU and the way to memory |
//! | `kind` | the two kinds of arithmetic, f32 and bfloat16 |
//!
//! Every element of `C` is summed in the order of `k`, in blocks whose lengths follow from `k` alone. Among products that are made of
//! tiles its bits are therefore the same however rows or columns are split into calls, wherever it lies in a tile, and whichever way
//! `A` and `B` lie in memory. A call of few rows or columns is not made of tiles (`choose` decides): a row alone and the same
//! row among many may differ in their last bits.
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
use crate::product::epilogue::Epilogue;

/// That this machine has AVX-512 (F, BW, DQ, VL): products in f32. Sums are fused: a product is not rounded before it is added.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

/// That it has the dot product for bfloat16 too: products in bfloat16 of f32 matrices. `A` and `B` are rounded to nearest even while
/// they are packed, sums are taken in f32, bias and ReLU too. The machine takes denormal operands and sums for 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512Bf16(());

impl Avx512 {
    /// `None` where the machine lacks the features. Nothing else makes one.
    pub(super) fn detect() -> Option<Self> {
        avx512().then_some(Self(()))
    }

    /// `C = relu(C + A B + bias)`
    ///
    /// # Panics
    /// When the shapes disagree or a side is 0.
    pub(super) fn multiply(self, a: Mat, b: Mat, c: MatMut, epilogue: Epilogue) {
        // SAFETY: `self` exists, so `detect` saw the features of the kind.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            blocks::product::<kind::F32>(a, b, c, epilogue);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("AVX-512 is detected on x86-64 alone: {self:?} of {a:?}, {b:?}, {c:?}, {epilogue:?}")
    }
}

impl Avx512Bf16 {
    /// `None` where the machine lacks the features. Nothing else makes one.
    pub(super) fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        let dot = is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let dot = false;
        (avx512() && dot).then_some(Self(()))
    }

    /// `C = relu(C + A B + bias)`
    ///
    /// # Panics
    /// When the shapes disagree or a side is 0.
    pub(super) fn multiply(self, a: Mat, b: Mat, c: MatMut, epilogue: Epilogue) {
        // SAFETY: `self` exists, so `detect` saw the features of the kind.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            blocks::product::<kind::Bf16>(a, b, c, epilogue);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("AVX-512 is detected on x86-64 alone: {self:?} of {a:?}, {b:?}, {c:?}, {epilogue:?}")
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
