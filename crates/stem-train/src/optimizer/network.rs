//! An optimizer over all parameters of a network. A parameter that a loss does not reach has no gradient and is left alone.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use stem_core::nn::RowMatrix;
use stem_core::params;

use super::OptimizerConfig;
use super::clip::Clip;
use super::line::{self, LineState, Spread, Stretch, Weights};
use super::state::{OptimizerState, Rows};
use super::{add_scaled, squared_norm};

/// The gradients of a network's parameters, each as a matrix `[n / last, last]`.
#[derive(Debug, Clone, Default)]
pub struct NetworkGradients {
    by_id: HashMap<ParamId, Tensor<2>>,
    /// Order of the walk, so that sums do not depend on a hash.
    order: Vec<ParamId>,
    /// All of them one after the other, where they were joined. `[1, n]`
    line: Option<Tensor<2>>,
}

impl NetworkGradients {
    /// Takes the gradients of `network` out of `grads`.
    pub fn take<M: Module>(network: &M, grads: &mut Gradients) -> Self {
        let mut collector = Collector { grads, found: Self::default() };
        network.visit(&mut collector);
        collector.found
    }

    /// The gradient of one parameter; `None` when the loss does not reach it.
    pub fn get(&self, id: ParamId) -> Option<&Tensor<2>> {
        self.by_id.get(&id)
    }

    /// The same, put side by side too: what is asked of all of them is then asked once. For a device off the host, which is asked op by op.
    #[must_use]
    pub fn joined(self) -> Self {
        let line = (!self.order.is_empty()).then(|| line::join(self.order.iter().map(|id| &self.by_id[id])));
        Self { line, ..self }
    }

    /// Sum of squares over all parameters, started from `start [1]`.
    pub fn add_squared_norm(&self, start: Tensor<1>) -> Tensor<1> {
        if let Some(line) = &self.line {
            return start + squared_norm(line);
        }
        self.order.iter().fold(start, |sum, id| sum + squared_norm(&self.by_id[id]))
    }

    /// Inner product with gradients of the same network, added to `start [1]`. What one of them lacks counts as zero.
    pub fn dot(&self, other: &Self, start: Tensor<1>) -> Tensor<1> {
        let pairs = self.order.iter().filter_map(|id| Some((&self.by_id[id], other.get(*id)?)));
        pairs.fold(start, |sum, (a, b)| sum + (a.clone() * b.clone()).sum())
    }

    /// `self + scale * other`; `scale [1]`, 1 where it is `None`.
    #[must_use]
    pub fn add(mut self, other: &Self, scale: Option<&Tensor<1>>) -> Self {
        self.line = None;
        for id in &other.order {
            let term = match scale {
                Some(scale) => other.by_id[id].clone() * scale.clone().unsqueeze(),
                None => other.by_id[id].clone(),
            };
            let sum = match self.by_id.remove(id) {
                Some(own) => own + term,
                None => {
                    self.order.push(*id);
                    term
                }
            };
            self.by_id.insert(*id, sum);
        }
        self
    }

    /// Every gradient, changed.
    #[must_use]
    pub fn map(self, change: impl Fn(Tensor<2>) -> Tensor<2>) -> Self {
        let by_id = self.by_id.into_iter().map(|(id, grad)| (id, change(grad))).collect();
        Self { by_id, order: self.order, line: None }
    }

    /// All gradients one after the other, in the order of the walk: of every parameter whether it has one, 1 or 0, and its values, zeros where it
    /// has none.
    pub(crate) fn flat<M: Module>(&self, network: &M) -> Vec<f32> {
        let mut flat = Vec::new();
        for (_, id, count) in params::list(network) {
            match self.by_id.get(&id) {
                Some(grad) => {
                    flat.push(1.0);
                    flat.extend(grad.to_data().try_into_vec::<f32>().expect("gradients are f32"));
                }
                None => flat.resize(flat.len() + 1 + count, 0.0),
            }
        }
        flat
    }

    /// The gradients out of a sum of such vectors. A parameter that has none in any of them has none.
    pub(crate) fn of_flat<M: Module>(network: &M, flat: &[f32], device: &Device) -> Self {
        let mut unpack = Unpack { flat, device, found: Self::default() };
        network.visit(&mut unpack);
        unpack.found
    }

    /// Adds `rate * weight` to the gradient of every weight that has one; gives the sum of those weights' squares, `[1]`;
    /// `None` when there is none.
    pub fn decay<M: Module>(&mut self, network: &M, rate: f64) -> Option<Tensor<1>> {
        self.line = None;
        let mut decay = Decay { gradients: self, rate, squares: None };
        network.visit(&mut decay);
        decay.squares
    }
}

struct Unpack<'a> {
    flat: &'a [f32],
    device: &'a Device,
    found: NetworkGradients,
}

impl ModuleVisitor for Unpack<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let dims = param.val().dims();
        let width = dims.last().copied().unwrap_or(1).max(1);
        let (own, later) = self.flat.split_at(1 + dims.iter().product::<usize>());
        self.flat = later;
        if own[0] > 0.0 {
            let values = TensorData::new(own[1..].to_vec(), [(own.len() - 1) / width, width]);
            self.found.by_id.insert(param.id, Tensor::from_data(values, self.device));
            self.found.order.push(param.id);
        }
    }
}

