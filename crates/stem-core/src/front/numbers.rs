//! Numbers as soft buckets beside the scaled value: what a number says need not grow with it.
//!
//! ```text
//! v_f = x e_f + sum_h p_h m_h                          x the number as it is learned, (value - mean) / std; e_f the field's row
//! p   = softmax((W a + alpha a) / tau),   a = LeakyReLU(x w + b)
//! ```
//!
//! Source: Guo et al., *An Embedding Learning Framework for Numerical Features in CTR Prediction*, KDD 2021 (arXiv 2012.08986), AutoDis, whose `v_f`
//! is the sum alone and whose `a` has no `b`: with it a bucket may lie anywhere, as numbers here are standardised and not between 0 and 1.
//! `m_h` are the embeddings of `H` buckets of the field, in every embedding group on its own. A null reads as the mean does.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData, activation::leaky_relu, activation::softmax};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

use super::interest::named;
use crate::embedding::Pooled;
use crate::error::{Result, require};
use crate::mlp::LinearBank;
use crate::models::check_size;
use crate::schema::{FieldKind, Schema};
use crate::size::NetworkSize;

/// Soft buckets of numbers: `numbers = { buckets = 16 }` among a model's keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table like { buckets = 16 }")]
pub struct NumbersConfig {
    /// `H`, buckets of every number.
    pub buckets: usize,
    /// How much of `a` passes by `W`.
    pub alpha: f32,
    /// `tau`, above 0: the smaller, the harder the buckets.
    pub temperature: f32,
    /// The numbers that have buckets; all where none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

impl Default for NumbersConfig {
    fn default() -> Self {
        Self { buckets: 16, alpha: 0.1, temperature: 1.0, fields: Vec::new() }
    }
}

/// Slope of LeakyReLU below 0.
const SLOPE: f64 = 0.01;
/// Deviation that embeddings of buckets are drawn with: that of a table's rows.
const STD: f32 = 0.01;

impl NumbersConfig {
    /// Refuses fields that are no numbers, schemas without a number, and absurd sizes.
    pub(super) fn check(&self, schema: &Schema) -> Result<()> {
        for (place, name) in self.fields.iter().enumerate() {
            let field = named("numbers.fields", name, schema)?;
            let is_number = matches!(schema.fields[field].kind, FieldKind::Number { .. });
            require("numbers.fields", name, "the name of a number", is_number)?;
            require("numbers.fields", name, "every field once", !self.fields[..place].contains(name))?;
        }
        let expected = "a field of kind number in the recipe, or no `numbers`";
        require("numbers", "set", expected, !self.places(schema).is_empty())?;
        check_size("numbers.buckets", self.buckets, 2)?;
        require("numbers.alpha", self.alpha, "a finite number", self.alpha.is_finite())?;
        let holds = self.temperature.is_finite() && self.temperature > 0.0;
        require("numbers.temperature", self.temperature, "a number above 0", holds)
    }

    /// Places of the numbers among the fields, in their order.
    fn places(&self, schema: &Schema) -> Vec<usize> {
        let is_meant = |name: &String| self.fields.is_empty() || self.fields.contains(name);
        let fields = schema.fields.iter().enumerate();
        let numbers =
            fields.filter(|(_, field)| matches!(field.kind, FieldKind::Number { .. }) && is_meant(&field.name));
        numbers.map(|(place, _)| place).collect()
    }

    /// What `groups` groups of fields of width `dim` add to a network.
    pub(super) fn size(&self, schema: &Schema, groups: usize, dim: usize) -> NetworkSize {
        let (banks, buckets) = ((groups * self.places(schema).len()) as u64, self.buckets as u64);
        let maps = 2 * buckets + (buckets + 1) * buckets + buckets * dim as u64;
        let outputs = 5 * buckets + dim as u64; // x w + b, a, W a, what is scaled, p; the sum
        let summed = (groups * schema.fields.len() * dim) as u64;
        NetworkSize {
            parameters: banks.saturating_mul(maps),
            activations: banks.saturating_mul(outputs).saturating_add(2 * summed),
        }
    }

    pub(super) fn init(
        &self,
        schema: &Schema,
        groups: usize,
        dim: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Numbers {
        let (places, slots) = (self.places(schema), schema.slot_ranges());
        let banks = groups * places.len();
        let first = LinearBank::init(banks, 1, self.buckets, rng, device);
        let second = LinearBank::init(banks, self.buckets, self.buckets, rng, device);
        let normal = Normal::new(0.0f32, STD).expect("a positive constant");
        let values: Vec<f32> = normal.sample_iter(&mut *rng).take(banks * self.buckets * dim).collect();
        let buckets = Param::from_data(TensorData::new(values, [banks, self.buckets, dim]), device);
        Numbers {
            first,
            second,
            buckets,
            slots: places.iter().map(|&place| slots[place].start).collect(),
            places,
            alpha: self.alpha,
            temperature: self.temperature,
        }
    }
}

/// Soft buckets of `N` numbers in every embedding group.
#[derive(Module, Debug)]
pub struct Numbers {
    first: LinearBank,         // w, b: [G * N, 1, H]
    second: LinearBank,        // W: [G * N, H, H]; its bias moves the softmax's input
    buckets: Param<Tensor<3>>, // m: [G * N, H, D]
    #[module(skip)]
    slots: Vec<usize>,
    #[module(skip)]
    places: Vec<usize>,
    #[module(skip)]
    alpha: f32,
    #[module(skip)]
    temperature: f32,
}

impl Numbers {
    /// `x_0` with the buckets' sums beside the scaled values of its numbers, which `x` tells.
    ///
    /// # Shapes
    /// `x_0 [G, B, F * D]`; gives as many.
    pub fn forward(&self, x0: Tensor<3>, x: &Pooled) -> Tensor<3> {
        let [groups, rows, width] = x0.dims();
        let numbers = self.slots.len();
        let values = self.slots.iter().map(|&slot| x.slot_weights(slot..slot + 1).unsqueeze()); // [1, B, 1] each
        let values: Tensor<3> = Tensor::cat(values.collect(), 0).repeat_dim(0, groups); // [G * N, B, 1]
        let a = leaky_relu(self.first.forward(values), SLOPE); // [G * N, B, H]
        let z = self.second.forward(a.clone()) + a * f64::from(self.alpha);
        let p = softmax(z / f64::from(self.temperature), 2); // [G * N, B, H]
        let sums = p.matmul(self.buckets.val()); // [G * N, B, D]
        let [_, _, dim] = sums.dims();
        let sums = sums.reshape([groups, numbers, rows, dim]);
        let (device, mut parts, mut from) = (x0.device(), Vec::new(), 0);
        for (n, place) in self.places.iter().enumerate() {
            parts.push(Tensor::zeros([groups, rows, place * dim - from], &device));
            parts.push(sums.clone().slice_dim(1, n..n + 1).reshape([groups, rows, dim]));
            from = (place + 1) * dim;
        }
        parts.push(Tensor::zeros([groups, rows, width - from], &device));
        parts.retain(|part: &Tensor<3>| part.dims()[2] > 0);
        x0 + Tensor::cat(parts, 2)
    }
}
