//! Histories that are attended: what a row reads of a history depends on the candidate that is judged.
//!
//! ```text
//! v_f = sum_j w_j a_j k_j                       in the place of the plain bag sum_j w_j k_j of a history's field f
//! a_j = MLP([q ; k_j ; q - k_j ; q * k_j ; p_j])
//! a   = softmax over j of that MLP, and v_f = sum_j a_j k_j                       with `softmax`
//! ```
//!
//! With `gaps` the candidate judges `k_j + r_j` in the place of `k_j`, `r_j` the embedding of how long before the row value `j` was (in buckets that the
//! recipe makes of times): relative time in keys, as in Li et al., *TiSASRec*, WSDM 2020. What is summed is `k_j`. With a block its input is `k_j + r_j`, and
//! what comes of it is judged and summed.
//!
//! `k_j` is the embedding of the history's value `j`, `q` that of the candidate, which shares its vocabulary; `w_j` what the history's `pooling`
//! weighs a value with: 1 of a sum, which is the paper's, 1 / length of a mean, 0 of padding, which takes no part. `p_j` is learned for every
//! position and is there with `positions` alone. With `block` the values see each other first (block.rs), and `k_j` is what comes of it.
//!
//! Source: Zhou et al., *Deep Interest Network for Click-Through Rate Prediction*, KDD 2018 (arXiv 1706.06978). The reference implementation reads
//! `q - k` and `q * k` as here; weights are not normalised, as in the paper. The MLP ends at 1 before anything is learned, so that training starts
//! from the bag. Every embedding group attends on its own: in STEM a task weighs a history by what it knows of its values.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};
use stem_kernels::attend::Order;

use super::block::{Block, BlockConfig};
use crate::activation::Activation;
use crate::embedding::Pooled;
use crate::error::{Result, require};
use crate::fused;
use crate::mlp::{HiddenConfig, MlpBank, MlpShape};
use crate::models::check_widths;
use crate::schema::{FieldKind, Schema};
use crate::size::NetworkSize;

/// Which histories are attended, and how: `interest = { candidates = { watched = "video_id" } }` among a model's keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table like { candidates = { watched = \"video_id\" } }")]
pub struct InterestConfig {
    /// For every history, a sequence, the category that is judged by it and shares its vocabulary.
    pub candidates: BTreeMap<String, String>,
    /// Hidden widths of the MLP.
    #[serde(default = "hidden")]
    pub hidden: Vec<usize>,
    /// What follows each of them; not `dice`, whose statistics would count padding.
    #[serde(default)]
    pub activation: Activation,
    /// Whether weights are made to sum to 1.
    #[serde(default)]
    pub softmax: bool,
    /// Whether weights depend on where in the history a value stands.
    #[serde(default)]
    pub positions: Positions,
    /// For histories the sequence that tells how long before the row each of their values was: slot by slot as long, a vocabulary of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gaps: BTreeMap<String, String>,
    /// Transformer blocks in which the values see each other first; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<BlockConfig>,
}

/// From which end the values of a history are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// They are not: a history has no order.
    #[default]
    None,
    /// From the first value: of histories that are written newest first.
    FromFirst,
    /// From the last value: of histories that are written as they happened.
    FromLast,
}

fn hidden() -> Vec<usize> {
    vec![32, 16]
}

/// A field of a model's configuration, by name.
pub(super) fn named(key: &str, name: &str, schema: &Schema) -> Result<usize> {
    let place = schema.fields.iter().position(|field| field.name == name);
    let names = schema.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ");
    require(key, name, format!("the name of a field: {names}"), place.is_some())?;
    Ok(place.unwrap_or_default())
}

impl InterestConfig {
    /// These histories, each with its candidate.
    pub fn of<S: Into<String>>(candidates: impl IntoIterator<Item = (S, S)>) -> Self {
        Self {
            candidates: candidates.into_iter().map(|(history, candidate)| (history.into(), candidate.into())).collect(),
            hidden: hidden(),
            activation: Activation::default(),
            softmax: false,
            positions: Positions::default(),
            gaps: BTreeMap::new(),
            block: None,
        }
    }

