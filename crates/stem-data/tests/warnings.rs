//! What is odd about the data is told with its figures, and what is not odd is not.

use crate::common::Case;

const HEAD: &str = r#"
name = "case"
group = "user"
source = [{ name = "log", file = "log.csv" }]
"#;
const FIELDS: &str = r#"field = [{ column = "user", kind = "category" }, { column = "item", kind = "category" }]
"#;
const LABELS: &str = r#"label = [{ column = "view" }, { column = "click", within = "view" }]
"#;
const RANDOM: &str = r#"split = { kind = "random", valid = 0.2, test = 0.2, seed = 1 }
"#;

/// The warnings of a log with these columns beside `user`, `item`, `view` and `click`; `row` gives the values of all.
fn warnings(fields: &str, split: &str, columns: &str, rows: usize, row: impl Fn(usize) -> String) -> Vec<String> {
    let log: String = (0..rows).map(|i| row(i) + "\n").collect();
    let case = Case::new(format!("user,item,view,click{columns}\n{log}"), [HEAD, fields, LABELS, split].concat());
    case.prepare().unwrap().warnings().to_vec()
}

/// User, item and labels: no two rows are equal, and nothing is odd.
fn plain(i: usize) -> String {
    let view = i % 2;
    format!("{},{},{view},{}", i % 97, i % 101, if i % 6 == 1 { view } else { 0 })
}

#[test]
fn a_plain_log_has_no_warnings() {
    assert_eq!(warnings(FIELDS, RANDOM, "", 3_000, plain), [] as [&str; 0]);
}

#[test]
fn a_log_that_is_there_twice_is_told_and_chance_is_not() {
    let twice = warnings(FIELDS, RANDOM, "", 3_000, |i| plain(i % 1_500));
    let expected = "1500 of 3000 rows are copies: equal to another in every field, label and time that the recipe reads, and more than chance repeats, and ";
    assert!(twice[0].starts_with(expected), "{twice:?}");
    assert!(twice[0].contains(" test rows are copies of training rows: ") && twice.len() == 1, "{twice:?}");
    let few = |i: usize| {
        let drawn = i * i % 10_007 * 31 % 10_009; // as good as drawn
        format!("{},{},{},0", drawn % 40, drawn / 40 % 30, drawn % 2)
    };
    let chance = warnings(FIELDS, RANDOM, "", 3_000, few);
    assert!(!chance.iter().any(|warning| warning.contains("copies")), "{chance:?}");
}

#[test]
fn test_rows_of_users_without_training_rows_are_told_for_a_split_by_last_rows() {
    let split = "split = { kind = \"last\", column = \"user\", order = \"at\", valid = 1, test = 1 }\n";
    let row = |users: usize, i: usize| format!("{},{},{},0,{i}", i % users, i % 7, i / 5 % 2);
    let short = warnings(FIELDS, split, ",at", 1_000, |i| row(if i < 400 { 100 } else { 500 }, i));
    let expected = "400 of 500 test rows belong to a 'user' without a training row, for it has 2 rows or fewer: ";
    assert!(short.iter().any(|warning| warning.starts_with(expected)), "{short:?}");
    let long = warnings(FIELDS, split, ",at", 1_000, |i| row(100, i));
    assert!(!long.iter().any(|warning| warning.contains("without a training row")), "{long:?}");
}

#[test]
fn labels_outside_the_space_they_are_within_are_told() {
    let outside = |every: usize| {
        warnings(FIELDS, RANDOM, "", 3_000, |i| match i.is_multiple_of(every) {
            true => format!("{},{},0,1", i % 97, i % 101),
            false => plain(i),
        })
    };
    let told = "label 'click' is 1 in 30 rows where 'view' is not, and these count as missing (500 others are kept): is it within 'view'?";
    assert_eq!(outside(100), [told]);
    assert_eq!(outside(10_000), [] as [&str; 0], "one of 501 is a stray row");
}

#[test]
fn numbers_that_drown_the_rest_are_told() {
    let with = |standardize: bool, number: fn(usize) -> f64| {
        let field = format!("{{ column = \"number\", kind = \"number\", standardize = {standardize} }}]\n");
        let fields = FIELDS.replace("]\n", &format!(", {field}"));
        warnings(&fields, RANDOM, ",number", 3_000, |i| format!("{},{}", plain(i), number(i)))
    };
    let large = with(false, |i| 1000.0 + (i % 5) as f64);
    let expected = "field 'number' holds large numbers as they are (mean 1001.";
    assert!(
        large.len() == 1 && large[0].starts_with(expected) && large[0].contains("`standardize = true`"),
        "{large:?}"
    );
    assert_eq!(with(true, |i| 1000.0 + (i % 5) as f64), [] as [&str; 0], "it is standardised");
    assert_eq!(with(false, |i| (i % 100) as f64), [] as [&str; 0], "a mean of 50");
    let far = with(true, |i| if i == 2_000 { 1e9 } else { (i % 5) as f64 });
    assert!(far.len() == 1 && far[0].starts_with("field 'number' holds 1.000e9, which is "), "{far:?}");
    assert_eq!(with(true, |i| if i == 2_000 { 50.0 } else { (i % 5) as f64 }), [] as [&str; 0]);
}

