//! From ids to the models' input: the table, the distinct rows of a batch, and the weighted sum of slots into fields.

mod pool;
mod table;

/// The distinct rows of a batch: what is gathered as a leaf, differentiated, and written back.
pub use stem_kernels::distinct::DistinctRows;

pub use pool::{Pooled, SlotLayout};
pub use table::{EmbeddingTable, RowMatrix};
