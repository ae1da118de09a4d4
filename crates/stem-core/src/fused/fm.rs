//! Products of pairs of fields and their map in one op.

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use stem_kernels::fm::{self as kernel, Fm};
use stem_kernels::map::MapGradient;
use stem_kernels::{Precision, take};
use tracing::trace_span;

use super::calls::note;
use super::differentiable::differentiable;
use super::tensors::{buffer_for, fits, map, owned, tensor, values};
use crate::precision;

/// `x_2 + b W + c` with `b = 1/2 ((sum_f v_f)^2 - sum_f v_f^2)` of `x`; `x_2` is `x` where none is given.
///
/// # Shapes
/// `x` and `x2 [G, B, F * D]`, `weight [G, D, F * D]`, `bias [G, 1, F * D]`; gives as many as `x`.
pub(crate) fn fm(x: &Tensor<3>, x2: Option<&Tensor<3>>, weight: &Tensor<3>, bias: &Tensor<3>) -> Option<Tensor<3>> {
    if !fits([x, x2.unwrap_or(x), weight, bias]) {
        return None;
    }
    note(|calls| calls.fm += 1);
    let precision = precision::current();
    Some(match x2 {
        None => differentiable(
            [x, weight, bias],
            |parents| forward(precision, parents, None),
            |saved, dy, _| {
                let [dx, dweight, dbias] = saved.backward(dy, false);
                [dx, dweight, dbias].map(Some)
            },
        ),
        Some(x2) => differentiable(
            [x, weight, bias, x2],
            |[x, weight, bias, x2]| forward(precision, [x, weight, bias], Some(x2)),
            |saved, dy, _| {
                let [dx, dweight, dbias] = saved.backward(dy.clone(), true);
                [dx, dweight, dbias, dy].map(Some)
            },
        ),
    })
}

fn forward(precision: Precision, parents: [FlexTensor; 3], x2: Option<FlexTensor>) -> (Saved, FlexTensor) {
    let saved = Saved { precision, parents };
    let (x, of) = (&saved.parents[0], saved.fm());
    let _span = span("fm forward", &of, 1).entered();
    let mut y = take(values(x).len()); // [G, B, F * D]
    kernel::forward(&of, values(x), x2.as_ref().map(values), &mut y);
    let y = tensor(y, x.shape());
    (saved.clone(), y)
}

/// What the forward reads, and the backward again.
#[derive(Debug, Clone)]
struct Saved {
    precision: Precision,
    /// `x`, weight and bias.
    parents: [FlexTensor; 3],
}

impl Saved {
    fn fm(&self) -> Fm<'_> {
        let [x, weight, bias] = &self.parents;
        let ([groups, batch, width], [_, dim, _]) = (x.shape().dims(), weight.shape().dims::<3>());
        Fm { precision: self.precision, groups, batch, fields: width / dim, dim, map: map(weight, bias) }
    }

    fn backward(&self, dy: FlexTensor, apart: bool) -> [FlexTensor; 3] {
        let ([x, weight, bias], of) = (&self.parents, self.fm());
        let _span = span("fm backward", &of, 2).entered();
        let (mut dx, mut dweight, mut dbias) = (owned(dy), buffer_for(weight), buffer_for(bias));
        let dx_values = dx.try_storage_mut().expect("owned some lines above");
        let mut gradient = MapGradient { weight: &mut dweight, bias: &mut dbias };
        kernel::backward(&of, values(x), apart, dx_values, &mut gradient);
        [dx, tensor(dweight, weight.shape()), tensor(dbias, bias.shape())]
    }
}

/// What a profile says of so many products.
fn span(name: &'static str, of: &Fm, products: usize) -> tracing::Span {
    let Fm { groups, batch, fields, dim, .. } = *of;
    let (width, rows) = (fields * dim, groups * batch);
    trace_span!(
        "op",
        name,
        of = format_args!("{groups} x [{dim} -> {width}]"),
        flop = (2 * products * rows * dim * width) as u64
    )
}
