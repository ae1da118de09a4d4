//! Banks of linear maps one after another, forward alone: rows go through all maps of a member in pieces that stay in the cache, so
//! that nothing between is written to memory. For scoring; a training step keeps what lies between ([`linear`](crate::linear)).
//!
//! Work is cut by the shape alone: results are the same bits on any number of threads.

use std::ops::Range;

use crate::arena;
use crate::divide::{Planes, divide};
use crate::linear::TASK_OPERATIONS;
use crate::mat::{Mat, MatMut};
use crate::precision::Precision;
use crate::product::{Epilogue, multiply, multiply_alike};

/// One bank of the chain.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// `[E, I, O]`
    pub weight: &'a [f32],
    /// `[E, O]`
    pub bias: &'a [f32],
    /// `O`
    pub output: usize,
    /// Whether a ReLU follows.
    pub relu: bool,
}

/// What goes in.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `[N, B, I]`: each of `N` streams is read by `E / N` members, one after the other
    pub x: &'a [f32],
    /// `E`
    pub members: usize,
    /// `B`
    pub batch: usize,
    /// `I`
    pub width: usize,
}

impl Input<'_> {
    /// `N`; 1 where there is nothing to read.
    fn streams(&self) -> usize {
        (self.x.len() / (self.batch * self.width).max(1)).max(1)
    }
}

/// Numbers between two maps that a piece of rows may have: half of a small second-level cache.
const SCRATCH: usize = 1 << 16;

/// `y_e = link_L(... link_1(x_e))`
///
/// # Shapes
/// `y [E, B, O]` with the last link's `O`
///
/// # Panics
/// When a length is not that of its shape, or there is no link.
pub fn forward(precision: Precision, input: Input, links: &[Link], y: &mut [f32]) {
    let Input { x, members, batch, width } = input;
    let mut output = width;
    for link in links {
        assert_eq!(link.weight.len(), members * output * link.output, "numbers in a weight [E, I, O]");
        assert_eq!(link.bias.len(), members * link.output, "numbers in a bias [E, O]");
        output = link.output;
    }
    assert!(!links.is_empty(), "a chain has a link");
    let streams = input.streams();
    let is_whole = members == 0 || (x.len() == streams * batch * width && members.is_multiple_of(streams));
    assert!(is_whole, "the input is [N, B, I], and N divides the members");
    assert_eq!(y.len(), members * batch * output, "numbers in the output [E, B, O]");
    if members * batch * output == 0 {
        return;
    }
    let widest = links.iter().map(|link| link.output).max().unwrap_or(1);
    let rows = (SCRATCH / widest).next_multiple_of(16).clamp(64, 1024);
    let chain = Chain { precision, input, links, widest };
    let pieces = batch.div_ceil(rows);
    let work = 2 * batch * links.iter().map(|link| link.weight.len()).sum::<usize>();
    let grain = if work < TASK_OPERATIONS { members.max(pieces) } else { 1 }; // little work stays on this thread
    divide(0..members, grain, [Planes::whole(y, 1, batch * output)], &|members, [mut y]| {
        for (i, member) in members.enumerate() {
            let y = Planes::whole(y.piece(0, i), 1, rows * output);
            divide(0..pieces, grain, [y], &|piece, [mut y]| {
                chain.rows(member, piece.start * rows..(piece.end * rows).min(batch), y.plane(0));
            });
        }
    });
}

struct Chain<'a> {
    precision: Precision,
    input: Input<'a>,
    links: &'a [Link<'a>],
    widest: usize,
}

impl Chain<'_> {
    /// Some rows of a member through all links. `y [rows, O]`
    fn rows(&self, member: usize, rows: Range<usize>, y: &mut [f32]) {
        let Input { x, batch, width, .. } = self.input;
        let stream = member * self.input.streams() / self.input.members;
        let first = stream * batch * width;
        let (count, last) = (rows.len(), self.links.len() - 1);
        let mut scratch = arena::take(if last > 0 { 2 * count * self.widest } else { 0 });
        let (mut next, mut current) = scratch.split_at_mut(if last > 0 { count * self.widest } else { 0 });
        let mut from = Mat::new(&x[first..], batch, width).rows_of(rows);
        for (i, link) in self.links.iter().enumerate() {
            let (input, output) = (from.cols(), link.output);
            let weight = Mat::new(&link.weight[member * input * output..], input, output);
            let epilogue =
                Epilogue { accumulate: false, bias: Some(&link.bias[member * output..][..output]), relu: link.relu };
            let multiply = if i == 0 { multiply_alike } else { multiply }; // candidates of one user begin alike
            if i == last {
                return multiply(self.precision, from, weight, MatMut::new(y, count, output), epilogue);
            }
            multiply(self.precision, from, weight, MatMut::new(&mut next[..count * output], count, output), epilogue);
            (next, current) = (current, next);
            from = Mat::new(&current[..count * output], count, output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{bits, numbers, on_threads};
    use crate::linear;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_chain_is_its_links_one_after_another_on_any_number_of_threads(
            (streams, each) in (0usize..4, 1usize..4),
            (batch, width) in (prop::sample::select(&[0usize, 1, 3, 70, 300][..]), 1usize..40),
            outputs in prop::collection::vec(1usize..200, 1..4),
            seed in any::<u64>(),
        ) {
            let members = streams * each;
            let x = numbers(streams * batch * width, seed, 2.0);
            let inputs = std::iter::once(&width).chain(&outputs);
            let parameters: Vec<_> = inputs.zip(&outputs).map(|(input, output)| {
                (numbers(members * input * output, seed ^ 1, 1.0), numbers(members * output, seed ^ 2, 1.0))
            }).collect();
            let last = outputs.len() - 1;
            let links: Vec<_> = parameters.iter().zip(&outputs).enumerate()
                .map(|(i, ((weight, bias), &output))| Link { weight, bias, output, relu: i < last }).collect();
            let run = |threads| on_threads(threads, || {
                let mut y = vec![f32::NAN; members * batch * outputs[last]];
                forward(Precision::F32, Input { x: &x, members, batch, width }, &links, &mut y);
                y
            });
            let of_members = |stream: &[f32]| stream.repeat(each);
            let mut expected: Vec<f32> = x.chunks((batch * width).max(1)).flat_map(of_members).collect(); // [E, B, I]
            let mut input = width;
            for link in &links {
                let mut y = vec![0.0; members * batch * link.output];
                let shape = linear::BankShape { members, batch, input, output: link.output, shared: false, relu: link.relu };
                linear::forward(Precision::F32, shape, &expected, link.weight, link.bias, &mut y);
                (expected, input) = (y, link.output);
            }
            let found = run(1);
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert!((found - expected).abs() <= 1e-4 * (1.0 + expected.abs()), "{found}, expected {expected}");
            }
            prop_assert_eq!(bits(&found), bits(&run(2)));
            prop_assert_eq!(bits(&found), bits(&run(3)));
        }
    }
}
