//! A data set that an earlier version wrote opens for ever: its folder is committed.

use std::path::{Path, PathBuf};

use stem_core::Vocabulary;
use stem_data::{BatchPlan, Dataset, PrepareOptions, Recipe, Split, prepare};

const RECIPE: &str = r#"
name = "sample"
group = "user"
source = [{ name = "log", file = "log.csv" }]
field = [
    { column = "user", kind = "category" },
    { column = "word", kind = "category" },
    { column = "tags", kind = "sequence", separator = "|", max_len = 2 },
    { column = "price", kind = "number", standardize = true },
]
label = [{ column = "view" }, { column = "click", within = "view" }]
split = { kind = "column", column = "split" }
"#;

const LOG: &str = "user,word,tags,price,view,click,split
1,x,a|b,1,1,0,train
2,y,b,3,0,1,train
2,z,,,1,1,valid
3,x,c|a|b,5,,,test
";

fn sample(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/samples/columns-v{version}"))
}

#[test]
fn columns_of_every_version_open_and_give_their_batches() {
    for version in [2, 3, 4] {
        holds_the_sample(&Dataset::open(sample(version)).unwrap());
    }
}

/// The sample was written so; a new version's stands beside it.
#[test]
fn the_same_log_gives_the_same_columns_today() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("log.csv"), LOG).unwrap();
    let recipe = Recipe::parse(RECIPE, "recipe.toml").unwrap();
    let columns = folder.path().join("columns");
    holds_the_sample(&prepare(&recipe, folder.path(), &columns, &PrepareOptions::default()).unwrap());
}

fn holds_the_sample(dataset: &Dataset) {
    assert_eq!(dataset.name(), "sample");
    assert_eq!(Split::ALL.map(|split| dataset.rows(split)), [2, 1, 1]);
    assert_eq!(dataset.vocabularies()[0], Vocabulary::integers([1, 2]));
    assert_eq!(dataset.vocabularies()[1], Vocabulary::texts(["x", "y"]));
    assert_eq!(dataset.groups(Split::Test), Some(&[2][..]));
    assert_eq!(dataset.schema().tasks[1].within.as_deref(), Some("view"));
    let batch = dataset.batches(Split::Train, BatchPlan { size: 8, shuffle: None }).next().unwrap();
    batch.check(dataset.schema()).unwrap();
    // user 0..4, word 4..8, tags 8..12, price 12; a padding slot weighs nothing.
    assert_eq!(batch.ids, [1, 5, 9, 10, 12, 2, 6, 10, 8, 12]);
    assert_eq!(batch.weights, [1.0, 1.0, 0.5, 0.5, -1.0, 1.0, 1.0, 1.0, 0.0, 1.0]);
    assert_eq!(batch.labels[..3], [1.0, 0.0, 0.0]);
    assert!(batch.labels[3].is_nan(), "a click is judged among views");
}
