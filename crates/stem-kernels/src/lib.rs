//! Fused CPU kernels of a multi-task recommender, on slices: each does in one pass over memory what plain tensor operations do
//! in many. `stem-core` joins them to Burn; nothing here knows of models.
//!
//! | kernel | what |
//! |---|---|
//! | [`distinct`], [`bag`] | rows of the table into the inputs of experts and gates, and gradients back into rows |
//! | [`linear`] | a bank of linear maps with bias and ReLU: experts, gates, towers. Products by [`product`] |
//! | [`chain`] | banks one after another, forward alone: for scoring |
//! | [`mix`] | All Forward, Task-specific Backward: softmax, mix, masked backward |
//! | [`loss`] | cross-entropy from logits, and its gradient |
//! | [`norms`] | squared norms, L2 |
//! | [`start`] | a table's first numbers |
//! | [`buffer`] | memory that is kept from step to step |
//! | [`simd`], [`planes`] | one source for every instruction set; outputs divided among threads |
//!
//! Letters: `B` rows of a batch, `S` slots, `F` fields, `T` tasks (streams that mix), `E` experts, `H` hidden width, `I`/`O` input
//! and output of a linear map, `V` rows of the table, `U` distinct rows of a batch, `W` width of a table row, `D` width of a group
//! of its columns, `K` streams of a bag.
//!
//! Every sum is taken in an order that depends on shapes alone: results are the same, bit for bit, on any number of threads.
//! Every kernel has its equation as naive loops under test, and property tests that hold both together. Outputs are the caller's
//! buffers, overwritten completely. `unsafe` is in `simd`, `raw`, `tile` and `buffer` alone.

pub mod simd;
pub mod planes;
mod divide;
pub mod precision;
pub mod mat;
pub mod product;
mod raw;
mod loops;
mod thin;
mod tile;
pub mod linear;
pub mod chain;
pub mod mix;
pub mod distinct;
pub mod bag;
pub mod loss;
pub mod norms;
pub mod start;
pub mod buffer;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod check;

pub use buffer::{Buffer, take};
pub use precision::Precision;
