//! A model of your own, outside the library: wide and deep, with the library's trainer, bundle and predictor.
//!
//! `y_t = sigmoid(tower_t(x) + wide_t(x))`

use serde::{Deserialize, Serialize};
use stem_core::burn::{self, module::Module, tensor::Device, tensor::Tensor};
use stem_core::models::{Model, ModelSpec, NetworkSize};
use stem_core::nn::{HiddenConfig, MlpShape, Pooled, Rng, Towers};
use stem_core::{DeviceSpec, Predictor, Row, Schema};
use stem_data::{PrepareOptions, Recipe, Split, prepare};
use stem_experiment::Experiment;
use stem_train::{Learner, Progress, TrainConfig};

/// Sizes, as the bundle tells them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct WideDeepConfig {
    dim: usize,
    tower: Vec<usize>,
    hidden: HiddenConfig,
}

/// A tower per task, and a linear map per task: a tower without hidden layers.
#[derive(Module, Debug)]
struct WideDeep {
    deep: Towers,
    wide: Towers,
}

impl Model for WideDeep {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        let x = x.group(0); // [1, B, F * D], read by all members of a bank
        self.deep.forward(x.clone()) + self.wide.forward(x) // [B, T]
    }
}

impl WideDeepConfig {
    fn bank<'a>(&'a self, schema: &Schema, tower: &'a [usize]) -> MlpShape<'a> {
        Towers::shape(schema.tasks.len(), schema.fields.len() * self.dim, tower, &self.hidden)
    }
}

impl ModelSpec for WideDeepConfig {
    type Model = WideDeep;

    fn name(&self) -> &'static str {
        "wide-deep"
    }
    fn check(&self, _schema: &Schema) -> stem_core::Result<()> {
        self.hidden.check()
    }
    fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.dim] // one embedding, shared by all tasks
    }
    fn size(&self, schema: &Schema) -> NetworkSize {
        self.bank(schema, &self.tower).size() + self.bank(schema, &[]).size()
    }
    fn init(&self, schema: &Schema, rng: &mut Rng, device: &Device) -> WideDeep {
        let (deep, wide) = (self.bank(schema, &self.tower), self.bank(schema, &[]));
        WideDeep { deep: Towers::init(deep, rng, device), wide: Towers::init(wide, rng, device) }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or("out/custom".into()));
    let recipe = Recipe::load("datasets/simulated/recipe.toml")?;
    let dataset = prepare(&recipe, &out, &out.join("columns"), &PrepareOptions::default())?;
    let train = TrainConfig { epochs: 2, ..Experiment::load("datasets/simulated/experiment.toml")?.train };
    let config = WideDeepConfig { dim: 4, tower: vec![64, 32], hidden: HiddenConfig::default() };

    let device = DeviceSpec::from_env()?.open()?;
    let mut learner = Learner::new(config, &dataset, train, &device, &out)?.with_progress(Progress::on_stderr());
    learner.fit()?;
    println!("test AUC: {:?}", learner.evaluate(Split::Test)?.iter().map(|m| m.auc).collect::<Vec<_>>());
    let predictor = Predictor::<WideDeepConfig>::open_model(learner.bundle_path(), &device)?;
    let row = Row::new().with("user", 7).with("item", 21).with("user_group", 1).with("item_category", 2);
    println!("{:?}", predictor.predict(&[row])?.rows().next());
    Ok(())
}
