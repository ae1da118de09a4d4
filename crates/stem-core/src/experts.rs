//! `h_e = MLP_e(x_{group(e)})`: each expert reads the stream of its group.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::mlp::{MlpBank, MlpShape};

/// What a layer reads: the tasks' streams and the shared one.
#[derive(Debug, Clone)]
pub struct Streams {
    /// `[T, B, I]`, or `[1, B, I]` where all tasks read the same.
    pub tasks: Tensor<3>,
    /// `[1, B, I_S]`; without it there is nothing that all tasks share.
    pub shared: Option<Tensor<3>>,
    /// `x_t + x_S`, where whoever made the streams has it at hand. `[T, B, I]`
    pub sums: Option<Tensor<3>>,
}

/// The experts of one layer: `specific` per task on its stream, and `C` on the shared stream.
#[derive(Module, Debug)]
pub struct Experts {
    own: Option<MlpBank>,    // T * specific members
    shared: Option<MlpBank>, // C members
    specific: usize,
}

impl Experts {
    /// Draws both banks; a shape of no members has no bank. `own` counts the experts of all tasks, `specific` of each.
    pub fn init(own: MlpShape, shared: MlpShape, specific: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let mut bank = |shape: MlpShape| (shape.members > 0).then(|| shape.init(rng, device));
        Self { own: bank(own), shared: bank(shared), specific }
    }

    /// # Shapes
    /// Gives `h`, in one part or two that are `[E, B, H]` together: task 0's experts, ..., task T-1's, then the shared ones.
    pub fn forward(&self, streams: &Streams) -> Vec<Tensor<3>> {
        let own = self.own.as_ref().map(|bank| bank.forward(self.repeat(streams.tasks.clone())));
        let shared = self.shared.as_ref().zip(streams.shared.clone()).map(|(bank, x)| bank.forward(x));
        own.into_iter().chain(shared).collect()
    }

    /// Each task's stream once per expert of the task. `[T * specific, B, I]`, or `[1, B, I]` where all read the same.
    fn repeat(&self, x: Tensor<3>) -> Tensor<3> {
        let [tasks, ..] = x.dims();
        if tasks == 1 || self.specific == 1 {
            return x;
        }
        let streams: Vec<i32> = (0..tasks as i32).flat_map(|t| std::iter::repeat_n(t, self.specific)).collect();
        let index = Tensor::<1, Int>::from_ints(streams.as_slice(), &x.device());
        x.select(0, index)
    }
}
