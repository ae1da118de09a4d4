//! Labels that arrive late: rows that are too young take no part.

use std::path::Path;

use stem_data::{Dataset, Error, PrepareOptions, Recipe, Split, SplitRecipe, prepare};

fn read(folder: &Path, log: &str, label: &str) -> Result<Dataset, Error> {
    read_as(folder, log, label, |recipe| recipe)
}

fn read_as(folder: &Path, log: &str, label: &str, change: impl Fn(Recipe) -> Recipe) -> Result<Dataset, Error> {
    std::fs::write(folder.join("log.csv"), log).unwrap();
    let recipe = format!(
        r#"
        name = "late"
        source = [{{ name = "log", file = "log.csv" }}]
        sql = "SELECT item, click, buy, STRPTIME(at, '%Y-%m-%d %H:%M:%S') AS at, CAST(STRPTIME(at, '%Y-%m-%d %H:%M:%S') AS DATE) AS day FROM log"
        field = [{{ column = "item", kind = "category" }}]
        label = [{{ column = "click" }}, {label}]
        split = {{ kind = "random", valid = 0.0, test = 0.0 }}
        "#
    );
    let recipe = change(Recipe::parse(&recipe, "recipe.toml")?);
    prepare(&recipe, folder, &folder.join("columns"), &PrepareOptions::default())
}

/// Ten days, a row at noon of each; every row is clicked, every second is bought.
fn log() -> String {
    let row = |day: usize| format!("{day},1,{},2024-05-{:02} 12:00:00\n", day % 2, day + 1);
    ["item,click,buy,at\n".to_string()].into_iter().chain((0..10).map(row)).collect()
}

fn known(dataset: &Dataset) -> Vec<bool> {
    dataset.labels(Split::Train).chunks_exact(2).map(|row| !row[1].is_nan()).collect()
}

