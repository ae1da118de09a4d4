//! `stem init` as a user runs it: each kind of guess on a log of known columns, each refusal by its message, and files that train.

use crate::common::{Case, csv, noise, pick, taste, text};
use polars::prelude::{DataType, NamedFrom, ParquetWriter, Series, TimeUnit, df};
use proptest::prelude::*;
use serde_json::Value;
use stem_data::{Feedback, FieldRecipe, Kind, PrepareOptions, Recipe, Split, SplitRecipe, prepare};
use stem_experiment::{Experiment, ModelName, RunOptions, run};

/// The recipe that `init` writes, and its answer as JSON.
fn init(case: &Case, args: &[&str]) -> (Recipe, Value) {
    let output = case.init(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let recipe = Recipe::load(case.path("out/recipe.toml")).unwrap();
    Experiment::load(case.path("out/experiment.toml")).unwrap();
    (recipe, serde_json::from_slice(&output.stdout).unwrap())
}

/// The message of a refusal: exit code 1, nothing written.
fn refusal(case: &Case, args: &[&str]) -> String {
    let output = case.init(args);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    assert!(!case.path("out/recipe.toml").exists() && !case.path("out/experiment.toml").exists());
    message.replace(&format!("{}/", case.dir.path().display()), "")
}

/// A refusal that says this.
fn refuses(case: &Case, args: &[&str], words: &str) {
    let message = refusal(case, args);
    assert!(message.contains(words), "{words}: {message}");
}

fn reason<'a>(answer: &'a Value, column: &str) -> (&'a str, &'a str) {
    let columns = answer["columns"].as_array().unwrap();
    let found = columns.iter().find(|c| c["column"] == column).unwrap_or_else(|| panic!("{column}"));
    (found["as"].as_str().unwrap(), found["reason"].as_str().unwrap())
}

/// Says why a column was left out, and that it was.
fn left_out(answer: &Value, recipe: &Recipe, column: &str, words: &str) {
    let (verdict, reason) = reason(answer, column);
    assert!(verdict == "left out" && reason.contains(words), "{column}: {verdict}, {reason}, expected {words}");
    assert!(!recipe.fields.iter().any(|field| field.name == column), "{column}");
}

fn field<'r>(recipe: &'r Recipe, column: &str) -> &'r FieldRecipe {
    let found = recipe.fields.iter().find(|field| field.name == column);
    found.unwrap_or_else(|| panic!("no field {column} in\n{}", recipe.text))
}

/// A log of user, item and like.
fn plain(rows: usize) -> String {
    csv("user,item,like", rows, |i| {
        let (user, item, like) = taste(i);
        format!("{user},{item},{like}")
    })
}

#[test]
fn ids_codes_numbers_texts_and_lists_are_told_apart() {
    let header = "user_id,item,price,colour,age,big,zip,genres,steps,flag,like";
    let log = csv(header, 2000, |i| {
        let (user, item, like) = taste(i);
        let price = noise(i, 4) * 100.0;
        let colour = ["red", "green", "blue"][pick(i, 5, 3)];
        let age = 18 + pick(i, 6, 40);
        let big = 9_155_697_141 + 7 * pick(i, 7, 200);
        let zip = format!("0{}", 1000 + pick(i, 8, 90));
        let genres = ["Drama", "War", "Comedy", "Crime"].into_iter().zip(20..).filter(|(_, g)| noise(i, *g) < 0.4);
        let genres = genres.map(|(genre, _)| genre).collect::<Vec<_>>().join("|");
        let steps = (noise(i, 9).powi(3) * 90_000.0) as u64;
        let flag = noise(i, 10) < 0.3;
        format!("{user},{item},{price:.2},{colour},{age},{big},{zip},{genres},{steps},{flag},{like}")
    });
    let (recipe, answer) = init(&Case::new("log.csv", log), &["--data", "@log.csv", "--labels", "like"]);
    for category in ["user_id", "item", "colour", "age", "big", "zip", "flag"] {
        assert_eq!(field(&recipe, category).kind, Kind::Category, "{category}");
    }
    for number in ["price", "steps"] {
        assert_eq!(field(&recipe, number).kind, Kind::Number { standardize: true }, "{number}");
    }
    let genres = field(&recipe, "genres");
    assert!(matches!(genres.kind, Kind::Sequence { max_len: 4, .. }), "{:?}", genres.kind);
    assert_eq!(genres.separator.as_deref(), Some("|"));
    assert_eq!((field(&recipe, "user_id").min_count, field(&recipe, "age").min_count), (5, 1));
    assert!(recipe.sources[0].types.is_empty(), "leading zeros are kept without a word");
    assert!(reason(&answer, "zip").1.contains("leading zeros"));
    assert_eq!(recipe.group.as_deref(), Some("user_id"));
    assert_eq!(recipe.split, SplitRecipe::Random { valid: 0.1, test: 0.1, seed: 1 });
    for column in header.split(',') {
        let (_, reason) = reason(&answer, column);
        let first_words = reason.split(' ').take(4).collect::<Vec<_>>().join(" ");
        assert!(recipe.text.contains(&format!("# {first_words}")), "{column}: {first_words}");
    }
}

