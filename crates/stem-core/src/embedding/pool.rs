//! The embedding bag: field `f` of a row is `sum over its slots of weight * row(id)`.

use std::ops::Range;

use burn::tensor::{Int, Tensor};

use crate::schema::Schema;

/// Which slots make which field, and which columns of a table row make which group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotLayout {
    fields: Vec<Range<usize>>,
    widths: Vec<usize>,
}

impl SlotLayout {
    /// The layout of `schema`'s slots over rows of the groups `widths`.
    pub fn new(schema: &Schema, widths: &[usize]) -> Self {
        Self { fields: schema.slot_ranges(), widths: widths.to_vec() }
    }

    /// `S`
    pub fn slots(&self) -> usize {
        self.fields.last().map_or(0, |range| range.end)
    }

    /// Gathers, weights and sums.
    ///
    /// # Shapes
    /// `rows [U, W]` (the table, or a batch's distinct rows as a leaf), `index [B * S]` into it, `weights [B, S]`.
    pub fn pool(&self, rows: Tensor<2>, index: Tensor<1, Int>, weights: Tensor<2>) -> Pooled {
        let [batch, slots] = weights.dims();
        let [_, width] = rows.dims();
        let slot_rows = rows.select(0, index).reshape([batch, slots, width]); // [B, S, W]
        let weighted = slot_rows * weights.unsqueeze_dim(2); // [B, S, W]
        Pooled { fields: self.sum_slots(weighted), widths: self.widths.clone() }
    }

    /// `[B, S, W]` to `[B, F, W]`. Runs of one-slot fields are taken as they are.
    fn sum_slots(&self, slots: Tensor<3>) -> Tensor<3> {
        if self.fields.iter().all(|range| range.len() == 1) {
            return slots;
        }
        let mut parts = Vec::new();
        for run in self.fields.chunk_by(|a, b| a.len() == 1 && b.len() == 1) {
            let range = run[0].start..run[run.len() - 1].end;
            let part = slots.clone().slice_dim(1, range);
            parts.push(if run[0].len() == 1 { part } else { part.sum_dim(1) });
        }
        Tensor::cat(parts, 1)
    }
}

/// The fields' vectors of a batch, all groups side by side: what a model reads.
#[derive(Debug, Clone)]
pub struct Pooled {
    fields: Tensor<3>, // [B, F, W]
    widths: Vec<usize>,
}

impl Pooled {
    /// `G`
    pub fn groups(&self) -> usize {
        self.widths.len()
    }

    /// `x_k = concat_f table_f[id_f][k]`. `[1, B, F * D_k]`
    pub fn group(&self, k: usize) -> Tensor<3> {
        self.stack(k..k + 1)
    }

    /// Neighbouring groups of one width. `[G, B, F * D]`
    ///
    /// # Panics
    /// When the groups' widths differ, or there are none.
    pub fn stack(&self, groups: Range<usize>) -> Tensor<3> {
        let dim = self.widths[groups.start];
        assert!(
            self.widths[groups.clone()].iter().all(|&width| width == dim),
            "groups of different widths do not stack"
        );
        let start: usize = self.widths[..groups.start].iter().sum();
        let [batch, fields, _] = self.fields.dims();
        let count = groups.len();
        self.fields
            .clone()
            .slice_dim(2, start..start + count * dim)
            .reshape([batch, fields, count, dim])
            .permute([2, 0, 1, 3]) // [G, B, F, D]
            .reshape([count, batch, fields * dim])
    }
}
