//! From an encoded batch to a device, to embeddings, to scores: what trainer and predictor share.

use std::mem::replace;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::batch::Batch;
use crate::embedding::{EmbeddingTable, Pooled, SlotLayout, TableRows, occurring};
use crate::fused;
use crate::models::Model;
#[cfg(doc)]
use crate::schema::TaskKind;
use crate::schema::{Schema, Task};

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
    let width = logits.dims()[1];
    let logits: Vec<f32> = logits.into_data().try_into_vec().expect("logits are f32");
    let starts: Vec<usize> =
        schema.tasks.iter().scan(0, |next, task| Some(replace(next, *next + task.kind.outputs()))).collect();
    let mut scores = Vec::with_capacity(rows * schema.tasks.len());
    let of = |row: usize, task: usize| &logits[row * width + starts[task]..];
    push_scores(&schema.tasks, &schema.duration_slots(), (weights, rows), of, &mut scores);
    scores
}

/// Adds what the outputs of a network [stand for](TaskKind::score): of every row the scores of all tasks. `outputs` gives those of a row and task,
/// and may give more behind them; `durations [T]` are the slots that tell how long a row lasts, where a task asks for that.
pub(crate) fn push_scores<'o>(
    tasks: &[Task],
    durations: &[Option<usize>],
    (weights, rows): (&[f32], usize),
    outputs: impl Fn(usize, usize) -> &'o [f32],
    scores: &mut Vec<f32>,
) {
    let (slots, all_binary) = (weights.len() / rows.max(1), tasks.iter().all(|task| task.kind.is_binary()));
    for row in 0..rows {
        for (t, (task, slot)) in tasks.iter().zip(durations).enumerate() {
            scores.push(match all_binary {
                true => probability(outputs(row, t)[0]),
                false => {
                    let duration = slot.map_or(0.0, |slot| weights[row * slots + slot]);
                    task.kind.score(&outputs(row, t)[..task.kind.outputs()], duration)
                }
            });
        }
    }
}

/// `1 / (1 + exp(-z))`, without an infinity on the way.
fn probability(z: f32) -> f32 {
    if z >= 0.0 {
        return 1.0 / (1.0 + (-z).exp());
    }
    let odds = z.exp();
    odds / (1.0 + odds)
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
