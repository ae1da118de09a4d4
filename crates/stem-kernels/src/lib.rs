//! Fused CPU kernels of a multi-task recommender, on slices: each does in one pass over memory what plain tensor operations do
//! in many. `stem-core` joins them to Burn; nothing here knows of models.
//!
//! | module | what |
//! |---|---|
//! | [`rows`] | rows of a table, as they lie in memory or packed into fewer bytes |
//! | [`distinct`], [`bag`] | rows of the table into the inputs of experts and gates, and gradients back into rows |
//! | [`linear`] | a bank of linear maps with bias and ReLU: experts, gates, towers |
//! | [`chain`] | banks one after another, forward alone: for scoring |
//! | [`product`] | the matrix products of both: gemm, gemv, tiles of AVX-512 |
//! | [`mix`] | All Forward, Task-specific Backward: softmax, mix, masked backward |
//! | [`attend`] | values of a history from the table through their scores into the sum that they weigh |
//! | [`cross`], [`fm`], [`feature_gate`] | what stands before a model: crosses of features, products of pairs, gates |
//! | [`map`], `blocks` | their linear maps, and how their rows are cut |
//! | [`sums`] | groups into streams |
//! | [`loss`] | cross-entropy from logits, and its gradient |
//! | [`norms`] | squared norms, L2 |
//! | [`prior`] | the pull of Gaussian priors on rows of the table |
//! | `elementwise` | bias and ReLU, forward and backward |
//! | [`initializer`] | a table's first numbers |
//! | [`arena`] | memory that is kept from step to step |
//! | [`simd`], `divide` | one source for every instruction set; outputs divided among threads |
//!
//! Letters in shapes are those of `stem-core` (its `lib.rs` has the legend). Here alone: `K` streams of a bag; `m`, `k`, `n` the
//! sides of a product `[m, k] x [k, n]`.
//!
//! Every sum is taken in an order that depends on shapes alone: results are the same, bit for bit, on any number of threads.
//! Every kernel has its equation as naive loops under test, and property tests that hold both together. Outputs are the caller's
//! buffers, overwritten completely. `unsafe` is in `simd`, `product/gemm`, `product/tile` and `arena` alone.

pub mod simd;
mod divide;
pub mod precision;
pub mod mat;
mod elementwise;
pub mod product;
pub mod linear;
pub mod chain;
pub mod mix;
pub mod attend;
mod blocks;
pub mod map;
pub mod cross;
pub mod fm;
pub mod feature_gate;
pub mod sums;
pub mod distinct;
pub mod rows;
pub mod bag;
pub mod loss;
pub mod norms;
pub mod prior;
pub mod initializer;
pub mod arena;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod check;

pub use arena::{Buffer, take};
pub use precision::Precision;
