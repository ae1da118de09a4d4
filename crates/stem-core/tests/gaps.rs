//! Histories whose values are told by how long ago they were: NumPy's numbers, raw rows, and what is refused.

use std::sync::Arc;

use crate::common::oracle::*;
use crate::common::*;
use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

const LENGTH: usize = 4;
const ITEMS: u32 = 6;

/// An item, what was watched of the same vocabulary, and how long before the row: under 10, under 20, and longer.
fn log(pooling: Pooling) -> Schema {
    let ago = Field::sequence("ago", 1, LENGTH)
        .reading(["times", "time"])
        .transformed(Transform::Ago)
        .transformed(Transform::Bucketize { edges: vec![10.0, 20.0] })
        .beside("watched");
    let fields =
        vec![Field::category("item", 0), Field::sequence("watched", 0, LENGTH).pooled(pooling), ago.pooled(pooling)];
    let specs = [("items", ITEMS as usize), ("ago", 5)].map(|(name, rows)| VocabularySpec::new(name, rows));
    Schema::new(fields, specs.into(), vec![Task::new("like"), Task::new("love")])
}

fn keys() -> Vec<Vocabulary> {
    vec![Vocabulary::integers([10, 20, 30, 40]), Vocabulary::integers([0, 1, 2])]
}

fn interest() -> InterestConfig {
    let gaps = [("watched".to_string(), "ago".to_string())].into();
    InterestConfig { hidden: vec![5, 4], gaps, ..InterestConfig::of([("watched", "item")]) }
}

#[derive(Deserialize)]
struct Fixture {
    groups: usize,
    dim: usize,
    rows: Vec<(u32, Vec<u32>, Vec<u32>)>,
    cases: Vec<Case>,
}

#[test]
fn what_is_judged_by_how_long_ago_it_was_and_its_gradients_are_numpys() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/gaps.json")).unwrap();
    let widths = vec![fixture.dim; fixture.groups];
    for case in &fixture.cases {
        let (name, mean) = (case.case.to_string(), case.case["mean"].as_bool().unwrap());
        let interest = Some(serde_json::from_value(case.case["interest"].clone()).unwrap());
        let config = FrontConfig { interest, ..FrontConfig::default() };
        let schema = log(if mean { Pooling::Mean } else { Pooling::Sum });
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for (item, watched, ago) in &fixture.rows {
            ids.push(*item);
            weights.push(1.0);
            for (offset, values) in [(0, watched), (ITEMS, ago)] {
                let weight = if mean { 1.0 / values.len().max(1) as f32 } else { 1.0 };
                let padding = LENGTH - values.len();
                ids.extend(values.iter().map(|id| offset + id).chain(vec![offset; padding]));
                weights.extend(vec![weight; values.len()].into_iter().chain(vec![0.0; padding]));
            }
        }
        let tolerance = if is_on_gpu() { 5e-5 } else { 1e-5 };
        let device = device();
        let front =
            with_parameters(config.init(&schema, &widths, &mut rng(1), &device.clone().autodiff()), &case.parameters);
        for with_distinct in [false, true] {
            let table = EmbeddingTable::from_values(case.table.clone(), &widths, &device);
            let leaf = table.rows().tensor().clone().autodiff().require_grad();
            let (index, weights) = upload(&ids, &weights, fixture.rows.len(), &device);
            let x = SlotLayout::new(&schema, &widths).pool(leaf.clone(), index.autodiff(), weights.autodiff());
            let distinct = Arc::new(DistinctRows::all(schema.rows(), &ids));
            let x = if with_distinct { x.with_distinct(distinct) } else { x };
            let y = front.forward(x).stack(0..fixture.groups);
            close(&values(y.clone()), &case.y, 1e-6, &name);
            let pull = Tensor::<3>::from_data(TensorData::new(case.pull.clone(), y.dims()), &device).autodiff();
            let grads = (y * pull).sum().backward();
            close(&values(leaf.grad(&grads).unwrap()), &case.dtable, tolerance, &format!("{name}: rows"));
            case.hold_gradients(&front, &grads, tolerance, &name);
        }
    }
}

