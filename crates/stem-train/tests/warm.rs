//! A model that is trained on with rows of a later day: what it knows is found again by key, and what it does not know begins somewhere.

use std::path::Path;
use std::sync::Arc;

use crate::common::by_hand::*;
use crate::common::*;
use stem_core::{Bundle, ModelConfig, ModelName, Predictor, Row, Vocabulary, params};
use stem_data::{Dataset, Known, PrepareOptions, Recipe, Split, prepare, prepare_grown};
use stem_train::{Best, Error, NewRows, PriorConfig, StopFlag, TrainConfig};

/// Rows of users and items; `c` is a number.
fn log(rows: impl Iterator<Item = (u64, u64)>) -> String {
    let line = |(row, (user, item)): (usize, (u64, u64))| {
        let label = (user * 7 + item * 3 + row as u64 * 5) % 11;
        format!("{user},{item},{}.5,{},{}\n", row % 9, u8::from(label > 4), u8::from(label > 7))
    };
    "user,item,c,a,b\n".chars().map(String::from).chain(rows.enumerate().map(line)).collect()
}

fn recipe(more: &str) -> Recipe {
    let text = format!(
        r#"
        name = "days"
        group = "user"
        source = [{{ name = "log", file = "log.csv" }}]
        field = [
            {{ column = "user", kind = "category" }},
            {{ column = "item", kind = "category" }},
            {{ column = "c", kind = "number" }},
        ]
        label = [{{ column = "a" }}, {{ column = "b" }}]
        split = {{ kind = "random", valid = 0.2, test = 0.1, seed = 3 }}
        {more}
        "#
    );
    Recipe::parse(&text, "recipe.toml").unwrap()
}

/// Monday's users are 1 to 20; Tuesday's 11 to 30, of whom nobody knows those above 20.
fn monday(folder: &Path) -> Dataset {
    day(folder, "monday", (0..1200).map(|row| (1 + row % 20, 1 + row * 13 % 15)), None, "")
}

fn tuesday(folder: &Path, model: &Bundle<ModelConfig>, more: &str) -> Dataset {
    day(folder, "tuesday", (0..1200).map(|row| (11 + row % 20, 6 + row * 13 % 15)), Some(model), more)
}

fn day(
    folder: &Path,
    name: &str,
    rows: impl Iterator<Item = (u64, u64)>,
    model: Option<&Bundle<ModelConfig>>,
    more: &str,
) -> Dataset {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("log.csv"), log(rows)).unwrap();
    let (columns, options) = (folder.join("columns"), PrepareOptions::default());
    match model {
        None => prepare(&recipe(more), &folder, &columns, &options).unwrap(),
        Some(model) => prepare_grown(&recipe(more), Known::from(model), &folder, &columns, &options).unwrap(),
    }
}

fn bundle(folder: &Path) -> Arc<Bundle<ModelConfig>> {
    Arc::new(Bundle::open(folder.join("bundle.safetensors")).unwrap())
}

/// A training of Monday.
fn trained(folder: &Path, model: &ModelConfig, config: &TrainConfig) -> Arc<Bundle<ModelConfig>> {
    fit(model, &monday(folder), config, &folder.join("out"));
    bundle(&folder.join("out"))
}

/// What a training of `dataset` from `start` leaves without a step: what it starts from.
fn started(
    folder: &Path,
    start: &Arc<Bundle<ModelConfig>>,
    dataset: &Dataset,
    config: &TrainConfig,
) -> Arc<Bundle<ModelConfig>> {
    let stop = StopFlag::default();
    stop.stop();
    let out = folder.join("started");
    let learner = learner(&start.config, dataset, config, out.clone())
        .with_start(start.clone(), start.manifest.states.len().saturating_sub(1))
        .unwrap();
    learner.with_stop(stop).fit().unwrap();
    bundle(&out)
}

/// The row of a key, or of the unseen.
fn row_of(bundle: &Bundle<ModelConfig>, vocabulary: usize, key: Option<i64>) -> Vec<f32> {
    let (table, _) = bundle.load(&spec().open().unwrap()).unwrap();
    let known = &bundle.vocabularies[vocabulary];
    let id = key.map_or(known.unseen(), |key| known.id_of_integer(key));
    assert!(key.is_none() || id != known.unseen(), "{key:?} is not known");
    let [_, width] = table.rows().dims();
    let row = (bundle.manifest.schema.offsets()[vocabulary] + id) as usize;
    table.rows().read(|values| values[row * width..][..width].to_vec())
}

