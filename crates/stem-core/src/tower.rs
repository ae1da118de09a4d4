//! `y_t = score_t(tower_t(o_t))`: towers give logits, one a task or as many as its [kind](crate::TaskKind) has outputs; the loss and the
//! predictor make of them what they stand for.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::mlp::{HiddenConfig, MlpBank, MlpShape};
use crate::schema::{Schema, Task};

/// One MLP per task, ending in its outputs. All end in as many numbers as the widest needs; what a task does not need is left unread.
#[derive(Module, Debug)]
pub struct Towers {
    bank: MlpBank,
    /// Outputs of each task. `[T]`
    #[module(skip)]
    outputs: Vec<usize>,
}

impl Towers {
    /// The shape of a tower for each of `tasks`, with hidden widths `widths` on inputs of width `input`.
    pub fn shape<'a>(tasks: &[Task], input: usize, widths: &'a [usize], hidden: &'a HiddenConfig) -> MlpShape<'a> {
        let widest = tasks.iter().map(|task| task.kind.outputs()).max();
        MlpShape { members: tasks.len(), input, widths, output: Some(widest.unwrap_or(1)), hidden }
    }

    /// Draws towers of a [`Towers::shape`].
    pub fn init(shape: MlpShape, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let outputs = schema.tasks.iter().map(|task| task.kind.outputs()).collect();
        Self { bank: shape.init(rng, device), outputs }
    }

    /// # Shapes
    /// `o [T, B, H]`, or `[1, B, H]` when all towers read the same; gives logits `[B, L]`, `L` outputs of all tasks side by side.
    pub fn forward(&self, o: Tensor<3>) -> Tensor<2> {
        self.forward_gated(o, None)
    }

    /// As [`forward`](Self::forward), under the gates whose logits are [`Pooled::tower_gates`](crate::nn::Pooled::tower_gates), where there are some.
    pub fn forward_gated(&self, o: Tensor<3>, gates: Option<&[Tensor<3>]>) -> Tensor<2> {
        let y = match gates {
            Some(gates) => self.bank.forward_gated(o, gates),
            None => self.bank.forward(o),
        }; // [T, B, O]
        if y.dims()[2] == 1 {
            return y.squeeze_dim::<2>(2).transpose(); // [B, T]
        }
        let own = |(t, &outputs): (usize, &usize)| {
            y.clone().slice_dim(0, t..t + 1).slice_dim(2, 0..outputs).squeeze_dim::<2>(0) // [B, outputs]
        };
        Tensor::cat(self.outputs.iter().enumerate().map(own).collect(), 1)
    }
}