#[test]
fn what_tells_nothing_or_too_much_is_left_out_with_its_reason() {
    let header =
        ",uid,item,row_id,constant,nothing,copy,contrary,rating,deep,p_like,chance,is_share,watch_ms,title,token,like";
    let log = csv(header, 2000, |i| {
        let (user, item, like) = taste(i);
        let rating = if like == 1 { 4 + pick(i, 30, 2) } else { 1 + pick(i, 31, 3) };
        let deep = u8::from(like == 1 && noise(i, 32) < 0.5);
        let chance = if (user + item) % 2 == 0 { 0.8 } else { 0.2 } + noise(i, 33) * 1e-2;
        let share = u8::from(noise(i, 34) < 0.5);
        let title = format!("the {} of the {} and more", pick(i, 35, 900), pick(i, 36, 900));
        let token = format!("{:x}", (noise(i, 37) * 1e15) as u64);
        let (id, no, watch) = (5000 + i, 1 - like, pick(i, 38, 9000));
        format!(
            "{i},{user},{item},{id},7,,{like},{no},{rating},{deep},{chance:.4},{chance:.4},{share},{watch},{title},{token},{like}"
        )
    });
    let (recipe, answer) = init(&Case::new("log.csv", log), &["--data", "@log.csv", "--labels", "like"]);
    for (column, words) in [
        ("", "no name"),
        ("row_id", "numbers the rows"),
        ("constant", "every row holds 7"),
        ("nothing", "no row has a value"),
        ("copy", "equals label \"like\""),
        ("contrary", "contrary of label \"like\""),
        ("rating", "alone predicts label \"like\" with AUC 1.000"),
        ("deep", "label \"like\" is 1 in all"),
        ("p_like", "prediction of label \"like\""),
        ("chance", "agree with how often label \"like\" is 1"),
        ("is_share", "named as feedback is"),
        ("watch_ms", "measured only after"),
        ("title", "prose"),
        ("token", "a text of its own"),
    ] {
        left_out(&answer, &recipe, column, words);
    }
    assert!(recipe.text.contains("# [[field]]\n# column = \"deep\"\n# kind = \"category\"\n"), "{}", recipe.text);
    let fields: Vec<&str> = recipe.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(fields, ["uid", "item"]);
}

#[test]
fn a_column_that_decides_the_label_is_left_out_whatever_its_name_and_type() {
    let log = csv("user,item,x,word,y", 2000, |i| {
        let (user, item, _) = taste(i);
        let x = noise(i, 40) * 10.0;
        let word = if x > 7.0 { ["ab", "cd"][pick(i, 41, 2)] } else { ["ef", "gh", "ij"][pick(i, 42, 3)] };
        format!("{user},{item},{x:.3},{word},{}", u8::from(x > 7.0))
    });
    let (recipe, answer) = init(&Case::new("log.csv", log), &["--data", "@log.csv", "--labels", "y"]);
    left_out(&answer, &recipe, "x", "alone predicts label \"y\" with AUC");
    left_out(&answer, &recipe, "word", "alone predicts label \"y\" with AUC");
}

