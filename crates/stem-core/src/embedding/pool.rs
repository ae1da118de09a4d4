//! The embedding bag: field `f` of a row is `sum over its slots of weight * row(id)`.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use stem_kernels::bag::{BagLayout, ColumnGroups};

use super::{DistinctRows, StoredTable, upload_rows};
use crate::forward::upload_index;
use crate::fused::{self, Attended, HistoryValues, Scores, Slots};
use crate::schema::Schema;

/// Which slots make which field, and which columns of a table row make which group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotLayout {
    slots: Arc<BagLayout>,
    widths: Arc<[usize]>,
}

impl SlotLayout {
    /// The layout of `schema`'s slots over rows of the groups `widths`.
    pub fn new(schema: &Schema, widths: &[usize]) -> Self {
        let width = widths.iter().sum();
        Self { slots: Arc::new(BagLayout::new(&schema.slot_ranges(), width)), widths: widths.into() }
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
        self.pool_rows(Rows::Tensor(rows, index), weights)
    }

    /// The same of rows that are gathered already, one for each slot: what a device differentiates whose gather has a slow backward.
    ///
    /// # Shapes
    /// `rows [B * S, W]`, `weights [B, S]`.
    pub fn pool_slots(&self, rows: Tensor<2>, weights: Tensor<2>) -> Pooled {
        self.pool_rows(Rows::OfSlots(rows), weights)
    }

    /// As [`pool`](Self::pool), of rows that are read in a file.
    pub(crate) fn pool_stored(&self, rows: Arc<StoredTable>, index: Tensor<1, Int>, weights: Tensor<2>) -> Pooled {
        self.pool_rows(Rows::Stored(rows, index), weights)
    }

    fn pool_rows(&self, rows: Rows, weights: Tensor<2>) -> Pooled {
        Pooled { rows, weights, layout: self.clone(), distinct: None, read_as: None, tower_gates: None }
    }
}

/// The fields' vectors of a batch: what a model reads, group by group.
#[derive(Debug, Clone)]
pub struct Pooled {
    rows: Rows,
    weights: Tensor<2>, // [B, S]
    layout: SlotLayout,
    distinct: Option<Arc<DistinctRows>>,
    read_as: Option<Tensor<3>>,          // [G, B, F * D]
    tower_gates: Option<Vec<Tensor<3>>>, // [T, B, I_l] each
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one a forward
enum Rows {
    /// `[U, W]`, and which of them each slot names. `[B * S]`
    Tensor(Tensor<2>, Tensor<1, Int>),
    /// The table of a model that scores, in its file, and the slots' rows there. `[B * S]`
    Stored(Arc<StoredTable>, Tensor<1, Int>),
    /// The row of every slot. `[B * S, W]`
    OfSlots(Tensor<2>),
}

impl Pooled {
    /// Tells where each of the rows stands in the batch, which the CPU's backward reads: without it gradients take a longer way.
    #[must_use]
    pub fn with_distinct(self, distinct: Arc<DistinctRows>) -> Self {
        Self { distinct: Some(distinct), ..self }
    }

    /// The same batch, of which a model reads `x` in the place of its embeddings. All groups have one width.
    ///
    /// # Shapes
    /// `x [G, B, F * D]`
    #[must_use]
    pub fn read_as(self, x: Tensor<3>) -> Self {
        Self { read_as: Some(x), ..self }
    }

    /// The same batch, with gates for the towers of the model that reads it, as their logits: one for each of a tower's linear maps.
    ///
    /// # Shapes
    /// `gates [T, B, I_l]` each, `I_l` what map `l` reads.
    #[must_use]
    pub fn gating_towers(self, gates: Vec<Tensor<3>>) -> Self {
        Self { tower_gates: Some(gates), ..self }
    }

    /// The logits of the towers' gates, where there are some: for [`Towers::forward_gated`](crate::nn::Towers::forward_gated).
    pub fn tower_gates(&self) -> Option<&[Tensor<3>]> {
        self.tower_gates.as_deref()
    }

    /// The same batch with nothing in these slots: what they hold is left out of the sums.
    #[must_use]
    pub fn without(&self, slots: &[Range<usize>]) -> Self {
        let keep = self.keep(|slot| !slots.iter().any(|range| range.contains(&slot)));
        Self { weights: self.weights.clone() * keep, read_as: None, ..self.clone() }
    }

