//! A model of your own, outside the library: wide and deep, run by name and compared with the library's models.
//!
//! `y_t = sigmoid(tower_t(x) + wide_t(x))`

use serde::{Deserialize, Serialize};
use stem_core::burn::{self, module::Module, tensor::Device, tensor::Tensor};
use stem_core::models::{Extended, Model, ModelSpec, NetworkSize};
use stem_core::nn::{HiddenConfig, MlpShape, Pooled, Rng, Towers};
use stem_core::{DeviceSpec, Predictor, Row, Schema};
use stem_data::{PrepareOptions, Recipe, prepare};
use stem_experiment::{CompareConfig, Experiment, RunOptions, compare, run};
use stem_report::report::verdicts;

/// Sizes: the section `[wide-deep]` of an experiment, and what the bundle tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
struct WideDeepConfig {
    dim: usize,
    tower: Vec<usize>,
    hidden: HiddenConfig,
}

impl Default for WideDeepConfig {
    fn default() -> Self {
        Self { dim: 4, tower: vec![64, 32], hidden: HiddenConfig::default() }
    }
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
        Towers::shape(&schema.tasks, schema.fields.len() * self.dim, tower, &self.hidden)
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
        WideDeep { deep: Towers::init(deep, schema, rng, device), wide: Towers::init(wide, schema, rng, device) }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or("out/custom".into()));
    let recipe = Recipe::load("datasets/simulated/recipe.toml")?;
    let dataset = prepare(&recipe, &out, &out.join("columns"), &PrepareOptions::default())?;
    let path = "datasets/simulated/experiment.toml"; // may have a section [wide-deep]
    let mut experiment = Experiment::<Extended<WideDeepConfig>>::load_family(path)?;
    experiment.train.epochs = 2;
    let options = RunOptions { device: DeviceSpec::from_env()?, overwrite: true, ..RunOptions::default() };

    let metrics = run("wide-deep", &experiment, &dataset, &out.join("run"), &options)?;
    println!("test AUC: {:?}", metrics.test.values().map(|m| m.auc).collect::<Vec<_>>());
    let bundle = out.join("run/bundle.safetensors");
    let predictor = Predictor::<Extended<WideDeepConfig>>::open_model(bundle, &options.device.open()?)?;
    let row = Row::new().with("user", 7).with("item", 21).with("user_group", 1).with("item_category", 2);
    println!("{:?}", predictor.predict(&[row])?.rows().next());

    let models = vec!["wide-deep".into(), "stem".into()]; // and single-task, which both are held against
    let config = CompareConfig { models, seeds: vec![1, 2], ..CompareConfig::default() };
    let report = compare(&config, &experiment, &dataset, &out.join("compare"), &options)?;
    verdicts(&report).iter().for_each(|verdict| println!("{}: {}", verdict.headline, verdict.reasons.join(" ")));
    Ok(())
}
