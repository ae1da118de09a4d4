//! One file that holds all a program needs to score: schema, vocabularies, configuration, weights.
//!
//! A bundle is a valid safetensors file. Its metadata holds the manifest under `stem.manifest`; its tensors are
//! `embedding.table [V, W]`, `network.*`, and the vocabularies: `vocabulary.NAME.keys` (I64), or `vocabulary.NAME.bytes` (U8)
//! cut by `vocabulary.NAME.offsets` (U64); where models are trained on from day to day, `vocabulary.NAME.idle` (U32) says for each key in how
//! many trainings in a row it has not occurred.
//!
//! A training may keep the weights of several moments, each for the tasks that were best then: *states*. The manifest says which tasks
//! each answers for; the tensors of the first state have the names above, those of state `K` begin with `state.K.`.

mod fault;
mod read;
mod write;

pub use fault::{BundleFault, VocabularyFault};
pub use read::{Bundle, State};
pub use write::{KnownKeys, combine, save, save_calibrated, save_from_file};

use std::collections::BTreeMap;

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::schema::Schema;

/// The newest version that is read and written: that of bundles with tasks whose label is not 0 or 1. A bundle is written as the oldest
/// version that can say what it holds: calibrated scores as version 4, several states as version 3, one as version [`OLDEST_VERSION`], which
/// has no word for states.
pub const FORMAT_VERSION: u32 = 5;
/// The first version with calibrated scores.
const CALIBRATED: u32 = 4;
/// The first version with states.
const WITH_STATES: u32 = 3;
/// The oldest version that is read.
pub const OLDEST_VERSION: u32 = 2;
const MANIFEST: &str = "stem.manifest";
const CHECKSUM: &str = "stem.checksum";
const TABLE: &str = "embedding.table";
const NETWORK: &str = "network.";
const IDLE: &str = "idle";

/// What a bundle says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// From [`OLDEST_VERSION`] to [`FORMAT_VERSION`].
    pub version: u32,
    /// Fields, tasks, sizes.
    pub schema: Schema,
    /// The model's configuration; a [`ModelConfig`](crate::models::ModelConfig) unless the model is the application's own.
    pub model: serde_json::Value,
    /// What the trainer has to say: metrics, seed, epochs. Free in form, and not needed for scoring.
    pub training: serde_json::Value,
    /// Tasks that each state answers for; empty where there is one state for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<Vec<String>>,
    /// What is done to the scores of a task, by its name; a task that is not there has its scores as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calibration: BTreeMap<String, Calibration>,
}

impl Manifest {
    /// The oldest version that can say what it holds.
    fn version_needed(&self) -> u32 {
        match (self.calibration.is_empty(), self.states.is_empty()) {
            _ if self.schema.tasks.iter().any(|task| !task.kind.is_binary()) => FORMAT_VERSION,
            (false, _) => CALIBRATED,
            (true, false) => WITH_STATES,
            (true, true) => OLDEST_VERSION,
        }
    }
}

/// What the names of a state's tensors begin with.
fn prefix(state: usize) -> String {
    if state == 0 { String::new() } else { format!("state.{state}.") }
}

/// BLAKE3 over the manifest's text, and the tensors in the order of their names: name, type, shape, bytes.
fn checksum<'a>(manifest: &str, tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(manifest.as_bytes());
    for (name, dtype, shape, bytes) in tensors {
        hasher.update(format!("{name} {dtype:?} {shape:?}\n").as_bytes());
        hasher.update_rayon(bytes); // by all threads: a table may have gigabytes
    }
    hasher.finalize().to_hex().to_string()
}