#[test]
fn what_is_there_only_where_a_label_is_1_is_left_out_with_its_figure() {
    let log = csv("user,item,seconds,shop,price,click", 2000, |i| {
        let (user, item, like) = taste(i);
        let watched = like == 1 && noise(i, 43) < 0.5;
        let seconds = if watched { 1 + pick(i, 44, 300) } else { 0 };
        let shop = if watched { ["a", "b"][pick(i, 45, 2)] } else { "" };
        let price = if noise(i, 46) < 0.5 { pick(i, 47, 300) } else { 0 };
        format!("{user},{item},{seconds},{shop},{price},{like}")
    });
    let rows = log.lines().skip(1).filter(|line| line.split(',').nth(2) != Some("0")).count();
    let (recipe, answer) = init(&Case::new("log.csv", log), &["--data", "@log.csv", "--labels", "click"]);
    let told = |holds: &str| format!("label \"click\" is 1 in all {rows} rows where it holds {holds}, and in ");
    left_out(&answer, &recipe, "seconds", &told("a number above 0"));
    left_out(&answer, &recipe, "shop", &told("a value"));
    field(&recipe, "price"); // 0 as often, and known before
    let written = recipe.text.replace("\n# ", " ");
    assert!(written.contains("measured after the feedback, not before"), "{written}");
}

#[test]
fn packed_parts_of_a_pattern_and_of_a_folder_are_one_log() {
    let case = Case::new("none.csv", "");
    let log = plain(600);
    let (head, rows) = log.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    for (day, part) in rows.chunks(200).enumerate() {
        let folder = case.path(&format!("log/day={day}"));
        std::fs::create_dir_all(&folder).unwrap();
        let text = format!("{head}\n{}\n", part.join("\n"));
        let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
        std::fs::write(folder.join("part-0.csv.zst"), packed).unwrap();
        std::fs::write(folder.join("_SUCCESS"), "").unwrap();
    }
    let tried = |data: &str, files: &str, folder: &str| {
        let (recipe, answer) = init(&case, &["--data", data, "--labels", "like", "--force"]);
        assert_eq!((recipe.sources[0].files.as_slice(), answer["rows"].as_u64()), (&[files.into()][..], Some(600)));
        assert_eq!(recipe.sources[0].name, "log");
        prepare(&recipe, &case.path(folder), &case.path("columns"), &PrepareOptions::default()).unwrap();
    };
    tried("@log/day=*/part-*.csv.zst", "day=*/part-*.csv.zst", "log");
    tried("@log", "log", ".");
    std::fs::remove_dir_all(case.path("out")).unwrap();
    refuses(&case, &["--data", "@log/*.parquet", "--labels", "like"], "no file fits");
}

#[test]
fn a_column_that_is_almost_the_answer_is_asked_about() {
    let log = csv("user,item,hint,y", 2000, |i| {
        let (user, item, like) = taste(i);
        let hint = if noise(i, 41) < 0.04 { 1 - like } else { like };
        format!("{user},{item},{hint},{like}")
    });
    let (recipe, answer) = init(&Case::new("log.csv", log), &["--data", "@log.csv", "--labels", "y"]);
    field(&recipe, "hint");
    let check = answer["check"][0].as_str().unwrap();
    assert!(check.starts_with("\"hint\" alone predicts \"y\" with AUC 0.9"), "{check}");
    assert!(recipe.text.contains("# CHECK: \"hint\""));
}

#[test]
fn times_split_the_rows_and_are_no_features() {
    let log = csv("user,item,date,day,seen_at,ts,time_ms,upload_dt,like", 2000, |i| {
        let (user, item, like) = taste(i);
        let (day, second, epoch) = (1 + i / 100, i % 60, 1_650_000_000 + i * 60);
        let upload = 1 + pick(item, 50, 28);
        format!(
            "{user},{item},202204{day:02},2022-04-{day:02},2022-04-{day:02} 12:00:{second:02},{epoch},{epoch}000,2020-01-{upload:02},{like}"
        )
    });
    let (recipe, answer) = init(&Case::new("log.csv", log), &["--data", "@log.csv", "--labels", "like"]);
    for (column, words) in [
        ("date", "YYYYMMDD"),
        ("day", "dates as text"),
        ("seen_at", "dates and times as text"),
        ("ts", "seconds since 1970"),
        ("time_ms", "milliseconds since 1970"),
        ("upload_dt", "dates as text"),
    ] {
        left_out(&answer, &recipe, column, words);
    }
    let by = &recipe.split;
    assert!(matches!(by, SplitRecipe::Time { column, .. } if ["ts", "time_ms"].contains(&column.as_str())), "{by:?}");
}

