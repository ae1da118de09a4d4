//! One file that holds all a program needs to score: schema, vocabularies, configuration, weights.
//!
//! A bundle is a valid safetensors file. Its metadata holds the manifest under `stem.manifest`; its tensors are
//! `embedding.table [V, W]`, `network.*`, and the vocabularies: `vocabulary.NAME.keys` (I64), or `vocabulary.NAME.bytes` (U8)
//! cut by `vocabulary.NAME.offsets` (U64); beside packed rows integers are packed too, `vocabulary.NAME.blocks` (I64 `[blocks, 2]`) and
//! `vocabulary.NAME.remainders` (U8), where they are fewer bytes so; where models are trained on from day to day, `vocabulary.NAME.idle` (U32) says for each key in how
//! many trainings in a row it has not occurred. Rows that are packed ([`RowFormat`]) are `embedding.table` too, F16 `[V, W]` or bytes (U8) `[V, bytes of a row]`.
//!
//! The metadata also hold `stem.checksum`, BLAKE3 over all of it, and `stem.head`, over all but the table and the vocabularies; [`Verify`] says
//! which of them is asked.
//!
//! A training may keep the weights of several moments, each for the tasks that were best then: *states*. The manifest says which tasks
//! each answers for; the tensors of the first state have the names above, those of state `K` begin with `state.K.`.

mod fault;
mod golden;
mod pack;
mod read;
mod verify;
mod vocabularies;
mod write;

pub use fault::{BundleFault, VocabularyFault};
pub use golden::{Golden, GoldenFault};
pub use pack::{PackedBundle, pack};
pub use read::{Bundle, State};
pub use verify::Verify;
pub use write::{KnownKeys, combine, save, save_calibrated, save_from_file};
pub(crate) use write::{Tensor, write_tensors};

use std::collections::BTreeMap;

use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::schema::Schema;

pub use stem_kernels::rows::{Packing, RowFormat};

/// The newest version that is read and written: that of bundles with a task that is told by quantiles of a duration, packed or not. A bundle is written as
/// the oldest version that can say what it holds: packed integer keys as version 7, packed rows alone as version 6, tasks whose label is not 0 or 1 as version 5, calibrated scores as version 4, several states as version
/// 3, one as version [`OLDEST_VERSION`], which has no word for states.
pub const FORMAT_VERSION: u32 = 8;
/// The first version with labels that are ranks among rows of a duration; its rows may be packed or not.
const WITH_QUANTILES: u32 = 8;
/// The first version with packed keys.
const PACKED_KEYS: u32 = 7;
/// The first version with packed rows.
const PACKED: u32 = 6;
/// The first version with labels that are not 0 or 1.
const WITH_KINDS: u32 = 5;
/// The first version with calibrated scores.
const CALIBRATED: u32 = 4;
/// The first version with states.
const WITH_STATES: u32 = 3;
/// The oldest version that is read.
pub const OLDEST_VERSION: u32 = 2;
pub(crate) const MANIFEST: &str = "stem.manifest";
pub(crate) const CHECKSUM: &str = "stem.checksum";
const HEAD: &str = "stem.head";
pub(crate) const TABLE: &str = "embedding.table";
const NETWORK: &str = "network.";
/// Bytes from which it is worth asking other threads to help with a checksum.
const BY_ALL_THREADS: usize = 1 << 17;
const IDLE: &str = "idle";
pub(crate) const BLOCKS: &str = "blocks";
pub(crate) const REMAINDERS: &str = "remainders";

/// What a bundle says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// How the table's rows are packed; `None` where they are f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowFormat>,
    /// What packing them did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<Packed>,
    /// Rows, and the scores that the bundle has to give them; `None` of a bundle that an older program wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<Golden>,
}

/// What packing its rows did to a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    /// Checksum of the bundle that it was made of.
    pub of: String,
    /// The furthest that a number of the table is from what it was.
    pub largest_error: f32,
    /// Root of the mean square of how far they are.
    pub rms_error: f32,
    /// Root of the mean square of the numbers themselves, to compare.
    pub rms: f32,
    /// Metrics before and after, on rows that were given; free in form, null where none were.
    pub measured: serde_json::Value,
}

impl Manifest {
    /// The oldest version that can say what it holds.
    fn version_needed(&self) -> u32 {
        match (self.calibration.is_empty(), self.states.is_empty()) {
            _ if self.schema.tasks.iter().any(|task| task.kind.duration().is_some()) => WITH_QUANTILES,
            _ if self.rows.is_some() => PACKED,
            _ if self.schema.tasks.iter().any(|task| !task.kind.is_binary()) => WITH_KINDS,
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

/// BLAKE3 over all that does not grow with the vocabularies: the manifest's text, name, type and shape of every tensor in the order of their
/// names, and the bytes of those of the network.
fn checksum_of_head<'a>(
    manifest: &str,
    tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>,
) -> String {
    let is_small = |name: &str| name.starts_with(NETWORK) || name.starts_with("state.") && name.contains(".network.");
    checksum(
        manifest,
        tensors.map(|(name, dtype, shape, bytes)| (name, dtype, shape, if is_small(name) { bytes } else { &[] })),
    )
}

/// BLAKE3 over the manifest's text, and the tensors in the order of their names: name, type, shape, bytes.
pub(crate) fn checksum<'a>(
    manifest: &str,
    tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>,
) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(manifest.as_bytes());
    for (name, dtype, shape, bytes) in tensors {
        hasher.update(format!("{name} {dtype:?} {shape:?}\n").as_bytes());
        if bytes.len() < BY_ALL_THREADS {
            hasher.update(bytes);
        } else {
            hasher.update_rayon(bytes); // a table may have gigabytes
        }
    }
    hasher.finalize().to_hex().to_string()
}
