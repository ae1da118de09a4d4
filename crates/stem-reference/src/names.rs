//! The reference implementation's names of models, sizes and embeddings, and ours.

use std::collections::BTreeMap;

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
