//! Labels of every kind, and tasks that have one embedding together, over several ranks: held to one process.

use std::path::Path;

use crate::common::watched::{WITHOUT_VALIDATION, watched};
use crate::common::{is_slow, smooth};
use crate::ranks::{config, hold};
use serde_json::json;
use stem_core::loss::TaskLoss;
use stem_core::{ModelConfig, ModelName};
use stem_data::Dataset;
use stem_train::{PriorConfig, TrainConfig};

/// So few rows that 200 steps are 10 epochs; 450 of them are trained on, so that a batch of 64 is left with 2.
fn data(folder: &Path, labels: &str) -> Dataset {
    watched(folder, 960, labels, &WITHOUT_VALIDATION)
}

const QUANTILE: &str =
    r#"{ column = "click" }, { column = "seconds", kind = "watch-quantile", duration = "length", buckets = 4 }"#;

fn with(name: ModelName, keys: serde_json::Value) -> ModelConfig {
    let mut config = serde_json::to_value(smooth(name)).unwrap();
    config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    serde_json::from_value(config).unwrap()
}

#[test]
fn labels_of_every_kind_are_learned_over_ranks_as_by_one_process() {
    for kind in [
        r#"kind = "regression""#,
        r#"kind = "regression", transform = "log1p""#,
        r#"kind = "count""#,
        r#"kind = "watch-time""#,
        r#"kind = "zero-inflated""#,
        r#"kind = "ordinal", classes = 100"#,
        r#"kind = "classes", classes = 100"#,
    ]
    .into_iter()
    .take(if is_slow() { 1 } else { 7 })
    {
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path(), &format!(r#"{{ column = "click" }}, {{ column = "seconds", {kind} }}"#));
        hold(kind, &smooth(ModelName::Stem), &data, &config());
    }
}

/// What is learned of a row hangs on the slot of its duration, of which each rank knows its own rows'.
#[test]
fn ranks_within_buckets_of_a_duration_are_learned_over_ranks_as_by_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path(), QUANTILE);
    for name in ModelName::ALL.iter().filter(|name| **name != ModelName::Esmm).take(if is_slow() { 1 } else { 9 }) {
        hold(name.as_str(), &smooth(*name), &data, &config());
    }
    let huber = [("seconds".to_string(), TaskLoss::Huber { delta: 0.5 })].into();
    hold("huber", &smooth(ModelName::Stem), &data, &TrainConfig { losses: huber, embedding_l2: None, ..config() });
    if !is_slow() {
        // Of rows that other ranks have, labels and groups are told and no duration: none may be asked for.
        let losses = [("click".to_string(), TaskLoss::Pairwise { share: 0.5 })].into();
        hold("beside pairs", &smooth(ModelName::Stem), &data, &TrainConfig { losses, ..config() });
    }
}

#[test]
fn tasks_of_a_group_are_on_several_ranks_what_they_are_on_one() {
    let folder = tempfile::tempdir().unwrap();
    let labels = format!(r#"{QUANTILE}, {{ column = "stars", kind = "ordinal", classes = 4 }}"#);
    let data = data(folder.path(), &labels);
    for keys in [
        json!({ "groups": [["click", "stars"]] }),
        json!({ "groups": [["seconds", "stars"], ["click"]], "reach": "group-and-shared", "layers": 2 }),
    ] {
        let model = with(ModelName::Stem, keys);
        hold("groups", &model, &data, &config());
        let prior = Some(PriorConfig::Learned { tied: true, deviation: None, correlation: 0.5 });
        hold("groups, tied", &model, &data, &TrainConfig { prior, embedding_l2: None, ..config() });
        if is_slow() {
            return;
        }
    }
}
