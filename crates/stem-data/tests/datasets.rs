//! The data sets of `datasets/`: what their cards promise is what comes out.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::common::shared::shared;
use stem_core::Vocabulary;
use stem_data::{BatchPlan, Dataset, PrepareOptions, Recipe, Split, prepare};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets").join(name)
}

/// Made-up rows in the format of a data set that is too large, or not ours, to be here.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

/// Prepares a data set and holds it against its `expected.toml`.
fn prepared(name: &str, data: &Path, out: &Path) -> Dataset {
    let recipe = Recipe::load(folder(name).join("recipe.toml")).unwrap();
    let dataset = prepare(&recipe, data, out, &PrepareOptions::default()).unwrap();
    let expected: toml::Table = std::fs::read_to_string(folder(name).join("expected.toml")).unwrap().parse().unwrap();
    for split in Split::ALL {
        assert_eq!(dataset.rows(split) as i64, expected["rows"][split.name()].as_integer().unwrap(), "rows of {split}");
    }
    for task in 0..dataset.schema().tasks.len() {
        let found = dataset.statistics(Split::Train).positives[task] as i64;
        let name = &dataset.schema().tasks[task].name;
        assert_eq!(found, expected["positives"][name].as_integer().unwrap(), "training positives of {name}");
    }
    let sizes = expected["vocabulary"].as_table().unwrap();
    assert_eq!(sizes.len(), dataset.schema().vocabularies.len());
    for spec in &dataset.schema().vocabularies {
        assert_eq!(spec.rows as i64, sizes[&spec.name].as_integer().unwrap(), "rows of vocabulary {}", spec.name);
    }
    dataset
}

#[test]
fn the_simulated_log_has_the_counts_of_its_card() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = prepared("simulated", dir.path(), &dir.path().join("columns"));
    assert!(dir.path().join("simulated.csv").exists());
    assert_eq!(dataset.warnings(), &[] as &[String]);
}

#[test]
fn movielens_has_the_counts_of_its_card() {
    let Some(data) = shared("data/movielens-100k") else { return };
    let dir = tempfile::tempdir().unwrap();
    let dataset = prepared("movielens-100k", &data, dir.path());
    assert_eq!(dataset.warnings(), &[] as &[String]);
    // The first training row of ratings.csv is user 196, film 242: joins keep the order of the rows.
    let Vocabulary::Integers(users) = &dataset.vocabularies()[0] else { panic!("user ids are integers") };
    let mut lines = std::fs::read_to_string(data.join("ratings.csv")).unwrap();
    lines.drain(..lines.find('\n').unwrap() + 1);
    let wanted = lines.lines().filter(|l| l.ends_with("train")).map(|l| l.split(',').next().unwrap().parse().unwrap());
    let batch = dataset.batches(Split::Train, BatchPlan { size: usize::MAX, shuffle: None }).next().unwrap();
    let found = batch.ids.chunks_exact(dataset.schema().slots()).map(|row| users.get(row[0] as usize - 1).unwrap());
    assert!(found.eq(wanted.map(|user: i64| user)));
}

#[test]
fn the_tiktok_sample_has_the_counts_of_its_card() {
    let Some(data) = shared("data/tiktok-sample") else { return };
    let dir = tempfile::tempdir().unwrap();
    let dataset = prepared("tiktok", &data, dir.path());
    let music = dataset.schema().fields.iter().position(|f| f.name == "music_id").unwrap();
    let Vocabulary::Integers(keys) = &dataset.vocabularies()[music] else { panic!("music ids are integers") };
    assert_eq!(keys.get(0), Some(-1), "-1 is a value of its own");
}

#[test]
fn kuairand_pure_has_the_counts_of_its_card() {
    let Some(data) = shared("data/kuairand-pure") else { return };
    let dir = tempfile::tempdir().unwrap();
    let dataset = prepared("kuairand-pure", &data, dir.path());
    assert_eq!(dataset.warnings(), &[] as &[String]);
    let videos = dataset.schema().vocabularies.iter().position(|vocabulary| vocabulary.name == "video").unwrap();
    let sharing = dataset.schema().fields.iter().filter(|field| field.vocabulary == videos).count();
    assert_eq!(sharing, 4, "the video and three histories");
}

#[test]
fn qk_video_splits_each_users_rows_in_the_order_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = prepared("qk-video", &sample("qk-video"), dir.path());
    assert_eq!(dataset.warnings(), &[] as &[String]);
}

#[test]
fn kuairand_1k_reads_both_standard_logs_and_not_the_random_one() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = prepared("kuairand-1k", &sample("kuairand-1k"), dir.path());
    assert_eq!(dataset.warnings(), &[] as &[String]);
}

#[test]
fn aliexpress_judges_conversions_among_clicks_and_keeps_pages_whole() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = prepared("aliexpress", &sample("aliexpress"), dir.path());
    assert_eq!(dataset.warnings(), &[] as &[String]);
    judges_the_second_among_the_first(&dataset);
    let pages = |split| dataset.groups(split).unwrap().iter().collect::<HashSet<_>>();
    assert!(pages(Split::Train).is_disjoint(&pages(Split::Valid)), "no page trains and validates");
}

#[test]
fn ali_ccp_judges_purchases_among_clicks() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = prepared("ali-ccp", &sample("ali-ccp"), dir.path());
    assert_eq!(dataset.warnings(), &[] as &[String]);
    judges_the_second_among_the_first(&dataset);
}

fn judges_the_second_among_the_first(dataset: &Dataset) {
    for split in Split::ALL {
        let statistics = dataset.statistics(split);
        assert_eq!(statistics.missing, [0, statistics.rows - statistics.positives[0]], "{split}");
    }
}

#[test]
fn every_data_set_has_a_card_and_a_recipe_and_is_in_the_index() {
    let index = std::fs::read_to_string(folder("README.md")).unwrap();
    let folders =
        std::fs::read_dir(folder("")).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let names: Vec<String> = folders.map(|path| path.file_name().unwrap().to_str().unwrap().to_string()).collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        assert_eq!(Recipe::load(folder(&name).join("recipe.toml")).unwrap().name, name);
        assert!(folder(&name).join("README.md").exists(), "{name} has a card");
        assert!(index.contains(&format!("[{name}]({name}/)")), "{name} is in the index");
    }
}