#[test]
fn a_value_is_told_by_the_bucket_of_how_long_before_the_row_it_was() {
    let row = |times: Value, time: Value| {
        let watched = match &times {
            Value::List(times) => vec![20; times.len()],
            Value::Null => vec![],
            _ => vec![20; 3],
        };
        Row::new().with("item", 10).with("watched", watched).with("times", times).with("time", time)
    };
    let ago = |times: Value, time: Value| {
        encode_rows(&log(Pooling::Sum), &keys(), &[row(times, time)]).map(|batch| batch.ids[1 + LENGTH..].to_vec())
    };
    let first = ITEMS + 1; // the row of bucket 0
    let expected = [first + 2, first + 1, first, ITEMS];
    assert_eq!(ago(vec![70.0, 85.0, 99.5].into(), 100.into()).unwrap(), expected);
    assert_eq!(ago("[70, 85, 99.5]".into(), "100".into()).unwrap(), expected, "in text");
    assert_eq!(ago(vec![101, 100].into(), 100.into()).unwrap()[..2], [first; 2], "what comes after the row is now");
    assert_eq!(ago(Value::Null, Value::Null).unwrap(), [ITEMS; 4], "an empty history needs no time");
    let message = ago(vec![70].into(), Value::Null).unwrap_err().to_string();
    let expected = "column 'time', row 0: expected a number, for the values of a list are told by how long before it they were, found null";
    assert_eq!(message, expected);
    let message = ago(vec!["x"].into(), 100.into()).unwrap_err().to_string();
    assert!(message.contains("column 'times, time', row 0: expected a finite number, found \"x\""), "{message}");
    let rows = [(vec![70, 80], 100), (vec![99, 60], 100)].map(|(times, time)| row(times.into(), time.into()));
    let (times, each) = (rows.clone().map(|row| row.get("times").unwrap().clone()), vec![Value::from(100); 2]);
    let columns = Columns::new(2)
        .shared("item", 10)
        .shared("watched", vec![20, 20])
        .column("times", times.to_vec())
        .column("time", each);
    let whole = |rows: &[Row]| encode_rows(&log(Pooling::Sum), &keys(), rows).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (path, schema, config) =
        (folder.path().join("bundle.safetensors"), log(Pooling::Sum), with_key(&stem(), "interest", interest()));
    let table = EmbeddingTable::init(&schema, &config.widths(&schema), 1.0, 7, &device());
    let network = config.init(&schema, &mut rng(7), &device().autodiff());
    bundle::save(&path, &schema, &keys(), &config, &table, &network, &json!({})).unwrap();
    let predictor = Predictor::open(&path, &device()).unwrap();
    let scores = predictor.predict(&rows).unwrap().into_values();
    assert_eq!(scores, predictor.score(&whole(&rows)).unwrap().into_values(), "a bundle brings the steps along");
    assert_eq!(scores, predictor.score(&predictor.encode_columns(&columns).unwrap()).unwrap().into_values());
    let later = predictor.predict(&[row(vec![99, 99].into(), 100.into())]).unwrap().into_values();
    assert!((scores[0] - later[0]).abs() > 1e-4, "when it was matters");
}

