//! Gates of a row's domain on its embeddings: one model for several pages, tabs or countries.
//!
//! ```text
//! x = x_0 * 2 sigmoid(W_2 relu(W_1 [e_domain ; sg(x_0)] + b_1) + b_2)          sg stops the gradient; * number by number
//! ```
//!
//! Source: Chang et al., *PEPNet: Parameter and Embedding Personalized Network for Infusing with Personalized Prior Information*, KDD 2023,
//! its EPNet. `e_domain` is the embedding of the domain's field in the same group: in STEM every task gates what it knows by what it knows of
//! the domain. The gate's path stops at the embeddings that it scales and reaches the domain's.
//! A domain that training did not see has the row of the unseen, and so that row's gate. A training that never reads that row makes it the mean of the
//! rows of the domains that there are.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::interest::named;
use crate::error::{Result, require};
use crate::fused;
use crate::mlp::{HiddenConfig, MlpBank, MlpShape, scaled};
use crate::models::check_size;
use crate::schema::{FieldKind, Schema};
use crate::size::NetworkSize;

/// Which field is a row's domain, and what its gates stand on: `domain = { field = "tab", hidden = 32 }` among a model's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { field = \"tab\" }")]
pub struct DomainConfig {
    /// The name of a category.
    pub field: String,
    /// Width of the gate between `W_1` and `W_2`.
    #[serde(default = "hidden")]
    pub hidden: usize,
    /// Whether the embeddings of all fields are gated (EPNet).
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub embeddings: bool,
    /// Whether the towers are gated ([PPNet](super::TowerGates)).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub towers: bool,
    /// Categories whose embeddings the gates of towers read beside the domain's: who looks at what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub personal: Vec<String>,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_yes(is: &bool) -> bool {
    *is
}

fn hidden() -> usize {
    32
}

impl DomainConfig {
    /// The embeddings gated by this field, with a gate of 32 hidden numbers.
    pub fn of(field: impl Into<String>) -> Self {
        Self { field: field.into(), hidden: hidden(), embeddings: true, towers: false, personal: Vec::new() }
    }

    /// Refuses a field that is not there or is no category, and gates that stand on nothing.
    pub(super) fn check(&self, schema: &Schema) -> Result<()> {
        let is_category = |field: usize| schema.fields[field].kind == FieldKind::Category;
        let field = named("domain.field", &self.field, schema)?;
        let expected = "a category: a domain is one of a few values";
        require("domain.field", &self.field, expected, is_category(field))?;
        let expected = "true where `towers` is false: else leave `domain` out";
        require("domain.embeddings", false, expected, self.embeddings || self.towers)?;
        let expected = "no fields where `towers` is false: the gates of towers read them";
        require("domain.personal", self.personal.join(", "), expected, self.towers || self.personal.is_empty())?;
        for (place, name) in self.personal.iter().enumerate() {
            let field = named("domain.personal", name, schema)?;
            let expected = "the name of a category, such as the user or the item";
            require("domain.personal", name, expected, is_category(field))?;
            let once = *name != self.field && !self.personal[..place].contains(name);
            require("domain.personal", name, "every field once, the domain itself not among them", once)?;
        }
        check_size("domain.hidden", self.hidden, 1)
    }

    fn gate<'a>(&self, widths: &'a [usize], groups: usize, dim: usize, input: usize) -> MlpShape<'a> {
        MlpShape { members: groups, input: dim + input, widths, output: Some(input), hidden: &RELU }
    }

    /// What `groups` groups of `input` numbers, fields of width `dim`, add to a network.
    pub(super) fn size(&self, groups: usize, dim: usize, input: usize) -> NetworkSize {
        if !self.embeddings {
            return NetworkSize::default();
        }
        // what the gate reads, the sigmoid, and what comes out
        let activations = (groups as u64).saturating_mul((3 * input + dim) as u64);
        self.gate(&[self.hidden], groups, dim, input).size() + NetworkSize { parameters: 0, activations }
    }

    /// Draws the gates of embeddings; `None` where there are none.
    pub(super) fn init(
        &self,
        schema: &Schema,
        groups: usize,
        dim: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Option<Domain> {
        if !self.embeddings {
            return None;
        }
        let field = schema.fields.iter().position(|field| field.name == self.field).expect("checked to be there");
        let input = schema.fields.len() * dim;
        let gate = self.gate(&[self.hidden], groups, dim, input).init(rng, device);
        Some(Domain { gate, columns: [field * dim, dim] })
    }
}

/// A gate has nothing but a ReLU between its maps.
pub(super) const RELU: HiddenConfig =
    HiddenConfig { activation: crate::activation::Activation::Relu, batch_norm: false, dropout: 0.0 };

/// A gate for every embedding group.
#[derive(Module, Debug)]
pub struct Domain {
    gate: MlpBank, // [G, D + F * D, hidden], [G, hidden, F * D]
    /// The first column of the domain's embedding, and how many it has.
    #[module(skip)]
    columns: [usize; 2],
}

impl Domain {
    /// # Shapes
    /// `x_0 [G, B, F * D]`; gives as many.
    pub fn forward(&self, x0: Tensor<3>) -> Tensor<3> {
        let [first, dim] = self.columns;
        let columns = first..first + dim;
        let maps = [&self.gate.layers[0], &self.gate.layers[1]].map(|map| [map.weight.val(), map.bias.val()]);
        fused::domain_gate(&x0, &maps, columns.clone()).unwrap_or_else(|| {
            let domain = x0.clone().slice_dim(2, columns); // [G, B, D]
            let input = Tensor::cat(vec![domain, x0.clone().detach()], 2); // [G, B, D + F * D]
            scaled(x0, self.gate.forward(input))
        })
    }
}
