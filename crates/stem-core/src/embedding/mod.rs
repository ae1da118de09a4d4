//! From ids to the models' input: the table, the distinct rows of a batch, and the weighted sum of slots into fields.

mod by_row;
mod pool;
mod stored;
mod table;

/// The distinct rows of a batch: what is gathered as a leaf, differentiated, and written back.
pub use stem_kernels::distinct::DistinctRows;

pub use by_row::sum_by_row;
pub(crate) use pool::occurring;
pub use pool::{Pooled, SlotLayout};
pub use stored::ScoringTable;
#[cfg(feature = "flex")]
pub(crate) use stored::WithRows;
pub(crate) use stored::{StoredTable, TableRows, upload_rows};
pub use table::{EmbeddingTable, RowMatrix};
