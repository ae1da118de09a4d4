//! Layers of crosses of features, one after another.
//!
//! ```text
//! forward     h_l = x_l V_l + c_l        u_l = h_l U_l + b_l        x_{l+1} = x_0 u_l + x_l          x_0 u number by number
//! backward    du = dx_{l+1} x_0          dU = h^T du                db = sum_rows du
//!             dh = du U^T                dV = x_l^T dh              dc = sum_rows dh
//!             dx_l = dx_{l+1} + dh V^T   dx_0 = dx_0 + sum_l dx_{l+1} u_l
//! ```
//!
//! A block (`blocks`) of rows goes through all layers at once; the backward computes anew what lies between.

use crate::arena::{Buffer, take};
use crate::blocks::{Blocks, Rows};
use crate::elementwise::add_rows;
use crate::map::{GroupMap, Map, MapGradient, write_two};
use crate::precision::Precision;
use crate::simd::vectorised;

/// Layers, and the sizes of what they read.
#[derive(Debug, Clone, Copy)]
pub struct Crosses<'a> {
    /// Of all products.
    pub precision: Precision,
    /// `G`
    pub groups: usize,
    /// `B`
    pub batch: usize,
    /// `I`
    pub width: usize,
    /// `V_l`, `c_l` from `I` numbers to `R`, and `U_l`, `b_l` back. All of one `R`.
    pub layers: &'a [[Map<'a>; 2]],
}

/// What `layers` make of `x_0`.
///
/// # Shapes
/// `x0 [G, B, I]`, `y` as many
///
/// # Panics
/// When a length is not that of its shape.
pub fn forward(of: &Crosses, x0: &[f32], y: &mut [f32]) {
    of.check([x0.len(), y.len()]);
    let rows = of.rows();
    of.blocks(3).forward(y, &|g, block, y| of.forward_block(g, rows.of(x0, g, &block), y));
}

/// The gradients of all that [`forward`] read, from that of what it gave.
///
/// # Shapes
/// `x0 [G, B, I]`; `dx` as many, turned in place into the gradient of `x0`; `gradients` as the layers.
///
/// # Panics
/// When a length is not that of its shape.
pub fn backward(of: &Crosses, x0: &[f32], dx: &mut [f32], gradients: &mut [[MapGradient; 2]]) {
    of.check([x0.len(), dx.len()]);
    assert_eq!(gradients.len(), of.layers.len(), "a gradient for every layer");
    let all = of.layers.iter().zip(&*gradients);
    all.for_each(|(maps, own)| own.iter().zip(maps).for_each(|(own, map)| own.check(map)));
    let (rows, blocks, size) = (of.rows(), of.blocks(2 * of.layers.len() + 2), of.sums());
    let scratch = || Scratch::new(of, blocks.block);
    let sums = blocks.backward(dx, size * of.layers.len(), &scratch, &|g, block, dx, scratch, sums| {
        of.backward_block(g, rows.of(x0, g, &block), dx, scratch, sums);
    }); // [G, L, sums]
    for (i, sums) in sums.chunks_exact(size.max(1)).enumerate() {
        let (g, l) = (i / of.layers.len(), i % of.layers.len());
        write_two(of.maps(l, g), g, sums, &mut gradients[l]);
    }
}

impl<'a> Crosses<'a> {
    fn check(&self, numbers: [usize; 2]) {
        assert_eq!(numbers, [self.rows().count(); 2], "features are [G, B, I]");
        for [down, up] in self.layers {
            assert_eq!((down.output, up.output), (self.rank(), self.width), "maps go from I to R and back");
            down.check(self.groups, self.width);
            up.check(self.groups, self.rank());
        }
    }

    fn rows(&self) -> Rows {
        Rows { groups: self.groups, batch: self.batch, width: self.width }
    }

    /// `R`
    fn rank(&self) -> usize {
        self.layers.first().map_or(0, |[down, _]| down.output)
    }

    /// Blocks of which each has so many buffers of its own size.
    fn blocks(&self, buffers: usize) -> Blocks {
        Blocks::new(self.rows(), buffers * self.width, 4 * self.width * self.rank() * self.layers.len())
    }

    /// The maps of a layer and group.
    fn maps(&self, l: usize, g: usize) -> [GroupMap<'a>; 2] {
        let [down, up] = self.layers[l];
        [down.of_group(g, self.width), up.of_group(g, down.output)]
    }

    /// Numbers in the gradients of a layer's maps, of one group.
    fn sums(&self) -> usize {
        2 * self.width * self.rank() + self.rank() + self.width
    }