    /// The table's rows of some slots side by side, neither weighted nor summed: for what reads the values of a sequence one by one. What
    /// stands in the place of padding is not said. All groups have one width. `[G, B, L * D]`
    ///
    /// # Panics
    /// When the groups' widths differ.
    pub fn slots(&self, slots: Range<usize>) -> Tensor<3> {
        let (length, widths, count) = (slots.len(), &self.layout.widths, self.layout.slots());
        let groups = self.columns((0..widths.len()).map(|k| vec![k]).collect());
        let there = self.weights.clone().not_equal_elem(0.0).float() * self.keep(|slot| slots.contains(&slot)); // [B, S]
        let layout = Arc::new(BagLayout::of_slots(slots.clone(), count, self.layout.slots.width()));
        if let Some([k]) = self.fused(&there, &layout, &[groups]) {
            return k;
        }
        let [batch, _] = self.weights.dims();
        let rows = match self.tensors() {
            (rows, Some(index)) => {
                let index = index.reshape([batch, count]).slice_dim(1, slots); // [B, L]
                rows.select(0, index.reshape([batch * length])) // [B * L, W]
            }
            (rows, None) => {
                let [_, width] = rows.dims();
                let rows = rows.reshape([batch, count, width]).slice_dim(1, slots); // [B, L, W]
                rows.reshape([batch * length, width])
            }
        };
        let rows = rows.reshape([batch, length, widths.len(), widths[0]]).permute([2, 0, 1, 3]); // [G, B, L, D]
        rows.reshape([widths.len(), batch, length * widths[0]])
    }

    /// `x`, fields' vectors of all groups, with what is read of a history by attention in its place: of table rows, or of `given` values `[G, B, L * D]`.
    /// `None` where there is no such op. `[G, B, F * D]`
    pub(crate) fn attended(
        &self,
        x: &Tensor<3>,
        given: Option<&Tensor<3>>,
        scores: Scores,
        how: &Attended,
    ) -> Option<Tensor<3>> {
        let from = match (given, &self.rows) {
            (Some(k), _) => HistoryValues::Given(k),
            (None, Rows::Tensor(rows, index)) => HistoryValues::Rows(rows, index, self.distinct.as_ref()),
            (None, Rows::Stored(rows, index)) => HistoryValues::Stored(rows, index),
            (None, Rows::OfSlots(_)) => return None,
        };
        fused::attended(x, from, &self.weights, scores, how)
    }

    /// 1 for the slots that are kept, 0 for others. `[1, S]`
    fn keep(&self, keep: impl Fn(usize) -> bool) -> Tensor<2> {
        let (count, device) = (self.layout.slots(), self.weights.device());
        let keep: Vec<f32> = (0..count).map(|slot| f32::from(u8::from(keep(slot)))).collect();
        Tensor::from_data(TensorData::new(keep, [1, count]), (&device, DType::F32))
    }

    /// What the rows of some slots are weighted with, 0 of padding. `[B, L]`
    pub fn slot_weights(&self, slots: Range<usize>) -> Tensor<2> {
        self.weights.clone().slice_dim(1, slots)
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
        let [x] = self.streams([groups.map(|k| vec![k]).collect()]);
        x
    }

    /// Several bags of streams, a stream being the sum of groups: `[[0], [1]]` are groups 0 and 1 side by side, `[[0, 2]]` is their
    /// sum `x_0 + x_2`. On the CPU the table's rows are read once for all of them. `[K_i, B, F * D]` each
    ///
    /// # Panics
    /// When the widths of a bag's groups differ, or there are none.
    pub fn streams<const N: usize>(&self, bags: [Vec<Vec<usize>>; N]) -> [Tensor<3>; N] {
        let Some(x) = &self.read_as else { return self.plain_groups(bags) };
        let are_all = |streams: &[Vec<usize>]| streams.iter().map(Vec::as_slice).eq((0..self.groups()).map(|k| [k]));
        if bags.iter().all(|streams| are_all(streams)) {
            return bags.map(|_| x.clone());
        }
        let group = |k: &usize| x.clone().slice_dim(0, *k..*k + 1);
        let stream = |groups: &Vec<usize>| groups.iter().map(group).reduce(|a, b| a + b).expect("a stream has a group");
        fused::streams(x, &bags).unwrap_or_else(|| {
            bags.map(|streams| match are_all(&streams) {
                true => x.clone(),
                false => Tensor::cat(streams.iter().map(stream).collect(), 0),
            })
        })
    }

