//! Attention of a candidate over the values of a history: a score for every value, and the sum of the values that they weigh.
//!
//! ```text
//! scores     z_j = MLP([q ; k_j ; q - k_j ; q * k_j ; p_j])          a ReLU after every map but the last, which gives one number
//! sums       v   = sum_j a_j k_j                                     backward   da_j = <dv, k_j>     dk_j = a_j dv
//! ```
//!
//! The first map is taken apart, so that what is the same for all values of a row is computed once:
//!
//! ```text
//! W [q ; k ; q - k ; q * k ; p] = (W_q + W_d) q + [W_k - W_d ; W_m] [k ; q * k] + W_p p
//! ```
//!
//! Rows are worked off in pieces that stay in the cache, and what lies between the maps is never written to memory: the backward computes it
//! anew. Slots of weight 0 (padding) are left out. Pieces are cut by the shape alone, and gradients of parameters are summed in their
//! order: results are the same bits on any number of threads.

mod maps;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use rayon::prelude::*;

use crate::mat::{Mat, MatMut};
use crate::precision::Precision;
use crate::product::{Epilogue, multiply};
use crate::simd::{add_scaled, dot, vectorised};
use maps::{Folded, Partial};

/// From which end positions are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The first slot is position 0.
    FromFirst,
    /// The last slot that is no padding is position 0.
    FromLast,
}

/// A map of the MLP: `weight [G, I, O]`, `bias [G, O]`.
#[derive(Debug, Clone, Copy)]
pub struct Map<'a> {
    /// `[G, I, O]`
    pub weight: &'a [f32],
    /// `[G, O]`
    pub bias: &'a [f32],
    /// `O`
    pub output: usize,
}

/// Histories, and how they are attended.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// `G`
    pub groups: usize,
    /// `L`, slots of a history.
    pub length: usize,
    /// `D`
    pub dim: usize,
    /// 0 where a slot is padding. `[B, L]`
    pub weights: &'a [f32],
    /// At least two maps; the last has one output.
    pub maps: &'a [Map<'a>],
    /// `p`, where positions count. `[G, L, D]`
    pub positions: Option<(&'a [f32], Order)>,
    /// Of products.
    pub precision: Precision,
}

/// Gradients of the parameters, each as its parameter.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// Of weights and biases, map by map.
    pub maps: Vec<[&'a mut [f32]; 2]>,
    /// Of the positions.
    pub positions: Option<&'a mut [f32]>,
}

/// Slots that a piece of rows may have.
const SLOTS: usize = 1024;

impl Attention<'_> {
    /// `B`
    fn rows(&self) -> usize {
        self.weights.len() / self.length.max(1)
    }

    /// Rows of a piece.
    fn piece(&self) -> usize {
        (SLOTS / self.length.max(1)).clamp(1, 256)
    }

    fn check(&self, q: usize, k: usize, z: usize) {
        let Self { groups, length, dim, .. } = *self;
        let rows = self.rows();
        assert!(self.maps.len() >= 2 && self.maps[self.maps.len() - 1].output == 1, "an MLP that gives one number");
        assert_eq!(self.weights.len(), rows * length, "weights are [B, L]");
        assert_eq!(q, groups * rows * dim, "candidates are [G, B, D]");
        assert_eq!(k, groups * rows * length * dim, "values are [G, B, L, D]");
        assert_eq!(z, groups * rows * length, "scores are [G, B, L]");
        assert!(self.positions.is_none_or(|(p, _)| p.len() == groups * length * dim), "positions are [G, L, D]");
        let mut input = (4 + usize::from(self.positions.is_some())) * dim;
        for map in self.maps {
            assert_eq!(map.weight.len(), groups * input * map.output, "a weight is [G, I, O]");
            assert_eq!(map.bias.len(), groups * map.output, "a bias is [G, O]");
            input = map.output;
        }
    }
}

/// The score of every value; of padding 0.
///
/// # Shapes
/// `q [G, B, D]`, `k [G, B, L, D]`; writes `z [G, B, L]`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn scores(of: &Attention, q: &[f32], k: &[f32], z: &mut [f32]) {
    of.check(q.len(), k.len(), z.len());
    let (rows, piece) = (of.rows(), of.piece());
    if z.is_empty() {
        return;
    }
    let folded: Vec<Folded> = (0..of.groups).map(|g| Folded::new(of, g)).collect();
    for (g, z) in z.chunks_exact_mut(rows * of.length).enumerate() {
        z.par_chunks_mut(piece * of.length).enumerate().for_each(|(i, z)| {
            let piece = Piece::forward(of, &folded[g], g, i * piece, z.len() / of.length, q, k);
            z.fill(0.0);
            let found = piece.outputs.last().expect("an MLP has maps");
            piece.places.iter().zip(found).for_each(|(&place, found)| z[place as usize] = *found);
        });
    }
}

