//! Histories whose values are told by how long ago they were, trained: what neither a bag nor positions can tell is learned.

use crate::common::stopped::{self, finish, train_until};
use crate::common::{draws, is_slow, smooth, spec, stem};
use crate::ranks::{config, hold};

use std::path::Path;

use stem_core::nn::{Activation, InterestConfig, Positions};
use stem_core::{ModelConfig, ModelName, Predictor, Row};
use stem_data::{Dataset, PrepareOptions, Recipe, Split, prepare};
use stem_train::{Learner, TrainConfig};

const ITEMS: usize = 24;
const KINDS: usize = 4;

/// A click is likely where the item is of the kind of the one thing that was watched within the hour, wherever in the list that stands.
fn log(folder: &Path, rows: usize, splits: &[&str]) -> Dataset {
    let mut draw = draws();
    let mut log = "item,watched,times,time,click,finish,split\n".to_string();
    for row in 0..rows {
        let (item, time) = (draw(ITEMS), 1_000_000 + draw(1000));
        let watched: Vec<usize> = (0..2 + draw(7)).map(|_| draw(ITEMS)).collect();
        let recent = draw(watched.len());
        let ago = |place: usize, far: usize| if place == recent { far % 3600 } else { 100_000 + far % 500_000 };
        let times: Vec<String> =
            (0..watched.len()).map(|place| (time - ago(place, draw(1 << 20))).to_string()).collect();
        let alike = watched[recent] % KINDS == item % KINDS;
        let mut label = |likely: usize| u8::from(draw(100) < if alike { likely } else { 10 });
        let (click, finish) = (label(90), label(70));
        let watched: Vec<String> = watched.iter().map(|item| format!("v{item}")).collect();
        let split = splits[row % splits.len()];
        log.push_str(&format!("v{item},{},{},{time},{click},{finish},{split}\n", watched.join("|"), times.join("|")));
    }
    std::fs::write(folder.join("log.csv"), log).unwrap();
    let recipe = r#"
        name = "watched"
        source = [{ name = "log", file = "log.csv" }]
        field = [
            { column = "item", kind = "category", vocabulary = "video" },
            { column = "watched", kind = "sequence", separator = "|", max_len = 8, keep = "last", vocabulary = "video" },
            { column = "times", name = "ago", kind = "sequence", separator = "|", max_len = 8, keep = "last",
              ago = { of = "watched", from = "time", unit = 60, buckets = 14 } },
        ]
        label = [{ column = "click" }, { column = "finish" }]
        split = { kind = "column", column = "split" }
    "#;
    let recipe = Recipe::parse(recipe, "recipe.toml").unwrap();
    prepare(&recipe, folder, &folder.join("columns"), &PrepareOptions::default()).unwrap()
}

fn interest(gaps: bool) -> Option<InterestConfig> {
    let gaps = gaps.then(|| ("watched".to_string(), "ago".to_string()));
    let positions = Positions::FromLast;
    Some(InterestConfig { positions, gaps: gaps.into_iter().collect(), ..InterestConfig::of([("watched", "item")]) })
}

#[test]
fn where_it_matters_when_things_were_watched_attention_learns_it_from_the_times() {
    let folder = tempfile::tempdir().unwrap();
    let data = log(folder.path(), 12_000, &["train", "train", "train", "train", "valid", "test"]);
    let epochs = if is_slow() { 1 } else { 12 };
    let train = TrainConfig { epochs, batch_size: 256, learning_rate: 0.01, patience: 4, ..TrainConfig::default() };
    let of = |name: &str, gaps: bool| {
        let out = folder.path().join(name);
        let model = stem(|config| config.front.interest = interest(gaps));
        let mut learner = Learner::new(model, &data, train.clone(), &spec().open().unwrap(), &out).unwrap();
        learner.fit().unwrap();
        let auc = learner.evaluate(Split::Test).unwrap()[0].auc.unwrap();
        (auc, Predictor::open(out.join("bundle.safetensors"), &spec().open().unwrap()).unwrap())
    };
    let (without, _) = of("positions", false);
    let (with, predictor) = of("gaps", true);
    if is_slow() {
        return; // an epoch trains and scores there; what is learned is the same equation's
    }
    assert!(with > without + 0.05 && with > 0.75, "with positions alone {without}, with times {with}");
    let row = |times: &str| {
        Row::new().with("item", "v0").with("watched", "v1|v4|v2").with("times", times).with("time", 5_000_000)
    };
    let scores = predictor.predict(&[row("4999000|4500000|4500000"), row("4500000|4999000|4500000")]).unwrap();
    let [other, alike] = [0, 1].map(|place| scores.get(place, "click").unwrap());
    assert!(alike > other + 0.3, "what was watched within the hour decides: {scores:?}");
}

#[test]
fn times_are_over_ranks_what_they_are_on_one_and_a_training_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = log(folder.path(), 1_600, &["train", "train", "test"]);
    for name in ModelName::ALL.iter().take(if is_slow() { 1 } else { 10 }) {
        let interest = InterestConfig { activation: Activation::Tanh, ..interest(true).unwrap() };
        let mut model = serde_json::to_value(smooth(*name)).unwrap();
        model["interest"] = serde_json::to_value(interest).unwrap();
        let model: ModelConfig = serde_json::from_value(model).unwrap();
        hold(name.as_str(), &model, &data, &TrainConfig { epochs: 1, ..config() });
    }
    let model = stem(|config| config.front.interest = interest(true));
    let train = stopped::config(|config| config.batch_size = 100);
    let whole = finish(&model, &train, &data, &folder.path().join("whole"));
    let out = folder.path().join("stopped");
    assert!(train_until(&model, &train, &data, &out, 5), "it was stopped before its end");
    let found = finish(&model, &train, &data, &out);
    let on_gpu = matches!(spec(), stem_core::DeviceSpec::Wgpu(_)); // adds up in whatever order its threads come
    assert!(on_gpu || found == whole);
}
