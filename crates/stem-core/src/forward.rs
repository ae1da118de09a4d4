//! From an encoded batch to a device, to embeddings, to probabilities: what trainer and predictor share.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation::sigmoid};

use crate::batch::Batch;
use crate::embedding::{EmbeddingTable, Pooled, SlotLayout};
use crate::models::Model;

/// Probabilities of a batch without labels needed: gather, pool, network, sigmoid. Trainer and predictor both score here.
///
/// # Shapes
/// Gives `B * T` probabilities, row-major.
pub fn score<M: Model>(network: &M, table: &EmbeddingTable, layout: &SlotLayout, batch: &Batch) -> Vec<f32> {
    score_slots(network, table, layout, &batch.ids, &batch.weights)
}

/// As [`score`], of `ids [B * S]` and `weights [B * S]`.
pub(crate) fn score_slots<M: Model>(
    network: &M,
    table: &EmbeddingTable,
    layout: &SlotLayout,
    ids: &[u32],
    weights: &[f32],
) -> Vec<f32> {
    if ids.is_empty() {
        return Vec::new();
    }
    let y = sigmoid(network.forward(pool_slots(table, layout, ids, weights))); // [B, T]
    y.into_data().try_into_vec().expect("probabilities are f32")
}

/// The embeddings of a batch's fields: what a network reads.
pub fn pool(table: &EmbeddingTable, layout: &SlotLayout, batch: &Batch) -> Pooled {
    pool_slots(table, layout, &batch.ids, &batch.weights)
}

fn pool_slots(table: &EmbeddingTable, layout: &SlotLayout, ids: &[u32], weights: &[f32]) -> Pooled {
    let rows = table.rows().tensor();
    let (index, weights) = upload(ids, weights, ids.len() / layout.slots(), &rows.device());
    layout.pool(rows.clone(), index, weights)
}

/// Ids and weights on a device: `index [B * S]`, `weights [B, S]`.
pub fn upload(ids: &[u32], weights: &[f32], rows: usize, device: &Device) -> (Tensor<1, Int>, Tensor<2>) {
    let weights = TensorData::new(weights.to_vec(), [rows, weights.len() / rows.max(1)]);
    (upload_index(ids, device), Tensor::from_data(weights, (device, DType::F32)))
}

/// Row numbers on a device. `[ids.len()]`
pub fn upload_index(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect(); // a checked schema has at most i32::MAX rows
    let len = ids.len();
    Tensor::from_data(TensorData::new(ids, [len]), (device, DType::I32))
}
