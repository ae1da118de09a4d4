//! The models. They differ only in how experts are wired: a model is a [`Model`] (a Burn module from pooled embeddings to
//! logits) and a [`ModelSpec`] (its configuration). Trainer, bundle and predictor know these two traits alone.

mod shared_bottom;
mod single_task;
mod stem;

pub use shared_bottom::{SharedBottom, SharedBottomConfig};
pub use single_task::{SingleTask, SingleTaskConfig};
pub use stem::{Stem, StemConfig};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

use crate::embedding::Pooled;
use crate::error::{Error, Result};
use crate::schema::Schema;

/// A network from pooled embeddings to one logit per task.
pub trait Model: Module + Sync + 'static {
    /// # Shapes
    /// `x`: `G` groups of `[B, F * D]`; gives logits `[B, T]`.
    fn forward(&self, x: Pooled) -> Tensor<2>;

    /// Mean gate weight per layer, stream and expert over a batch, for models that have gates. `[[T, E]; layers]`
    fn gate_means(&self, _x: Pooled) -> Vec<Tensor<2>> {
        Vec::new()
    }
}

/// A model's configuration: what is written in an experiment's TOML and in a bundle's manifest.
pub trait ModelSpec: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What it builds.
    type Model: Model;

    /// Name in files and reports, kebab-case.
    fn name(&self) -> &'static str;

    /// Refuses sizes no model can have.
    ///
    /// # Errors
    /// [`Error::Config`] with the key, what stands there and what may.
    fn check(&self, schema: &Schema) -> Result<()>;

    /// Width of every embedding group that a vocabulary row holds, in order.
    fn widths(&self, schema: &Schema) -> Vec<usize>;

    /// How large the network will be, told before it is built.
    fn size(&self, schema: &Schema) -> NetworkSize;

    /// Builds the network with weights drawn from `rng`.
    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Self::Model;
}

/// Numbers that a network holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NetworkSize {
    /// Weights and biases.
    pub parameters: u64,
    /// Outputs of all layers, for one row of a batch.
    pub activations: u64,
}

impl NetworkSize {
    /// `members` MLPs side by side.
    pub fn mlps(members: usize, input: usize, widths: &[usize]) -> Self {
        let inputs = std::iter::once(&input).chain(widths);
        let (members, weights) = (members as u64, |(&i, &o): (&usize, &usize)| (i as u64 + 1) * o as u64);
        Self {
            parameters: members * inputs.zip(widths).map(weights).sum::<u64>(),
            activations: members * widths.iter().map(|&width| width as u64).sum::<u64>(),
        }
    }

    /// Towers with hidden widths `widths`.
    pub fn towers(tasks: usize, input: usize, widths: &[usize]) -> Self {
        Self::mlps(tasks, input, &[widths, &[1]].concat())
    }
}

impl std::ops::Add for NetworkSize {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { parameters: self.parameters + other.parameters, activations: self.activations + other.activations }
    }
}

/// The models of this crate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// Task and shared embeddings, AFTB gating.
    Stem(StemConfig),
    /// One embedding, one bottom, a tower per task.
    SharedBottom(SharedBottomConfig),
    /// A model of its own for every task.
    SingleTask(SingleTaskConfig),
}

/// What [`ModelConfig`] builds.
#[derive(Module, Debug)]
#[allow(missing_docs)] // one variant per model, documented there
pub enum AnyModel {
    Stem(Stem),
    SharedBottom(SharedBottom),
    SingleTask(SingleTask),
}

impl Model for AnyModel {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        match self {
            AnyModel::Stem(model) => model.forward(x),
            AnyModel::SharedBottom(model) => model.forward(x),
            AnyModel::SingleTask(model) => model.forward(x),
        }
    }

    fn gate_means(&self, x: Pooled) -> Vec<Tensor<2>> {
        match self {
            AnyModel::Stem(model) => model.gate_means(x),
            AnyModel::SharedBottom(model) => model.gate_means(x),
            AnyModel::SingleTask(model) => model.gate_means(x),
        }
    }
}

/// Calls a method of whichever configuration it is.
macro_rules! each {
    ($config:expr, $inner:ident => $call:expr) => {
        match $config {
            ModelConfig::Stem($inner) => $call,
            ModelConfig::SharedBottom($inner) => $call,
            ModelConfig::SingleTask($inner) => $call,
        }
    };
}

impl ModelSpec for ModelConfig {
    type Model = AnyModel;

    fn name(&self) -> &'static str {
        each!(self, config => config.name())
    }
    fn check(&self, schema: &Schema) -> Result<()> {
        each!(self, config => config.check(schema))
    }
    fn widths(&self, schema: &Schema) -> Vec<usize> {
        each!(self, config => config.widths(schema))
    }
    fn size(&self, schema: &Schema) -> NetworkSize {
        each!(self, config => config.size(schema))
    }
    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> AnyModel {
        match self {
            ModelConfig::Stem(config) => AnyModel::Stem(config.init(schema, rng, device)),
            ModelConfig::SharedBottom(config) => AnyModel::SharedBottom(config.init(schema, rng, device)),
            ModelConfig::SingleTask(config) => AnyModel::SingleTask(config.init(schema, rng, device)),
        }
    }
}

/// Largest width, count or depth that is taken for meant.
const ABSURD: usize = 65_536;

/// `least..=ABSURD`, or an error that names the key.
pub(crate) fn check_size(key: &str, value: usize, least: usize) -> Result<()> {
    if (least..=ABSURD).contains(&value) {
        return Ok(());
    }
    Err(Error::Config { key: key.into(), found: value.to_string(), expected: format!("{least} to {ABSURD}") })
}

/// Every width of a list, and at least `least` of them.
pub(crate) fn check_widths(key: &str, widths: &[usize], least: usize) -> Result<()> {
    if widths.len() < least || widths.len() > 64 {
        return Err(Error::Config {
            key: key.into(),
            found: format!("{} layers", widths.len()),
            expected: format!("{least} to 64 layers"),
        });
    }
    widths.iter().try_for_each(|&width| check_size(key, width, 1))
}

/// `0 <= rate < 1`.
pub(crate) fn check_dropout(rate: f64) -> Result<()> {
    if (0.0..1.0).contains(&rate) {
        return Ok(());
    }
    Err(Error::Config { key: "dropout".into(), found: rate.to_string(), expected: "0 or more, and less than 1".into() })
}
