//! Keys of a search that would change nothing, or the same thing twice.

use serde_json::Value;

use super::settings::{find, split};
use super::{SearchConfig, Space};

impl Space {
    /// Why a key of the search would have no effect, or would set what another sets: the first such key, `None` if all is well.
    /// `models` are all that are compared, with their settings.
    pub fn unused(config: &SearchConfig, models: &[(&str, &Value)], train: &Value) -> Option<String> {
        let twice = |&(model, settings): &(&str, &Value)| set_twice(&Self::of(config, model, train, settings));
        config.space.keys().find_map(|key| unused(key, models, train)).or_else(|| models.iter().find_map(twice))
    }
}

/// Why a key has no effect.
fn unused(key: &str, models: &[(&str, &Value)], train: &Value) -> Option<String> {
    let names = || models.iter().map(|&(name, _)| name).collect::<Vec<_>>().join(", ");
    match split(key) {
        ("train", path) => missing_from_train(train, path).map(|what| format!("`{key}` is no setting: {what}")),
        ("model", path) => {
            let nobody = models.iter().all(|(_, settings)| find(settings, path).is_none());
            nobody.then(|| format!("`{key}` is a setting of no compared model ({})", names()))
        }
        (name, path) => match models.iter().find(|(model, _)| *model == name) {
            None => Some(format!("`{key}`: `{name}` is not compared, expected train, model or one of {}", names())),
            Some((_, settings)) => missing(settings, path).map(|what| format!("`{key}` is no setting: {what}")),
        },
    }
}

/// As [`missing`]; tasks have a weight of 1 where none is written.
fn missing_from_train(train: &Value, path: &str) -> Option<String> {
    let free = train.get("task_weights").is_some_and(Value::is_object);
    match path.strip_prefix("task_weights.") {
        Some(task) if free && !task.contains('.') => None,
        _ => missing(train, path),
    }
}

/// The part of a dotted path that is not there, and what is.
fn missing(object: &Value, path: &str) -> Option<String> {
    let mut at = object;
    for part in path.split('.') {
        match (at.get(part), at.as_object()) {
            (Some(inner), _) => at = inner,
            (None, Some(map)) => {
                let keys = map.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Some(format!("there is no `{part}` among {keys}"));
            }
            (None, None) => return Some(format!("there is no `{part}` in {at}")),
        }
    }
    None
}

/// Two keys of a model of which one sets the other, or a part of it.
fn set_twice(space: &Space) -> Option<String> {
    let keys: Vec<&str> = space.keys().collect();
    let mut pairs = keys.iter().enumerate().flat_map(|(i, a)| keys[i + 1..].iter().map(move |b| (a, b)));
    let (a, b) = pairs.find(|(a, b)| overlap(a, b))?;
    Some(format!("`{a}` and `{b}` set the same twice, expected one of them"))
}

/// Whether both are at the same place, or one within the other. All keys outside `train` are of one model.
fn overlap(a: &str, b: &str) -> bool {
    let ((section, path), (other_section, other)) = (split(a), split(b));
    let within = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    let same_section = (section == "train") == (other_section == "train");
    same_section && (path == other || within(path, other) || within(other, path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unused(space: &str) -> Option<String> {
        let optimizer = json!({ "name": "adam", "beta1": 0.9 });
        let train = json!({ "learning_rate": 1e-3, "table": "dense", "optimizer": optimizer, "task_weights": {} });
        let stem = json!({ "dim": 16, "shared_experts": 2, "hidden": { "dropout": 0.0 } });
        let mmoe = json!({ "dim": 16, "expert_count": 4, "hidden": { "dropout": 0.0 } });
        let config = SearchConfig::parse(&format!("[space]\n{space}")).unwrap();
        Space::unused(&config, &[("stem", &stem), ("mmoe", &mmoe)], &train)
    }

    #[test]
    fn a_key_without_effect_is_named_with_what_there_is() {
        for (key, expected) in [
            (
                "train.rate",
                "`train.rate` is no setting: there is no `rate` among learning_rate, optimizer, table, task_weights",
            ),
            ("train.table.x", "`train.table.x` is no setting: there is no `x` in \"dense\""),
            ("train.optimizer.beta3", "`train.optimizer.beta3` is no setting: there is no `beta3` among beta1, name"),
            ("model.gate", "`model.gate` is a setting of no compared model (stem, mmoe)"),
            ("ple.dim", "`ple.dim`: `ple` is not compared, expected train, model or one of stem, mmoe"),
            (
                "stem.expert_count",
                "`stem.expert_count` is no setting: there is no `expert_count` among dim, hidden, shared_experts",
            ),
        ] {
            assert_eq!(unused(&format!("'{key}' = [1]")).as_deref(), Some(expected));
        }
        for key in ["train.optimizer", "train.optimizer.beta1", "train.task_weights.like", "model.expert_count"] {
            assert_eq!(unused(&format!("'{key}' = [1]")), None);
        }
    }

    #[test]
    fn a_setting_that_two_keys_set_is_refused() {
        for (a, b) in [
            ("model.dim", "stem.dim"),
            ("model.hidden", "stem.hidden.dropout"),
            ("train.optimizer", "train.optimizer.name"),
        ] {
            let expected = format!("`{a}` and `{b}` set the same twice, expected one of them");
            assert_eq!(unused(&format!("'{a}' = [1]\n'{b}' = [1]")), Some(expected));
        }
        assert_eq!(unused("'stem.dim' = [1]\n'mmoe.dim' = [1]\n'model.hidden' = [1]"), None);
    }
}
