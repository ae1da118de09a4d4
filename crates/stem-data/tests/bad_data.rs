//! Bad data is told by file and line, or by column and row; nothing panics, and what was there before still stands.

use std::error::Error as _;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::common::{Case, LOG, RECIPE};
use polars::prelude::{ParquetWriter, df};
use stem_data::{BatchPlan, Dataset, Error, PrepareOptions, Recipe, Split};

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
    assert_eq!(message("user,item,price,click,split\n1,x,0.5\n"), "log.csv:2: 3 values in a table of 5 columns");
    let headless = RECIPE.replacen("file = \"log.csv\"", "file = \"log.csv\"\ncolumns = [\"user\", \"item\"]", 1);
    assert_eq!(Case::new("1,x,0.5,1,train\n", headless).message(), "log.csv:1: 5 values in a table of 2 columns");
}

#[test]
fn a_value_of_another_type_is_told_by_line_and_column() {
    assert_eq!(
        message(long_with("one,x,0.5,1,train\n")),
        "log.csv:30002: column 'user': expected an integer, found \"one\"; the first rows say so: add `types = { user = \"text\" }` to this source if the column holds that, or `null_values = [\"one\"]` if it stands for nothing"
    );
    assert!(
        message(long_with("1,x,cheap,1,train\n"))
            .contains("log.csv:30002: column 'price': expected a number, found \"cheap\"")
    );
}

#[test]
fn a_label_other_than_0_1_or_null_is_told_by_line_and_column() {
    assert_eq!(
        message(LOG.replace(",0,test", ",2,test")),
        "log.csv:5: column 'click': expected 0, 1 or null (a label of numbers has a `kind`: \"regression\", \"count\" ...), found 2"
    );
    assert!(message(LOG.replace(",0,test", ",0.5,test")).ends_with(", found 0.5"));
    let null = Case::new(LOG.replace(",0,train", ",,train"), RECIPE).prepare().unwrap();
    assert!(null.labels(Split::Train)[1].is_nan());
}

#[test]
fn a_number_that_is_not_finite_is_told_by_line_and_column() {
    for (text, found) in [("NaN", "NaN"), ("inf", "inf"), ("-inf", "-inf")] {
        let null = " (NULLIF(..., CAST('NaN' AS DOUBLE)) in the sql makes null of NaN)";
        let null = if found == "NaN" { null } else { "" };
        let expected = format!("log.csv:3: column 'price': expected a finite number or null{null}, found {found}");
        assert_eq!(message(LOG.replace("1.5", text)), expected);
    }
    assert!(
        message(LOG.replace("1.5", "1e300"))
            .contains("log.csv:3: column 'price': expected a number that 32-bit floats can hold")
    );
}

/// The first line of a log, and rows of which one has a label that is none.
fn rows_with_a_wrong_one(rows: usize, wrong: usize) -> Vec<String> {
    let row = |i: usize| {
        let click = if i == wrong { "7" } else { ["0", "1"][i % 2] };
        format!("{},x,0.5,{click},{}", i % 9, ["train", "train", "valid", "test"][i % 4])
    };
    std::iter::once("user,item,price,click,split".to_string()).chain((0..rows).map(row)).collect()
}

#[test]
fn a_wrong_value_has_the_line_that_an_editor_shows() {
    let lines = rows_with_a_wrong_one(50, 40); // on line 42
    for end in ["\n", "\r\n"] {
        let plain = format!("{}{end}", lines.join(end));
        let place = |log: &[u8]| message(log).split(": column 'click'").next().unwrap().to_string();
        assert_eq!(place(plain.as_bytes()), "log.csv:42");
        assert_eq!(place(plain.trim_end().as_bytes()), "log.csv:42");
        assert_eq!(place(format!("\u{feff}{plain}").as_bytes()), "log.csv:42");
        assert_eq!(place(format!("{plain}{end}{end}").as_bytes()), "log.csv:42", "blank lines at the end");
        let broken = plain.replacen(",x,", &format!(",\"x{end}y\","), 1);
        assert_eq!(place(broken.as_bytes()), "log.csv:43", "a value with the end of a line in it");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, plain.as_bytes()).unwrap();
        assert_eq!(place(&packed.finish().unwrap()), "log.csv:42");
        let price = message(plain.replacen("x,0.5", "x,cheap", 3));
        assert!(price.contains("(log.csv, line 2)"), "{price}");
    }
}

