//! Labels that arrive late: rows that are too young take no part.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use stem_data::{Dataset, Error, PrepareOptions, Recipe, Split, prepare};

fn read(folder: &Path, log: &str, label: &str) -> Result<Dataset, Error> {
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
    let recipe = Recipe::parse(&recipe, "recipe.toml")?;
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
