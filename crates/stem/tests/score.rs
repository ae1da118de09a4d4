//! `stem score`: what goes in, what comes out, and what is never written over.

use crate::program::{Small, device, fails, json, stem, succeeds, text};
use std::path::Path;
use std::process::Stdio;
use stem_core::{DeviceSpec, Predictor, Row};

fn score<'a>(bundle: &'a str, input: &'a str, output: &'a str) -> Vec<&'a str> {
    vec!["score", "--bundle", bundle, "--input", input, "--output", output]
}

/// The rows of `input` with a probability per task.
fn assert_scored(input: &str, scored: &str) {
    let (before, after): (Vec<&str>, Vec<&str>) = (input.lines().collect(), scored.lines().collect());
    assert_eq!(before.len(), after.len());
    assert_eq!(after[0], format!("{},p_a,p_b", before[0]));
    for (before, after) in before.iter().zip(&after).skip(1) {
        let scores = after.strip_prefix(&format!("{before},")).unwrap();
        assert!(scores.split(',').all(|p| (0.0..=1.0).contains(&p.parse::<f64>().unwrap())), "{after}");
    }
}

#[test]
fn the_columns_stay_and_one_per_task_is_appended() {
    let small = Small::new();
    let (bundle, input, output) = (small.trained(), small.path("rows.csv"), small.path("scores.csv"));
    let device = device();
    let args = [&score(&bundle, &input, &output)[..], &["--device", &device]].concat();
    assert_eq!(succeeds(&args), format!("2000 rows scored, {output}\n"));
    assert_scored(&small.read("rows.csv"), &small.read("scores.csv"));
    let before = small.read("scores.csv");
    let answer = json(&args);
    assert_eq!((&answer["rows"], &answer["skipped"], &answer["output"]), (&2000.into(), &0.into(), &output.into()));
    assert_eq!(small.read("scores.csv"), before, "an older output is replaced by the same rows");
}

#[test]
fn what_each_field_adds_stands_beside_the_scores_as_the_library_tells_it() {
    let small = Small::new();
    let (bundle, input) = (small.trained(), small.path("rows.csv"));
    let predictor = Predictor::open(&bundle, &DeviceSpec::from_env().unwrap().open().unwrap()).unwrap();
    let asked = small.read("rows.csv");
    let header: Vec<&str> = asked.lines().next().unwrap().split(',').collect();
    let device = device();
    for (format, rows) in [("csv", "3"), ("jsonl", "3"), ("parquet", "3"), ("csv", "")] {
        let output = small.path(&format!("why.{format}"));
        let mut args = [&score(&bundle, &input, &output)[..], &["--device", &device, "--explain"]].concat();
        args.extend(Some(rows).filter(|rows| !rows.is_empty()));
        let expected_rows = if rows.is_empty() { 2000 } else { 3 };
        assert_eq!(succeeds(&args), format!("{expected_rows} rows scored, {output}\n"));
        if format == "parquet" {
            continue; // its columns are those of the others, by the same writer
        }
        let written = small.read(&format!("why.{format}"));
        let lines: Vec<&str> = written.lines().skip(usize::from(format == "csv")).collect();
        assert_eq!(lines.len(), expected_rows);
        let names: Vec<&str> = written.lines().next().unwrap().split(',').collect();
        for (line, row) in lines.iter().zip(asked.lines().skip(1)).take(3) {
            let row: Row = header.iter().copied().zip(row.split(',')).collect();
            let expected = predictor.explain(&[row]).unwrap().remove(0);
            let number = |name: &str| -> f32 {
                match format {
                    "jsonl" => serde_json::from_str::<serde_json::Value>(line).unwrap()[name].as_f64().unwrap() as f32,
                    _ => line
                        .split(',')
                        .nth(names.iter().position(|one| *one == name).unwrap())
                        .unwrap()
                        .parse()
                        .unwrap(),
                }
            };
            let near = |name: &str, expected: f32| {
                assert!((number(name) - expected).abs() < 1e-5, "{name}: {} and {expected}", number(name));
            };
            for (task, score) in &expected.scores {
                near(&format!("p_{task}"), *score);
                expected.fields.iter().for_each(|one| near(&format!("p_{task}.{}", one.field), one.tasks[task]));
            }
            for (layer, gates) in (1..).zip(&expected.gates) {
                for (task, weights) in gates {
                    (1..).zip(weights).for_each(|(n, weight)| near(&format!("gate_{task}.{layer}.{n}"), *weight));
                }
            }
            assert!(expected.fields.iter().any(|one| one.tasks["a"] != 0.0));
        }
    }
}