#[test]
fn rows_and_network_are_found_again_whatever_their_place_and_scores_stay() {
    let folder = tempfile::tempdir().unwrap();
    for name in [ModelName::Stem, ModelName::SharedBottom] {
        let before = trained(folder.path(), &small(name), &plain());
        let dataset = tuesday(folder.path(), &before, "");
        let Vocabulary::Integers(users) = &dataset.vocabularies()[0] else { panic!("integers") };
        assert_eq!(users.values()[..], (1..=30).collect::<Vec<i64>>()[..], "nobody is forgotten, and ten are new");
        let after = started(folder.path(), &before, &dataset, &plain());
        for key in [1, 11, 20] {
            assert_eq!(row_of(&before, 0, Some(key)), row_of(&after, 0, Some(key)), "user {key}");
        }
        assert_eq!(row_of(&before, 0, None), row_of(&after, 0, None), "the unseen");
        let device = spec().open().unwrap();
        let [old, new] = [&before, &after].map(|bundle| Predictor::open(bundle.path(), &device).unwrap());
        let rows: Vec<Row> =
            (1..=15).map(|k| Row::new().with("user", k).with("item", 16 - k).with("c", k as f64 / 3.0)).collect();
        assert_eq!(old.predict(&rows).unwrap(), new.predict(&rows).unwrap(), "{}", name.as_str());
        assert_eq!(old.schema().fields[2], new.schema().fields[2], "mean and deviation of a number stay");
    }
}

/// Tuesday's rows by a recipe with other fields.
fn with_fields(folder: &Path, name: &str, model: &Bundle<ModelConfig>, fields: &str) -> Dataset {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("log.csv"), log((0..1200).map(|row| (11 + row % 20, 6 + row * 13 % 15)))).unwrap();
    let text = format!(
        "name = \"days\"\ngroup = \"user\"\nsource = [{{ name = \"log\", file = \"log.csv\" }}]\nfield = [{fields}]\n\
         label = [{{ column = \"a\" }}, {{ column = \"b\" }}]\nsplit = {{ kind = \"random\", valid = 0.2, test = 0.1, seed = 3 }}\n"
    );
    let recipe = Recipe::parse(&text, "recipe.toml").unwrap();
    let columns = folder.join("columns");
    prepare_grown(&recipe, Known::from(model), &folder, &columns, &PrepareOptions::default()).unwrap()
}

#[test]
fn a_recipe_in_another_order_changes_nothing_and_what_reads_other_fields_starts_anew() {
    let folder = tempfile::tempdir().unwrap();
    let before = trained(folder.path(), &small(ModelName::Stem), &plain());
    let device = spec().open().unwrap();
    let [user, item, c] = [
        r#"{ column = "user", kind = "category" }"#,
        r#"{ column = "item", kind = "category" }"#,
        r#"{ column = "c", kind = "number" }"#,
    ];
    let turned = with_fields(folder.path(), "turned", &before, &format!("{c}, {item}, {user}"));
    let after = started(folder.path(), &before, &turned, &plain());
    let [old, new] = [&before, &after].map(|bundle| Predictor::open(bundle.path(), &device).unwrap());
    let rows: Vec<Row> = (1..=9).map(|k| Row::new().with("user", k).with("item", 10 - k).with("c", 0.5)).collect();
    assert_eq!(old.predict(&rows).unwrap(), new.predict(&rows).unwrap());

    // `c` goes and `d` comes: as many fields, and yet others.
    let d = r#"{ name = "d", column = "c", kind = "number" }"#;
    let other = with_fields(folder.path(), "other", &before, &format!("{user}, {item}, {d}"));
    let after = started(folder.path(), &before, &other, &plain());
    let of = |bundle: &Bundle<ModelConfig>| params::collect(&bundle.load(&device).unwrap().1);
    let (old, new) = (of(&before), of(&after));
    let same: Vec<&String> = old.keys().filter(|name| old[*name] == new[*name]).collect();
    let is_tower = |name: &&String| name.contains("tower");
    assert!(old.keys().filter(is_tower).all(|name| same.contains(&name)), "towers read no field: {same:?}");
    let fresh = old.keys().filter(|name| !same.contains(name)).count();
    assert!(fresh >= 3, "first layers of experts and gates read fields: only {same:?} are as they were");
    assert_eq!(row_of(&before, 0, Some(12)), row_of(&after, 0, Some(12)), "rows of users are those of before");
    // A vocabulary that is hashed now has no row of before.
    let hashed = with_fields(
        folder.path(),
        "hashed",
        &before,
        &format!(
            r#"{{ name = "u", column = "user", kind = "category", vocabulary = "user", hash = 500 }}, {item}, {c}"#
        ),
    );
    started(folder.path(), &before, &hashed, &plain());
}

