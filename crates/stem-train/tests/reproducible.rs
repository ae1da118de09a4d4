//! The same seed gives the same bits, with dropout too. Trainings beside each other do not disturb it.

use crate::common::*;
use stem_core::nn::HiddenConfig;
use stem_core::{Bundle, DeviceSpec, ModelConfig, params};
use stem_train::{Learner, TrainConfig};

#[test]
fn the_same_seed_gives_the_same_bits_twice_with_dropout() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let device = spec().open().unwrap();
    let weights = |seed: u64, dropout: f64, name: &str| -> Vec<f32> {
        let model = stem(|config| config.hidden = HiddenConfig { dropout, ..HiddenConfig::default() });
        let config = TrainConfig { seed, epochs: 2, batch_size: 1000, embedding_std: 0.1, ..TrainConfig::default() };
        let out = folder.path().join(name);
        let mut learner = Learner::new(model, &dataset, config, &device, &out).unwrap();
        learner.fit().unwrap();
        let (table, network) = Bundle::<ModelConfig>::open(learner.bundle_path()).unwrap().load(&device).unwrap();
        let all = [table.rows().tensor().to_data()].into_iter().chain(params::collect(&network).into_values());
        all.flat_map(|data| data.try_into_vec::<f32>().unwrap()).collect()
    };
    let (first, again) = std::thread::scope(|scope| {
        let beside = scope.spawn(|| weights(1, 0.5, "first"));
        weights(3, 0.5, "disturbs");
        (beside.join().unwrap(), weights(1, 0.5, "again"))
    });
    // A GPU adds up in whatever order its threads come.
    let apart = first.iter().zip(&again).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let on_gpu = matches!(spec(), DeviceSpec::Wgpu(_));
    assert!(first == again || (on_gpu && apart < 1e-4), "the same seed: {apart}");
    assert!(first != weights(2, 0.5, "other"), "another seed");
    assert!(first != weights(1, 0.0, "without"), "dropout takes part");
}
