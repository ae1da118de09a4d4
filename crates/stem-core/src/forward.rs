//! From an encoded batch to a device, to embeddings, to scores: what trainer and predictor share.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation::sigmoid};

use crate::batch::Batch;
use crate::embedding::{EmbeddingTable, Pooled, SlotLayout};
use crate::models::Model;
use crate::schema::Task;
#[cfg(doc)]
use crate::schema::TaskKind;

/// Scores of a batch without labels needed: gather, pool, network, and of each task's outputs what they [stand for](TaskKind::score): a
/// probability where the label is 0 or 1. Trainer and predictor both score here.
///
/// # Shapes
/// Gives `B * T` scores, row-major.
pub fn score<M: Model>(
    network: &M,
    table: &EmbeddingTable,
    layout: &SlotLayout,
    tasks: &[Task],
    batch: &Batch,
) -> Vec<f32> {
    score_slots(network, table, layout, tasks, (&batch.ids, &batch.weights))
}

/// As [`score`], of `ids [B * S]` and `weights [B * S]`.
pub(crate) fn score_slots<M: Model>(
    network: &M,
    table: &EmbeddingTable,
    layout: &SlotLayout,
    tasks: &[Task],
    (ids, weights): (&[u32], &[f32]),
) -> Vec<f32> {
    if ids.is_empty() {
        return Vec::new();
    }
    let logits = network.forward(pool_slots(table, layout, ids, weights)); // [B, L]
    let floats = |tensor: Tensor<2>| -> Vec<f32> { tensor.into_data().try_into_vec().expect("logits are f32") };
    if tasks.iter().all(|task| task.kind.is_binary()) {
        return floats(sigmoid(logits)); // [B, T]
    }
    let outputs = logits.dims()[1];
    let (logits, mut scores) = (floats(logits), Vec::with_capacity(ids.len() / layout.slots() * tasks.len()));
    for mut row in logits.chunks_exact(outputs) {
        for task in tasks {
            let own = row.split_off(..task.kind.outputs()).expect("a model gives every task its outputs");
            scores.push(task.kind.score(own));
        }
    }
    scores
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
