//! The reference implementation's names and layouts, and ours.
//!
//! There every expert, gate and tower is a module of its own with PyTorch's `[out, in]` weights; here they are banks
//! `[members, in, out]`. This module says which of its modules make up which of our banks, so that a state dict, or gradients of
//! the same names, can be read as ours.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use stem_core::{ModelConfig, Schema};

/// A tensor of the reference: shape and values, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTensor {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Values.
    pub values: Vec<f32>,
}

/// Our bank, by the path of its parameters, and the reference's MLPs that are its members, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// For instance `layers.0.experts.bank`.
    pub ours: String,
    /// For instance `stem_layers.0.specific_experts.0.0.mlp`.
    pub members: Vec<String>,
}

/// The banks of a model.
pub fn banks(config: &ModelConfig, tasks: usize) -> Vec<Bank> {
    let towers = Bank { ours: "towers.bank".into(), members: (0..tasks).map(|t| format!("tower.{t}.mlp")).collect() };
    match config {
        ModelConfig::Stem(config) => {
            let layer = |l: usize| {
                let prefix = format!("stem_layers.{l}");
                let specific = (0..tasks).flat_map(|t| {
                    let prefix = &prefix;
                    (0..config.specific_experts).map(move |i| format!("{prefix}.specific_experts.{t}.{i}.mlp"))
                });
                let shared = (0..config.shared_experts).map(|i| format!("{prefix}.shared_experts.{i}.mlp"));
                let gates = tasks + usize::from(l + 1 < config.layers);
                [
                    Bank { ours: format!("layers.{l}.experts.bank"), members: specific.chain(shared).collect() },
                    Bank {
                        ours: format!("layers.{l}.gates.bank"),
                        members: (0..gates).map(|t| format!("{prefix}.gate.{t}.mlp")).collect(),
                    },
                ]
            };
            (0..config.layers).flat_map(layer).chain([towers]).collect()
        }
        ModelConfig::SharedBottom(_) => {
            vec![Bank { ours: "bottom".into(), members: vec!["bottom.mlp".into()] }, towers]
        }
        ModelConfig::SingleTask(_) => {
            vec![
                Bank { ours: "bottoms".into(), members: (0..tasks).map(|t| format!("bottom.{t}.mlp")).collect() },
                towers,
            ]
        }
    }
}

/// The reference's name of a vocabulary's embedding.
pub fn embedding_name(field: &str) -> String {
    format!("embedding_layer.embedding_layer.embedding_layers.{field}.weight")
}

/// Reads network parameters (or gradients) of the reference as ours, by our names. Linear layers inside an MLP are numbered as
/// `nn.Sequential` numbers them; activations and dropout between them only leave gaps.
///
/// # Errors
/// A missing tensor, or members of one bank whose shapes differ.
pub fn network_values(
    banks: &[Bank],
    tensors: &BTreeMap<String, RawTensor>,
) -> Result<BTreeMap<String, TensorData>, String> {
    let mut values = BTreeMap::new();
    for bank in banks {
        let first = bank.members.first().ok_or_else(|| format!("bank '{}' has no members", bank.ours))?;
        let mut places: Vec<usize> = tensors
            .keys()
            .filter_map(|name| name.strip_prefix(&format!("{first}."))?.strip_suffix(".weight")?.parse().ok())
            .collect();
        places.sort_unstable();
        if places.is_empty() {
            return Err(format!("no tensor '{first}.*.weight'"));
        }
        for (layer, place) in places.into_iter().enumerate() {
            let find = |member: &String, part: &str| {
                let name = format!("{member}.{place}.{part}");
                tensors.get(&name).map(|tensor| (name.clone(), tensor)).ok_or(format!("tensor '{name}' is missing"))
            };
            let (mut weight, mut bias) = (Vec::new(), Vec::new());
            let (_, one) = find(first, "weight")?;
            let [output, input] = one.shape[..] else {
                return Err(format!("tensor '{first}.{place}.weight' has shape {:?}, expected [out, in]", one.shape));
            };
            for member in &bank.members {
                let (name, w) = find(member, "weight")?;
                if w.shape != one.shape {
                    return Err(format!("tensor '{name}' has shape {:?}, its neighbours {:?}", w.shape, one.shape));
                }
                weight.extend((0..input).flat_map(|i| (0..output).map(move |o| w.values[o * input + i])));
                let (name, b) = find(member, "bias")?;
                if b.shape != [output] {
                    return Err(format!("tensor '{name}' has shape {:?}, expected [{output}]", b.shape));
                }
                bias.extend_from_slice(&b.values);
            }
            let members = bank.members.len();
            let name = format!("{}.layers.{layer}", bank.ours);
            values.insert(format!("{name}.weight"), TensorData::new(weight, [members, input, output]));
            values.insert(format!("{name}.bias"), TensorData::new(bias, [members, 1, output]));
        }
    }
    Ok(values)
}

/// Reads the embeddings of all fields, one below the other, as our one table. `[V, W]`
///
/// # Errors
/// A missing or misshapen tensor.
pub fn table_values(schema: &Schema, width: usize, tensors: &BTreeMap<String, RawTensor>) -> Result<Vec<f32>, String> {
    let mut values = Vec::with_capacity(schema.rows() * width);
    for vocabulary in &schema.vocabularies {
        let name = embedding_name(&vocabulary.name);
        let tensor = tensors.get(&name).ok_or_else(|| format!("tensor '{name}' is missing"))?;
        if tensor.shape != [vocabulary.rows, width] {
            return Err(format!(
                "tensor '{name}' has shape {:?}, expected [{}, {width}]",
                tensor.shape, vocabulary.rows
            ));
        }
        values.extend_from_slice(&tensor.values);
    }
    Ok(values)
}
