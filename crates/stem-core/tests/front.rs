//! What stands before a model: PyTorch's numbers, and what every model makes of it.

use crate::common::oracle::*;
use crate::common::*;
use burn::module::Module;
use burn::tensor::{Distribution, Tensor, TensorData};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use stem_core::loss::{Targets, bce_per_task};
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

const LENGTH: usize = 4;

/// An item, what was watched of the same vocabulary, a tab; two tasks.
fn log(pooling: Pooling) -> Schema {
    let fields = vec![
        Field::category("item", 0),
        Field::sequence("watched", 0, LENGTH).pooled(pooling),
        Field::category("tab", 1),
    ];
    let specs = [("items", 6), ("tabs", 4)].map(|(name, rows)| VocabularySpec::new(name, rows));
    Schema::new(fields, specs.into(), ["like", "love"].map(Task::new).into())
}

fn keys() -> Vec<Vocabulary> {
    vec![Vocabulary::integers([10, 20, 30, 40]), Vocabulary::integers([1, 2])]
}

fn impressions() -> Vec<Row> {
    let row = |item: i64, watched: &[i64], tab: i64| {
        Row::new().with("item", item).with("watched", watched.to_vec()).with("tab", tab)
    };
    vec![row(10, &[20, 30, 20, 40], 1), row(40, &[10, 40], 2), row(30, &[], 1), row(99, &[99, 10, 20], 7)]
}

fn watched() -> InterestConfig {
    InterestConfig { hidden: vec![5, 4], ..InterestConfig::of([("watched", "item")]) }
}

/// The model with everything before it.
fn with_front(config: &ModelConfig) -> ModelConfig {
    let block = Some(BlockConfig { layers: 1, heads: 2, hidden: 3 });
    let interest = InterestConfig { positions: Positions::FromLast, block, ..watched() };
    let config = with_key(config, "interest", interest);
    let config =
        with_key(&config, "domain", json!({ "field": "tab", "hidden": 3, "towers": true, "personal": ["item"] }));
    with_key(&with_key(&config, "fm", true), "cross", CrossConfig { layers: 1, rank: 2 })
}

#[derive(Deserialize)]
struct Fixture {
    groups: usize,
    dim: usize,
    rows: Vec<(u32, Vec<u32>, u32)>,
    cases: Vec<Case>,
}

fn key<T: serde::de::DeserializeOwned>(case: &Case, key: &str) -> Option<T> {
    case.case.get(key).map(|value| serde_json::from_value(value.clone()).unwrap())
}

fn config_of(case: &Case) -> FrontConfig {
    FrontConfig {
        interest: key(case, "interest"),
        numbers: None,
        domain: key(case, "domain"),
        cross: key(case, "cross").unwrap_or_default(),
        fm: key(case, "fm").unwrap_or_default(),
        feature_gate: None,
    }
}

#[test]
fn what_stands_before_a_model_and_its_gradients_are_pytorchs() {
    let fixture: Fixture = serde_json::from_str(include_str!("fixtures/front.json")).unwrap();
    let widths = vec![fixture.dim; fixture.groups];
    for case in &fixture.cases {
        let name = case.case.to_string();
        let (config, mean) = (config_of(case), key::<bool>(case, "mean").unwrap());
        let schema = log(if mean { Pooling::Mean } else { Pooling::Sum });
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for (item, watched, tab) in &fixture.rows {
            let weight = if mean { 1.0 / watched.len().max(1) as f32 } else { 1.0 };
            ids.extend([*item].iter().chain(watched).copied().chain(vec![0; LENGTH - watched.len()]).chain([6 + tab]));
            weights.extend([1.0].into_iter().chain(vec![weight; watched.len()]));
            weights.extend([0.0; LENGTH][watched.len()..].iter().copied().chain([1.0]));
        }
        // exp is another on a GPU; through two blocks of weights as large as these 32 bits lose a digit more
        let is_deep =
            config.interest.as_ref().and_then(|interest| interest.block).is_some_and(|block| block.layers > 1);
        let tolerance = match (is_on_gpu(), is_deep) {
            (true, true) => 5e-4,
            (false, false) => 1e-5,
            _ => 5e-5,
        };
        let device = device();
        let front =
            with_parameters(config.init(&schema, &widths, &mut rng(1), &device.clone().autodiff()), &case.parameters);
        for with_distinct in [false, true] {
            let distinct = std::sync::Arc::new(DistinctRows::all(10, &ids));
            let table = EmbeddingTable::from_values(case.table.clone(), &widths, &device);
            let leaf = table.rows().tensor().clone().autodiff().require_grad();
            let (index, weights) = upload(&ids, &weights, fixture.rows.len(), &device);
            let x = SlotLayout::new(&schema, &widths).pool(leaf.clone(), index.autodiff(), weights.autodiff());
            let x = if with_distinct { x.with_distinct(distinct) } else { x };
            let y = front.forward(x).stack(0..fixture.groups);
            close(&values(y.clone()), &case.y, 1e-6, &name);
            let pull = Tensor::<3>::from_data(TensorData::new(case.pull.clone(), y.dims()), &device).autodiff();
            let grads = (y * pull).sum().backward();
            let of_rows = values(leaf.grad(&grads).unwrap());
            close(&of_rows, &case.dtable, tolerance, &format!("{name}: rows"));
            let unread = [0, 6]; // padding of both vocabularies
            let width = fixture.groups * fixture.dim;
            assert!(
                unread.iter().all(|row| of_rows[row * width..(row + 1) * width].iter().all(|g| *g == 0.0)),
                "{name}"
            );
            case.hold_gradients(&front, &grads, tolerance, &name);
        }
    }
}

