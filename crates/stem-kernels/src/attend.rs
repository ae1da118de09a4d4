//! Attention of a candidate over the values of a history: a score for every value, and the sum of the values that they weigh.
//!
//! ```text
//! z_j = MLP([q ; k_j ; q - k_j ; q * k_j ; p_j])          a ReLU after every map but the last, which gives one number
//! v   = sum_j a_j k_j                                     a_j = w_j z_j, or the softmax of z over the values
//! ```
//!
//! The first map is linear. Taken apart, what is the same for all values of a row is computed once, and the rest is one matrix for the row:
//!
//! ```text
//! W [q ; k ; q - k ; q * k ; p] = (W_q + W_d) q + (W_k - W_d + W_m diag(q)) k + W_p p
//! ```
//!
//! which is a quarter of the products of the first map as it stands, for a history and for its gradients. A value that fills several slots of a
//! history is judged once, unless positions or times tell the slots apart.
//!
//! A row's values are gathered from the table, go through the maps and are summed without leaving the nearest cache; the backward computes them
//! anew. Slots of weight 0 (padding) are left out. Pieces of rows are cut by the shape alone, and gradients of parameters are summed in their
//! order: results are the same bits on any number of threads, and those of a row the same whatever stands beside it.

mod lanes;
mod packed;
mod piece;
mod row;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::ops::Range;

use crate::divide::{Planes, divide};
use crate::map::Map;
use crate::product::fuses;
use crate::rows::{PlainRows, ReadRows};
use crate::simd::vectorised;
use lanes::{LANES, Lanes, ZERO, vectors};
use packed::{Layout, Packed, unfold};
use piece::{Piece, copy_in, copy_out};
use row::{Group, History, Row};

/// From which end positions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The first slot is position 0.
    FromFirst,
    /// The last slot that is no padding is position 0.
    FromLast,
}

/// Histories, and how they are attended.
#[derive(Debug, Clone)]
pub struct Attention<'a> {
    /// `G`
    pub groups: usize,
    /// `D`
    pub dim: usize,
    /// `F`, of the embeddings in which candidates stand and sums are put.
    pub fields: usize,
    /// The candidate's place among them.
    pub candidate: usize,
    /// The history's.
    pub history: usize,
    /// `S`
    pub all_slots: usize,
    /// Those of the history. `L` of them
    pub slots: Range<usize>,
    /// Those of what is added to a value before it is judged: how long before the row it was. `L` of them
    pub gaps: Option<Range<usize>>,
    /// 0 where a slot is padding. `[B, S]`
    pub weights: &'a [f32],
    /// At least two maps; the last has one output.
    pub maps: &'a [Map<'a>],
    /// `p`, where positions count. `[G, L, D]`
    pub positions: Option<(&'a [f32], Order)>,
    /// Whether weights sum to 1.
    pub softmax: bool,
}

/// Where the values of histories come from.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a, R> {
    /// Rows of a table.
    Rows {
        /// Of `G D` numbers each.
        rows: R,
        /// Which of them each slot names. `[B, S]`
        index: &'a [u32],
    },
    /// The values themselves. `[G, B, L, D]`
    Given(&'a [f32]),
}

/// Where gradients go.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// Of values: of table rows slot by slot `[B, L, G D]`, of given ones as they are. What no slot of `owners` stands for is not written.
    pub values: &'a mut [f32],
    /// Of gaps `[B, L, G D]`; empty without.
    pub gaps: &'a mut [f32],
    /// Of table rows 1 for a slot that has a gradient, which is that of all slots of its row with the same value, else 0. `[B, S]`
    pub owners: &'a mut [f32],
    /// Of weights and biases, map by map.
    pub maps: Vec<[&'a mut [f32]; 2]>,
    /// Of the positions.
    pub positions: Option<&'a mut [f32]>,
}

/// Slots that a piece of rows may have.
const SLOTS: usize = 2048;

