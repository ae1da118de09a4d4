//! Where a training is between two steps: everything but weights and the optimizer's state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stem_core::models::ModelSpec;
use stem_core::{Schema, Vocabulary};
use stem_data::Dataset;

use crate::balance::BalanceState;
use crate::config::TrainConfig;
use crate::keep::KeeperState;
use crate::prior::PriorState;

/// Written beside the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// What the training is: see [`settings`].
    pub(crate) settings: Value,
    /// What it is written on top of; `None` where it is whole by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<Base>,
    /// Whose rows the table has: see [`keys_of`].
    pub(crate) keys: String,
    pub(crate) steps: usize,
    pub(crate) epoch: usize,
    /// Batches of the epoch that were taken.
    pub(crate) taken: usize,
    pub(crate) evaluations: usize,
    pub(crate) rows: usize,
    pub(crate) seconds: f64,
    /// The rate after the warm-up, as validation has lowered it.
    pub(crate) rate: f64,
    pub(crate) keeper: KeeperState,
    /// Losses since the last evaluation: sums, and rows with a label, as they count. `[T]`
    pub(crate) losses: (Vec<f64>, Vec<f64>),
    pub(crate) balance: BalanceState,
    pub(crate) prior: Option<PriorState>,
    /// Length of the log.
    pub(crate) log: u64,
    /// Steps that the optimizer of the table has made, and that of each parameter.
    pub(crate) table_steps: i32,
    pub(crate) network_steps: BTreeMap<String, i32>,
}

/// The checkpoint that another is written on top of: that has the rows of the table which have changed since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Base {
    pub(crate) steps: usize,
    pub(crate) checksum: String,
    /// Rows of all that is on top of the last whole one, this one's included.
    pub(crate) rows: usize,
    /// Checkpoints that are, this one included.
    pub(crate) on_top: usize,
}

/// What tells from others which key has which row and what numbers stand for: BLAKE3 of the schema, means and scales with it, and of all keys.
pub(crate) fn keys_of(schema: &Schema, vocabularies: &[Vocabulary]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(json!(schema).to_string().as_bytes());
    for vocabulary in vocabularies {
        match vocabulary {
            Vocabulary::Integers(keys) => drop(hasher.update(bytemuck::cast_slice(&keys.values()))),
            Vocabulary::Texts(keys) => (0..keys.len()).for_each(|place| {
                hasher.update(keys.get(place).as_bytes()).update(&[0]);
            }),
            keyless => drop(hasher.update(format!("{keyless:?}").as_bytes())),
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// What two trainings must have in common for one to go on from the other's checkpoint.
/// `from` is the checksum of the bundle that they start from.
pub fn settings(
    spec: &impl ModelSpec,
    train: &TrainConfig,
    dataset: &Dataset,
    task: Option<&str>,
    from: Option<&str>,
) -> Value {
    let train = TrainConfig { checkpoint_every: None, keep_checkpoint: false, ..train.written_out() };
    let mut settings = json!({
        "model": spec,
        "train": train,
        "data": dataset.key(),
        "task": task,
        "version": env!("CARGO_PKG_VERSION"),
    });
    from.into_iter().for_each(|from| settings["from"] = from.into());
    settings
}

/// What differs, one by one: `train.learning_rate is 0.001 there and 0.01 now`.
pub(crate) fn differences(there: &Value, now: &Value) -> Vec<String> {
    let told = |(key, there, now): (String, Value, Value)| match key.as_str() {
        "data" => "the data were others".into(),
        _ => format!("{key} is {there} there and {now} now"),
    };
    different(there, now).into_iter().map(told).collect()
}

/// Every key whose value is another, with the two values.
pub(crate) fn different(there: &Value, now: &Value) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    compare("", there, now, &mut found);
    found
}

fn compare(key: &str, there: &Value, now: &Value, found: &mut Vec<(String, Value, Value)>) {
    if let (Value::Object(a), Value::Object(b)) = (there, now) {
        let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        for name in keys {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            let of = |values: &serde_json::Map<String, Value>| values.get(name).cloned().unwrap_or(Value::Null);
            compare(&key, &of(a), &of(b), found);
        }
    } else if there != now {
        found.push((key.to_string(), there.clone(), now.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_named() {
        let there = json!({ "train": { "rate": 0.1, "seed": 1 }, "data": "x", "model": { "dim": 4 } });
        let now = json!({ "train": { "rate": 0.2, "seed": 1 }, "data": "y", "model": { "dim": 4, "layers": 2 } });
        let expected =
            ["the data were others", "model.layers is null there and 2 now", "train.rate is 0.1 there and 0.2 now"];
        assert_eq!(differences(&there, &now), expected);
        assert!(differences(&there, &there).is_empty());
    }
}