#[test]
fn keys_with_spaces_and_lists_that_were_not_cut_are_told() {
    let with = |field: &str, value: fn(usize) -> String| {
        let fields = FIELDS.replace("]\n", &format!(", {{ column = \"tags\", {field} }}]\n"));
        warnings(&fields, RANDOM, ",tags", 3_000, |i| format!("{},{}", plain(i), value(i)))
    };
    let list = "kind = \"sequence\", separator = \"|\", max_len = 4";
    let spaced = with("kind = \"category\"", |i| format!("t{}{}", i / 2 % 50, ["", " "][i / 100 % 2]));
    let expected = "field 'tags' holds 50 keys of 100 with spaces before or behind them, for instance \"t0 \", and 50 are there without them too: `trim = true`";
    assert!(spaced.len() == 1 && spaced[0].starts_with(expected), "{spaced:?}");
    assert_eq!(
        with("kind = \"category\", trim = true", |i| format!("t{}{}", i / 2 % 50, ["", " "][i / 100 % 2])),
        [] as [&str; 0]
    );
    let cut = with(list, |i| format!("t{} | b", i / 2 % 50));
    assert!(cut.len() == 1 && cut[0].contains("keys of 51 with spaces before or behind them"), "{cut:?}");
    for uncut in
        [|i: usize| format!("a{};b;c", i / 2 % 50), |i: usize| format!("\"[\"\"a{}\"\", \"\"b\"\"]\"", i / 2 % 50)]
    {
        let told = with(list, uncut);
        let expected = "field 'tags': no list has more than one value between \"|\", for instance \"";
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    }
    assert_eq!(with(list, |i| format!("a{}|b;c", i / 2 % 50)), [] as [&str; 0]);
}

#[test]
fn keys_that_a_reader_takes_for_one_are_told() {
    let with = |kind: &str, value: &dyn Fn(usize) -> String| {
        let fields = FIELDS.replace("]\n", &format!(", {{ column = \"city\", {kind} }}]\n"));
        warnings(&fields, RANDOM, ",city", 3_000, |i| format!("{},{}", plain(i), value(i)))
    };
    let accents = |i: usize| format!("Caf{}{}", ["\u{e9}", "e\u{301}"][i / 100 % 2], i / 2 % 50);
    let told = with("kind = \"category\"", &accents);
    let expected = "field 'city' holds 50 keys twice, with letters put together in two ways of Unicode (NFC and another), for instance \"Caf\u{e9}0\"";
    assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");

    let sql = "sql = 'SELECT \"user\", item, \"view\", click, NORMALIZE(city, NFC) AS city FROM log'\n";
    let fields = sql.to_string() + &FIELDS.replace("]\n", ", { column = \"city\", kind = \"category\" }]\n");
    let cured = warnings(&fields, RANDOM, ",city", 3_000, |i| format!("{},{}", plain(i), accents(i)));
    assert_eq!(cured, [] as [&str; 0], "what the message says to write");

    let capitals = |i: usize| format!("{}ome{}", ["R", "r"][i / 100 % 2], i / 2 % 50);
    let told = with("kind = \"category\"", &capitals);
    let expected = "field 'city' holds 50 keys of 100 that differ from another in capital letters alone, for instance \"Rome0\" and \"rome0\": `lower = true`";
    assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    assert_eq!(with("kind = \"category\", lower = true", &capitals), [] as [&str; 0]);
    let one_of_many = |i: usize| if i == 7 { "ROME1".to_string() } else { format!("rome{}", i / 2 % 300) };
    assert_eq!(with("kind = \"category\"", &one_of_many), [] as [&str; 0], "capitals may mean something");
}

#[test]
fn times_in_two_units_and_one_time_for_all_are_told() {
    let split = "split = { kind = \"time\", column = \"at\", valid = 0.2, test = 0.2 }\n";
    let mixed = |i: usize| 1_700_000_000 + i as u64;
    let told = warnings(FIELDS, split, ",at", 3_000, |i| {
        format!("{},{}", plain(i), if i % 3 == 0 { mixed(i) * 1000 } else { mixed(i) })
    });
    let expected =
        "look like 2000 rows in seconds and 1000 rows in milliseconds: rows of different units have no order";
    assert!(told.iter().any(|told| told.contains(expected)), "{told:?}");
    assert_eq!(warnings(FIELDS, split, ",at", 3_000, |i| format!("{},{}", plain(i), mixed(i))), [] as [&str; 0]);
}

#[test]
fn a_task_that_cannot_be_judged_in_validation_is_told_with_what_follows() {
    let split = "split = { kind = \"column\", column = \"part\" }\n";
    let part = |i: usize| ["train", "valid", "test"][i % 3];
    let rows = |i: usize| match part(i) {
        "valid" => format!("{},{},{},0,valid", i % 97, i % 101, i / 3 % 2),
        part => format!("{},{},{},{},{part}", i % 97, i % 101, i / 3 % 2, u8::from(i / 3 % 4 == 1)),
    };
    let told = "task 'click' has only label 0 in the validation split (500 rows): no AUC is defined there, and nothing of this task tells when to stop";
    assert_eq!(warnings(FIELDS, split, ",part", 3_000, rows), [told]);
}