#[test]
fn numbers_named_as_a_time_in_no_known_unit_are_no_feature_and_no_split() {
    let log = csv("user,item,create_time,like", 500, |i| {
        let (user, item, like) = taste(i);
        format!("{user},{item},{},{like}", 53_055_849_125 + pick(i, 91, 30_000_000))
    });
    let (recipe, answer) = init(&Case::new("log.csv", log), &["--data", "@log.csv", "--labels", "like"]);
    left_out(&answer, &recipe, "create_time", "in no unit that is known");
    assert!(matches!(recipe.split, SplitRecipe::Random { .. }));
}

#[test]
fn dates_written_as_text_are_cast_for_the_split() {
    let forms = [("2022-04-", ""), ("2022-04-01 08:00:", ""), ("2022-04-01T08:00:", "Z"), ("2022-04-01T08:00:", ".25")];
    for (before, after) in forms {
        let log = csv("user,item,when,like", 500, |i| {
            let (user, item, like) = taste(i);
            format!("{user},{item},{before}{:02}{after},{like}", 1 + i * 28 / 500)
        });
        let case = Case::new("log.csv", log);
        let (recipe, _) = init(&case, &["--data", "@log.csv", "--labels", "like"]);
        let by = &recipe.split;
        assert!(matches!(by, SplitRecipe::Time { column, .. } if column == "when"), "{before}{after}: {by:?}");
        let dataset = prepare(&recipe, case.dir.path(), &case.path("columns"), &PrepareOptions::default()).unwrap();
        assert_eq!(dataset.rows(Split::Test), 107, "{before}{after}"); // the last six days or seconds, whole
    }
}

#[test]
fn a_parquet_file_tells_its_types_itself() {
    let rows: Vec<(usize, usize, u8)> = (0..600).map(taste).collect();
    let tags =
        rows.iter().enumerate().map(|(i, _)| Series::new("".into(), (0..=pick(i, 90, 6) as i64).collect::<Vec<_>>()));
    let at = Series::new("at".into(), (0..600).map(|i| 1_650_000_000_000 + i * 60_000).collect::<Vec<i64>>());
    let mut frame = df!(
        "user" => rows.iter().map(|row| row.0 as i64).collect::<Vec<_>>(),
        "item" => rows.iter().map(|row| format!("i{}", row.1)).collect::<Vec<_>>(),
        "tags" => tags.collect::<Vec<_>>(),
        "at" => at.cast(&DataType::Datetime(TimeUnit::Milliseconds, None)).unwrap(),
        "vector" => (0..600).map(|_| Series::new("".into(), [0.5, 1.5])).collect::<Vec<_>>(),
        "like" => rows.iter().map(|row| row.2 == 1).collect::<Vec<_>>(),
    )
    .unwrap();
    let case = Case::new("empty", "");
    ParquetWriter::new(std::fs::File::create(case.path("log.data")).unwrap()).finish(&mut frame).unwrap();
    let (recipe, answer) = init(&case, &["--data", "@log.data", "--labels", "like"]);
    assert!(matches!(field(&recipe, "tags").kind, Kind::Sequence { max_len: 6, .. }), "{}", recipe.text);
    assert!(field(&recipe, "tags").separator.is_none());
    assert_eq!(recipe.sources[0].format, Some(stem_data::Format::Parquet));
    assert!(matches!(&recipe.split, SplitRecipe::Time { column, .. } if column == "at"));
    left_out(&answer, &recipe, "vector", "`kind = \"vector\"` with `length` reads it");
    let dataset = prepare(&recipe, case.dir.path(), &case.path("columns"), &PrepareOptions::default()).unwrap();
    assert_eq!(dataset.rows(Split::Test), 120);
}