fn network(config: &ModelConfig, schema: &Schema, std: f32) -> (EmbeddingTable, AnyModel) {
    config.check(schema).unwrap();
    let table = EmbeddingTable::init(schema, &config.widths(schema), std, 7, &device());
    (table, config.init(schema, &mut rng(7), &device().autodiff()))
}

#[test]
fn every_model_attends_its_histories_and_reads_the_bag_where_the_scores_are_all_1() {
    let schema = log(Pooling::Mean);
    let batch = encode_rows(&schema, &keys(), &impressions()).unwrap();
    for plain in every_model().into_iter().take(if is_on_gpu() { 2 } else { usize::MAX }) {
        let (name, attended) = (plain.name(), with_key(&plain, "interest", watched()));
        let ((table, of_plain), (_, network)) = (network(&plain, &schema, 1.0), network(&attended, &schema, 1.0));
        let layout = SlotLayout::new(&schema, table.widths());
        let logits = |network: &AnyModel| values(network.valid().forward(pool(&table, &layout, &batch)));
        let before = logits(&of_plain);
        assert_ne!(before, logits(&network), "{name}: nothing is attended");
        let mut all = params::collect(&network);
        for (key, value) in params::collect(&of_plain) {
            assert_eq!(
                all[&key].as_slice::<f32>().unwrap(),
                value.as_slice::<f32>().unwrap(),
                "{name}: {key} is drawn as ever"
            );
        }
        let last = all.get_mut("interest.histories.0.mlp.layers.2.weight").unwrap();
        *last = TensorData::zeros::<f32, _>(last.shape().clone());
        let bag = logits(&params::replace(network, all).unwrap());
        assert!(before.iter().zip(&bag).all(|(a, b)| (a - b).abs() < 1e-5), "{name}: {before:?} {bag:?}");
        let sizes = [&plain, &attended, &with_front(&plain)].map(|config| config.size(&schema));
        assert!(
            sizes
                .windows(2)
                .all(|two| two[0].parameters < two[1].parameters && two[0].activations < two[1].activations)
        );
        let counted: usize =
            params::list(&network_of(&with_front(&plain), &schema)).iter().map(|(_, _, count)| count).sum();
        assert_eq!(sizes[2].parameters, counted as u64, "{name}");
    }
}

fn network_of(config: &ModelConfig, schema: &Schema) -> AnyModel {
    network(config, schema, 1.0).1
}

#[test]
fn a_front_survives_its_bundle_and_a_row_scores_alone_as_among_others() {
    let folder = tempfile::tempdir().unwrap();
    let (path, schema) = (folder.path().join("bundle.safetensors"), log(Pooling::Sum));
    for config in every_model() {
        let config = with_front(&config);
        let (table, network) = network(&config, &schema, 1.0);
        bundle::save(&path, &schema, &keys(), &config, &table, &network, &json!({})).unwrap();
        let predictor = Predictor::open(&path, &device()).unwrap();
        let together = predictor.predict(&impressions()).unwrap().into_values();
        let layout = SlotLayout::new(&schema, table.widths());
        let batch = encode_rows(&schema, &keys(), &impressions()).unwrap();
        assert_eq!(together, score(&network.valid(), &table, &layout, &schema, &batch), "{}", config.name());
        let alone: Vec<f32> = impressions()
            .iter()
            .flat_map(|row| predictor.predict(std::slice::from_ref(row)).unwrap().into_values())
            .collect();
        let near = together.iter().zip(&alone).all(|(a, b)| (a - b).abs() < tolerance());
        assert!(near && together.iter().all(|p| p.is_finite()), "{}: {together:?} {alone:?}", config.name());
    }
}

