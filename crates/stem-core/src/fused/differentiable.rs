//! An op on tensors of flex whose backward is a function of our own.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy, NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, AutodiffBackend, DispatchKindConversion, DispatchTensor, Flex};
use burn::tensor::{GradientCheckpointingStrategy as Checkpointing, Tensor};

use super::tensors::{flex, in_one_piece};

/// From what the forward saved, the gradient of what it gave, and whether each parent needs its gradient: the parents'
/// gradients.
type Gradient<S, const N: usize> = fn(S, FlexTensor, [bool; N]) -> [Option<FlexTensor>; N];

/// Runs `forward`, which gives `(saved, y)`, on what the `parents` hold, each in one piece. Where a parent is on autodiff, `y` is too,
/// with the step back noted; parents that are not are constants.
pub(super) fn differentiable<S: Saved, const D: usize, const E: usize, const N: usize>(
    parents: [&Tensor<D>; N],
    forward: impl FnOnce([FlexTensor; N]) -> (S, FlexTensor),
    gradient: Gradient<S, N>,
) -> Tensor<E> {
    match parents.iter().find_map(|parent| parent.gradient_checkpointing_strategy()) {
        None => Tensor::from_primitive::<Flex>(forward(parents.map(|parent| flex(parent.clone()))).1),
        Some(Checkpointing::Disabled) => tracked::<NoCheckpointing, _, _, _, _>(parents, forward, gradient),
        Some(Checkpointing::Balanced) => tracked::<BalancedCheckpointing, _, _, _, _>(parents, forward, gradient),
    }
}

/// What a forward saves for its backward.
pub(super) trait Saved: Clone + Debug + Send + 'static {}

impl<S: Clone + Debug + Send + 'static> Saved for S {}

fn tracked<C: CheckpointStrategy, S: Saved, const D: usize, const E: usize, const N: usize>(
    parents: [&Tensor<D>; N],
    forward: impl FnOnce([FlexTensor; N]) -> (S, FlexTensor),
    gradient: Gradient<S, N>,
) -> Tensor<E>
where
    DispatchTensor: DispatchKindConversion<Autodiff<Flex, C>>,
{
    let parents = parents.map(|parent| match parent.clone().try_into_primitive::<Autodiff<Flex, C>>() {
        Ok(parent) => parent,
        Err(_) => Autodiff::<Flex, C>::from_inner(flex(parent.clone())),
    });
    let nodes = parents.each_ref().map(|parent| parent.node());
    let (saved, y) = forward(parents.map(|parent| in_one_piece(parent.into_primitive())));
    Tensor::from_primitive::<Autodiff<Flex, C>>(
        match (Node { gradient }).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(saved, y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        },
    )
}

/// The step back through an op with `N` parents.
#[derive(Debug)]
struct Node<S, const N: usize> {
    gradient: Gradient<S, N>,
}

impl<S: Saved, const N: usize> Backward<Flex, N> for Node<S, N> {
    type State = S;

    fn backward(self, ops: Ops<S, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let needs_gradient = ops.parents.each_ref().map(Option::is_some);
        for (parent, gradient) in ops.parents.into_iter().zip((self.gradient)(ops.state, dy, needs_gradient)) {
            if let Some((parent, gradient)) = parent.zip(gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}
