//! Layers of task experts and shared experts under towers: what STEM, PLE and PLE-ME have in common.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{check_size, check_widths, last};
use crate::error::{Result, require};
use crate::experts::Streams;
use crate::front::FrontConfig;
use crate::layer::{Layer, LayerShape, Wiring};
use crate::mlp::{HiddenConfig, MlpShape};
use crate::own_residual::OwnResidual;
use crate::schema::Schema;
use crate::size::NetworkSize;
use crate::tower::Towers;

/// Sizes of a layered network; the defaults are the STEM paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct LayeredSizes {
    /// `D`, width of an embedding.
    pub dim: usize,
    /// Layers, 1 or more.
    pub layers: usize,
    /// Experts per task and layer.
    pub specific_experts: usize,
    /// Shared experts per layer.
    pub shared_experts: usize,
    /// Widths of every expert; the last is `H`.
    pub experts: Vec<usize>,
    /// Hidden widths of every gate.
    pub gate: Vec<usize>,
    /// Hidden widths of every tower.
    pub tower: Vec<usize>,
    /// What follows each hidden linear map.
    pub hidden: HiddenConfig,
    /// What is added of a task's own experts to its mix, past the gates.
    pub own_residual: OwnResidual,
    /// What stands before the model, by keys among these; nothing by default.
    #[serde(skip)]
    pub front: FrontConfig,
}

keys_with_front!(LayeredSizes);

impl Default for LayeredSizes {
    fn default() -> Self {
        Self {
            dim: 16,
            layers: 1,
            specific_experts: 1,
            shared_experts: 8,
            experts: vec![512, 512, 512],
            gate: vec![128, 64],
            tower: vec![128, 64],
            hidden: HiddenConfig::default(),
            own_residual: OwnResidual::None,
            front: FrontConfig::default(),
        }
    }
}

/// What the first layer reads; the layers after it read streams of width `H`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstInput {
    /// Width of each task's stream.
    pub tasks: usize,
    /// Width of the shared stream.
    pub shared: Option<usize>,
}

impl LayeredSizes {
    /// Refuses sizes of 0, absurd ones, and layers without an expert.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the key.
    pub fn check(&self) -> Result<()> {
        check_size("dim", self.dim, 1)?;
        check_size("layers", self.layers, 1)?;
        check_size("specific_experts", self.specific_experts, 0)?;
        check_size("shared_experts", self.shared_experts, 0)?;
        let experts = self.specific_experts + self.shared_experts;
        require("specific_experts and shared_experts", "0 and 0", "at least one expert", experts > 0)?;
        check_widths("experts", &self.experts, 1)?;
        check_widths("gate", &self.gate, 0)?;
        check_widths("tower", &self.tower, 0)?;
        let none = "`\"none\"` where specific_experts is 0: there are no own experts to add";
        let adds = self.own_residual != OwnResidual::None;
        require("own_residual", "set", none, !adds || self.specific_experts > 0)?;
        self.hidden.check()
    }

    /// Where the shared stream reads the shared experts alone, a layer that is followed needs one.
    pub(crate) fn check_shared_stream(&self) -> Result<()> {
        let expected = format!("1 or more with {} layers: the shared stream between layers reads them", self.layers);
        require("shared_experts", 0, expected, self.layers == 1 || self.shared_experts > 0)
    }

    /// The shape of layer `l`, wired the same as all.
    pub(crate) fn layer(&self, l: usize, first: FirstInput, wiring: Wiring, schema: &Schema) -> LayerShape<'_> {
        let hidden = last(&self.experts);
        LayerShape {
            tasks: schema.tasks.len(),
            specific: self.specific_experts,
            shared: self.shared_experts,
            input: if l == 0 { first.tasks } else { hidden },
            shared_input: first.shared.map(|width| if l == 0 { width } else { hidden }),
            expert: &self.experts,
            gate: &self.gate,
            hidden: &self.hidden,
            followed: l + 1 < self.layers,
            wiring,
            groups: &[],
            auxiliary: &[],
        }
    }

    pub(crate) fn towers(&self, schema: &Schema) -> MlpShape<'_> {
        Towers::shape(&schema.tasks, last(&self.experts), &self.tower, &self.hidden)
    }

    pub(crate) fn size<'a>(&'a self, layers: impl Iterator<Item = LayerShape<'a>>, schema: &Schema) -> NetworkSize {
        layers.map(|layer| layer.size()).sum::<NetworkSize>() + self.towers(schema).size()
    }

    pub(crate) fn init<'a>(
        &'a self,
        layers: impl Iterator<Item = LayerShape<'a>>,
        schema: &Schema,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Layered {
        Layered {
            layers: layers.map(|layer| layer.init(rng, device)).collect(),
            towers: Towers::init(self.towers(schema), schema, rng, device),
        }
    }

    /// `specific_experts` of each task, then the shared ones.
    pub(crate) fn gate_groups(&self, schema: &Schema) -> Vec<usize> {
        let tasks = schema.tasks.len();
        let own = (0..tasks).flat_map(|t| std::iter::repeat_n(t, self.specific_experts));
        own.chain(std::iter::repeat_n(tasks, self.shared_experts)).collect()
    }
}

/// Layers of experts and gates, then a tower per task.
#[derive(Module, Debug)]
pub struct Layered {
    layers: Vec<Layer>,
    towers: Towers,
}

impl Layered {
    /// Logits `[B, L]`; `tower_gates` as of [`Towers::forward_gated`].
    pub fn forward(&self, x: Streams, tower_gates: Option<&[Tensor<3>]>) -> Tensor<2> {
        let o = self.layers.iter().fold(x, |x, layer| layer.forward(&x));
        self.towers.forward_gated(o.tasks, tower_gates)
    }

    /// Weight of every expert, layer by layer. `[T, B, E]`, or `[T + 1, B, E]` where another layer follows.
    pub fn gates(&self, mut x: Streams) -> Vec<Tensor<3>> {
        let mut gates = Vec::new();
        for (l, layer) in self.layers.iter().enumerate() {
            if l > 0 {
                x = self.layers[l - 1].forward(&x);
            }
            gates.push(layer.gate(&x));
        }
        gates
    }
}