/// Many rows, several pieces of the CPU's op, histories of every length.
#[test]
fn attention_in_one_op_is_its_plain_operations_and_so_are_its_gradients() {
    let fields = vec![Field::category("item", 0), Field::sequence("watched", 0, 30), Field::category("tab", 1)];
    let specs = [("items", 40), ("tabs", 4)].map(|(name, rows)| VocabularySpec::new(name, rows));
    let schema = Schema::new(fields, specs.into(), vec![Task::new("like")]);
    let (rows, widths) = (150, [5, 5]);
    let draw = |i: usize, below: usize| (i * 7919 + i / 7 * 104_729) % below;
    let (mut ids, mut weights) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let length = row % 31;
        ids.push(1 + draw(row, 39) as u32);
        ids.extend((0..30).map(|j| if j < length { 1 + draw(row * 31 + j, 39) as u32 } else { 0 }));
        ids.push(40 + draw(row, 4) as u32);
        weights.push(1.0);
        weights.extend((0..30).map(|j| if j < length { 1.0 / length as f32 } else { 0.0 }));
        weights.push(1.0);
    }
    for (positions, softmax, hidden) in [
        (Positions::None, false, vec![8, 4]),
        (Positions::FromLast, false, vec![7]),
        (Positions::FromFirst, true, vec![6, 5, 4]),
    ] {
        let interest = InterestConfig { positions, softmax, hidden, ..InterestConfig::of([("watched", "item")]) };
        let config = FrontConfig { interest: Some(interest), ..FrontConfig::default() };
        let front = config.init(&schema, &widths, &mut rng(3), &device().autodiff());
        let table = EmbeddingTable::init(&schema, &widths, 1.0, 7, &device());
        let pull = Tensor::<3>::random([2, rows, 15], Distribution::Uniform(-1.0, 1.0), &device()).autodiff();
        let run = || {
            let leaf = table.rows().tensor().clone().autodiff().require_grad();
            let (index, weights) = upload(&ids, &weights, rows, &device());
            let x = SlotLayout::new(&schema, &widths).pool(leaf.clone(), index.autodiff(), weights.autodiff());
            let y = front.forward(x.with_distinct(DistinctRows::all(44, &ids).into())).stack(0..2);
            let grads = (y.clone() * pull.clone()).sum().backward();
            let mut found = gradients(&front, &grads);
            found.insert("rows".into(), values(leaf.grad(&grads).unwrap()));
            found.insert("y".into(), values(y));
            found
        };
        let (one_op, calls) = fused::count_calls(run);
        let plain = fused::without(run);
        let on_flex = matches!(DeviceSpec::from_env(), Ok(DeviceSpec::Flex));
        assert_eq!(calls.attend, u64::from(on_flex), "{positions:?}");
        assert_eq!(one_op.len(), plain.len());
        for (name, expected) in &plain {
            let expected: Vec<f64> = expected.iter().map(|x| f64::from(*x)).collect();
            close(&one_op[name], &expected, 1e-5, &format!("{positions:?} {name}"));
        }
    }
}

#[test]
fn what_stands_before_every_model_is_ops_with_the_gradients_of_plain_operations() {
    let schema = log(Pooling::Sum);
    let batch = encode_rows(&schema, &keys(), &impressions()).unwrap();
    let on_flex = matches!(DeviceSpec::from_env(), Ok(DeviceSpec::Flex));
    for config in every_model().into_iter().take(if is_on_gpu() { 2 } else { usize::MAX }) {
        let whole = with_key(&with_front(&config), "feature_gate", FeatureGateConfig { rank: 2 });
        let (table, network) = network(&whole, &schema, 1.0);
        let layout = SlotLayout::new(&schema, table.widths());
        let run = || {
            let leaf = table.rows().tensor().clone().autodiff().require_grad();
            let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
            let x = layout.pool(leaf.clone(), index.autodiff(), weights.autodiff());
            let rows = table.rows().tensor().dims()[0];
            let logits = network.forward(x.with_distinct(DistinctRows::all(rows, &batch.ids).into()));
            let grads = (logits.clone() * logits.clone()).sum().backward();
            let mut found = gradients(&network, &grads);
            found.insert("rows".into(), values(leaf.grad(&grads).unwrap()));
            found.insert("logits".into(), values(logits));
            found
        };
        let (one_op, calls) = fused::count_calls(run);
        let name = config.name();
        let once = [calls.attend, calls.cross, calls.fm];
        assert_eq!(once, [u64::from(on_flex); 3], "{name}: {calls:?}");
        assert_eq!(calls.feature_gate >= 2, on_flex, "{name}: of the domain, and of the features");
        // who reads all groups as they are needs no sums of them
        let as_they_are = table.widths().len() == 1 || matches!(config, ModelConfig::SingleTask(_));
        assert_eq!(calls.streams > 0, on_flex && !as_they_are, "{name}: {calls:?}");
        let plain = fused::without(run);
        for (part, expected) in &plain {
            let expected: Vec<f64> = expected.iter().map(|x| f64::from(*x)).collect();
            close(&one_op[part], &expected, 3e-4, &format!("{name} {part}")); // both are of single precision, all the way
        }
    }
}

