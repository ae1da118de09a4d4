//! Rows of a later day for a model that is trained on with them: what it decided stays decided, what is new is added.

use std::path::Path;

use stem_core::{Field, FieldKind, Schema, Task, Texts, Transform, Vocabulary, VocabularySpec};
use stem_data::{Dataset, Error, Known, PrepareOptions, Recipe, Split, prepare, prepare_grown};

const RECIPE: &str = r#"
name = "days"
source = [{ name = "log", file = "log.csv" }]
field = [
    { column = "user", kind = "category", min_count = 2 },
    { column = "price", kind = "number", standardize = true },
    { column = "age", kind = "category", bucketize = { quantiles = 4 } },
]
label = [{ column = "a" }, { column = "b" }]
split = { kind = "column", column = "split" }
"#;

fn log(rows: &[(&str, f64, f64, &str)]) -> String {
    let lines = rows.iter().enumerate().map(|(row, (user, price, age, split))| {
        format!("{user},{price},{age},{},{},{split}\n", row % 2, usize::from(row % 3 == 0))
    });
    ["user,price,age,a,b,split\n".to_string()].into_iter().chain(lines).collect()
}

fn first_day() -> Vec<(&'static str, f64, f64, &'static str)> {
    let users = ["7", "3", "7", "3", "9", "9", "5", "7"];
    let rows = users.iter().enumerate().map(|(row, user)| (*user, row as f64, 20.0 + row as f64, "train"));
    rows.chain([("7", 1.0, 30.0, "valid"), ("3", 2.0, 31.0, "test")]).collect()
}

/// What a bundle knows of the first day.
struct Model {
    dataset: Dataset,
    idle: Vec<Vec<u32>>,
}

impl Model {
    fn new(folder: &Path, recipe: &str) -> Self {
        std::fs::write(folder.join("log.csv"), log(&first_day())).unwrap();
        let recipe = Recipe::parse(recipe, "recipe.toml").unwrap();
        let dataset = prepare(&recipe, folder, &folder.join("first"), &PrepareOptions::default()).unwrap();
        Self { dataset, idle: vec![] }
    }

    fn known(&self) -> Known<'_> {
        Known {
            schema: self.dataset.schema(),
            vocabularies: self.dataset.vocabularies(),
            idle: &self.idle,
            mark: "the first day",
        }
    }

    fn grown(&self, recipe: &str, log: &str, folder: &Path) -> Result<Dataset, Error> {
        std::fs::write(folder.join("log.csv"), log).unwrap();
        let recipe = Recipe::parse(recipe, "recipe.toml").unwrap();
        prepare_grown(&recipe, self.known(), folder, &folder.join("second"), &PrepareOptions::default())
    }
}

fn integers(dataset: &Dataset, v: usize) -> Vec<i64> {
    match &dataset.vocabularies()[v] {
        Vocabulary::Integers(keys) => keys.values().into_owned(),
        other => panic!("{other:?}"),
    }
}

/// Second day: user 5 comes often enough now, 3 does not come, 8 comes once, 11 twice.
fn second_day() -> String {
    let users = ["7", "5", "5", "11", "11", "8", "7", "9"];
    let rows = users.iter().enumerate().map(|(row, user)| (*user, 1000.0, 90.0 + row as f64, "train"));
    log(&rows.chain([("3", 0.0, 20.0, "valid"), ("8", 0.0, 27.0, "test")]).collect::<Vec<_>>())
}

