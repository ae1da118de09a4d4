//! Sequences that tell how long before the row the values of another were.

use std::path::Path;

use stem_core::{FieldKind, Row, Transform, Value, Vocabulary, encode_rows};
use stem_data::{BatchPlan, Dataset, Error, PrepareOptions, Recipe, Split, prepare};

const LOG: &str = "item,watched,times,ago,time,click,split
1,2|3|1,40|95|99.5,60|5|0.5,100,1,train
2,1,50,10,60,0,train
3,,,,,1,train
2,3|3|3|3,1|2|3|4,9|8|7|6,10,0,valid
1,9,100,-1,99,1,test
";

fn recipe(sql: &str, field: &str) -> Result<Recipe, Error> {
    let text = format!(
        r#"
        name = "ago"
        {sql}
        source = [{{ name = "log", file = "log.csv", types = {{ item = "text" }} }}]
        field = [
            {{ column = "item", kind = "category", vocabulary = "video" }},
            {{ column = "watched", kind = "sequence", separator = "|", max_len = 3, keep = "last", vocabulary = "video" }},
            {{ {field} }},
        ]
        label = [{{ column = "click" }}]
        split = {{ kind = "column", column = "split" }}
        "#
    );
    Recipe::parse(&text, "recipe.toml")
}

fn read(folder: &Path, log: &str, sql: &str, field: &str) -> Result<Dataset, Error> {
    std::fs::write(folder.join("log.csv"), log).unwrap();
    prepare(&recipe(sql, field)?, folder, &folder.join("columns"), &PrepareOptions::default())
}

const BESIDE: &str = r#"kind = "sequence", max_len = 3, keep = "last""#;
const AGO: &str = r#"ago = { of = "watched", from = "time", unit = 2, buckets = 4 }"#;

/// Of each row of training, then of the others, the buckets of its times.
fn buckets(dataset: &Dataset, field: usize) -> Vec<Vec<i64>> {
    let (schema, mut found) = (dataset.schema(), Vec::new());
    let (range, first) = (schema.slot_ranges()[field].clone(), schema.offsets()[schema.fields[field].vocabulary]);
    let Vocabulary::Integers(keys) = &dataset.vocabularies()[schema.fields[field].vocabulary] else {
        panic!("buckets")
    };
    for split in Split::ALL {
        for batch in dataset.batches(split, BatchPlan { size: 9, shuffle: None }) {
            let slots = batch.ids.len() / batch.rows;
            for row in 0..batch.rows {
                let own =
                    (row * slots + range.start..row * slots + range.end).filter(|&slot| batch.weights[slot] > 0.0);
                found.push(own.map(|slot| keys.get((batch.ids[slot] - first - 1) as usize).unwrap_or(-1)).collect());
            }
        }
    }
    found
}