impl<'a> Attention<'a> {
    /// `B`
    fn rows(&self) -> usize {
        self.weights.len() / self.all_slots.max(1)
    }

    /// Rows of a piece.
    fn piece(&self) -> usize {
        (SLOTS / self.slots.len().max(1)).clamp(1, 256)
    }

    /// Parts of what the first map reads.
    fn parts(&self) -> usize {
        4 + usize::from(self.positions.is_some())
    }

    /// Weight of map `l` of a group. `[I, O]`
    fn weight(&self, g: usize, l: usize) -> &'a [f32] {
        let size = self.maps[l].weight.len() / self.groups;
        &self.maps[l].weight[g * size..][..size]
    }

    /// Its bias. `[O]`
    fn bias(&self, g: usize, l: usize) -> &'a [f32] {
        &self.maps[l].bias[g * self.maps[l].output..][..self.maps[l].output]
    }

    /// What the first map has for one part of what it reads. `[D, O]`
    fn first_map(&self, g: usize, part: usize) -> &'a [f32] {
        let size = self.dim * self.maps[0].output;
        &self.weight(g, 0)[part * size..][..size]
    }

    /// Columns of a field.
    fn columns(&self, field: usize) -> Range<usize> {
        field * self.dim..(field + 1) * self.dim
    }

    fn check<R: ReadRows>(&self, values: Values<R>, x: usize) {
        let Self { groups, dim, fields, all_slots, .. } = *self;
        let (rows, length) = (self.rows(), self.slots.len());
        assert!(self.maps.len() >= 2 && self.maps[self.maps.len() - 1].output == 1, "an MLP that gives one number");
        assert!(length > 0 && dim > 0 && groups > 0, "a history has slots and a width");
        assert!(self.slots.end <= all_slots, "slots {:?} of {all_slots}", self.slots);
        assert_eq!(self.weights.len(), rows * all_slots, "weights are [B, S]");
        assert!(self.candidate < fields && self.history < fields, "fields are among {fields}");
        assert_eq!(x, groups * rows * fields * dim, "embeddings are [G, B, F * D]");
        match values {
            Values::Rows { index, .. } => assert_eq!(index.len(), rows * all_slots, "ids are [B, S]"),
            Values::Given(k) => assert_eq!(k.len(), groups * rows * length * dim, "values are [G, B, L, D]"),
        }
        let gaps_fit = self
            .gaps
            .as_ref()
            .is_none_or(|gaps| gaps.len() == length && gaps.end <= all_slots && matches!(values, Values::Rows { .. }));
        assert!(gaps_fit, "gaps are rows of the table, slot by slot beside the values");
        assert!(self.positions.is_none_or(|(p, _)| p.len() == groups * length * dim), "positions are [G, L, D]");
        let mut input = self.parts() * dim;
        for map in self.maps {
            assert!(map.output > 0, "a map has outputs");
            map.check(groups, input);
            input = map.output;
        }
    }

    fn packed(&self, layout: &Layout, turned: bool) -> Vec<Packed> {
        (0..self.groups).map(|g| Packed::new(self, layout, g, turned)).collect()
    }
}

/// Puts `v` into the history's place of the embeddings.
///
/// # Shapes
/// `x [G, B, F * D]`
///
/// # Panics
/// When a length is not that of its shape, or a slot whose weight is not 0 has an index outside the rows.
pub fn forward<R: ReadRows>(of: &Attention, values: Values<R>, x: &mut [f32]) {
    of.check(values, x.len());
    let (rows, size, layout) = (of.rows(), of.piece(), Layout::new(of));
    let (packed, fused) = (of.packed(&layout, false), fuses());
    let x = Planes::whole(x, of.groups, size * of.fields * of.dim);
    divide(0..rows.div_ceil(size), 1, [x], &|pieces, [mut x]| {
        for piece in pieces.clone() {
            let rows = piece * size..rows.min((piece + 1) * size);
            let values = Piece::new(of, values, rows);
            for (g, packed) in packed.iter().enumerate() {
                let x = x.piece(g, piece - pieces.start);
                let group = Group { layout: &layout, packed };
                match fused {
                    true => forward_piece::<1>(of, group, g, &values, x),
                    false => forward_piece::<0>(of, group, g, &values, x),
                }
            }
        }
    });
}

