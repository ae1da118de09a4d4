//! A bank of linear maps: bias and ReLU in the product's pass, the output kept once (ReLU's mask is its output), gradients without
//! transposed copies.

use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;
use stem_kernels::chain::{self as kernel_chain, Input, Link};
use stem_kernels::{Precision, linear as kernel, take};
use tracing::trace_span;

use super::calls::note;
use super::differentiable::differentiable;
use super::replay::saw_chain;
use super::tensors::{below_autodiff, fits, owned, tensor, values};
use crate::precision;

/// `relu(x_e W_e + b_e)`, or without the ReLU.
///
/// # Shapes
/// `x [E, B, I]`, or `[1, B, I]` when all members read the same, or `[N, B, I]` for the one member that there is; `weight [E, I, O]`,
/// `bias [E, 1, O]`; gives `[E, B, O]`, or `[N, B, O]`.
pub(crate) fn linear(x: &Tensor<3>, weight: &Tensor<3>, bias: &Tensor<3>, relu: bool) -> Option<Tensor<3>> {
    if !fits([x, weight, bias]) {
        return None;
    }
    let ([streams, batch, input], [members, _, output]) = (x.dims(), weight.dims());
    if members == 1 && streams > 1 {
        let x = x.clone().reshape([1, streams * batch, input]); // one map of many rows
        return linear(&x, weight, bias, relu).map(|y| y.reshape([streams, batch, output]));
    }
    note(|calls| calls.linear += 1);
    let shape = kernel::BankShape { members, batch, input, output, shared: streams == 1, relu };
    let precision = precision::current();
    let forward = |[x, weight, bias]: [FlexTensor; 3]| {
        let _span = span("linear forward", &shape, 1).entered();
        let mut y = take(members * batch * output); // [E, B, O]
        kernel::forward(precision, shape, values(&x), values(&weight), values(&bias), &mut y);
        let y = tensor(y, [members, batch, output]);
        (Saved { precision, shape, x, weight, y: y.clone() }, y)
    };
    Some(differentiable([x, weight, bias], forward, |saved, dy, [needs_dx, ..]| backward(&saved, dy, needs_dx)))
}

/// What the backward of a bank reads.
#[derive(Debug, Clone)]
struct Saved {
    precision: Precision,
    shape: kernel::BankShape,
    x: FlexTensor,
    weight: FlexTensor,
    y: FlexTensor,
}

/// The gradients of `x`, where it is asked for, of `weight` and of `bias`.
fn backward(saved: &Saved, dy: FlexTensor, needs_dx: bool) -> [Option<FlexTensor>; 3] {
    let Saved { precision, shape, x, weight, y } = saved;
    let _span = span("linear backward", shape, 1 + u64::from(needs_dx)).entered();
    let mut dz = owned(dy); // [E, B, O], turned in place into the gradient of the product
    let mut dx = needs_dx.then(|| take(values(x).len()));
    let mut dweight = take(values(weight).len()); // [E, I, O]
    let mut dbias = take(shape.members * shape.output); // [E, 1, O]
    kernel::backward(
        *precision,
        *shape,
        values(x),
        values(weight),
        values(y),
        dz.try_storage_mut().expect("owned some lines above"),
        &mut dweight,
        &mut dbias,
        dx.as_deref_mut(),
    );
    let dx = dx.map(|dx| tensor(dx, x.shape()));
    [dx, Some(tensor(dweight, weight.shape())), Some(tensor(dbias, [shape.members, 1, shape.output]))]
}

/// What a profile says of `products` products of this shape.
fn span(name: &'static str, shape: &kernel::BankShape, products: u64) -> tracing::Span {
    let kernel::BankShape { members, batch, input, output, .. } = *shape;
    let flop = 2 * products * (members * batch * input * output) as u64;
    trace_span!("op", name, of = format_args!("{members} x [{input} -> {output}]"), flop)
}

/// Banks that a chain joins; one of more runs bank by bank.
pub(super) const MOST: usize = 16;

/// Banks one after another, with nothing kept between: for scoring. A ReLU follows each of the first `rectified`. `None` on autodiff,
/// which needs what lies between, too.
///
/// # Shapes
/// As [`linear`], bank by bank, and `x [N, B, I]` where `N` divides the members: stream 0 is read by the first `E / N`, and so on. `banks` are
/// weights and biases.
pub(crate) fn chain(x: &Tensor<3>, banks: impl Iterator<Item = [Tensor<3>; 2]>, rectified: usize) -> Option<Tensor<3>> {
    if !fits([x]) {
        return None;
    }
    let x = below_autodiff(x.clone())?;
    let mut parameters = [const { None::<(FlexTensor, FlexTensor)> }; MOST]; // on the stack: a request allocates what Burn does, and no more
    let mut count = 0;
    for [weight, bias] in banks {
        *parameters.get_mut(count)? = Some((below_autodiff(weight)?, below_autodiff(bias)?));
        count += 1;
    }
    let mut links = [Link { weight: &[], bias: &[], output: 0, relu: false }; MOST];
    for (i, (link, (weight, bias))) in links.iter_mut().zip(parameters.iter().flatten()).enumerate() {
        *link = Link { weight: values(weight), bias: values(bias), output: weight.shape()[2], relu: i < rectified };
    }
    let links = &links[..count];
    let (first, _) = parameters[0].as_ref()?;
    let ([streams, batch, width], [members, ..]) = (x.shape().dims(), first.shape().dims::<3>());
    if !members.is_multiple_of(streams) {
        return None;
    }
    let output = links[count - 1].output;
    note(|calls| calls.chain += 1);
    let flop = 2 * links.iter().map(|link| batch * link.weight.len()).sum::<usize>() as u64;
    let _span =
        trace_span!("op", name = "chain", of = format_args!("{members} x {} maps", links.len()), flop).entered();
    let mut y = take(members * batch * output); // [E, B, O]
    let input = Input { x: values(&x), members, batch, width };
    kernel_chain::forward(precision::current(), input, links, &mut y);
    let y = tensor(y, [members, batch, output]);
    saw_chain(&x, parameters.iter().flatten(), rectified, &y);
    Some(Tensor::from_primitive::<Flex>(y))
}
