//! A small simulated data set, and small models.

#![allow(dead_code)] // every test file uses its part

pub mod by_hand;
pub mod days;
pub mod stopped;
pub mod watched;

use std::path::Path;

use stem_core::models::StemConfig;
use stem_core::{DeviceSpec, ModelConfig, ModelName};
use stem_data::{Dataset, PrepareOptions, Recipe, prepare};

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

/// Numbers below what is asked for, the same in every run: Marsaglia's xorshift.
pub fn draws() -> impl FnMut(usize) -> usize {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below
    }
}

/// Prepared in `folder`.
pub fn dataset(folder: &Path) -> Dataset {
    let recipe = Recipe::parse(RECIPE, "recipe.toml").unwrap();
    prepare(&recipe, folder, &folder.join("columns"), &PrepareOptions::default()).unwrap()
}

/// Sections of an experiment that make every model small.
pub fn small_sizes() -> Vec<(&'static str, &'static str)> {
    let mixture = "dim = 4\nexpert_count = 3\nexperts = [16, 8]\ngate = [8]\ntower = [8]";
    let layered = "dim = 4\nshared_experts = 1\nexperts = [16, 8]\ngate = [8]\ntower = [8]";
    let bottom = "dim = 4\nbottom = [16, 8]\ntower = [8]";
    vec![
        ("stem", layered),
        ("ple", layered),
        ("ple-me", layered),
        ("omoe", mixture),
        ("mmoe", mixture),
        ("mmoe-me", mixture),
        ("shared-bottom", bottom),
        ("single-task", bottom),
        ("aitm", bottom),
        ("esmm", "dim = 4\ntower = [16, 8]"),
    ]
}

/// A small model.
pub fn small(name: ModelName) -> ModelConfig {
    small_with(name, "")
}

/// A small model whose training has no corner. The input of a ReLU that is zero but for rounding takes the one side here and the other there: then
/// two trainings part that differ in the order of a sum, and which do depends on the processor.
pub fn smooth(name: ModelName) -> ModelConfig {
    small_with(name, "hidden = { activation = \"tanh\" }")
}

/// A small model with one more line in its section.
pub fn small_with(name: ModelName, line: &str) -> ModelConfig {
    let sizes = small_sizes().into_iter().find(|(model, _)| *model == name.as_str()).unwrap().1;
    name.deserialize_config(toml::Deserializer::parse(&format!("{sizes}\n{line}")).unwrap()).unwrap()
}

/// The small STEM, changed.
pub fn stem(change: impl FnOnce(&mut StemConfig)) -> ModelConfig {
    let ModelConfig::Stem(mut config) = small(ModelName::Stem) else { unreachable!() };
    change(&mut config);
    ModelConfig::Stem(config)
}

/// Devices without fused ops, of which a GPU in software is slowest: some cases are enough there, the equations of all are held to in the core.
pub fn is_slow() -> bool {
    spec() != DeviceSpec::Flex
}

/// The device that `STEM_DEVICE` names.
pub fn spec() -> DeviceSpec {
    DeviceSpec::from_env().unwrap()
}
