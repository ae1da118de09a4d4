//! Gates of a row's domain, and of who looks at what there, on the towers: what decides differs from page to page, and from user to user.
//!
//! ```text
//! h_{l+1} = f(W_l (g_l * h_l) + b_l)            l = 0, 1, ... over the maps of task t's tower, h_0 = o_t; * number by number
//! g_l     = 2 sigmoid(A_l relu(B_l [e_domain ; e_personal ; sg(x)] + c_l) + d_l)                  sg stops the gradient
//! ```
//!
//! Source: Chang et al., *PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior Information*, KDD 2023, its
//! PPNet. `x` are the embeddings that the task's gates read, all fields side by side: its own, or the shared ones where it has none, or the sum of all
//! where they belong to nobody. `e_domain` and `e_personal` are those of the domain and of the fields that are named beside it, before any gate.
//! The gate's path stops at `x` and reaches these.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::domain::{DomainConfig, RELU};
use crate::embedding::Pooled;
use crate::mlp::{MlpBank, MlpShape};
use crate::schema::Schema;
use crate::size::NetworkSize;

/// What a model's towers and embeddings are, to those that gate the towers.
#[derive(Debug, Clone)]
pub struct TowerPlan {
    /// What each linear map of a tower reads. `[L]`
    pub inputs: Vec<usize>,
    /// Of each task the embedding groups whose sum it goes by; one entry where all go by the same. `[T]`, or `[1]`
    pub streams: Vec<Vec<usize>>,
    /// `D`, the width of every group.
    pub dim: usize,
    /// `T`
    pub tasks: usize,
}

impl TowerPlan {
    /// Towers of a model whose groups of width `dim` are of `groups` ([`embedding_groups`](crate::models::ModelSpec::embedding_groups)), `count` of them.
    pub fn new(inputs: Vec<usize>, groups: &[usize], count: usize, dim: usize, tasks: usize) -> Self {
        let place = |owner: usize| groups.iter().position(|group| *group == owner);
        let of_task = |t: usize| place(t).or_else(|| place(tasks)).map_or_else(|| (0..count).collect(), |k| vec![k]);
        let mut streams: Vec<Vec<usize>> = (0..tasks).map(of_task).collect();
        if streams.windows(2).all(|two| two[0] == two[1]) {
            streams.truncate(1);
        }
        Self { inputs, streams, dim, tasks }
    }
}

impl DomainConfig {
    /// The fields whose embeddings the gates of towers read: the domain, and those that are named beside it.
    fn personal_slots(&self, schema: &Schema) -> Vec<Range<usize>> {
        let slots = schema.slot_ranges();
        let of =
            |name: &String| schema.fields.iter().position(|field| field.name == *name).expect("checked to be there");
        std::iter::once(&self.field).chain(&self.personal).map(|name| slots[of(name)].clone()).collect()
    }

    fn tower_gate<'a>(&self, widths: &'a [usize], output: usize, plan: &TowerPlan, schema: &Schema) -> MlpShape<'a> {
        let input = (1 + self.personal.len() + schema.fields.len()) * plan.dim;
        MlpShape { members: plan.tasks, input, widths, output: Some(output), hidden: &RELU }
    }

    /// What the gates of towers add to a network.
    pub(crate) fn size_of_towers(&self, schema: &Schema, plan: &TowerPlan) -> NetworkSize {
        let widths = [self.hidden];
        let gate = |&output: &usize| {
            // the sigmoid, and the product with what is gated
            let around = NetworkSize { parameters: 0, activations: (2 * output * plan.tasks) as u64 };
            self.tower_gate(&widths, output, plan, schema).size() + around
        };
        let read = self.tower_gate(&widths, 0, plan, schema).input * plan.streams.len();
        plan.inputs.iter().map(gate).sum::<NetworkSize>() + NetworkSize { parameters: 0, activations: read as u64 }
    }

    /// Draws the gates of towers.
    pub(crate) fn init_towers(
        &self,
        schema: &Schema,
        plan: &TowerPlan,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> TowerGates {
        let widths = [self.hidden];
        let gate = |&output: &usize| self.tower_gate(&widths, output, plan, schema).init(rng, device);
        TowerGates {
            tower_gates: plan.inputs.iter().map(gate).collect(),
            slots: self.personal_slots(schema),
            streams: plan.streams.clone(),
        }
    }
}

/// A gate for every linear map of every task's tower.
#[derive(Module, Debug)]
pub struct TowerGates {
    tower_gates: Vec<MlpBank>, // of map l [T, (1 + P + F) * D, hidden], [T, hidden, I_l]
    #[module(skip)]
    slots: Vec<Range<usize>>,
    #[module(skip)]
    streams: Vec<Vec<usize>>,
}

impl TowerGates {
    /// Of every map the logits of `g_l`: `[T, B, I_l]`. `x` is what the model reads.
    pub fn forward(&self, x: &Pooled) -> Vec<Tensor<3>> {
        let named = self.slots.iter().map(|slots| self.streams_of(x.slots(slots.clone()))); // [T, B, D] each, or [1, B, D]
        let [all] = x.streams([self.streams.clone()]); // [T, B, F * D], or [1, B, F * D]
        let input = Tensor::cat(named.chain([all.detach()]).collect(), 2);
        self.tower_gates.iter().map(|gate| gate.forward(input.clone())).collect()
    }

    /// `x [G, B, D]` as the tasks go by it. `[T, B, D]`, or `[1, B, D]`
    fn streams_of(&self, x: Tensor<3>) -> Tensor<3> {
        let group = |k: &usize| x.clone().slice_dim(0, *k..*k + 1);
        let stream = |groups: &Vec<usize>| groups.iter().map(group).reduce(|a, b| a + b).expect("a stream has a group");
        Tensor::cat(self.streams.iter().map(stream).collect(), 0)
    }
}