/// The gradients of candidates, values and parameters, from that of the scores.
///
/// # Shapes
/// As [`scores`]; `dq` as `q`, `dk` as `k`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn scores_backward(
    of: &Attention,
    q: &[f32],
    k: &[f32],
    dz: &[f32],
    dq: &mut [f32],
    dk: &mut [f32],
    gradients: &mut Gradients,
) {
    of.check(q.len(), k.len(), dz.len());
    assert_eq!((dq.len(), dk.len()), (q.len(), k.len()), "gradients are as what they are of");
    let (rows, piece, width) = (of.rows(), of.piece(), of.dim * of.length);
    for g in 0..of.groups {
        let folded = Folded::new(of, g);
        let (dq, dk) = (&mut dq[g * rows * of.dim..][..rows * of.dim], &mut dk[g * rows * width..][..rows * width]);
        let dz = &dz[g * rows * of.length..][..rows * of.length];
        let pieces = dq.par_chunks_mut((piece * of.dim).max(1)).zip(dk.par_chunks_mut((piece * width).max(1)));
        let pieces = pieces.zip(dz.par_chunks((piece * of.length).max(1))).enumerate();
        let partials: Vec<Partial> = pieces
            .map(|(i, ((dq, dk), dz))| {
                let own = Piece::forward(of, &folded, g, i * piece, dq.len() / of.dim, q, k);
                own.backward(of, &folded, g, i * piece, [q, k, dz], [dq, dk])
            })
            .collect();
        Partial::sum(of, partials).unfold(of, g, gradients);
    }
}

/// A piece of rows on its way through the MLP of a group, padding left out. `N` values
struct Piece {
    /// `row * L + slot` of every value, rows counted from the piece's first. `[N]`
    places: Vec<u32>,
    /// Its position. `[N]`
    positions: Vec<u32>,
    /// `[k ; q * k]`, `[N, 2 D]`
    inputs: Vec<f32>,
    /// Of every map, behind its ReLU. `[N, O]`
    outputs: Vec<Vec<f32>>,
}

