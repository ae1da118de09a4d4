//! The models. They differ only in how experts are wired: a model is a [`Model`] (a Burn module from pooled embeddings to
//! logits) and a [`ModelSpec`] (its configuration). Trainer, bundle and predictor know these two traits alone.
//!
//! | model | embeddings | a task reads | source |
//! |---|---|---|---|
//! | [`StemConfig`] | one per task, one shared | every expert; its loss changes its own and the shared ones | Su et al., AAAI 2024 |
//! | [`SharedBottomConfig`] | one | one bottom | Caruana, 1997 |
//! | [`SingleTaskConfig`] | one per task | its own bottom | |
//! | [`OmoeConfig`], [`MmoeConfig`] | one | all experts, by one gate or a gate of its own | Ma et al., KDD 2018 |
//! | [`PleConfig`] | one | its own and the shared experts | Tang et al., RecSys 2020 |
//! | [`AitmConfig`] | one | its own bottom, and what the task before passes on | Xi et al., KDD 2021 |
//! | [`EsmmConfig`] | one | its own tower; conversions are clicks times their rate | Ma et al., SIGIR 2018 |
//! | [`MmoeMeConfig`], [`PleMeConfig`] | one per expert, one per expert group | as MMoE and PLE | Su et al., AAAI 2024 |

#[macro_use]
mod macros;
mod any;
mod bottom;
mod family;
mod layered;
mod mixture;

mod aitm;
mod esmm;
mod mmoe;
mod mmoe_me;
mod omoe;
mod ple;
mod ple_me;
mod shared_bottom;
mod single_task;
mod stem;

pub use aitm::{Aitm, AitmConfig};
pub use any::{AnyModel, AnyWiring, ModelConfig, ModelName};
pub use bottom::BottomSizes;
pub use esmm::{Esmm, EsmmConfig};
pub use family::{Extended, ExtendedModel, ModelFamily, Preset};
pub use layered::{Layered, LayeredSizes};
pub use mixture::{Mixture, MixtureSizes};
pub use mmoe::MmoeConfig;
pub use mmoe_me::MmoeMeConfig;
pub use omoe::OmoeConfig;
pub use ple::PleConfig;
pub use ple_me::PleMeConfig;
pub use shared_bottom::{SharedBottom, SharedBottomConfig};
pub use single_task::{SingleTask, SingleTaskConfig};
pub use stem::{Stem, StemConfig};

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

pub use crate::size::NetworkSize;

use crate::embedding::Pooled;
use crate::error::{Result, require};
use crate::front::FrontConfig;
use crate::schema::Schema;

/// A network from pooled embeddings to logits: one a task, or as many as its [kind](crate::TaskKind) has outputs.
pub trait Model: Module + ModuleDisplay + Sync + 'static {
    /// # Shapes
    /// `x`: `G` groups of `[B, F * D]`; gives logits `[B, L]`, `L` the [outputs](Schema::outputs) of all tasks side by side: `T` where every
    /// label is 0 or 1.
    fn forward(&self, x: Pooled) -> Tensor<2>;

    /// Weight that each stream's gate gives every expert, layer by layer, for models that have gates. `[T, B, E]` a layer;
    /// `[T + 1, B, E]` with a gate for a shared stream, `[1, B, E]` with one gate for all tasks.
    fn gates(&self, _x: Pooled) -> Vec<Tensor<3>> {
        Vec::new()
    }

    /// What the model adds to the tasks' losses, given its `logits [B, L]`: a mean over the batch's rows. `[1]`
    fn penalty(&self, _logits: &Tensor<2>) -> Option<Tensor<1>> {
        None
    }

    /// What a training step asks for: the logits, and the [`penalty`](Self::penalty). A model whose penalty is of more than its logits
    /// has it here, from one forward.
    fn forward_penalized(&self, x: Pooled) -> (Tensor<2>, Option<Tensor<1>>) {
        let logits = self.forward(x);
        let penalty = self.penalty(&logits);
        (logits, penalty)
    }

    /// The first part of [`forward_penalized`](Self::forward_penalized): what stands before the model's own wiring, which reads other embeddings in
    /// the place of those of `x`, as many and as wide. Nothing by default.
    fn read(&self, x: Pooled) -> Pooled {
        x
    }

    /// The second part: of what [`read`](Self::read) gives.
    fn forward_read(&self, x: Pooled) -> (Tensor<2>, Option<Tensor<1>>) {
        self.forward_penalized(x)
    }
}

