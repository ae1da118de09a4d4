//! One step against the equations: gradients against differences of the loss, and weights against gradients.

use crate::common::*;
use burn::tensor::TensorData;
use stem_core::models::{AitmConfig, AnyModel};
use stem_core::nn::DistinctRows;
use stem_core::{Batch, ModelConfig, ModelName, params};
use stem_data::{BatchPlan, Split};
use stem_train::optimizer::{OptimizerConfig, Sgd};
use stem_train::{Objective, TableMode, TrainState};

/// AITM has a penalty of its own.
fn model() -> ModelConfig {
    let ModelConfig::Aitm(config) = small(ModelName::Aitm) else { unreachable!() };
    ModelConfig::Aitm(AitmConfig { order_penalty: 0.6, ..config })
}

fn objective() -> Objective {
    Objective { task_weights: vec![2.0, 0.5], embedding_l2: 0.3, network_l2: 0.2 }
}

fn case(folder: &std::path::Path, mode: TableMode) -> (Batch, TrainState<AnyModel>) {
    let dataset = dataset(folder);
    let batch = dataset.batches(Split::Train, BatchPlan { size: 8, shuffle: Some((1, 1)) }).next().unwrap();
    let device = spec().open().unwrap();
    let state = TrainState::init(&model(), dataset.schema(), 0.5, 2, mode, &device);
    (batch, state.with_optimizer(OptimizerConfig::Sgd(Sgd::default())))
}

fn floats(data: TensorData) -> Vec<f32> {
    data.try_into_vec().unwrap()
}

/// `sum_t w_t L_t` and all regularization.
fn loss(state: &TrainState<AnyModel>, batch: &Batch) -> f64 {
    let (losses, _) = state.differentiate(batch, &objective());
    let tasks = floats(losses.tasks.into_data());
    let weighted = tasks.iter().zip(objective().task_weights).map(|(loss, weight)| f64::from(*loss) * weight);
    weighted.sum::<f64>() + f64::from(floats(losses.regularization.into_data())[0])
}

const STEP: f32 = 0.004; // small: beyond the kink of a ReLU the slope is another

fn assert_slope(what: &str, above: f64, below: f64, gradient: f32) {
    let slope = (above - below) / f64::from(2.0 * STEP);
    assert!((slope - f64::from(gradient)).abs() < 4e-3 + 0.02 * slope.abs(), "{what}: {gradient}, expected {slope}");
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    let folder = tempfile::tempdir().unwrap();
    let (batch, mut state) = case(folder.path(), TableMode::RowSparse);
    let (_, gradients) = state.differentiate(&batch, &objective());
    let rows = DistinctRows::of(&batch.ids).rows;
    let [_, width] = state.table.rows().dims();
    let of_rows = floats(gradients.rows.clone().into_data());
    assert_eq!(of_rows.len(), rows.len() * width);
    for (u, &row) in rows.iter().enumerate().step_by(5) {
        let mut at = |by: f32| {
            state.table.rows_mut().host_mut(|values| values[row as usize * width + 1] += by);
            loss(&state, &batch)
        };
        let (above, below) = (at(STEP), at(-2.0 * STEP));
        at(STEP);
        assert_slope(&format!("row {row}"), above, below, of_rows[u * width + 1]);
    }
    let network = state.network.clone();
    let mut compared = 0;
    for (name, id, _) in params::list(&network) {
        let Some(gradient) = gradients.network.get(id) else { continue };
        let gradient = floats(gradient.clone().into_data());
        let place = gradient.len() / 2;
        let mut at = |by: f32| {
            let mut values = params::collect(&network);
            let shape = values[&name].shape().as_slice().to_vec();
            let mut changed = floats(values[&name].clone());
            changed[place] += by;
            values.insert(name.clone(), TensorData::new(changed, shape));
            state.network = params::replace(network.clone(), values).unwrap();
            loss(&state, &batch)
        };
        let (above, below) = (at(STEP), at(-STEP));
        assert_slope(&name, above, below, gradient[place]);
        compared += 1;
    }
    assert!(compared > 5, "{compared} parameters have a gradient");
}

/// `w - rate * min(1, limit / (norm + 1e-6)) * g`, the norm that of all gradients together.
#[test]
fn a_step_moves_the_weights_it_reaches_against_their_clipped_gradient() {
    for mode in [TableMode::RowSparse, TableMode::Dense] {
        for limit in [0.5, 1e9] {
            let folder = tempfile::tempdir().unwrap();
            let (batch, state) = case(folder.path(), mode);
            let (_, gradients) = state.differentiate(&batch, &objective());
            let of_rows = floats(gradients.rows.clone().into_data());
            let of_network: Vec<(String, Vec<f32>)> = params::list(&state.network)
                .into_iter()
                .filter_map(|(name, id, _)| Some((name, floats(gradients.network.get(id)?.clone().into_data()))))
                .collect();
            let squares = |values: &[f32]| values.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>();
            let norm = (squares(&of_rows) + of_network.iter().map(|(_, g)| squares(g)).sum::<f64>()).sqrt();
            let scale = (limit / (norm + 1e-6)).min(1.0);
            assert_eq!(scale < 1.0, limit < 1.0, "{norm}");

            let [vocabulary, width] = state.table.rows().dims();
            let rows = match mode {
                TableMode::RowSparse => DistinctRows::of(&batch.ids).rows,
                TableMode::Dense => (0..vocabulary as u32).collect(),
            };
            let mut table = floats(state.table.rows().tensor().to_data());
            for (u, row) in rows.into_iter().enumerate() {
                for i in 0..width {
                    table[row as usize * width + i] -= (0.1 * scale * f64::from(of_rows[u * width + i])) as f32;
                }
            }
            let mut network = params::collect(&state.network);
            let state = state.apply(gradients, 0.1, limit);
            let close = |what: &str, found: &[f32], expected: &[f32]| {
                let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(found.len() == expected.len() && off < 1e-6, "{what}, {mode:?}, limit {limit}: {off} apart");
            };
            close("table", &floats(state.table.rows().tensor().to_data()), &table);
            let mut after = params::collect(&state.network);
            for (name, gradient) in of_network {
                let mut expected = floats(network.remove(&name).unwrap());
                expected.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= (0.1 * scale * f64::from(*g)) as f32);
                close(&name, &floats(after.remove(&name).unwrap()), &expected);
            }
            for (name, before) in network {
                assert_eq!(floats(after.remove(&name).unwrap()), floats(before), "{name} has no gradient");
            }
        }
    }
}
