//! An op on autodiff whose backward is a function of our own.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};

/// From what the forward saved, the gradient of what it gave, and whether each parent's gradient is asked for: the parents'
/// gradients.
type Gradient<B, S, const N: usize> = fn(S, FloatTensor<B>, [bool; N]) -> [Option<FloatTensor<B>>; N];

/// Runs `forward` below autodiff on what the `parents` hold and notes the step back. It gives `(saved, y)`.
pub(super) fn differentiable<B, C, S, const N: usize>(
    parents: [FloatTensor<Autodiff<B, C>>; N],
    forward: impl FnOnce([FloatTensor<B>; N]) -> (S, FloatTensor<B>),
    gradient: Gradient<B, S, N>,
) -> FloatTensor<Autodiff<B, C>>
where
    B: Backend,
    C: CheckpointStrategy,
    S: Clone + Debug + Send + 'static,
{
    let mut nodes = [const { None }; N];
    let mut places = nodes.iter_mut();
    let inputs = parents.map(|parent| {
        let (input, node) = parent.into_parts();
        if let Some(place) = places.next() {
            *place = Some(node);
        }
        input
    });
    let nodes = nodes.map(|node| node.expect("each parent filled its place"));
    let (saved, y) = forward(inputs);
    match (Node { gradient }).prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(saved, y),
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    }
}

/// The step back through an op with `N` parents.
#[derive(Debug)]
struct Node<B: Backend, S, const N: usize> {
    gradient: Gradient<B, S, N>,
}

impl<B: Backend, S: Clone + Debug + Send + 'static, const N: usize> Backward<B, N> for Node<B, S, N> {
    type State = S;

    fn backward(self, ops: Ops<S, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let asked = ops.parents.each_ref().map(Option::is_some);
        for (parent, gradient) in ops.parents.into_iter().zip((self.gradient)(ops.state, dy, asked)) {
            if let Some((parent, gradient)) = parent.zip(gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}
