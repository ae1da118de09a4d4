//! All parameters of a network one after the other, as one matrix of one row: for a device that is asked op by op, where a step on each
//! parameter by itself asks a dozen things for each of them.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use stem_core::nn::RowMatrix;

use super::OptimizerConfig;
use super::network::as_matrix;
use super::state::OptimizerState;

/// A stretch of the line: a parameter, as the matrix `[rows, width]` that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) id: ParamId,
    pub(super) dims: [usize; 2],
    from: usize,
}

impl Stretch {
    fn to(&self) -> usize {
        self.from + self.dims[0] * self.dims[1]
    }

    fn of(&self, line: &Tensor<2>) -> Tensor<2> {
        line.clone().slice([0..1, self.from..self.to()]).reshape(self.dims)
    }
}

/// The state of an optimizer beside such a line.
#[derive(Debug)]
pub(super) struct LineState {
    pub(super) stretches: Vec<Stretch>,
    pub(super) state: OptimizerState,
}

/// Puts matrices side by side: `[1, n]`.
pub(super) fn join<'t>(matrices: impl IntoIterator<Item = &'t Tensor<2>>) -> Tensor<2> {
    let row = |matrix: &Tensor<2>| {
        let [rows, width] = matrix.dims();
        matrix.clone().reshape([1, rows * width])
    };
    Tensor::cat(matrices.into_iter().map(row).collect(), 1)
}

impl LineState {
    /// Puts the states of parameters side by side, if all have made as many steps.
    ///
    /// # Errors
    /// Both as they were, where they have not.
    pub(super) fn join(
        config: OptimizerConfig,
        stretches: Vec<Stretch>,
        states: Vec<OptimizerState>,
    ) -> Result<Self, (Vec<Stretch>, Vec<OptimizerState>)> {
        let step = states.first().map_or(0, |state| state.parts().1);
        if states.is_empty() || states.iter().any(|state| state.parts().1 != step) {
            return Err((stretches, states));
        }
        let count = states[0].parts().0.len();
        let matrix = |k: usize| RowMatrix::new(join(states.iter().map(|state| state.parts().0[k].tensor())));
        let matrices = (0..count).map(matrix).collect(); // [1, n] each
        let width = stretches.last().map_or(0, Stretch::to);
        let state = OptimizerState::from_parts(config, width, matrices, step);
        Ok(Self { stretches, state: state.expect("a state of each element is as wide as the line") })
    }

    /// The state of each parameter by itself again.
    pub(super) fn part(self, config: OptimizerConfig) -> impl Iterator<Item = (ParamId, OptimizerState)> {
        let Self { stretches, state } = self;
        stretches.into_iter().map(move |stretch| {
            let (matrices, step) = state.parts();
            let matrices = matrices.iter().map(|line| RowMatrix::new(stretch.of(line.tensor()))).collect();
            let own = OptimizerState::from_parts(config, stretch.dims[1], matrices, step);
            (stretch.id, own.expect("a stretch is as wide as its parameter"))
        })
    }

    /// The state of a parameter, copied, and how many steps were made; `None` where the line has it not.
    pub(super) fn read(&self, id: ParamId) -> Option<(Vec<TensorData>, i32)> {
        let stretch = self.stretches.iter().find(|stretch| stretch.id == id)?;
        let (matrices, step) = self.state.parts();
        Some((matrices.iter().map(|line| stretch.of(line.tensor()).into_data()).collect(), step))
    }
}

/// Weights of parameters one after the other.
#[derive(Debug, Default)]
pub(super) struct Weights {
    order: Vec<ParamId>,
    stretches: Vec<Stretch>,
    matrices: Vec<Tensor<2>>,
}