#[test]
fn of_rows_that_are_too_young_the_label_is_missing_whatever_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let all = read(folder.path(), &log(), r#"{ column = "buy" }"#).unwrap();
    assert_eq!(known(&all), [true; 10]);
    for column in ["at", "day"] {
        let label = format!(r#"{{ column = "buy", mature_after = {{ column = "{column}", wait = 3 }} }}"#);
        let dataset = read(folder.path(), &log(), &label).unwrap();
        let expected: Vec<bool> = (0..10).map(|day| day <= 6).collect();
        assert_eq!(known(&dataset), expected, "{column}: the newest is of day 9, and 3 days are to go by");
        assert_eq!(dataset.statistics(Split::Train).missing, [0, 3], "others are known at once");
        assert_eq!(dataset.statistics(Split::Train).positives, [10, 3]);
        let told =
            format!("label \"buy\": 3 of 10 rows are less than 3 older than the newest \"{column}\", and take no part");
        assert!(dataset.warnings().contains(&told), "{:?}", dataset.warnings());
    }
}

#[test]
fn numbers_are_taken_as_they_count() {
    let folder = tempfile::tempdir().unwrap();
    let label = r#"{ column = "buy", mature_after = { column = "item", wait = 5 } }"#;
    let dataset = read(folder.path(), &log(), label).unwrap();
    assert_eq!(known(&dataset), (0..10).map(|item| item <= 4).collect::<Vec<bool>>());
}

#[test]
fn what_is_no_waiting_time_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |label: &str, log: &str| read(folder.path(), log, label).unwrap_err().to_string();
    for mature in [r#"{ column = "at" }"#, r#"{ column = "at", wait = 0 }"#, r#"{ column = "at", wait = -1 }"#] {
        let message = refused(&format!(r#"{{ column = "buy", mature_after = {mature} }}"#), &log());
        assert!(message.contains("`mature_after` needs a `wait` above 0"), "{message}");
    }
    let message = refused(r#"{ column = "buy", mature_after = { column = "when", wait = 1 } }"#, &log());
    assert!(message.contains("there is no column \"when\""), "{message}");
    let label = r#"{ column = "buy", mature_after = { column = "item", wait = 1 } }"#;
    let message = refused(label, &log().replace("\n3,", "\nthree,"));
    assert!(message.contains("`mature_after` reads \"item\", which is text"), "{message}");
    let message = refused(label, &log().replace("\n3,", "\n,"));
    assert!(message.contains("log.csv:5: column 'item': expected a number, a date or a time, found null"), "{message}");
}

/// Each row of a split: its day, and the labels that it is trained on for.
fn trained_for(dataset: &Dataset, split: Split) -> Vec<(u32, String)> {
    let days = dataset.batches(split, stem_data::BatchPlan { size: 100, shuffle: None }).flat_map(|batch| batch.ids);
    let names =
        |labels: &[f32]| ["c", "b"].iter().zip(labels).filter(|(_, y)| !y.is_nan()).map(|(name, _)| *name).collect();
    let labels = dataset.labels(split);
    let mut rows: Vec<(u32, String)> = days.zip(labels.chunks_exact(2).map(names)).collect();
    rows.sort();
    rows
}

/// From day to day no label is trained on before it is known, and each is trained on once.
#[test]
fn from_day_to_day_a_row_is_trained_on_again_once_its_late_label_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let names = |days: std::ops::Range<usize>| days.map(|day| day.to_string()).collect::<Vec<_>>();
    let label = r#"{ column = "buy", mature_after = { column = "at", wait = 3 } }"#;
    let rows = |label: &str, before: std::ops::Range<usize>, train: std::ops::Range<usize>| {
        let split = |recipe: Recipe| {
            recipe.with_split(SplitRecipe::Days {
                column: "item".into(),
                before: names(before.clone()),
                train: names(train.clone()),
                valid: 0.0,
                test: names(train.end..train.end + 1),
                seed: 1,
            })
        };
        let dataset = read_as(folder.path(), &log(), label, split).unwrap();
        let days = |split| trained_for(&dataset, split).into_iter().map(|(_, labels)| labels).collect::<Vec<String>>();
        (days(Split::Train), days(Split::Test), dataset.warnings().join("\n"))
    };
    // Anew on the days 0 to 6: what was bought on days 4 to 6 nobody knows yet. Day 7 is measured by what the log knows, up to day 6.
    let (train, test, told) = rows(label, 0..0, 0..7);
    assert_eq!(
        (train, test),
        (["cb", "cb", "cb", "cb", "c", "c", "c"].map(String::from).into(), vec!["c".to_string()])
    );
    assert!(
        told.contains("label \"buy\": 3 of 7 rows are less than 3 older than the newest \"at\", and take no part"),
        "{told}"
    );
    // On from there with day 6: day 3 is known since, and nothing else of the days before takes part.
    let (train, _, told) = rows(label, 0..6, 6..7);
    assert_eq!(train, ["b", "c"]);
    assert!(
        told.contains("1 of 1 rows are less than 3 older")
            && told.contains("; 1 rows that were trained on before take part now"),
        "{told}"
    );
    // With two days at once, two.
    assert_eq!(rows(label, 0..5, 5..7).0, ["b", "b", "c", "c"]);
    // Before anything is known nothing of before takes part; nor where no label is late.
    assert_eq!(rows(label, 0..1, 1..2).0, ["c"]);
    assert_eq!(rows(r#"{ column = "buy" }"#, 0..6, 6..7).0, ["cb"]);
    // What is within a label that is late is late too.
    let within = r#"{ column = "buy", within = "click" }"#;
    let late_space = |recipe: Recipe| {
        let mut recipe = recipe;
        recipe.labels[0].mature = Some(stem_data::Mature { column: "at".into(), wait: 3.0 });
        recipe.with_split(SplitRecipe::Days {
            column: "item".into(),
            before: names(0..6),
            train: names(6..7),
            valid: 0.0,
            test: names(7..8),
            seed: 1,
        })
    };
    let dataset = read_as(folder.path(), &log(), within, late_space).unwrap();
    let found: Vec<String> = trained_for(&dataset, Split::Train).into_iter().map(|(_, labels)| labels).collect();
    assert_eq!(found, ["cb", ""], "day 3 has both, day 6 none yet");
}