    /// The same of the embeddings themselves.
    fn plain_groups<const N: usize>(&self, bags: [Vec<Vec<usize>>; N]) -> [Tensor<3>; N] {
        let bags = bags.map(|streams| self.columns(streams));
        let fused = self.fused(&self.weights, &self.layout.slots, &bags);
        fused.unwrap_or_else(|| bags.map(|streams| self.plain_streams(&streams)))
    }

    /// The sums of a layout as one op, where there is one.
    fn fused<const N: usize>(
        &self,
        weights: &Tensor<2>,
        layout: &Arc<BagLayout>,
        bags: &[ColumnGroups; N],
    ) -> Option<[Tensor<3>; N]> {
        let distinct = self.distinct.as_ref();
        match &self.rows {
            Rows::Tensor(rows, index) => fused::bags(Slots { rows, index, weights, layout, distinct }, bags),
            Rows::Stored(rows, index) => fused::stored_bags(rows, (index, weights, layout), bags),
            Rows::OfSlots(_) => None,
        }
    }

    /// Rows as a tensor, and where in it each slot's row is: of a table in a file the rows that occur; `None` where they are the slots'.
    fn tensors(&self) -> (Tensor<2>, Option<Tensor<1, Int>>) {
        match &self.rows {
            Rows::Tensor(rows, index) => (rows.clone(), Some(index.clone())),
            Rows::Stored(rows, index) => {
                let ids: Vec<i32> = index.to_data().try_into_vec().expect("an index is i32");
                let (rows, index) = occurring(rows, bytemuck::cast_slice(&ids), &self.weights.device());
                (rows, Some(index))
            }
            Rows::OfSlots(rows) => (rows.clone(), None),
        }
    }

    /// From the groups' numbers to their columns.
    fn columns(&self, mut streams: Vec<Vec<usize>>) -> ColumnGroups {
        let widths = &self.layout.widths;
        let dim = widths[streams[0][0]];
        for k in streams.iter_mut().flatten() {
            assert!(widths[*k] == dim, "groups of different widths do not stack");
            *k = widths[..*k].iter().sum(); // the group's first column
        }
        ColumnGroups::new(streams, dim)
    }

    /// The same as plain operations: rows and columns, then weights, then the sum over each field's slots. Of rows and columns those
    /// come first that leave less: a table has more rows than a batch has slots, the distinct rows of a batch are fewer.
    pub(crate) fn plain_streams(&self, streams: &ColumnGroups) -> Tensor<3> {
        let (starts, dim) = (streams.groups(), streams.dim());
        let (rows, index) = self.tensors();
        let ([row_count, _], [batch, _], slots) = (rows.dims(), self.weights.dims(), self.layout.slots());
        let select_first = row_count > batch * slots;
        let select = |rows: Tensor<2>| match &index {
            Some(index) => rows.select(0, index.clone()),
            None => rows,
        };
        let rows = if select_first { select(rows) } else { rows }; // [B * S, W], or [U, W]
        let columns = |&start: &usize| rows.clone().slice_dim(1, start..start + dim);
        let stream =
            |groups: &Vec<usize>| groups.iter().map(columns).reduce(|a, b| a + b).expect("a stream has a group");
        let (count, first) = (starts.len(), starts[0][0]);
        let is_one_run = starts.iter().zip((first..).step_by(dim)).all(|(groups, start)| groups[..] == [start]);
        let sums = match is_one_run {
            true => rows.clone().slice_dim(1, first..first + count * dim),
            false => Tensor::cat(starts.iter().map(stream).collect(), 1),
        }; // [B * S, K * D], or [U, K * D]
        let slot_rows = if select_first { sums } else { select(sums) }.reshape([batch, slots, count * dim]); // [B, S, K * D]
        let weighted = slot_rows * self.weights.clone().reshape([batch, slots, 1]); // [B, S, K * D]
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

/// The rows of a table in a file that occur in a batch, each once, on a device `[U, W]`, and where in them each of `ids` is.
pub(crate) fn occurring(table: &StoredTable, ids: &[u32], device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let distinct = DistinctRows::of(ids);
    let rows = upload_rows(table.gather(&distinct.rows), table.width(), device);
    (rows, upload_index(&distinct.inverse, device))
}
