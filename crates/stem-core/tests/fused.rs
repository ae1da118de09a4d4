//! Production is fused where the device is flex: ops are counted, not timed.

use std::sync::Arc;

use crate::common::*;
use burn::module::Module;
use burn::tensor::Tensor;
use stem_core::fused::{self, Calls, count_calls};
use stem_core::loss::{Targets, bce_per_task};
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;
use stem_kernels::prior::Precisions;

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
    let (_, scoring) = count_calls(|| score(&network.valid(), &table, &layout, &schema(), &batch));
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

/// `grad + scale * weights` and `||weights||^2`; the pull `P w` of a prior, scaled row by row: fused and plain.
#[test]
fn what_regularizes_is_what_its_equations_say_fused_and_plain() {
    let (device, close) = (device(), |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5));
    let matrix = |values: [f32; 8]| Tensor::<1>::from_floats(values, &device).reshape([2, 4]);
    let floats = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().unwrap();
    let weights = [1.0, -2.0, 0.5, 3.0, 4.0, 0.0, -1.0, 2.0];
    let grad = || matrix([0.25; 8]);
    let both = |work: &dyn Fn() -> Vec<f32>, expected: &[f32]| {
        assert!(close(&work(), expected), "{:?}, expected {expected:?}", work());
        assert!(close(&fused::without(work), expected), "{:?}, expected {expected:?}", fused::without(work));
    };
    both(
        &|| {
            let (sum, squares) = fused::add_scaled(grad(), &matrix(weights), 2.0);
            floats(sum).into_iter().chain([squares.into_scalar::<f32>() / 100.0]).collect()
        },
        &[2.25, -3.75, 1.25, 6.25, 8.25, 0.25, -1.75, 4.25, 0.3525],
    );
    let diagonal = Precisions::Diagonal { values: vec![9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 3.0, 4.0], width: 4 };
    both(
        &|| floats(fused::add_pull(grad(), &matrix(weights), &[1, 1], &[1.0, 0.5], &diagonal)),
        &[1.25, -3.75, 1.75, 12.25, 2.25, 0.25, -1.25, 4.25],
    );
    // Two groups of two dimensions: [a b; b c] of each vocabulary.
    let tied = Precisions::Tied { values: vec![1.0, 0.5, 0.5, 2.0, 7.0, 7.0, 7.0, 7.0], groups: 2, dim: 2 };
    both(
        &|| floats(fused::add_pull(grad(), &matrix(weights), &[0, 0], &[1.0, 2.0], &tied)),
        &[1.5, -0.25, 1.75, 5.25, 7.25, 2.25, 0.25, 8.25],
    );
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
