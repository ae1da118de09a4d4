//! From ids to the models' input: the table, the distinct rows of a batch, and the weighted sum of slots into fields.

mod distinct;
mod pool;
mod table;

pub use distinct::DistinctRows;
pub use pool::{Pooled, SlotLayout};
pub use table::{EmbeddingTable, RowMatrix};
