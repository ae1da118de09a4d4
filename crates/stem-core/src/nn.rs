//! The parts that networks are made of: for a model of an application's own, and for whoever trains.
//!
//! | part | what it is |
//! |---|---|
//! | [`EmbeddingTable`], [`RowMatrix`], [`ScoringTable`], [`SlotLayout`], [`Pooled`], [`DistinctRows`], [`sum_by_row`] | rows of the table, and the fields' vectors made of them |
//! | [`MlpBank`], [`LinearBank`], [`HiddenConfig`], [`Activation`], [`BatchNormBank`] | banks of perceptrons of one shape |
//! | [`Front`] of [`Interest`], [`Numbers`], [`Domain`], [`Cross`], [`Fm`], [`FeatureGate`] | what stands before a model: attended histories, buckets of numbers, gates of a domain, crosses, pairs, gates on features |
//! | [`TowerGates`] | gates of a domain on towers |
//! | [`Experts`], [`Gates`], [`Layer`], [`Towers`] | what the models are wired of |
//! | [`seed_dropout`] | what the next step drops |
//! | [`upload`], [`pool`], [`score`] | from a batch to a device, to embeddings, to probabilities |
//! | [`Rng`], [`rng`] | the generator that weights are drawn from |
//!
//! `docs/adding-a-model.md` writes a model with them.

pub use crate::activation::{Activation, ActivationBank};
pub use crate::covariance::CovarianceConfig;
pub use crate::dropout::seed as seed_dropout;
pub use crate::embedding::{DistinctRows, EmbeddingTable, Pooled, RowMatrix, ScoringTable, SlotLayout, sum_by_row};
pub use crate::experts::{ExpertOutputs, Experts, Streams};
pub use crate::forward::{pool, score, upload, upload_index};
pub use crate::front::{
    Block, BlockConfig, Cross, CrossConfig, Domain, DomainConfig, FeatureGate, FeatureGateConfig, Fm, FmConfig, Front,
    FrontConfig, Interest, InterestConfig, Numbers, NumbersConfig, Positions, TowerGates, TowerPlan,
};
pub use crate::gate::Gates;
pub use crate::gate_sums::{GateMean, GateSums};
pub use crate::layer::{GateInput, Layer, LayerShape, Reach, Wiring};
pub use crate::mlp::{HiddenConfig, LinearBank, MlpBank, MlpShape};
pub use crate::norm::BatchNormBank;
pub use crate::own_residual::{OwnResidual, OwnSum};
pub use crate::tower::Towers;

/// The generator that weights are drawn from; the same seed gives the same weights on every device.
pub use rand_chacha::ChaCha8Rng as Rng;

/// A generator of that seed.
pub fn rng(seed: u64) -> Rng {
    rand::SeedableRng::seed_from_u64(seed)
}
