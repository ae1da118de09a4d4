//! What past papers add to experts and gates: the numbers of a twin in NumPy, gradients too.

use crate::common::oracle::*;
use crate::common::*;
use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

/// A user and an item; two tasks.
fn log() -> Schema {
    log_of(2)
}

/// The same with up to three tasks.
fn log_of(tasks: usize) -> Schema {
    let fields = vec![Field::category("user", 0), Field::category("item", 1)];
    let specs = [("users", 5), ("items", 6)].map(|(name, rows)| VocabularySpec::new(name, rows));
    Schema::new(fields, specs.into(), ["like", "love", "share"][..tasks].iter().copied().map(Task::new).collect())
}

#[derive(Deserialize)]
struct Fixture {
    dim: usize,
    experts: Vec<usize>,
    gate: Vec<usize>,
    tower: Vec<usize>,
    rows: Vec<(u32, u32)>,
    cases: Vec<Case>,
}

impl Fixture {
    fn read() -> Self {
        serde_json::from_str(include_str!("fixtures/cures.json")).unwrap()
    }

    /// The model of a case: the fixture's sizes, and the case's keys.
    fn config(&self, case: &Case) -> ModelConfig {
        let mut keys = case.case.clone();
        for (key, value) in [("dim", serde_json::json!(self.dim)), ("experts", serde_json::json!(self.experts))] {
            keys[key] = value;
        }
        for (key, value) in [("gate", &self.gate), ("tower", &self.tower)] {
            keys[key] = serde_json::json!(value);
        }
        let keys = keys.as_object_mut().unwrap();
        keys.remove("labels"); // of the log
        let name: ModelName = keys.remove("model").unwrap().as_str().unwrap().parse().unwrap();
        name.deserialize_config(serde_json::Value::Object(keys.clone())).unwrap()
    }
}

#[test]
fn what_papers_add_to_experts_and_gates_and_its_gradients_are_those_of_their_equations() {
    let (fixture, device) = (Fixture::read(), device());
    let ids: Vec<u32> = fixture.rows.iter().flat_map(|&(user, item)| [user, 5 + item]).collect();
    let weights = vec![1.0; ids.len()];
    for case in &fixture.cases {
        let (name, config) = (case.case.to_string(), fixture.config(case));
        let schema = log_of(case.case["labels"].as_u64().unwrap_or(2) as usize);
        config.check(&schema).unwrap();
        let network = with_parameters(config.init(&schema, &mut rng(1), &device.clone().autodiff()), &case.parameters);
        let widths = config.widths(&schema);
        let table = EmbeddingTable::from_values(case.table.clone(), &widths, &device);
        let hold = || {
            let leaf = table.rows().tensor().clone().autodiff().require_grad();
            let (index, weights) = upload(&ids, &weights, fixture.rows.len(), &device);
            let x = SlotLayout::new(&schema, &widths).pool(leaf.clone(), index.autodiff(), weights.autodiff());
            let (y, penalty) = network.forward_penalized(x); // [B, T], [1]
            close(&values(y.clone()), &case.y, 1e-6, &name);
            let pull = Tensor::<2>::from_data(TensorData::new(case.pull.clone(), y.dims()), &device).autodiff();
            let mut loss = (y * pull).sum();
            if let Some(penalty) = penalty {
                close(&values(penalty.clone()), &[case.penalty], 1e-6, &name);
                loss = loss + penalty;
            }
            let grads = loss.backward();
            let share = if is_on_gpu() { 5e-5 } else { 1e-5 };
            close(&values(leaf.grad(&grads).unwrap()), &case.dtable, share, &format!("{name}: rows"));
            case.hold_gradients(&network, &grads, share, &name);
        };
        let ((), calls) = fused::count_calls(hold);
        let meta = u64::from(!case.case["meta_experts"].is_null()); // a level more
        let mixes = case.case["layers"].as_u64().unwrap_or(1) + meta;
        let fused = DeviceSpec::from_env().unwrap() == DeviceSpec::Flex && case.case["elementwise_gates"].is_null();
        assert_eq!(calls.mix, if fused { mixes } else { 0 }, "{name}: what is added leaves the mix one op");
        fused::without(hold);
    }
}

#[test]
fn a_residual_of_own_experts_wants_own_experts() {
    let none = LayeredSizes { specific_experts: 0, own_residual: OwnResidual::Gated, ..layered() };
    for config in [ModelConfig::Stem(none.clone().into()), ModelConfig::Ple(PleConfig(none))] {
        let message = config.check(&log()).unwrap_err().to_string();
        assert!(
            message.contains("`own_residual` is set, expected `\"none\"` where specific_experts is 0"),
            "{message}"
        );
    }
    let unknown = ModelName::Stem.deserialize_config(serde_json::json!({ "own_residual": "some" })).unwrap_err();
    assert!(unknown.to_string().contains("expected `none` or `gated`"), "{unknown}");
}

