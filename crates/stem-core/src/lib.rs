//! Multi-task recommendation on Burn: STEM-Net with *All Forward, Task-specific Backward* gating, its baselines, and the
//! bundle that any Rust program scores from.
//!
//! # Scoring
//!
//! [`Predictor`] opens a bundle on the device of a [`DeviceSpec`], takes a [`Row`] of raw [`Value`]s per impression and gives
//! [`Scores`]. Rows come from JSON, scores go to JSON.
//!
//! ```no_run
//! use stem_core::{DeviceSpec, Predictor, Row};
//!
//! let predictor = Predictor::open("bundle.safetensors", &DeviceSpec::default().open()?)?;
//! let rows = [Row::new().with("user", 7).with("item", 21)];
//! for (row, scores) in predictor.predict(&rows)?.rows().enumerate() {
//!     println!("{row}: {scores:?}");
//! }
//! # Ok::<(), stem_core::Error>(())
//! ```
//!
//! # What to reach for
//!
//! | to | take |
//! |---|---|
//! | score | [`Predictor`], [`PredictorOptions`], [`Row`], [`Scores`], [`DeviceSpec`] |
//! | score the same rows again and again | [`Predictor::encode`], [`Batch`], [`Predictor::score`] |
//! | see what a bundle is, without its weights | [`Bundle`], and its [`Manifest`](bundle::Manifest) |
//! | tell what was wrong with a file or a row | [`Error`], [`BundleFault`](bundle::BundleFault) |
//! | say which fields and tasks there are | [`Schema`], [`Field`], [`Task`], [`Vocabulary`] |
//! | choose a model and its sizes | [`ModelName`], [`ModelConfig`], and [`models`] for each of them |
//! | write a model | [`models::ModelSpec`], [`models::Model`], the parts in [`nn`], and [`burn`] as it is used here |
//! | take products in bf16, or plain operations | [`precision`], [`fused`] |
//! | run a batch in parts, of which others hold some | [`parts`] |
//!
//! # The modules in the order a row walks through them
//!
//! | step | module |
//! |---|---|
//! | the contract: fields, tasks, sizes | `schema`, `value` |
//! | raw value -> cleaned, clipped, crossed ... | `transform` |
//! | value -> row id | `vocabulary`, with `integer_keys` |
//! | raw rows -> ids, weights | `featurize`, `columns`, `batch` |
//! | ids, weights -> a device -> embeddings -> probabilities | `forward` |
//! | rows of the table -> `x_k` | `embedding` |
//! | attended histories, gates of a domain, crosses: before every model | `front` |
//! | how exact products are; what the CPU does in one pass | [`precision`], [`fused`] |
//! | `h_e`, `g_t`, `o_t`, layers, logits | `experts`, `gate`, [`aftb`], `layer`, `tower`: banks of `mlp`, with `norm` and `activation` |
//! | wiring, one file per model | [`models`] |
//! | `-y log p - (1 - y) log(1 - p)` | [`loss`] |
//! | one file, and scores from it | [`bundle`], `predictor`, `scores` |
//! | what changed between two of them | [`delta`] |
//!
//! Letters in shapes: `B` rows, `S` slots, `F` fields, `T` tasks, `G` embedding groups, `D` embedding width, `W` width of a
//! table row, `V` table rows, `U` distinct rows, `E` experts, `C` shared experts among them, `H` hidden, `I`/`O` input and
//! output of a linear map.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "flex", feature = "ndarray", feature = "wgpu")))]
compile_error!("stem-core needs a device: build it with the feature `flex` (the default), `ndarray` or `wgpu`");

pub mod files;
pub mod tensor_file;
pub mod lock;
mod mapped;
mod value;
mod value_ref;
#[cfg(feature = "arrow")]
pub mod arrow;
mod transform;
mod schema;
mod integer_keys;
mod vocabulary;
mod batch;
mod featurize;
mod columns;
mod example;
mod embedding;
mod norm;
mod covariance;
mod own_residual;
pub mod parts;
mod scoped;
mod size;
pub mod precision;
pub mod fused;
mod activation;
mod mlp;
#[macro_use]
mod front;
mod experts;
mod gate;
mod gate_sums;
pub mod aftb;
mod layer;
mod tower;
pub mod models;
mod forward;
pub mod loss;
pub mod params;
pub mod nn;
pub mod bundle;
pub mod delta;
mod calibration;
mod scores;
mod replay;
mod predictor;
mod rank;
mod request;
mod explain;
mod device;
mod dropout;
mod error;

/// The Burn that this crate is built with: a model of an application's own needs the same one.
pub use burn;

pub use batch::{Batch, MISSING};
pub use bundle::Bundle;
pub use calibration::{Calibration, logit};
pub use columns::{Cells, Columns};
pub use device::DeviceSpec;
pub use error::{Error, Result, with_causes};
pub use example::example_row;
pub use explain::{Contribution, Explanation};
pub use featurize::encode_rows;
pub use integer_keys::IntegerKeys;
pub use mapped::Stored;
pub use models::{ModelConfig, ModelName};
pub use predictor::{Predictor, PredictorOptions};
pub use rank::{Combine, RankFault, Ranked, Ranking};
pub use request::Request;
pub use schema::{
    ColumnType, Derived, DurationQuantiles, Field, FieldKind, Keep, Pooling, Schema, TargetTransform, Task, TaskKind,
    VocabularySpec,
};
pub use scores::Scores;
pub use transform::{KeyKind, TimePart, TimeUnit, Transform, hash_bucket};
pub use value::{Row, Value};
pub use value_ref::{ListRef, ValueRef};
pub use vocabulary::{PADDING, Texts, Vocabulary, whole};
