//! What is counted of the data while they are encoded.

use crate::common::Case;
use stem_data::{Dataset, Facts, FieldCounts, GroupFacts, NumberFacts, Split};

const RECIPE: &str = r#"
name = "case"
group = "user"
source = [{ name = "log", file = "log.csv", types = { word = "text" } }]
field = [
    { column = "word", kind = "category", min_count = 2 },
    { column = "tags", kind = "sequence", separator = "|", max_len = 2 },
    { column = "price", kind = "number", standardize = true },
]
label = [{ column = "view" }, { column = "click", within = "view" }]
split = { kind = "column", column = "split" }
"#;

const LOG: &str = "user,word,tags,price,view,click,split
1,x,a|b,1,1,0,train
2,x,b,3,1,1,train
2,y,,,0,1,train
2,y,a,,0,,train
2,z,a|c|c,7,0,0,train
1,x,a|d,5,1,1,valid
1,w,,6,0,0,valid
3,,e,,0,0,test
3,w,e,,1,1,test
";

fn facts(dataset: &Dataset) -> &Facts {
    dataset.facts().unwrap()
}

#[test]
fn nulls_unseen_values_and_the_spread_of_numbers_are_counted_by_split() {
    let dataset = Case::new(LOG, RECIPE).prepare().unwrap();
    let facts = facts(&dataset);
    let of = |rows, nulls, values, unseen| FieldCounts { rows, nulls, values, unseen };
    // z occurs once in training, w nowhere
    assert_eq!(facts.fields[0].splits, [of(5, 0, 5, 1), of(2, 0, 2, 1), of(2, 1, 1, 1)]);
    // max_len leaves two of a, c and c; d and e are unknown
    assert_eq!(facts.fields[1].splits, [of(5, 1, 6, 0), of(2, 1, 2, 1), of(2, 0, 2, 2)]);
    assert_eq!(facts.fields[2].splits, [of(5, 2, 3, 0), of(2, 0, 2, 0), of(2, 2, 0, 0)]);
    let train = facts.fields[2].numbers[0].unwrap();
    assert_eq!((train.min, train.max), (1.0, 7.0));
    assert!((train.mean - 11.0 / 3.0).abs() < 1e-12 && (train.std - (56.0f64 / 9.0).sqrt()).abs() < 1e-12, "{train:?}");
    assert_eq!(facts.fields[2].numbers[1], Some(NumberFacts { min: 5.0, max: 6.0, mean: 5.5, std: 0.5 }));
    assert_eq!(facts.fields[2].numbers[2], None, "no number in test");
    assert_eq!(facts.fields[2].histogram.as_ref().unwrap().counts.iter().sum::<u64>(), 3);
    assert_eq!(facts.fields[0].numbers, [None; 3]);

    let words = facts.vocabularies[0].as_ref().unwrap();
    assert_eq!((words.known, words.left_out, words.left_out_occurrences, words.half), (2, 1, 1, 2));
    assert_eq!((words.distinct, words.trained), ([3, 2, 1], [3, 1, 0]));
    assert_eq!(facts.vocabularies[2], None);
    let groups = |groups, trained, rows| GroupFacts { groups, trained, rows };
    assert_eq!(facts.groups, Some([groups(2, 2, 5), groups(1, 1, 2), groups(1, 0, 0)]));
    assert_eq!(facts.outside, [0, 1], "a click without a view");
    assert!(facts.days.is_empty() && facts.untrained.is_none() && facts.allow_leak.is_empty());
}

