//! Attended histories, trained: what a bag cannot tell they learn, the bundle scores as the training did, and a training goes on.

use crate::common::stopped::*;
use crate::common::*;

use std::path::Path;

use stem_core::nn::{DomainConfig, FmConfig, InterestConfig, Positions};
use stem_core::{ModelConfig, Predictor, Row};
use stem_data::{Dataset, PrepareOptions, Recipe, Split, prepare};
use stem_train::{Learner, TrainConfig};

const ITEMS: usize = 24;
const KINDS: usize = 4;

/// A click is likely where the item is of the kind of the last one watched; a finish where it is of the kind of the one before. What else
/// was watched, up to eight items, says nothing. Who knows only what was watched, not when, can tell little.
fn log(folder: &Path, rows: usize) -> Dataset {
    let mut draw = draws();
    let mut log = "item,watched,page,click,finish,split\n".to_string();
    for row in 0..rows {
        let item = draw(ITEMS);
        let watched: Vec<usize> = (0..2 + draw(7)).map(|_| draw(ITEMS)).collect();
        let mut label = |place: usize| {
            let alike = watched[watched.len() - place] % KINDS == item % KINDS;
            u8::from(draw(100) < if alike { 90 } else { 10 })
        };
        let (click, finish) = (label(1), label(2));
        let watched: Vec<String> = watched.iter().map(|item| format!("v{item}")).collect();
        let split = ["train", "train", "train", "train", "valid", "test"][row % 6];
        log.push_str(&format!("v{item},{},p{},{click},{finish},{split}\n", watched.join("|"), draw(3)));
    }
    std::fs::write(folder.join("log.csv"), log).unwrap();
    let recipe = r#"
        name = "watched"
        source = [{ name = "log", file = "log.csv" }]
        field = [
            { column = "item", kind = "category", vocabulary = "video" },
            { column = "watched", kind = "sequence", separator = "|", max_len = 8, keep = "last", vocabulary = "video" },
            { column = "page", kind = "category" },
        ]
        label = [{ column = "click" }, { column = "finish" }]
        split = { kind = "column", column = "split" }
    "#;
    let recipe = Recipe::parse(recipe, "recipe.toml").unwrap();
    prepare(&recipe, folder, &folder.join("columns"), &PrepareOptions::default()).unwrap()
}

fn interest() -> Option<InterestConfig> {
    Some(InterestConfig { positions: Positions::FromLast, ..InterestConfig::of([("watched", "item")]) })
}

#[test]
fn where_the_order_of_a_history_matters_attention_learns_what_a_bag_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let data = log(folder.path(), 12_000);
    let epochs = if is_slow() { 1 } else { 12 };
    let train = TrainConfig { epochs, batch_size: 256, learning_rate: 0.01, patience: 4, ..TrainConfig::default() };
    let of = |name: &str, model: ModelConfig| {
        let out = folder.path().join(name);
        let mut learner = Learner::new(model, &data, train.clone(), &spec().open().unwrap(), &out).unwrap();
        learner.fit().unwrap();
        let metrics = learner.evaluate(Split::Test).unwrap();
        let predictor = Predictor::open(out.join("bundle.safetensors"), &spec().open().unwrap()).unwrap();
        let scores = learner.score(Split::Test).unwrap();
        let batch = data.batches(Split::Test, stem_data::BatchPlan { size: 4096, shuffle: None }).next().unwrap();
        let again = predictor.score(&batch).unwrap().into_values();
        assert!(scores.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
        ([metrics[0].auc.unwrap(), metrics[1].auc.unwrap()], predictor)
    };
    let (bag, _) = of("bag", stem(|_| ()));
    let (attended, predictor) = of("attended", stem(|config| config.front.interest = interest()));
    if is_slow() {
        return; // an epoch trains and scores there; what is learned is the same equation's
    }
    // Who knows the rule has an AUC of about 0.84.
    let gains = [attended[0] - bag[0], attended[1] - bag[1]];
    assert!(gains[0] > 0.05 && gains[1] > 0.05 && attended[0] > 0.75, "bag {bag:?}, attended {attended:?}");

    // The rule, seen in a raw row: the last item watched decides on clicks, and each task reads its own.
    let row = |watched: &str| Row::new().with("item", "v0").with("watched", watched).with("page", "p0");
    let scores = predictor.predict(&[row("v1|v2|v3|v4"), row("v1|v2|v4|v3"), row("")]).unwrap();
    let of = |place: usize| scores.get(place, "click").unwrap();
    assert!(of(0) > of(1) + 0.3, "{scores:?}");
    assert!(scores.get(1, "finish").unwrap() > scores.get(0, "finish").unwrap() + 0.1, "{scores:?}");
    assert!(of(2).is_finite(), "a history may be empty");
}

#[test]
fn a_page_that_training_did_not_see_has_the_mean_of_the_pages_that_it_saw() {
    let folder = tempfile::tempdir().unwrap();
    let data = log(folder.path(), 2_400);
    let model = stem(|config| config.front.domain = Some(DomainConfig { towers: true, ..DomainConfig::of("page") }));
    for (unseen, is_mean) in [(0.0, true), (5.0, false)] {
        let out = folder.path().join(format!("unseen-{unseen}"));
        let train = config(|config| config.unseen = unseen);
        Learner::new(model.clone(), &data, train, &spec().open().unwrap(), &out).unwrap().fit().unwrap();
        let predictor = Predictor::open(out.join("bundle.safetensors"), &spec().open().unwrap()).unwrap();
        let rows = predictor.schema().rows() as u32;
        let [first, second, third, mean] = [4, 3, 2, 1].map(|back| predictor.table().gather(&[rows - back]));
        let means = first.iter().zip(&second).zip(&third).map(|((a, b), c)| (a + b + c) / 3.0);
        assert_eq!(means.zip(&mean).all(|(expected, found)| (expected - found).abs() < 1e-6), is_mean, "{mean:?}");
    }
}

#[test]
fn a_training_with_all_that_stands_before_a_model_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = log(folder.path(), 2_400);
    let model = stem(|config| {
        config.front.interest = interest();
        config.front.domain =
            Some(DomainConfig { hidden: 4, towers: true, personal: vec!["item".into()], ..DomainConfig::of("page") });
        config.front.fm = FmConfig(true);
    });
    let train = config(|_| ());
    let whole = finish(&model, &train, &data, &folder.path().join("whole"));
    let out = folder.path().join("stopped");
    assert!(train_until(&model, &train, &data, &out, 5), "it was stopped before its end");
    let found = finish(&model, &train, &data, &out);
    let on_gpu = matches!(spec(), stem_core::DeviceSpec::Wgpu(_)); // adds up in whatever order its threads come
    assert!(on_gpu || found == whole);
}
