//! Adam over all parameters of a network. A parameter that a loss does not reach has no gradient and is left alone.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor};
use stem_core::RowMatrix;

use super::adam::{Adam, Moments, Rows};
use super::clip::{Clip, squared_norm};

/// The gradients of a network's parameters, each as a matrix `[n / last, last]`.
#[derive(Debug, Default)]
pub struct NetworkGradients {
    by_id: HashMap<ParamId, Tensor<2>>,
    /// Order of the walk, so that sums do not depend on a hash.
    order: Vec<ParamId>,
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

    /// Sum of squares over all parameters, started from `start [1]`.
    pub fn add_squared_norm(&self, start: Tensor<1>) -> Tensor<1> {
        self.order.iter().fold(start, |sum, id| sum + squared_norm(&self.by_id[id]))
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

fn as_matrix<const D: usize>(tensor: Tensor<D>) -> Tensor<2> {
    let dims = tensor.dims();
    let width = dims.last().copied().unwrap_or(1).max(1);
    let rows = dims.iter().product::<usize>() / width;
    tensor.reshape([rows, width])
}

/// Adam with a pair of moments per parameter.
#[derive(Debug, Default)]
pub struct NetworkAdam {
    adam: Adam,
    state: HashMap<ParamId, Moments>,
}

impl NetworkAdam {
    /// Without any state yet; it grows as gradients arrive.
    pub fn new(adam: Adam) -> Self {
        Self { adam, state: HashMap::new() }
    }

    /// One step on every parameter that has a gradient.
    pub fn update<M: Module>(&mut self, network: M, gradients: NetworkGradients, rate: f64, clip: &Clip) -> M {
        network.map(&mut Updater { optimizer: self, gradients, rate, clip })
    }
}

struct Updater<'a> {
    optimizer: &'a mut NetworkAdam,
    gradients: NetworkGradients,
    rate: f64,
    clip: &'a Clip,
}

impl ModuleMapper for Updater<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(grad) = self.gradients.by_id.remove(&param.id) else { return param };
        let (adam, id) = (self.optimizer.adam, param.id);
        param.map(|weight| {
            let dims = weight.dims();
            let weight = as_matrix(weight.inner());
            let moments =
                self.optimizer.state.entry(id).or_insert_with(|| Moments::zeros(weight.dims(), &weight.device()));
            let mut matrix = RowMatrix::new(weight);
            moments.update(&adam, self.rate, &mut matrix, Rows::All, grad, self.clip);
            matrix.into_tensor().reshape(dims).autodiff().require_grad()
        })
    }
}