#[test]
fn the_facts_stand_in_the_folder_and_columns_without_them_are_prepared_again() {
    let case = Case::new(LOG, RECIPE);
    let written = case.prepare().unwrap();
    assert_eq!(Dataset::open(case.out()).unwrap().facts(), written.facts());
    let path = case.out().join("dataset.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["facts"]["outside"] = serde_json::json!([0]);
    std::fs::write(&path, manifest.to_string()).unwrap();
    let error = Dataset::open(case.out()).unwrap_err().to_string();
    assert!(error.contains("facts of [3, 3, 1] fields, vocabularies and tasks, the schema has [3, 3, 2]"), "{error}");
    manifest.as_object_mut().unwrap().remove("facts");
    std::fs::write(&path, manifest.to_string()).unwrap();
    assert_eq!(Dataset::open(case.out()).unwrap().facts(), None, "an earlier version wrote none");
    assert_eq!(case.prepare().unwrap().facts(), written.facts());
}

#[test]
fn a_split_by_time_tells_rows_and_labels_by_day() {
    let recipe = RECIPE
        .replace(r#"kind = "column", column = "split""#, r#"kind = "time", column = "at", valid = 0.25, test = 0.25"#)
        .replace("min_count = 2", "min_count = 1");
    let log = |times: [&str; 4]| {
        let labels = ["1,1", "0,", "1,0", ","];
        let rows = times.iter().zip(labels).enumerate();
        let rows: String = rows.map(|(i, (at, labels))| format!("{i},x,a,1,{at},{labels}\n")).collect();
        format!("user,word,tags,price,at,view,click\n{rows}")
    };
    let expected = [("2024-02-29", [2, 0, 0], [1, 1], [2, 1]), ("2024-03-02", [0, 1, 1], [1, 0], [1, 1])];
    let seconds = ["1709164800", "1709251199", "1709337600", "1709423999"];
    let sql = "SELECT * REPLACE (STRPTIME(at, '%Y-%m-%d %H:%M:%S') AS at) FROM log";
    let times = ["2024-02-29 00:00:00", "2024-02-29 23:59:59", "2024-03-02 00:00:00", "2024-03-02 23:59:59"];
    for case in [Case::new(log(seconds), &recipe), Case::new(log(times), format!("sql = \"{sql}\"\n{recipe}"))] {
        let dataset = case.prepare().unwrap();
        let days = facts(&dataset).days.iter();
        let days: Vec<_> =
            days.map(|day| (day.date(), day.rows, day.positives.clone(), day.labelled.clone())).collect();
        let expected = expected.map(|(date, rows, up, known)| (date.into(), rows, up.to_vec(), known.to_vec()));
        assert_eq!(days, expected);
        let click = dataset.only_task(1);
        let day = &facts(&click).days[0];
        assert_eq!((day.rows, &day.positives[..], &day.labelled[..]), ([2, 0, 0], &[1][..], &[1][..]));
        assert_eq!(facts(&click.only_task(0)), facts(&click));
    }
    let numbered = Case::new(log(["1", "2", "3", "4"]), &recipe).prepare().unwrap();
    assert!(facts(&numbered).days.is_empty(), "a number that is no time");
}

#[test]
fn rows_that_are_equal_in_all_that_is_read_are_counted() {
    let again = format!("{LOG}1,x,a|b,1,1,0,test\n1,x,a|b|c,1,1,0,train\n1,x,a|b,1.5,1,0,test\n");
    let dataset = Case::new(again, RECIPE).prepare().unwrap();
    let copies = facts(&dataset).copies;
    assert_eq!((copies.one_in, copies.rows, copies.copies), (1, 12, 2), "what lies beyond max_len is not read");
    assert_eq!((copies.test, copies.test_in_train), (4, 1));
}

#[test]
fn test_rows_of_users_without_training_rows_are_counted_where_the_last_rows_are_tested_on() {
    let recipe = RECIPE.replace(
        r#"kind = "column", column = "split""#,
        r#"kind = "last", column = "user", order = "price", valid = 1, test = 1"#,
    );
    let rows = ["1,x,a,1", "1,x,a,2", "1,x,a,3", "2,y,b,1", "2,y,b,2", "3,z,c,1", "4,x,a,1", "4,x,a,2", "4,x,a,3"];
    let log: String = rows.iter().enumerate().map(|(i, row)| format!("{row},{},1\n", i % 2)).collect();
    let dataset = Case::new(format!("user,word,tags,price,view,click\n{log}"), recipe).prepare().unwrap();
    assert_eq!((facts(&dataset).untrained, dataset.rows(Split::Test)), (Some(2), 4));
}
