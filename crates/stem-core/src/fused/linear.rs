//! A bank of linear maps: bias and ReLU in the product's pass, the output kept once (ReLU's mask is its output), gradients without
//! transposed copies.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use stem_kernels::{Precision, linear as kernel, take};

use super::tensors::{in_one_piece, owned, takes, tensor, values};
use crate::precision;

/// `relu(x_e W_e + b_e)`, or without the ReLU.
///
/// # Shapes
/// `x [E, B, I]`, or `[1, B, I]` when all members read the same; `weight [E, I, O]`, `bias [E, 1, O]`; gives `[E, B, O]`.
pub(crate) fn linear(x: &Tensor<3>, weight: &Tensor<3>, bias: &Tensor<3>, relu: bool) -> Option<Tensor<3>> {
    if !takes([(x.device(), x.dtype()), (weight.device(), weight.dtype()), (bias.device(), bias.dtype())]) {
        return None;
    }
    let how = How { relu, precision: precision::current() };
    let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.clone().into_dispatch());
    Some(Tensor::from_dispatch(<Dispatch as LinearOps>::linear_bank(x, weight, bias, how)))
}

/// What beside tensors makes a linear map.
#[derive(Debug, Clone, Copy)]
pub struct How {
    relu: bool,
    precision: Precision,
}

/// Gradients of a linear map: of `x`, where it is asked for, of `weight` and of `bias`.
type LinearGradients<B> = (Option<FloatTensor<B>>, FloatTensor<B>, FloatTensor<B>);

/// The forward, on backends that have a body for it.
#[backend_extension(Flex, Autodiff)]
pub trait LinearOps: Backend {
    /// See [`linear`].
    fn linear_bank(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self>;
}

/// The backward, on backends below autodiff.
pub trait LinearBackward: LinearOps {
    /// From what the forward read and gave, and the gradient of what it gave.
    fn linear_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        y: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        how: How,
        asked_for_x: bool,
    ) -> LinearGradients<Self>;
}

/// Sizes of the kernel's bank, from `x [E or 1, B, I]` and `weight [E, I, O]`.
fn shape(x: &FlexTensor, weight: &FlexTensor, how: How) -> kernel::Shape {
    let ([streams, batch, input], [members, _, output]) = (x.shape().dims(), weight.shape().dims());
    kernel::Shape { members, batch, input, output, shared: streams == 1, relu: how.relu }
}

/// What a profile says of `products` products of this shape.
fn span(name: &'static str, shape: &kernel::Shape, products: u64) -> tracing::Span {
    let kernel::Shape { members, batch, input, output, .. } = *shape;
    let flop = 2 * products * (members * batch * input * output) as u64;
    tracing::trace_span!("op", name, of = format_args!("{members} x [{input} -> {output}]"), flop)
}

impl LinearOps for Flex {
    fn linear_bank(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, how: How) -> FlexTensor {
        let [x, weight, bias] = [x, weight, bias].map(in_one_piece);
        let shape = shape(&x, &weight, how);
        let _span = span("linear forward", &shape, 1).entered();
        let mut y = take(shape.members * shape.batch * shape.output); // [E, B, O]
        kernel::forward(how.precision, shape, values(&x), values(&weight), values(&bias), &mut y);
        tensor(y, [shape.members, shape.batch, shape.output])
    }
}

impl LinearBackward for Flex {
    fn linear_backward(
        x: FlexTensor,
        weight: FlexTensor,
        y: FlexTensor,
        dy: FlexTensor,
        how: How,
        asked_for_x: bool,
    ) -> LinearGradients<Self> {
        let [x, weight, y] = [x, weight, y].map(in_one_piece);
        let shape = shape(&x, &weight, how);
        let _span = span("linear backward", &shape, 1 + u64::from(asked_for_x)).entered();
        let mut dz = owned(dy); // [E, B, O], turned in place into the gradient of the product
        let mut dx = asked_for_x.then(|| take(values(&x).len()));
        let mut dweight = take(values(&weight).len()); // [E, I, O]
        let mut dbias = take(shape.members * shape.output); // [E, 1, O]
        kernel::backward(
            how.precision,
            shape,
            values(&x),
            values(&weight),
            values(&y),
            dz.try_storage_mut().expect("owned some lines above"),
            &mut dweight,
            &mut dbias,
            dx.as_deref_mut(),
        );
        let dx = dx.map(|dx| tensor(dx, x.shape().to_vec()));
        (dx, tensor(dweight, weight.shape().to_vec()), tensor(dbias, [shape.members, 1, shape.output]))
    }
}

#[derive(Debug)]
struct Step;

impl<B: LinearBackward> Backward<B, 3> for Step {
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, How);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (x, weight, y, how) = ops.state;
        let [of_x, of_weight, of_bias] = ops.parents;
        let (dx, dweight, dbias) = B::linear_backward(x, weight, y, dy, how, of_x.is_some());
        for (parent, gradient) in [(of_x, dx), (of_weight, Some(dweight)), (of_bias, Some(dbias))] {
            if let Some((parent, gradient)) = parent.zip(gradient) {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: LinearBackward, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear_bank(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        how: How,
    ) -> FloatTensor<Self> {
        let ((x, of_x), (weight, of_weight), (bias, of_bias)) = (x.into_parts(), weight.into_parts(), bias.into_parts());
        match Step.prepare::<C>([of_x, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let y = B::linear_bank(x.clone(), weight.clone(), bias, how);
                prepared.finish((x, weight, y.clone(), how), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_bank(x, weight, bias, how)),
        }
    }
}