#[test]
fn a_wrong_value_in_one_of_several_files_is_told_in_that_file() {
    let lines = rows_with_a_wrong_one(60, 45);
    let case = Case::new(LOG, RECIPE.replace("file = \"log.csv\"", "files = [\"log/*.csv\"]"));
    std::fs::create_dir(case.dir.path().join("log")).unwrap();
    let write = |name: &str, text: String| std::fs::write(case.dir.path().join("log").join(name), text).unwrap();
    for (part, rows) in lines[1..].chunks(20).enumerate() {
        write(&format!("part-{part}.csv"), format!("{}\n{}\n", lines[0], rows.join("\n")));
    }
    write("part-1a.csv", String::new());
    assert!(case.message().starts_with("log/part-2.csv:7: column 'click': expected 0, 1"), "{}", case.message());
    // the same as Parquet: no lines there, but rows
    for (part, wrong) in [(0, 100), (1, 100), (2, 5)] {
        let users: Vec<i64> = (0..20).collect();
        let click: Vec<i64> = (0..20).map(|i| if i == wrong { 7 } else { i % 2 }).collect();
        let split: Vec<&str> = (0..20).map(|i| ["train", "train", "valid", "test"][i % 4]).collect();
        let (items, prices) = (vec!["x"; 20], vec![0.5; 20]);
        let mut frame =
            df!("user" => users, "item" => items, "price" => prices, "click" => click, "split" => split).unwrap();
        let file = File::create(case.dir.path().join(format!("log/part-{part}.parquet"))).unwrap();
        ParquetWriter::new(file).finish(&mut frame).unwrap();
    }
    let typed = Case { recipe: case.recipe.replace("*.csv", "*.parquet"), ..case };
    let expected = "log/part-2.parquet, row 5 (counted from 0): column 'click': expected";
    assert!(typed.message().starts_with(expected), "{}", typed.message());
}

#[test]
fn a_wrong_value_is_traced_back_through_the_select() {
    let told = |sql: &str, log: &str, with_age: bool| {
        let field = "[[field]]\ncolumn = \"age\"\nkind = \"number\"\n\n[[label]]";
        let recipe = if with_age { RECIPE.replacen("[[label]]", field, 1) } else { RECIPE.to_string() };
        let users = "[[source]]\nname = \"users\"\nfile = \"users.csv\"\n";
        let case = Case::new(log, format!("sql = '''{}'''\n{recipe}\n{users}", sql.replace("@", "\"user\"")));
        std::fs::write(case.dir.path().join("users.csv"), "user,age\n1,20.5\n2,inf\n3,40\n").unwrap();
        case.message()
    };
    let wrong = LOG.replace(",0,test", ",2,test");
    for sql in [
        "SELECT * FROM log WHERE item <> 'x'",
        "SELECT l.*, u.age FROM log l LEFT JOIN users u ON l.@ = u.@",
        "WITH late AS (SELECT * FROM log WHERE item <> 'x') SELECT late.@, item, price, click, split FROM late JOIN users u ON late.@ = u.@",
        "SELECT @, item, price, click, split FROM (SELECT * FROM log ORDER BY price DESC) AS x",
        "SELECT @, item, price, click, split FROM log WHERE item = 'x' UNION ALL SELECT @, item, price, click, split FROM log WHERE item <> 'x'",
    ] {
        let message = told(sql, &wrong, false);
        assert!(message.starts_with("log.csv:5: column 'click': expected 0, 1"), "{sql}: {message}");
    }
    let computed = told("SELECT @, item, price, click * 2 AS click, split FROM log", LOG, false);
    assert!(computed.starts_with("log.csv:2: column 'click' of the SELECT: expected 0, 1"), "{computed}");
    let clicked = LOG.replace("click", "clk").replace("1,train", "5,train");
    let named = told("SELECT @, item, price, split, clk AS click FROM log", &clicked, false);
    assert!(named.starts_with("log.csv:2: column 'clk' ('click' of the SELECT): expected 0, 1"), "{named}");
    let other = told("SELECT l.*, u.age FROM log l LEFT JOIN users u ON l.@ = u.@", LOG, true);
    assert!(other.starts_with("users.csv:3: column 'age': expected a finite number"), "{other}");
    let sums = "SELECT @, item, price, SUM(click) * 2 AS click, split FROM log GROUP BY @, item, price, split";
    let grouped = told(sums, LOG, false);
    assert!(grouped.starts_with("column 'click', row "), "{grouped}");
}

#[test]
fn what_makes_null_of_nan_works() {
    let sql = "sql = \"SELECT *, NULLIF(price, CAST('NaN' AS DOUBLE)) AS cost FROM log\"\n";
    let recipe = format!("{sql}{}", RECIPE.replace("column = \"price\"", "column = \"cost\""));
    let dataset = Case::new(LOG.replace("1.5", "NaN"), recipe).prepare().unwrap();
    assert_eq!(dataset.facts().unwrap().fields[2].splits[0].nulls, 1);
}