#[test]
fn a_table_that_restarts_is_refused_where_a_model_is_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let model = small(ModelName::SharedBottom);
    let before = trained(folder.path(), &model, &plain());
    let dataset = monday(folder.path());
    let restarts = TrainConfig { table_restart: true, ..plain() };
    let refused = learner(&model, &dataset, &restarts, folder.path().join("out-2")).with_start(before, 0);
    let message = refused.err().unwrap().to_string();
    assert!(message.contains("`table_restart` is true, expected false where a model is trained on"), "{message}");
}

#[test]
fn new_rows_start_around_the_mean_at_the_unseen_or_around_zero() {
    let folder = tempfile::tempdir().unwrap();
    let before = trained(folder.path(), &small(ModelName::SharedBottom), &plain());
    let dataset = tuesday(folder.path(), &before, "");
    let start = |new_rows| {
        let config = TrainConfig { new_rows, embedding_std: 1e-3, ..plain() };
        row_of(&started(folder.path(), &before, &dataset, &config), 0, Some(25))
    };
    let near = |found: &[f32], expected: &[f32]| largest_difference(found, expected) < 6e-3;
    let users: Vec<Vec<f32>> = (1..=20).map(|user| row_of(&before, 0, Some(user))).collect();
    let mean: Vec<f32> = (0..users[0].len()).map(|d| users.iter().map(|row| row[d]).sum::<f32>() / 20.0).collect();
    let zero = vec![0.0; mean.len()];
    assert!(largest_difference(&mean, &zero) > 0.02, "a mean that can be told from zero: {mean:?}");
    let (drawn, around_mean) = (start(NewRows::Drawn), start(NewRows::Mean));
    assert!(near(&drawn, &zero) && drawn != zero);
    assert!(near(&around_mean, &mean) && around_mean != mean);
    assert_eq!(start(NewRows::Unseen), row_of(&before, 0, None));
}

#[test]
fn keys_that_have_not_occurred_for_so_many_trainings_are_forgotten_and_the_rare_are_not_taken_in() {
    let folder = tempfile::tempdir().unwrap();
    let model = small(ModelName::SharedBottom);
    let mut before = trained(folder.path(), &model, &plain());
    let keys = |dataset: &Dataset| {
        let Vocabulary::Integers(users) = &dataset.vocabularies()[0] else { panic!("integers") };
        users.clone()
    };
    let grow = "[grow]\nevict_after = 2";
    for (training, first) in [(1, 1), (2, 11)] {
        let dataset = tuesday(folder.path(), &before, grow);
        assert_eq!(keys(&dataset).values().into_owned(), (first..=30).collect::<Vec<i64>>(), "training {training}");
        let out = folder.path().join(format!("out-{training}"));
        let learner = learner(&model, &dataset, &plain(), out.clone()).with_start(before.clone(), 0);
        learner.unwrap().fit().unwrap();
        before = bundle(&out);
    }
    assert_eq!(before.idle[0], vec![0; 20]);
    let dataset = tuesday(folder.path(), &before, "[grow]\nmax_rows = 12");
    assert_eq!(keys(&dataset).len(), 10, "padding and the unseen have rows too");
    let first = trained(folder.path(), &model, &plain());
    let dataset = tuesday(folder.path(), &first, "[grow]\nadmit_after = 1000");
    assert_eq!(keys(&dataset).values().into_owned(), (1..=20).collect::<Vec<i64>>());
}

#[test]
fn a_training_that_makes_nothing_better_leaves_the_model_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let model = small(ModelName::SharedBottom);
    let before = trained(folder.path(), &model, &plain());
    let dataset = monday(folder.path());
    let ruin = TrainConfig { learning_rate: 300.0, epochs: 1, ..plain() };
    let out = folder.path().join("ruined");
    let summary = learner(&model, &dataset, &ruin, out.clone()).with_start(before.clone(), 0).unwrap().fit().unwrap();
    assert_eq!((summary.epochs, summary.best_epoch, summary.evaluations), (1, 0, 2));
    assert_eq!(weights_in(before.path()), weights_in(&out.join("bundle.safetensors")));
    let log = log_of(&out);
    assert_eq!((log.len(), log[0]["steps"].as_u64(), &log[0]["loss"]), (2, Some(0), &serde_json::json!({})));
}

