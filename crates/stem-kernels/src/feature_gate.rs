//! Gates on features: each number of a row is multiplied with one between 0 and 2 that two maps make of the row.
//!
//! ```text
//! forward     h = act(x V + c)           z = h U + b                y = x g          g = 2 sigmoid(z), number by number; act a ReLU or nothing
//! backward    dz = dy x g (1 - g / 2)    dU = h^T dz                db = sum_rows dz
//!             dh = dz U^T where act let it pass                     dV = x^T dh      dc = sum_rows dh
//!             dx = dy g                  dx_C = dx_C + dh P^T       C the columns that the gate's gradient reaches, P its map there
//! ```
//!
//! `P` is `V` where the gate learns through all that it reads, and `C` are all columns. A block (`blocks`) of rows goes through both maps at
//! once; the backward computes anew what lies between.

use std::ops::Range;

use crate::arena::{Buffer, take};
use crate::blocks::{Blocks, Rows};
use crate::elementwise::relu_mask;
use crate::map::{GroupMap, Map, MapGradient, write_two};
use crate::mat::{Mat, MatMut};
use crate::precision::Precision;
use crate::product::{Epilogue, multiply};
use crate::simd::{sigmoid, vectorised};

/// Gates, and the sizes of what they read.
#[derive(Debug, Clone)]
pub struct FeatureGates<'a> {
    /// Of all products.
    pub precision: Precision,
    /// `G`
    pub groups: usize,
    /// `B`
    pub batch: usize,
    /// `I`
    pub width: usize,
    /// `V`, `c` from `I` numbers to `R`, and `U`, `b` back.
    pub maps: [Map<'a>; 2],
    /// Whether a ReLU stands between them.
    pub relu: bool,
    /// `C`
    pub reached: Range<usize>,
    /// `P [G, C, R]`
    pub path: &'a [f32],
}

/// The features under their gates.
///
/// # Shapes
/// `x [G, B, I]`, `y` as many
///
/// # Panics
/// When a length is not that of its shape.
pub fn forward(of: &FeatureGates, x: &[f32], y: &mut [f32]) {
    of.check([x.len(), y.len()]);
    let rows = of.rows();
    of.blocks(2).forward(y, &|g, block, y| {
        let x = rows.of(x, g, &block);
        let mut h = take(block.len() * of.rank());
        of.logits(of.of_group(g), x, &mut h, y);
        gate(x, y);
    });
}

/// The gradients of all that [`forward`] read, from that of what it gave.
///
/// # Shapes
/// `x [G, B, I]`; `dx` as many, turned in place into the gradient of `x`; `gradients` as the maps, of `V` as if `P` were its own.
///
/// # Panics
/// When a length is not that of its shape.
pub fn backward(of: &FeatureGates, x: &[f32], dx: &mut [f32], gradients: &mut [MapGradient; 2]) {
    of.check([x.len(), dx.len()]);
    gradients.iter().zip(&of.maps).for_each(|(own, map)| own.check(map));
    let (rows, blocks) = (of.rows(), of.blocks(3));
    let scratch = || Scratch::new(of, blocks.block);
    let size = of.of_group(0).iter().map(GroupMap::sums).sum();
    let sums = blocks.backward(dx, size, &scratch, &|g, block, dx, scratch, sums| {
        of.backward_block(g, rows.of(x, g, &block), dx, scratch, sums);
    }); // [G, sums]
    for (g, sums) in sums.chunks_exact(size.max(1)).enumerate() {
        write_two(of.of_group(g), g, sums, gradients);
    }
}

impl<'a> FeatureGates<'a> {
    fn check(&self, numbers: [usize; 2]) {
        assert_eq!(numbers, [self.rows().count(); 2], "features are [G, B, I]");
        let [down, up] = &self.maps;
        assert!(self.groups > 0 && up.output == self.width, "maps go from I to R and back, in some groups");
        down.check(self.groups, self.width);
        up.check(self.groups, self.rank());
        assert!(self.reached.start <= self.reached.end && self.reached.end <= self.width, "columns are among I");
        assert_eq!(self.path.len(), self.groups * self.reached.len() * self.rank(), "a path is [G, C, R]");
    }

    fn rows(&self) -> Rows {
        Rows { groups: self.groups, batch: self.batch, width: self.width }
    }

    /// `R`
    fn rank(&self) -> usize {
        self.maps[0].output
    }

    fn blocks(&self, buffers: usize) -> Blocks {
        Blocks::new(self.rows(), buffers * self.width, 4 * self.width * self.rank())
    }

