//! The same seed gives the same bits, with dropout too. One test: dropout draws from a generator that the whole process shares.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use stem_core::nn::HiddenConfig;
use stem_core::{Bundle, ModelConfig, params};
use stem_train::{Learner, TrainConfig};

#[test]
fn the_same_seed_gives_the_same_bits_twice_with_dropout() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let device = spec().open().unwrap();
    let weights = |seed: u64, dropout: f64, name: &str| -> Vec<u32> {
        let model = stem(|config| config.hidden = HiddenConfig { dropout, ..HiddenConfig::default() });
        let config = TrainConfig { seed, epochs: 2, batch_size: 1000, embedding_std: 0.1, ..TrainConfig::default() };
        let out = folder.path().join(name);
        let mut learner = Learner::new(model, &dataset, config, &device, &out).unwrap();
        learner.fit().unwrap();
        let (table, network) = Bundle::<ModelConfig>::open(learner.bundle_path()).unwrap().load(&device).unwrap();
        let all = [table.rows().tensor().to_data()].into_iter().chain(params::collect(&network).into_values());
        all.flat_map(|data| data.try_into_vec::<f32>().unwrap()).map(f32::to_bits).collect()
    };
    let first = weights(1, 0.5, "first");
    assert!(first == weights(1, 0.5, "again"), "the same seed");
    assert!(first != weights(2, 0.5, "other"), "another seed");
    assert!(first != weights(1, 0.0, "without"), "dropout takes part");
}
