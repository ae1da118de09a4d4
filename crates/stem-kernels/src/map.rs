//! Linear maps of several groups, as ops know them that take rows in blocks.

use crate::elementwise::add_rows;
use crate::mat::{Mat, MatMut};
use crate::precision::Precision;
use crate::product::{Epilogue, multiply};

/// A map of every group: `y = x W + b`.
#[derive(Debug, Clone, Copy)]
pub struct Map<'a> {
    /// `[G, I, O]`
    pub weight: &'a [f32],
    /// `[G, O]`
    pub bias: &'a [f32],
    /// `O`
    pub output: usize,
}

/// Where the gradient of a [`Map`] goes, as it lies in it.
#[derive(Debug)]
pub struct MapGradient<'a> {
    /// `[G, I, O]`
    pub weight: &'a mut [f32],
    /// `[G, O]`
    pub bias: &'a mut [f32],
}

impl<'a> Map<'a> {
    /// # Panics
    /// When it is none of `groups` groups from `input` numbers to its outputs.
    pub(crate) fn check(&self, groups: usize, input: usize) {
        assert_eq!(self.weight.len(), groups * input * self.output, "a weight is [G, I, O]");
        assert_eq!(self.bias.len(), groups * self.output, "a bias is [G, O]");
    }

    /// That of a group, of `input` numbers.
    pub(crate) fn of_group(&self, g: usize, input: usize) -> GroupMap<'a> {
        let weight = Mat::new(&self.weight[g * input * self.output..], input, self.output);
        GroupMap { weight, bias: &self.bias[g * self.output..][..self.output] }
    }
}

impl MapGradient<'_> {
    /// # Panics
    /// When it is not as long as the map.
    pub(crate) fn check(&self, map: &Map) {
        let lengths = (self.weight.len(), self.bias.len());
        assert_eq!(lengths, (map.weight.len(), map.bias.len()), "gradients are as what they are of");
    }
}

/// The map of one group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupMap<'a> {
    /// `[I, O]`
    weight: Mat<'a>,
    /// `[O]`
    bias: &'a [f32],
}

impl GroupMap<'_> {
    /// `y = relu(x W + b)`, or without the ReLU. `x [rows, I]`, `y [rows, O]`
    pub fn forward(&self, precision: Precision, x: &[f32], relu: bool, y: &mut [f32]) {
        let (x, rows) = self.input(x);
        let epilogue = Epilogue { accumulate: false, bias: Some(self.bias), relu };
        multiply(precision, x, self.weight, MatMut::new(y, rows, self.weight.cols()), epilogue);
    }

    /// `dx = [dx +] dy W^T`. `dy [rows, O]`, `dx [rows, I]`
    pub fn input_gradient(&self, precision: Precision, dy: &[f32], dx: &mut [f32], accumulate: bool) {
        let (input, output) = (self.weight.rows(), self.weight.cols());
        let rows = dy.len() / output.max(1);
        let epilogue = Epilogue { accumulate, ..Epilogue::default() };
        multiply(precision, Mat::new(dy, rows, output), self.weight.t(), MatMut::new(dx, rows, input), epilogue);
    }

    /// Numbers of the sums that [`add_gradient`](Self::add_gradient) adds to.
    pub fn sums(&self) -> usize {
        self.weight.rows() * self.weight.cols() + self.bias.len()
    }

    /// `dW = dW + x^T dy` and `db = db + sum_rows dy`, of which `sums` holds the longer side of `dW` first. `x [rows, I]`, `dy [rows, O]`
    pub fn add_gradient(&self, precision: Precision, x: &[f32], dy: &[f32], sums: &mut [f32]) {
        let (input, output) = (self.weight.rows(), self.weight.cols());
        let (dweight, dbias) = sums.split_at_mut(input * output);
        add_rows(dbias, dy);
        let (x, rows) = self.input(x);
        let dy = Mat::new(dy, rows, output);
        let more = Epilogue { accumulate: true, ..Epilogue::default() };
        match self.is_turned() {
            true => multiply(precision, dy.t(), x, MatMut::new(dweight, output, input), more),
            false => multiply(precision, x.t(), dy, MatMut::new(dweight, input, output), more),
        }
    }

    /// Writes the gradient of group `g` out of the sums.
    pub fn write(&self, g: usize, sums: &[f32], to: &mut MapGradient) {
        let (input, output) = (self.weight.rows(), self.weight.cols());
        let (dweight, dbias) = sums.split_at(input * output);
        to.bias[g * output..][..output].copy_from_slice(dbias);
        let weight = &mut to.weight[g * dweight.len()..][..dweight.len()];
        if !self.is_turned() {
            return weight.copy_from_slice(dweight);
        }
        for (i, row) in weight.chunks_exact_mut(output).enumerate() {
            row.iter_mut().zip(dweight[i..].iter().step_by(input)).for_each(|(to, from)| *to = *from);
        }
    }

    /// Whether sums hold `dW^T`: a product of many rows and few columns is the cheaper one.
    fn is_turned(&self) -> bool {
        self.weight.cols() > self.weight.rows()
    }

    fn input<'x>(&self, x: &'x [f32]) -> (Mat<'x>, usize) {
        let input = self.weight.rows();
        let rows = x.len() / input.max(1);
        (Mat::new(x, rows, input), rows)
    }
}

/// Writes the gradients of two maps of group `g` out of their sums, one behind the other.
pub(crate) fn write_two([first, second]: [GroupMap; 2], g: usize, sums: &[f32], to: &mut [MapGradient; 2]) {
    let [to_first, to_second] = to;
    let (of_first, of_second) = sums.split_at(first.sums());
    first.write(g, of_first, to_first);
    second.write(g, of_second, to_second);
}
