//! An op on tensors of flex whose backward is a function of our own.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// The gradient of what several tensors are made of: from what a forward saved and the gradient of what it gave, with that so far, if there is one.
type Added<S> = fn(S, FlexTensor, Option<FlexTensor>) -> FlexTensor;

/// Several tensors made of one, whose gradients are added in place: the first on its way back makes the gradient of the whole, the others add
/// to it. Autodiff alone would add tensors as large as the one, which are mostly zeros.
pub(super) fn fan_out<S: Saved, const D: usize, const N: usize>(
    x: &Tensor<D>,
    saved: [S; N],
    forward: fn(&S, FlexTensor) -> FlexTensor,
    gradient: Added<S>,
) -> [Tensor<D>; N] {
    match x.gradient_checkpointing_strategy() {
        None => {
            let x = flex(x.clone());
            saved.map(|saved| Tensor::from_primitive::<Flex>(forward(&saved, x.clone())))
        }
        Some(Checkpointing::Disabled) => fan_out_tracked::<NoCheckpointing, _, _, _>(x, saved, forward, gradient),
        Some(Checkpointing::Balanced) => fan_out_tracked::<BalancedCheckpointing, _, _, _>(x, saved, forward, gradient),
    }
}

fn fan_out_tracked<C: CheckpointStrategy, S: Saved, const D: usize, const N: usize>(
    x: &Tensor<D>,
    saved: [S; N],
    forward: fn(&S, FlexTensor) -> FlexTensor,
    gradient: Added<S>,
) -> [Tensor<D>; N]
where
    DispatchTensor: DispatchKindConversion<Autodiff<Flex, C>>,
{
    let hub: Tensor<D> = differentiable([x], |[x]| ((), x), |(), dx, _| [Some(dx)]); // read by these alone: a gradient of it is theirs
    let begun = Arc::new(AtomicBool::new(false)); // for good: a forward has one backward
    saved.map(|saved| {
        let parent = hub.clone().try_into_primitive::<Autodiff<Flex, C>>().expect("the hub is on autodiff, as `x` is");
        let nodes = [parent.node()];
        let y = forward(&saved, in_one_piece(parent.into_primitive()));
        let state = (saved, begun.clone());
        Tensor::from_primitive::<Autodiff<Flex, C>>(
            match (AddingNode { gradient }).prepare::<C>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(state, y),
                OpsKind::UnTracked(prepared) => prepared.finish(y),
            },
        )
    })
}

/// The step back through one of the tensors.
#[derive(Debug)]
struct AddingNode<S> {
    gradient: Added<S>,
}

impl<S: Saved> Backward<Flex, 1> for AddingNode<S> {
    type State = (S, Arc<AtomicBool>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<Flex>(&ops.node);
        let ([parent], (saved, begun)) = (ops.parents, ops.state);
        if let Some(parent) = parent {
            let so_far = begun.swap(true, Ordering::Relaxed).then(|| grads.consume::<Flex>(&parent));
            grads.register::<Flex>(parent.id, (self.gradient)(saved, dy, so_far));
        }
    }
}
