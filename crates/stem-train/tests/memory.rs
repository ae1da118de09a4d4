//! What a plan counts, and what a training takes beside it: `MEMORY_CASE=many cargo test --release --test memory -- --ignored --nocapture`, one
//! case a process, since a peak is the process's.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use stem_core::nn::Activation;
use stem_core::{DeviceSpec, ModelConfig, ModelName};
use stem_train::{BalanceConfig, Learner, TrainConfig, check, memory};

#[test]
#[ignore = "a measurement"]
fn planned_and_taken() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let mut train = TrainConfig { epochs: 2, batch_size: 4096, ..TrainConfig::default() };
    let stem_of = |experts: Vec<usize>, specific: usize, shared: usize, layers: usize| {
        stem(|config| {
            (config.dim, config.experts, config.gate, config.tower) = (16, experts, vec![64], vec![64]);
            (config.specific_experts, config.shared_experts, config.layers) = (specific, shared, layers);
        })
    };
    let case = std::env::var("MEMORY_CASE").unwrap_or_default();
    let model: ModelConfig = match case.as_str() {
        "default" => ModelName::Stem.default_config(),
        "mmoe" => ModelName::Mmoe.default_config(),
        "ple" => ModelName::Ple.default_config(),
        "many" => stem_of(vec![64, 64], 32, 32, 1),
        "wide" => stem_of(vec![512, 512], 8, 8, 1),
        "layers" => stem_of(vec![128, 128], 8, 8, 2),
        "grad-norm" => {
            train.balance = BalanceConfig::GradNorm { alpha: 1.0, rate: 0.01 };
            ModelName::Stem.default_config()
        }
        "pc-grad" => {
            train.balance = BalanceConfig::PcGrad {};
            ModelName::Stem.default_config()
        }
        "own" => stem(|config| {
            (config.dim, config.experts, config.gate, config.tower) = (256, vec![32], vec![32], vec![32]);
            (config.specific_experts, config.shared_experts) = (32, 1);
        }),
        "choices" => stem_of(vec![4], 256, 256, 1),
        "mmoe-me" => ModelName::MmoeMe
            .deserialize_config(toml::Deserializer::parse("expert_count = 64\nexperts = [64]").unwrap())
            .unwrap(),
        "dropout" | "batch-norm" | "gelu" | "dice" => {
            let mut model = stem_of(vec![64, 64], 32, 32, 1);
            if let ModelConfig::Stem(stem) = &mut model {
                match case.as_str() {
                    "dropout" => stem.hidden.dropout = 0.2,
                    "batch-norm" => stem.hidden.batch_norm = true,
                    "gelu" => stem.hidden.activation = Activation::Gelu,
                    _ => stem.hidden.activation = Activation::Dice,
                }
            }
            model
        }
        _ => small(ModelName::Stem),
    };
    let before = memory::peak_gb().unwrap();
    let plan = check(&model, &dataset, &train).unwrap();
    let mut learner = Learner::new(model, &dataset, train, &spec().open().unwrap(), folder.path().join("out")).unwrap();
    learner.fit().unwrap();
    let taken = memory::peak_gb().unwrap() - before;
    println!("{case}: planned {:.3} GB, taken {taken:.3} GB; {plan}", plan.total() as f64 / 1e9);
}

/// Experts of one task read its stream, which is copied for each of them; its gradients come back from each of them.
#[test]
fn a_tasks_stream_counts_once_for_each_of_its_experts() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let train = TrainConfig { batch_size: 1000, ..TrainConfig::default() };
    let batch_bytes = |specific| {
        let model = stem(|config| (config.dim, config.experts, config.specific_experts) = (64, vec![8], specific));
        check(&model, &dataset, &train).unwrap().batch_bytes
    };
    // Four fields of width 64, two tasks, 1000 rows, a copy and its gradient; six more experts a task.
    let streams = 2 * 4 * 1000 * 2 * 6 * (4 * 64);
    let (few, many) = (batch_bytes(2), batch_bytes(8));
    assert!((few + streams..few + 2 * streams).contains(&many), "{few}, {many}, streams {streams}");
}

#[test]
fn memory_is_known_for_devices_that_the_host_reaches() {
    let device = spec().open().unwrap();
    let on_host = !matches!(spec(), DeviceSpec::Wgpu(_)) && cfg!(target_os = "linux");
    assert_eq!(memory::available_to(&device).is_some(), on_host);
}
