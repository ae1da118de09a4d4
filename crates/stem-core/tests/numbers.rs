//! Soft buckets of numbers: PyTorch's numbers, in every model, and what is refused.

use crate::common::oracle::*;
use crate::common::*;
use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

/// A user and two numbers; two tasks.
fn log() -> Schema {
    let fields = vec![
        Field::category("user", 0),
        Field::number("age", 1).standardized(40.0, 10.0),
        Field::number("price", 2).standardized(2.0, 0.5),
    ];
    let specs = [("users", 4), ("age", 1), ("price", 1)].map(|(name, rows)| VocabularySpec::new(name, rows));
    Schema::new(fields, specs.into(), ["like", "love"].map(Task::new).into())
}

#[derive(Deserialize)]
struct Fixture {
    groups: usize,
    dim: usize,
    rows: Vec<(u32, f32, f32)>,
    cases: Vec<Case>,
}

#[test]
fn soft_buckets_and_their_gradients_are_pytorchs() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/soft_buckets.json")).unwrap();
    let (schema, device, widths) = (log(), device(), vec![fixture.dim; fixture.groups]);
    let ids: Vec<u32> = fixture.rows.iter().flat_map(|(user, ..)| [*user, 4, 5]).collect();
    let weights: Vec<f32> = fixture.rows.iter().flat_map(|(_, age, price)| [1.0, *age, *price]).collect();
    for case in &fixture.cases {
        let name = case.case.to_string();
        let numbers: NumbersConfig = serde_json::from_value(case.case["numbers"].clone()).unwrap();
        let config = FrontConfig { numbers: Some(numbers), ..FrontConfig::default() };
        let front =
            with_parameters(config.init(&schema, &widths, &mut rng(1), &device.clone().autodiff()), &case.parameters);
        let table = EmbeddingTable::from_values(case.table.clone(), &widths, &device);
        let leaf = table.rows().tensor().clone().autodiff().require_grad();
        let (index, weights) = upload(&ids, &weights, fixture.rows.len(), &device);
        let x = SlotLayout::new(&schema, &widths).pool(leaf.clone(), index.autodiff(), weights.autodiff());
        let y = front.forward(x).stack(0..fixture.groups);
        close(&values(y.clone()), &case.y, 1e-6, &name);
        let pull = Tensor::<3>::from_data(TensorData::new(case.pull.clone(), y.dims()), &device).autodiff();
        let grads = (y * pull).sum().backward();
        let tolerance = if is_on_gpu() { 5e-5 } else { 1e-5 };
        close(&values(leaf.grad(&grads).unwrap()), &case.dtable, tolerance, &format!("{name}: rows"));
        case.hold_gradients(&front, &grads, tolerance, &name);
    }
}

#[test]
fn every_model_takes_soft_buckets_counts_them_and_keeps_them_in_its_bundle() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), log());
    let keys = vec![Vocabulary::integers([10, 20]), Vocabulary::Number, Vocabulary::Number];
    let row = |age: f64| Row::new().with("user", 10).with("age", age).with("price", 2.5);
    let rows = [row(20.0), row(40.0), row(60.0)];
    for plain in every_model().into_iter().take(if is_on_gpu() { 2 } else { usize::MAX }) {
        let config = with_key(&plain, "numbers", json!({ "buckets": 4 }));
        config.check(&schema).unwrap();
        let table = EmbeddingTable::init(&schema, &config.widths(&schema), 1.0, 7, &device());
        let network = config.init(&schema, &mut rng(7), &device().autodiff());
        let counted: usize = params::list(&network).iter().map(|(_, _, count)| count).sum();
        let (with, without) = (config.size(&schema), plain.size(&schema));
        assert_eq!(with.parameters, counted as u64, "{}", config.name());
        assert!(with.activations > without.activations);
        let path = folder.path().join("bundle.safetensors");
        bundle::save(&path, &schema, &keys, &config, &table, &network, &json!({})).unwrap();
        let predictor = Predictor::open(&path, &device()).unwrap();
        let scores = predictor.predict(&rows).unwrap().into_values();
        assert!(scores.iter().all(|p| p.is_finite()) && scores[..2] != scores[2..4], "{scores:?}");
        assert_eq!(predictor.config(), &config);
    }
}

#[test]
fn what_is_no_number_and_sizes_that_cannot_be_are_refused_by_key() {
    let refused = |schema: &Schema, value: Json, expected: &str| {
        let message = with_key(&stem(), "numbers", value).check(schema).unwrap_err().to_string();
        assert_eq!(message, format!("model configuration: {expected}"));
    };
    let schema = log();
    let with = |key: &str, value: Json| json!({ key: value });
    refused(&schema, with("fields", json!(["user"])), "`numbers.fields` is user, expected the name of a number");
    let names = "`numbers.fields` is agee, expected the name of a field: user, age, price";
    refused(&schema, with("fields", json!(["agee"])), names);
    refused(&schema, with("fields", json!(["age", "age"])), "`numbers.fields` is age, expected every field once");
    refused(&schema, with("buckets", json!(1)), "`numbers.buckets` is 1, expected 2 to 65536");
    refused(&schema, with("temperature", json!(0.0)), "`numbers.temperature` is 0, expected a number above 0");
    let mut without = schema.clone();
    without.fields.truncate(1);
    let expected = "`numbers` is set, expected a field of kind number in the recipe, or no `numbers`";
    refused(&without, json!({}), expected);
}
