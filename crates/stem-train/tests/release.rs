//! A training gives the buffers of its steps back, with an error too. One test: the buffers are the process's.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use stem_core::{DeviceSpec, ModelName};
use stem_train::{Learner, OptimizerConfig, TrainConfig};

#[test]
fn no_buffer_of_a_step_is_kept_after_a_training_or_its_error() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let device = DeviceSpec::Flex.open().unwrap();
    for (learning_rate, ends) in [(0.1, true), (1e300, false)] {
        let optimizer = OptimizerConfig::Sgd(Default::default());
        let config = TrainConfig { learning_rate, optimizer, epochs: 1, batch_size: 1000, ..TrainConfig::default() };
        let mut learner =
            Learner::new(small(ModelName::Stem), &dataset, config, &device, folder.path().join("out")).unwrap();
        drop(stem_kernels::arena::take(1000));
        assert!(stem_kernels::arena::held() > 0);
        assert_eq!(learner.fit().is_ok(), ends);
        assert_eq!(stem_kernels::arena::held(), 0);
    }
}