    /// Refuses fields that are not there, cannot be attended, or share no vocabulary.
    pub(super) fn check(&self, schema: &Schema, dim: usize) -> Result<()> {
        let example = "a history and its candidate, as in { watched = \"video_id\" }";
        require("interest.candidates", "empty", example, !self.candidates.is_empty())?;
        for (history, candidate) in &self.candidates {
            let key = format!("interest.candidates.{history}");
            let of_history = &schema.fields[named("interest.candidates", history, schema)?];
            let sequence = matches!(of_history.kind, FieldKind::Sequence { .. });
            let expected = "the name of a sequence: only a list of values is attended";
            require("interest.candidates", history, expected, sequence)?;
            let of_candidate = &schema.fields[named(&key, candidate, schema)?];
            let expected = "the name of a category: one value is judged by the history";
            require(&key, candidate, expected, of_candidate.kind == FieldKind::Category)?;
            let shared = of_history.vocabulary == of_candidate.vocabulary;
            let vocabulary = &schema.vocabularies[of_history.vocabulary].name;
            let sharing = schema.fields.iter().filter(|field| field.kind == FieldKind::Category);
            let sharing: Vec<_> =
                sharing.filter(|field| field.vocabulary == of_history.vocabulary).map(|field| &*field.name).collect();
            let expected = match &sharing[..] {
                [] => format!(
                    "a category of the vocabulary '{vocabulary}', and there is none: give '{candidate}' `vocabulary = \"{vocabulary}\"` in the \
                     recipe"
                ),
                names => format!("a category of the vocabulary '{vocabulary}': {}", names.join(", ")),
            };
            require(&key, format!("{candidate}, which has another vocabulary"), expected, shared)?;
        }
        for (history, gaps) in &self.gaps {
            let key = format!("interest.gaps.{history}");
            let names = self.candidates.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let expected = format!("the name of a history that has a candidate: {names}");
            require("interest.gaps", history, expected, self.candidates.contains_key(history))?;
            let [of_history, of_gaps] = [named("interest.gaps", history, schema)?, named(&key, gaps, schema)?]
                .map(|place| &schema.fields[place]);
            let expected = format!(
                "a sequence whose `ago` in the recipe is of '{history}': then both have as many values in every row"
            );
            let is_beside = of_gaps.beside.as_ref() == Some(history);
            let [of_history, of_gaps] = [&of_history.kind, &of_gaps.kind];
            require(&key, gaps, expected, is_beside)?;
            let FieldKind::Sequence { max_len, keep, .. } = of_history else { continue }; // its candidate says so
            let alike = match of_gaps {
                FieldKind::Sequence { max_len: own, keep: own_keep, .. } => (own, own_keep) == (max_len, keep),
                _ => false,
            };
            let expected = format!("a sequence like '{history}': `max_len = {max_len}` and the same `keep`");
            require(&key, gaps, expected, alike)?;
        }
        check_widths("interest.hidden", &self.hidden, 1)?;
        self.block.map_or(Ok(()), |block| block.check(dim))?;
        let expected = "relu, prelu, gelu, tanh or swish: statistics of dice would count padding";
        require("interest.activation", "dice", expected, self.activation != Activation::Dice)
    }

    fn hidden_config(&self) -> HiddenConfig {
        HiddenConfig { activation: self.activation, ..HiddenConfig::default() }
    }

    fn mlp<'a>(&'a self, hidden: &'a HiddenConfig, groups: usize, dim: usize) -> MlpShape<'a> {
        let parts = if self.positions == Positions::None { 4 } else { 5 };
        MlpShape { members: groups, input: parts * dim, widths: &self.hidden, output: Some(1), hidden }
    }

    /// Where every history and its candidate are.
    fn places(&self, schema: &Schema) -> Vec<Place> {
        let slots = schema.slot_ranges();
        let of =
            |name: &String| schema.fields.iter().position(|field| field.name == *name).expect("checked to be there");
        let place = |(history, candidate)| {
            let field = of(history);
            let gaps = self.gaps.get(history).map(|gaps| slots[of(gaps)].clone());
            Place { field, history: slots[field].clone(), candidate: of(candidate), gaps }
        };
        self.candidates.iter().map(place).collect()
    }

    /// What `groups` groups of width `dim` add to a network.
    pub(super) fn size(&self, schema: &Schema, groups: usize, dim: usize) -> NetworkSize {
        let hidden = self.hidden_config();
        let mlp = self.mlp(&hidden, groups, dim);
        // The CPU, whose memory is counted, keeps nothing of what lies between these maps.
        let one_op = self.activation == Activation::Relu && self.hidden.len() <= 3;
        let between = if one_op { 0 } else { mlp.size().activations + ((mlp.input + 2 * dim) * groups) as u64 };
        let of_history = |place: Place| {
            let (length, count) = (place.history.len() as u64, (groups * dim) as u64);
            let positions = if self.positions == Positions::None { 0 } else { length.saturating_mul(count) };
            let gaps = if place.gaps.is_some() { 2 * count } else { 0 }; // r_j, k_j + r_j
            let around = count + gaps + 2 * groups as u64; // k_j or its gradient, z_j and a_j
            let blocks = self.block.map(|block| block.size(groups, place.history.len(), dim)).unwrap_or_default();
            blocks
                + NetworkSize {
                    parameters: mlp.size().parameters.saturating_add(positions),
                    activations: length.saturating_mul(between.saturating_add(around)),
                }
        };
        self.places(schema).into_iter().map(of_history).sum()
    }

