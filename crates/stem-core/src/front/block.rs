//! A history whose values have seen each other before the candidate judges it: a small transformer block.
//!
//! ```text
//! y = x + W_o concat over heads of softmax(Q K^T / sqrt(D / heads)) V          Q = LN(x) W_q + b_q, V = LN(x) W_v + b_v, K = LN(x) W_k
//! k = y + relu(LN(y) W_1 + b_1) W_2 + b_2
//! LN(x) = gamma (x - mean) / sqrt(var + 1e-5) + beta                           over the D numbers of a value; softmax over the values that are there
//! ```
//!
//! `x` are the embeddings of a history's values, with `p_j` added where they have positions; `k` takes their place. Every value sees every other, as the
//! whole history lies before the candidate: nothing is causal.
//!
//! Source: Kang and McAuley, *Self-Attentive Sequential Recommendation*, ICDM 2018 (arXiv 1808.09781), with the normalisation before each part;
//! without its dropout. Every embedding group has maps of its own.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation::softmax};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Result, require};
use crate::mlp::LinearBank;
use crate::models::check_size;
use crate::size::NetworkSize;

/// Transformer blocks over a history: `block = { layers = 1, heads = 2 }` among the keys of `interest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table like { layers = 1, heads = 2 }")]
pub struct BlockConfig {
    /// Blocks, one on another.
    pub layers: usize,
    /// Heads, among which the numbers of an embedding are dealt out.
    pub heads: usize,
    /// Width between `W_1` and `W_2`.
    pub hidden: usize,
}

impl Default for BlockConfig {
    fn default() -> Self {
        Self { layers: 1, heads: 1, hidden: 32 }
    }
}

impl BlockConfig {
    /// Refuses absurd sizes, and heads that do not divide an embedding of `dim` numbers.
    pub(super) fn check(&self, dim: usize) -> Result<()> {
        require("interest.block.layers", self.layers, "1 to 16", (1..=16).contains(&self.layers))?;
        check_size("interest.block.hidden", self.hidden, 1)?;
        let holds = self.heads > 0 && dim.is_multiple_of(self.heads);
        require("interest.block.heads", self.heads, format!("a divisor of `dim`, which is {dim}"), holds)
    }

    /// What the blocks of a history of `length` values in `groups` groups add to a network.
    pub(super) fn size(&self, groups: usize, length: usize, dim: usize) -> NetworkSize {
        let (dim, hidden, length) = (dim as u64, self.hidden as u64, length as u64);
        let maps = (4 * dim + 3) * dim + (dim + 1) * hidden + (hidden + 1) * dim + 4 * dim;
        // two norms of three steps, Q, K, V, the heads' sum, W_o, y, both maps and k; scores, scaled and masked, and their softmax
        let of_value = 14 * dim + 2 * hidden + 4 * length * self.heads as u64;
        let count = (groups * self.layers) as u64;
        NetworkSize {
            parameters: count.saturating_mul(maps),
            activations: count.saturating_mul(length).saturating_mul(of_value),
        }
    }

    pub(super) fn init(&self, groups: usize, dim: usize, rng: &mut ChaCha8Rng, device: &Device) -> Vec<Block> {
        let mut block = |_| {
            let mut map = |input, output| LinearBank::init(groups, input, output, rng, device);
            Block {
                query: map(dim, dim),
                key: map(dim, dim).weight,
                value: map(dim, dim),
                out: map(dim, dim),
                up: map(dim, self.hidden),
                down: map(self.hidden, dim),
                before_attention: Norm::init(groups, dim, device),
                before_maps: Norm::init(groups, dim, device),
                heads: self.heads,
            }
        };
        (0..self.layers).map(&mut block).collect()
    }
}

/// A block of all groups.
#[derive(Module, Debug)]
pub struct Block {
    query: LinearBank, // [G, D, D], and so are the next three
    /// Without a bias: that would add the same to all scores of a value, and the softmax take it out again.
    key: Param<Tensor<3>>,
    value: LinearBank,
    out: LinearBank,
    up: LinearBank,   // [G, D, hidden]
    down: LinearBank, // [G, hidden, D]
    before_attention: Norm,
    before_maps: Norm,
    #[module(skip)]
    heads: usize,
}

impl Block {
    /// `x [G, B * L, D]`, and which values are there, `[B, L]` of 0 and 1; gives as `x`.
    pub(super) fn forward(&self, x: Tensor<3>, there: &Tensor<2>) -> Tensor<3> {
        let y = x.clone() + self.attend(self.before_attention.forward(x), there); // [G, B * L, D]
        let maps = self.down.forward(self.up.forward_relu(self.before_maps.forward(y.clone())));
        y + maps
    }

    /// `W_o concat over heads of softmax(Q K^T / sqrt(D / heads)) V`
    fn attend(&self, x: Tensor<3>, there: &Tensor<2>) -> Tensor<3> {
        let ([groups, _, dim], [rows, length], heads) = (x.dims(), there.dims(), self.heads);
        let width = dim / heads;
        let apart = |x: Tensor<3>| {
            x.reshape([groups * rows, length, heads, width]).swap_dims(1, 2) // [G * B, heads, L, D / heads]
        };
        let (q, v) = (apart(self.query.forward(x.clone())), apart(self.value.forward(x.clone())));
        let k = apart(x.matmul(self.key.val()));
        let shut = (there.clone() - 1.0) * SHUT; // 0, or so low that a weight is 0
        let shut = shut.repeat_dim(0, groups).reshape([groups * rows, 1, 1, length]);
        let scores = q.matmul(k.swap_dims(2, 3)) / (width as f64).sqrt() + shut; // [G * B, heads, L, L]
        let seen = softmax(scores, 3).matmul(v).swap_dims(1, 2); // [G * B, L, heads, D / heads]
        self.out.forward(seen.reshape([groups, rows * length, dim]))
    }
}

/// What is added to the score of a value that is not there.
const SHUT: f64 = 1e9;

/// Layer normalisation of every group.
#[derive(Module, Debug)]
struct Norm {
    gamma: Param<Tensor<3>>, // [G, 1, D]
    beta: Param<Tensor<3>>,  // [G, 1, D]
}

impl Norm {
    fn init(groups: usize, dim: usize, device: &Device) -> Self {
        let full = |value: f32| Param::from_tensor(Tensor::full([groups, 1, dim], value, device));
        Self { gamma: full(1.0), beta: full(0.0) }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let centred = x.clone() - x.mean_dim(2);
        let variance = (centred.clone() * centred.clone()).mean_dim(2); // [G, B * L, 1]
        centred / (variance + 1e-5).sqrt() * self.gamma.val() + self.beta.val()
    }
}