#[test]
fn a_column_of_train_valid_and_test_is_the_split() {
    let log = csv("user,item,fold,like,ts", 400, |i| {
        let (user, item, like) = taste(i);
        format!("{user},{item},{},{like},{}", ["train", "train", "val", "test"][i % 4], 1_650_000_000 + i)
    });
    let (recipe, _) = init(&Case::new("log.csv", log), &["--data", "@log.csv", "--labels", "like"]);
    let values = ["train", "val", "test"].map(String::from);
    assert_eq!(recipe.split, SplitRecipe::Column { column: "fold".into(), values, named: [true; 3] });
}

#[test]
fn numbers_that_are_written_oddly_are_made_numbers_and_codes() {
    let log = csv("user;item;class;income;like", 1000, |i| {
        let (user, item, like) = taste(i);
        let income = if i % 10 == 0 { "NA".into() } else { format!("{:.1}", noise(i, 60) * 1e4) };
        format!("{user};{item};{}.0;{income};{like}.0", pick(i, 61, 9))
    });
    let case = Case::new("log.csv", log);
    let (recipe, _) = init(&case, &["--data", "@log.csv", "--labels", "like"]);
    assert_eq!(field(&recipe, "class").kind, Kind::Category);
    assert_eq!(field(&recipe, "income").kind, Kind::Number { standardize: true });
    let dataset = prepare(&recipe, case.dir.path(), &case.path("columns"), &PrepareOptions::default()).unwrap();
    let schema = dataset.schema();
    let class = schema.fields.iter().find(|field| field.name == "class").unwrap();
    assert_eq!(dataset.vocabularies()[class.vocabulary].len(), 9);
}

#[test]
fn several_parts_of_one_log_are_one_recipe_and_other_tables_are_refused() {
    let case = Case::new("a.csv", plain(300));
    std::fs::create_dir(case.path("later")).unwrap();
    std::fs::write(case.path("later/b.csv"), plain(300)).unwrap();
    std::fs::write(case.path("users.csv"), "user,age\n1,20\n2,30\n").unwrap();
    let args = ["--data", "@a.csv", "@users.csv", "--labels", "like"];
    refuses(&case, &args, "tables of different columns; only a.csv has item, like; only users.csv has age");
    refuses(&case, &args, "LEFT JOIN other ON log.\"user\" = other.\"user\"");

    let (recipe, answer) = init(&case, &["--data", "@a.csv", "@later/b.csv", "--labels", "like"]);
    assert_eq!((recipe.sources[0].files.len(), answer["rows"].as_u64()), (2, Some(600)));
    let dataset = prepare(&recipe, case.dir.path(), &case.path("columns"), &PrepareOptions::default()).unwrap();
    assert_eq!(Split::ALL.iter().map(|&split| dataset.rows(split)).sum::<usize>(), 600);
}

#[test]
fn labels_inside_one_another_and_rare_ones_are_said() {
    let log = csv("user,item,click,buy", 1000, |i| {
        let (user, item, click) = taste(i);
        format!("{user},{item},{click},{}", u8::from(click == 1 && i % 40 == 0))
    });
    let (recipe, answer) = init(&Case::new("log.csv", log), &["--data", "@log.csv", "--labels", "click,buy"]);
    assert!(recipe.text.contains("# within = \"click\""), "{}", recipe.text);
    assert_eq!(recipe.labels.iter().map(|label| label.column.as_str()).collect::<Vec<_>>(), ["click", "buy"]);
    assert!(answer["check"].to_string().contains("label \\\"buy\\\" has"), "{}", answer["check"]);
}

#[test]
fn true_and_false_and_nothing_are_a_label() {
    let log = csv("user,item,like", 300, |i| {
        let (user, item, like) = taste(i);
        format!(
            "{user},{item},{}",
            if i % 9 == 0 {
                ""
            } else if like == 1 {
                "True"
            } else {
                "false"
            }
        )
    });
    let case = Case::new("log.csv", log);
    let (recipe, answer) = init(&case, &["--data", "@log.csv", "--labels", "like"]);
    assert!(reason(&answer, "like").1.contains("missing in 34 rows"), "{}", reason(&answer, "like").1);
    let dataset = prepare(&recipe, case.dir.path(), &case.path("columns"), &PrepareOptions::default()).unwrap();
    assert_eq!(Split::ALL.iter().map(|&split| dataset.statistics(split).missing[0]).sum::<usize>(), 34);
}

