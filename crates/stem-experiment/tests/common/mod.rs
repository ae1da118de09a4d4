//! A small experiment on the small data set.

#![allow(dead_code, unused_imports)] // every test file uses its part

#[path = "../../../stem-train/tests/common/mod.rs"]
mod small;

pub use small::*;

use stem_experiment::{Experiment, RunOptions};

/// Small sizes for every model, and a few epochs.
pub fn experiment() -> Experiment {
    let train = "[train]\nbatch_size = 256\nepochs = 4\nlearning_rate = 5e-3\nembedding_l2 = 1e-6\n".to_string(); // a learned prior has tests of its own, and takes long on a GPU in software
    let text = small_sizes().iter().fold(train, |text, (name, sizes)| format!("{text}\n[{name}]\n{sizes}\n"));
    Experiment::parse(&text, "experiment.toml").unwrap()
}

pub fn options() -> RunOptions {
    RunOptions { device: spec(), ..RunOptions::default() }
}

/// An error with its causes, as a program prints it.
pub fn said(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", said(source)),
        None => error.to_string(),
    }
}