impl Piece {
    fn forward(of: &Attention, folded: &Folded, g: usize, first: usize, rows: usize, q: &[f32], k: &[f32]) -> Self {
        let Attention { length, dim, .. } = *of;
        let (mut places, mut positions) = (Vec::with_capacity(rows * length), Vec::with_capacity(rows * length));
        for (row, weights) in of.weights[first * length..(first + rows) * length].chunks_exact(length).enumerate() {
            let there = weights.iter().filter(|weight| **weight != 0.0).count();
            for (slot, _) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                places.push((row * length + slot) as u32);
                positions.push(match of.positions {
                    Some((_, Order::FromLast)) => there.saturating_sub(slot + 1) as u32,
                    _ => slot as u32,
                });
            }
        }
        let all = of.rows();
        let q = &q[(g * all + first) * dim..][..rows * dim];
        let k = &k[(g * all + first) * length * dim..][..rows * length * dim];
        let count = places.len();
        let mut inputs = vec![0.0; count * 2 * dim];
        pair_inputs(&places, q, k, length, dim, &mut inputs);
        let hidden = of.maps[0].output;
        let mut of_rows = vec![0.0; rows * hidden]; // (W_q + W_d) q + b
        let bias = &of.maps[0].bias[g * hidden..][..hidden];
        let with_bias = Epilogue { bias: Some(bias), ..Epilogue::default() };
        let query = Mat::new(&folded.query, dim, hidden);
        multiply(of.precision, Mat::new(q, rows, dim), query, MatMut::new(&mut of_rows, rows, hidden), with_bias);
        let mut outputs = vec![vec![0.0; count * hidden]];
        let value = Mat::new(&folded.value, 2 * dim, hidden);
        let found = MatMut::new(&mut outputs[0], count, hidden);
        multiply(of.precision, Mat::new(&inputs, count, 2 * dim), value, found, Epilogue::default());
        add_rows(&places, &positions, length, &of_rows, &folded.places, &mut outputs[0], hidden);
        for (l, map) in of.maps.iter().enumerate().skip(1) {
            let input = of.maps[l - 1].output;
            let weight = Mat::new(&map.weight[g * input * map.output..], input, map.output);
            let bias = Some(&map.bias[g * map.output..][..map.output]);
            let mut output = vec![0.0; count * map.output];
            let epilogue = Epilogue { accumulate: false, bias, relu: l + 1 < of.maps.len() };
            let from = Mat::new(&outputs[l - 1], count, input);
            multiply(of.precision, from, weight, MatMut::new(&mut output, count, map.output), epilogue);
            outputs.push(output);
        }
        Self { places, positions, inputs, outputs }
    }

    /// Writes the gradients of the piece's candidates and values, and gives its part of the parameters'.
    fn backward(
        self,
        of: &Attention,
        folded: &Folded,
        g: usize,
        first: usize,
        [q, k, dz]: [&[f32]; 3],
        [dq, dk]: [&mut [f32]; 2],
    ) -> Partial {
        let Attention { length, dim, precision, .. } = *of;
        let (count, rows, all) = (self.places.len(), dq.len() / dim, of.rows());
        let q = &q[(g * all + first) * dim..][..rows * dim];
        let k = &k[(g * all + first) * length * dim..][..rows * length * dim];
        let mut partial = Partial::zeros(of);
        let plain = Epilogue::default();
        let mut d: Vec<f32> = self.places.iter().map(|&place| dz[place as usize]).collect(); // [N, O] of the map at hand
        for l in (1..of.maps.len()).rev() {
            let (map, input) = (&of.maps[l], of.maps[l - 1].output);
            let (from, to) = (&self.outputs[l - 1], map.output);
            let [dweight, dbias] = &mut partial.maps[l];
            let dweight = MatMut::new(dweight, input, to);
            multiply(precision, Mat::new(from, count, input).t(), Mat::new(&d, count, to), dweight, plain);
            sum_rows(&d, dbias);
            let mut before = vec![0.0; count * input];
            let weight = Mat::new(&map.weight[g * input * to..], input, to);
            let found = MatMut::new(&mut before, count, input);
            multiply(precision, Mat::new(&d, count, to), weight.t(), found, plain);
            cut(&mut before, from);
            d = before;
        }
        let hidden = of.maps[0].output;
        let (gradient, inputs) = (Mat::new(&d, count, hidden), Mat::new(&self.inputs, count, 2 * dim));
        multiply(precision, inputs.t(), gradient, MatMut::new(&mut partial.value, 2 * dim, hidden), plain);
        let mut dinputs = vec![0.0; count * 2 * dim];
        let found = MatMut::new(&mut dinputs, count, 2 * dim);
        multiply(precision, gradient, Mat::new(&folded.value, 2 * dim, hidden).t(), found, plain);
        let mut of_rows = vec![0.0; rows * hidden];
        sum_by_row(&self.places, &self.positions, length, &d, &mut of_rows, &mut partial.places, hidden);
        let (gradient, candidates) = (Mat::new(&of_rows, rows, hidden), Mat::new(q, rows, dim));
        multiply(precision, candidates.t(), gradient, MatMut::new(&mut partial.query, dim, hidden), plain);
        sum_rows(&of_rows, &mut partial.maps[0][1]);
        let query = Mat::new(&folded.query, dim, hidden).t();
        multiply(precision, gradient, query, MatMut::new(dq, rows, dim), plain);
        dk.fill(0.0);
        split_inputs(&self.places, q, k, &dinputs, length, dim, dq, dk);
        partial
    }
}

/// `v = sum_j a_j k_j`
///
/// # Shapes
/// `a [N, L]`, `k [N, L, D]`; writes `v [N, D]`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn sums(length: usize, a: &[f32], k: &[f32], v: &mut [f32]) {
    let dim = k.len() / a.len().max(1);
    assert_eq!((k.len(), v.len() * length), (a.len() * dim, a.len() * dim), "a [N, L], k [N, L, D], v [N, D]");
    let rows = (SLOTS / length.max(1)).max(1);
    let inputs = a.par_chunks((rows * length).max(1)).zip(k.par_chunks((rows * length * dim).max(1)));
    v.par_chunks_mut((rows * dim).max(1)).zip(inputs).for_each(|(v, (a, k))| sum_piece(length, dim, a, k, v));
}

/// The gradients of weights and values from that of the sums.
///
/// # Shapes
/// As [`sums`]; `dv [N, D]`, `da` as `a`, `dk` as `k`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn sums_backward(length: usize, a: &[f32], k: &[f32], dv: &[f32], da: &mut [f32], dk: &mut [f32]) {
    let dim = k.len() / a.len().max(1);
    assert_eq!((k.len(), dv.len() * length), (a.len() * dim, a.len() * dim), "a [N, L], k [N, L, D], v [N, D]");
    assert_eq!((da.len(), dk.len()), (a.len(), k.len()), "gradients are as what they are of");
    let (slots, rows) = ((SLOTS / length.max(1)).max(1) * length.max(1), (SLOTS / length.max(1)).max(1));
    let inputs = a.par_chunks(slots).zip(k.par_chunks(slots * dim.max(1))).zip(dv.par_chunks((rows * dim).max(1)));
    let outputs = da.par_chunks_mut(slots).zip(dk.par_chunks_mut(slots * dim.max(1)));
    outputs.zip(inputs).for_each(|((da, dk), ((a, k), dv))| sum_piece_backward(length, dim, a, k, dv, da, dk));
}

