//! Banks of linear maps of the same shape side by side, `y_e = relu(x_e W_e + b_e)`, forward and backward.
//!
//! Work is cut by the shape alone, and sums are taken in the order of its pieces: results are the same bits on any number of
//! threads. Tasks go to the current rayon pool; a small bank stays on the calling thread.

use std::ops::Range;

use crate::arena;
use crate::divide::{Planes, divide};
use crate::elementwise;
use crate::mat::{Mat, MatMut};
use crate::precision::Precision;
use crate::product::{Epilogue, multiply};

/// Sizes of a bank and of its batch. Any size may be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BankShape {
    /// Maps in the bank. `E`
    pub members: usize,
    /// Rows that each maps. `B`
    pub batch: usize,
    /// Width of a row before. `I`
    pub input: usize,
    /// Width of a row after. `O`
    pub output: usize,
    /// Whether all members read the same `[B, I]`; else each its own, `[E, B, I]`.
    pub shared: bool,
    /// Whether a ReLU follows.
    pub relu: bool,
}

/// `y_e = relu(x_e W_e + b_e)`, or without the ReLU.
///
/// # Shapes
/// `x [B, I]` or `[E, B, I]`, `weight [E, I, O]`, `bias [E, O]`, `y [E, B, O]`
///
/// # Panics
/// When a length disagrees with `shape`.
pub fn forward(precision: Precision, shape: BankShape, x: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32]) {
    shape.check("input", x.len(), shape.inputs());
    shape.check("weight", weight.len(), shape.weights());
    shape.check("bias", bias.len(), shape.biases());
    shape.check("output", y.len(), shape.outputs());
    let bank = Bank { precision, shape, x, weight };
    let (size, blocks) = (shape.batch * shape.output, RowBlocks::of_rows(shape, shape.members));
    divide(0..shape.members, blocks.streams_per_task, [Planes::whole(y, 1, size)], &|members, [mut y]| {
        for (i, e) in members.enumerate() {
            let bias = &bias[e * shape.output..][..shape.output];
            let y = Planes::whole(y.piece(0, i), 1, blocks.rows * shape.output);
            divide(0..blocks.count, 1, [y], &|piece, [mut y]| {
                bank.forward_rows(e, blocks.rows_of(piece, shape.batch), bias, y.plane(0));
            });
        }
    });
}

/// The gradients of all that [`forward`] read, from the gradient of what it gave.
///
/// `dz` comes in as the gradient of `y`, and leaves as that of `x_e W_e + b_e`. Where members share their input, `dx` is the sum
/// over them.
///
/// # Shapes
/// `x`, `weight` and `y` as in [`forward`], `dz [E, B, O]`, `dweight [E, I, O]`, `dbias [E, O]`, `dx` as `x`, if asked for
///
/// # Panics
/// When a length disagrees with `shape`.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    precision: Precision,
    shape: BankShape,
    x: &[f32],
    weight: &[f32],
    y: &[f32],
    dz: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
    dx: Option<&mut [f32]>,
) {
    shape.check("input", x.len(), shape.inputs());
    shape.check("weight", weight.len(), shape.weights());
    shape.check("output", y.len(), shape.outputs());
    shape.check("output's gradient", dz.len(), shape.outputs());
    shape.check("weight's gradient", dweight.len(), shape.weights());
    shape.check("bias's gradient", dbias.len(), shape.biases());
    shape.check("input's gradient", dx.as_ref().map_or(shape.inputs(), |dx| dx.len()), shape.inputs());
    let bank = Bank { precision, shape, x, weight };
    bank.input_gradients(y, dz, dbias, dx);
    bank.weight_gradients(dz, dweight);
}

impl BankShape {
    /// `B I` or `E B I`
    fn inputs(&self) -> usize {
        let streams = if self.shared { 1 } else { self.members };
        streams * self.batch * self.input
    }

    fn weights(&self) -> usize {
        self.members * self.input * self.output
    }

    fn biases(&self) -> usize {
        self.members * self.output
    }

    fn outputs(&self) -> usize {
        self.members * self.batch * self.output
    }