#[test]
fn what_is_wrong_is_named_and_no_half_written_file_stays() {
    let small = Small::new();
    let bundle = small.trained();
    let (input, output) = (small.path("in.csv"), small.path("scores.csv"));
    let files = || std::fs::read_dir(small.folder.path()).unwrap().count();
    small.write("in.csv", "");
    let before = files();
    let message = |rows: &str| {
        small.write("in.csv", rows);
        let message = fails(&score(&bundle, &input, &output));
        assert_eq!(files(), before);
        message
    };
    assert_eq!(message("user\n1\n"), format!("{input} has no column 'item'"));
    assert!(message("user,item\n1\n").contains("in.csv:2: 1 values in a table of 2 columns"), "a ragged row");
    let wrong = message("user,item\n1,x\n");
    assert!(wrong.starts_with(&format!("{input}:2: column 'item': expected an integer, found \"x\"")), "{wrong}");
    let long = format!("user,item\n{}1,x\n", "1,1\n".repeat(9000)); // more than are scored at a time
    assert!(message(&long).contains("in.csv:9002: column 'item': expected an integer"));
    assert_eq!(message("user,item,item\n1,1,1\n"), format!("{input} has 2 columns 'item', expected one"));
    small.write("scores.csv", "precious");
    assert_eq!(
        fails(&score(&bundle, &small.path("im.csv"), &output)),
        format!("{}: there is no such file; did you mean \"in.csv\"?", small.path("im.csv"))
    );
    small.write("in.csv", &long);
    fails(&score(&bundle, &input, &output));
    assert_eq!(small.read("scores.csv"), "precious", "what was there stays until all is scored");
    let missing = fails(&score("no.safetensors", "x.csv", "y.csv"));
    assert!(missing.contains("no.safetensors"), "{missing}");
}

#[test]
fn one_strange_row_does_not_lose_a_file() {
    let small = Small::new();
    let (bundle, input, output) = (small.trained(), small.path("in.csv"), small.path("scores.csv"));
    small.write("in.csv", &format!("user,item\n1,x\n1\n{}1,y\n2,z\n", "1,1\n".repeat(9000)));
    let args = [&score(&bundle, &input, &output)[..], &["--on-error", "skip"]].concat();
    let answer = json(&args);
    assert_eq!((&answer["rows"], &answer["skipped"]), (&9000.into(), &4.into()));
    assert_eq!(small.read("scores.csv").lines().count(), 9001);
    let told = text(&stem(&args).output().unwrap().stderr);
    assert!(told.contains("4 rows cannot be scored and are left out:"), "{told}");
    assert!(
        told.contains("in.csv:2: column 'item': expected an integer, found \"x\"") && told.contains("..."),
        "{told}"
    );
}

#[test]
fn a_stray_quote_does_not_join_rows() {
    let small = Small::new();
    let (bundle, input, output) = (small.trained(), small.path("in.csv"), small.path("scores.csv"));
    for (rows, line) in [("user,item,note\n1,1,\"a\n2,2,b\n3,3,c\"\n4,4,\"d\n", 5), ("user,item,note\n1,1,x\"y\n", 2)] {
        small.write("in.csv", rows);
        let message = fails(&score(&bundle, &input, &output));
        assert!(message.contains(&format!("line {line}: a quote ")), "{message}");
    }
}