/// What a network makes of the common rows, of the same table.
fn logits(config: &ModelConfig) -> (AnyModel, Vec<f32>) {
    let (table, network) = init(config, &device());
    let batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
    let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
    let x = SlotLayout::new(&schema(), table.widths()).pool(table.rows().tensor().clone(), index, weights);
    let z = values(network.forward(x));
    (network, z)
}

#[test]
fn every_model_has_gates_on_features_that_begin_open_and_knows_their_size() {
    for plain in every_model() {
        let config = with_key(&plain, "feature_gate", FeatureGateConfig { rank: 2 });
        config.check(&schema()).unwrap();
        let ((network, gated), (_, ungated)) = (logits(&config), logits(&plain));
        close(&gated, &ungated.iter().map(|z| f64::from(*z)).collect::<Vec<_>>(), 1e-6, config.name());
        let built: usize = params::list(&network).iter().map(|(_, _, count)| count).sum();
        assert_eq!(config.size(&schema()).parameters, built as u64, "{config:?}");
        let shut = |(name, mut data): (String, TensorData)| {
            if name == "feature_gate.up.bias" {
                data = TensorData::full(data.shape(), -30.0f32);
            }
            (name, data)
        };
        let shut = params::replace(network, params::collect(&logits(&config).0).into_iter().map(shut).collect());
        let (table, batch) = (init(&config, &device()).0, encode_rows(&schema(), &vocabularies(), &rows()).unwrap());
        let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
        let x = SlotLayout::new(&schema(), table.widths()).pool(table.rows().tensor().clone(), index, weights);
        let z = values(shut.unwrap().forward(x));
        let outputs = z.len() / batch.rows;
        let alike = |row: &[f32]| row.iter().zip(&z).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(z.chunks(outputs).all(alike), "{}: shut gates tell rows apart: {z:?}", config.name());
    }
    let none = with_key(&stem(), "feature_gate", FeatureGateConfig { rank: 0 });
    let message = none.check(&schema()).unwrap_err().to_string();
    assert!(message.contains("`feature_gate.rank` is 0, expected 1 to 4096"), "{message}");
}

#[test]
fn a_covariance_that_cannot_be_is_refused() {
    let refused = |covariance, expected: &str| {
        let config = with_key(&ModelConfig::Mmoe(MmoeConfig(mixture())), "covariance", covariance);
        let message = config.check(&schema()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    let some = CovarianceConfig::default();
    refused(CovarianceConfig { weight: -1.0, ..some }, "`covariance.weight` is -1, expected a number of 0 or more");
    refused(CovarianceConfig { rows: 1, ..some }, "`covariance.rows` is 1, expected 2 or more: one row does not vary");
    let text = serde_json::json!({ "covariance": 0.1 });
    let message = ModelName::Mmoe.deserialize_config(text).unwrap_err().to_string();
    assert!(message.contains("a table like { weight = 0.1, rows = 256 }"), "{message}");
}

#[test]
fn mixtures_that_weigh_numbers_one_by_one_know_their_size_and_their_gates_are_distributions() {
    for name in ["omoe", "mmoe", "mmoe-me"] {
        let of_name = |config: &ModelConfig| config.name() == name;
        let plain = every_model().into_iter().find(of_name).unwrap();
        let config = with_key(&with_key(&plain, "elementwise_gates", true), "covariance", CovarianceConfig::default());
        let (network, z) = logits(&config);
        assert!(z.iter().all(|z| z.is_finite()) && z != logits(&plain).1, "{name}");
        let built: usize = params::list(&network).iter().map(|(_, _, count)| count).sum();
        assert_eq!(config.size(&schema()).parameters, built as u64, "{name}");
        let (table, batch) = (init(&config, &device()).0, encode_rows(&schema(), &vocabularies(), &rows()).unwrap());
        let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
        let x = SlotLayout::new(&schema(), table.widths()).pool(table.rows().tensor().clone(), index, weights);
        let gates = network.gates(x).pop().unwrap();
        assert_eq!(gates.dims(), [if name == "omoe" { 1 } else { 2 }, 4, 3], "{name}");
        assert!(values(gates.sum_dim(2)).iter().all(|sum| (sum - 1.0).abs() < 1e-5), "{name}");
    }
}