#[test]
fn bytes_that_are_no_utf8_are_told_by_their_line() {
    let mut log = LOG.as_bytes().to_vec();
    let place = log.iter().position(|&b| b == b'y').unwrap();
    log[place] = 0xff;
    let found = message(log);
    assert!(found.starts_with("log.csv:3: not valid UTF-8") && found.contains("`encoding = \"latin1\"`"), "{found}");
    let mut log = long_with("1,x,0.5,1,train\n").into_bytes();
    let place = log.len() - 14;
    log[place] = 0xff;
    assert!(message(log).starts_with("log.csv:30002: not valid UTF-8"));
}

#[test]
fn a_null_group_is_told() {
    assert_eq!(message(LOG.replace("3,z", ",z")), "log.csv:5: column 'user': expected a user or group, found null");
}

#[test]
fn an_empty_training_split_is_told_with_how_rows_were_split() {
    assert_eq!(
        message(LOG.replace("train", "training")),
        "the training split is empty: 4 rows in all, split by column 'split' (\"train\", \"valid\", \"test\"); the column also holds \"training\" in 2 rows"
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
        "1 of 5 rows belong to no split and are left out (split by column 'split' (\"train\", \"valid\", \"test\"); it also holds \"later\")",
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
    assert_eq!(Dataset::open(case.out()).unwrap().rows(Split::Train), 2);
    let left: Vec<_> = std::fs::read_dir(case.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "no scratch folder stays: {left:?}");
}

/// Overwrites bytes of a file, as another program would: its time of change is another one.
fn damage(path: &Path, at: usize, with: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at..at + with.len()].copy_from_slice(with);
    std::fs::write(path, &bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
}

#[test]
fn a_data_set_with_other_values_than_were_written_is_refused_and_prepared_again() {
    let case = Case::new(LOG, RECIPE);
    case.prepare().unwrap();
    for (file, with) in [
        ("train/ids.u32", &999u32.to_le_bytes()[..]),
        ("train/numbers.f32", &f32::NAN.to_le_bytes()),
        ("train/labels.u8", &[0]), // it was 1: nothing is wrong with the value itself
        ("valid/labels.u8", &[7]),
        ("test/groups.u32", &u32::MAX.to_le_bytes()),
        ("vocabulary-0.i64", &9u32.to_le_bytes()),
    ] {
        let path = case.out().join(file);
        damage(&path, 64, with);
        let message = Dataset::open(case.out()).unwrap_err().to_string();
        let expected = "is not a usable data set: its contents are not those that were written: prepare it again";
        assert_eq!(message, format!("{} {expected}", path.display()));
        case.prepare().unwrap();
        Dataset::open(case.out()).unwrap();
    }
    assert!(Dataset::open(case.dir.path()).unwrap_err().to_string().starts_with("cannot read "));
}

/// What is not read is not trusted either: batches are checked before a device sees them.
#[test]
fn a_file_that_looks_untouched_is_not_read_when_a_data_set_is_opened() {
    let case = Case::new(LOG, RECIPE);
    case.prepare().unwrap();
    let path = case.out().join("train/ids.u32");
    let written = std::fs::metadata(&path).unwrap().modified().unwrap();
    damage(&path, 64, &999u32.to_le_bytes());
    File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    let dataset = Dataset::open(case.out()).unwrap();
    let batch = dataset.batches(Split::Train, BatchPlan { size: 9, shuffle: None }).next().unwrap();
    let message = batch.check(dataset.schema()).unwrap_err().to_string();
    assert!(message.contains("row 0, slot 0: id 999"), "{message}");
}

/// The same of lists: neither a length nor the end of a row that makes no sense is followed out of the file.
#[test]
fn lengths_that_make_no_sense_are_refused_with_the_batch() {
    let recipe = RECIPE.replacen("kind = \"category\"", "kind = \"sequence\"\nseparator = \"|\"\nmax_len = 2", 1);
    let recipe = recipe.replacen("file = \"log.csv\"", "file = \"log.csv\"\ntypes = { user = \"text\" }", 1);
    for (file, with) in
        [("train/ids.u32", 999u32.to_le_bytes().to_vec()), ("train/ends.u64", u64::MAX.to_le_bytes().to_vec())]
    {
        let case = Case::new(LOG, &recipe);
        case.prepare().unwrap();
        let path = case.out().join(file);
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        damage(&path, 64, &with);
        File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        let dataset = Dataset::open(case.out()).unwrap();
        let batch = dataset.batches(Split::Train, BatchPlan { size: 9, shuffle: None }).next().unwrap();
        let message = batch.check(dataset.schema()).unwrap_err().to_string();
        assert!(message.starts_with("bad batch: row 0, slot "), "{file}: {message}");
    }
}

#[test]
fn a_file_that_is_cut_short_or_missing_is_told() {
    let case = Case::new(LOG, RECIPE);
    case.prepare().unwrap();
    let path = case.out().join("train/numbers.f32");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let message = Dataset::open(case.out()).unwrap_err().to_string();
    assert!(message.ends_with("68 bytes, 72 were written: prepare it again"), "{message}");
    std::fs::remove_file(&path).unwrap();
    let error = Dataset::open(case.out()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}", path.display()));
    assert!(error.source().is_some(), "the reason of the system is the source, and not in the text twice");
}

#[test]
fn a_copy_of_a_data_set_opens() {
    let case = Case::new(LOG, RECIPE);
    case.prepare().unwrap();
    let copy = case.dir.path().join("copy");
    for folder in ["", "train", "valid", "test"] {
        std::fs::create_dir_all(copy.join(folder)).unwrap();
        for entry in std::fs::read_dir(case.out().join(folder)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                let to = copy.join(folder).join(entry.file_name());
                std::fs::write(to, std::fs::read(entry.path()).unwrap()).unwrap();
            }
        }
    }
    assert_eq!(Dataset::open(copy).unwrap().rows(Split::Train), 2);
}

