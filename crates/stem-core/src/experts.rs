//! `h_e = MLP_e(x_{group(e)})`: each expert reads the stream of its group.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
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

/// `h`, what the experts of a layer give. Task experts and shared ones come out of two banks and stay two tensors: put into one
/// they would be copied each way.
#[derive(Debug, Clone)]
pub struct ExpertOutputs {
    /// `[E_1, B, H]`
    pub first: Tensor<3>,
    /// `[E - E_1, B, H]`
    pub others: Option<Tensor<3>>,
}

impl From<Tensor<3>> for ExpertOutputs {
    fn from(h: Tensor<3>) -> Self {
        Self { first: h, others: None }
    }
}

/// The experts of one layer: `specific` per task on its stream, and `C` on the shared stream.
#[derive(Module, Debug)]
pub struct Experts {
    own: Option<MlpBank>,    // T * specific members
    shared: Option<MlpBank>, // C members
}

impl Experts {
    /// Draws both banks; a shape of no members has no bank. `own` counts the experts of all tasks, task 0's first.
    ///
    /// # Panics
    /// When neither has a member.
    pub fn init(own: MlpShape, shared: MlpShape, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        assert!(own.members + shared.members > 0, "a layer has an expert");
        let mut bank = |shape: MlpShape| (shape.members > 0).then(|| shape.init(rng, device));
        Self { own: bank(own), shared: bank(shared) }
    }

    /// # Shapes
    /// Gives `h [E, B, H]`: task 0's experts, ..., task T-1's, then the shared ones.
    ///
    /// # Panics
    /// When there are shared experts and no shared stream that they could read.
    pub fn forward(&self, x: &Streams) -> ExpertOutputs {
        let own = self.own.as_ref().map(|bank| bank.forward(x.tasks.clone()));
        let shared = self.shared.as_ref().map(|bank| bank.forward(x.shared.clone().expect("shared experts read x_S")));
        let mut banks = own.into_iter().chain(shared);
        ExpertOutputs { first: banks.next().expect("`init` saw an expert"), others: banks.next() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSpec;
    use crate::mlp::HiddenConfig;
    use rand::SeedableRng;

    /// Experts of width 2 on inputs of width 3, and streams of 2 tasks without a shared one.
    fn experts(own: usize, shared: usize) -> (Experts, Streams) {
        let (device, hidden) = (DeviceSpec::from_env().unwrap().open().unwrap(), HiddenConfig::default());
        let shape = |members| MlpShape { members, input: 3, widths: &[2], output: None, hidden: &hidden };
        let experts = Experts::init(shape(own), shape(shared), &mut ChaCha8Rng::seed_from_u64(1), &device);
        (experts, Streams { tasks: Tensor::ones([2, 5, 3], &device), shared: None, sums: None })
    }

    #[test]
    #[should_panic(expected = "a layer has an expert")]
    fn a_layer_without_experts_is_refused() {
        experts(0, 0);
    }

    #[test]
    #[should_panic(expected = "shared experts read x_S")]
    fn shared_experts_without_a_shared_stream_are_not_dropped_in_silence() {
        let (experts, streams) = experts(4, 1);
        experts.forward(&streams);
    }
}
