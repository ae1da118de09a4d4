//! The epilogue of a product: what becomes of the sums on their way to memory.

use crate::elementwise;
use crate::mat::{Mat, MatMut};

/// What becomes of a product: `C = relu(C + A B + bias)`, each part if asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// Whether the product is added to what `C` holds.
    pub accumulate: bool,
    /// A number for every column. `[n]`
    pub bias: Option<&'a [f32]>,
    /// Whether what is negative becomes 0. Not a number stays so.
    pub relu: bool,
}

/// # Panics
/// When the shapes disagree.
pub(super) fn check(a: Mat, b: Mat, c: &MatMut, epilogue: Epilogue) {
    assert_eq!((a.rows(), a.cols(), b.cols()), (c.rows(), b.rows(), c.cols()), "m, k, n");
    assert!(epilogue.bias.is_none_or(|bias| bias.len() == c.cols()), "a bias for every column");
}

/// Bias and ReLU on a product that is there.
pub(super) fn finish(c: &mut MatMut, epilogue: Epilogue) {
    elementwise::bias_relu(c.data(), epilogue.bias, epilogue.relu);
}