    fn of_group(&self, g: usize) -> [GroupMap<'a>; 2] {
        let [down, up] = self.maps;
        [down.of_group(g, self.width), up.of_group(g, down.output)]
    }

    /// `h` and `z`
    fn logits(&self, [down, up]: [GroupMap; 2], x: &[f32], h: &mut [f32], z: &mut [f32]) {
        down.forward(self.precision, x, self.relu, h);
        up.forward(self.precision, h, false, z);
    }

    /// Adds the gradients of a block's maps to `sums`. `x`, `dx [rows, I]`
    fn backward_block(&self, g: usize, x: &[f32], dx: &mut [f32], scratch: &mut Scratch, sums: &mut [f32]) {
        let (precision, rank, columns) = (self.precision, self.rank(), self.reached.len());
        let rows = x.len() / self.width.max(1);
        let Scratch { h, dh, z, reached } = scratch;
        let (h, dh, z) = (&mut h[..rows * rank], &mut dh[..rows * rank], &mut z[..rows * self.width]);
        let [down, up] = self.of_group(g);
        let (of_down, of_up) = sums.split_at_mut(down.sums());
        self.logits([down, up], x, h, z);
        gate_backward(x, z, dx);
        let dz = &*z;
        up.add_gradient(precision, h, dz, of_up);
        up.input_gradient(precision, dz, dh, false);
        if self.relu {
            relu_mask(dh, h);
        }
        down.add_gradient(precision, x, dh, of_down);
        let path = Mat::new(&self.path[g * columns * rank..], columns, rank).t(); // [R, C]
        let dh = Mat::new(dh, rows, rank);
        if columns == self.width {
            let more = Epilogue { accumulate: true, ..Epilogue::default() };
            return multiply(precision, dh, path, MatMut::new(dx, rows, columns), more);
        }
        let reached = &mut reached[..rows * columns];
        multiply(precision, dh, path, MatMut::new(reached, rows, columns), Epilogue::default());
        add_columns(reached, dx, self.reached.start, columns);
    }
}

/// What the backward of a block works on.
struct Scratch {
    /// `[block, R]`
    h: Buffer,
    dh: Buffer,
    /// `[block, I]`, turned in place into its gradient.
    z: Buffer,
    /// `[block, C]`
    reached: Buffer,
}

impl Scratch {
    fn new(of: &FeatureGates, block: usize) -> Self {
        let [h, dh, z, reached] = [of.rank(), of.rank(), of.width, of.reached.len()].map(|width| take(block * width));
        Self { h, dh, z, reached }
    }
}

/// Features under gates whose logits are there: `y = x 2 sigmoid(z)`.
///
/// # Panics
/// When the lengths differ.
pub fn scale(x: &[f32], z: &[f32], y: &mut [f32]) {
    assert_eq!([x.len(), z.len()], [y.len(); 2], "a gate for every number");
    y.copy_from_slice(z);
    gate(x, y);
}

/// The gradients of `x` and `z`, from that of what [`scale`] gave: `dx` comes in as `dy`, `dz` as `z`.
///
/// # Panics
/// When the lengths differ.
pub fn scale_backward(x: &[f32], dz: &mut [f32], dx: &mut [f32]) {
    assert_eq!([x.len(), dz.len()], [dx.len(); 2], "a gate for every number");
    gate_backward(x, dz, dx);
}

/// `to_C = to_C + from` for every row. `from [rows, C]`, `to [rows, I]`
fn add_columns(from: &[f32], to: &mut [f32], first: usize, columns: usize) {
    let rows = from.len() / columns.max(1);
    let width = to.len() / rows.max(1);
    for (to, from) in to.chunks_exact_mut(width.max(1)).zip(from.chunks_exact(columns.max(1))) {
        to[first..first + columns].iter_mut().zip(from).for_each(|(to, from)| *to += from);
    }
}

vectorised! {
    /// `y = x g`, where `y` comes in as `z`.
    fn gate(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x * (2.0 * sigmoid(*y));
        }
    }

    /// `dz = dy x g (1 - g / 2)` and `dx = dy g`, where `dz` comes in as `z` and `dx` as `dy`.
    fn gate_backward(x: &[f32], dz: &mut [f32], dx: &mut [f32]) {
        for ((dx, dz), x) in dx.iter_mut().zip(dz).zip(x) {
            let p = sigmoid(*dz);
            let (dy, g) = (*dx, 2.0 * p);
            *dz = dy * x * (g * (1.0 - p));
            *dx = dy * g;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