    pub(super) fn init(
        &self,
        schema: &Schema,
        groups: usize,
        dim: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Interest {
        let hidden = self.hidden_config();
        let mut history = |place: Place| {
            let mut mlp = self.mlp(&hidden, groups, dim).init(rng, device);
            if let (Some(last), false) = (mlp.layers.last_mut(), self.softmax) {
                last.bias = Param::from_tensor(Tensor::ones([groups, 1, 1], device)); // the bag, before anything is learned
            }
            let positions = (self.positions != Positions::None).then(|| {
                let normal = Normal::new(0.0f32, 0.1).expect("0.1 is finite and not negative");
                let length = place.history.len();
                let values: Vec<f32> = normal.sample_iter(&mut *rng).take(groups * length * dim).collect();
                Param::from_data(TensorData::new(values, [groups, length, dim]), device)
            });
            let blocks = self.block.map(|block| block.init(groups, dim, rng, device)).unwrap_or_default();
            History { mlp, positions, blocks, place, softmax: self.softmax, order: self.positions }
        };
        Interest { histories: self.places(schema).into_iter().map(&mut history).collect() }
    }
}

/// Where a history and its candidate are.
#[derive(Debug, Clone)]
struct Place {
    /// The history's place among the fields.
    field: usize,
    /// Its slots. `L` of them
    history: Range<usize>,
    /// The candidate's place among the fields.
    candidate: usize,
    /// The slots of how long before the row its values were. `L` of them
    gaps: Option<Range<usize>>,
}

/// Attention over the histories of a row.
#[derive(Module, Debug)]
pub struct Interest {
    histories: Vec<History>,
}

#[derive(Module, Debug)]
struct History {
    mlp: MlpBank,                        // [G, 4 D or 5 D, ...] to [G, ..., 1]
    positions: Option<Param<Tensor<3>>>, // [G, L, D]
    blocks: Vec<Block>,
    #[module(skip)]
    place: Place,
    #[module(skip)]
    softmax: bool,
    #[module(skip)]
    order: Positions,
}

impl Interest {
    /// All groups of `x`, attended histories in the place of their bags. `[G, B, F * D]`
    pub fn forward(&self, x: &Pooled) -> Tensor<3> {
        let slots: Vec<_> = self.histories.iter().map(|history| history.place.history.clone()).collect();
        let bags = x.without(&slots).stack(0..x.groups()); // [G, B, F * D], 0 where a history was
        self.histories.iter().fold(bags, |bags, history| history.forward(x, bags))
    }
}

impl History {
    /// The fields' embeddings `bags [G, B, F * D]`, which hold the candidate's, with `v_f` in the history's place. `[G, B, F * D]`
    fn forward(&self, x: &Pooled, bags: Tensor<3>) -> Tensor<3> {
        let Place { field, history, candidate, gaps } = &self.place;
        let values = || {
            let k = x.slots(history.clone()); // [G, B, L * D]
            let judged = match gaps {
                Some(gaps) => k.clone() + of_gaps(x, gaps.clone()), // k_j + r_j
                None => k.clone(),
            };
            (k, judged)
        };
        let w = || x.slot_weights(history.clone()); // [B, L]
        let seen = (!self.blocks.is_empty()).then(|| self.seen(values().1, &w())); // [G, B, L * D]
        if let Some(attended) = self.attended(x, &bags, seen.as_ref()) {
            return attended;
        }
        let (k, judged) = seen.map_or_else(values, |seen| (seen.clone(), seen));
        let [groups, rows, width] = bags.dims();
        let dim = k.dims()[2] / history.len();
        let q = bags.clone().slice_dim(2, candidate * dim..(candidate + 1) * dim); // [G, B, D]
        let a = self.weights(self.scores(&q, &judged, &w()), w().unsqueeze()); // [G, B, L]
        let v = sums(a, k); // [G, B, D]
        let around = [0..field * dim, (field + 1) * dim..width].map(|columns| bags.clone().slice_dim(2, columns));
        let [before, behind] = around;
        let mut parts = vec![before, v, behind];
        parts.retain(|part| part.dims() != [groups, rows, 0]);
        Tensor::cat(parts, 2)
    }