impl Weights {
    /// Of these parameters of a network, which stand in the order of its walk; where they lie in the line, and the line `[1, n]`.
    pub(super) fn of<M: Module>(network: &M, order: &[ParamId]) -> (Vec<Stretch>, Tensor<2>) {
        let mut weights = Self { order: order.to_vec(), ..Self::default() };
        network.visit(&mut weights);
        (weights.stretches, join(&weights.matrices))
    }
}

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.order.get(self.stretches.len()) != Some(&param.id) {
            return;
        }
        let matrix = as_matrix(param.val().inner());
        let from = self.stretches.last().map_or(0, Stretch::to);
        self.stretches.push(Stretch { id: param.id, dims: matrix.dims(), from });
        self.matrices.push(matrix);
    }
}

/// Gives parameters the values of their stretches.
pub(super) struct Spread<'a> {
    pub(super) stretches: &'a [Stretch],
    pub(super) line: Tensor<2>,
}

impl ModuleMapper for Spread<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some((stretch, later)) = self.stretches.split_first().filter(|(stretch, _)| stretch.id == param.id) else {
            return param;
        };
        self.stretches = later;
        let values = stretch.of(&self.line);
        param.map(|weight| values.reshape(weight.dims()).autodiff().require_grad())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use stem_core::DeviceSpec;

    use super::*;
    use crate::optimizer::{Clip, NetworkGradients, NetworkOptimizer, Sgd};

    #[derive(Module, Debug)]
    struct Two {
        a: Param<Tensor<1>>,
        b: Param<Tensor<2>>,
    }

    fn step(optimizer: &mut NetworkOptimizer, network: Two, device: &Device) -> Two {
        let loss = (network.a.val() * Tensor::from_floats([2.0, -0.5], device)).sum()
            + (network.b.val() * Tensor::from_floats([[1.0], [3.0], [5.0]], device)).sum();
        let gradients = NetworkGradients::take(&network, &mut loss.backward()).joined();
        optimizer.update(network, gradients, 0.1, &Clip::Host(1.0))
    }

    #[test]
    fn the_state_of_a_line_is_read_parted_and_joined_again_by_parameter() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap().autodiff();
        let network = Two {
            a: Param::from_tensor(Tensor::zeros([2], &device)),
            b: Param::from_tensor(Tensor::zeros([3, 1], &device)),
        };
        let (a, b) = (network.a.id, network.b.id);
        let config = OptimizerConfig::Sgd(Sgd { momentum: 0.5, nesterov: false });
        let mut optimizer = NetworkOptimizer::new(config);
        let network = step(&mut optimizer, network, &device);
        let read = |optimizer: &NetworkOptimizer, id| {
            let (matrices, step) = optimizer.read_state(id).unwrap();
            let [matrix] = <[TensorData; 1]>::try_from(matrices).unwrap();
            (matrix.shape().to_vec(), matrix.try_into_vec::<f32>().unwrap(), step)
        };
        assert_eq!(read(&optimizer, a), (vec![1, 2], vec![2.0, -0.5], 1));
        assert_eq!(read(&optimizer, b), (vec![3, 1], vec![1.0, 3.0, 5.0], 1));

        // A state that is given stands in the place of the line's: momentum 0.5 of 10, and the gradient.
        let own = vec![RowMatrix::new(Tensor::from_floats([[10.0, 10.0]], &device.clone().inner()))];
        assert!(optimizer.set_state(a, own, 2, 1));
        assert_eq!(read(&optimizer, b), (vec![3, 1], vec![1.0, 3.0, 5.0], 1));
        let network = step(&mut optimizer, network, &device);
        assert_eq!(read(&optimizer, a), (vec![1, 2], vec![7.0, 4.5], 2));
        assert_eq!(read(&optimizer, b), (vec![3, 1], vec![1.5, 4.5, 7.5], 2));
        let b: Vec<f32> = network.b.val().inner().into_data().try_into_vec().unwrap();
        assert!(b.iter().zip([-0.25, -0.75, -1.25]).all(|(found, expected)| (found - expected).abs() < 1e-6), "{b:?}");
    }
}
