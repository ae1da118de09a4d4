//! Crosses of features: PyTorch's numbers, and what every model makes of them.

use std::collections::BTreeMap;

use crate::common::oracle::gradients;
use crate::common::*;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use stem_core::fused::{self, count_calls};
use stem_core::loss::{Targets, bce_per_task};
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

const CROSS: CrossConfig = CrossConfig { layers: 2, rank: 3 };

#[derive(Deserialize)]
struct Fixture {
    shape: [usize; 3],
    rank: usize,
    layers: usize,
    x0: Vec<f32>,
    parameters: BTreeMap<String, Vec<f32>>,
    y: Vec<f64>,
    pull: Vec<f32>,
    dx0: Vec<f64>,
    gradients: BTreeMap<String, Vec<f64>>,
}

fn close(found: &[f32], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-5 * expected.abs().max(1.0), "{what}: {found} {expected}");
    }
}

#[test]
fn crosses_and_their_gradients_are_pytorchs() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/cross.json")).unwrap();
    let [groups, rows, input] = fixture.shape;
    let config = CrossConfig { layers: fixture.layers, rank: fixture.rank };
    let cross = config.init(groups, input, &mut rng(1), &device().autodiff()).unwrap();
    let shapes: BTreeMap<String, Vec<usize>> =
        params::collect(&cross).into_iter().map(|(name, data)| (name, data.shape().as_slice().to_vec())).collect();
    let values = fixture
        .parameters
        .iter()
        .map(|(name, values)| (name.clone(), TensorData::new(values.clone(), shapes[name].clone())));
    let cross = params::replace(cross, values.collect()).unwrap();
    let tensor =
        |values: &[f32]| Tensor::<3>::from_data(TensorData::new(values.to_vec(), [groups, rows, input]), &device());
    let x0 = tensor(&fixture.x0).autodiff().require_grad();
    let y = cross.forward(x0.clone());
    close(&y.clone().into_data().try_into_vec::<f32>().unwrap(), &fixture.y, "y");
    let grads = (y * tensor(&fixture.pull).autodiff()).sum().backward();
    close(&x0.grad(&grads).unwrap().into_data().try_into_vec::<f32>().unwrap(), &fixture.dx0, "dx0");
    let found = gradients(&cross, &grads);
    assert_eq!(found.len(), fixture.gradients.len());
    fixture.gradients.iter().for_each(|(name, expected)| close(&found[name], expected, name));
}

#[test]
fn up_to_four_layers_are_one_op_whose_gradients_are_those_of_plain_operations() {
    let (groups, rows, input) = (3, 130, 7);
    let on_flex = matches!(DeviceSpec::from_env(), Ok(DeviceSpec::Flex));
    let draw = |seed: usize| {
        let numbers = (0..groups * rows * input).map(|i| ((i * 37 + seed * 101) % 113) as f32 / 113.0 - 0.5).collect();
        Tensor::<3>::from_data(TensorData::new::<f32, _>(numbers, [groups, rows, input]), &device()).autodiff()
    };
    for layers in 1..=5 {
        let config = CrossConfig { layers, rank: 3 };
        let cross = config.init(groups, input, &mut rng(1), &device().autodiff()).unwrap();
        let run = || {
            let x0 = draw(1).require_grad();
            let y = cross.forward(x0.clone());
            let grads = (y.clone() * draw(2)).sum().backward();
            let mut found = gradients(&cross, &grads);
            let values = |tensor: Tensor<3>| tensor.into_data().try_into_vec::<f32>().unwrap();
            found.insert("x0".into(), values(x0.grad(&grads).unwrap()));
            found.insert("y".into(), values(y));
            found
        };
        let (one_op, calls) = count_calls(run);
        assert_eq!(calls.cross, u64::from(on_flex && layers < 5), "{layers}");
        let plain = fused::without(run);
        assert_eq!(one_op.len(), 4 * layers + 2);
        for (name, expected) in &plain {
            let expected: Vec<f64> = expected.iter().map(|x| f64::from(*x)).collect();
            close(&one_op[name], &expected, &format!("{layers} layers, {name}"));
        }
    }
}

fn batch() -> Batch {
    encode_rows(&schema(), &vocabularies(), &rows()).unwrap()
}

fn logits(config: &ModelConfig, network: &AnyModel, table: &EmbeddingTable) -> Vec<f32> {
    let layout = SlotLayout::new(&schema(), &config.widths(&schema()));
    network.forward(pool(table, &layout, &batch())).into_data().try_into_vec().unwrap()
}

