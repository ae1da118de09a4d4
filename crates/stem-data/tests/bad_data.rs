//! Bad data is told by file and line, or by column and row; nothing panics, and what was there before still stands.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Case, LOG, RECIPE};

fn message(log: impl AsRef<[u8]>) -> String {
    Case::new(log, RECIPE).message()
}

/// A good log of many rows with other text in place of the last of them.
fn long_with(last: &str) -> String {
    let rows: String = (0..30_000).map(|i| format!("{},x,0.5,{},train\n", i % 9, i % 2)).collect();
    format!("user,item,price,click,split\n{rows}{last}")
}

#[test]
fn a_missing_file_is_named() {
    let case = Case::new(LOG, RECIPE);
    std::fs::remove_file(case.dir.path().join("log.csv")).unwrap();
    assert!(case.message().starts_with("cannot read log.csv: "), "{}", case.message());
}

#[test]
fn an_empty_file_and_a_header_alone_have_no_rows() {
    assert_eq!(message(""), "log.csv has no rows (0 bytes)");
    assert_eq!(message("user,item,price,click,split\n"), "log.csv has no rows (a header alone)");
}

#[test]
fn a_short_and_a_long_line_are_told_by_their_number() {
    assert_eq!(message(long_with("1,x,0.5\n")), "log.csv:30002: 3 values in a table of 5 columns");
    assert_eq!(message(long_with("1,x,0.5,1,train,more\n")), "log.csv:30002: 6 values in a table of 5 columns");
    assert_eq!(message(long_with("\n1,x,0.5,1,train\n")), "log.csv:30002: 1 values in a table of 5 columns");
    assert_eq!(message("user,item,price,click,split\n1,x,0.5\n"), "log.csv:2: 3 values in a table of 5 columns");
    let headless = RECIPE.replacen("file = \"log.csv\"", "file = \"log.csv\"\ncolumns = [\"user\", \"item\"]", 1);
    assert_eq!(Case::new("1,x,0.5,1,train\n", headless).message(), "log.csv:1: 5 values in a table of 2 columns");
}

#[test]
fn a_value_of_another_type_is_told_by_line_and_column() {
    assert_eq!(
        message(long_with("one,x,0.5,1,train\n")),
        "log.csv:30002: column 'user': expected an integer, found \"one\"; set `types` of this source if the column holds something else"
    );
    assert!(
        message(long_with("1,x,cheap,1,train\n"))
            .contains("log.csv:30002: column 'price': expected a number, found \"cheap\"")
    );
}

#[test]
fn a_label_other_than_0_1_or_null_is_told_by_column_and_row() {
    assert_eq!(message(LOG.replace(",0,test", ",2,test")), "column 'click', row 3: expected 0, 1 or null, found 2");
    assert_eq!(message(LOG.replace(",0,test", ",0.5,test")), "column 'click', row 3: expected 0, 1 or null, found 0.5");
    let null = Case::new(LOG.replace(",0,train", ",,train"), RECIPE).prepare().unwrap();
    assert!(null.labels(stem_data::Split::Train)[1].is_nan());
}

#[test]
fn a_number_that_is_not_finite_is_told_by_column_and_row() {
    for (text, found) in [("NaN", "NaN"), ("inf", "inf"), ("-inf", "-inf")] {
        let expected = format!("column 'price', row 1: expected a finite number or null, found {found}");
        assert_eq!(message(LOG.replace("1.5", text)), expected);
    }
    assert!(message(LOG.replace("1.5", "1e300")).contains("row 1: expected a number that 32-bit floats can hold"));
}

#[test]
fn bytes_that_are_no_utf8_are_told_by_their_line() {
    let mut log = LOG.as_bytes().to_vec();
    let place = log.iter().position(|&b| b == b'y').unwrap();
    log[place] = 0xff;
    assert_eq!(message(log), "log.csv:3: not valid UTF-8; convert the file first");
    let mut log = long_with("1,x,0.5,1,train\n").into_bytes();
    let place = log.len() - 14;
    log[place] = 0xff;
    assert_eq!(message(log), "log.csv:30002: not valid UTF-8; convert the file first");
}

#[test]
fn a_null_group_is_told() {
    assert_eq!(message(LOG.replace("3,z", ",z")), "column 'user', row 3: expected a user or group, found null");
}

#[test]
fn an_empty_training_split_is_told_with_how_rows_were_split() {
    assert_eq!(
        message(LOG.replace("train", "training")),
        "the training split is empty: 4 rows in all, split by column 'split' (\"train\", \"valid\", \"test\")"
    );
}