/// The gradients of candidates, values and parameters, from that of the embeddings with `v` among them.
///
/// # Shapes
/// `x [G, B, F * D]` as [`forward`] left it; `dx` as many, turned in place into the gradient of what it was given.
///
/// # Panics
/// When a length is not that of its shape.
pub fn backward(of: &Attention, values: Values<PlainRows>, x: &[f32], dx: &mut [f32], mut gradients: Gradients) {
    of.check(values, x.len());
    let (rows, size, length) = (of.rows(), of.piece(), of.slots.len());
    let given = matches!(values, Values::Given(_));
    let cells = of.groups * rows * length * of.dim;
    assert_eq!((dx.len(), gradients.values.len()), (x.len(), cells), "gradients are as what they are of");
    assert_eq!(gradients.gaps.len(), if of.gaps.is_some() { cells } else { 0 }, "the gradient of gaps is [B, L, G D]");
    assert_eq!(gradients.owners.len(), if given { 0 } else { of.weights.len() }, "owners are [B, S]");
    let (layout, fused) = (Layout::new(of), fuses());
    let (packed, pieces) = (of.packed(&layout, true), rows.div_ceil(size));
    let mut partials = vec![0.0; pieces * of.groups * layout.size * LANES]; // of parameters, piece by piece
    let planes = if given { of.groups } else { 1 };
    let outputs = [
        Planes::whole(dx, of.groups, size * of.fields * of.dim),
        Planes::whole(gradients.values, planes, size * length * of.dim * of.groups / planes),
        Planes::whole(gradients.gaps, 1, size * length * of.dim * of.groups),
        Planes::whole(gradients.owners, 1, size * of.all_slots),
        Planes::whole(&mut partials, 1, of.groups * layout.size * LANES),
    ];
    divide(0..pieces, 1, outputs, &|pieces, [mut dx, mut dvalues, mut dgaps, mut owners, mut partials]| {
        for piece in pieces.clone() {
            let (rows, at) = (piece * size..rows.min((piece + 1) * size), piece - pieces.start);
            let found = Piece::new(of, values, rows.clone());
            own(of, &found, rows.start, owners.piece(0, at));
            let partials = partials.piece(0, at).as_chunks_mut().0.chunks_exact_mut(layout.size);
            for (g, (packed, partial)) in packed.iter().zip(partials).enumerate() {
                let group = Group { layout: &layout, packed };
                let x = &x[(g * of.rows() + rows.start) * of.fields * of.dim..][..rows.len() * of.fields * of.dim];
                let out = Out {
                    dx: dx.piece(g, at),
                    dvalues: dvalues.piece(if given { g } else { 0 }, at),
                    dgaps: dgaps.piece(0, at),
                    apart: if given { of.dim } else { of.groups * of.dim },
                    first: if given { 0 } else { g * of.dim },
                    partial,
                };
                if given {
                    out.dvalues.fill(0.0); // padding, which no value stands for
                }
                match fused {
                    true => backward_piece::<1>(of, group, g, &found, x, out),
                    false => backward_piece::<0>(of, group, g, &found, x, out),
                }
            }
        }
    });
    let mut sum = vec![ZERO; layout.size];
    for g in 0..of.groups {
        sum.fill(ZERO);
        let size = layout.size * LANES;
        for partial in partials.chunks_exact(of.groups * size) {
            lanes::add(&mut sum, partial[g * size..][..size].as_chunks().0);
        }
        unfold(of, &layout, &sum, g, &mut gradients);
    }
}