#[test]
fn every_model_reads_crossed_features_and_none_where_the_crosses_are_zero() {
    for plain in every_model() {
        let crossed = with_cross(&plain, CROSS);
        let ((table, of_plain), (_, of_crossed)) = (init(&plain, &device()), init(&crossed, &device()));
        let name = plain.name();
        let before = logits(&plain, &of_plain, &table);
        assert_ne!(before, logits(&crossed, &of_crossed, &table), "{name}: nothing is crossed");
        let mut values = params::collect(&of_crossed);
        assert_eq!(values.keys().filter(|key| key.starts_with("cross.")).count(), 2 * 4, "{name}");
        for (key, value) in params::collect(&of_plain) {
            assert_eq!(
                values[&key].as_slice::<f32>().unwrap(),
                value.as_slice::<f32>().unwrap(),
                "{name}: {key} is drawn as ever"
            );
        }
        for (key, value) in &mut values {
            if key.contains("up.") {
                *value = TensorData::zeros::<f32, _>(value.shape().clone());
            }
        }
        let without = logits(&crossed, &params::replace(of_crossed, values).unwrap(), &table);
        assert!(before.iter().zip(&without).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
        let size = crossed.size(&schema());
        assert!(
            size.parameters > plain.size(&schema()).parameters && size.activations > plain.size(&schema()).activations
        );
    }
}

#[test]
fn a_task_of_stem_moves_its_own_crosses_and_the_shared_ones() {
    let one_layer = ModelConfig::Stem(StemConfig { layers: 1, ..stem_config() }); // a shared stream between layers reads all
    let config = with_cross(&one_layer, CROSS);
    let (table, network) = init(&config, &device().autodiff());
    let layout = SlotLayout::new(&schema(), &config.widths(&schema()));
    let rows = batch().rows;
    let labelled = batch().with_labels((0..rows).flat_map(|row| [(row % 2) as f32, MISSING]).collect());
    let (index, weights) = upload(&labelled.ids, &labelled.weights, rows, &device());
    let leaf = table.rows().tensor().clone().autodiff().require_grad();
    let x = layout.pool(leaf, index.autodiff(), weights.autodiff());
    let mut targets = Targets::new(&labelled, 2, &device());
    (targets.labels, targets.share) = (targets.labels.autodiff(), targets.share.autodiff());
    let grads = bce_per_task(network.forward(x), &targets).sum().backward();
    let found = gradients(&network, &grads);
    let gradient = &found["cross.layers.0.up.weight"]; // [G, R, F * D]
    let of_group = gradient.len() / 3;
    let moved: Vec<bool> = gradient.chunks_exact(of_group).map(|own| own.iter().any(|g| *g != 0.0)).collect();
    assert_eq!(moved, [true, false, true], "task 0, task 1 (which has no labels), shared");
}

#[test]
fn a_crossed_model_survives_its_bundle_and_crosses_in_one_op() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.safetensors");
    for config in every_model() {
        let config = with_cross(&config, CROSS);
        let (table, network) = init(&config, &device().autodiff());
        let training = serde_json::json!({});
        bundle::save(&path, &schema(), &vocabularies(), &config, &table, &network, &training).unwrap();
        let layout = SlotLayout::new(&schema(), table.widths());
        let expected = score(&network.valid(), &table, &layout, &schema(), &batch());
        let predictor = Predictor::open(&path, &device()).unwrap();
        let (found, calls) = count_calls(|| predictor.score(&batch()).unwrap().into_values());
        assert_eq!(found, expected, "{}", config.name());
        if std::env::var("STEM_DEVICE").is_ok_and(|device| device != "flex") {
            continue;
        }
        assert!(calls.cross >= 1, "{}: {calls:?}", config.name());
    }
}

#[test]
fn sizes_that_no_cross_can_have_are_refused_by_key() {
    let message =
        |config: &ModelConfig, cross: CrossConfig| with_cross(config, cross).check(&schema()).unwrap_err().to_string();
    assert!(message(&stem(), CrossConfig { layers: 17, rank: 3 }).contains("`cross.layers` is 17"));
    assert!(message(&stem(), CrossConfig { layers: 1, rank: 0 }).contains("`cross.rank` is 0"));
    let uneven = ModelConfig::Stem(StemConfig { shared_dim: Some(2), ..stem_config() });
    assert!(message(&uneven, CROSS).contains("leave shared_dim out"));
    let text = serde_json::to_string(&stem()).unwrap();
    assert!(!text.contains("cross"), "what is not crossed is written as it always was: {text}");
}