#[test]
fn bundle_and_input_are_no_output() {
    let small = Small::new();
    let bundle = small.trained();
    let input = small.write("in.csv", "user,item\n1,1\n");
    let before = std::fs::read(&bundle).unwrap();
    assert!(fails(&score(&bundle, &input, &bundle)).contains("is read and would be replaced"));
    assert!(fails(&score(&bundle, &input, &input)).contains("is read and would be replaced"));
    #[cfg(unix)]
    {
        let link = small.path("link");
        std::os::unix::fs::symlink(&bundle, &link).unwrap();
        assert!(fails(&score(&bundle, &input, &link)).contains("is read and would be replaced"));
    }
    assert_eq!(std::fs::read(&bundle).unwrap(), before);
    assert_eq!(small.read("in.csv"), "user,item\n1,1\n");
    assert!(fails(&score(&bundle, &input, &small.path("out"))).contains("not a regular file"), "a folder");
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_and_a_file_named_like_a_scratch_file_stays() {
    let small = Small::new();
    let bundle = small.trained();
    let input = small.write("in.csv", "user,item\n1,1\n");
    small.write("scores.csv.tmp", "precious");
    small.write("real.csv", "old");
    std::os::unix::fs::symlink(small.path("real.csv"), small.path("scores.csv")).unwrap();
    succeeds(&score(&bundle, &input, &small.path("scores.csv")));
    assert_scored(&small.read("in.csv"), &small.read("real.csv"));
    assert!(Path::new(&small.path("scores.csv")).is_symlink());
    assert_eq!(small.read("scores.csv.tmp"), "precious");
}

#[cfg(unix)]
#[test]
fn standard_streams_pipes_and_devices_are_read_and_written_as_they_are() {
    let small = Small::new();
    let bundle = small.trained();
    let input = small.write("in.csv", "user,item\n1,1\n2,3\n");
    let scored = succeeds(&score(&bundle, &input, "-"));
    assert_scored(&small.read("in.csv"), &scored);

    let from = std::fs::File::open(&input).unwrap();
    let piped = stem(&score(&bundle, "-", "-")).stdin(from).output().unwrap();
    assert_eq!((piped.status.code(), text(&piped.stdout)), (Some(0), scored.clone()), "{}", text(&piped.stderr));
    assert!(fails(&[&score(&bundle, &input, "-")[..], &["--json"]].concat()).contains("cannot both"));

    let fifo = small.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = std::process::Command::new("cat").arg(&fifo).stdout(Stdio::piped()).spawn().unwrap();
    succeeds(&score(&bundle, &input, &fifo));
    assert_eq!(text(&reader.wait_with_output().unwrap().stdout), scored);
    use std::os::unix::fs::FileTypeExt;
    assert!(std::fs::metadata(&fifo).unwrap().file_type().is_fifo(), "a pipe is not replaced");

    succeeds(&score(&bundle, &input, "/dev/null"));
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    if Path::new("/dev/full").exists() {
        let full = fails(&score(&bundle, &input, "/dev/full"));
        assert!(full.starts_with("cannot write /dev/full: No space left"), "{full}");
    }
}

#[test]
fn what_the_select_computed_of_a_row_is_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let row = |i: usize| {
        let city = ["Paris", "ROME", "oslo"][i % 3];
        format!("{},{city},{},{}\n", i % 40, u8::from(i.is_multiple_of(3)), ["train", "valid", "test"][(i / 7) % 3])
    };
    write("log.csv", &format!("user,city,click,split\n{}", (0..600).map(row).collect::<String>()));
    let recipe = r#"
name = "cities"
sql = "SELECT \"user\", LOWER(city) AS city, click, split, COUNT(*) OVER (PARTITION BY city) AS views FROM log"
source = [{ name = "log", file = "log.csv" }]
field = [
    { column = "user", kind = "category" },
    { column = "city", kind = "category" },
    { column = "views", kind = "number" },
]
label = [{ column = "click" }]
split = { kind = "column", column = "split" }
"#;
    write("recipe.toml", recipe);
    let [recipe, out, input, output] = ["recipe.toml", "out", "rows.csv", "scores.csv"].map(path);
    succeeds(&["train", "--recipe", &recipe, "--model", "single-task", "--out", &out]);
    let bundle = path("out/bundle.safetensors");
    let scores = |rows: &str, more: &[&str]| -> Vec<String> {
        write("rows.csv", rows);
        succeeds(&[&score(&bundle, &input, &output)[..], more].concat());
        let scored = std::fs::read_to_string(&output).unwrap();
        scored.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().to_string()).collect()
    };
    let raw = scores("user,city,views\n1,Paris,200\n1,PARIS,200\n1,Rome,200\n1,Nowhere,200\n", &[]);
    assert_eq!(raw[0], raw[1]);
    assert!(raw[0] != raw[2] && raw[0] != raw[3]);
    let derived = scores("user,city,views\n1,paris,200\n1,Paris,200\n1,Nowhere,200\n", &["--derived"]);
    assert_eq!((&derived[0], &derived[1]), (&raw[0], &derived[2]));
    write("rows.csv", "user,city\n1,Paris\n");
    let message = fails(&score(&bundle, &input, &output));
    assert!(
        message.contains("has no column 'views'; in training it was COUNT(*) OVER (PARTITION BY city)"),
        "{message}"
    );
    assert!(succeeds(&["inspect", &bundle]).contains("LOWER(city)"));
}