#[test]
fn a_file_without_names_takes_them_from_the_command_line() {
    let log = csv("3\t5\t1", 200, |i| {
        let (user, item, like) = taste(i);
        format!("{user}\t{item}\t{like}")
    });
    let case = Case::new("log.txt", log);
    refuses(
        &case,
        &["--data", "@log.txt", "--labels", "like"],
        "first line holds values, not names of columns (3, 5, 1",
    );
    let (recipe, answer) = init(&case, &["--data", "@log.txt", "--columns", "user,item,like", "--labels", "like"]);
    assert_eq!(answer["rows"], 201);
    assert_eq!(recipe.group.as_deref(), Some("user"));
    prepare(&recipe, case.dir.path(), &case.path("columns"), &PrepareOptions::default()).unwrap();
}

#[test]
fn only_the_first_and_last_rows_are_looked_at_where_that_is_asked_and_types_are_those_of_all() {
    let log = csv("user,item,odd,like", 3000, |i| {
        let (user, item, like) = taste(i);
        let odd = if i == 1500 { "x".to_string() } else { (i % 7).to_string() };
        format!("{user},{item},{odd},{like}")
    });
    let case = Case::new("log.csv", log);
    let (recipe, answer) = init(&case, &["--data", "@log.csv", "--labels", "like", "--rows-to-look-at", "200"]);
    assert_eq!((answer["rows"].as_u64(), answer["rows_looked_at"].as_u64()), (Some(3000), Some(200)));
    assert!(recipe.text.contains("200 of 3,000 rows"));
    prepare(&recipe, case.dir.path(), &case.path("columns"), &PrepareOptions::default()).unwrap();
}

#[test]
fn files_that_are_there_are_replaced_only_by_force() {
    let case = Case::new("log.csv", plain(100));
    std::fs::create_dir(case.path("out")).unwrap();
    std::fs::write(case.path("out/experiment.toml"), "# mine\n").unwrap();
    let output = case.init(&["--data", "@log.csv", "--labels", "like"]);
    assert!(text(&output.stderr).contains("experiment.toml is there already: --force"), "{}", text(&output.stderr));
    assert!(!case.path("out/recipe.toml").exists());
    assert_eq!(std::fs::read_to_string(case.path("out/experiment.toml")).unwrap(), "# mine\n");
    init(&case, &["--data", "@log.csv", "--labels", "like", "--force"]);
}

#[test]
fn labels_that_cannot_be_learned_are_refused_with_what_was_found() {
    let log = csv("user,item,rating,bought,never,void", 300, |i| {
        let (user, item, _) = taste(i);
        let rating = 1 + pick(i, 70, 5);
        format!("{user},{item},{rating},{},0,", if rating > 3 { "yes" } else { "no" })
    });
    let case = Case::new("ratings.csv", log);
    let label = |label: &str, words: &str| refuses(&case, &["--data", "@ratings.csv", "--labels", label], words);
    label("rating", "label \"rating\" holds 5 different integers (");
    label("rating", "SELECT *, CAST(\"rating\" >= ");
    label("bought", "CAST(\"bought\" = 'yes' AS INT) AS \"is_yes\" FROM \"ratings\"");
    label("never", "is 0 in all 300 rows");
    label("void", "empty in every row");
    label("ratng", "no column \"ratng\", did you mean \"rating\"?");
}

