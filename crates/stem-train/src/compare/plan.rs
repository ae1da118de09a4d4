//! Which models are compared with which settings, and whether they may go into the folder.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stem_core::{DeviceSpec, ModelConfig, ModelName, ModelSpec};
use stem_data::{Dataset, Split};

use super::CompareConfig;
use crate::error::{Error, Result};
use crate::experiment::{Experiment, TrainConfig};
use crate::files;
use crate::fit::in_section;
use crate::run::RunOptions;
use crate::search::SearchConfig;

/// The file that makes a folder a comparison's.
const PLAN: &str = "plan.toml";
/// Groups below which an interval drawn over them is rough.
const FEW_GROUPS: usize = 50;

/// The models in the order they are shown, each with the experiment it is run with.
#[derive(Debug)]
pub(crate) struct Plan {
    pub models: Vec<(ModelName, Experiment)>,
    /// The place of single-task.
    pub reference: usize,
}

/// What a comparison is of: runs of different ones do not belong into one folder.
///
/// Kept as TOML, whose numbers are read as they were written to the last bit.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    recipe: String,
    data: String,
    device: DeviceSpec,
    train: TrainConfig,
    models: BTreeMap<ModelName, ModelConfig>,
    search: Option<SearchConfig>,
}

impl Plan {
    /// Checks everything that can be told before the long work.
    pub(crate) fn new(config: &CompareConfig, experiment: &Experiment, dataset: &Dataset) -> Result<Self> {
        let fault = |what: String| Err(Error::Comparison { what });
        let schema = dataset.schema();
        if config.models.is_empty() {
            return fault("no model is named: name one or more to compare with single-task".into());
        }
        if let Some(model) = twice(&config.models) {
            return fault(format!("model '{model}' is named twice"));
        }
        if config.seeds.is_empty() {
            return fault("no seed is named: name one or more, e.g. 1,2,3".into());
        }
        if let Some(seed) = twice(&config.seeds) {
            return fault(format!(
                "seed {seed} is named twice: the same run twice says nothing about the spread of seeds"
            ));
        }
        if config.jobs == 0 {
            return fault("0 runs at the same time: expected 1 or more".into());
        }
        if config.bootstrap.resamples < 20 {
            let found = config.bootstrap.resamples;
            return fault(format!("{found} resamples give no 95 % interval: expected 20 or more, 1000 as a rule"));
        }
        if let Some([low, high]) = config.cuts {
            if !(0.0..=1.0).contains(&low) || !(0.0..=1.0).contains(&high) || low > high {
                return fault(format!("the cuts {low}, {high} are no ascending shares from 0 to 1"));
            }
            if schema.tasks.len() < 2 {
                return fault("cuts have no effect with one task: there is no pair of tasks to be cut by".into());
            }
        }
        if dataset.groups(Split::Test).is_none() {
            return fault(
                "the recipe names no `group`: users are what intervals are drawn over and what is cut into strata. Add e.g. \
                 group = \"user\" to the recipe"
                    .into(),
            );
        }
        if dataset.rows(Split::Test) == 0 {
            return fault("the test split has no rows: nothing can be measured".into());
        }
        let mut names = config.models.clone();
        if !names.contains(&ModelName::SingleTask) {
            names.push(ModelName::SingleTask);
        }
        experiment.train.check_tasks(schema)?;
        for &model in &names {
            experiment.model(model).check(schema).map_err(|e| in_section(model, e))?;
            if !experiment.has(model) {
                tracing::info!("the experiment has no section [{model}]: default sizes");
            }
        }
        let reference = names.iter().position(|model| *model == ModelName::SingleTask).expect("it was just added");
        Ok(Self { models: names.into_iter().map(|model| (model, experiment.clone())).collect(), reference })
    }

    /// Runs every model with what a search has found for it.
    pub(crate) fn take_over(&mut self, found: Vec<Experiment>) {
        self.models.iter_mut().zip(found).for_each(|((_, experiment), found)| *experiment = found);
    }

    /// Makes the folder this comparison's, or goes on where it was left. Runs of other models and seeds may be there.
    pub(crate) fn claim(
        &self,
        out: &Path,
        config: &CompareConfig,
        experiment: &Experiment,
        dataset: &Dataset,
        options: &RunOptions,
    ) -> Result<()> {
        let mut claim = Claim {
            recipe: dataset.name().to_string(),
            data: dataset.key().to_string(),
            device: options.device,
            train: TrainConfig { seed: 0, ..experiment.train.clone() }, // every run has its own
            models: self.models.iter().map(|(model, experiment)| (*model, experiment.model(*model))).collect(),
            search: config.search.clone(),
        };
        let path = out.join(PLAN);
        let foreign = |what: &str| {
            let folder = out.display();
            let what = format!("{folder} {what}: name another folder, or --force to train in it again what differs");
            Err(Error::Comparison { what })
        };
        match (path.exists(), config.force) {
            (true, false) => {
                let before: Claim = match toml::from_str(&files::read_text(&path)?) {
                    Ok(before) => before,
                    Err(_) => return foreign("holds a comparison of another version"),
                };
                if let Some(what) = claim.difference(&before) {
                    return foreign(&format!("holds another comparison ({what} differs)"));
                }
                for (model, config) in before.models {
                    claim.models.entry(model).or_insert(config);
                }
            }
            (false, false) if is_foreign(out) => return foreign("is not empty and holds no comparison"),
            _ => {}
        }
        files::create_folder(out)?;
        match toml::to_string(&claim) {
            Ok(text) => files::replace_text(&path, &text),
            Err(e) => Err(Error::Comparison { what: format!("{} cannot be written: {e}", path.display()) }),
        }
    }

    /// What the numbers will not bear.
    pub(crate) fn warnings(&self, dataset: &Dataset) -> Vec<String> {
        let mut groups = dataset.groups(Split::Test).unwrap_or_default().to_vec();
        groups.sort_unstable();
        groups.dedup();
        let few = (groups.len() < FEW_GROUPS).then(|| {
            format!("The test split has {} groups (users): intervals drawn over so few are rough.", groups.len())
        });
        few.into_iter().collect()
    }
}

impl Claim {
    /// The first thing in which the two are not of one comparison.
    fn difference(&self, other: &Self) -> Option<String> {
        let Self { recipe, data, device, train, models, search } = self;
        if *recipe != other.recipe {
            return Some("the recipe".into());
        }
        if *data != other.data {
            return Some("the recipe's text, or the data,".into());
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

/// Whether there is something in a folder besides encoded columns and a simulated log.
fn is_foreign(out: &Path) -> bool {
    ["bundle.safetensors", "metrics.json", "comparison.json", "runs"].iter().any(|name| out.join(name).exists())
}

/// The first item that occurs a second time.
fn twice<T: PartialEq + Copy>(items: &[T]) -> Option<T> {
    (1..items.len()).find(|&i| items[..i].contains(&items[i])).map(|i| items[i])
}
