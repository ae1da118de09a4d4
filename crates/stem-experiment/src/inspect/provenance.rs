//! What was run, and with what: enough to do it again.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;
use stem_core::models::ModelSpec;
use stem_data::{Dataset, Split};

use crate::options::RunOptions;
use crate::text::to_text;
use stem_report::report::Provenance;
use stem_train::TrainConfig;

/// Of runs with these seeds that ended now and trained for so many seconds in all.
pub(crate) fn provenance(
    dataset: &Dataset,
    train: &TrainConfig,
    seeds: &[u64],
    options: &RunOptions,
    seconds: f64,
) -> Provenance {
    let mut settings = flat(&train.written_out());
    settings.retain(|(key, _)| key != "seed"); // among the seeds
    Provenance {
        recipe: dataset.name().to_string(),
        rows: Split::ALL.map(|split| dataset.rows(split) as u64),
        seeds: seeds.to_vec(),
        device: options.device.to_string(),
        versions: vec![
            ("stem".into(), env!("CARGO_PKG_VERSION").into()),
            ("bundle format".into(), stem_core::bundle::FORMAT_VERSION.to_string()),
            ("data".into(), dataset.key().chars().take(12).collect()),
        ],
        command: options.command.clone(),
        finished: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        seconds,
        settings,
    }
}

/// The settings of a model as an experiment writes them, nested keys with dots; and how it was trained where that differs from
/// how the others were.
pub(crate) fn model_settings(
    config: &impl ModelSpec,
    train: &TrainConfig,
    others: &TrainConfig,
) -> Vec<(String, String)> {
    let mut settings = flat(config);
    settings.retain(|(key, _)| key != "name"); // the name of the model
    let [found, common] = [train, others].map(|train| flat(&train.written_out()));
    let differing = found.into_iter().filter(|setting| !common.contains(setting));
    settings.extend(differing.map(|(key, value)| (format!("train.{key}"), value)));
    settings
}

/// Settings one by one, nested keys with dots.
fn flat(settings: &impl Serialize) -> Vec<(String, String)> {
    let Ok(Value::Object(keys)) = serde_json::to_value(settings) else { return Vec::new() };
    let nested = |(key, value): (&String, &Value)| match value {
        Value::Null => Vec::new(),
        Value::Object(_) => flat(value).into_iter().map(|(below, value)| (format!("{key}.{below}"), value)).collect(),
        value => vec![(key.clone(), to_text(value))],
    };
    keys.iter().flat_map(nested).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_dotted_keys() {
        let found = flat(&TrainConfig::default().written_out());
        assert!(found.contains(&("prior.name".into(), "learned".into())), "{found:?}");
        assert!(found.contains(&("batch_size".into(), "4096".into())), "{found:?}");
        assert!(found.iter().any(|(key, value)| key == "optimizer.name" && value == "adam"), "{found:?}");
        assert!(found.contains(&("embedding_std".into(), "0.01".into())), "{found:?}");
        assert!(found.iter().all(|(key, _)| !key.starts_with("task_weights")), "an empty map has nothing to say");
    }
}