struct Decay<'a> {
    gradients: &'a mut NetworkGradients,
    rate: f64,
    squares: Option<Tensor<1>>,
}

impl ModuleVisitor for Decay<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.gradients.by_id.remove(&param.id) else { return };
        let weight = as_matrix(param.val().inner());
        let (grad, squares) = add_scaled(grad, &weight, self.rate);
        self.squares = Some(match self.squares.take() {
            Some(sum) => sum + squares,
            None => squares,
        });
        self.gradients.by_id.insert(param.id, grad);
    }
}

struct Collector<'a> {
    grads: &'a mut Gradients,
    found: NetworkGradients,
}

impl ModuleVisitor for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = param.val().grad_remove(self.grads) {
            self.found.by_id.insert(param.id, as_matrix(grad));
            self.found.order.push(param.id);
        }
    }
}

pub(super) fn as_matrix<const D: usize>(tensor: Tensor<D>) -> Tensor<2> {
    let dims = tensor.dims();
    let width = dims.last().copied().unwrap_or(1).max(1);
    let rows = dims.iter().product::<usize>() / width;
    tensor.reshape([rows, width])
}

/// An optimizer with a state per parameter.
#[derive(Debug, Default)]
pub struct NetworkOptimizer {
    config: OptimizerConfig,
    state: HashMap<ParamId, OptimizerState>,
    /// Of the parameters whose gradients came joined.
    line: Option<LineState>,
}

impl NetworkOptimizer {
    /// Without any state yet; it grows as gradients arrive. What is row-wise in the table is element-wise here.
    pub fn new(config: OptimizerConfig) -> Self {
        Self { config: config.element_wise(), state: HashMap::new(), line: None }
    }

    /// The state of a parameter that has one, copied: its matrices, and how many steps were made.
    pub(crate) fn read_state(&self, id: ParamId) -> Option<(Vec<TensorData>, i32)> {
        let own = self.state.get(&id).map(|state| {
            let (matrices, step) = state.parts();
            (matrices.iter().map(|matrix| matrix.tensor().to_data()).collect(), step)
        });
        own.or_else(|| self.line.as_ref()?.read(id))
    }

    /// Gives a parameter a state; `false` where it does not fit.
    #[must_use]
    pub(crate) fn set_state(&mut self, id: ParamId, matrices: Vec<RowMatrix>, width: usize, step: i32) -> bool {
        self.part();
        let state = OptimizerState::from_parts(self.config, width, matrices, step);
        state.map(|state| self.state.insert(id, state)).is_some()
    }

    /// One step on every parameter that has a gradient; on all of them at once where the gradients are [joined](NetworkGradients::joined).
    pub fn update<M: Module>(&mut self, network: M, mut gradients: NetworkGradients, rate: f64, clip: &Clip) -> M {
        if let Some(grad) = gradients.line.take() {
            let (stretches, weights) = Weights::of(&network, &gradients.order); // [1, n]
            if let Some(LineState { stretches, state }) = self.line_of(stretches, &grad.device()) {
                let mut line = RowMatrix::new(weights);
                state.update(rate, &mut line, Rows::All, grad, clip);
                return network.map(&mut Spread { stretches, line: line.into_tensor() });
            }
        }
        self.part();
        network.map(&mut Updater { optimizer: self, gradients, rate, clip })
    }

    /// The state of these parameters as a line; `None` where they have not made as many steps, and are updated each by itself.
    fn line_of(&mut self, stretches: Vec<Stretch>, device: &Device) -> Option<&mut LineState> {
        if self.line.as_ref().is_none_or(|line| line.stretches != stretches) {
            self.part();
            let fresh = |stretch: &Stretch| OptimizerState::new(self.config, stretch.dims, device);
            let take = |stretch: &Stretch| self.state.remove(&stretch.id).unwrap_or_else(|| fresh(stretch));
            let states = stretches.iter().map(take).collect();
            match LineState::join(self.config, stretches, states) {
                Ok(line) => self.line = Some(line),
                Err((stretches, states)) => {
                    self.state.extend(stretches.into_iter().map(|stretch| stretch.id).zip(states));
                    return None;
                }
            }
        }
        self.line.as_mut()
    }

    /// Gives every parameter its state by itself again.
    fn part(&mut self) {
        let config = self.config;
        self.state.extend(self.line.take().into_iter().flat_map(|line| line.part(config)));
    }
}

struct Updater<'a> {
    optimizer: &'a mut NetworkOptimizer,
    gradients: NetworkGradients,
    rate: f64,
    clip: &'a Clip,
}

impl ModuleMapper for Updater<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(grad) = self.gradients.by_id.remove(&param.id) else { return param };
        let (config, id) = (self.optimizer.config, param.id);
        param.map(|weight| {
            let dims = weight.dims();
            let weight = as_matrix(weight.inner());
            let fresh = || OptimizerState::new(config, weight.dims(), &weight.device());
            let state = self.optimizer.state.entry(id).or_insert_with(fresh);
            let mut matrix = RowMatrix::new(weight);
            state.update(self.rate, &mut matrix, Rows::All, grad, self.clip);
            matrix.into_tensor().reshape(dims).autodiff().require_grad()
        })
    }
}