#[test]
fn padding_takes_no_part() {
    for softmax in [false, true] {
        let schema = log(Pooling::Mean);
        let block = softmax.then(BlockConfig::default);
        let interest = InterestConfig { softmax, block, positions: Positions::FromLast, ..watched() };
        let config = with_key(&stem(), "interest", interest);
        let (table, network) = network(&config, &schema, 1.0);
        let layout = SlotLayout::new(&schema, table.widths());
        let batch = encode_rows(&schema, &keys(), &impressions()).unwrap();
        let mut other = batch.clone();
        for (id, weight) in other.ids.iter_mut().zip(&batch.weights) {
            if *weight == 0.0 {
                *id = 3;
            }
        }
        assert_ne!(batch.ids, other.ids);
        let of = |batch: &Batch| values(network.valid().forward(pool(&table, &layout, batch)));
        assert_eq!(of(&batch), of(&other), "softmax {softmax}");
    }
}

#[test]
fn a_task_of_stem_moves_its_own_attention_and_the_shared_one_and_no_others() {
    let schema = log(Pooling::Sum);
    let one_layer = ModelConfig::Stem(StemConfig { layers: 1, ..stem_config() }); // a shared stream between layers reads all
    let config = with_front(&one_layer);
    let (table, network) = network(&config, &schema, 1.0);
    let layout = SlotLayout::new(&schema, &config.widths(&schema));
    let batch = encode_rows(&schema, &keys(), &impressions()).unwrap();
    let rows = batch.rows;
    let batch = batch.with_labels((0..rows).flat_map(|row| [(row % 2) as f32, MISSING]).collect());
    let (index, weights) = upload(&batch.ids, &batch.weights, rows, &device());
    let leaf = table.rows().tensor().clone().autodiff().require_grad();
    let x = layout.pool(leaf.clone(), index.autodiff(), weights.autodiff());
    let mut targets = Targets::new(&batch, 2, &device());
    (targets.labels, targets.share) = (targets.labels.autodiff(), targets.share.autodiff());
    let grads = bce_per_task(network.forward(x), &targets).sum().backward();
    let found = gradients(&network, &grads);
    let moved = |gradient: &[f32]| -> Vec<bool> {
        gradient.chunks_exact(gradient.len() / 3).map(|own| own.iter().any(|g| *g != 0.0)).collect()
    };
    let parts = [
        "interest.histories.0.mlp.layers.0.weight",
        "interest.histories.0.positions",
        "interest.histories.0.blocks.0.query.weight",
        "domain.gate.layers.0.weight",
        "fm.map.weight",
    ];
    let of_towers = &found["tower_gates.0.layers.0.weight"];
    let of_tasks: Vec<_> =
        of_towers.chunks_exact(of_towers.len() / 2).map(|own| own.iter().any(|g| *g != 0.0)).collect();
    assert_eq!(of_tasks, [true, false], "the gates of towers: task 0, task 1");
    for part in parts {
        assert_eq!(moved(&found[part]), [true, false, true], "{part}: task 0, task 1 (which has no labels), shared");
    }
    let of_rows = values(leaf.grad(&grads).unwrap()); // [V, 3 D]
    let of_group = |k: usize| of_rows.chunks_exact(12).any(|row| row[k * 4..(k + 1) * 4].iter().any(|g| *g != 0.0));
    assert_eq!([0, 1, 2].map(of_group), [true, false, true], "rows");
}

