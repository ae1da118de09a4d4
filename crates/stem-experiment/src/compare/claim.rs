//! Whose folder it is: runs of different comparisons do not belong into one.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stem_core::{DeviceSpec, ModelConfig, ModelName};
use stem_data::Dataset;

use super::plan::Plan;
use crate::error::{Error, Result};
use crate::options::RunOptions;
use crate::run::PLAN;
use crate::search::SearchConfig;
use stem_core::files;
use stem_train::TrainConfig;

/// What a comparison is of.
///
/// Kept as TOML, whose numbers are read as they were written to the last bit.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    recipe: String,
    data: String,
    tasks: Vec<String>,
    device: DeviceSpec,
    train: TrainConfig,
    models: BTreeMap<ModelName, ModelConfig>,
    search: Option<SearchConfig>,
}

/// Makes the folder the plan's, or goes on where it was left. Runs of other models and seeds may be there.
///
/// # Errors
/// [`Error::OtherComparison`] unless `force`.
pub(super) fn claim(
    out: &Path,
    plan: &Plan,
    search: Option<&SearchConfig>,
    force: bool,
    dataset: &Dataset,
    options: &RunOptions,
) -> Result<()> {
    // Every run has a seed of its own; trials have the experiment's.
    let seed = search.map_or(0, |_| plan.train.seed);
    let mut claim = Claim {
        recipe: dataset.name().to_string(),
        data: dataset.key().to_string(),
        tasks: dataset.schema().task_names(),
        device: options.device,
        train: TrainConfig { seed, ..plan.train.clone() },
        models: plan.models.iter().map(|(model, experiment)| (*model, experiment.model(*model))).collect(),
        search: search.cloned(),
    };
    let path = out.join(PLAN);
    let foreign = |what: String| Err(Error::OtherComparison { folder: out.to_path_buf(), what });
    match (path.exists(), force || !has_results(out)) {
        (true, false) => {
            let Ok(before) = toml::from_str::<Claim>(&files::read_text(&path)?) else {
                return foreign("holds a comparison of another version".into());
            };
            if let Some(what) = claim.difference(&before) {
                return foreign(format!("holds another comparison ({what} differs)"));
            }
            for (model, config) in before.models {
                claim.models.entry(model).or_insert(config);
            }
        }
        (false, false) => return foreign("is not empty and holds no comparison".into()),
        _ => {}
    }
    files::create_folder(out)?;
    match toml::to_string(&claim) {
        Ok(text) => Ok(files::replace_text(&path, &text)?),
        Err(e) => Err(Error::Comparison { what: format!("{} cannot be written: {e}", path.display()) }),
    }
}

impl Claim {
    /// The first thing in which the two are not of one comparison.
    fn difference(&self, other: &Self) -> Option<String> {
        let Self { recipe, data, tasks, device, train, models, search } = self;
        if *recipe != other.recipe {
            return Some("the recipe".into());
        }
        if *data != other.data {
            return Some("the recipe's text, or the data,".into());
        }
        if *tasks != other.tasks {
            return Some("the list of tasks".into());
        }
        if *device != other.device {
            return Some("the device".into());
        }
        if *search != other.search {
            return Some("the search".into());
        }
        let json = |value: &TrainConfig| serde_json::to_value(value).expect("settings are plain data");
        if let Some(key) = first_key(&json(train), &json(&other.train)) {
            return Some(format!("[train] {key}"));
        }
        models.iter().find_map(|(model, config)| {
            let (found, before) = (serde_json::to_value(config), serde_json::to_value(other.models.get(model)?));
            let key = first_key(&found.expect("settings are plain data"), &before.expect("settings are plain data"))?;
            Some(format!("[{model}] {key}"))
        })
    }
}

/// The first key of two objects with another value.
fn first_key(a: &Value, b: &Value) -> Option<String> {
    let keys = [a, b].into_iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys);
    keys.into_iter().find(|key| a.get(key) != b.get(key)).cloned()
}

/// Whether anything was trained into a folder.
fn has_results(out: &Path) -> bool {
    ["bundle.safetensors", "metrics.json", "comparison.json", "runs", "search"]
        .iter()
        .any(|name| out.join(name).exists())
}