#[test]
fn a_number_is_a_label_of_the_kind_that_is_asked_for() {
    let log = csv("user,item,like,seconds,stars", 600, |i| {
        let (user, item, like) = taste(i);
        format!("{user},{item},{like},{},{}", pick(i, 70, 40), pick(i, 71, 5))
    });
    let case = Case::new("log.csv", log);
    let (recipe, answer) = init(&case, &["--data", "@log.csv", "--labels", "like,seconds:watch-time,stars:ordinal"]);
    let kinds: Vec<Feedback> = recipe.labels.iter().map(|label| label.kind.clone()).collect();
    assert_eq!(kinds, [Feedback::Binary, Feedback::WatchTime, Feedback::Ordinal { classes: 5 }]);
    assert!(reason(&answer, "seconds").1.starts_with("a number, above 0 in "), "{answer}");
    let (recipe, _) = init(&case, &["--data", "@log.csv", "--labels", "like,stars:classes", "--force"]);
    assert_eq!(recipe.labels[1].kind, Feedback::Classes { classes: 5 });
    let refused = |label: &str, words: &str| {
        refuses(&Case::new("log.csv", plain(100)), &["--data", "@log.csv", "--labels", label], words)
    };
    refused("item", "--labels item:regression, or :count, :watch-time, :ordinal, :classes, :zero-inflated");
    refused("item:stars", "asked for as \"stars\", expected binary or one of regression");
    let text = csv("user,item,word,at", 100, |i| format!("{i},{},w{i},{}", i % 7, -(i as i64)));
    let refused = |label: &str, words: &str| {
        refuses(&Case::new("log.csv", text.clone()), &["--data", "@log.csv", "--labels", label], words)
    };
    refused("word:regression", "expected numbers");
    refused("at:count", "expected whole numbers of 0 or more");
    refused("at:watch-time", "expected numbers of 0 or more");
}

#[test]
fn without_labels_the_columns_that_may_be_some_are_named() {
    let log = csv("user,item,is_like,gender", 300, |i| {
        let (user, item, like) = taste(i);
        format!("{user},{item},{like},{}", pick(i, 71, 2))
    });
    let case = Case::new("log.csv", log);
    refuses(&case, &["--data", "@log.csv"], "--labels is_like. Columns of 0 and 1: is_like (");
    refuses(&case, &["--data", "@log.csv"], ", gender (");
    refuses(
        &Case::new("log.csv", "user,item\n1,2\n3,4\n"),
        &["--data", "@log.csv"],
        "no column of log.csv holds 0 and 1",
    );
}

#[test]
fn groups_that_cannot_group_are_refused() {
    let log = csv("user,item,like,row,patchy", 300, |i| {
        let (user, item, like) = taste(i);
        format!("{user},{item},{like},{i},{}", if i == 7 { String::new() } else { user.to_string() })
    });
    let case = Case::new("log.csv", log);
    let group =
        |group: &str, words: &str| refuses(&case, &["--data", "@log.csv", "--labels", "like", "--group", group], words);
    group("usr", "no column \"usr\", did you mean \"user\"?");
    group("row", "of its own");
    group("patchy", "empty in 1 of 300 rows");
    group("like", "is a label");
}

#[test]
fn files_that_are_no_log_are_refused_with_what_they_are() {
    let file = |name: &str, content: &[u8], words: &str| {
        let file = format!("@{name}");
        refuses(&Case::new(name, content), &["--data", &file, "--labels", "y"], words);
    };
    file("a.csv", b"", "a.csv is empty (0 bytes)");
    file("a.csv", b"user,item,y\n", "a.csv has no rows (a header alone)");
    file("a.csv", b"\x1f\x8b\x08\0\0", "a.csv: it cannot be unpacked");
    file("a.csv", b"x\0\0\x01\x02", "a.csv is a binary file");
    file("a.csv", b"y\n0\n1\n", "has one column, \"y\"");
    file("a.csv", b"u,y\n1,0\n2,1\n", "has 2 rows: at least 20");
    file("a.parquet", b"u,y\n1,0\n2,1\n", "is text, though its name ends in .parquet");
    file("a.parquet", b"PAR1 and no more", "a.parquet");
    file("a.csv", b"u,i,y\n1,2,0\n2,1\n", "a.csv:3: 2 values in a table of 3 columns");
    file("a.csv", b"u,i,y\n1,caf\xe9,0\n", "a.csv:2: not valid UTF-8");
    refuses(
        &Case::new("b.csv", ""),
        &["--data", "@a.csv", "--labels", "y"],
        "a.csv: there is no such file; did you mean \"b.csv\"?",
    );
    let alone = csv("x,y", 100, |i| format!("7,{}", i % 2));
    file("a.csv", alone.as_bytes(), "\"x\": every row holds 7");
}

