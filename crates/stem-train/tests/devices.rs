//! The same step on every device. Meaningful where `STEM_DEVICE` names another device than flex.
#![cfg(feature = "flex")]

use crate::common::*;
use stem_core::models::AnyModel;
use stem_core::precision::Precision;
use stem_core::{Batch, DeviceSpec, ModelConfig, ModelName, fused, params};
use stem_data::{BatchPlan, Split};
use stem_train::{Objective, TableMode, TrainState};

/// Rows' gradient of the first batch, and table and network after all batches.
fn trained(device: DeviceSpec, batches: &[Batch], schema: &stem_core::Schema) -> [Vec<f32>; 3] {
    trained_with(&small(ModelName::Stem), Precision::F32, device, batches, schema)
}

fn trained_with(
    spec: &ModelConfig,
    precision: Precision,
    device: DeviceSpec,
    batches: &[Batch],
    schema: &stem_core::Schema,
) -> [Vec<f32>; 3] {
    let objective = Objective { embedding_l2: 1e-6, network_l2: 1e-6, ..Objective::plain(2) };
    let device = device.open().unwrap();
    let state = TrainState::<AnyModel>::init(spec, schema, 0.1, 1, TableMode::RowSparse, &device);
    let mut state = state.with_precision(precision);
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

/// Experts wide enough that their products are worth dividing among threads, and rounding.
fn wide() -> ModelConfig {
    stem(|config| (config.experts, config.gate, config.tower) = (vec![96, 64], vec![64], vec![64]))
}

#[test]
fn steps_are_the_same_bits_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let batches: Vec<Batch> = dataset.batches(Split::Train, BatchPlan { size: 1000, shuffle: Some((1, 1)) }).collect();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| trained_with(&wide(), Precision::F32, DeviceSpec::Flex, &batches, dataset.schema()))
    };
    let bits = |values: [Vec<f32>; 3]| values.map(|values| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
    let one = bits(on(1));
    assert_eq!(one, bits(on(2)));
    assert_eq!(one, bits(on(3)));
}

#[test]
fn fused_ops_take_the_steps_of_the_plain_ones() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let batches: Vec<Batch> = dataset.batches(Split::Train, BatchPlan { size: 500, shuffle: Some((1, 1)) }).collect();
    for model in [wide(), stem(|config| config.layers = 2), small(ModelName::Ple), small(ModelName::Aitm)] {
        let run = || trained_with(&model, Precision::F32, DeviceSpec::Flex, &batches, dataset.schema());
        let (fused, plain) = (run(), fused::without(run));
        for (what, (fused, plain)) in ["gradient", "table", "network"].into_iter().zip(fused.iter().zip(&plain)) {
            let worst = fused.iter().zip(plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let bound = if what == "gradient" { 1e-5 } else { 1e-3 };
            assert!(fused.len() == plain.len() && worst < bound, "{model:?}, {what}: {worst} apart");
        }
    }
}

#[test]
fn training_in_bf16_stays_near_f32_and_keeps_its_weights_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let batches: Vec<Batch> = dataset.batches(Split::Train, BatchPlan { size: 500, shuffle: Some((1, 1)) }).collect();
    let run = |precision| trained_with(&wide(), precision, spec(), &batches, dataset.schema());
    let (exact, rounded) = (run(Precision::F32), run(Precision::Bf16));
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
    for (what, bound, (exact, rounded)) in ["gradient", "table", "network"]
        .into_iter()
        .zip([0.1, 0.2, 0.1])
        .zip(exact.iter().zip(&rounded))
        .map(|((a, b), c)| (a, b, c))
    {
        let off = norm(&mut exact.iter().zip(rounded).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied());
        assert!(off < bound, "{what}: off by {off}");
    }
    let halves = |values: &[f32]| values.iter().filter(|x| x.to_bits() & 0xffff == 0).count();
    assert!(halves(&rounded[2]) < rounded[2].len() / 4, "the network's weights are no rounded numbers");
}

/// Rows that a batch does not hold have no gradient, so without L2 the first step of both modes is the same.
#[test]
fn a_first_step_is_the_same_row_sparse_and_dense() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let batch = dataset.batches(Split::Train, BatchPlan { size: 200, shuffle: Some((1, 1)) }).next().unwrap();
    let objective = Objective { task_weights: vec![1.0, 2.0], ..Objective::plain(2) };
    let stepped = |mode: TableMode| {
        let (model, device) = (small(ModelName::Stem), spec().open().unwrap());
        let state = TrainState::<AnyModel>::init(&model, dataset.schema(), 0.1, 1, mode, &device);
        let (_, gradients) = state.differentiate(&batch, &objective);
        let state = state.apply(gradients, 1e-2, 0.01); // a limit that clips
        state.table.rows().tensor().clone().into_data().try_into_vec::<f32>().unwrap()
    };
    let (sparse, dense) = (stepped(TableMode::RowSparse), stepped(TableMode::Dense));
    let worst = sparse.iter().zip(&dense).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(sparse.len() == dense.len() && worst < 1e-4, "{worst} apart");
}
