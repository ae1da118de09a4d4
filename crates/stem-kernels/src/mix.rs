//! All Forward, Task-specific Backward: softmax of the gates and mix of the experts as one op.
//!
//! ```text
//! forward     g[t,b,:] = softmax(z[t,b,:])              o[t,b,:] = sum_e g[t,b,e] h_e[b,:]
//! backward    dg[t,b,e] = <do[t,b,:], h_e[b,:]>         every expert: "all forward"
//!             dz[t,b,e] = g[t,b,e] (dg[t,b,e] - sum_j g[t,b,j] dg[t,b,j])
//!             dh_e[b,:] = sum over t with M[t,e] of g[t,b,e] do[t,b,:]      "task-specific backward"
//! ```
//!
//! A logit of minus infinity shuts an expert out: its gate is 0 and so is the gradient of its logit. Experts are slices of their
//! own: they may lie in several tensors.

use std::ops::Range;

use crate::divide::{Planes, divide, grain};
use crate::simd::{add_scaled, add_two_scaled, dot, exp, scale, scale_two, vectorised};

#[cfg(test)]
mod spec;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

/// Sizes of one mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MixShape {
    /// `T`, streams that mix.
    pub tasks: usize,
    /// `B`
    pub rows: usize,
    /// `E`
    pub experts: usize,
    /// `H`
    pub hidden: usize,
}

impl MixShape {
    /// Numbers in `[T, B, E]`.
    pub fn gates(&self) -> usize {
        self.tasks * self.rows * self.experts
    }

    /// Numbers in `[T, B, H]`.
    pub fn outputs(&self) -> usize {
        self.tasks * self.rows * self.hidden
    }

    /// Numbers in `[B, H]`.
    pub fn hiddens(&self) -> usize {
        self.rows * self.hidden
    }

    fn check(&self, gates: [usize; 2], outputs: usize, experts: impl ExactSizeIterator<Item = usize>) {
        assert_eq!(gates, [self.gates(); 2], "gates and their logits are [T, B, E] of {self:?}");
        assert_eq!(outputs, self.outputs(), "outputs are [T, B, H] of {self:?}");
        self.check_experts(experts);
    }

    fn check_experts(&self, mut experts: impl ExactSizeIterator<Item = usize>) {
        assert_eq!(experts.len(), self.experts, "there are E experts of {self:?}");
        assert!(experts.all(|numbers| numbers == self.hiddens()), "every expert is [B, H] of {self:?}");
    }

    fn grain(&self) -> usize {
        grain(self.experts * self.hidden)
    }
}

/// Rows of an expert that are read in one go. An expert's rows lie side by side but experts lie far apart, often a power of two,
/// on which caches and prefetchers trip: going from expert to expert at every row takes twice as long.
const BLOCK: usize = 16;

fn blocks(rows: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
    let end = rows.end;
    rows.clone().step_by(BLOCK).map(move |first| first..(first + BLOCK).min(end))
}

/// `g = softmax(z)`, `o = sum_e g_e h_e`.
///
/// # Shapes
/// `z [T, B, E]`, `h` of `E` times `[B, H]`; writes `g [T, B, E]`, `o [T, B, H]`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn forward(shape: MixShape, z: &[f32], h: &[&[f32]], g: &mut [f32], o: &mut [f32]) {
    shape.check([z.len(), g.len()], o.len(), h.iter().map(|h| h.len()));
    let MixShape { tasks, rows, experts, hidden } = shape;
    if experts == 0 {
        return o.fill(0.0);
    }
    let outputs = [Planes::whole(g, tasks, experts), Planes::whole(o, tasks, hidden)];
    divide(0..rows, shape.grain(), outputs, &|rows, [g, o]| forward_rows(shape, rows, z, h, g, o));
}

/// `dz` and `dh` from the gradient of `o`. `mask [T, E]`: whether a task's loss may change an expert.
///
/// # Shapes
/// `g [T, B, E]` as [`forward`] wrote it, `h` of `E` times `[B, H]`, `d_o [T, B, H]`; writes `dz [T, B, E]`, `dh` as `h`.
///
/// # Panics
/// When a length is not that of its shape.
pub fn backward(
    shape: MixShape,
    mask: &[bool],
    g: &[f32],
    h: &[&[f32]],
    d_o: &[f32],
    dz: &mut [f32],
    dh: Vec<&mut [f32]>,
) {
    shape.check([g.len(), dz.len()], d_o.len(), h.iter().map(|h| h.len()));
    shape.check_experts(dh.iter().map(|dh| dh.len()));
    assert_eq!(mask.len(), shape.tasks * shape.experts, "the mask is [T, E] of {shape:?}");
    let outputs = [Planes::whole(dz, shape.tasks, shape.experts), Planes::apart(dh, shape.hidden)];
    let saved = Saved { shape, mask, g, h, d_o };
    divide(0..shape.rows, shape.grain(), outputs, &|rows, [dz, dh]| backward_rows(saved, rows, dz, dh));
}

