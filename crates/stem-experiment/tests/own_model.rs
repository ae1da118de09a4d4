//! A model of an application's own enters runs, searches, comparisons and the page as any other.

use crate::common::*;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use stem_core::models::{Extended, ModelFamily, Preset};
use stem_core::models::{Model, ModelSpec, NetworkSize};
use stem_core::nn::{HiddenConfig, Pooled, Towers};
use stem_core::{ModelConfig, Predictor, Schema};
use stem_data::Split;
use stem_experiment::{CompareConfig, Experiment, RunOptions, SearchConfig, compare, measure, run};
use stem_report::analysis::Bootstrap;

/// A tower per task on one embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PlainConfig {
    dim: usize,
    tower: Vec<usize>,
}

impl Default for PlainConfig {
    fn default() -> Self {
        Self { dim: 4, tower: vec![16] }
    }
}

#[derive(Module, Debug)]
struct Plain {
    towers: Towers,
}

impl Model for Plain {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        self.towers.forward(x.group(0)) // [B, T]
    }
}

impl ModelSpec for PlainConfig {
    type Model = Plain;

    fn name(&self) -> &'static str {
        "plain"
    }
    fn check(&self, _schema: &Schema) -> stem_core::Result<()> {
        let (key, found, expected) = ("dim".into(), self.dim.to_string(), "1 or more".into());
        if self.dim > 0 { Ok(()) } else { Err(stem_core::Error::Config { key, found, expected }) }
    }
    fn widths(&self, _schema: &Schema) -> Vec<usize> {
        vec![self.dim]
    }
    fn size(&self, schema: &Schema) -> NetworkSize {
        Towers::shape(&schema.tasks, schema.fields.len() * self.dim, &self.tower, &HiddenConfig::default()).size()
    }
    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Plain {
        let hidden = HiddenConfig::default();
        let shape = Towers::shape(&schema.tasks, schema.fields.len() * self.dim, &self.tower, &hidden);
        Plain { towers: Towers::init(shape, schema, rng, device) }
    }
}

type Family = Extended<PlainConfig>;

const EXPERIMENT: &str = "[train]\nbatch_size = 256\nepochs = 3\nlearning_rate = 5e-3\n[plain]\ntower = [8]\n";

fn own() -> Experiment<Family> {
    Experiment::parse_family(EXPERIMENT, "e.toml").unwrap()
}

#[test]
fn a_model_of_an_applications_own_is_run_and_scores_from_its_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let metrics = run("plain", &own(), &dataset, &out, &options()).unwrap();
    assert!(metrics.model == "plain" && metrics.test["a"].auc.unwrap() > 0.6, "{metrics:?}");
    let predictor = Predictor::<Family>::open_model(out.join("bundle.safetensors"), &spec().open().unwrap()).unwrap();
    assert_eq!(predictor.config(), &Extended::Own(PlainConfig { dim: 4, tower: vec![8] }));
    assert_eq!(measure(&predictor, &dataset, Split::Test).unwrap(), metrics.test);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("plain on small") && page.contains("tower = [8]"));
    let message = said(&run("mmoe", &own(), &dataset, &out, &options()).unwrap_err());
    assert!(message.contains("holds a run of 'plain' with seed 1"), "{message}");
    run("mmoe", &own(), &dataset, &out, &RunOptions { overwrite: true, ..options() }).unwrap();
}

#[test]
fn it_is_searched_and_compared_beside_the_models_of_the_library() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let out = folder.path().join("out");
    let search = "trials = 2\nfirst_epochs = 1\n[space]\n'plain.dim' = [3]\n'model.tower' = [[4]]";
    let config = CompareConfig {
        models: vec!["plain".into(), "stem".into()],
        seeds: vec![1],
        bootstrap: Bootstrap { resamples: 20, ..Bootstrap::default() },
        search: Some(SearchConfig::parse(search).unwrap()),
        ..CompareConfig::default()
    };
    let report = compare(&config, &own(), &dataset, &out, &options()).unwrap();
    assert_eq!(report.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["plain", "stem", "single-task"]);
    assert!(out.join("runs/plain/seed-1/bundle.safetensors").exists());
    let tried = &report.search.as_ref().unwrap().trials;
    let keys = tried.iter().filter(|trial| trial.model == "plain").flat_map(|trial| &trial.settings);
    let expected =
        [("model.tower", "[4]"), ("plain.dim", "3")].map(|(key, value)| (key.to_string(), value.to_string()));
    assert_eq!(keys.cloned().collect::<Vec<_>>(), expected);
    let again = compare(&config, &own(), &dataset, &out, &options()).unwrap();
    assert_eq!(again.models[0].tasks, report.models[0].tasks, "the folder is its own");
}

#[test]
fn its_section_is_read_as_any_other_and_faults_name_it() {
    let refused = |text: &str| Experiment::<Family>::parse_family(text, "e.toml").unwrap_err().to_string();
    let message = refused("[train]\nepochs = 1\n[plain]\ndims = 3\n");
    assert!(message.contains("line 4") && message.contains("unknown field `dims`"), "{message}");
    let message = refused("[pain]\ndim = 3\n");
    assert!(
        message.contains("did you mean 'plain'? Known are: stem, ") && message.contains("ple-me, plain"),
        "{message}"
    );
    let message = own().model("plan").unwrap_err().to_string();
    assert!(message.contains("did you mean 'plain'?") && message.contains("ple-me, plain"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let flat = own().with_model(Extended::Own(PlainConfig { dim: 0, ..PlainConfig::default() }));
    let error = run("plain", &flat, &dataset(folder.path()), &folder.path().join("out"), &options()).unwrap_err();
    assert_eq!(said(&error), "model configuration: `[plain] dim` is 0, expected 1 or more");
}

#[test]
fn a_family_is_written_with_names_and_read_again() {
    let own = Family::Own(PlainConfig { dim: 3, tower: vec![2] });
    let text = serde_json::to_string(&own).unwrap();
    assert_eq!(text, r#"{"name":"plain","dim":3,"tower":[2]}"#);
    assert_eq!(serde_json::from_str::<Family>(&text).unwrap(), own);
    assert_eq!(serde_json::from_str::<Family>(r#"{"dim":3,"tower":[2]}"#).unwrap(), own, "a bundle of the model alone");
    for name in ModelConfig::names() {
        let config = Family::of_preset(name, Preset::Small).unwrap();
        assert_eq!(config.name(), name);
        assert_eq!(serde_json::from_value::<Family>(serde_json::to_value(&config).unwrap()).unwrap(), config);
    }
    assert_eq!(Family::names().last(), Some(&"plain"));
    assert_eq!(Family::of_preset("plain", Preset::Paper).unwrap(), Family::Own(PlainConfig::default()));
}

#[test]
fn a_family_asks_the_model_that_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let schema = dataset.schema();
    for name in ModelConfig::names() {
        let (alone, held) =
            (ModelConfig::of_preset(name, Preset::Small).unwrap(), Family::of_preset(name, Preset::Small).unwrap());
        assert_eq!(held.widths(schema), alone.widths(schema), "{name}");
        assert_eq!(held.size(schema), alone.size(schema), "{name}");
        assert_eq!(held.embedding_groups(schema), alone.embedding_groups(schema), "{name}");
        assert_eq!(held.gate_groups(schema), alone.gate_groups(schema), "{name}");
        assert_eq!(held.trains_apart(), alone.trains_apart(), "{name}");
    }
    let own = Family::Own(PlainConfig::default());
    assert_eq!((own.widths(schema), own.embedding_groups(schema), own.trains_apart()), (vec![4], vec![2], false));
}