#[test]
fn a_history_without_a_candidate_and_other_faults_are_refused_by_key() {
    let schema = log(Pooling::Mean);
    let refused = |key: &str, value: Json, expected: &str| {
        let message = with_key(&stem(), key, value).check(&schema).unwrap_err().to_string();
        assert_eq!(message, format!("model configuration: {expected}"));
    };
    let of = |history: &str, candidate: &str| json!({ "candidates": { history: candidate } });
    refused(
        "interest",
        of("wached", "item"),
        "`interest.candidates` is wached, expected the name of a field: item, watched, tab",
    );
    refused(
        "interest",
        of("watched", "itme"),
        "`interest.candidates.watched` is itme, expected the name of a field: item, watched, tab",
    );
    refused(
        "interest",
        of("tab", "item"),
        "`interest.candidates` is tab, expected the name of a sequence: only a list of values is attended",
    );
    refused(
        "interest",
        of("watched", "watched"),
        "`interest.candidates.watched` is watched, expected the name of a category: one value is judged by the history",
    );
    refused(
        "interest",
        of("watched", "tab"),
        "`interest.candidates.watched` is tab, which has another vocabulary, expected a category of the vocabulary 'items': item",
    );
    refused(
        "interest",
        json!({ "candidates": {} }),
        "`interest.candidates` is empty, expected a history and its candidate, as in { watched = \"video_id\" }",
    );
    refused(
        "interest",
        json!({ "candidates": { "watched": "item" }, "activation": "dice" }),
        "`interest.activation` is dice, expected relu, prelu, gelu, tanh or swish: statistics of dice would count padding",
    );
    refused(
        "interest",
        json!({ "candidates": { "watched": "item" }, "hidden": [] }),
        "`interest.hidden` is 0 layers, expected 1 to 64 layers",
    );
    for (block, expected) in [
        (json!({ "heads": 3 }), "`interest.block.heads` is 3, expected a divisor of `dim`, which is 4"),
        (json!({ "layers": 0 }), "`interest.block.layers` is 0, expected 1 to 16"),
    ] {
        refused("interest", json!({ "candidates": { "watched": "item" }, "block": block }), expected);
    }
    refused(
        "domain",
        json!({ "field": "watched" }),
        "`domain.field` is watched, expected a category: a domain is one of a few values",
    );
    refused(
        "domain",
        json!({ "field": "page" }),
        "`domain.field` is page, expected the name of a field: item, watched, tab",
    );
    refused(
        "domain",
        json!({ "field": "tab", "embeddings": false }),
        "`domain.embeddings` is false, expected true where `towers` is false: else leave `domain` out",
    );
    refused(
        "domain",
        json!({ "field": "tab", "personal": ["item"] }),
        "`domain.personal` is item, expected no fields where `towers` is false: the gates of towers read them",
    );
    refused(
        "domain",
        json!({ "field": "tab", "towers": true, "personal": ["watched"] }),
        "`domain.personal` is watched, expected the name of a category, such as the user or the item",
    );
    refused(
        "domain",
        json!({ "field": "tab", "towers": true, "personal": ["item", "tab"] }),
        "`domain.personal` is tab, expected every field once, the domain itself not among them",
    );
    refused("domain", json!({ "field": "tab", "hidden": 0 }), "`domain.hidden` is 0, expected 1 to 65536");
    let uneven = ModelConfig::Stem(StemConfig { shared_dim: Some(2), ..stem_config() });
    for (key, value) in
        [("interest", of("watched", "item")), ("domain", json!({ "field": "tab" })), ("fm", json!(true))]
    {
        let message = with_key(&uneven, key, value).check(&schema).unwrap_err().to_string();
        assert!(message.contains(&format!("`{key}`")) && message.contains("leave shared_dim out"), "{message}");
    }
    // A number's vocabulary is its own, and so a number is no candidate of anything.
    let mut alone = log(Pooling::Mean);
    alone.fields[0].vocabulary = 1;
    let message = with_key(&stem(), "interest", of("watched", "item")).check(&alone).unwrap_err().to_string();
    assert!(message.contains("there is none: give 'item' `vocabulary = \"items\"` in the recipe"), "{message}");
}

#[test]
fn what_is_not_there_is_written_as_it_always_was() {
    for config in every_model() {
        let text = serde_json::to_string(&config).unwrap();
        assert!(FrontConfig::KEYS.iter().all(|key| !text.contains(&format!("\"{key}\""))), "{text}");
        let all = with_front(&config);
        assert_eq!(serde_json::from_str::<ModelConfig>(&serde_json::to_string(&all).unwrap()).unwrap(), all);
    }
    let domain = serde_json::to_value(DomainConfig::of("tab")).unwrap();
    assert_eq!(domain, json!({ "field": "tab", "hidden": 32 }), "what gates embeddings alone is written as before");
    let wrong: Result<InterestConfig, _> = serde_json::from_value(json!({ "candidates": {}, "weights": "softmax" }));
    assert!(wrong.unwrap_err().to_string().contains("unknown field `weights`"));
}