#[test]
fn keys_are_added_and_numbers_stay_as_the_model_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(folder.path(), RECIPE);
    assert_eq!(integers(&model.dataset, 0), [3, 7, 9]);
    let dataset = model.grown(RECIPE, &second_day(), folder.path()).unwrap();
    assert_eq!(integers(&dataset, 0), [3, 5, 7, 9, 11]);
    assert_eq!(dataset.known_keys().idle[0], [1, 0, 0, 0, 0]);
    let (old, new) = (model.dataset.schema(), dataset.schema());
    assert_eq!((&old.fields[1].kind, &old.fields[2].transforms), (&new.fields[1].kind, &new.fields[2].transforms));
    let FieldKind::Number { mean, .. } = new.fields[1].kind else { panic!("a number") };
    assert!((mean - 3.5).abs() < 1e-6, "the first day's: {mean}");
    assert!(matches!(new.fields[2].transforms.last(), Some(Transform::Bucketize { edges }) if edges.len() == 3));
    let batch = dataset.batches(Split::Valid, stem_data::BatchPlan { size: 9, shuffle: None }).next().unwrap();
    assert_eq!(batch.ids[0], 1, "a key of before that today's training does not hold is known all the same");
    let test = dataset.batches(Split::Test, stem_data::BatchPlan { size: 9, shuffle: None }).next().unwrap();
    assert_eq!(test.ids[0], dataset.vocabularies()[0].unseen(), "a key that was not taken in is unseen");
    let again = Dataset::open(folder.path().join("second")).unwrap();
    assert_eq!(again.known_keys().idle, dataset.known_keys().idle);
}

#[test]
fn a_field_that_is_new_is_fitted_and_one_that_is_gone_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(folder.path(), RECIPE);
    let other = RECIPE.replace(
        r#"{ column = "price", kind = "number", standardize = true }"#,
        r#"{ name = "price bucket", column = "price", kind = "category", bucketize = [10] }"#,
    );
    let dataset = model.grown(&other, &second_day(), folder.path()).unwrap();
    let names: Vec<&str> = dataset.schema().fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["user", "age", "price bucket"], "what is new comes last");
    assert_eq!(integers(&dataset, 0), [3, 5, 7, 9, 11]);
}

#[test]
fn fields_keep_the_order_of_the_model_and_a_day_of_short_lists_cuts_none_later() {
    let folder = tempfile::tempdir().unwrap();
    let with_list = |user: &str, list: &str, last: &str| {
        format!(
            r#"
            name = "days"
            source = [{{ name = "log", file = "log.csv" }}]
            field = [{user}, {list}{last}]
            label = [{{ column = "a" }}]
            split = {{ kind = "column", column = "split" }}
            "#
        )
    };
    let user = r#"{ column = "user", kind = "category" }"#;
    let list = r#"{ column = "seen", kind = "sequence", separator = "|", max_len = 9 }"#;
    let new = r#", { name = "again", column = "user", kind = "category" }"#;
    let log = |list: &str| {
        let rows = (0..12)
            .map(|row| format!("{},{list},{},{}\n", row % 4, row % 2, ["train", "train", "valid", "test"][row % 4]));
        ["user,seen,a,split\n".to_string()].into_iter().chain(rows).collect::<String>()
    };
    std::fs::write(folder.path().join("log.csv"), log("1|2|3|4|5")).unwrap();
    let recipe = Recipe::parse(&with_list(user, list, ""), "recipe.toml").unwrap();
    let first = prepare(&recipe, folder.path(), &folder.path().join("first"), &PrepareOptions::default()).unwrap();
    let model = Model { dataset: first, idle: vec![] };
    let other_order = with_list(list, user, "").replacen(list, &format!("{list}{}", &new[..0]), 1);
    let dataset = model.grown(
        &other_order.replace("]\n            label", &format!("{new}]\n            label")),
        &log("7|8"),
        folder.path(),
    );
    let dataset = dataset.unwrap();
    let names: Vec<&str> = dataset.schema().fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["user", "seen", "again"]);
    let FieldKind::Sequence { max_len, .. } = dataset.schema().fields[1].kind else { panic!("a sequence") };
    assert_eq!(max_len, 5, "the longest list of before");
}

