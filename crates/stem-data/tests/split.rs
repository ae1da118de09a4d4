//! The four ways to split, and the order of rows through joins.

use std::collections::BTreeSet;

use crate::common::{Case, RECIPE};
use stem_data::{BatchPlan, Dataset, PrepareOptions, Recipe, Split, prepare};

/// 40 rows of 4 users; price is the row's number, `at` runs backwards.
fn log() -> String {
    let rows: String = (0..40).map(|i| format!("{},x,{i},{},{}\n", i % 4, i % 2, 100 - i)).collect();
    format!("user,item,price,click,at\n{rows}")
}

fn case(split: &str) -> Case {
    Case::new(log(), RECIPE.split("[split]").next().unwrap().to_string() + "[split]\n" + split)
}

fn rows(dataset: &Dataset, split: Split) -> Vec<usize> {
    let batches = dataset.batches(split, BatchPlan { size: 7, shuffle: None });
    batches.flat_map(|b| b.weights.chunks(3).map(|w| w[2] as usize).collect::<Vec<_>>()).collect()
}

#[test]
fn the_latest_rows_are_tested_on_and_those_before_them_validated_on() {
    let dataset = case("kind = \"time\"\ncolumn = \"at\"\nvalid = 0.1\ntest = 0.2").prepare().unwrap();
    assert_eq!(rows(&dataset, Split::Test), (0..8).collect::<Vec<_>>());
    assert_eq!(rows(&dataset, Split::Valid), (8..12).collect::<Vec<_>>());
    assert_eq!(rows(&dataset, Split::Train), (12..40).collect::<Vec<_>>());
}

#[test]
fn the_last_rows_of_each_user_are_tested_on() {
    let dataset = case("kind = \"last\"\ncolumn = \"user\"\norder = \"at\"\nvalid = 1\ntest = 2").prepare().unwrap();
    assert_eq!(rows(&dataset, Split::Test), (0..8).collect::<Vec<_>>());
    assert_eq!(rows(&dataset, Split::Valid), (8..12).collect::<Vec<_>>());
}

#[test]
fn a_split_by_time_never_cuts_inside_equal_times() {
    let case = case("kind = \"time\"\ncolumn = \"at\"\nvalid = 0.1\ntest = 0.1");
    let rows_of: String = (0..40).map(|i| format!("0,x,{i},{},{}\n", i % 2, i / 10)).collect(); // four days of ten rows
    std::fs::write(case.dir.path().join("log.csv"), format!("user,item,price,click,at\n{rows_of}")).unwrap();
    let dataset = case.prepare().unwrap();
    assert_eq!(rows(&dataset, Split::Test), (30..40).collect::<Vec<_>>());
    assert_eq!(rows(&dataset, Split::Valid), (20..30).collect::<Vec<_>>());
}

#[test]
fn a_split_by_hash_keeps_the_rows_of_a_value_together() {
    let split = |seed: u32| {
        let case = case(&format!("kind = \"hash\"\ncolumn = \"user\"\nvalid = 0.25\ntest = 0.25\nseed = {seed}"));
        let rows_of: String = (0..4000).map(|i| format!("{},x,{i},{},0\n", i % 400, i % 2)).collect();
        std::fs::write(case.dir.path().join("log.csv"), format!("user,item,price,click,at\n{rows_of}")).unwrap();
        let dataset = case.prepare().unwrap();
        Split::ALL.map(|split| rows(&dataset, split).into_iter().map(|row| row % 400).collect::<BTreeSet<_>>())
    };
    let [train, valid, test] = split(1);
    assert!(train.is_disjoint(&valid) && train.is_disjoint(&test) && valid.is_disjoint(&test));
    assert!((60..140).contains(&valid.len()) && (60..140).contains(&test.len()), "{} {}", valid.len(), test.len());
    assert_ne!(split(2)[0], train);
}

#[test]
fn a_split_value_that_no_row_has_is_refused_with_the_values_that_there_are() {
    let case = Case::new(
        "user,item,price,click,split\n1,x,0.5,1,train\n1,y,2,1,valid\n3,z,,0,test\n",
        RECIPE.to_string() + "valid = \"validation\"\n",
    );
    let message = case.message();
    assert!(message.contains("the validation split is empty") && message.contains("\"valid\" in 1 rows"), "{message}");
}

#[test]
fn times_may_be_floats_of_either_sign() {
    let case = case("kind = \"time\"\ncolumn = \"at\"\nvalid = 0.1\ntest = 0.1");
    let rows_of: String = (0..40).map(|i| format!("0,x,{i},{},{}\n", i % 2, f64::from(i) * 1.5 - 30.0)).collect();
    std::fs::write(case.dir.path().join("log.csv"), format!("user,item,price,click,at\n{rows_of}")).unwrap();
    assert_eq!(rows(&case.prepare().unwrap(), Split::Test), (36..40).collect::<Vec<_>>());
}

#[test]
fn a_random_split_follows_its_seed() {
    let split = |seed: u32| {
        let dataset = case(&format!("kind = \"random\"\nvalid = 0.2\ntest = 0.2\nseed = {seed}")).prepare().unwrap();
        Split::ALL.map(|split| rows(&dataset, split))
    };
    assert_eq!(split(1), split(1));
    assert_ne!(split(1), split(2));
    let mut all = split(1).concat();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
}

