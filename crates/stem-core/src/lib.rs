//! Multi-task recommendation on Burn: STEM-Net with *All Forward, Task-specific Backward* gating, its baselines, and the
//! bundle that any Rust program scores from.
//!
//! The modules in the order a row walks through them:
//!
//! | step | module |
//! |---|---|
//! | the contract: fields, tasks, sizes | `schema`, `value` |
//! | value -> row id | `vocabulary` |
//! | raw rows -> ids, weights | `featurize`, `batch` |
//! | rows of the table -> `x_k` | `embedding` |
//! | how exact products are; what the CPU does in one pass | [`precision`], [`fused`] |
//! | `h_e`, `g_t`, `o_t`, layers, logits | `experts`, `gate`, [`aftb`], `layer`, `tower`: banks of `mlp`, with `norm` and `activation` |
//! | wiring, one file per model | [`models`] |
//! | `-y log p - (1 - y) log(1 - p)` | [`loss`] |
//! | one file, and scores from it | [`bundle`], `predictor` |
//!
//! Letters in shapes: `B` rows, `S` slots, `F` fields, `T` tasks, `G` embedding groups, `D` embedding width, `W` width of a
//! table row, `V` table rows, `U` distinct rows, `E` experts, `H` hidden, `I`/`O` input and output of a linear map.
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

pub mod files;
pub mod lock;
mod mapped;
mod schema;
mod value;
mod vocabulary;
mod batch;
mod featurize;
mod embedding;
mod norm;
mod scoped;
pub mod precision;
pub mod fused;
mod activation;
mod mlp;
mod experts;
mod gate;
mod gate_sums;
pub mod aftb;
mod layer;
mod tower;
pub mod models;
pub mod loss;
pub mod params;
pub mod bundle;
mod predictor;
mod device;
mod error;

pub use activation::{Activation, ActivationBank};
pub use batch::{Batch, MISSING};
pub use bundle::Bundle;
pub use device::DeviceSpec;
pub use embedding::{DistinctRows, EmbeddingTable, Pooled, RowMatrix, SlotLayout};
pub use error::{Error, Result};
pub use experts::{ExpertOutputs, Experts, Streams};
pub use featurize::encode_rows;
pub use gate::Gates;
pub use gate_sums::{GateMean, GateSums};
pub use layer::{GateInput, Layer, LayerShape, Reach, Wiring};
pub use mapped::map_file;
pub use mlp::{HiddenConfig, LinearBank, MlpBank, MlpShape};
pub use models::{
    AitmConfig, AnyModel, BottomSizes, EsmmConfig, LayeredSizes, MixtureSizes, MmoeConfig, MmoeMeConfig, Model,
    ModelConfig, ModelName, ModelSpec, NetworkSize, OmoeConfig, PleConfig, PleMeConfig, SharedBottomConfig,
    SingleTaskConfig, StemConfig,
};
pub use norm::BatchNormBank;
pub use predictor::{Predictor, Scores, pool, score, upload, upload_index};
pub use schema::{Field, FieldKind, Pooling, Schema, Task, VocabularySpec};
pub use tower::Towers;
pub use value::{Row, Value};
pub use vocabulary::{PADDING, Texts, Vocabulary};