#[test]
fn odd_data_are_prepared_with_warnings_that_name_them() {
    let log =
        "user,item,price,click,split\n1,x,2,1,train\n2,x,2,1,train\n1,x,2,0,valid\n1,x,2,1,valid\n4,x,2,1,later\n";
    let recipe = RECIPE
        .replace("[split]", "[[label]]\ncolumn = \"again\"\n\n[split]")
        .replace("[[source]]", "sql = \"SELECT *, click AS again FROM log\"\n\n[[source]]");
    let dataset = Case::new(log, recipe).prepare().unwrap();
    let warnings = dataset.warnings().join("\n");
    for expected in [
        "1 of 5 rows belong to no split and are left out",
        "task 'click' has only label 1 in the training split (2 rows)",
        "tasks 'click' and 'again' have identical labels",
        "field 'item' has one value in the training split: it tells nothing",
        "field 'price' has one value in the training split: it tells nothing",
    ] {
        assert!(warnings.contains(expected), "{warnings}");
    }
}

#[test]
fn a_folder_with_other_files_is_not_overwritten() {
    let case = Case::new(LOG, RECIPE);
    std::fs::create_dir(case.out()).unwrap();
    std::fs::write(case.out().join("thesis.tex"), "x").unwrap();
    assert_eq!(case.message(), "columns holds other files and no data set: name an empty or a new folder");
    assert!(case.out().join("thesis.tex").exists());
}

#[test]
fn a_failure_leaves_the_data_set_that_was_there() {
    let case = Case::new(LOG, RECIPE);
    case.prepare().unwrap();
    std::fs::write(case.dir.path().join("log.csv"), LOG.replace(",0,test", ",7,test")).unwrap();
    assert!(case.message().contains("found 7"));
    assert_eq!(stem_data::Dataset::open(case.out()).unwrap().rows(stem_data::Split::Train), 2);
    let left: Vec<_> = std::fs::read_dir(case.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "no scratch folder stays: {left:?}");
}

#[test]
fn a_stop_at_any_time_leaves_what_was_there_and_nothing_beside_it() {
    let case = Case::new(LOG, RECIPE);
    let before = case.prepare().unwrap().key().to_string();
    std::fs::write(case.dir.path().join("log.csv"), LOG.replace("0.5", "0.25")).unwrap(); // so that it is encoded anew
    let recipe = stem_data::Recipe::parse(&case.recipe, "recipe.toml").unwrap();
    let prepare = |asked: usize| {
        let left = std::cell::Cell::new(asked);
        let stopped = || left.replace(left.get().saturating_sub(1)) == 0;
        stem_data::prepare_until(&recipe, case.dir.path(), &case.out(), false, stopped)
    };
    for asked in 0..4 {
        let error = prepare(asked).unwrap_err();
        assert!(
            matches!(&error, stem_data::Error::Stopped { path } if *path == case.out()),
            "asked {asked} times: {error}"
        );
        assert_eq!(stem_data::Dataset::open(&case.out()).unwrap().key(), before);
        assert_eq!(std::fs::read_dir(case.dir.path()).unwrap().count(), 2, "the table and the columns");
    }
    assert_ne!(prepare(usize::MAX).unwrap().key(), before);
}

#[test]
fn a_damaged_data_set_is_told_and_prepared_again() {
    let case = Case::new(LOG, RECIPE);
    case.prepare().unwrap();
    let ids = case.out().join("train/ids.u32");
    let mut bytes = std::fs::read(&ids).unwrap();
    bytes[64..68].copy_from_slice(&999u32.to_le_bytes());
    std::fs::write(&ids, &bytes).unwrap();
    let message = stem_data::Dataset::open(case.out()).unwrap_err().to_string();
    assert!(message.ends_with("is not a usable data set: row 0 has an id outside its vocabulary"), "{message}");
    case.prepare().unwrap();
    stem_data::Dataset::open(case.out()).unwrap();
    assert!(stem_data::Dataset::open(case.dir.path()).unwrap_err().to_string().starts_with("cannot read "));
}

#[test]
fn a_folder_with_a_stranger_of_that_name_is_not_overwritten() {
    let case = Case::new(LOG, RECIPE);
    std::fs::create_dir(case.out()).unwrap();
    std::fs::write(case.out().join("dataset.json"), r#"{"mine": true}"#).unwrap();
    assert!(case.message().ends_with("holds other files and no data set: name an empty or a new folder"));
    std::fs::remove_dir_all(case.out()).unwrap();
    case.prepare().unwrap();
    std::fs::write(case.out().join("thesis.txt"), "years of work").unwrap();
    let changed = Case { dir: case.dir, recipe: RECIPE.replace("\"case\"", "\"other\"") };
    assert!(changed.message().ends_with("name an empty or a new folder"));
    assert!(changed.out().join("thesis.txt").exists());
}

#[test]
fn a_quote_that_is_never_closed_is_told_before_the_file_is_read_into_memory() {
    let tail = "9,y,1,0,train\n".repeat(1 << 21);
    let found = message(format!("user,item,price,click,split\n1,\"x,0.5,1,train\n{tail}"));
    assert!(found.contains("log.csv:2: a quote opened on this line is never closed"), "{found}");
}

#[test]
fn an_sql_engine_that_panics_is_an_error() {
    let recipe = format!("sql = \"SELECT COLUMNS('(') FROM log\"\n{RECIPE}");
    let found = Case::new(LOG, recipe).message();
    assert!(found.contains("the SELECT does not work"), "{found}");
}
