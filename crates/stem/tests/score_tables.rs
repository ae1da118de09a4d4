//! `stem score` of tables in every format: the same rows score the same, and what is wrong is named with its file.

use std::path::Path;

use crate::program::{Small, fails, json, stem, succeeds, text};
use polars::prelude::*;

fn score<'a>(bundle: &'a str, inputs: &[&'a str], output: &'a str) -> Vec<&'a str> {
    [&["score", "--bundle", bundle, "--output", output, "--input"], inputs].concat()
}

/// What is told on stderr of a run that ends well.
fn told(args: &[&str]) -> String {
    let output = stem(args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stderr)
}

fn parquet(path: &str, frame: &DataFrame) {
    ParquetWriter::new(std::fs::File::create(path).unwrap()).finish(&mut frame.clone()).unwrap();
}

fn read_parquet(path: &str) -> DataFrame {
    ParquetReader::new(std::fs::File::open(path).unwrap()).finish().unwrap()
}

/// The last column of a CSV text.
fn last(csv: &str) -> Vec<&str> {
    csv.lines().skip(1).map(|line| line.rsplit_once(',').unwrap().1).collect()
}

const ROWS: usize = 500;

/// The same rows in every format: users, items and a note.
fn written(small: &Small) -> Vec<String> {
    let note = |i: usize| ["a \"quote\"", "x, y", "plain"][i % 3];
    let rows = |line: &dyn Fn(usize) -> String| (0..ROWS).map(line).collect::<String>();
    let quoted = |i: usize| note(i).replace('"', "\"\"");
    let csv = small.write(
        "in.csv",
        &format!("user,item,note\n{}", rows(&|i| format!("{},{},\"{}\"\n", i % 40, i % 30, quoted(i)))),
    );
    let tsv = small
        .write("in.tsv", &format!("user\titem\tnote\n{}", rows(&|i| format!("{}\t{}\t{}\n", i % 40, i % 30, note(i)))));
    let lines = rows(&|i| format!("{{\"user\": {}, \"item\": \"{}\", \"note\": {:?}}}\n", i % 40, i % 30, note(i)));
    let jsonl = small.write("in.jsonl", &lines);
    let column = |of: fn(usize) -> i64| (0..ROWS).map(of).collect::<Vec<_>>();
    let notes: Vec<&str> = (0..ROWS).map(note).collect();
    let mut frame =
        df!("user" => column(|i| i as i64 % 40), "item" => column(|i| i as i64 % 30), "note" => notes).unwrap();
    parquet(&small.path("in.parquet"), &frame);
    IpcWriter::new(std::fs::File::create(small.path("in.arrow")).unwrap()).finish(&mut frame).unwrap();
    vec![csv, tsv, jsonl, small.path("in.parquet"), small.path("in.arrow")]
}

#[test]
fn a_column_that_is_named_like_a_score_is_refused_or_gives_way_in_every_format() {
    let small = Small::new();
    let bundle = small.trained();
    let csv = small.write("in.csv", "user,p_a,item\n1,0.5,1\n2,0.5,3\n");
    let tsv = small.write("in.tsv", "user\tp_a\titem\n1\t0.5\t1\n2\t0.5\t3\n");
    let objects = "{\"user\":1,\"p_a\":0.5,\"item\":1}\n{\"user\":2,\"p_a\":0.5,\"item\":3}\n";
    let jsonl = small.write("in.jsonl", objects);
    let frame = df!("user" => [1i64, 2], "p_a" => [0.5, 0.5], "item" => [1i64, 3]).unwrap();
    parquet(&small.path("in.parquet"), &frame);
    let plain = small.write("plain.csv", "user,item\n1,1\n2,3\n");
    succeeds(&score(&bundle, &[&plain], &small.path("plain.scores.csv")));
    let expected = small.read("plain.scores.csv");
    for input in [csv, tsv, jsonl, small.path("in.parquet")] {
        for end in ["csv", "tsv", "jsonl", "parquet"] {
            let name = format!("scores.{end}");
            let output = small.path(&name);
            let message = fails(&score(&bundle, &[&input], &output));
            let is_told = message.contains("has a column 'p_a' already") && message.contains("--overwrite-columns");
            assert!(is_told && !Path::new(&output).exists(), "{message}");
            succeeds(&[score(&bundle, &[&input], &output), vec!["--overwrite-columns"]].concat());
            let found = match end {
                "parquet" => rows_of(&read_parquet(&output)),
                "jsonl" => objects_of(&small.read(&name)),
                _ => small.read(&name).replace('\t', ","),
            };
            assert_eq!(found, expected, "{input} to {end}");
            std::fs::remove_file(output).unwrap();
        }
    }
    let first = "{\"user\":1,\"item\":1}\n".repeat(9000);
    let later = small.write("later.jsonl", &format!("{first}{{\"user\":2,\"item\":3,\"p_a\":1}}\n"));
    let message = fails(&score(&bundle, &[&later], &small.path("later.scores.jsonl")));
    assert!(message.contains("line 9001 has a column 'p_a' already"), "{message}");
}

