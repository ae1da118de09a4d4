//! The same step on every device. Meaningful where `STEM_DEVICE` names another device than flex.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use stem_core::{AnyModel, Batch, DeviceSpec, params};
use stem_data::{BatchPlan, Split};
use stem_train::{ModelName, Objective, TableMode, TrainState};

/// Rows' gradient of the first batch, and table and network after all batches.
fn trained(device: DeviceSpec, batches: &[Batch], schema: &stem_core::Schema) -> [Vec<f32>; 3] {
    let objective = Objective { embedding_l2: 1e-6, ..Objective::plain(2) };
    let spec = experiment().model(ModelName::Stem);
    let device = device.open().unwrap();
    let mut state = TrainState::<AnyModel>::init(&spec, schema, 0.1, 1, TableMode::RowSparse, &device);
    let first = state.differentiate(&batches[0], &objective).1.rows;
    for batch in batches {
        let (_, gradients) = state.differentiate(batch, &objective);
        state = state.apply(gradients, 1e-3, 10.0);
    }
    let values = |tensor: burn::tensor::Tensor<2>| tensor.into_data().try_into_vec::<f32>().unwrap();
    let network = params::collect(&state.network).into_values().flat_map(|data| data.try_into_vec::<f32>().unwrap());
    [values(first), values(state.table.rows().tensor().clone()), network.collect()]
}

#[test]
fn every_device_takes_the_same_steps() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let plan = BatchPlan { size: 512, shuffle: Some((1, 1)) };
    let batches: Vec<Batch> = dataset.batches(Split::Train, plan).collect();
    let expected = trained(DeviceSpec::Flex, &batches, dataset.schema());
    let found = trained(spec(), &batches, dataset.schema());
    for (what, (found, expected)) in ["gradient", "table", "network"].into_iter().zip(found.iter().zip(&expected)) {
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let bound = if what == "gradient" { 1e-5 } else { 1e-3 };
        assert!(found.len() == expected.len() && worst < bound, "{what}: {worst} apart after {} steps", batches.len());
    }
}

/// Rows that a batch does not hold have no gradient, so without L2 the first step of both modes is the same.
#[test]
fn a_first_step_is_the_same_row_sparse_and_dense() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let batch = dataset.batches(Split::Train, BatchPlan { size: 200, shuffle: Some((1, 1)) }).next().unwrap();
    let objective = Objective { task_weights: vec![1.0, 2.0], ..Objective::plain(2) };
    let stepped = |mode: TableMode| {
        let (model, device) = (experiment().model(ModelName::Stem), spec().open().unwrap());
        let state = TrainState::<AnyModel>::init(&model, dataset.schema(), 0.1, 1, mode, &device);
        let (_, gradients) = state.differentiate(&batch, &objective);
        let state = state.apply(gradients, 1e-2, 0.01); // a limit that clips
        state.table.rows().tensor().clone().into_data().try_into_vec::<f32>().unwrap()
    };
    let (sparse, dense) = (stepped(TableMode::RowSparse), stepped(TableMode::Dense));
    let worst = sparse.iter().zip(&dense).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(sparse.len() == dense.len() && worst < 1e-4, "{worst} apart");
}