    #[track_caller]
    fn check(&self, what: &str, found: usize, expected: usize) {
        assert_eq!(found, expected, "numbers in the {what} of {self:?}");
    }
}

/// What all tasks read.
struct Bank<'a> {
    precision: Precision,
    shape: BankShape,
    x: &'a [f32],
    weight: &'a [f32],
}

impl Bank<'_> {
    /// A member's input. `[B, I]`
    fn input(&self, member: usize) -> Mat<'_> {
        let BankShape { batch, input, shared, .. } = self.shape;
        let first = if shared { 0 } else { member * batch * input };
        Mat::new(&self.x[first..], batch, input)
    }

    /// A member's weight. `[I, O]`
    fn member_weight(&self, member: usize) -> Mat<'_> {
        let BankShape { input, output, .. } = self.shape;
        Mat::new(&self.weight[member * input * output..], input, output)
    }

    /// `y = relu(x W + b)` for some rows of a member. `bias [O]`, `y [rows, O]`
    fn forward_rows(&self, member: usize, rows: Range<usize>, bias: &[f32], y: &mut [f32]) {
        let y = MatMut::new(y, rows.len(), self.shape.output);
        let epilogue = Epilogue { accumulate: false, bias: Some(bias), relu: self.shape.relu };
        multiply(self.precision, self.input(member).rows_of(rows), self.member_weight(member), y, epilogue);
    }

    /// `dz = dy` where the ReLU let it pass, `db = sum_rows dz` and `dx = dz W^T`, where members share it `sum_e dz_e W_e^T`.
    fn input_gradients(&self, y: &[f32], dz: &mut [f32], dbias: &mut [f32], dx: Option<&mut [f32]>) {
        let BankShape { members, batch, input, output, shared, .. } = self.shape;
        let (with_dx, dx) = (dx.is_some(), dx.unwrap_or_default());
        if members * batch * output == 0 {
            dbias.fill(0.0);
            dx.fill(0.0);
            return;
        }
        let (streams, per_stream) = if shared { (1, members) } else { (members, 1) };
        let blocks = RowBlocks::of_rows(self.shape, streams);
        let mut partial = arena::take(if blocks.count > 1 { members * blocks.count * output } else { 0 }); // [E, pieces, O]
        let sums = if blocks.count > 1 { &mut *partial } else { &mut *dbias };
        let outputs = [
            Planes::whole(dz, 1, per_stream * batch * output),
            Planes::whole(sums, 1, per_stream * blocks.count * output),
            Planes::whole(dx, 1, batch * input),
        ];
        divide(0..streams, blocks.streams_per_task, outputs, &|streams, [mut dz, mut sums, mut dx]| {
            for (i, stream) in streams.enumerate() {
                let outputs = [
                    Planes::whole(dz.piece(0, i), per_stream, blocks.rows * output),
                    Planes::whole(sums.piece(0, i), per_stream, output),
                    Planes::whole(dx.piece(0, i), 1, blocks.rows * input),
                ];
                divide(0..blocks.count, 1, outputs, &|piece, outputs| {
                    let members = stream * per_stream..(stream + 1) * per_stream;
                    self.input_gradient_rows(members, blocks.rows_of(piece, batch), y, outputs, with_dx);
                });
            }
        });
        if blocks.count > 1 {
            dbias.fill(0.0);
            for (db, sums) in dbias.chunks_exact_mut(output).zip(partial.chunks_exact(blocks.count * output)) {
                elementwise::add_rows(db, sums);
            }
        }
    }

    /// [`Bank::input_gradients`] for some rows of some members, all onto the same `dx`.
    fn input_gradient_rows(
        &self,
        members: Range<usize>,
        rows: Range<usize>,
        y: &[f32],
        [mut dz, mut sums, mut dx]: [Planes; 3],
        with_dx: bool,
    ) {
        let BankShape { batch, input, output, relu, .. } = self.shape;
        for (i, member) in members.enumerate() {
            let y = relu.then(|| &y[(member * batch + rows.start) * output..][..rows.len() * output]);
            let dz = dz.plane(i);
            elementwise::relu_backward(dz, y, sums.plane(i));
            if with_dx {
                let (dz, dx) = (Mat::new(dz, rows.len(), output), MatMut::new(dx.plane(0), rows.len(), input));
                let epilogue = Epilogue { accumulate: i > 0, ..Epilogue::default() };
                multiply(self.precision, dz, self.member_weight(member).t(), dx, epilogue);
            }
        }
    }

    /// `dW = x^T dz` for every member. `dz [E, B, O]`, `dweight [E, I, O]`
    fn weight_gradients(&self, dz: &[f32], dweight: &mut [f32]) {
        let BankShape { members, batch, input, output, .. } = self.shape;
        let blocks = RowBlocks::of_weights(self.shape);
        divide(
            0..members,
            blocks.streams_per_task,
            [Planes::whole(dweight, 1, input * output)],
            &|members, [mut dw]| {
                for (i, member) in members.enumerate() {
                    let dz = Mat::new(&dz[member * batch * output..], batch, output);
                    let dw = Planes::whole(dw.piece(0, i), 1, blocks.rows * output);
                    divide(0..blocks.count, 1, [dw], &|piece, [mut dw]| {
                        let x = self.input(member).t().rows_of(blocks.rows_of(piece, input));
                        let dw = MatMut::new(dw.plane(0), x.rows(), output);
                        multiply(self.precision, x, dz, dw, Epilogue::default());
                    });
                }
            },
        );
    }
}