/// JSON lines as CSV.
fn objects_of(lines: &str) -> String {
    let pair = |pair: &str, of: fn((&str, &str)) -> String| of(pair.split_once(':').unwrap());
    let row = |line: &str, of: fn((&str, &str)) -> String| {
        let values: Vec<String> = line.trim_matches(['{', '}']).split(',').map(|each| pair(each, of)).collect();
        values.join(",") + "\n"
    };
    let names = row(lines.lines().next().unwrap(), |(name, _)| name.trim_matches('"').into());
    let value: fn((&str, &str)) -> String = |(_, value)| value.trim_matches('"').into();
    names + &lines.lines().map(|line| row(line, value)).collect::<String>()
}

/// A table as CSV.
fn rows_of(frame: &DataFrame) -> String {
    let mut csv = Vec::new();
    CsvWriter::new(&mut csv).finish(&mut frame.clone()).unwrap();
    text(&csv)
}

#[test]
fn each_format_gives_the_same_scores_into_each_format() {
    let small = Small::new();
    let bundle = small.trained();
    let inputs = written(&small);
    let plain = small.path("plain.csv");
    succeeds(&score(&bundle, &[&inputs[0]], &plain));
    let expected = small.read("plain.csv");
    for input in &inputs {
        for output in ["s.csv", "s.tsv", "s.jsonl", "s.parquet", "s.csv.gz", "s.jsonl.zst", "s.tsv.gz"] {
            let (output, again) = (small.path(output), small.path("again.csv"));
            let answer = json(&score(&bundle, &[input], &output));
            assert_eq!((&answer["rows"], &answer["unseen"]["item"]), (&ROWS.into(), &0.into()), "{input} {output}");
            assert_eq!(answer["values"]["item"], ROWS, "{input} {output}");
            // scored once more it has the same scores in the place of those of before
            succeeds(&[score(&bundle, &[&output], &again), vec!["--overwrite-columns"]].concat());
            let again = small.read("again.csv");
            assert_eq!(last(&again), last(&expected), "{input} {output}");
            let first: Vec<&str> = again.lines().map(|line| line.split(",p_").next().unwrap()).take(1).collect();
            assert_eq!(first, ["user,item,note"], "{input} {output}");
            assert!(again.contains(r#""a ""quote""""#) && again.contains(r#""x, y""#), "{input} {output}");
        }
    }
    let frame = read_parquet(&small.path("s.parquet"));
    assert_eq!(frame.column("user").unwrap().dtype(), &DataType::Int64);
    assert_eq!(frame.column("p_a").unwrap().dtype(), &DataType::Float32);
}

#[test]
fn names_folders_and_patterns_are_one_table_and_errors_name_the_file_and_its_row() {
    let small = Small::new();
    let bundle = small.trained();
    for folder in ["log/day=1", "log/day=2"] {
        std::fs::create_dir_all(small.folder.path().join(folder)).unwrap();
    }
    small.write("log/day=1/a.csv", "user,item\n1,1\n2,2\n");
    small.write("log/day=2/b.csv", "item,user\n3,3\n");
    small.write("log/_SUCCESS", "");
    let (output, more) = (small.path("out.csv"), small.write("more.csv", "user,item,day\n4,4,9\n"));
    let (folder, pattern) = (small.path("log"), small.path("log/*/*.csv"));
    for inputs in [vec![folder.as_str(), &more], vec![pattern.as_str(), more.as_str()]] {
        assert_eq!(json(&score(&bundle, &inputs, &output))["rows"], 4);
        let keys: Vec<String> =
            small.read("out.csv").lines().map(|l| l.split(',').take(3).collect::<Vec<_>>().join(",")).collect();
        assert_eq!(keys, ["user,item,day", "1,1,1", "2,2,1", "3,3,2", "4,4,9"]);
    }
    let several = [&score(&bundle, &[&folder], &output)[..], &["--input", &more]].concat();
    assert_eq!(json(&several)["rows"], 4, "--input is given twice");

    small.write("log/day=2/b.csv", "item,user\n3,3\nx,3\n");
    let message = fails(&score(&bundle, &[&folder], &output));
    assert!(message.starts_with(&small.path("log/day=2/b.csv:3: column 'item': ")), "{message}");

    let frame = |user: &[&str]| df!("user" => user, "item" => vec![1i32; user.len()]).unwrap();
    std::fs::create_dir(small.folder.path().join("typed")).unwrap();
    parquet(&small.path("typed/a.parquet"), &frame(&["1", "2"]));
    parquet(&small.path("typed/b.parquet"), &frame(&["3", "x"]));
    let message = fails(&score(&bundle, &[&small.path("typed")], &output));
    assert!(message.starts_with(&small.path("typed/b.parquet, row 1 (counted from 0): column 'user': ")), "{message}");
    let typed = small.path("typed");
    let args = [&score(&bundle, &[&typed], &output)[..], &["--on-error", "skip"]].concat();
    let answer = json(&args);
    assert_eq!((&answer["rows"], &answer["skipped"]), (&3.into(), &1.into()));

    small.write("lack.csv", "user,note\n5,x\n");
    let lacking = told(&score(&bundle, &[&more, &small.path("lack.csv")], &output));
    assert!(lacking.contains("column \"item\" is not in every file (in 1 it is missing, first in"), "{lacking}");
}

#[test]
fn every_refusal_says_what_to_do() {
    let small = Small::new();
    let bundle = small.trained();
    let csv = small.write("in.csv", "user,item\n1,1\n");
    let jsonl = small.write("in.jsonl", "{\"user\": 1, \"item\": 2}\n");
    let refused = |inputs: &[&str], output: &str| fails(&score(&bundle, inputs, &small.path(output)));
    assert!(refused(&[&csv], "out.xlsx").contains("does not tell a format that is written: .csv, .tsv"));
    assert!(refused(&[&csv], "out.arrow").contains("does not tell a format that is written"));
    assert!(refused(&[&csv], "out.parquet.gz").contains("leave .gz and .zst out"));
    assert!(refused(&[&csv, &jsonl], "out.csv").contains("one table has one format"));
    assert!(refused(&[&csv, "-"], "out.csv").contains("stdin is one table"));
    assert!(refused(&[&small.path("no*.csv")], "out.csv").contains("no file fits"));
    let unknown = stem(&[&score(&bundle, &[&csv], "o.csv")[..], &["--format", "xml"]].concat()).output().unwrap();
    assert!(text(&unknown.stderr).contains("expected csv, tsv, parquet, ipc or jsonl"));

    let of = |name: &str, content: &str| {
        let path = small.write(name, content);
        refused(&[&path], "out.csv")
    };
    assert!(of("a.parquet", "user,item\n1,1\n").contains("it is not a Parquet file: it is text"));
    assert!(of("a.csv", "").contains("has no rows (0 bytes)"));
    assert!(of("a.csv", "user;item\n1;2\n").contains("every line has 2 values between \";\""));
    assert!(of("a.csv", "PK\u{3}\u{4}xx").contains("a zip archive"));
    assert!(
        of("a.jsonl", "{\"user\": 1, \"item\": 2}\n[1]\n")
            .contains("a.jsonl:2: expected one JSON object a line: invalid type: sequence")
    );
    assert!(of("a.jsonl", "{\"user\": 1}\n").contains("has no column 'item'"));
    assert!(
        of("a.jsonl", "{\"user\": 1, \"item\": {\"id\": 2}}\n")
            .contains("a.jsonl:1: column 'item': expected a value or a list of values")
    );
    assert!(of("a.jsonl", "\n").contains("has no rows"));
    let drift =
        small.write("drift.jsonl", "{\"user\": 1, \"item\": 2, \"x\": 1}\n{\"user\": 1, \"item\": 2, \"x\": \"a\"}\n");
    assert!(refused(&[&drift], "out.parquet").contains("drift.jsonl:1: column 'x': expected values of one type"));
    let first = "{\"user\":1,\"item\":2}\n".repeat(8192);
    let later = small.write("later.jsonl", &format!("{first}{{\"user\": 1, \"item\": 2, \"y\": 1}}\n"));
    assert!(
        refused(&[&later], "out.csv")
            .contains("later.jsonl:8193: column 'y': expected a column that the first rows have too")
    );
    succeeds(&score(&bundle, &[&later], &small.path("out.jsonl")));
    assert!(
        small.read("out.jsonl").lines().last().unwrap().starts_with("{\"user\": 1, \"item\": 2, \"y\": 1,\"p_a\":")
    );
    let tab = small.write("tab.csv", "user,item,note\n1,1,\"a\tb\"\n");
    assert!(refused(&[&tab], "out.tsv").contains("which TSV cannot hold: write CSV"));
    assert!(!Path::new(&small.path("out.tsv")).exists());

    let skipped = small.write(
        "skip.jsonl",
        "{\"user\": 1, \"item\": 2}\nno\n{\"user\": 1, \"item\": [2]}\n{\"user\": 1, \"item\": 2}\n",
    );
    let output = small.path("out.jsonl");
    let answer = json(&[&score(&bundle, &[&skipped], &output)[..], &["--on-error", "skip"]].concat());
    assert_eq!((&answer["rows"], &answer["skipped"]), (&2.into(), &2.into()));
}

#[test]
fn standard_input_and_pipes_are_read_in_the_format_that_is_named() {
    let small = Small::new();
    let bundle = small.trained();
    let inputs = written(&small);
    let plain = succeeds(&score(&bundle, &[&inputs[0]], "-"));
    for (input, format) in inputs.iter().zip(["csv", "tsv", "jsonl", "parquet", "ipc"]) {
        let from = std::fs::File::open(input).unwrap();
        let args = [&score(&bundle, &["-"], "-")[..], &["--format", format]].concat();
        let piped = stem(&args).stdin(from).output().unwrap();
        assert_eq!(
            (piped.status.code(), text(&piped.stdout)),
            (Some(0), plain.clone()),
            "{format}: {}",
            text(&piped.stderr)
        );
    }
    std::fs::copy(&inputs[3], small.path("untold")).unwrap();
    assert_eq!(succeeds(&score(&bundle, &[&small.path("untold")], "-")), plain, "by its first bytes");
}

/// Trains on `log.parquet` of the folder by a recipe of these fields; gives the bundle.
fn trained(small: &Small, recipe: &str) -> String {
    small.write("own.toml", recipe);
    let [recipe, data, experiment, out] = ["own.toml", "", "small.toml", "own"].map(|name| small.path(name));
    succeeds(&[
        "train",
        "--recipe",
        &recipe,
        "--data",
        &data,
        "--experiment",
        &experiment,
        "--out",
        &out,
        "--epochs",
        "1",
        "--model",
        "single-task",
    ]);
    small.path("own/bundle.safetensors")
}

#[test]
fn values_of_every_type_name_the_ids_that_they_had_in_training_and_keep_their_types() {
    let small = Small::new();
    let n = 600usize;
    let column = |name: &str, values: Vec<i64>| Column::new(name.into(), values);
    let each = |of: fn(usize) -> i64| (0..n).map(of).collect::<Vec<i64>>();
    let tags = |of: fn(usize) -> Series| (0..n).map(of).collect::<Vec<Series>>();
    let days =
        column("day", each(|i| 19_000 + i as i64 % 5)).cast(&DataType::Int32).unwrap().cast(&DataType::Date).unwrap();
    let class: Vec<&str> = (0..n).map(|i| ["low", "high", "007"][i % 3]).collect();
    let categories = Categories::global();
    let columns = vec![
        Column::new("big".into(), (0..n).map(|i| u64::MAX - i as u64 % 4).collect::<Vec<u64>>()),
        column("small", each(|i| i as i64 % 9)).cast(&DataType::Int16).unwrap(),
        column("flag", each(|i| i as i64 % 2)).cast(&DataType::Boolean).unwrap(),
        column("whole", each(|i| i as i64 % 7)).cast(&DataType::Float32).unwrap(),
        column("amount", each(|i| i as i64 % 6)).cast(&DataType::Decimal(12, 0)).unwrap(),
        column("price", each(|i| i as i64 % 50)).cast(&DataType::Decimal(12, 2)).unwrap(),
        Column::new("class".into(), class).cast(&DataType::from_categories(categories)).unwrap(),
        days,
        Column::new("tags".into(), tags(|i| Series::new("".into(), vec!["x"; i % 3]))),
        Column::new("ids".into(), tags(|i| Series::new("".into(), vec![i as i64 % 5; 1 + i % 2]))),
        column("click", each(|i| i64::from(i % 4 == 0))),
    ];
    let frame = DataFrame::new(n, columns).unwrap();
    parquet(&small.path("log.parquet"), &frame);
    let categories = ["big", "small", "flag", "whole", "amount", "class", "day"];
    let fields: String = categories.map(|name| format!("{{ column = \"{name}\", kind = \"category\" }},\n")).concat();
    let bundle = trained(
        &small,
        &format!(
            r#"name = "types"
source = [{{ name = "log", file = "log.parquet" }}]
field = [
{fields}{{ column = "price", kind = "number" }},
{{ column = "tags", kind = "sequence", max_len = 3 }},
{{ column = "ids", kind = "sequence", max_len = 3 }},
]
label = [{{ column = "click" }}]
split = {{ kind = "random", valid = 0.2, test = 0.2, seed = 1 }}
"#
        ),
    );
    let input = small.path("log.parquet");
    let mut expected = None;
    for output in ["t.parquet", "t.csv", "t.jsonl"] {
        let (output, again) = (small.path(output), small.path("again.csv"));
        for (input, output) in [(&input, &output), (&output, &again)] {
            let answer = json(&[score(&bundle, &[input], output), vec!["--overwrite-columns"]].concat());
            for field in categories.iter().chain(&["tags", "ids"]) {
                assert_eq!(answer["unseen"][field], 0, "{field} of {input}");
                assert!(answer["values"][field].as_u64().unwrap() >= n as u64, "{field} of {input}");
            }
        }
        let again = small.read("again.csv");
        let scores: Vec<String> = last(&again).into_iter().map(String::from).collect();
        assert_eq!(expected.get_or_insert(scores.clone()), &scores, "{output}");
    }
    let written = read_parquet(&small.path("t.parquet"));
    for column in frame.columns() {
        assert_eq!(written.column(column.name()).unwrap().dtype(), column.dtype(), "{}", column.name());
    }
    let line = small.read("t.jsonl").lines().nth(1).unwrap().to_string();
    assert!(
        line.contains("\"flag\":true") && line.contains("\"day\":\"2022-01-09\"") && line.contains("\"ids\":[1,1]"),
        "{line}"
    );
}

#[test]
fn what_the_select_computed_of_dates_times_and_lists_is_computed_again() {
    let small = Small::new();
    let n = 600usize;
    let each = |of: fn(usize) -> i64| (0..n).map(of).collect::<Vec<i64>>();
    let at = Column::new("at".into(), each(|i| 1_650_000_000_000 + i as i64 * 3_600_000));
    let day = Column::new("day".into(), each(|i| 19_000 + i as i64 % 9)).cast(&DataType::Int32).unwrap();
    let vector = (0..n).map(|i| Series::new("".into(), [i as f64 / 8.0, 1.5])).collect::<Vec<_>>();
    let frame = DataFrame::new(
        n,
        vec![
            at.cast(&DataType::Datetime(TimeUnit::Milliseconds, None)).unwrap(),
            day.cast(&DataType::Date).unwrap(),
            Column::new("vector".into(), vector),
            Column::new("click".into(), each(|i| i64::from(i % 4 == 0))),
        ],
    )
    .unwrap();
    parquet(&small.path("log.parquet"), &frame);
    let bundle = trained(
        &small,
        r#"name = "times"
sql = "SELECT EXTRACT(HOUR FROM at) AS hour, CAST(at AS BIGINT) AS ms, EXTRACT(DAY FROM day) AS day_of_month, ARRAY_GET(vector, 1) AS v0, click FROM log"
source = [{ name = "log", file = "log.parquet" }]
field = [
{ column = "hour", kind = "category" },
{ column = "ms", kind = "number", standardize = true },
{ column = "day_of_month", kind = "category" },
{ column = "v0", kind = "number" },
]
label = [{ column = "click" }]
split = { kind = "random", valid = 0.2, test = 0.2, seed = 1 }
"#,
    );
    let (raw, ready) = (small.path("raw.csv"), small.path("ready.csv"));
    let answer = json(&score(&bundle, &[&small.path("log.parquet")], &raw));
    assert_eq!((&answer["unseen"]["hour"], &answer["values"]["day_of_month"]), (&0.into(), &n.into()));
    let select = format!(
        "hour,ms,day_of_month,v0\n{}",
        (0..n)
            .map(|i| {
                let ms = 1_650_000_000_000 + i as i64 * 3_600_000;
                format!("{},{ms},{},{}\n", ms / 3_600_000 % 24, 8 + i % 9, i as f64 / 8.0)
            })
            .collect::<String>()
    );
    let select = small.write("select.csv", &select);
    succeeds(&[&score(&bundle, &[&select], &ready)[..], &["--derived"]].concat());
    assert_eq!(last(&small.read("raw.csv")), last(&small.read("ready.csv")));
    let again = small.path("again.csv");
    succeeds(&[score(&bundle, &[&raw], &again), vec!["--overwrite-columns"]].concat());
    assert_eq!(last(&small.read("again.csv")), last(&small.read("raw.csv")), "dates, times and lists as texts");
    let wrong =
        small.write("wrong.csv", "at,day,vector\n2024-03-01 10:00:00,2024-03-01,\"[1, 2]\"\nnoon,2024-03-01,[]\n");
    let message = fails(&score(&bundle, &[&wrong], &again));
    assert!(
        message.contains("wrong.csv:3: column 'at': expected a time (2024-03-01 12:30:00), found \"noon\""),
        "{message}"
    );
}

#[test]
fn a_recipe_computes_what_takes_other_rows_and_tables_without_labels() {
    let small = Small::new();
    let table = |rows: std::ops::Range<usize>, click: bool| {
        let part = |i: usize| ["valid", "test"].get(i % 10).copied().unwrap_or("train");
        let end =
            |i: usize| if click { format!(",{},{}", u8::from(i.is_multiple_of(3)), part(i)) } else { String::new() };
        let header = if click { "user,item,at,click,part\n" } else { "user,item,at\n" };
        let rows = rows.map(|i| format!("{},{},{i}{}\n", i % 40, i % 7, end(i)));
        format!("{header}{}", rows.collect::<String>())
    };
    small.write("log.csv", &table(0..600, true));
    let items = format!("item,genre\n{}", (0..7).map(|i| format!("{i},G{}\n", i % 3)).collect::<String>());
    small.write("items.csv", &items);
    let recipe = r#"name = "joined"
sql = """
WITH events AS (SELECT "user", item, at, click, part FROM log)
SELECT e."user", e.item, e.at, LOWER(i.genre) AS genre, LAG(e.item) OVER (PARTITION BY e."user" ORDER BY e.at) AS before, e.click, e.part
FROM events e LEFT JOIN items i ON e.item = i.item
"""
source = [{ name = "log", file = "log.csv", types = { click = "int" } }, { name = "items", file = "items.csv" }]
field = [{ column = "user", kind = "category" }, { column = "genre", kind = "category" }, { column = "before", kind = "category" }]
label = [{ column = "click" }]
split = { kind = "column", column = "part" }
"#;
    let bundle = trained(&small, recipe);
    std::fs::create_dir(small.folder.path().join("new")).unwrap();
    small.write("new/log.csv", &table(0..200, false));
    small.write("new/items.csv", &items);
    let [recipe, new, output, ready, csv] =
        ["own.toml", "new", "new.csv", "ready.csv", "select.csv"].map(|name| small.path(name));
    let args = ["score", "--bundle", &bundle, "--recipe", &recipe, "--data", &new, "--output", &output];
    let answer = json(&args);
    assert_eq!(
        (&answer["rows"], &answer["unseen"]["genre"], &answer["values"]["before"]),
        (&200.into(), &0.into(), &160.into())
    );
    let scored = small.read("new.csv");
    assert_eq!(scored.lines().next(), Some("user,item,at,genre,before,p_click"));
    let before = |i: usize| if i >= 40 { ((i - 40) % 7).to_string() } else { String::new() };
    let select: String = (0..200).map(|i| format!("{},g{},{}\n", i % 40, i % 7 % 3, before(i))).collect();
    small.write("select.csv", &format!("user,genre,before\n{select}"));
    succeeds(&[&score(&bundle, &[&csv], &ready)[..], &["--derived"]].concat());
    assert_eq!(last(&scored), last(&small.read("ready.csv")));

    let alone = fails(&score(&bundle, &[&small.path("new/log.csv")], &output));
    assert!(alone.contains("cannot be computed again from a row alone") && alone.contains("--recipe FILE"), "{alone}");
    let data = small.path("");
    let with_labels = ["score", "--bundle", &bundle, "--recipe", &recipe, "--data", &data, "--output", &output];
    assert_eq!(json(&with_labels)["rows"], 600);
    assert!(
        small.read("new.csv").starts_with("user,item,at,genre,before,click,part,p_click\n"),
        "labels that are there are kept"
    );
    small.write("own.toml", &small.read("own.toml").replace("LOWER(i.genre)", "UPPER(i.genre)"));
    let changed = told(&args);
    assert!(changed.contains("'genre' is UPPER(i.genre) in the SELECT of"), "{changed}");
    assert!(changed.contains("field 'genre': 100 % of the 200 values are unseen (for instance \"G0\")"), "{changed}");
}

#[test]
fn a_field_that_is_nearly_all_unseen_is_warned_of_with_a_value() {
    let small = Small::new();
    let genres = |separator: &str| {
        format!(
            "genres,click\n{}",
            (0..400).map(|i| format!("\"Drama{separator}War\",{}\n", i % 2)).collect::<String>()
        )
    };
    small.write("log.csv", &genres("|"));
    let bundle = trained(
        &small,
        r#"name = "genres"
source = [{ name = "log", file = "log.csv" }]
field = [{ column = "genres", kind = "sequence", separator = "|", max_len = 3 }]
label = [{ column = "click" }]
split = { kind = "random", valid = 0.2, test = 0.2, seed = 1 }
"#,
    );
    let (input, output) = (small.path("in.csv"), small.path("out.csv"));
    small.write("in.csv", &genres(", "));
    let warned = told(&score(&bundle, &[&input], &output));
    let expected =
        "field 'genres': 100 % of the 400 values are unseen (for instance \"Drama, War\"): is the separator right?";
    assert!(warned.contains(expected), "{warned}");
    let answer = json(&score(&bundle, &[&input], &output));
    assert_eq!((&answer["unseen"]["genres"], &answer["values"]["genres"]), (&400.into(), &400.into()));
    small.write("in.csv", &genres("|"));
    assert!(!told(&score(&bundle, &[&input], &output)).contains("unseen"));
}
