//! One file that holds all a program needs to score: schema, vocabularies, configuration, weights.
//!
//! A bundle is a valid safetensors file. Its metadata holds the manifest under `stem.manifest`; its tensors are
//! `embedding.table [V, W]`, `network.*`, and the vocabularies: `vocabulary.NAME.keys` (I64), or `vocabulary.NAME.bytes` (U8)
//! cut by `vocabulary.NAME.offsets` (U64).

mod fault;
mod read;
mod write;

pub use fault::{BundleFault, VocabularyFault};
pub use read::Bundle;
pub use write::save;

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use crate::schema::Schema;

/// Version that is written, and the only one so far that is read.
pub const FORMAT_VERSION: u32 = 2;
const MANIFEST: &str = "stem.manifest";
const CHECKSUM: &str = "stem.checksum";
const TABLE: &str = "embedding.table";
const NETWORK: &str = "network.";

/// What a bundle says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u32,
    /// Fields, tasks, sizes.
    pub schema: Schema,
    /// The model's configuration; a [`ModelConfig`](crate::models::ModelConfig) unless the model is the application's own.
    pub model: serde_json::Value,
    /// What the trainer has to say: metrics, seed, epochs. Free in form, and not needed for scoring.
    pub training: serde_json::Value,
}

/// BLAKE3 over the manifest's text, and the tensors in the order of their names: name, type, shape, bytes.
fn checksum<'a>(manifest: &str, tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(manifest.as_bytes());
    for (name, dtype, shape, bytes) in tensors {
        hasher.update(format!("{name} {dtype:?} {shape:?}\n").as_bytes());
        hasher.update(bytes);
    }
    hasher.finalize().to_hex().to_string()
}