#[test]
fn a_description_that_contradicts_itself_is_refused_when_it_is_opened() {
    let case = Case::new(LOG, RECIPE);
    case.prepare().unwrap();
    let path = case.out().join("dataset.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let message = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        change(&mut manifest);
        std::fs::write(&path, manifest.to_string()).unwrap();
        Dataset::open(case.out()).unwrap_err().to_string()
    };
    let refused = |expected: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let found = message(change);
        assert!(found.contains(expected), "{found}, expected {expected}");
    };
    refused("0 and 1 counts of labels in test, the schema has 1 tasks", &|m| {
        m["statistics"][2]["positives"] = serde_json::json!([]);
    });
    refused("1 and 2 counts of labels in train, the schema has 1 tasks", &|m| {
        m["statistics"][0]["missing"] = serde_json::json!([0, 0]);
    });
    refused("9 labels are counted in the 2 rows of train", &|m| m["statistics"][0]["positives"][0] = 9.into());
    refused("2 rows of 3, expected 7 of 3", &|m| m["statistics"][0]["rows"] = 7.into());
    refused("2 vocabularies, the schema names 3", &|m| m["keys"] = serde_json::json!(["integers", "texts"]));
    refused("dataset.json has no mark of it", &|m| m["files"] = serde_json::json!({}));
    refused("format 1, this program reads 4: prepare it again", &|m| m["format"] = 1.into());
    case.prepare().unwrap();
}

#[test]
fn a_stop_ends_a_preparation_and_leaves_what_was_there() {
    let case = Case::new(LOG, RECIPE);
    case.prepare().unwrap();
    let options = PrepareOptions::default();
    options.stop.stop();
    let prepare = |recipe: &str| {
        stem_data::prepare(&Recipe::parse(recipe, "recipe.toml").unwrap(), case.dir.path(), &case.out(), &options)
    };
    prepare(RECIPE).unwrap(); // nothing is to be done
    let other = RECIPE.replace("\"case\"", "\"other\"");
    let simulated = format!("{}\n[simulator]\nrows = 100\n", RECIPE.replace("log.csv", "none.csv"));
    for recipe in [other, simulated] {
        let error = prepare(&recipe).unwrap_err();
        assert!(matches!(error, Error::Stopped), "{error}");
    }
    assert_eq!(Dataset::open(case.out()).unwrap().name(), "case");
    let left = std::fs::read_dir(case.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.collect();
    left.sort();
    assert_eq!(left, ["columns", "log.csv"]);
}

/// A preparation that was killed leaves a folder whose lock nobody holds any more.
#[test]
fn what_a_killed_preparation_left_is_removed_by_the_next() {
    let case = Case::new(LOG, RECIPE);
    case.prepare().unwrap();
    let left = case.dir.path().join(".stem-prepare-killed");
    drop(stem_core::lock::Lock::of(&left).unwrap());
    std::fs::create_dir(left.join("coded")).unwrap();
    std::fs::write(left.join("coded/codes"), "many").unwrap();
    case.prepare().unwrap(); // nothing else is to be done
    assert!(!left.exists());
}

#[cfg(unix)]
#[test]
fn a_link_to_a_data_set_is_followed() {
    let case = Case::new(LOG, RECIPE);
    let real = case.dir.path().join("elsewhere");
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, case.out()).unwrap();
    case.prepare().unwrap();
    assert!(case.out().is_symlink());
    assert_eq!(Dataset::open(real).unwrap().rows(Split::Train), 2);
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
    assert!(found.contains("log.csv:2: a quote is never closed"), "{found}");
}

#[test]
fn an_sql_engine_that_panics_is_an_error() {
    let recipe = format!("sql = \"SELECT COLUMNS('(') FROM log\"\n{RECIPE}");
    let found = Case::new(LOG, recipe).message();
    assert!(found.contains("the SELECT does not work"), "{found}");
}
