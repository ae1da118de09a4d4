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
use stem_kernels::chain::{self as kernel_chain, Input, Link};
use stem_kernels::{Precision, linear as kernel, take};
use tracing::trace_span;

use super::tensors::{in_one_piece, is_f32, owned, tensor, values};
use crate::mlp::LinearBank;
use crate::precision;

/// `relu(x_e W_e + b_e)`, or without the ReLU.
///
/// # Shapes
/// `x [E, B, I]`, or `[1, B, I]` when all members read the same, or `[N, B, I]` for the one member that there is; `weight [E, I, O]`,
/// `bias [E, 1, O]`; gives `[E, B, O]`, or `[N, B, O]`.
pub(crate) fn linear(x: Tensor<3>, weight: Tensor<3>, bias: Tensor<3>, relu: bool) -> Tensor<3> {
    let ([streams, rows, input], [members, _, output]) = (x.dims(), weight.dims());
    if members == 1 && streams > 1 {
        let y = linear(x.reshape([1, streams * rows, input]), weight, bias, relu); // one map of many rows
        return y.reshape([streams, rows, output]);
    }
    let how = How { relu, precision: precision::current() };
    let [x, weight, bias] = [x, weight, bias].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as LinearOps>::linear_bank(x, weight, bias, how))
}

/// Banks one after another, with nothing kept between: for scoring. A ReLU follows each of the first `rectified`. `None` on autodiff,
/// which needs what lies between, and where the kernels cannot read the tensors.
///
/// # Shapes
/// As [`linear`], bank by bank.
pub(crate) fn chain(x: &Tensor<3>, banks: &[LinearBank], rectified: usize) -> Option<Tensor<3>> {
    let flex = |tensor: Tensor<3>| tensor.try_into_primitive::<Flex>().ok().filter(is_f32).map(in_one_piece);
    let x = flex(x.clone())?;
    let parameters: Option<Vec<_>> =
        banks.iter().map(|bank| flex(bank.weight.val()).zip(flex(bank.bias.val()))).collect();
    let parameters = parameters?;
    let output = |weight: &FlexTensor| weight.shape()[2];
    let links = parameters.iter().enumerate().map(|(i, (weight, bias))| Link {
        weight: values(weight),
        bias: values(bias),
        output: output(weight),
        relu: i < rectified,
    });
    let links: Vec<_> = links.collect();
    let ((first, _), (last, _)) = (parameters.first()?, parameters.last()?);
    let ([streams, batch, width], [members, ..]) = (x.shape().dims(), first.shape().dims::<3>());
    if streams != 1 && streams != members {
        return None;
    }
    let flop = 2 * links.iter().map(|link| batch * link.weight.len()).sum::<usize>() as u64;
    let _span =
        trace_span!("op", name = "chain", of = format_args!("{members} x {} maps", links.len()), flop).entered();
    let mut y = take(members * batch * output(last)); // [E, B, O]
    let input = Input { x: values(&x), members, batch, width };
    kernel_chain::forward(precision::current(), input, &links, &mut y);
    Some(Tensor::from_primitive::<Flex>(tensor(y, [members, batch, output(last)])))
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
    trace_span!("op", name, of = format_args!("{members} x [{input} -> {output}]"), flop)
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
        let dx = dx.map(|dx| tensor(dx, x.shape()));
        (dx, tensor(dweight, weight.shape()), tensor(dbias, [shape.members, 1, shape.output]))
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
        let ((x, of_x), (weight, of_weight), (bias, of_bias)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        match Step.prepare::<C>([of_x, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let y = B::linear_bank(x.clone(), weight.clone(), bias, how);
                prepared.finish((x, weight, y.clone(), how), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_bank(x, weight, bias, how)),
        }
    }
}
