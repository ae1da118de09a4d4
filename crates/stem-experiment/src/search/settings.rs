//! One configuration, and the dotted paths by which it is set.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::text::to_text;

/// What a configuration sets beside the experiment, by key. Without keys it is the experiment as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Settings(pub Vec<(String, Value)>);

impl Settings {
    /// Sets the keys: `train.` in `[train]`, all others in the model's section. A part of a path that is not there is made.
    pub fn apply(&self, train: &mut Value, settings: &mut Value) {
        for (key, value) in &self.0 {
            let (section, path) = split(key);
            set(if section == "train" { train } else { settings }, path, value.clone());
        }
    }

    /// Keys and values for people: numbers in full but short, strings without quotes.
    pub fn in_words(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(key, value)| (key.clone(), to_text(value))).collect()
    }
}

/// As a list of assignments for people.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.in_words().into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let text = all.join(", ");
        f.write_str(if all.is_empty() { "the experiment's own settings" } else { &text })
    }
}

/// The section of a key, and the path within it.
pub(super) fn split(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or((key, ""))
}

/// What stands under a dotted path.
pub(super) fn find<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(object, |object, part| object.get(part))
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut at = object;
    for part in path.split('.') {
        if !at.is_object() {
            *at = Map::new().into();
        }
        at = &mut at[part];
    }
    *at = value;
}

/// Whether two values are the same setting. Numbers are if no `f32` lies between them: some settings are kept as such.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(x), Some(y)) if a.is_f64() || b.is_f64() => {
                (x - y).abs() <= f64::from(f32::EPSILON) / 2.0 * x.abs().max(y.abs())
            }
            _ => a == b,
        },
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(pairs: &[(&str, Value)]) -> Settings {
        Settings(pairs.iter().map(|(key, value)| (key.to_string(), value.clone())).collect())
    }

    #[test]
    fn keys_of_training_and_of_the_model_are_set_at_their_places() {
        let mut train =
            json!({ "learning_rate": 1e-3, "optimizer": { "name": "adam", "beta1": 0.9 }, "task_weights": {} });
        let mut model = json!({ "dim": 16, "hidden": { "dropout": 0.0, "norm": true } });
        settings(&[
            ("model.hidden.dropout", json!(0.2)),
            ("stem.dim", json!(8)),
            ("train.optimizer.beta1", json!(0.8)),
            ("train.task_weights.like", json!(2.0)),
        ])
        .apply(&mut train, &mut model);
        let optimizer = json!({ "name": "adam", "beta1": 0.8 });
        let expected = json!({ "learning_rate": 1e-3, "optimizer": optimizer, "task_weights": { "like": 2.0 } });
        assert_eq!(train, expected);
        assert_eq!(model, json!({ "dim": 8, "hidden": { "dropout": 0.2, "norm": true } }));
    }

    #[test]
    fn a_part_of_a_path_that_is_not_there_is_made() {
        let (mut train, mut model) = (Value::Null, json!({ "hidden": 3 }));
        settings(&[("train.a.b", json!(1)), ("model.hidden.norm", json!(true))]).apply(&mut train, &mut model);
        assert_eq!((train, model), (json!({ "a": { "b": 1 } }), json!({ "hidden": { "norm": true } })));
    }

    #[test]
    fn nothing_is_set_by_the_experiment_as_it_stands() {
        let (mut train, mut model) = (json!({ "seed": 1 }), json!({ "dim": 16 }));
        Settings::default().apply(&mut train, &mut model);
        assert_eq!((train, model), (json!({ "seed": 1 }), json!({ "dim": 16 })));
    }

    #[test]
    fn a_number_kept_as_f32_is_the_same_and_other_numbers_differ() {
        assert!(same(&json!(1e-4f32), &json!(1e-4)));
        assert!(same(&json!(1), &json!(1.0)));
        assert!(same(&json!({ "a": [1e-4f32] }), &json!({ "a": [1e-4] })));
        for (a, b) in [
            (json!(0.0), json!(1e-30)),
            (json!(0.999_999), json!(1.0)),
            (json!(1u64 << 40), json!((1u64 << 40) + 1)),
            (json!(1), json!("1")),
            (json!([1]), json!([1, 2])),
        ] {
            assert!(!same(&a, &b), "{a} and {b}");
        }
    }
}
