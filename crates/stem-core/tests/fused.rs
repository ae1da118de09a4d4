//! Production is fused where the device is flex: ops are counted, not timed.
#![allow(clippy::unwrap_used)]

mod common;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use common::*;
use stem_core::fused::{self, Calls, count_calls};
use stem_core::loss::{Targets, bce_per_task};
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

/// Nothing is fused elsewhere.
fn on_flex() -> bool {
    let flex = DeviceSpec::from_env().unwrap() == DeviceSpec::Flex;
    if !flex {
        println!("skipped: nothing is fused on this device");
    }
    flex
}

/// Ops of a training step's forward: rows looked up, logits, losses.
fn of_a_step(config: &ModelConfig) -> Calls {
    let (table, network) = init(config, &device().autodiff());
    let mut batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
    batch.labels = vec![1.0; 8];
    let distinct = DistinctRows::of(&batch.ids);
    let leaf = table.rows().gather(upload_index(&distinct.rows, &device())).autodiff().require_grad();
    let (index, weights) = upload(&distinct.inverse, &batch.weights, batch.rows, &device());
    let x = SlotLayout::new(&schema(), table.widths()).pool(leaf, index.autodiff(), weights.autodiff());
    let x = x.with_distinct(Arc::new(distinct));
    let forward = || bce_per_task(network.forward(x), &Targets::new(&batch, 2, &device()));
    let (losses, calls) = count_calls(forward);
    losses.sum().backward();
    calls
}

/// Two layers, gates of one hidden layer and experts of two: maps in a layer's own and shared experts, gates and shared gate, towers.
#[test]
fn a_training_step_of_stem_is_fused_throughout_and_reads_the_rows_once() {
    if on_flex() {
        let calls = of_a_step(&stem());
        assert_eq!([calls.linear, calls.chain], [(2 + 2 + 2 + 2) + (2 + 2 + 2) + 2, 0]);
        assert_eq!([calls.mix, calls.bag, calls.bce], [2, 1, 1]);
        let apart = StemConfig { gate_input: GateInput::Own, ..stem_config() };
        assert_eq!(of_a_step(&ModelConfig::Stem(apart)).bag, 2, "without the sum there are two bags");
    }
}

#[test]
fn every_model_pools_and_loses_in_fused_ops_and_maps_by_banks() {
    for config in every_model() {
        if on_flex() {
            let calls = of_a_step(&config);
            assert!(calls.linear > 0 && calls.bag > 0 && calls.bce == 1, "{}: {calls:?}", config.name());
        }
        assert_eq!(fused::without(|| of_a_step(&config)), Calls::default());
    }
}

#[test]
fn scoring_chains_the_maps_and_gates_run_no_expert_of_the_last_layer() {
    let (table, network) = init(&stem(), &device());
    let batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
    let layout = SlotLayout::new(&schema(), table.widths());
    let (_, scoring) = count_calls(|| score(&network.valid(), &table, &layout, &batch));
    let (_, gates) = count_calls(|| network.gates(pool(&table, &layout, &batch)));
    if on_flex() {
        assert_eq!([scoring.linear, scoring.chain], [0, (1 + 1 + 1 + 1) + (1 + 1 + 1) + 1]);
        assert_eq!([scoring.mix, scoring.bag], [2, 1]);
        // the first layer's gates, then the layer, then the last layer's gates
        assert_eq!([gates.chain, gates.mix], [2 + 4 + 1, 1]);
    }
}

#[test]
fn norms_and_the_l2_term_are_fused() {
    let x = Tensor::<2>::ones([3, 4], &device());
    let (_, calls) = count_calls(|| (fused::squared_norm(&x), fused::add_scaled(x.clone(), &x, 0.5)));
    assert!(!on_flex() || calls.norm == 2, "{calls:?}");
}

#[test]
fn a_batch_without_rows_has_gates_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.safetensors");
    save(&stem(), &path);
    let predictor = Predictor::open(&path, &device()).unwrap();
    let gates = || predictor.gates(&Batch::default()).unwrap().iter().map(|g| g.dims()).collect::<Vec<_>>();
    if on_flex() {
        assert_eq!(gates(), [[3, 0, 5], [2, 0, 5]]);
        assert_eq!(fused::without(gates), [[3, 0, 5], [2, 0, 5]]);
    }
}