/// A model's configuration: what is written in an experiment's TOML and in a bundle's manifest.
pub trait ModelSpec: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What it builds.
    type Model: Model;

    /// Name in files and reports, kebab-case.
    fn name(&self) -> &'static str;

    /// Refuses sizes no model can have, and schemas that do not fit.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with the key, what stands there and what may;
    /// [`Error::Unfit`](crate::Error::Unfit) with the reason.
    fn check(&self, schema: &Schema) -> Result<()>;

    /// Width of every embedding group that a vocabulary row holds, in order.
    fn widths(&self, schema: &Schema) -> Vec<usize>;

    /// How large the network will be, told before it is built.
    fn size(&self, schema: &Schema) -> NetworkSize;

    /// Builds the network with weights drawn from `rng`.
    ///
    /// # Panics
    /// May, where [`check`](Self::check) refuses.
    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Self::Model;

    /// What stands before the model: attended histories, crosses and others; nothing by default. [`ModelConfig`] puts it there; another
    /// specification whose model has a [`Front`](crate::nn::Front) does so itself.
    fn front(&self) -> FrontConfig {
        FrontConfig::default()
    }

    /// What each linear map of a task's tower reads, in order: for gates of a domain on them. Empty where no towers are gated.
    fn tower_inputs(&self, _schema: &Schema) -> Vec<usize> {
        Vec::new()
    }

    /// Whose embedding each of [`widths`](Self::widths) is: a task's index, or `T` for a shared one. Empty where there are several
    /// that belong to nobody.
    fn embedding_groups(&self, schema: &Schema) -> Vec<usize> {
        if self.widths(schema).len() == 1 { vec![schema.tasks.len()] } else { Vec::new() }
    }

    /// Whose experts the last axis of [`Model::gates`] holds: a task's index, or `T` for shared ones. Empty where experts belong
    /// to nobody.
    fn gate_groups(&self, _schema: &Schema) -> Vec<usize> {
        Vec::new()
    }

    /// Whether every task is to be trained in a run of its own, and the results put side by side.
    fn trains_apart(&self) -> bool {
        false
    }

    /// Whether tasks may be scored with weights of different moments of a training. Not where a task's score is made of another's, as
    /// in ESMM: they agree only if they are of one moment.
    fn tasks_stand_apart(&self) -> bool {
        true
    }

    /// Whether the model's [penalty](Model::penalty) is a mean over rows, so that those of a batch's parts make up that of the batch. Not where it
    /// is of how rows vary together.
    fn penalty_is_of_rows(&self) -> bool {
        true
    }
}

/// Largest width, count or depth that is taken for meant.
const ABSURD: usize = 65_536;

/// `least..=ABSURD`, or an error that names the key.
pub(crate) fn check_size(key: &str, value: usize, least: usize) -> Result<()> {
    require(key, value, format!("{least} to {ABSURD}"), (least..=ABSURD).contains(&value))
}

/// Every width of a list, and at least `least` of them.
pub(crate) fn check_widths(key: &str, widths: &[usize], least: usize) -> Result<()> {
    let (layers, holds) = (widths.len(), (least..=64).contains(&widths.len()));
    require(key, format!("{layers} layers"), format!("{least} to 64 layers"), holds)?;
    widths.iter().try_for_each(|&width| check_size(key, width, 1))
}

/// The last of checked widths: `H`.
pub(crate) fn last(widths: &[usize]) -> usize {
    *widths.last().expect("checked to hold at least one width")
}
