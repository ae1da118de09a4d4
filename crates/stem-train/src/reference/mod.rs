//! The reference implementation's names and layouts, and ours; and its checkpoints as our bundles.
//!
//! | step | module |
//! |---|---|
//! | its embeddings and banks, tensor by tensor, as ours | `banks` |
//! | which of its tensors fills which part of ours | `pieces` |
//! | a `torch.save` file -> tensors by name, and nothing else | `checkpoint` |
//! | fields, vocabularies, sizes: what a checkpoint does not say | `import_config` |
//! | all of it -> a bundle | `import` |

mod banks;
mod pieces;
mod pickle;
mod checkpoint;
mod import_config;
mod import;

pub use banks::{RawTensor, SIZE_KEYS, embedding_name, model_name, table_values};
pub use checkpoint::read_checkpoint;
pub use import::{Summary, import};
pub use import_config::{FeatureVocabulary, ImportConfig, ImportField, ImportKind, Plan};
pub use pieces::{Piece, assemble, pieces, shapes};