    /// The same as one op: of the table's rows, or of values that have seen each other.
    fn attended(&self, x: &Pooled, bags: &Tensor<3>, seen: Option<&Tensor<3>>) -> Option<Tensor<3>> {
        let Place { field, history, candidate, gaps } = self.place.clone();
        let how = fused::Attended {
            candidate,
            history: field,
            slots: history,
            gaps: gaps.filter(|_| seen.is_none()),
            softmax: self.softmax,
            order: match self.order {
                Positions::FromLast => Order::FromLast,
                Positions::None | Positions::FromFirst => Order::FromFirst,
            },
        };
        let positions = self.positions.as_ref().map(Param::val);
        let scores = fused::Scores { maps: &self.mlp.rectified()?, positions: positions.as_ref() };
        x.attended(bags, seen, scores, &how)
    }

    /// The values after they have seen each other. `[G, B, L * D]`
    fn seen(&self, k: Tensor<3>, w: &Tensor<2>) -> Tensor<3> {
        if self.blocks.is_empty() {
            return k;
        }
        let ([groups, rows, width], [_, length]) = (k.dims(), w.dims());
        let there = w.clone().not_equal_elem(0.0).float(); // [B, L]
        let x = k.reshape([groups, rows * length, width / length]);
        let x = match &self.positions {
            Some(positions) => x + self.of_positions(positions.val(), w),
            None => x,
        };
        self.blocks.iter().fold(x, |x, block| block.forward(x, &there)).reshape([groups, rows, width])
    }

    /// `MLP([q ; k_j ; q - k_j ; q * k_j ; p_j])`. `[G, B, L]`
    fn scores(&self, q: &Tensor<3>, k: &Tensor<3>, w: &Tensor<2>) -> Tensor<3> {
        let ([groups, rows, dim], [_, length]) = (q.dims(), w.dims());
        let k = k.clone().reshape([groups, rows * length, dim]); // [G, B * L, D]
        let q: Tensor<3> = q.clone().reshape([groups, rows, 1, dim]).repeat_dim(2, length).reshape(k.dims());
        let mut parts = vec![q.clone(), k.clone(), q.clone() - k.clone(), q * k];
        parts.extend(self.positions.as_ref().map(|p| self.of_positions(p.val(), w)));
        self.mlp.forward(Tensor::cat(parts, 2)).reshape([groups, rows, length])
    }

    /// `w_j a_j`, or the softmax over the slots that are no padding. `z [G, B, L]`, `w [1, B, L]`; gives `[G, B, L]`
    fn weights(&self, z: Tensor<3>, w: Tensor<3>) -> Tensor<3> {
        if !self.softmax {
            return z * w;
        }
        let there = w.not_equal_elem(0.0).float(); // [1, B, L]
        let z = z + (there.clone() - 1.0) * 1e9;
        let odds = (z.clone() - z.detach().max_dim(2)).exp() * there; // [G, B, L]
        odds.clone() / odds.sum_dim(2).clamp_min(f32::MIN_POSITIVE)
    }

    /// `p_j` of every slot. `positions [G, L, D]`, `w [B, L]`; gives `[G, B * L, D]`
    fn of_positions(&self, positions: Tensor<3>, w: &Tensor<2>) -> Tensor<3> {
        let ([rows, length], device) = (w.dims(), positions.device());
        let from_first = Tensor::<1, Int>::arange(0..length as i64, &device).reshape([1, length]); // [1, L]
        let index = match self.order {
            Positions::FromLast => {
                let there = w.clone().not_equal_elem(0.0).int().sum_dim(1); // [B, 1]
                (there - 1 - from_first).clamp_min(0) // [B, L]; of padding 0, which takes no part
            }
            Positions::None | Positions::FromFirst => from_first.repeat_dim(0, rows),
        };
        positions.select(1, index.reshape([rows * length]))
    }
}

/// `r_j` of every slot, 0 where there is none. `[G, B, L * D]`
fn of_gaps(x: &Pooled, gaps: Range<usize>) -> Tensor<3> {
    let r = x.slots(gaps.clone()); // [G, B, L * D]
    let there = x.slot_weights(gaps).not_equal_elem(0.0).float(); // [B, L]
    let ([groups, rows, width], [_, length]) = (r.dims(), there.dims());
    let r = r.reshape([groups, rows, length, width / length.max(1)]) * there.reshape([1, rows, length, 1]);
    r.reshape([groups, rows, width])
}

/// `v = sum_j a_j k_j`. `a [G, B, L]`, `k [G, B, L * D]`; gives `[G, B, D]`
fn sums(a: Tensor<3>, k: Tensor<3>) -> Tensor<3> {
    let ([groups, rows, length], [_, _, width]) = (a.dims(), k.dims());
    let dim = width / length;
    let weighted = k.reshape([groups, rows, length, dim]) * a.reshape([groups, rows, length, 1]); // [G, B, L, D]
    weighted.sum_dim(2).reshape([groups, rows, dim])
}