#[test]
fn what_init_writes_trains_and_the_model_learns() {
    let log = csv("user_id,item_id,price,timestamp,like,share", 6000, |i| {
        let (user, item, like) = taste(i);
        let share = u8::from(noise(i, 81) < 0.3);
        format!("{user},{item},{:.3},{},{like},{share}", noise(i, 80), 1_650_000_000 + i * 60)
    });
    let case = Case::new("log.csv", log);
    let (recipe, _) = init(&case, &["--data", "@log.csv", "--labels", "like,share"]);
    let dataset = prepare(&recipe, case.dir.path(), &case.path("columns"), &PrepareOptions::default()).unwrap();
    assert!(dataset.warnings().is_empty(), "{:?}", dataset.warnings());
    let experiment = Experiment::load(case.path("out/experiment.toml")).unwrap();
    let models = [ModelName::Stem, ModelName::SharedBottom, ModelName::SingleTask];
    assert!(models.iter().all(|&model| experiment.has(model)));
    let metrics = run(ModelName::Stem, &experiment, &dataset, &case.path("run"), &RunOptions::default()).unwrap();
    assert!(metrics.test["like"].auc.unwrap() > 0.65, "{:?}", metrics.test);
}

#[test]
fn the_answer_names_the_files_the_guesses_and_the_next_command() {
    let case = Case::new("my log.csv", plain(400));
    let output = case.init(&["--data", "@my log.csv", "--labels", "like"]);
    let answer = text(&output.stdout);
    let parts = ["recipe.toml", "experiment.toml", "400 rows", "labels:", "fields:", "group: user", "split: by chance"];
    for part in parts.into_iter().chain(["next:\n  stem train --recipe "]) {
        assert!(answer.contains(part), "{part}: {answer}");
    }
}

/// Whatever the file holds: files that parse, or a refusal.
fn survives(log: &[u8]) -> Result<(), TestCaseError> {
    let case = Case::new("log.csv", log);
    let output = case.init(&["--data", "@log.csv", "--labels", "y"]);
    let message = text(&output.stderr);
    prop_assert!(!message.contains("panicked"), "{message}");
    if output.status.success() {
        let recipe = Recipe::load(case.path("out/recipe.toml"));
        prop_assert!(recipe.is_ok(), "{:?}", recipe.err());
        prop_assert!(Experiment::load(case.path("out/experiment.toml")).is_ok());
    } else {
        prop_assert_eq!(output.status.code(), Some(1), "{}", &message);
        prop_assert!(!case.path("out/recipe.toml").exists());
        let ours = !message.contains("recipe.toml:"); // a recipe that was written wrong, and is not accepted
        prop_assert!(ours, "{message}");
    }
    Ok(())
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0i64..5).prop_map(|n| n.to_string()),
        2 => any::<i64>().prop_map(|n| n.to_string()),
        2 => any::<f32>().prop_map(|x| x.to_string()),
        2 => "[a-z|; ]{0,12}",
        1 => "[0-9]{3,12}",
        1 => Just("2024-05-01".to_string()),
        1 => Just(String::new()),
        1 => Just("NA".to_string()),
        1 => "\\PC{0,6}".prop_map(|text| text.replace(['"', ',', '\n', '\r'], "")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_table_gives_files_that_parse_or_a_refusal(
        names in prop::collection::btree_set("[a-z_ \\\\'#]{1,9}|user_id|time|[^\",\\r\\n\\x00]{1,4}", 1..6),
        columns in prop::collection::vec(prop_oneof![prop::collection::vec(cell(), 30), cell().prop_map(|c| vec![c; 30])], 6),
        bits in prop::collection::vec(0..2u8, 30),
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != "y").collect();
        let row = |cells: Vec<&str>, y: &str| [cells, vec![y]].concat().join(",") + "\n";
        let mut log = row(names.clone(), "y");
        for (i, bit) in bits.iter().enumerate() {
            log += &row(columns.iter().take(names.len()).map(|column| column[i].as_str()).collect(), &bit.to_string());
        }
        survives(log.as_bytes())?;
    }

    #[test]
    fn any_bytes_give_a_refusal_or_files(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&bytes)?;
    }
}