/// Operations that are worth a task of their own: at 100 a nanosecond 40 microseconds, when handing work to a pool takes a dozen.
pub(crate) const TASK_OPERATIONS: usize = 1 << 22;

/// Tasks to aim at, so that up to so many threads have something to do.
const TASKS: usize = 16;

/// Operations in whose time a number is brought from memory.
const OPERATIONS_PER_LOAD: usize = 16;

/// Rows of a result that one product makes at most: with more, what it reads leaves the cache.
const MOST_ROWS: usize = 1024;

/// Rows that it makes at least: with fewer, bringing the other factor into order costs more than the product.
const LEAST_ROWS: usize = 64;

/// Tasks to aim at where each brings all of `dz` into order.
const WEIGHT_TASKS: usize = 8;

/// How streams of rows are cut into pieces of about the same work.
#[derive(Debug, Clone, Copy)]
struct RowBlocks {
    /// Small streams that one task takes.
    streams_per_task: usize,
    /// Pieces of a stream.
    count: usize,
    /// Rows of a piece; the last may have fewer.
    rows: usize,
}

impl RowBlocks {
    /// The batch's rows, in `streams` streams.
    fn of_rows(shape: BankShape, streams: usize) -> Self {
        let BankShape { members, batch, input, output, .. } = shape;
        let cost = 2 * input * output + OPERATIONS_PER_LOAD * (input + output);
        let rows = (streams * batch).div_ceil(TASKS).clamp(LEAST_ROWS, MOST_ROWS);
        Self::new(batch, rows, members.div_ceil(streams.max(1)) * cost)
    }

    /// The rows of each member's `dW`.
    fn of_weights(shape: BankShape) -> Self {
        let BankShape { members, batch, input, output, .. } = shape;
        let rows = (members * input).div_ceil(WEIGHT_TASKS).max(LEAST_ROWS);
        Self::new(input, rows, batch * (2 * output + OPERATIONS_PER_LOAD))
    }

    /// Streams of `all` rows into pieces of about `rows`, more where one costs little.
    fn new(all: usize, rows: usize, cost: usize) -> Self {
        let least_rows = TASK_OPERATIONS.div_ceil(cost.max(1));
        let even_rows = all.div_ceil(all.div_ceil(rows.max(least_rows)).max(1));
        let rows = even_rows.next_multiple_of(16).max(16);
        Self { streams_per_task: least_rows.div_ceil(all.max(1)), count: all.div_ceil(rows).max(1), rows }
    }

    /// The rows of some pieces, of `all`.
    fn rows_of(&self, pieces: Range<usize>, all: usize) -> Range<usize> {
        pieces.start * self.rows..(pieces.end * self.rows).min(all)
    }
}

#[cfg(test)]
mod tests;
