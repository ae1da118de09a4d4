//! The reference implementation's names and layouts, and ours.
//!
//! There every expert, gate and tower is a module of its own with PyTorch's `[out, in]` weights; here they are banks
//! `[members, in, out]`. This module says which of its modules make up which of our banks, so that a state dict, or gradients of
//! the same names, can be read as ours.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use stem_core::reference::{Bank, BankKind};
use stem_core::{ModelName, Schema};

/// A tensor of the reference: shape and values, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTensor {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Values.
    pub values: Vec<f32>,
}

/// Keys of the reference's configuration that say sizes, and ours.
pub const SIZE_KEYS: &[(&str, &str)] = &[
    ("embedding_dim", "dim"),
    ("num_layers", "layers"),
    ("num_experts", "expert_count"),
    ("num_specific_experts", "specific_experts"),
    ("num_shared_experts", "shared_experts"),
    ("expert_hidden_units", "experts"),
    ("bottom_hidden_units", "bottom"),
    ("gate_hidden_units", "gate"),
    ("tower_hidden_units", "tower"),
];

/// Our name of a model of the reference: `SharedBottom`, `MMoE`, `PLE_ME` ...
pub fn model_name(theirs: &str) -> Option<ModelName> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    ModelName::ALL.iter().copied().find(|ours| plain(ours.as_str()) == plain(theirs))
}

/// The reference's name of a vocabulary's embedding.
pub fn embedding_name(field: &str) -> String {
    format!("embedding_layer.embedding_layer.embedding_layers.{field}.weight")
}

/// Reads network parameters (or gradients) of the reference as ours, by our names. What stands inside an MLP is numbered as
/// `nn.Sequential` numbers it: a linear layer, then normalisation and activation where they hold tensors; those that hold none,
/// and dropout, only leave gaps.
///
/// # Errors
/// A missing tensor, or members of one bank whose shapes differ.
pub fn network_values(
    banks: &[Bank],
    tensors: &BTreeMap<String, RawTensor>,
) -> Result<BTreeMap<String, TensorData>, String> {
    let mut values = BTreeMap::new();
    for bank in banks {
        for (ours, part) in parts(bank, tensors)? {
            values.insert(format!("{}.{ours}", bank.ours), stacked(bank, &part, tensors)?);
        }
    }
    Ok(values)
}

/// What the first member of a bank holds: our name below the bank, and theirs below the member.
fn parts(bank: &Bank, tensors: &BTreeMap<String, RawTensor>) -> Result<Vec<(String, String)>, String> {
    let first = bank.members.first().ok_or_else(|| format!("bank '{}' has no members", bank.ours))?;
    let same = |name: &str| (name.to_string(), name.to_string());
    if bank.kind == BankKind::Linear {
        return Ok(vec![same("weight"), same("bias")]);
    }
    let below = format!("{first}.");
    let mut places: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for name in tensors.keys().filter_map(|name| name.strip_prefix(&below)) {
        if let Some((place, part)) = name.split_once('.').and_then(|(p, part)| Some((p.parse().ok()?, part))) {
            places.entry(place).or_default().push(part);
        }
    }
    let (mut parts, mut layers) = (Vec::new(), 0usize);
    for (place, names) in places {
        let is_linear = tensors.get(&format!("{below}{place}.weight")).is_some_and(|tensor| tensor.shape.len() == 2);
        layers += usize::from(is_linear);
        let layer = layers.checked_sub(1).ok_or_else(|| format!("'{first}' does not begin with a linear layer"))?;
        let is_norm = names.contains(&"running_mean");
        for part in names {
            let ours = match part {
                "weight" | "bias" if is_linear => format!("layers.{layer}.{part}"),
                "weight" if is_norm => format!("hidden.{layer}.norm.affine.gamma"),
                "bias" if is_norm => format!("hidden.{layer}.norm.affine.beta"),
                "running_mean" => format!("hidden.{layer}.norm.mean"),
                "running_var" => format!("hidden.{layer}.norm.variance"),
                "weight" | "alpha" => format!("hidden.{layer}.activation.slope"), // PReLU, Dice
                "bn.running_mean" => format!("hidden.{layer}.activation.norm.mean"),
                "bn.running_var" => format!("hidden.{layer}.activation.norm.variance"),
                _ => return Err(format!("tensor '{below}{place}.{part}' belongs to no layer that is known here")),
            };
            parts.push((ours, format!("{place}.{part}")));
        }
    }
    if parts.is_empty() { Err(format!("no tensor '{first}.*.weight'")) } else { Ok(parts) }
}

/// The same part of every member, one after the other: `[out, in]` becomes `[members, in, out]`, `[out]` becomes
/// `[members, 1, out]`.
fn stacked(bank: &Bank, part: &str, tensors: &BTreeMap<String, RawTensor>) -> Result<TensorData, String> {
    let (mut values, mut shape): (Vec<f32>, Option<&[usize]>) = (Vec::new(), None);
    for member in &bank.members {
        let name = format!("{member}.{part}");
        let tensor = tensors.get(&name).ok_or_else(|| format!("tensor '{name}' is missing"))?;
        if shape.is_some_and(|shape| shape != tensor.shape) {
            return Err(format!("tensor '{name}' has shape {:?}, its neighbours {shape:?}", tensor.shape));
        }
        shape = Some(&tensor.shape);
        match tensor.shape[..] {
            [_] => values.extend_from_slice(&tensor.values),
            [output, input] => {
                values.extend((0..input).flat_map(|i| (0..output).map(move |o| tensor.values[o * input + i])));
            }
            _ => return Err(format!("tensor '{name}' has shape {:?}, expected [out] or [out, in]", tensor.shape)),
        }
    }
    let members = bank.members.len();
    let shape = match shape {
        Some(&[output, input]) => [members, input, output],
        _ => [members, 1, values.len() / members],
    };
    Ok(TensorData::new(values, shape))
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