    fn forward_block(&self, g: usize, x0: &[f32], y: &mut [f32]) {
        let rows = x0.len() / self.width.max(1);
        let mut scratch = take(rows * (self.rank() + self.width));
        let (h, u) = scratch.split_at_mut(rows * self.rank());
        if self.layers.is_empty() {
            y.copy_from_slice(x0);
        }
        for l in 0..self.layers.len() {
            let [down, up] = self.maps(l, g);
            down.forward(self.precision, if l == 0 { x0 } else { y }, false, h);
            up.forward(self.precision, h, false, u);
            match l {
                0 => cross(x0, u, x0, y),
                _ => cross_in_place(x0, u, y),
            }
        }
    }

    /// Adds the gradients of a block's maps to `sums [L, sums]`. `x0`, `dx [rows, I]`
    fn backward_block(&self, g: usize, x0: &[f32], dx: &mut [f32], scratch: &mut Scratch, sums: &mut [f32]) {
        let (precision, last) = (self.precision, self.layers.len().saturating_sub(1));
        let rows = x0.len() / self.width.max(1);
        let (wide, thin) = (rows * self.width, rows * self.rank());
        let Scratch { x, u, h, du, dh, dx0 } = scratch;
        let (du, dh, dx0) = (&mut du[..wide], &mut dh[..thin], &mut dx0[..wide]);
        for l in 0..self.layers.len() {
            let (before, next) = x.split_at_mut(l * wide);
            let x = if l == 0 { x0 } else { &before[(l - 1) * wide..] };
            let (h, u) = (&mut h[l * thin..][..thin], &mut u[l * wide..][..wide]);
            let [down, up] = self.maps(l, g);
            down.forward(precision, x, false, h);
            up.forward(precision, h, false, u);
            if l < last {
                cross(x0, u, x, &mut next[..wide]);
            }
        }
        for (l, sums) in sums.chunks_exact_mut(self.sums().max(1)).enumerate().rev() {
            let x = if l == 0 { x0 } else { &x[(l - 1) * wide..][..wide] };
            let (h, u) = (&h[l * thin..][..thin], &u[l * wide..][..wide]);
            let [down, up] = self.maps(l, g);
            let (of_down, of_up) = sums.split_at_mut(down.sums());
            cross_backward([x0, u, dx], du, dx0, l < last);
            up.add_gradient(precision, h, du, of_up);
            up.input_gradient(precision, du, dh, false);
            down.add_gradient(precision, x, dh, of_down);
            down.input_gradient(precision, dh, dx, true);
        }
        if !self.layers.is_empty() {
            add_rows(dx, dx0);
        }
    }
}

/// What the backward of a block works on.
struct Scratch {
    /// `x_1` to `x_{L-1}`. `[L - 1, block, I]`
    x: Buffer,
    /// `[L, block, I]`
    u: Buffer,
    /// `[L, block, R]`
    h: Buffer,
    du: Buffer,
    dh: Buffer,
    dx0: Buffer,
}

impl Scratch {
    fn new(of: &Crosses, block: usize) -> Self {
        let (wide, thin, layers) = (block * of.width, block * of.rank(), of.layers.len());
        let [x, u, du, dx0] = [layers.saturating_sub(1), layers, 1, 1].map(|count| take(count * wide));
        Self { x, u, h: take(layers * thin), du, dh: take(thin), dx0 }
    }
}

vectorised! {
    /// `y = x_0 u + x`
    fn cross(x0: &[f32], u: &[f32], x: &[f32], y: &mut [f32]) {
        for (((y, x0), u), x) in y.iter_mut().zip(x0).zip(u).zip(x) {
            *y = x0 * u + x;
        }
    }

    /// `x = x_0 u + x`
    fn cross_in_place(x0: &[f32], u: &[f32], x: &mut [f32]) {
        for ((x, x0), u) in x.iter_mut().zip(x0).zip(u) {
            *x += x0 * u;
        }
    }

    /// `du = dy x_0` and `dx_0 = [dx_0 +] dy u`
    fn cross_backward(read: [&[f32]; 3], du: &mut [f32], dx0: &mut [f32], adds: bool) {
        let [x0, u, dy] = read;
        let all = du.iter_mut().zip(dx0).zip(x0.iter().zip(u).zip(dy));
        if adds {
            for ((du, dx0), ((x0, u), dy)) in all {
                *du = dy * x0;
                *dx0 += dy * u;
            }
        } else {
            for ((du, dx0), ((x0, u), dy)) in all {
                *du = dy * x0;
                *dx0 = dy * u;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
