//! What changed from one bundle to the next, as a file to ship: rows and parameters that are other bytes, and how the rest is copied.
//!
//! A delta is a safetensors file. For every tensor of the new bundle it says of which rows of the old one's tensor it is copied and which rows
//! stand in the delta: `segments.K` (U64 `[n, 3]`: first row of the old tensor, rows copied from there, rows of the delta that follow) and
//! `literal.K` (U8), in the order in which the new file holds its tensors. Rows of the table are found again by their keys, so a vocabulary may
//! have grown or shrunk in between. `header` is the new file's head, byte for byte: [`apply`] gives that very file.
//!
//! No row is copied twice and rows are copied in their order, so what is made of an old bundle and a delta is no larger than both together.

mod apply;
mod fault;
mod file;
mod segments;
mod write;

pub use apply::apply;
pub use fault::DeltaFault;
pub use write::{DeltaSize, delta};

use serde::{Deserialize, Serialize};

const PLAN: &str = "stem.delta";
const HEADER: &str = "header";
/// The version that is written and read.
const VERSION: u32 = 1;

/// What a delta says of itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    version: u32,
    /// Checksums of the two bundles.
    old: String,
    new: String,
    /// BLAKE3 of the new file, whole: it is made byte for byte.
    file: String,
    /// Of every tensor of the new bundle, in the order of its file.
    tensors: Vec<Part>,
}

/// How a tensor is made.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    /// What is copied: rows of so many bytes.
    row_bytes: usize,
    /// Whether rows are not the numbers (U64) but how much each is above the one before: offsets of texts, all of which move when a text is
    /// put before them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    differences: bool,
}
