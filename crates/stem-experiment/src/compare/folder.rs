//! Whose folder it is: runs of different comparisons do not belong into one.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stem_core::models::ModelFamily;
use stem_core::{DeviceSpec, files};
use stem_data::Dataset;
use stem_train::TrainConfig;

use super::plan::Plan;
use crate::error::{Error, Result};
use crate::folder::{BUNDLE, METRICS, PLAN};
use crate::options::RunOptions;
use crate::search::SearchConfig;

/// What a comparison is of, as `plan.toml` says it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile<C> {
    recipe: String,
    data: String,
    tasks: Vec<String>,
    device: DeviceSpec,
    train: TrainConfig,
    models: BTreeMap<String, C>,
    search: Option<SearchConfig>,
}

/// Makes the folder the plan's, or goes on where it was left. Runs of other models and seeds may be there.
///
/// # Errors
/// [`Error::OtherComparison`] unless `options.overwrite`.
pub(super) fn take<C: ModelFamily>(
    out: &Path,
    plan: &Plan<C>,
    search: Option<&SearchConfig>,
    dataset: &Dataset,
    options: &RunOptions,
) -> Result<()> {
    let mut ours = PlanFile::<C>::of(plan, search, dataset, options)?;
    let path = out.join(PLAN);
    let foreign = |what: String| Err(Error::OtherComparison { folder: out.to_path_buf(), what });
    match (path.exists(), options.overwrite || !has_results(out)) {
        (true, false) => {
            let Ok(before) = toml::from_str::<PlanFile<C>>(&files::read_text(&path)?) else {
                return foreign("holds a comparison of another version, or of models that are not known here".into());
            };
            if let Some(what) = ours.difference(&before) {
                return foreign(format!("holds another comparison ({what} differs)"));
            }
            for (model, config) in before.models {
                ours.models.entry(model).or_insert(config);
            }
        }
        (false, false) => return foreign("is not empty and holds no comparison".into()),
        _ => {}
    }
    Ok(files::replace_text(&path, &toml::to_string(&ours).expect("a plan is plain data"))?)
}

/// What differs in the comparison that a folder holds, where it is not this one. Nothing is written.
///
/// # Errors
/// A plan that cannot be read.
pub(super) fn other<C: ModelFamily>(
    out: &Path,
    plan: &Plan<C>,
    search: Option<&SearchConfig>,
    dataset: &Dataset,
    options: &RunOptions,
) -> Result<Option<String>> {
    let there = files::read_text(&out.join(PLAN))?;
    let Ok(there) = toml::from_str::<PlanFile<C>>(&there) else { return Ok(Some("its version".into())) };
    Ok(PlanFile::of(plan, search, dataset, options)?.difference(&there))
}

impl<C: ModelFamily> PlanFile<C> {
    fn of(plan: &Plan<C>, search: Option<&SearchConfig>, dataset: &Dataset, options: &RunOptions) -> Result<Self> {
        // Every run has a seed of its own; trainings of a search have the experiment's.
        let seed = search.map_or(0, |_| plan.train.seed);
        let models = plan.models.iter().map(|(model, experiment)| Ok(((*model).into(), experiment.model(model)?)));
        Ok(Self {
            recipe: dataset.name().to_string(),
            data: dataset.key().to_string(),
            tasks: dataset.schema().task_names(),
            device: options.device,
            train: TrainConfig { seed, ..plan.train.clone() },
            models: models.collect::<Result<_>>()?,
            search: search.cloned(),
        })
    }

    /// The first thing in which the two are not of one comparison.
    fn difference(&self, other: &Self) -> Option<String> {
        let [ours, theirs] = [self, other].map(|plan| serde_json::to_value(plan).expect("a plan is plain data"));
        let whole = [
            ("recipe", "the recipe"),
            ("data", "the recipe's text, or the data,"),
            ("tasks", "the list of tasks"),
            ("device", "the device"),
            ("search", "the search"),
        ];
        if let Some((_, what)) = whole.into_iter().find(|(key, _)| ours[key] != theirs[key]) {
            return Some(what.into());
        }
        let of_model = |(model, config): (&String, &Value)| {
            let key = first_key(config, theirs["models"].get(model)?)?;
            Some(format!("[{model}] {key}"))
        };
        let train = first_key(&ours["train"], &theirs["train"]).map(|key| format!("[train] {key}"));
        train.or_else(|| ours["models"].as_object()?.iter().find_map(of_model))
    }
}

/// The first key of two objects with another value.
fn first_key(a: &Value, b: &Value) -> Option<String> {
    let keys = [a, b].into_iter().filter_map(Value::as_object).flat_map(serde_json::Map::keys);
    keys.into_iter().find(|key| a.get(key) != b.get(key)).cloned()
}

/// Whether anything was trained into a folder.
fn has_results(out: &Path) -> bool {
    [BUNDLE, METRICS, "comparison.json", "runs", "search"].iter().any(|name| out.join(name).exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::ModelConfig;
    use stem_core::models::{ModelFamily, Preset};

    fn plan() -> PlanFile<ModelConfig> {
        PlanFile {
            recipe: "r".into(),
            data: "d".into(),
            tasks: vec!["a".into(), "b".into()],
            device: DeviceSpec::Flex,
            train: TrainConfig::default(),
            models: [("stem".into(), ModelConfig::of_preset("stem", Preset::Small).unwrap())].into(),
            search: None,
        }
    }

    #[test]
    fn the_first_thing_that_differs_is_named() {
        let difference = |change: &dyn Fn(&mut PlanFile<ModelConfig>)| {
            let mut other = plan();
            change(&mut other);
            plan().difference(&other)
        };
        assert_eq!(difference(&|_| {}), None);
        assert_eq!(difference(&|p| p.recipe = "s".into()).as_deref(), Some("the recipe"));
        assert_eq!(difference(&|p| p.data = "e".into()).as_deref(), Some("the recipe's text, or the data,"));
        assert_eq!(difference(&|p| p.tasks.reverse()).as_deref(), Some("the list of tasks"));
        assert_eq!(difference(&|p| p.device = DeviceSpec::NdArray).as_deref(), Some("the device"));
        assert_eq!(difference(&|p| p.search = Some(SearchConfig::default())).as_deref(), Some("the search"));
        assert_eq!(difference(&|p| p.train.epochs = 3).as_deref(), Some("[train] epochs"));
        let larger = |p: &mut PlanFile<ModelConfig>| {
            p.models.insert("stem".into(), ModelConfig::of_preset("stem", Preset::Paper).unwrap());
        };
        assert_eq!(difference(&larger).as_deref(), Some("[stem] dim"));
        assert_eq!(difference(&|p| p.models.clear()), None, "a model that was not compared before may be added");
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let plan = PlanFile { search: Some(SearchConfig::default()), ..plan() };
        assert_eq!(toml::from_str::<PlanFile<ModelConfig>>(&toml::to_string(&plan).unwrap()).unwrap(), plan);
    }

    #[test]
    fn anything_that_was_trained_makes_a_folder_somebodys() {
        for name in [BUNDLE, METRICS, "comparison.json", "runs", "search"] {
            let folder = tempfile::tempdir().unwrap();
            assert!(!has_results(folder.path()));
            std::fs::write(folder.path().join(name), "").unwrap();
            assert!(has_results(folder.path()), "{name}");
        }
    }
}
