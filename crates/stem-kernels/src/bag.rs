//! The embedding bag: rows of the table straight into the inputs of experts and gates, and back into the rows' gradient.
//!
//! ```text
//! forward     x_k[b, f, :] = sum over slots s of field f of weight[b,s] * (sum over groups g of stream k of row(id[b,s])[g])
//! backward    d row(u)[g] = sum over (b,s) with id[b,s] = u of weight[b,s] * (sum over streams k with g of dx_k[b, f(s), :])
//! ```
//!
//! A group is `D` neighbouring columns of a row. STEM on two tasks, with rows `[task 0 | task 1 | shared]`, reads the streams
//! `[[0], [D]]` into the tasks' experts, `[[2 D]]` into the shared ones, and `[[0, 2 D], [D, 2 D]]` into the gates.
//!
//! A slot of weight 0 (padding) is passed over in both directions: its row is not read. A field that is the same in all rows, as a user's
//! among their candidates, is read and summed once and then copied.

use std::ops::Range;

use crate::distinct::InverseIndex;
use crate::divide::{Planes, divide, divide_at, grain};
use crate::rows::{PlainRows, ReadRows};
use crate::simd::{Kernel, prefetch, run, short, short_two, vectorised};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod spec;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

/// Which slots make which field, over rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BagLayout {
    fields: Vec<Range<usize>>,
    width: usize,
    /// Field of every slot.
    field_of: Vec<usize>,
    /// Whether slots are fields, one to one.
    plain: bool,
}

impl BagLayout {
    /// Fields as neighbouring ranges of slots from 0 on; `width` is `W`.
    ///
    /// # Panics
    /// When the ranges are not neighbours, or there is no slot.
    pub fn new(fields: &[Range<usize>], width: usize) -> Self {
        let end = fields.iter().fold(0, |end, slots| {
            assert!(slots.start == end && slots.end >= end, "fields are neighbouring ranges of slots, not {fields:?}");
            slots.end
        });
        assert!(end > 0, "a layout has a slot");
        Self {
            fields: fields.to_vec(),
            width,
            field_of: fields.iter().enumerate().flat_map(|(f, slots)| slots.clone().map(move |_| f)).collect(),
            plain: fields.iter().all(|slots| slots.len() == 1),
        }
    }

    /// Some slots of `all`, each as a field of its own; the others, whose weights must be 0, belong to none.
    ///
    /// # Panics
    /// When there is no slot, or they are not among all.
    pub fn of_slots(slots: Range<usize>, all: usize, width: usize) -> Self {
        assert!(slots.start < slots.end && slots.end <= all, "slots {slots:?} of {all}");
        let field_of = |slot: usize| if slots.contains(&slot) { slot - slots.start } else { 0 };
        Self {
            fields: slots.clone().map(|slot| slot..slot + 1).collect(),
            width,
            field_of: (0..all).map(field_of).collect(),
            plain: slots == (0..all),
        }
    }

    /// The slots of each field.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.fields
    }

    /// `F`
    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// `S`
    pub fn slots(&self) -> usize {
        self.field_of.len()
    }

    /// `W`
    pub fn width(&self) -> usize {
        self.width
    }

    /// `b * F + f` of the slot at place `b * S + s`.
    #[inline(always)]
    fn cell(&self, place: usize) -> usize {
        if self.plain {
            return place;
        }
        place / self.slots() * self.fields() + self.field_of[place % self.slots()]
    }

    /// `B` of so many places, with all lengths checked.
    fn rows(&self, streams: &ColumnGroups, places: usize, weights: usize, x: usize) -> usize {
        let rows = places / self.slots();
        assert_eq!(places, rows * self.slots(), "ids are [B, S] with S {}", self.slots());
        assert_eq!(weights, places, "weights are [B, S], as ids are");
        assert_eq!(x, streams.numbers(self, rows), "streams are [K, B, F * D] with B {rows}");
        assert!(streams.span.end <= self.width, "groups end at {}, rows at {}", streams.span.end, self.width);
        rows
    }
}

/// Which columns of a table row make which stream; all groups of a call have one width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnGroups {
    /// For every stream the first columns of its groups.
    groups: Vec<Vec<usize>>,
    dim: usize,
    /// Columns from the first to the last group.
    span: Range<usize>,
}

impl ColumnGroups {
    /// `K` streams; `groups[k]` are the first columns of the groups that stream `k` sums, `dim` is `D`.
    ///
    /// # Panics
    /// When a stream has no group, or groups have no columns.
    pub fn new(groups: Vec<Vec<usize>>, dim: usize) -> Self {
        assert!(dim > 0 && groups.iter().all(|starts| !starts.is_empty()), "a stream reads columns");
        let starts = || groups.iter().flatten().copied();
        let span = starts().min().map_or(0, |start| start)..starts().max().map_or(0, |start| start + dim);
        Self { groups, dim, span }
    }

    /// The streams of several, one after another. `None` where their groups have several widths, or there are none.
    pub fn joined(parts: &[Self]) -> Option<Self> {
        let dim = parts.first()?.dim;
        let mut groups = Vec::with_capacity(parts.iter().map(Self::count).sum());
        parts.iter().for_each(|part| groups.extend_from_slice(&part.groups));
        parts.iter().all(|part| part.dim == dim).then(|| Self::new(groups, dim))
    }

