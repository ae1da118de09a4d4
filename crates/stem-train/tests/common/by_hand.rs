//! The learner of a small configuration, and the same steps taken one by one.

use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use stem_core::models::AnyModel;
use stem_core::{Bundle, ModelConfig, params};
use stem_data::{BatchPlan, Dataset, PrepareOptions, Recipe, Split, prepare};
use stem_train::optimizer::Sgd;
use stem_train::{Best, FitSummary, Learner, Objective, OptimizerConfig, ScheduleConfig, TrainConfig, TrainState};

use super::{RECIPE, spec};

/// Without validation rows every epoch counts as the best, so that the bundle holds the weights after the last step.
pub fn without_validation(folder: &Path) -> Dataset {
    let recipe = RECIPE.replace("valid = 0.15", "valid = 0.0").replace("rows = 6000", "rows = 1500");
    prepare(
        &Recipe::parse(&recipe, "recipe.toml").unwrap(),
        folder,
        &folder.join("columns"),
        &PrepareOptions::default(),
    )
    .unwrap()
}

pub fn sgd() -> OptimizerConfig {
    OptimizerConfig::Sgd(Sgd::default())
}

/// Three steps an epoch, the last one smaller, nothing but the loss.
pub fn plain() -> TrainConfig {
    TrainConfig {
        batch_size: 500,
        epochs: 2,
        learning_rate: 0.3,
        schedule: ScheduleConfig::Constant {},
        optimizer: sgd(),
        embedding_l2: Some(0.0),
        max_gradient_norm: 1e9,
        embedding_std: 0.1,
        best: Best::Joint,
        seed: 7,
        ..TrainConfig::default()
    }
}

pub fn learner<'a>(
    spec_: &ModelConfig,
    dataset: &'a Dataset,
    config: &TrainConfig,
    folder: PathBuf,
) -> Learner<'a, ModelConfig> {
    Learner::new(spec_.clone(), dataset, config.clone(), &spec().open().unwrap(), folder).unwrap()
}

pub fn fit(spec_: &ModelConfig, dataset: &Dataset, config: &TrainConfig, folder: &Path) -> FitSummary {
    learner(spec_, dataset, config, folder.to_path_buf()).fit().unwrap()
}

pub fn floats(data: impl IntoIterator<Item = TensorData>) -> Vec<f32> {
    data.into_iter().flat_map(|data| data.try_into_vec::<f32>().unwrap()).collect()
}

/// Table and network of a bundle, one after the other.
pub fn weights_in(bundle: &Path) -> Vec<f32> {
    let device = spec().open().unwrap();
    let (table, network) = Bundle::<ModelConfig>::open(bundle).unwrap().load(&device).unwrap();
    floats([table.rows().tensor().to_data()].into_iter().chain(params::collect(&network).into_values()))
}

pub fn weights_of(state: &TrainState<AnyModel>) -> Vec<f32> {
    floats([state.table.rows().tensor().to_data()].into_iter().chain(params::collect(&state.network).into_values()))
}

/// Steps taken one by one: the rate of each is given, the objective is written out by the test.
pub struct ByHand<'a> {
    pub spec: &'a ModelConfig,
    pub dataset: &'a Dataset,
    pub config: &'a TrainConfig,
    pub objective: Objective,
}

impl ByHand<'_> {
    pub fn start(&self) -> TrainState<AnyModel> {
        let TrainConfig { embedding_std, seed, table, optimizer, precision, .. } = *self.config;
        let device = spec().open().unwrap();
        TrainState::init(self.spec, self.dataset.schema(), embedding_std, seed, table, &device)
            .with_optimizer(optimizer)
            .with_precision(precision)
    }

    /// The weights after as many steps as there are rates, and the losses of each step's tasks.
    pub fn steps(&self, rates: &[f64]) -> (Vec<f32>, Vec<Vec<f32>>) {
        let TrainConfig { batch_size: size, seed, max_gradient_norm, .. } = *self.config;
        let mut state = self.start();
        let mut losses = Vec::new();
        let epochs = (1..).flat_map(|epoch| {
            let shuffle = Some((seed, epoch));
            self.dataset.batches(Split::Train, BatchPlan { size, shuffle })
        });
        for (batch, &rate) in epochs.zip(rates) {
            let (step, gradients) = state.differentiate(&batch, &self.objective);
            losses.push(floats([step.tasks.into_data()]));
            state = state.apply(gradients, rate, max_gradient_norm);
        }
        (weights_of(&state), losses)
    }
}

pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The lines of a run's log.
pub fn log_of(folder: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
