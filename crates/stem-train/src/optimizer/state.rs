//! An optimizer's state beside a matrix of weights, and its step on both.

use std::array::from_fn;

use burn::tensor::{Device, Int, Tensor};
use stem_core::nn::RowMatrix;

use super::OptimizerConfig;
use super::clip::Clip;
use super::rule::Rule;
use super::sgd::Sgd;
use super::sweep::{Part, Slab, sweep};

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

/// An optimizer and its state beside one matrix of weights.
#[derive(Debug)]
pub struct OptimizerState {
    config: OptimizerConfig,
    /// As many as the rule takes, each with the rows of the weights.
    matrices: Vec<RowMatrix>,
    step: i32,
}

/// What a step changes, and by what.
struct Step<'a> {
    weights: &'a mut RowMatrix,
    rows: Rows<'a>,
    grad: Tensor<2>,
    clip: &'a Clip,
}

impl OptimizerState {
    /// The state before the first step on weights of `rows x width`.
    pub fn new(config: OptimizerConfig, [rows, width]: [usize; 2], device: &Device) -> Self {
        let start = |width| match config.initial() {
            0.0 => RowMatrix::zeros(rows, width, device),
            initial => RowMatrix::new(Tensor::full([rows, width], initial as f32, device)),
        };
        Self { config, matrices: config.state_widths(width).into_iter().map(start).collect(), step: 0 }
    }

    /// The matrices, each with the rows of the weights, and how many steps were made.
    pub(crate) fn parts(&self) -> (&[RowMatrix], i32) {
        (&self.matrices, self.step)
    }

    /// The matrices, in their order.
    pub(crate) fn matrices_mut(&mut self) -> &mut [RowMatrix] {
        &mut self.matrices
    }

    /// The matrices, to be filled with those after `step` steps.
    pub(crate) fn filled_to(&mut self, step: i32) -> &mut [RowMatrix] {
        self.step = step;
        &mut self.matrices
    }

    /// Goes on from there; `None` where these are not the matrices of the optimizer.
    pub(crate) fn from_parts(
        config: OptimizerConfig,
        width: usize,
        matrices: Vec<RowMatrix>,
        step: i32,
    ) -> Option<Self> {
        let widths = matrices.iter().map(|matrix| matrix.dims()[1]);
        widths.eq(config.state_widths(width)).then_some(Self { config, matrices, step })
    }

    /// A step that takes no row of these.
    pub(crate) fn skip(&mut self) {
        self.step += 1;
    }

    /// One step on `rows` of `weights` with their gradient `[U, width]`, which `clip` scales.
    pub fn update(&mut self, rate: f64, weights: &mut RowMatrix, rows: Rows<'_>, grad: Tensor<2>, clip: &Clip) {
        self.step += 1;
        let step = Step { weights, rows, grad, clip };
        match self.config {
            OptimizerConfig::Adam(adam) => self.follow(adam.at(self.step, rate), step),
            OptimizerConfig::AdamW(adamw) => self.follow(adamw.at(self.step, rate), step),
            OptimizerConfig::Adagrad(adagrad) if adagrad.row_wise => self.follow(adagrad.row_step(rate), step),
            OptimizerConfig::Adagrad(adagrad) => self.follow(adagrad.element_step(rate), step),
            OptimizerConfig::Sgd(sgd) if sgd.momentum == 0.0 => self.follow(Sgd::plain_step(rate), step),
            OptimizerConfig::Sgd(sgd) => self.follow(sgd.momentum_step(rate), step),
        }
    }

    fn follow<const N: usize>(&mut self, rule: impl Rule<N>, step: Step<'_>) {
        match step.clip {
            Clip::Host(scale) if step.weights.is_on_host() => self.update_slices(rule, step, *scale),
            _ => self.update_tensors(rule, step),
        }
    }

    /// In place, one sweep over weights and state.
    fn update_slices<const N: usize>(&mut self, rule: impl Rule<N>, step: Step<'_>, scale: f32) {
        let Step { weights, rows, grad, .. } = step;
        let [count, width] = grad.dims();
        let grad = grad.into_data();
        let grad: &[f32] = grad.as_slice().expect("gradients are f32");
        weights.host_mut(|values| {
            lend(&mut self.matrices, Vec::with_capacity(N), &mut |state| {
                let state: [Slab<'_>; N] = state.try_into().expect("the state was made for the rule");
                let part = Part { first: 0, from: 0, to: count, weights: Slab::new(values, width), state };
                match rows {
                    Rows::All => sweep(part, rule, &|i| i, grad, scale),
                    Rows::Distinct { ids, .. } => sweep(part, rule, &|i| ids[i] as usize, grad, scale),
                }
            });
        });
    }

    /// The same as tensor operations, for devices whose memory the host cannot reach.
    fn update_tensors<const N: usize>(&mut self, rule: impl Rule<N>, step: Step<'_>) {
        let Step { weights, rows, grad, clip } = step;
        let read = |matrix: &RowMatrix| match rows {
            Rows::All => matrix.tensor().clone(),
            Rows::Distinct { index, .. } => matrix.gather(index.clone()),
        };
        let write = |matrix: &mut RowMatrix, values: Tensor<2>| match rows {
            Rows::All => *matrix = RowMatrix::new(values),
            Rows::Distinct { index, .. } => matrix.scatter(index.clone(), values),
        };
        let state: [Tensor<2>; N] = from_fn(|i| read(&self.matrices[i])); // [U, W] each, or [U, 1]
        let (values, state) = rule.tensors(read(weights), state, clip.apply(grad));
        write(weights, values);
        self.matrices.iter_mut().zip(state).for_each(|(matrix, values)| write(matrix, values));
    }
}

/// Lends the values of all matrices at once, behind those already `lent`.
fn lend(matrices: &mut [RowMatrix], lent: Vec<Slab<'_>>, change: &mut dyn FnMut(Vec<Slab<'_>>)) {
    let Some((matrix, others)) = matrices.split_first_mut() else { return change(lent) };
    let [_, width] = matrix.dims();
    matrix.host_mut(|values| {
        let mut lent = lent;
        lent.push(Slab::new(values, width));
        lend(others, lent, change);
    });
}
