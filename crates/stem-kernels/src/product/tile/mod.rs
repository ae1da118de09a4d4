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
//! `A` and `B` lie in memory. A call of few rows is not made of tiles (`choose` decides) and sums in the same order, fused as here
//! (`skinny`): in f32 a row alone has the bits of the same row among many.
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

#[cfg(target_arch = "x86_64")]
use blocks::Begun;

use crate::mat::{Mat, MatMut};
use crate::product::epilogue::Epilogue;

/// That this machine has what tiles take: AVX-512 (F, BW, DQ, VL), and for those in bfloat16 its dot product for that too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiles<const BF16: bool>(());

/// Products in f32. Sums are fused: a product is not rounded before it is added.
pub(super) type Avx512 = Tiles<false>;

/// Products in bfloat16 of f32 matrices. `A` and `B` are rounded to nearest even while they are packed, sums are taken in f32, bias and
/// ReLU too. The machine takes denormal operands and sums for 0.
pub(super) type Avx512Bf16 = Tiles<true>;

impl Avx512 {
    /// Terms that are summed before they are added to those before, of `k` in all.
    pub(super) fn depth(self, k: usize) -> usize {
        #[cfg(target_arch = "x86_64")]
        return blocks::depth::<kind::F32>(k);
        #[cfg(not(target_arch = "x86_64"))]
        k
    }

    /// `C = relu(A B + bias)`, of which sums of the first `terms` terms are taken already, the same for every row: `C` holds those of the blocks
    /// before the one with the last of them, `sums` those of that one. `[n]`
    ///
    /// # Panics
    /// When the shapes disagree, a side is 0 or no term is left.
    pub(super) fn go_on(self, a: Mat, b: Mat, c: MatMut, epilogue: Epilogue, (terms, sums): (usize, &[f32])) {
        // SAFETY: `self` exists, so `detect` saw the features of the kind.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            blocks::product::<kind::F32>(a, b, c, epilogue, Begun { terms, sums });
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!(
            "AVX-512 is detected on x86-64 alone: {self:?} of {a:?}, {b:?}, {c:?}, {epilogue:?}, {terms}, {sums:?}"
        )
    }
}

impl<const BF16: bool> Tiles<BF16> {
    /// `None` where the machine lacks the features. Nothing else makes one.
    pub(super) fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        let detected = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && (!BF16 || is_x86_feature_detected!("avx512bf16"));
        #[cfg(not(target_arch = "x86_64"))]
        let detected = false;
        detected.then_some(Self(()))
    }

    /// `C = relu(C + A B + bias)`
    ///
    /// # Panics
    /// When the shapes disagree or a side is 0.
    pub(super) fn multiply(self, a: Mat, b: Mat, c: MatMut, epilogue: Epilogue) {
        // SAFETY: `self` exists, so `detect` saw the features of the kind.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            if BF16 {
                blocks::product::<kind::Bf16>(a, b, c, epilogue, Begun::default());
            } else {
                blocks::product::<kind::F32>(a, b, c, epilogue, Begun::default());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("AVX-512 is detected on x86-64 alone: {self:?} of {a:?}, {b:?}, {c:?}, {epilogue:?}")
    }
}
