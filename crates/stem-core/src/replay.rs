//! A predictor's forward without tensors, where it is a list of kernels' calls: found by [watching](crate::fused) one, believed once it gives the
//! same bits.

use burn::tensor::{Device, Tensor};

use crate::embedding::{ScoringTable, SlotLayout, TableRows};
use crate::forward::pool_rows;
use crate::fused::{self, Replay};
use crate::models::Model;
use crate::schema::{Schema, Task};

/// Rows of the forward that is watched, and of the other one that has to come out the same.
pub(crate) const ROWS: [usize; 2] = [2, 3];

/// The calls that `network`'s forward is, over rows of a table in a file on flex. `None` of a forward that holds other operations, and on other
/// devices.
pub(crate) fn watched<M: Model>(
    network: &M,
    table: &ScoringTable,
    layout: &SlotLayout,
    schema: &Schema,
    device: &Device,
) -> Option<Replay> {
    let TableRows::File(rows) = table.rows() else { return None };
    let forward = |request: &Request| network.forward(pool_rows(table.rows(), layout, request.slots(), device)); // [B, L]
    let [few, more] = ROWS.map(|rows| Request::of(schema, rows));
    let (logits, replay) = fused::watch(few.rows, few.slots(), || forward(&few));
    let replay = replay?;
    let gives = |request: &Request, logits: Tensor<2>| {
        let logits: Vec<f32> = logits.into_data().try_into_vec().expect("logits are f32");
        replay.run(rows, request.rows, request.slots(), |y| {
            let outputs = Outputs { y, rows: request.rows, tasks: schema.tasks.len() };
            outputs.side_by_side(schema).is_some_and(|found| {
                found.len() == logits.len() && found.iter().zip(&logits).all(|(a, b)| a.to_bits() == b.to_bits())
            })
        })
    };
    (gives(&few, logits) && gives(&more, forward(&more))).then_some(replay)
}

/// What the last bank of a network gave. `y [T, B, O]`
#[derive(Clone, Copy)]
pub(crate) struct Outputs<'a> {
    pub(crate) y: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) tasks: usize,
}

impl<'a> Outputs<'a> {
    /// Those of a row and task. `[O]`
    pub(crate) fn of(self, row: usize, task: usize) -> &'a [f32] {
        let width = self.y.len() / (self.rows * self.tasks);
        &self.y[(task * self.rows + row) * width..][..width]
    }

    /// Those of all tasks, row by row, as a model's logits are; `None` where there are not as many. `[B, L]`
    fn side_by_side(self, schema: &Schema) -> Option<Vec<f32>> {
        let of_task = |row: usize, (t, task): (usize, &Task)| self.of(row, t).get(..task.kind.outputs());
        let of_row = |row: usize| schema.tasks.iter().enumerate().map(move |task| of_task(row, task));
        let all: Option<Vec<&[f32]>> = (0..self.rows).flat_map(of_row).collect();
        all.map(|all| all.concat())
    }
}

/// Encoded rows that differ from each other in every slot, as far as vocabularies go.
struct Request {
    rows: usize,
    /// `[B * S]`
    ids: Vec<u32>,
    /// `[B * S]`
    weights: Vec<f32>,
}

impl Request {
    fn of(schema: &Schema, rows: usize) -> Self {
        let offsets = schema.offsets();
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for row in 0..rows {
            for (field, slots) in schema.fields.iter().zip(schema.slot_ranges()) {
                for slot in slots {
                    let place = row * schema.slots() + slot;
                    let key = place * 7919 % schema.vocabularies[field.vocabulary].rows.max(1);
                    ids.push(offsets[field.vocabulary] + key as u32);
                    weights.push(0.25 + (place * 31 % 64) as f32 / 64.0);
                }
            }
        }
        Self { rows, ids, weights }
    }

    fn slots(&self) -> (&[u32], &[f32]) {
        (&self.ids, &self.weights)
    }
}
