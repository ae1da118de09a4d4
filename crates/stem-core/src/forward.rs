//! From an encoded batch to a device, to embeddings, to scores: what trainer and predictor share.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation::sigmoid};

use crate::batch::Batch;
use crate::embedding::{EmbeddingTable, Pooled, SlotLayout, TableRows, occurring};
use crate::fused;
use crate::models::Model;
use crate::schema::Schema;
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
    schema: &Schema,
    batch: &Batch,
) -> Vec<f32> {
    score_pooled(network, || pool(table, layout, batch), schema, (&batch.weights, batch.rows))
}

/// As [`score`], of the fields' embeddings of `rows` rows whose slots weigh `weights [B * S]`.
pub(crate) fn score_pooled<M: Model>(
    network: &M,
    pooled: impl FnOnce() -> Pooled,
    schema: &Schema,
    (weights, rows): (&[f32], usize),
) -> Vec<f32> {
    if rows == 0 {
        return Vec::new();
    }
    let logits = network.forward(pooled()); // [B, L]
    let floats = |tensor: Tensor<2>| -> Vec<f32> { tensor.into_data().try_into_vec().expect("logits are f32") };
    if schema.tasks.iter().all(|task| task.kind.is_binary()) {
        return floats(sigmoid(logits)); // [B, T]
    }
    let outputs = logits.dims()[1];
    let (durations, slots) = (schema.duration_slots(), weights.len() / rows);
    let (logits, mut scores) = (floats(logits), Vec::with_capacity(rows * schema.tasks.len()));
    for (mut row, weights) in logits.chunks_exact(outputs).zip(weights.chunks_exact(slots)) {
        for (task, slot) in schema.tasks.iter().zip(&durations) {
            let own = row.split_off(..task.kind.outputs()).expect("a model gives every task its outputs");
            scores.push(task.kind.score(own, slot.map_or(0.0, |slot| weights[slot])));
        }
    }
    scores
}

/// The embeddings of a batch's fields: what a network reads.
pub fn pool(table: &EmbeddingTable, layout: &SlotLayout, batch: &Batch) -> Pooled {
    let rows = table.rows().tensor();
    pool_rows(TableRows::Device(rows), layout, (&batch.ids, &batch.weights), &rows.device())
}

/// The same, of `ids [B * S]` and `weights [B * S]`, on the device of the network that reads it.
pub(crate) fn pool_rows(
    rows: TableRows<'_>,
    layout: &SlotLayout,
    (ids, weights): (&[u32], &[f32]),
    device: &Device,
) -> Pooled {
    let count = ids.len() / layout.slots();
    match rows {
        TableRows::File(table) if !fused::is_fused_on(device) => {
            let (rows, index) = occurring(table, ids, device);
            layout.pool(rows, index, upload_weights(weights, count, device))
        }
        rows => {
            let (index, weights) = upload(ids, weights, count, device);
            match rows {
                TableRows::Device(rows) => layout.pool(rows.clone(), index, weights),
                TableRows::File(table) => layout.pool_stored(table.clone(), index, weights),
            }
        }
    }
}

/// Ids and weights on a device: `index [B * S]`, `weights [B, S]`.
pub fn upload(ids: &[u32], weights: &[f32], rows: usize, device: &Device) -> (Tensor<1, Int>, Tensor<2>) {
    (upload_index(ids, device), upload_weights(weights, rows, device))
}

/// `[B, S]`
fn upload_weights(weights: &[f32], rows: usize, device: &Device) -> Tensor<2> {
    let weights = TensorData::new(weights.to_vec(), [rows, weights.len() / rows.max(1)]);
    Tensor::from_data(weights, (device, DType::F32))
}

/// Row numbers on a device. `[ids.len()]`
pub fn upload_index(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect(); // a checked schema has at most i32::MAX rows
    let len = ids.len();
    Tensor::from_data(TensorData::new(ids, [len]), (device, DType::I32))
}
