//! The embedding bag: field `f` of a row is `sum over its slots of weight * row(id)`.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Int, Tensor};
use stem_kernels::bag::{Layout, Streams};

use super::DistinctRows;
use crate::fused::{self, Plan};
use crate::schema::Schema;

/// Which slots make which field, and which columns of a table row make which group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotLayout {
    slots: Arc<Layout>,
    widths: Vec<usize>,
}

impl SlotLayout {
    /// The layout of `schema`'s slots over rows of the groups `widths`.
    pub fn new(schema: &Schema, widths: &[usize]) -> Self {
        let width = widths.iter().sum();
        Self { slots: Arc::new(Layout::new(&schema.slot_ranges(), width)), widths: widths.to_vec() }
    }

    /// `S`
    pub fn slots(&self) -> usize {
        self.slots.slots()
    }

    /// What a model reads: gathered, weighted and summed as it asks for it.
    ///
    /// # Shapes
    /// `rows [U, W]` (the table, or a batch's distinct rows as a leaf), `index [B * S]` into it, `weights [B, S]`.
    pub fn pool(&self, rows: Tensor<2>, index: Tensor<1, Int>, weights: Tensor<2>) -> Pooled {
        Pooled { rows, index, weights, layout: self.clone(), distinct: None }
    }
}

/// The fields' vectors of a batch: what a model reads, group by group.
#[derive(Debug, Clone)]
pub struct Pooled {
    rows: Tensor<2>,       // [U, W]
    index: Tensor<1, Int>, // [B * S]
    weights: Tensor<2>,    // [B, S]
    layout: SlotLayout,
    distinct: Option<Arc<DistinctRows>>,
}

impl Pooled {
    /// Tells where each of the rows stands in the batch, which the CPU's backward reads: without it gradients take a longer way.
    #[must_use]
    pub fn with_distinct(self, distinct: Arc<DistinctRows>) -> Self {
        Self { distinct: Some(distinct), ..self }
    }

    /// `G`
    pub fn groups(&self) -> usize {
        self.layout.widths.len()
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
        self.streams(groups.map(|k| vec![k]).collect())
    }

    /// What STEM reads where all groups have one width, taken from the table at once: `x_0 ... x_{T-1} [T, B, F * D]`,
    /// `x_S [1, B, F * D]` and `x_t + x_S [T, B, F * D]`.
    ///
    /// # Panics
    /// When the groups' widths differ, or there are none.
    pub fn tasks_shared_and_sums(&self, tasks: Range<usize>, shared: usize) -> [Tensor<3>; 3] {
        let own = tasks.clone().map(|k| vec![k]).collect();
        let sums = tasks.map(|k| vec![k, shared]).collect();
        let plans = [own, vec![vec![shared]], sums].map(|streams| self.plan(streams));
        match plans.iter().all(|plan| fused::bag_fits(&self.rows, &self.index, &self.weights, plan)) {
            true => fused::bags(self.rows.clone(), self.index.clone(), self.weights.clone(), plans),
            false => plans.map(|plan| self.plain_streams(&plan.streams)),
        }
    }

    /// Sums of groups of one width. `[K, B, F * D]`
    fn streams(&self, streams: Vec<Vec<usize>>) -> Tensor<3> {
        let plan = self.plan(streams);
        match fused::bag_fits(&self.rows, &self.index, &self.weights, &plan) {
            true => fused::bag(self.rows.clone(), self.index.clone(), self.weights.clone(), plan),
            false => self.plain_streams(&plan.streams),
        }
    }

    /// Streams by the numbers of their groups.
    fn plan(&self, mut streams: Vec<Vec<usize>>) -> Plan {
        let widths = &self.layout.widths;
        let dim = widths[streams[0][0]];
        for k in streams.iter_mut().flatten() {
            assert!(widths[*k] == dim, "groups of different widths do not stack");
            *k = widths[..*k].iter().sum(); // from the group's number to its first column
        }
        Plan::new(self.layout.slots.clone(), Streams::new(streams, dim), self.distinct.clone())
    }

    /// The same as plain operations: columns, then rows, then weights, then the sum over each field's slots.
    pub(crate) fn plain_streams(&self, streams: &Streams) -> Tensor<3> {
        let (starts, dim) = (streams.groups(), streams.dim());
        let columns = |&start: &usize| self.rows.clone().slice_dim(1, start..start + dim); // [U, D]
        let stream =
            |groups: &Vec<usize>| groups.iter().map(columns).reduce(|a, b| a + b).expect("a stream has a group");
        let rows = Tensor::cat(starts.iter().map(stream).collect(), 1); // [U, K * D]
        let ([batch, slots], count) = (self.weights.dims(), starts.len());
        let slot_rows = rows.select(0, self.index.clone()).reshape([batch, slots, count * dim]); // [B, S, K * D]
        let weighted = slot_rows * self.weights.clone().unsqueeze_dim(2); // [B, S, K * D]
        let fields = self.sum_slots(weighted); // [B, F, K * D]
        let [_, field_count, _] = fields.dims();
        fields
            .reshape([batch, field_count, count, dim])
            .permute([2, 0, 1, 3]) // [K, B, F, D]
            .reshape([count, batch, field_count * dim])
    }

    /// `[B, S, W]` to `[B, F, W]`. Runs of one-slot fields are taken as they are.
    fn sum_slots(&self, slots: Tensor<3>) -> Tensor<3> {
        let fields = self.layout.slots.ranges();
        if fields.iter().all(|range| range.len() == 1) {
            return slots;
        }
        let mut parts = Vec::new();
        for run in fields.chunk_by(|a, b| a.len() == 1 && b.len() == 1) {
            let range = run[0].start..run[run.len() - 1].end;
            let part = slots.clone().slice_dim(1, range);
            parts.push(if run[0].len() == 1 { part } else { part.sum_dim(1) });
        }
        Tensor::cat(parts, 1)
    }
}