#[test]
fn what_does_not_fit_the_model_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(folder.path(), RECIPE);
    for (from, to, expected) in [
        (
            r#"label = [{ column = "a" }, { column = "b" }]"#,
            r#"label = [{ column = "a" }]"#,
            "recipe.toml:9: the model scores \"b\", which is no label of this recipe",
        ),
        (
            r#"label = [{ column = "a" }, { column = "b" }]"#,
            r#"label = [{ column = "a" }, { column = "b" }, { column = "split" }]"#,
            "label \"split\" is none of the model's: a model is trained on for the same tasks",
        ),
        (
            r#"{ column = "user", kind = "category", min_count = 2 }"#,
            r#"{ column = "user", kind = "category", vocabulary = "people" }"#,
            "field \"user\" is in vocabulary \"people\" here and \"user\" in the model",
        ),
        (
            r#"{ column = "price", kind = "number", standardize = true }"#,
            r#"{ column = "price", kind = "category" }"#,
            "field \"price\" is a category here and a number in the model",
        ),
    ] {
        let recipe = RECIPE.replace(from, to);
        assert_ne!(recipe, RECIPE);
        let message = model.grown(&recipe, &second_day(), folder.path()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    for (grow, expected) in [
        ("evict_after = 0", "`evict_after` is 0, expected an integer of at least 1"),
        ("max_rows = 2", "`max_rows` is 2, expected an integer of at least 3"),
        ("forget = 1", "unknown key \"forget\" in [grow]; known here: admit_after, evict_after, max_rows"),
    ] {
        let message = Recipe::parse(&format!("{RECIPE}[grow]\n{grow}\n"), "recipe.toml").unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn texts_and_integers_of_one_vocabulary_become_texts_that_name_the_same_keys() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(folder.path(), RECIPE);
    let today = second_day().replace("11,", "eleven,");
    let dataset = model.grown(RECIPE, &today, folder.path()).unwrap();
    let Vocabulary::Texts(keys) = &dataset.vocabularies()[0] else { panic!("texts") };
    assert_eq!(*keys, Texts::new(["3", "5", "7", "9", "eleven"]));
    assert_eq!(dataset.vocabularies()[0].id_of_integer(7), 3);
}

#[test]
fn another_limit_is_another_data_set_and_the_same_is_only_opened() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(folder.path(), RECIPE);
    let first = model.grown(RECIPE, &second_day(), folder.path()).unwrap();
    let limited = format!("{RECIPE}[grow]\nadmit_after = 1\n");
    let second = model.grown(&limited, &second_day(), folder.path()).unwrap();
    assert_ne!(first.key(), second.key());
    assert_eq!(integers(&second, 0), [3, 5, 7, 8, 9, 11]);
    let plain = Recipe::parse(&limited, "recipe.toml").unwrap();
    let fitted = prepare(&plain, folder.path(), &folder.path().join("plain"), &PrepareOptions::default()).unwrap();
    let without = Recipe::parse(RECIPE, "recipe.toml").unwrap();
    let other = prepare(&without, folder.path(), &folder.path().join("other"), &PrepareOptions::default()).unwrap();
    assert_eq!(fitted.key(), other.key(), "a first training does not ask how it will grow");
}

#[test]
fn a_hashed_vocabulary_has_its_rows_already() {
    let folder = tempfile::tempdir().unwrap();
    let hashed = RECIPE.replace("min_count = 2", "hash = 16");
    let model = Model::new(folder.path(), &hashed);
    let dataset = model.grown(&hashed, &second_day(), folder.path()).unwrap();
    assert_eq!((&dataset.vocabularies()[0], dataset.known_keys().idle[0].len()), (&model.dataset.vocabularies()[0], 0));
    let schema = Schema::new(
        vec![Field::category("user", 0)],
        vec![VocabularySpec::new("user", 2)],
        vec![Task::new("a"), Task::new("b")],
    );
    let empty = [Vocabulary::texts(Vec::<String>::new())];
    let known = Known { schema: &schema, vocabularies: &empty, idle: &[], mark: "empty" };
    let recipe = Recipe::parse(RECIPE, "recipe.toml").unwrap();
    let grown = prepare_grown(&recipe, known, folder.path(), &folder.path().join("third"), &PrepareOptions::default());
    let grown = grown.unwrap();
    let Vocabulary::Texts(keys) = &grown.vocabularies()[0] else { panic!("texts") };
    assert_eq!(*keys, Texts::new(["11", "5", "7"]), "of a model that knew nothing");
}