#[test]
fn of_tasks_that_were_trained_apart_each_takes_its_part() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig { best: Best::PerTask, epochs: 3, ..plain() };
    let both = trained(folder.path(), &small(ModelName::SingleTask), &config); // as if they were trained together
    let dataset = monday(folder.path());
    for task in 0..2 {
        let alone = dataset.only_task(task);
        let part = started(folder.path(), &both, &alone, &config);
        let device = spec().open().unwrap();
        let [(own, _), (all, _)] = [
            part.load(&device).unwrap(),
            both.load_state(&device, both.manifest.states.len().saturating_sub(1)).unwrap(),
        ];
        let [width, widths] = [&own, &all].map(|table| table.rows().dims()[1]);
        let (own, all) = (own.rows().read(<[f32]>::to_vec), all.rows().read(<[f32]>::to_vec));
        let expected = all.chunks_exact(widths).flat_map(|row| row[task * width..][..width].to_vec());
        assert!(expected.eq(own), "task {task}");
        let scores = Predictor::open(part.path(), &device).unwrap();
        assert_eq!(scores.schema().tasks.len(), 1);
    }
}

#[test]
fn a_prior_is_counted_once_over_all_days_and_goes_on_from_what_was_learned() {
    let folder = tempfile::tempdir().unwrap();
    let model = small(ModelName::Stem);
    let prior = PriorConfig::Learned { tied: true, deviation: Some(0.7), correlation: 0.3 };
    let config = TrainConfig { embedding_l2: None, prior: Some(prior), ..plain() };
    let before = trained(folder.path(), &model, &config);
    let training = |bundle: &Bundle<ModelConfig>| bundle.manifest.training.clone();
    let rows = training(&before)["rows"].as_u64().unwrap();
    assert_eq!(rows as usize, monday(folder.path()).rows(Split::Train));
    let other = PriorConfig::Learned { tied: true, deviation: Some(0.1), correlation: 0.9 };
    let dataset = monday(folder.path());
    let after = started(folder.path(), &before, &dataset, &TrainConfig { prior: Some(other), ..config.clone() });
    assert_eq!(training(&after)["rows"].as_u64().unwrap(), rows, "no step was made, and no row seen");
    let out = folder.path().join("gone-on");
    let gentle = TrainConfig { learning_rate: 0.01, ..config.clone() };
    let summary = learner(&model, &dataset, &gentle, out.clone()).with_start(before.clone(), 0).unwrap().fit().unwrap();
    let moved = u64::from(summary.kept["a"].steps > 0);
    assert_eq!(training(&bundle(&out))["rows"].as_u64().unwrap(), rows + moved * rows);
    let deviation = |bundle| training(bundle)["prior"][0]["groups"][0]["deviation"].as_f64().unwrap();
    assert!((deviation(&before) - 0.7).abs() < 1e-6 && (deviation(&after) - 0.7).abs() < 1e-6);
    let correlation = |bundle| training(bundle)["prior"][0]["correlation"][0][1].as_f64().unwrap();
    assert!((correlation(&after) - 0.3).abs() < 1e-6, "{}", correlation(&after));
}

#[test]
fn a_model_of_another_kind_other_sizes_or_other_tasks_is_refused_by_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let before = trained(folder.path(), &small(ModelName::SharedBottom), &plain());
    let dataset = monday(folder.path());
    let refused = |model: &ModelConfig, dataset: &Dataset| {
        let learner = learner(model, dataset, &plain(), folder.path().join("refused"));
        match learner.with_start(before.clone(), 0) {
            Err(error @ Error::Start { .. }) => error.to_string(),
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    let message = refused(&small(ModelName::Mmoe), &dataset);
    assert!(message.ends_with("cannot be trained on: it is a model shared-bottom, not mmoe"), "{message}");
    let ModelConfig::SharedBottom(mut wider) = small(ModelName::SharedBottom) else { unreachable!() };
    wider.0.dim = 6;
    let message = refused(&ModelConfig::SharedBottom(wider), &dataset);
    assert!(message.ends_with("its sizes are others: dim is 4 there and 6 now"), "{message}");
    let message = refused(&small(ModelName::SharedBottom), &dataset.only_task(1));
    assert!(message.ends_with("its tasks are a, b, those of the data b"), "{message}");
}
