//! A small simulated data set, and the reference's fixtures where they are.

#![allow(dead_code)] // every test file uses its part

#[path = "../../../stem-data/tests/common/shared.rs"]
pub mod shared;

use std::path::Path;

use stem_core::{DeviceSpec, SharedBottomConfig, SingleTaskConfig, StemConfig};
use stem_data::{Dataset, Recipe, prepare};
use stem_train::{Experiment, RunOptions, TrainConfig};

pub const RECIPE: &str = r#"
name = "small"
group = "user"
source = [{ name = "log", file = "log.csv" }]
field = [
    { column = "user", kind = "category" },
    { column = "item", kind = "category", min_count = 3 },
    { column = "user_group", kind = "category" },
    { column = "item_category", kind = "category" },
]
label = [{ column = "a" }, { column = "b" }]
split = { kind = "random", valid = 0.15, test = 0.15, seed = 3 }
[simulator]
users = 60
items = 50
rows = 6000
base = [-0.3, -0.8]
propensity = 2.0
popularity = 1.5
exposure = 0.2
"#;

/// Prepared in `folder`.
pub fn dataset(folder: &Path) -> Dataset {
    let recipe = Recipe::parse(RECIPE, "recipe.toml").unwrap();
    prepare(&recipe, folder, &folder.join("columns"), false).unwrap()
}

/// Small sizes and a few epochs.
pub fn experiment() -> Experiment {
    Experiment {
        train: TrainConfig { batch_size: 256, epochs: 4, learning_rate: 5e-3, ..TrainConfig::default() },
        stem: StemConfig {
            dim: 4,
            shared_experts: 1,
            experts: vec![16, 8],
            gate: vec![8],
            tower: vec![8],
            ..StemConfig::default()
        },
        shared_bottom: SharedBottomConfig { dim: 4, bottom: vec![16, 8], tower: vec![8], dropout: 0.0 },
        single_task: SingleTaskConfig { dim: 4, bottom: vec![16, 8], tower: vec![8], dropout: 0.0 },
    }
}

/// The device that `STEM_DEVICE` names.
pub fn spec() -> DeviceSpec {
    DeviceSpec::from_env().unwrap()
}

pub fn options() -> RunOptions {
    RunOptions { device: spec(), ..RunOptions::default() }
}