#[test]
fn a_split_column_needs_values_and_an_order() {
    let message = case("kind = \"time\"\ncolumn = \"item\"").message();
    assert!(
        message.contains("the split orders by \"item\", which is text, for instance \"x\" (log.csv, line 2), expected a number, a date or a time: STRPTIME(\"item\", '%Y-%m-%d %H:%M:%S')"),
        "{message}"
    );
    let message = case("kind = \"time\"\ncolumn = \"when\"").message();
    assert!(message.contains("there is no column \"when\""), "{message}");
}

/// Joins on the streaming engine keep no order of their own accord: thirty thousand rows, two joins, five runs.
#[test]
fn joined_rows_keep_the_order_of_the_first_table() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    let n = 30_000;
    write(
        "log.csv",
        "uid,item,row,click\n".to_string()
            + &(0..n).map(|i| format!("{},{},{i},{}\n", i * 7919 % 997, i * 31 % 501, i % 2)).collect::<String>(),
    );
    write("users.csv", "uid,age\n".to_string() + &(0..997).map(|u| format!("{u},{}\n", u % 60)).collect::<String>());
    write("items.csv", "item,kind\n".to_string() + &(0..400).map(|i| format!("{i},k{}\n", i % 9)).collect::<String>());
    let recipe = r#"
        name = "joined"
        sql = "SELECT l.uid, u.age, i.kind, l.row, l.click FROM log l JOIN users u ON l.uid = u.uid LEFT JOIN items i ON l.item = i.item"
        source = [{ name = "log", file = "log.csv" }, { name = "users", file = "users.csv" }, { name = "items", file = "items.csv" }]
        field = [{ column = "age", kind = "category" }, { column = "kind", kind = "category" }, { column = "row", kind = "number" }]
        label = [{ column = "click" }]
        split = { kind = "random", valid = 0, test = 0 }
    "#;
    let recipe = Recipe::parse(recipe, "recipe.toml").unwrap();
    for _ in 0..5 {
        let out = tempfile::tempdir().unwrap();
        let dataset = prepare(&recipe, dir.path(), out.path(), &PrepareOptions::default()).unwrap();
        assert_eq!(rows(&dataset, Split::Train), (0..n).collect::<Vec<_>>());
    }
}

#[test]
fn parquet_and_ipc_tables_are_read_by_their_own_schema() {
    use polars::prelude::*;
    let dir = tempfile::tempdir().unwrap();
    let mut frame =
        df!("user" => [1i64, 2, 3], "tags" => [Some("a"), None, Some("b")], "click" => [true, false, true]).unwrap();
    let file = |name: &str| std::fs::File::create(dir.path().join(name)).unwrap();
    ParquetWriter::new(file("log.parquet")).finish(&mut frame).unwrap();
    IpcWriter::new(file("log.ipc")).finish(&mut frame).unwrap();
    for name in ["log.parquet", "log.ipc"] {
        let recipe = format!(
            r#"
            name = "x"
            source = [{{ name = "log", file = "{name}" }}]
            field = [{{ column = "user", kind = "category" }}, {{ column = "tags", kind = "category" }}]
            label = [{{ column = "click" }}]
            split = {{ kind = "random", valid = 0, test = 0 }}
            "#
        );
        let dataset = prepare(
            &Recipe::parse(&recipe, "recipe.toml").unwrap(),
            dir.path(),
            &dir.path().join("out"),
            &PrepareOptions::default(),
        )
        .unwrap();
        assert_eq!(dataset.labels(Split::Train), [1.0, 0.0, 1.0]);
        std::fs::write(dir.path().join(name), b"PAR1 is not enough").unwrap();
        let recipe = Recipe::parse(&recipe, "recipe.toml").unwrap();
        let message =
            prepare(&recipe, dir.path(), &dir.path().join("out"), &PrepareOptions::default()).unwrap_err().to_string();
        assert!(message.contains("the query failed: ") || message.contains(name), "{message}");
    }
}

#[test]
fn every_integer_width_of_parquet_is_read() {
    use polars::prelude::*;
    let dir = tempfile::tempdir().unwrap();
    let widths = [
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
    ];
    let mut columns = vec![Column::new("click".into(), [1u8, 0, 1]).cast(&DataType::UInt8).unwrap()];
    for dtype in &widths {
        columns.push(Column::new(dtype.to_string().into(), [7i64, 9, 7]).cast(dtype).unwrap());
    }
    let mut frame = DataFrame::new(3, columns).unwrap();
    ParquetWriter::new(std::fs::File::create(dir.path().join("log.parquet")).unwrap()).finish(&mut frame).unwrap();
    let field = |dtype: &DataType| format!("{{ column = \"{dtype}\", kind = \"category\" }}");
    let recipe = format!(
        r#"
        name = "x"
        source = [{{ name = "log", file = "log.parquet" }}]
        field = [{}]
        label = [{{ column = "click" }}]
        split = {{ kind = "random", valid = 0, test = 0 }}
        "#,
        widths.iter().map(field).collect::<Vec<_>>().join(", ")
    );
    let recipe = Recipe::parse(&recipe, "recipe.toml").unwrap();
    let dataset = prepare(&recipe, dir.path(), &dir.path().join("out"), &PrepareOptions::default()).unwrap();
    assert_eq!(dataset.labels(Split::Train), [1.0, 0.0, 1.0]);
    for vocabulary in dataset.vocabularies() {
        assert_eq!(*vocabulary, stem_core::Vocabulary::integers([7, 9]));
    }
}