    /// The first columns of every stream's groups.
    pub fn groups(&self) -> &[Vec<usize>] {
        &self.groups
    }

    /// `K`
    pub fn count(&self) -> usize {
        self.groups.len()
    }

    /// `D`
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Numbers in `[K, B, F * D]` of `rows` rows.
    pub fn numbers(&self, layout: &BagLayout, rows: usize) -> usize {
        self.count() * rows * layout.fields() * self.dim
    }
}

/// Rows of the batch whose table rows are prefetched ahead of the one in work.
const ROWS_AHEAD: usize = 2;

/// Gathers, weights and sums: from the table, or a batch's distinct rows, into the streams.
///
/// # Shapes
/// `rows [V, W]` or `[U, W]`, `index [B, S]` into it, `weights [B, S]`; writes `x [K, B, F * D]`.
///
/// # Panics
/// When a length is not that of its shape, or a slot whose weight is not 0 has an index outside `rows`.
pub fn forward(
    layout: &BagLayout,
    streams: &ColumnGroups,
    rows: &[f32],
    index: &[u32],
    weights: &[f32],
    x: &mut [f32],
) {
    forward_of(layout, streams, PlainRows::new(rows, layout.width), index, weights, x);
}

/// As [`forward`], of rows that may be packed: the same bits as of what they unpack to.
///
/// # Shapes
/// `rows` of `W` numbers, `index [B, S]` into them, `weights [B, S]`; writes `x [K, B, F * D]`.
///
/// # Panics
/// As [`forward`].
pub fn forward_of(
    layout: &BagLayout,
    streams: &ColumnGroups,
    rows: impl ReadRows,
    index: &[u32],
    weights: &[f32],
    x: &mut [f32],
) {
    let batch = layout.rows(streams, index.len(), weights.len(), x.len());
    let x = Planes::whole(x, streams.count(), layout.fields() * streams.dim);
    divide(0..batch, grain(layout.slots() * layout.width), [x], &|batch, [x]| {
        run(Forward { layout, streams, rows, index, weights, batch, x });
    });
}

/// Some rows of a batch.
struct Forward<'a, R> {
    layout: &'a BagLayout,
    streams: &'a ColumnGroups,
    rows: R,
    index: &'a [u32],
    weights: &'a [f32],
    batch: Range<usize>,
    x: Planes<'a>,
}

impl<R: ReadRows> Kernel for Forward<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Forward { layout, streams, rows, index, weights, batch, mut x } = self;
        let (slots, ColumnGroups { groups, dim, span }) = (layout.slots(), streams);
        let mut scratch = vec![0.0; rows.scratch()]; // nothing of rows that are f32
        let alike = Alike::of(layout, index, weights, &batch);
        for b in batch.clone() {
            if b + ROWS_AHEAD < batch.end {
                let ahead = &index[(b + ROWS_AHEAD) * slots..(b + ROWS_AHEAD + 1) * slots];
                for (&id, &f) in ahead.iter().zip(&layout.field_of) {
                    if !alike.holds(f) {
                        rows.prefetch(id, span);
                    }
                }
            }
            let mut next = 0; // field
            while next < layout.fields() {
                let f = next;
                next += 1;
                if b > batch.start && alike.holds(f) {
                    while alike.holds(next) {
                        next += 1;
                    }
                    let (columns, row) = (f * dim..next * dim, (b - batch.start) * layout.fields() * dim);
                    for k in 0..groups.len() {
                        x.plane(k).copy_within(columns.clone(), row + columns.start); // from the first row
                    }
                    continue;
                }
                let of_field = &layout.fields[f];
                let (places, columns) = (b * slots + of_field.start..b * slots + of_field.end, f * dim..(f + 1) * dim);
                let mut empty = true;
                for (&id, &weight) in index[places.clone()].iter().zip(&weights[places]) {
                    if weight == 0.0 {
                        continue;
                    }
                    let Some(row) = rows.read(id, &mut scratch) else { panic_outside(id, rows.count()) };
                    for (k, starts) in groups.iter().enumerate() {
                        sum_groups(&mut x.row(k, b - batch.start)[columns.clone()], weight, row, starts, empty);
                    }
                    empty = false;
                }
                if empty {
                    for k in 0..groups.len() {
                        x.row(k, b - batch.start)[columns.clone()].fill(0.0);
                    }
                }
            }
        }
    }
}

/// Fields whose slots hold the same in all of some rows: a bit for each of the first fields, as many as there are bits.
#[derive(Debug, Clone, Copy)]
struct Alike(u128);

impl Alike {
    #[inline(always)]
    fn of(layout: &BagLayout, index: &[u32], weights: &[f32], batch: &Range<usize>) -> Self {
        if batch.len() < 2 {
            return Self(0);
        }
        let places = |b: usize, slots: &Range<usize>| b * layout.slots() + slots.start..b * layout.slots() + slots.end;
        let is_alike = |slots: &Range<usize>| {
            let (ids, weighed) = (&index[places(batch.start, slots)], &weights[places(batch.start, slots)]);
            (batch.start + 1..batch.end)
                .all(|b| &index[places(b, slots)] == ids && &weights[places(b, slots)] == weighed)
        };
        let fields = layout.fields.iter().take(u128::BITS as usize).enumerate();
        Self(fields.fold(0, |alike, (f, slots)| alike | u128::from(is_alike(slots)) << f))
    }