/// By row, by column and over the rows that are scored at once; as far as the lists are read, and nulls are not.
#[test]
fn a_row_whose_history_and_times_differ_in_length_is_refused_with_both_lengths() {
    let row = |watched: Value, times: Value| {
        Row::new().with("item", 10).with("watched", watched).with("times", times).with("time", 100)
    };
    let sound = [
        row(vec![10, 20].into(), vec![70, 80].into()),
        row(Value::Null, Value::Null),
        row(vec![10].into(), vec![Value::Null, 70.into()].into()),
        row(vec![10; 5].into(), vec![70; 9].into()), // four are read
    ];
    let folder = tempfile::tempdir().unwrap();
    let (path, config) = (folder.path().join("bundle.safetensors"), with_key(&stem(), "interest", interest()));
    let mut schema = log(Pooling::Mean);
    let table = EmbeddingTable::init(&schema, &config.widths(&schema), 1.0, 7, &device());
    let network = config.init(&schema, &mut rng(7), &device().autodiff());
    for is_told in [true, false] {
        if !is_told {
            schema.fields[2].beside = None; // of an older program: the model's configuration says it
        }
        bundle::save(&path, &schema, &keys(), &config, &table, &network, &json!({})).unwrap();
        let predictor = Predictor::open(&path, &device()).unwrap();
        assert_eq!(predictor.check_golden().unwrap() > 0, is_told, "rows that the bundle brings along have both lists");
        predictor.predict(&sound).unwrap();
        for (watched, times, found, expected) in [
            (Value::from(vec![10, 20]), Value::from(vec![70]), 1, 2),
            (vec![10, 20].into(), Value::Null, 0, 2),
            (Value::Null, vec![70, 80, 90].into(), 3, 0),
            (vec![10; 4].into(), vec![70; 3].into(), 3, 4),
            (vec![10, 20].into(), vec![Value::Null, 70.into()].into(), 1, 2),
        ] {
            let refused = |error: Error, place: usize| {
                let message = error.to_string();
                let told = format!(
                    "field 'ago', row {place}: {found} values, and 'watched', which it stands beside, has {expected}: expected one for each"
                );
                assert_eq!(message, told);
                assert!(matches!(error, Error::Beside { row, .. } if row == place));
            };
            let bad = row(watched.clone(), times.clone());
            refused(predictor.predict(&[sound[0].clone(), bad.clone()]).unwrap_err(), 1);
            refused(predictor.encode(std::slice::from_ref(&bad)).unwrap_err(), 0);
            refused(predictor.explain(std::slice::from_ref(&bad)).unwrap_err(), 0);
            let many: Vec<Row> = (0..5000).map(|_| sound[0].clone()).chain([bad]).collect();
            refused(predictor.predict(&many).unwrap_err(), 5000);
            let request = predictor.request(3).shared("item", 10).shared("time", 100);
            let columns = |first: i64, of: &Value| vec![Value::from(vec![first]), Value::from(vec![first]), of.clone()];
            let request = request.column("watched", columns(10, &watched)).column("times", columns(70, &times));
            refused(request.score_into(&mut Vec::new()).unwrap_err(), 2);
            refused(request.rank(&Ranking::default()).unwrap_err(), 2);
            let shared = predictor.request(2).shared("item", 10).shared("time", 100);
            let shared = shared.shared("watched", watched).shared("times", times);
            refused(shared.score_into(&mut Vec::new()).unwrap_err(), 0);
        }
    }
}

#[test]
fn what_cannot_tell_how_long_ago_is_refused_by_key() {
    let refused = |gaps: Json, expected: &str| {
        let interest = json!({ "candidates": { "watched": "item" }, "gaps": gaps });
        let message = with_key(&stem(), "interest", interest).check(&log(Pooling::Sum)).unwrap_err().to_string();
        assert_eq!(message, format!("model configuration: {expected}"));
    };
    refused(
        json!({ "item": "ago" }),
        "`interest.gaps` is item, expected the name of a history that has a candidate: watched",
    );
    refused(
        json!({ "watched": "aog" }),
        "`interest.gaps.watched` is aog, expected the name of a field: item, watched, ago",
    );
    let beside = "a sequence whose `ago` in the recipe is of 'watched': then both have as many values in every row";
    for other in ["item", "watched"] {
        refused(json!({ "watched": other }), &format!("`interest.gaps.watched` is {other}, expected {beside}"));
    }
    let mut alone = log(Pooling::Sum);
    alone.fields[2].beside = None;
    let message = with_key(&stem(), "interest", interest()).check(&alone).unwrap_err().to_string();
    assert!(message.contains(&format!("`interest.gaps.watched` is ago, expected {beside}")), "{message}");
    let mut shorter = log(Pooling::Sum);
    shorter.fields[2].kind = FieldKind::Sequence { max_len: 3, pooling: Pooling::Sum, keep: Keep::First };
    let message = with_key(&stem(), "interest", interest()).check(&shorter).unwrap_err().to_string();
    assert!(
        message.contains("`interest.gaps.watched` is ago, expected a sequence like 'watched': `max_len = 4`"),
        "{message}"
    );
    let mut alone = log(Pooling::Sum);
    alone.fields[2].columns = vec!["times".into()];
    let message = alone.check().unwrap_err().to_string();
    assert!(
        message.contains("field 'ago' tells how long ago its values were, and is no sequence of two columns"),
        "{message}"
    );
}