/// 1 for the slots that stand for a value, and for its gap. The piece's first row is row `first`.
fn own(of: &Attention, piece: &Piece, first: usize, owners: &mut [f32]) {
    owners.fill(0.0);
    let weights = of.weights[first * of.all_slots..].chunks_exact(of.all_slots);
    for (row, (owners, weights)) in owners.chunks_exact_mut(of.all_slots).zip(weights).enumerate() {
        for &slot in &piece.slots[piece.starts[row]..][..piece.counts[row]] {
            owners[of.slots.start + slot as usize] = 1.0;
            if let Some(gaps) = &of.gaps {
                let gap = gaps.start + slot as usize;
                owners[gap] = f32::from(u8::from(weights[gap] != 0.0));
            }
        }
    }
}

/// Where the gradients of a piece of a group go.
struct Out<'a> {
    /// `[B, F * D]`
    dx: &'a mut [f32],
    /// A value's gradient every `apart` numbers, the group's from `first` on.
    dvalues: &'a mut [f32],
    dgaps: &'a mut [f32],
    apart: usize,
    first: usize,
    partial: &'a mut [Lanes],
}

impl Piece {
    /// The values of a row of a group.
    #[inline(always)]
    fn history(&self, of: &Attention, row: usize, g: usize) -> History<'_> {
        let (values, vectors) =
            (self.starts[row]..self.starts[row + 1], self.vectors_of(row, g, of.groups, vectors(of.dim)));
        let judged = &self.judged[vectors.clone()];
        History {
            count: self.counts[row],
            judged,
            summed: if self.summed.is_empty() { judged } else { &self.summed[vectors] },
            weights: &self.weights[values.clone()],
            times: &self.times[values.clone()],
            positions: &self.positions[values],
            softmax: of.softmax,
        }
    }
}

vectorised! {
    fn forward_piece<const FUSED: usize>(of: &Attention<'_>, group: Group<'_>, g: usize, piece: &Piece, x: &mut [f32]) {
        let mut state = Row::new(group.layout, of.slots.len());
        for (row, x) in x.chunks_exact_mut(of.fields * of.dim).enumerate() {
            state.forward::<FUSED>(group, &x[of.columns(of.candidate)], piece.history(of, row, g));
            copy_out(&state.sum, &mut x[of.columns(of.history)]);
        }
    }

    fn backward_piece<const FUSED: usize>(of: &Attention<'_>, group: Group<'_>, g: usize, piece: &Piece, x: &[f32], out: Out<'_>) {
        let Out { dx, dvalues, dgaps, apart, first, partial } = out;
        let mut state = Row::new(group.layout, of.slots.len());
        let (width, length) = (vectors(of.dim), of.slots.len());
        let mut lanes = [(); 2].map(|()| vec![ZERO; width]);
        for (row, (x, dx)) in x.chunks_exact(of.fields * of.dim).zip(dx.chunks_exact_mut(of.fields * of.dim)).enumerate() {
            let history = piece.history(of, row, g);
            let [q, dv] = &mut lanes;
            copy_in(&x[of.columns(of.candidate)], q);
            copy_in(&dx[of.columns(of.history)], dv);
            state.backward::<FUSED>(group, [q, dv], history, partial);
            dx[of.columns(of.history)].fill(0.0);
            dx[of.columns(of.candidate)].iter_mut().zip(&state.dquery).for_each(|(dx, dq)| *dx += dq);
            let slots = &piece.slots[piece.starts[row]..][..history.count];
            for (j, &slot) in slots.iter().enumerate() {
                let (to, at) = ((row * length + slot as usize) * apart + first, j * width..(j + 1) * width);
                let judged = &state.djudged[at.clone()];
                let of_values = if of.gaps.is_some() { &state.dsummed[at] } else { judged };
                copy_out(of_values, &mut dvalues[to..][..of.dim]);
                if of.gaps.is_some() {
                    copy_out(judged, &mut dgaps[to..][..of.dim]);
                }
            }
        }
    }
}
