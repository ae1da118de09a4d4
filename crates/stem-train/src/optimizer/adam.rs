//! Adam (Kingma and Ba, 2015, algorithm 1), in the arithmetic of PyTorch.
//!
//! ```text
//! m = m + (1 - b1)(g - m)        v = b2 v + (1 - b2) g g
//! w = w - rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//! ```

use burn::tensor::{Device, Int, Tensor};
use rayon::join;
use stem_core::RowMatrix;

use super::clip::Clip;

/// Elements a thread updates before it is worth asking another one.
const GRAIN: usize = 32_768;

/// Hyper-parameters beside the rate. The defaults are PyTorch's; Burn's own epsilon is 1e-5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// The numbers of one step.
#[derive(Debug, Clone, Copy)]
struct Coefficients {
    keep_m: f32,
    keep_v: f32,
    step_size: f32,
    root: f32,
    epsilon: f32,
}

impl Adam {
    fn at(&self, step: i32, rate: f64) -> Coefficients {
        Coefficients {
            keep_m: self.beta1 as f32,
            keep_v: self.beta2 as f32,
            step_size: (rate / (1.0 - self.beta1.powi(step))) as f32,
            root: (1.0 - self.beta2.powi(step)).sqrt() as f32,
            epsilon: self.epsilon as f32,
        }
    }
}

/// Which rows a gradient belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// Every row of the matrix.
    All,
    /// Distinct, ascending rows, on the host and as an index on the device.
    Distinct {
        /// On the host.
        ids: &'a [u32],
        /// On the device.
        index: &'a Tensor<1, Int>,
    },
}

/// Adam's state beside a matrix of weights.
#[derive(Debug)]
pub struct Moments {
    mean: RowMatrix,
    square: RowMatrix,
    step: i32,
}

impl Moments {
    /// Zeros for a matrix of `rows x width`.
    pub fn zeros([rows, width]: [usize; 2], device: &Device) -> Self {
        Self { mean: RowMatrix::zeros(rows, width, device), square: RowMatrix::zeros(rows, width, device), step: 0 }
    }

    /// One step on `rows` of `weights` with their gradient `[U, width]`, which `clip` scales.
    pub fn update(
        &mut self,
        adam: &Adam,
        rate: f64,
        weights: &mut RowMatrix,
        rows: Rows<'_>,
        grad: Tensor<2>,
        clip: &Clip,
    ) {
        self.step += 1;
        let c = adam.at(self.step, rate);
        match clip {
            Clip::Host(scale) if weights.is_on_host() => self.update_slices(c, weights, rows, grad, *scale),
            _ => self.update_tensors(c, weights, rows, clip.apply(grad)),
        }
    }

    /// In place, one sweep over weights and moments.
    fn update_slices(&mut self, c: Coefficients, weights: &mut RowMatrix, rows: Rows<'_>, grad: Tensor<2>, scale: f32) {
        let [count, width] = grad.dims();
        let grad = grad.into_data();
        let grad: &[f32] = grad.as_slice().expect("gradients are f32");
        weights.host_mut(|w| {
            self.mean.host_mut(|m| {
                self.square.host_mut(|v| {
                    let part = Part { first: 0, from: 0, to: count, w, m, v };
                    match rows {
                        Rows::All => sweep(part, &|i| i, grad, width, c, scale),
                        Rows::Distinct { ids, .. } => sweep(part, &|i| ids[i] as usize, grad, width, c, scale),
                    }
                });
            });
        });
    }

    /// The same as tensor operations, for devices whose memory the host cannot reach.
    fn update_tensors(&mut self, c: Coefficients, weights: &mut RowMatrix, rows: Rows<'_>, grad: Tensor<2>) {
        let read = |matrix: &RowMatrix| match rows {
            Rows::All => matrix.tensor().clone(),
            Rows::Distinct { index, .. } => matrix.gather(index.clone()),
        };
        let write = |matrix: &mut RowMatrix, values: Tensor<2>| match rows {
            Rows::All => *matrix = RowMatrix::new(values),
            Rows::Distinct { index, .. } => matrix.scatter(index.clone(), values),
        };
        let (w, m, v) = (read(weights), read(&self.mean), read(&self.square)); // [U, W] each
        let m = m.clone() + (grad.clone() - m) * (1.0 - c.keep_m);
        let v = v * c.keep_v + grad.clone() * grad * (1.0 - c.keep_v);
        let w = w - m.clone() * c.step_size / (v.clone().sqrt() / c.root + c.epsilon);
        write(weights, w);
        write(&mut self.mean, m);
        write(&mut self.square, v);
    }
}

/// A stretch of the matrices that one thread owns: rows from `first` on, gradient rows `from..to`.
struct Part<'a> {
    first: usize,
    from: usize,
    to: usize,
    w: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

/// Splits at a row boundary until a part is small; rows ascend, so the halves never touch the same memory.
fn sweep(
    part: Part<'_>,
    row: &(impl Fn(usize) -> usize + Sync),
    grad: &[f32],
    width: usize,
    c: Coefficients,
    scale: f32,
) {
    let Part { first, from, to, w, m, v } = part;
    if (to - from) * width > GRAIN && to - from > 1 {
        let middle = from + (to - from) / 2;
        let cut = (row(middle) - first) * width;
        let (w, w_high) = w.split_at_mut(cut);
        let (m, m_high) = m.split_at_mut(cut);
        let (v, v_high) = v.split_at_mut(cut);
        let low = Part { first, from, to: middle, w, m, v };
        let high = Part { first: row(middle), from: middle, to, w: w_high, m: m_high, v: v_high };
        join(|| sweep(low, row, grad, width, c, scale), || sweep(high, row, grad, width, c, scale));
        return;
    }
    for i in from..to {
        let at = (row(i) - first) * width..(row(i) - first + 1) * width;
        update_row(&mut w[at.clone()], &mut m[at.clone()], &mut v[at], &grad[i * width..(i + 1) * width], c, scale);
    }
}

fn update_row(w: &mut [f32], m: &mut [f32], v: &mut [f32], grad: &[f32], c: Coefficients, scale: f32) {
    for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(grad) {
        let g = g * scale;
        *m += (g - *m) * (1.0 - c.keep_m);
        *v = *v * c.keep_v + g * g * (1.0 - c.keep_v);
        *w -= *m * c.step_size / (v.sqrt() / c.root + c.epsilon);
    }
}
