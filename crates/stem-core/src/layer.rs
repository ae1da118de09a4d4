//! One STEM layer: experts on the groups' streams, gates, and the AFTB mix. Layers stack.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::aftb::{self, AftbMask};
use crate::experts::Experts;
use crate::gate::Gates;

/// Sizes of a layer.
#[derive(Debug, Clone)]
pub struct LayerSizes<'a> {
    /// `T`
    pub tasks: usize,
    /// Experts per task.
    pub specific: usize,
    /// Experts that every task's loss may change.
    pub shared: usize,
    /// Width of each input stream.
    pub input: usize,
    /// Widths of the experts; the last is `H`.
    pub expert: &'a [usize],
    /// Hidden widths of the gates.
    pub gate: &'a [usize],
    /// Dropout after every hidden layer.
    pub dropout: f64,
    /// Whether another layer follows, which reads the shared stream too.
    pub followed: bool,
}

/// Experts, in the order task 0's, ..., task T-1's, shared; one gate per task, and one for the shared stream if it is read.
#[derive(Module, Debug)]
pub struct StemLayer {
    experts: Experts,
    gates: Gates,
    tasks: usize,
    #[module(skip)]
    mask: AftbMask,
    followed: bool,
}

impl StemLayer {
    /// Draws the weights.
    pub fn init(sizes: LayerSizes<'_>, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let LayerSizes { tasks, specific, shared, input, expert, gate, dropout, followed } = sizes;
        let own = (0..tasks).flat_map(|t| std::iter::repeat_n(t, specific));
        let groups: Vec<usize> = own.chain(std::iter::repeat_n(tasks, shared)).collect();
        let count = groups.len();
        Self {
            experts: Experts::init(groups, input, expert, dropout, rng, device),
            gates: Gates::init(tasks + usize::from(followed), input, gate, count, dropout, rng, device),
            tasks,
            mask: AftbMask::task_specific(tasks, specific, shared, followed),
            followed,
        }
    }

    /// # Shapes
    /// `x [T + 1, B, I]`, the tasks' streams and then the shared one; gives `o [T, B, H]`, or `[T + 1, B, H]` when another layer follows.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let g = self.gate(x.clone()); // [T (+ 1), B, E]
        let h = self.experts.forward(x); // [E, B, H]
        aftb::mix(g, h, &self.mask)
    }

    /// The gates alone: task `t` reads `x_t + x_S`, the shared stream's gate `x_S`.
    ///
    /// # Shapes
    /// `x [T + 1, B, I]`; gives `[T, B, E]`, or `[T + 1, B, E]` when another layer follows.
    pub fn gate(&self, x: Tensor<3>) -> Tensor<3> {
        let x_t = x.clone().slice_dim(0, 0..self.tasks); // [T, B, I]
        let x_s = x.slice_dim(0, self.tasks..self.tasks + 1); // [1, B, I]
        let both = x_t + x_s.clone();
        self.gates.forward(if self.followed { Tensor::cat(vec![both, x_s], 0) } else { both })
    }
}
