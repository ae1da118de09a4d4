//! ESMM: conversions judged among all impressions, as clicks times conversion rate.
//!
//! ```text
//! ctr   = sigmoid(tower_ctr(x))         cvr = sigmoid(tower_cvr(x))
//! y_0   = ctr                           whether an impression was clicked
//! y_1   = ctcvr = ctr * cvr             whether an impression was clicked and converted
//! ```
//!
//! The conversion rate itself, among clicks alone, gets no label: it is learned through the product. That is the model's point:
//! a model of conversions trained on clicks would be asked about impressions it never saw.
//!
//! Source: Ma et al., *Entire Space Multi-Task Model*, SIGIR 2018. As in the reference implementation both towers read one
//! embedding, the first tower is the conversion rate's and the second the clicks'.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Model, ModelSpec, NetworkSize, check_size, check_widths};
use crate::embedding::Pooled;
use crate::error::{Error, Result};
use crate::front::FrontConfig;
use crate::mlp::{HiddenConfig, MlpShape};
use crate::schema::Schema;
use crate::tower::Towers;

/// Sizes of an ESMM.
///
/// # Labels and sample space
/// Exactly two tasks, in this order: **0, the click** of every impression, and **1, the conversion** of every impression, which
/// is 1 only where the click is 1 (click and conversion). Both are judged among **all** rows: a task with `within` is refused,
/// because the second output is a probability per impression, not per click. The rate among clicks is `y_1 / y_0`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct EsmmConfig {
    /// `D`, width of an embedding.
    pub dim: usize,
    /// Hidden widths of both towers.
    pub tower: Vec<usize>,
    /// What follows each hidden linear map.
    pub hidden: HiddenConfig,
    /// What stands before the model, by keys among these; nothing by default.
    #[serde(skip)]
    pub front: FrontConfig,
}

keys_with_front!(EsmmConfig);

impl Default for EsmmConfig {
    fn default() -> Self {
        Self { dim: 16, tower: vec![512, 512, 512], hidden: HiddenConfig::default(), front: FrontConfig::default() }
    }
}

impl EsmmConfig {
    fn towers(&self, schema: &Schema) -> MlpShape<'_> {
        Towers::shape(&schema.tasks, schema.fields.len() * self.dim, &self.tower, &self.hidden)
    }
}

impl ModelSpec for EsmmConfig {
    type Model = Esmm;

    fn name(&self) -> &'static str {
        "esmm"
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        check_size("dim", self.dim, 1)?;
        check_widths("tower", &self.tower, 0)?;
        self.hidden.check()?;
        let unfit = |what: String| Err(Error::Unfit { model: "esmm", what });
        if schema.tasks.len() != 2 {
            return unfit(format!(
                "it learns exactly two labels, a click and a conversion of clicked rows, and the recipe has {}: name two",
                schema.tasks.len()
            ));
        }
        if let Some(task) = schema.tasks.iter().find(|task| !task.kind.is_binary()) {
            let (name, kind) = (&task.name, task.kind.name());
            return unfit(format!("it multiplies probabilities, and task '{name}' is {kind}: take another model"));
        }
        match schema.tasks.iter().find_map(|task| Some((&task.name, task.within.as_ref()?))) {
            Some((name, within)) => unfit(format!(
                "task '{name}' is judged within '{within}', and ESMM judges both labels among all rows: take `within` away and let \
                 '{name}' be 0 where '{within}' is 0"
            )),
            None => Ok(()),
        }
    }

    fn tasks_stand_apart(&self) -> bool {
        false
    }

    fn front(&self) -> FrontConfig {
        self.front.clone()
    }

    fn tower_inputs(&self, schema: &Schema) -> Vec<usize> {
        self.towers(schema).inputs()
    }

    fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.dim]
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        self.towers(schema).size()
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Esmm {
        Esmm { towers: Towers::init(self.towers(schema), schema, rng, device) }
    }
}

/// Two towers, of conversion rate and of clicks, and the product of their probabilities.
#[derive(Module, Debug)]
pub struct Esmm {
    towers: Towers,
}

impl Model for Esmm {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        let z = self.towers.forward_gated(x.group(0), x.tower_gates()); // [B, 2]: cvr, ctr
        let (cvr, ctr) = (z.clone().slice_dim(1, 0..1), z.slice_dim(1, 1..2)); // [B, 1]
        Tensor::cat(vec![ctr.clone(), logit_of_product(ctr, cvr)], 1) // [B, 2]: click, click and conversion
    }
}

/// The logit of `sigmoid(a) sigmoid(b)`: `-log(e^-a + e^-b + e^(-a-b))`, stable at any size.
fn logit_of_product(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let terms = Tensor::cat(vec![a.clone().neg(), b.clone().neg(), (a + b).neg()], 1); // [B, 3]
    let largest = terms.clone().detach().max_dim(1); // [B, 1]
    ((terms - largest.clone()).exp().sum_dim(1).log() + largest).neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSpec;

    #[test]
    fn the_second_output_is_the_product_of_two_probabilities() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let column = |values: [f32; 4]| Tensor::<2>::from_floats(values.map(|v| [v]), &device);
        let (a, b) = ([0.3f32, -4.0, 60.0, -90.0], [1.2f32, 2.0, 0.5, -80.0]);
        let z: Vec<f32> = logit_of_product(column(a), column(b)).into_data().try_into_vec().unwrap();
        let p = |z: f32| 1.0 / (1.0 + f64::from(-z).exp());
        for i in 0..4 {
            assert!((p(z[i]) - p(a[i]) * p(b[i])).abs() < 1e-7);
        }
        assert!((z[3] + 170.0).abs() < 1e-3, "tiny probabilities keep their logit: {}", z[3]);
    }
}
