//! A mixture of experts that all tasks share: what OMoE, MMoE and MMoE-ME have in common.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::softmax};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Model, check_size, check_widths, last};
use crate::aftb::{self, AftbMask};
use crate::covariance::CovarianceConfig;
use crate::embedding::Pooled;
use crate::error::Result;
use crate::front::FrontConfig;
use crate::gate::Gates;
use crate::mlp::{HiddenConfig, MlpBank, MlpShape};
use crate::schema::Schema;
use crate::size::NetworkSize;
use crate::tower::Towers;

/// Sizes of a mixture; the defaults match the paper's experts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct MixtureSizes {
    /// `D`, width of an embedding.
    pub dim: usize,
    /// `E`, number of experts.
    pub expert_count: usize,
    /// Widths of every expert; the last is `H`.
    pub experts: Vec<usize>,
    /// Hidden widths of every gate.
    pub gate: Vec<usize>,
    /// Hidden widths of every tower.
    pub tower: Vec<usize>,
    /// What follows each hidden linear map.
    pub hidden: HiddenConfig,
    /// Whether gates weigh every number of what an expert gives by itself, and not the expert as a whole.
    pub elementwise_gates: bool,
    /// The loss that keeps experts from saying the same; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub covariance: Option<CovarianceConfig>,
    /// What stands before the model, by keys among these; nothing by default.
    #[serde(skip)]
    pub front: FrontConfig,
}

keys_with_front!(MixtureSizes);

impl Default for MixtureSizes {
    fn default() -> Self {
        Self {
            dim: 16,
            expert_count: 8,
            experts: vec![512, 512, 512],
            gate: vec![128, 64],
            tower: vec![128, 64],
            hidden: HiddenConfig::default(),
            elementwise_gates: false,
            covariance: None,
            front: FrontConfig::default(),
        }
    }
}

impl MixtureSizes {
    /// Refuses sizes of 0, or absurd ones.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the key.
    pub fn check(&self) -> Result<()> {
        check_size("dim", self.dim, 1)?;
        check_size("expert_count", self.expert_count, 1)?;
        check_widths("experts", &self.experts, 1)?;
        check_widths("gate", &self.gate, 0)?;
        check_widths("tower", &self.tower, 0)?;
        self.covariance.map_or(Ok(()), |covariance| covariance.check())?;
        self.hidden.check()
    }
}

/// Sizes of a mixture, and how it is wired.
pub(super) struct WiredMixture<'a> {
    pub(super) sizes: &'a MixtureSizes,
    /// Or one for all tasks.
    pub(super) gate_per_task: bool,
    /// Or one for all experts.
    pub(super) embedding_per_expert: bool,
}

impl WiredMixture<'_> {
    fn gates(&self, schema: &Schema) -> usize {
        if self.gate_per_task { schema.tasks.len() } else { 1 }
    }

    /// What a gate weighs: experts, or their numbers one by one.
    fn choices(&self) -> usize {
        let numbers = if self.sizes.elementwise_gates { last(&self.sizes.experts) } else { 1 };
        self.sizes.expert_count.saturating_mul(numbers)
    }

    /// Experts, gates over them, and a tower per task.
    fn shapes(&self, schema: &Schema) -> [MlpShape<'_>; 3] {
        let MixtureSizes { dim, expert_count, ref experts, ref gate, ref tower, ref hidden, .. } = *self.sizes;
        let input = schema.fields.len() * dim;
        [
            MlpShape { members: expert_count, input, widths: experts, output: None, hidden },
            MlpShape { members: self.gates(schema), input, widths: gate, output: Some(self.choices()), hidden },
            Towers::shape(&schema.tasks, last(experts), tower, hidden),
        ]
    }

    pub(super) fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.sizes.dim; if self.embedding_per_expert { self.sizes.expert_count } else { 1 }]
    }

    pub(super) fn tower_inputs(&self, schema: &Schema) -> Vec<usize> {
        let [_, _, towers] = self.shapes(schema);
        towers.inputs()
    }

    /// That of all banks, and for one row of a batch the softmax of the gates, what comes out of the mix (of numbers their products too),
    /// and experts about their mean.
    pub(super) fn size(&self, schema: &Schema) -> NetworkSize {
        let MixtureSizes { expert_count, ref experts, elementwise_gates, covariance, .. } = *self.sizes;
        let (weighed, hidden) = (self.choices() as u64, last(experts) as u64);
        let weighed = if elementwise_gates { weighed.saturating_mul(2) } else { weighed };
        let centred = if covariance.is_some() { (expert_count as u64).saturating_mul(hidden) } else { 0 };
        let activations =
            weighed.saturating_add(hidden).saturating_mul(self.gates(schema) as u64).saturating_add(centred);
        let between = NetworkSize { parameters: 0, activations };
        self.shapes(schema).iter().map(MlpShape::size).sum::<NetworkSize>() + between
    }

    pub(super) fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Mixture {
        let [experts, gates, towers] = self.shapes(schema);
        let net = Net {
            experts: experts.init(rng, device),
            gates: Gates::init(gates, rng, device),
            towers: Towers::init(towers, schema, rng, device),
            mask: AftbMask::open(self.gates(schema), self.sizes.expert_count),
            elementwise: self.sizes.elementwise_gates,
            covariance: self.sizes.covariance,
        };
        Mixture { net }
    }
}