    #[inline(always)]
    fn holds(self, field: usize) -> bool {
        self.0.checked_shr(field as u32).is_some_and(|alike| alike & 1 == 1)
    }
}

/// `x = x + weight * sum_g row[g]`; `fresh`: whether the sum starts here.
#[inline(always)]
fn sum_groups(x: &mut [f32], weight: f32, row: &[f32], starts: &[usize], mut fresh: bool) {
    let dim = x.len();
    let group = |start: usize| &row[start..start + dim];
    for pair in starts.chunks(2) {
        match (pair, fresh) {
            (&[g, h], true) => short_two(x, group(g), group(h), |_, a, b| weight * (a + b)),
            (&[g, h], false) => short_two(x, group(g), group(h), |x, a, b| x + weight * (a + b)),
            (&[g, ..], true) => short(x, group(g), |_, a| weight * a),
            (&[g, ..], false) => short(x, group(g), |x, a| x + weight * a),
            (&[], _) => {}
        }
        fresh = false;
    }
}

#[cold]
fn panic_outside(id: u32, rows: usize) -> ! {
    panic!("index {id} lies outside {rows} rows of a table");
}

/// Places ahead of the one in work whose gradients are prefetched.
const PLACES_AHEAD: usize = 6;

/// Rows and places that a thread takes before it is worth asking another one.
const WORK: usize = 4096;

/// The gradient of the distinct rows from that of the streams; columns of no group get 0.
///
/// # Shapes
/// `by_row` of `ids [B, S]`, `weights [B, S]`, `dx [K, B, F * D]`; writes `grad [U, W]`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn backward(
    layout: &BagLayout,
    streams: &ColumnGroups,
    by_row: &InverseIndex,
    weights: &[f32],
    dx: &[f32],
    grad: &mut [f32],
) {
    layout.rows(streams, by_row.slots().len(), weights.len(), dx.len());
    assert_eq!(grad.len(), by_row.rows() * layout.width, "the rows' gradient is [U, W]");
    let saved = Saved { layout, streams, by_row, weights, dx };
    let grad = Planes::whole(grad, 1, layout.width);
    divide_at(&|rows| saved.middle(rows), 0..by_row.rows(), [grad], &|rows, [mut grad]| {
        backward_rows(saved, rows, grad.plane(0));
    });
}

/// What a backward pass reads.
#[derive(Clone, Copy)]
struct Saved<'a> {
    layout: &'a BagLayout,
    streams: &'a ColumnGroups,
    by_row: &'a InverseIndex,
    weights: &'a [f32],
    dx: &'a [f32],
}

impl<'a> Saved<'a> {
    /// Rows and places before row `u`.
    fn work_before(&self, u: usize) -> usize {
        u + self.by_row.starts()[u] as usize
    }

    /// The row before which half of the work lies, neither the first nor past the last; `None` where there is little work.
    fn middle(&self, rows: &Range<usize>) -> Option<usize> {
        let (before, after) = (self.work_before(rows.start), self.work_before(rows.end));
        if rows.len() <= 1 || after - before <= WORK {
            return None;
        }
        let (mut low, mut high) = (rows.start + 1, rows.end - 1);
        while low < high {
            let middle = (low + high) / 2;
            if self.work_before(middle) < (before + after) / 2 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(low)
    }

    /// `dx_k[b, f, :]` of every stream, and the first columns of the stream's groups.
    #[inline(always)]
    fn cell(self, place: u32) -> impl Iterator<Item = (&'a [f32], &'a [usize])> {
        let ColumnGroups { groups, dim, .. } = self.streams;
        let (start, plane) = (self.layout.cell(place as usize) * dim, self.dx.len() / groups.len().max(1));
        groups.iter().enumerate().map(move |(k, starts)| (&self.dx[k * plane + start..][..*dim], starts.as_slice()))
    }
}

vectorised! {
    fn backward_rows(saved: Saved<'_>, rows: Range<usize>, grad: &mut [f32]) {
        let (starts, slots) = (saved.by_row.starts(), saved.by_row.slots());
        for (u, grad) in rows.zip(grad.chunks_exact_mut(saved.layout.width.max(1))) {
            grad.fill(0.0);
            for i in starts[u] as usize..starts[u + 1] as usize {
                if let Some(&place) = slots.get(i + PLACES_AHEAD) {
                    for (dx, _) in saved.cell(place) {
                        prefetch(dx);
                    }
                }
                let weight = saved.weights[slots[i] as usize];
                if weight != 0.0 {
                    for (dx, starts) in saved.cell(slots[i]) {
                        for &start in starts {
                            short(&mut grad[start..][..dx.len()], dx, |sum, d| sum + weight * d);
                        }
                    }
                }
            }
        }
    }
}
