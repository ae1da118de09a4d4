//! A way past the gates: what a stream's own experts give, added to the mix of all, so that they are always heard and always learn.
//!
//! ```text
//! o_t = sum_e g_t[e] h_e + sum_{e of t} r_t[e] h_e
//!
//! gated    r_t = sigmoid(s_t) of one own expert, softmax(s_t) of several; s_t a gate beside the task's own, of the same input
//! ```
//!
//! Source: the self gate of Wang et al., *HoME*, 2024 (arXiv 2408.05430). AdaTT's residual, `r_t[e] = 1 / n` of `n` own experts, was tried and left out
//! (docs/decisions/0032).

use burn::module::Module;
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::gate::Gates;
use crate::mlp::MlpShape;
use crate::size::NetworkSize;

/// What is added of a stream's own experts to its mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnResidual {
    /// Nothing.
    #[default]
    None,
    /// Their sum, weighed by a gate of its own: HoME's self gate.
    Gated,
}

/// A residual to be: its gates' shape, one member a stream and an output for each of a stream's own experts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnShape<'a> {
    pub kind: OwnResidual,
    pub gates: MlpShape<'a>,
    /// `H`
    pub hidden: usize,
}

impl OwnShape<'_> {
    /// Whether there is anything to add.
    fn is_none(&self) -> bool {
        self.kind == OwnResidual::None || self.gates.output == Some(0)
    }

    /// The gates and their weights; what is added, and the sum.
    pub fn size(&self) -> NetworkSize {
        let (streams, own) = (self.gates.members, self.gates.output.unwrap_or(0));
        if self.is_none() {
            return NetworkSize::default();
        }
        let weighed = own + own * self.hidden + 2 * self.hidden; // r, r h, what is added, and the sum
        self.gates.size() + NetworkSize { parameters: 0, activations: (streams * weighed) as u64 }
    }

    /// Draws the gates; `None` where nothing is added.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Option<OwnSum> {
        let sum = || OwnSum { gates: Gates::init(self.gates, rng, device), streams: self.gates.members };
        (!self.is_none()).then(sum)
    }
}

/// `sum_{e of t} r_t[e] h_e` for every stream `t`.
#[derive(Module, Debug)]
pub struct OwnSum {
    gates: Gates,
    streams: usize,
}

impl OwnSum {
    /// # Shapes
    /// `own [T * n, B, H]`, the experts stream by stream; `x [T, B, I]` or `[1, B, I]`, what the streams' gates read; gives `[T, B, H]`.
    pub fn forward(&self, own: Tensor<3>, x: &Tensor<3>) -> Tensor<3> {
        let [members, rows, width] = own.dims();
        let n = members / self.streams;
        let h = own.reshape([self.streams, n, rows, width]); // [T, n, B, H]
        let s = self.gates.logits(x.clone()); // [T, B, n]
        let r = if n == 1 { sigmoid(s) } else { softmax(s, 2) };
        (h * r.swap_dims(1, 2).unsqueeze_dim(3)).sum_dim(1).squeeze_dim::<3>(1)
    }
}
