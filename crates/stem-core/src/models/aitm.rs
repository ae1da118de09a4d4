//! AITM: a bottom per task on one embedding, and every task passes on to the next what it knows, by attention.
//!
//! ```text
//! q_t = bottom_t(x)             z_0 = q_0
//! p_t = g_t(z_{t-1})            what the task before passes on
//! z_t = sum_{u in {p_t, q_t}} w_u v(u)       w = softmax over {p_t, q_t} of <k(u), q(u)> / sqrt(H)
//! y_t = sigmoid(tower_t(z_t))
//! ```
//!
//! Source: Xi et al., *Modeling the Sequential Dependence among Audience Multi-step Conversions with Multi-task Learning in
//! Targeted Display Advertising*, KDD 2021. The transfer is the reference implementation's: `v`, `k` and `q` are shared between
//! tasks, `g_t` is linear. The paper's penalty is there, and off unless asked for, as in the reference.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::sigmoid, activation::softmax};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{BottomSizes, Model, ModelSpec, NetworkSize, last};
use crate::embedding::Pooled;
use crate::error::{Error, Result, require};
use crate::front::FrontConfig;
use crate::mlp::{HiddenConfig, LinearBank, MlpBank};
use crate::schema::Schema;
use crate::tower::Towers;

/// Sizes of an AITM. Tasks come in the order of behaviour: impression to click, click to purchase ...
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct AitmConfig {
    /// `D`, width of an embedding.
    pub dim: usize,
    /// Widths of every task's bottom; the last is `H`.
    pub bottom: Vec<usize>,
    /// Hidden widths of every tower.
    pub tower: Vec<usize>,
    /// What follows each hidden linear map.
    pub hidden: HiddenConfig,
    /// What stands before the model, by keys among these; nothing by default.
    #[serde(skip)]
    pub front: FrontConfig,
    /// Weight of the behavioural-order penalty `mean over rows of sum_t max(y_t - y_{t-1}, 0)`: a later step cannot be likelier
    /// than the one before. The paper takes 0.6; 0 is off. All tasks must be judged among the same rows.
    pub order_penalty: f64,
}

keys_with_front!(AitmConfig);

impl Default for AitmConfig {
    fn default() -> Self {
        let BottomSizes { dim, bottom, tower, hidden, front } = BottomSizes::default();
        Self { dim, bottom, tower, hidden, front, order_penalty: 0.0 }
    }
}

impl AitmConfig {
    fn sizes(&self) -> BottomSizes {
        BottomSizes {
            dim: self.dim,
            bottom: self.bottom.clone(),
            tower: self.tower.clone(),
            hidden: self.hidden,
            front: self.front.clone(),
        }
    }
}

impl ModelSpec for AitmConfig {
    type Model = Aitm;

    fn name(&self) -> &'static str {
        "aitm"
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        self.sizes().check()?;
        let holds = self.order_penalty.is_finite() && self.order_penalty >= 0.0;
        require("order_penalty", self.order_penalty, "a number of 0 or more", holds)?;
        let within = schema.tasks.iter().find(|task| task.within.is_some()).filter(|_| self.order_penalty > 0.0);
        if let Some(task) = within {
            let what = format!(
                "`order_penalty` compares tasks row by row, and '{}' is judged within another: take `within` away, or the penalty",
                task.name
            );
            return Err(Error::Unfit { model: "aitm", what });
        }
        let value = schema.tasks.iter().find(|task| !task.kind.is_binary()).filter(|_| self.order_penalty > 0.0);
        if let Some(task) = value {
            let (name, kind) = (&task.name, task.kind.name());
            let what = format!("`order_penalty` compares probabilities, and '{name}' is {kind}: take the penalty away");
            return Err(Error::Unfit { model: "aitm", what });
        }
        if schema.tasks.len() < 2 {
            let what =
                "it passes knowledge from one task to the next and needs two or more, the recipe has 1: name another \
                        label, or take shared-bottom"
                    .into();
            return Err(Error::Unfit { model: "aitm", what });
        }
        Ok(())
    }

    fn front(&self) -> FrontConfig {
        self.front.clone()
    }

    fn tower_inputs(&self, schema: &Schema) -> Vec<usize> {
        self.sizes().towers(schema).inputs()
    }

    fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.dim]
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        let (tasks, hidden) = (schema.tasks.len() as u64, last(&self.bottom) as u64);
        let attention = NetworkSize {
            parameters: (tasks.saturating_sub(1) + 3).saturating_mul((hidden + 1) * hidden),
            activations: tasks.saturating_sub(1).saturating_mul(7 * hidden), // p, and k, q, v of two
        };
        self.sizes().size(schema.tasks.len(), schema) + attention
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Aitm {
        let (sizes, tasks, hidden) = (self.sizes(), schema.tasks.len(), last(&self.bottom));
        let mut linear = |members: usize| LinearBank::init(members, hidden, hidden, rng, device);
        let (transfer, value, key, query) = (linear(tasks - 1), linear(1), linear(1), linear(1));
        Aitm {
            bottoms: sizes.bottoms(tasks, schema).init(rng, device),
            transfer,
            value,
            key,
            query,
            towers: Towers::init(sizes.towers(schema), schema, rng, device),
            order_penalty: self.order_penalty,
        }
    }
}

/// Bottoms, the transfer between neighbours, and towers.
#[derive(Module, Debug)]
pub struct Aitm {
    bottoms: MlpBank,
    transfer: LinearBank, // T - 1 members
    value: LinearBank,
    key: LinearBank,
    query: LinearBank,
    towers: Towers,
    order_penalty: f64,
}

impl Aitm {
    /// `z_t` of what is passed on, `p`, and the task's own, `q`. `[1, B, H]` each
    fn attend(&self, p: Tensor<3>, q: Tensor<3>) -> Tensor<3> {
        let [_, _, hidden] = q.dims();
        let both = Tensor::cat(vec![p, q], 0); // [2, B, H]
        let agreement = (self.key.forward(both.clone()) * self.query.forward(both.clone())).sum_dim(2); // [2, B, 1]
        let w = softmax(agreement / (hidden as f64).sqrt(), 0);
        (w * self.value.forward(both)).sum_dim(0)
    }
}

impl Model for Aitm {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        let q = self.bottoms.forward(x.group(0)); // [T, B, H]
        let [tasks, ..] = q.dims();
        let mut z = vec![q.clone().slice_dim(0, 0..1)];
        for t in 1..tasks {
            let p = self.transfer.forward_member(t - 1, z[t - 1].clone());
            z.push(self.attend(p, q.clone().slice_dim(0, t..t + 1)));
        }
        self.towers.forward_gated(Tensor::cat(z, 0), x.tower_gates()) // [B, T]
    }

    /// `order_penalty * mean over rows of sum_t max(y_t - y_{t-1}, 0)`
    fn penalty(&self, logits: &Tensor<2>) -> Option<Tensor<1>> {
        if self.order_penalty == 0.0 {
            return None;
        }
        let [rows, tasks] = logits.dims();
        let y = sigmoid(logits.clone());
        let excess = (y.clone().slice_dim(1, 1..tasks) - y.slice_dim(1, 0..tasks - 1)).clamp_min(0.0); // [B, T - 1]
        Some(excess.sum() * (self.order_penalty / rows.max(1) as f64))
    }
}