/// Prepared, trained on, scored, evaluated: a row of whose lists one is longer than the other is named with its line wherever it stands.
#[test]
fn a_history_and_its_times_of_different_lengths_are_refused_in_files_that_train_and_in_files_that_are_scored() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let row = |i: usize| {
        let split = ["train", "valid", "test"][(i / 7) % 3];
        format!("{},{}|{},{}|{},100,{},{split}\n", i % 9, i % 5, i % 7, 10 + i % 80, 99, u8::from(i.is_multiple_of(3)))
    };
    let log = format!("item,watched,times,time,click,split\n{}", (0..300).map(row).collect::<String>());
    write("log.csv", &log);
    let recipe = r#"
name = "times"
source = [{ name = "log", file = "log.csv", types = { item = "text" } }]
field = [
    { column = "item", kind = "category", vocabulary = "video" },
    { column = "watched", kind = "sequence", separator = "|", max_len = 4, keep = "last", vocabulary = "video" },
    { column = "times", kind = "sequence", separator = "|", max_len = 4, keep = "last", ago = { of = "watched", from = "time" } },
]
label = [{ column = "click" }]
split = { kind = "column", column = "split" }
"#;
    write("recipe.toml", recipe);
    let small = "[train]\nepochs = 1\n[single-task]\ndim = 4\nbottom = [8]\ntower = [4]\ninterest = { candidates = { watched = \"item\" }, gaps = { watched = \"times\" } }\n";
    write("small.toml", small);
    let [recipe, small, out, input, output] = ["recipe.toml", "small.toml", "out", "rows.csv", "scores.csv"].map(path);
    let train = ["train", "--recipe", &recipe, "--experiment", &small, "--model", "single-task", "--out", &out];
    succeeds(&train);
    let bundle = path("out/bundle.safetensors");
    write("rows.csv", "item,watched,times,time\n1,2|3,80|90,100\n2,2|3,80,100\n");
    let message = fails(&score(&bundle, &input, &output));
    assert!(
        message.contains("rows.csv:3: column 'times': expected a value for each of the 2 of 'watched', found 1"),
        "{message}"
    );
    let skipped = [&score(&bundle, &input, &output)[..], &["--on-error", "skip"]].concat();
    succeeds(&skipped);
    assert_eq!(std::fs::read_to_string(&output).unwrap().lines().count(), 2, "the row that is sound");
    write("log.csv", &log.replacen("|99,100", ",100", 1));
    let message = fails(&train);
    let expected = "log.csv:2: column 'times': expected a value for each of the 2 of \"watched\", found 1";
    assert!(message.contains(expected), "{message}");
}