vectorised! {
    fn forward_rows(shape: MixShape, rows: Range<usize>, z: &[f32], h: &[&[f32]], g: Planes<'_>, o: Planes<'_>) {
        let MixShape { tasks, rows: batch, experts, hidden } = shape;
        let (mut g, mut o) = (g, o);
        for t in 0..tasks {
            let z = &z[(t * batch + rows.start) * experts..(t * batch + rows.end) * experts];
            softmax(z, g.rows(t, 0..rows.len()), experts);
        }
        for block in blocks(&rows) {
            for e in (0..experts).step_by(2) {
                for b in block.clone() {
                    // o[t,b,:] += g[t,b,e] h_e[b,:] + g[t,b,e+1] h_{e+1}[b,:]; the first pair starts the sum
                    let h = |e: usize| &h[e][b * hidden..][..hidden];
                    for t in 0..tasks {
                        let o = o.row(t, b - rows.start);
                        match (&g.row(t, b - rows.start)[e..], e == 0) {
                            (&[g, f, ..], true) => scale_two(o, [g, f], [h(e), h(e + 1)]),
                            (&[g, f, ..], false) => add_two_scaled(o, [g, f], [h(e), h(e + 1)]),
                            (&[g], true) => scale(o, g, h(e)),
                            (&[g], false) => add_scaled(o, g, h(e)),
                            (&[], _) => {}
                        }
                    }
                }
            }
        }
    }

    fn backward_rows(saved: Saved<'_>, rows: Range<usize>, dz: Planes<'_>, dh: Planes<'_>) {
        let MixShape { tasks, experts, .. } = saved.shape;
        let (mut dz, mut dh) = (dz, dh);
        for block in blocks(&rows) {
            for e in 0..experts {
                for b in block.clone() {
                    for t in 0..tasks {
                        dz.row(t, b - rows.start)[e] = dot(saved.d_o(t, b), saved.h(e, b)); // dg, where dz will be
                    }
                    let mut open_gradients = saved.open_gradients(e, b);
                    let dh = dh.row(e, b - rows.start);
                    match (open_gradients.next(), open_gradients.next()) {
                        (None, _) => dh.fill(0.0),
                        (Some((g, d_o)), None) => scale(dh, g, d_o),
                        (Some((g0, d0)), Some((g1, d1))) => scale_two(dh, [g0, g1], [d0, d1]),
                    }
                    for (g, d_o) in open_gradients {
                        add_scaled(dh, g, d_o);
                    }
                }
            }
            for t in 0..tasks {
                for b in block.clone() {
                    let (g, dz) = (saved.g(t, b), dz.row(t, b - rows.start));
                    let mut mean = 0.0;
                    for (g, dg) in g.iter().zip(&*dz) {
                        mean += g * dg;
                    }
                    for (dz, g) in dz.iter_mut().zip(g) {
                        *dz = g * (*dz - mean);
                    }
                }
            }
        }
    }
}

/// Rows of `experts` logits to rows of gates.
#[inline(always)]
fn softmax(z: &[f32], g: &mut [f32], experts: usize) {
    for (z, g) in z.chunks_exact(experts).zip(g.chunks_exact_mut(experts)) {
        let max = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for (g, z) in g.iter_mut().zip(z) {
            *g = z - max;
        }
    }
    for g in g.iter_mut() {
        *g = exp(*g);
    }
    for g in g.chunks_exact_mut(experts) {
        let scale = g.iter().sum::<f32>().recip();
        for g in g.iter_mut() {
            *g *= scale;
        }
    }
}

/// What a backward pass reads: saved by the forward, and the gradient that comes back.
#[derive(Clone, Copy)]
struct Saved<'a> {
    shape: MixShape,
    mask: &'a [bool],
    g: &'a [f32],
    h: &'a [&'a [f32]],
    d_o: &'a [f32],
}

impl<'a> Saved<'a> {
    /// `g[t,b,:]`
    #[inline(always)]
    fn g(self, t: usize, b: usize) -> &'a [f32] {
        let MixShape { rows, experts, .. } = self.shape;
        &self.g[(t * rows + b) * experts..][..experts]
    }

    /// `h_e[b,:]`
    #[inline(always)]
    fn h(self, e: usize, b: usize) -> &'a [f32] {
        let hidden = self.shape.hidden;
        &self.h[e][b * hidden..][..hidden]
    }

    /// `do[t,b,:]`
    #[inline(always)]
    fn d_o(self, t: usize, b: usize) -> &'a [f32] {
        let MixShape { rows, hidden, .. } = self.shape;
        &self.d_o[(t * rows + b) * hidden..][..hidden]
    }

    /// `g[t,b,e]` and `do[t,b,:]` of every task that may change expert `e`, ascending.
    #[inline(always)]
    fn open_gradients(self, e: usize, b: usize) -> impl Iterator<Item = (f32, &'a [f32])> {
        let MixShape { tasks, experts, .. } = self.shape;
        (0..tasks).filter(move |t| self.mask[t * experts + e]).map(move |t| (self.g(t, b)[e], self.d_o(t, b)))
    }
}
