//! The reference implementation's names and layouts, and ours; and its checkpoints as our bundles.
//!
//! | step | module |
//! |---|---|
//! | its names of models, sizes and embeddings | `names` |
//! | its modules as our banks, model by model | [`banks()`] |
//! | which of its tensors fills which part of ours | `pieces` |
//! | a `torch.save` file -> tensors by name, and nothing else | `checkpoint` |
//! | fields, vocabularies, sizes: what a checkpoint does not say | `import_config` |
//! | all of it -> a bundle | [`import()`] |
//! | our numbers held to its numbers | [`parity`] |

mod names;
mod banks;
mod pieces;
mod pickle;
mod checkpoint;
mod import_config;
mod import;
pub mod parity;
mod error;

pub use banks::{Bank, banks, unread};
pub use checkpoint::read_checkpoint;
pub use error::{Error, Result};
pub use import::{Summary, import};
pub use import_config::{FeatureVocabulary, ImportConfig, ImportField, ImportKind, Plan};
pub use names::{RawTensor, SIZE_KEYS, embedding_name, model_name, table_values};
pub use pieces::{Piece, assemble, pieces, shapes};