/// Experts, gates that weigh them, and towers, on one embedding or on an embedding per expert.
#[derive(Module, Debug)]
pub struct Mixture {
    net: Net,
}

#[derive(Module, Debug)]
struct Net {
    experts: MlpBank,
    gates: Gates,
    towers: Towers,
    #[module(skip)]
    mask: AftbMask,
    elementwise: bool,
    #[module(skip)]
    covariance: Option<CovarianceConfig>,
}

impl Mixture {
    /// `z`, and what the experts read: `[T, B, E]` or, of numbers one by one, `[T, B, E * H]`, with one gate `[1, B, ..]`; and `[E, B, F * D]`,
    /// or `[1, B, F * D]`. Gates read the sum of all embeddings.
    fn logits(&self, x: &Pooled) -> (Tensor<3>, Tensor<3>) {
        let groups = x.groups();
        if groups == 1 {
            let x = x.group(0);
            return (self.net.gates.logits(x.clone()), x);
        }
        let [x, sum] = x.streams([(0..groups).map(|k| vec![k]).collect(), vec![(0..groups).collect()]]);
        (self.net.gates.logits(sum), x)
    }

    /// `g` of numbers one by one. `[T, B, E, H]`
    fn weights(&self, z: Tensor<3>) -> Tensor<4> {
        let ([gates, rows, choices], [_, experts]) = (z.dims(), self.net.mask.dims());
        softmax(z.reshape([gates, rows, experts, choices / experts]), 2)
    }

    /// The logits, and what the experts gave. `[B, L]`, `[E, B, H]`
    fn forward_with_experts(&self, x: &Pooled) -> (Tensor<2>, Tensor<3>) {
        let (z, e) = self.logits(x); // [T, B, E], [E, B, F * D]
        let h = self.net.experts.forward(e); // [E, B, H]
        let o = if self.net.elementwise {
            let by_row = h.clone().swap_dims(0, 1).unsqueeze_dim::<4>(0); // [1, B, E, H]
            (self.weights(z) * by_row).sum_dim(2).squeeze_dim::<3>(2)
        } else {
            aftb::gated(z, h.clone().into(), &self.net.mask)
        }; // [T, B, H]
        (self.net.towers.forward_gated(o, x.tower_gates()), h)
    }
}

impl Model for Mixture {
    /// `y_t = tower_t(sum_e g_t[e] h_e)`, or `tower_t(sum_e g_t[e] * h_e)` of numbers one by one
    fn forward(&self, x: Pooled) -> Tensor<2> {
        self.forward_with_experts(&x).0
    }

    /// Of numbers one by one the mean weight of each expert.
    fn gates(&self, x: Pooled) -> Vec<Tensor<3>> {
        let z = self.logits(&x).0;
        vec![if self.net.elementwise { self.weights(z).mean_dim(3).squeeze_dim::<3>(3) } else { softmax(z, 2) }]
    }

    fn forward_penalized(&self, x: Pooled) -> (Tensor<2>, Option<Tensor<1>>) {
        let (logits, h) = self.forward_with_experts(&x);
        (logits, self.net.covariance.map(|covariance| covariance.loss(h)))
    }
}