vectorised! {
    /// `[k ; q * k]` of every value.
    fn pair_inputs(places: &[u32], q: &[f32], k: &[f32], length: usize, dim: usize, inputs: &mut [f32]) {
        for (&place, input) in places.iter().zip(inputs.chunks_exact_mut(2 * dim)) {
            let (q, k) = (&q[place as usize / length * dim..][..dim], &k[place as usize * dim..][..dim]);
            let (values, products) = input.split_at_mut(dim);
            values.copy_from_slice(k);
            for ((product, q), k) in products.iter_mut().zip(q).zip(k) {
                *product = q * k;
            }
        }
    }

    /// Adds what a row and a position have to every value's outputs, and takes the ReLU.
    fn add_rows(places: &[u32], positions: &[u32], length: usize, of_rows: &[f32], of_places: &[f32], outputs: &mut [f32], width: usize) {
        for ((&place, &position), output) in places.iter().zip(positions).zip(outputs.chunks_exact_mut(width)) {
            add_scaled(output, 1.0, &of_rows[place as usize / length * width..][..width]);
            if !of_places.is_empty() {
                add_scaled(output, 1.0, &of_places[position as usize * width..][..width]);
            }
            for y in output {
                *y = if *y < 0.0 { 0.0 } else { *y }; // not a number stays so
            }
        }
    }

    /// `sums_j = sum over rows`
    fn sum_rows(rows: &[f32], sums: &mut [f32]) {
        for row in rows.chunks_exact(sums.len().max(1)) {
            add_scaled(sums, 1.0, row);
        }
    }

    /// 0 where the ReLU cut.
    fn cut(d: &mut [f32], outputs: &[f32]) {
        for (d, y) in d.iter_mut().zip(outputs) {
            *d = if *y <= 0.0 { 0.0 } else { *d };
        }
    }

    /// Adds every value's gradient to that of its row and of its position.
    fn sum_by_row(places: &[u32], positions: &[u32], length: usize, d: &[f32], of_rows: &mut [f32], of_places: &mut [f32], width: usize) {
        for ((&place, &position), d) in places.iter().zip(positions).zip(d.chunks_exact(width)) {
            add_scaled(&mut of_rows[place as usize / length * width..][..width], 1.0, d);
            if !of_places.is_empty() {
                add_scaled(&mut of_places[position as usize * width..][..width], 1.0, d);
            }
        }
    }

    /// From the gradients of `[k ; q * k]` those of `k`, and what they add to those of `q`.
    fn split_inputs(places: &[u32], q: &[f32], k: &[f32], dinputs: &[f32], length: usize, dim: usize, dq: &mut [f32], dk: &mut [f32]) {
        for (&place, dinput) in places.iter().zip(dinputs.chunks_exact(2 * dim)) {
            let row = place as usize / length * dim;
            let (q, dq) = (&q[row..][..dim], &mut dq[row..][..dim]);
            let (k, dk) = (&k[place as usize * dim..][..dim], &mut dk[place as usize * dim..][..dim]);
            let (dvalue, dproduct) = dinput.split_at(dim);
            for i in 0..dim {
                dk[i] = dvalue[i] + q[i] * dproduct[i];
                dq[i] += k[i] * dproduct[i];
            }
        }
    }

    fn sum_piece(length: usize, dim: usize, a: &[f32], k: &[f32], v: &mut [f32]) {
        let rows = a.chunks_exact(length).zip(k.chunks_exact(length * dim));
        for (v, (a, k)) in v.chunks_exact_mut(dim).zip(rows) {
            v.fill(0.0);
            for (a, k) in a.iter().zip(k.chunks_exact(dim)) {
                add_scaled(v, *a, k);
            }
        }
    }

    fn sum_piece_backward(length: usize, dim: usize, a: &[f32], k: &[f32], dv: &[f32], da: &mut [f32], dk: &mut [f32]) {
        let inputs = a.chunks_exact(length).zip(k.chunks_exact(length * dim)).zip(dv.chunks_exact(dim));
        let outputs = da.chunks_exact_mut(length).zip(dk.chunks_exact_mut(length * dim));
        for ((da, dk), ((a, k), dv)) in outputs.zip(inputs) {
            let slots = a.iter().zip(k.chunks_exact(dim));
            for ((da, dk), (a, k)) in da.iter_mut().zip(dk.chunks_exact_mut(dim)).zip(slots) {
                *da = dot(dv, k);
                for (dk, dv) in dk.iter_mut().zip(dv) {
                    *dk = a * dv;
                }
            }
        }
    }
}