#[test]
fn times_become_buckets_that_double_of_how_long_before_the_row_they_were() {
    // below 2, below 4, below 8, and longer; of the row of validation the last three are kept
    let expected = [vec![3, 2, 0], vec![3], vec![], vec![3, 2, 2], vec![0]];
    let folder = tempfile::tempdir().unwrap();
    for (sql, field) in [
        ("", format!(r#"column = "times", separator = "|", {BESIDE}, {AGO}"#)),
        ("", format!(r#"column = "ago", separator = "|", {BESIDE}, {}"#, AGO.replace(r#"from = "time", "#, ""))),
        (
            r#"sql = "SELECT item, watched, STRING_TO_ARRAY(times, '|') AS times, time, click, split FROM log""#,
            format!(r#"column = "times", {BESIDE}, {AGO}"#),
        ),
    ] {
        let dataset = read(folder.path(), LOG, sql, &field).unwrap();
        assert_eq!(buckets(&dataset, 2), expected, "{field}");
        let own = &dataset.schema().fields[2];
        assert!(matches!(own.kind, FieldKind::Sequence { max_len: 3, .. }));
        let steps = &own.transforms[..];
        assert!(
            matches!(steps.last(), Some(Transform::Bucketize { edges }) if edges[..] == [2.0, 4.0, 8.0]),
            "{steps:?}"
        );
    }
}

#[test]
fn a_row_that_is_served_has_the_ids_that_it_has_in_training() {
    let folder = tempfile::tempdir().unwrap();
    let dataset =
        read(folder.path(), LOG, "", &format!(r#"column = "times", separator = "|", {BESIDE}, {AGO}"#)).unwrap();
    let row = |values: [Value; 4]| {
        ["item", "watched", "times", "time"]
            .into_iter()
            .zip(values)
            .fold(Row::new(), |row, (name, value)| row.with(name, value))
    };
    let rows = [
        row([1.into(), "2|3|1".into(), "40|95|99.5".into(), 100.into()]),
        row([2.into(), 1.into(), 50.into(), "60".into()]),
        row([3.into(), Value::Null, Value::Null, Value::Null]),
    ];
    let served = encode_rows(dataset.schema(), dataset.vocabularies(), &rows).unwrap();
    let trained = dataset.batches(Split::Train, BatchPlan { size: 9, shuffle: None }).next().unwrap();
    assert_eq!((served.ids, served.weights), (trained.ids, trained.weights));
}

#[test]
fn what_cannot_tell_how_long_ago_is_told_with_its_place() {
    let field = format!(r#"column = "times", separator = "|", {BESIDE}, {AGO}"#);
    for (from, to, expected) in [
        (
            "40|95|99.5",
            "40|95",
            "log.csv:2: column 'times': expected a value for each of the 3 of \"watched\", found 2",
        ),
        ("40|95|99.5", "40|x|99.5", "log.csv:2: column 'times': expected a finite number, found \"x\""),
        (
            "0.5,100,",
            "0.5,,",
            "log.csv:2: column 'time': expected a number, for the values of a list are told by how long before it they were, found null",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let message = read(folder.path(), &LOG.replace(from, to), "", &field).map(drop).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let folder = tempfile::tempdir().unwrap();
    let message = read(folder.path(), LOG, "", &field.replace(r#"from = "time""#, r#"from = "watched""#))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("field \"times\" counts from \"watched\", which is text")
            && message.contains("expected a number"),
        "{message}"
    );
    let message = read(folder.path(), LOG, "", &field.replace(r#"separator = "|", "#, "")).unwrap_err().to_string();
    assert!(message.contains("expected a list of numbers, or a text with a `separator`"), "{message}");
}

#[test]
fn what_a_recipe_may_not_say_of_times_is_a_fault_of_its_line() {
    let plain = format!(r#"column = "times", separator = "|", {BESIDE}, "#);
    for (field, expected) in [
        (format!(r#"{plain} ago = {{ from = "time" }}"#), "has no `of`"),
        (format!(r#"{plain} ago = {{ of = "watched", form = "time" }}"#), "did you mean \"from\"?"),
        (format!(r#"{plain} ago = {{ of = "watched", unit = 0 }}"#), "`unit` is 0, expected a number above 0"),
        (format!(r#"{plain} ago = {{ of = "watched", buckets = 65 }}"#), "`buckets` is more than 64"),
        (format!(r#"{plain} ago = {{ of = "wached" }}"#), "`ago` of field \"times\" has \"wached\", which is no field"),
        (format!(r#"{plain} ago = {{ of = "item" }}"#), "has \"item\", which is no sequence"),
        (format!(r#"{plain} {AGO}, hash = 9"#), "`hash` does not go with `ago`"),
        (plain.replace("= 3", "= 2") + AGO, "has another `max_len` or `keep` than \"watched\""),
        (plain.replace("last", "first") + AGO, "has another `max_len` or `keep` than \"watched\""),
        (r#"column = "times", kind = "number", ago = { of = "watched" }"#.into(), "`ago` is for sequences"),
    ] {
        let message = recipe("", &field).map(drop).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("recipe.toml:8: "), "{field}: {message}");
    }
}
