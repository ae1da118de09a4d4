//! `stem train --from` and `stem replay` as a user runs them: a model that is kept up to date.

use crate::program::{Small, device, fails, json, run, succeeds, text, texts};
use serde_json::Value;

/// A log of another day, in which every third user is new.
fn next_day(small: &Small) -> String {
    let log = small.read("log.csv");
    let mut lines = log.lines();
    let header = lines.next().unwrap().to_string();
    let place = header.split(',').position(|name| name == "user").unwrap();
    let rows = lines.map(|line| {
        let mut cells: Vec<String> = line.split(',').map(String::from).collect();
        let user: u64 = cells[place].parse().unwrap();
        if user.is_multiple_of(3) {
            cells[place] = (user + 1000).to_string();
        }
        cells.join(",")
    });
    let rows: Vec<String> = rows.collect();
    std::fs::create_dir_all(small.path("next")).unwrap();
    small.write("next/log.csv", &format!("{header}\n{}\n", rows.join("\n")));
    let recipe = small.read("recipe.toml");
    small.write("next.toml", recipe.split("[simulator]").next().unwrap());
    small.path("next")
}

fn train_from(small: &Small, bundle: &str, out: &str, more: &[&str]) -> Vec<String> {
    let [recipe, data, sizes, out] =
        [&small.path("next.toml"), &small.path("next"), &small.path("small.toml"), out].map(|text| text.to_string());
    let own = ["train", "--from", bundle, "--recipe", &recipe, "--data", &data, "--experiment", &sizes];
    let on = ["--out".to_string(), small.path(&out), "--device".into(), device()];
    own.iter().chain(more).map(|arg| arg.to_string()).chain(on).collect()
}

#[test]
fn a_model_is_trained_on_with_the_rows_of_the_next_day() {
    let small = Small::new();
    let bundle = small.trained();
    next_day(&small);
    let before = std::fs::read(&bundle).unwrap();
    let answer = json(&texts(&train_from(&small, &bundle, "tuesday", &[])));
    assert_eq!((answer["model"].as_str(), answer["epochs"].as_u64()), (Some("stem"), Some(2)));
    assert_eq!(std::fs::read(&bundle).unwrap(), before, "Monday's stays");
    let tuesday = small.path("tuesday/bundle.safetensors");
    let rows = |bundle: &str| {
        let found = json(&["inspect", bundle]);
        let fields = found["fields"].as_array().unwrap().clone();
        fields.iter().find(|field| field["column"] == "user").unwrap()["known"].as_u64().unwrap()
    };
    let (monday, grown) = (rows(&bundle), rows(&tuesday));
    assert_eq!((monday, grown), (40, 54), "users 0, 3, 6 ... have other names");
    // Wednesday from Tuesday's, with a limit on what may be forgotten.
    let recipe = small.read("next.toml");
    small.write("next.toml", &format!("{recipe}\n[grow]\nevict_after = 2\n"));
    succeeds(&texts(&train_from(&small, &tuesday, "wednesday", &["--epochs", "1"])));
    let gone = grown - monday; // each of the new was another before
    let wednesday = rows(&small.path("wednesday/bundle.safetensors"));
    assert_eq!(wednesday, grown - gone, "those that were renamed did not occur twice");
}

#[test]
fn a_model_is_trained_on_from_a_checkpoint_with_its_moments() {
    let small = Small::new();
    small.write("small.toml", &small.read("small.toml").replace("epochs = 2", "epochs = 2\nkeep_checkpoint = true"));
    let bundle = small.trained();
    let monday = std::path::Path::new(&bundle).parent().unwrap().to_str().unwrap().to_string();
    let checkpoint = format!("{monday}/checkpoint.safetensors");
    next_day(&small);
    for (from, out) in [(&bundle, "by-bundle"), (&checkpoint, "by-checkpoint"), (&monday, "by-folder")] {
        succeeds(&texts(&train_from(&small, from, out, &[])));
    }
    let log = |out: &str| small.read(&format!("{out}/log.jsonl")).lines().map(String::from).collect::<Vec<_>>();
    let first = |out: &str| -> Value { serde_json::from_str(&log(out)[0]).unwrap() };
    assert_eq!(first("by-checkpoint")["steps"], 0, "as it comes");
    if device() == "flex" {
        assert_eq!(log("by-checkpoint"), log("by-folder"));
    }
    assert_ne!(log("by-checkpoint")[1..], log("by-bundle")[1..], "moments make other steps");
    assert!(std::path::Path::new(&small.path("by-folder/checkpoint.safetensors")).exists());
    // Another optimizer has no use for them.
    let adam = small.read("small.toml").replace("[train]", "[train]\noptimizer = { name = \"adagrad\" }");
    small.write("small.toml", &adam);
    let message = fails(&texts(&train_from(&small, &monday, "other", &[])));
    assert!(message.contains("trained by the optimizer adam, not by adagrad"), "{message}");
    // What is unfinished in OUT would be lost.
    let work = small.path("by-bundle/unfinished");
    std::fs::create_dir_all(&work).unwrap();
    for name in ["bundle.safetensors", "checkpoint.safetensors"] {
        std::fs::copy(format!("{monday}/{name}"), format!("{work}/{name}")).unwrap();
    }
    let message = fails(&texts(&train_from(&small, &work, "by-bundle", &["--force"])));
    assert!(message.contains("is what the training starts from, and would be replaced by it"), "{message}");
    // So would what OUT holds: killed while its files took their places, the training would go on from its own end.
    for from in [&monday, &checkpoint, &bundle] {
        let before = std::fs::read(&bundle).unwrap();
        let message = fails(&texts(&train_from(&small, from, "out", &["--force"])));
        assert!(message.contains("would be replaced by"), "{from}: {message}");
        assert!(std::fs::read(&bundle).unwrap() == before && std::path::Path::new(&checkpoint).exists());
    }
}

#[test]
fn of_a_model_of_several_states_each_is_trained_on() {
    let small = Small::new();
    let sizes = small
        .read("small.toml")
        .replace("epochs = 2", "epochs = 8\nevaluate_every = { epochs = 0.5 }\nlearning_rate = 0.02");
    small.write("small.toml", &sizes);
    let states = |bundle: &str| json(&["inspect", bundle])["states"].clone();
    let of_two = (1..9).find_map(|seed| {
        let seed = seed.to_string();
        succeeds(&texts(&small.args("train", "out", &["--seed", &seed, "--force"])));
        let bundle = small.path("out/bundle.safetensors");
        (states(&bundle).as_array().unwrap().len() == 2).then_some(bundle)
    });
    let bundle = of_two.expect("a training whose tasks are best at two moments");
    next_day(&small);
    let answer = json(&texts(&train_from(&small, &bundle, "tuesday", &["--epochs", "1"])));
    let tuesday = small.path("tuesday/bundle.safetensors");
    assert_eq!(states(&tuesday), states(&bundle), "the same tasks of the same states");
    assert_eq!(answer["kept"].as_object().unwrap().keys().collect::<Vec<_>>(), ["a", "b"]);
    let log = small.read("tuesday/log.jsonl");
    let of = |task: &str| log.lines().filter(|line| line.contains(&format!("\"{task}\":{{"))).count();
    assert!(of("a") > 0 && of("b") > 0 && !small.read("tuesday/log.jsonl").contains("\"a\":{},\"b\":{}"));
    assert!(!std::path::Path::new(&small.path("tuesday/state-0")).exists(), "what it was made of is gone");
}

#[test]
fn what_cannot_be_trained_on_says_why() {
    let small = Small::new();
    let bundle = small.trained();
    next_day(&small);
    let refused = |more: &[&str], out: &str| fails(&texts(&train_from(&small, &bundle, out, more)));
    let message = refused(&["--model", "mmoe"], "tuesday");
    assert!(message.contains("is a model stem, not mmoe: leave --model out"), "{message}");
    let message = refused(&["--force"], "out");
    assert!(message.contains("is read and would be replaced by"), "{message}");
    small.write("small.toml", &small.read("small.toml").replace("experts = [8]", "experts = [9]"));
    let message = refused(&[], "tuesday");
    assert!(message.contains("its sizes are others: experts is [8] there and [9] now"), "{message}");
    small.write("next.toml", &small.read("next.toml").replace(r#"label = [{ column = "a" }, "#, "label = ["));
    let message = refused(&[], "tuesday");
    assert!(message.contains("the model scores \"a\", which is no label of this recipe"), "{message}");
    let message = fails(&texts(&train_from(&small, &small.path("recipe.toml"), "tuesday", &[])));
    assert!(message.contains("recipe.toml"), "{message}");
}

/// The small log with a column of four days, whose names are in another order than their texts.
fn days(small: &Small) -> Vec<String> {
    small.trained(); // writes the log
    small.write("small.toml", &small.read("small.toml").replace("epochs = 2", "epochs = 2\nbest = \"joint\"")); // one state
    let log = small.read("log.csv");
    let lines: Vec<&str> = log.lines().collect();
    let rows = lines[1..].iter().enumerate().map(|(row, line)| format!("{line},{}", 8 + row * 4 / (lines.len() - 1)));
    let rows: Vec<String> = rows.collect();
    std::fs::create_dir(small.path("days")).unwrap();
    small.write("days/log.csv", &format!("{},day\n{}\n", lines[0], rows.join("\n")));
    let recipe = small.read("recipe.toml");
    small.write("days.toml", recipe.split("[simulator]").next().unwrap());
    let own = ["replay", "--by", "day", "--recipe", &small.path("days.toml"), "--data", &small.path("days")];
    let [sizes, out, on] = [small.path("small.toml"), small.path("replay"), device()];
    let more = ["--experiment", &sizes, "--out", &out, "--device", &on];
    own.iter().chain(&more).map(|arg| arg.to_string()).collect()
}

#[test]
fn a_log_is_played_again_in_every_way_and_the_same_command_finds_its_days_done() {
    let small = Small::new();
    let args = days(&small);
    let answer = json(&texts(&args));
    assert_eq!(answer["days"], serde_json::json!(["9", "10", "11"]), "8 is trained on first, and 10 comes after 9");
    assert_eq!(answer["rows"], serde_json::json!([500, 500, 500]));
    let ways = answer["ways"].as_array().unwrap();
    let names: Vec<&str> = ways.iter().map(|way| way["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["full", "warm", "frozen"]);
    let auc = |way: usize, day: usize| ways[way]["days"][day]["tasks"][0]["auc"].as_f64().unwrap();
    assert_eq!([auc(0, 0), auc(1, 0)], [auc(1, 0), auc(2, 0)], "all ways begin with one model");
    assert!(auc(0, 2) != auc(1, 2) && auc(1, 2) != auc(2, 2), "and part");
    let seconds = |way: usize, day: usize| ways[way]["days"][day]["seconds"].as_f64().unwrap();
    assert!(seconds(1, 1) > 0.0 && seconds(2, 1) == 0.0);
    let rows = |way: usize, day: usize| ways[way]["days"][day]["rows"].as_u64().unwrap();
    assert!(rows(0, 2) > 2 * rows(1, 2), "{} and {} rows", rows(0, 2), rows(1, 2));
    let page = small.read("replay/report.html");
    assert!(page.contains("id=\"replay\"") && page.contains("a: AUC by day") && page.contains("b: AUC by day"));
    assert!(!page.contains("Nothing to say"), "it is no comparison of models");
    let written: Value = serde_json::from_str(&small.read("replay/replay.json")).unwrap();
    assert_eq!(written["ways"], answer["ways"]);

    let bundle = small.path("replay/warm/10/bundle.safetensors");
    let modified = || std::fs::metadata(&bundle).unwrap().modified().unwrap();
    let before = modified();
    assert_eq!(json(&texts(&args))["ways"], answer["ways"]);
    assert_eq!(modified(), before, "no day is trained twice");
    let printed = succeeds(&texts(&args));
    assert!(printed.starts_with("means over 3 days, 9 to 11") && printed.contains("report.html"), "{printed}");
}

#[test]
fn moments_go_on_from_day_to_day_where_they_are_asked_for() {
    let small = Small::new();
    let args = days(&small);
    let played = |out: &str, more: &[&str]| {
        let mut args: Vec<String> = args.clone();
        let place = args.iter().position(|arg| arg == "--out").unwrap() + 1;
        args[place] = small.path(out);
        json(&[&texts(&args)[..], &["--ways", "warm", "--warm-epochs", "1"], more].concat())
    };
    let (with, without) = (played("with", &["--moments"]), played("without", &[]));
    let auc = |answer: &Value, day: usize| answer["ways"][0]["days"][day]["tasks"][0]["auc"].clone();
    assert_eq!(
        [auc(&with, 0), auc(&with, 1)],
        [auc(&without, 0), auc(&without, 1)],
        "there are none before the second day"
    );
    assert_ne!(auc(&with, 2), auc(&without, 2), "from then on they make other steps");
    let is_there =
        |out: &str| std::path::Path::new(&small.path(&format!("{out}/warm/10/checkpoint.safetensors"))).exists();
    assert!(is_there("with") && !is_there("without"));
}

#[test]
fn what_cannot_be_played_again_says_why() {
    let small = Small::new();
    let args = days(&small);
    let with = |option: &str, value: &str| {
        let mut args: Vec<String> = args.clone();
        match args.iter().position(|arg| arg == option) {
            Some(place) => args[place + 1] = value.into(),
            None => args.extend([option.to_string(), value.to_string()]),
        }
        args
    };
    let message = fails(&texts(&with("--by", "week")));
    assert!(message.contains("week"), "{message}");
    let message = fails(&texts(&with("--first", "4")));
    assert!(message.contains("`first` is 4, expected 1 to 3: the log has 4 days"), "{message}");
    let message = fails(&texts(&with("--ways", "warm,warm")));
    assert!(message.contains("`ways` is \"warm, warm\", expected one or more ways, each once"), "{message}");
    let message = fails(&texts(&with("--valid", "1")));
    assert!(message.contains("`valid` is 1, expected a share of at least 0 and under 1"), "{message}");
    let message = fails(&texts(&with("--out", &small.path("out"))));
    assert!(message.contains("holds a run of 'stem'"), "{message}");
    let output = run(&texts(&with("--ways", "hot")));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("expected some of full, warm, frozen"), "{}", text(&output.stderr));
}

/// Which items are bought turns round on day 2, and nobody knows of it before day 4: who is served by day 4 at better than nothing has cheated.
#[test]
fn a_label_that_arrives_late_is_learned_when_it_is_known_and_not_before() {
    let small = Small::new();
    let (days, items) = (9, 20);
    let row = |day: u64, row: u64| {
        let item = row % items;
        let bought = item.is_multiple_of(2) == (day < 2);
        format!("{},{item},{},{},{day}\n", row * 7 % 40, u8::from(item < 10), u8::from(bought))
    };
    let rows = (0..days).flat_map(|day| (0..200).map(move |place| row(day, place)));
    std::fs::create_dir(small.path("days")).unwrap();
    small.write("days/log.csv", &["user,item,a,b,day\n".to_string()].into_iter().chain(rows).collect::<String>());
    let late = r#"{ column = "b", mature_after = { column = "day", wait = 2 } }"#;
    let recipe = small.read("recipe.toml").replace(r#"{ column = "b" }"#, late);
    let recipe = small.write("days.toml", recipe.split("[simulator]").next().unwrap());
    let sizes = small
        .read("small.toml")
        .replace("batch_size = 256\nepochs = 2", "batch_size = 20\nepochs = 20\nlearning_rate = 0.01")
        .replace("dim = 4\nshared_experts = 1\nexperts = [8]", "dim = 8\nshared_experts = 1\nexperts = [32]")
        .replace("tower = [4]", "tower = [16]");
    let sizes = small.write("late.toml", &sizes);
    let ways = if device().starts_with("wgpu") { vec!["warm"] } else { vec!["full", "warm"] }; // a GPU that is software takes minutes for each
    let warm = ways.len() - 1;
    let answer = json(&[
        "replay",
        "--by",
        "day",
        "--recipe",
        &recipe,
        "--data",
        &small.path("days"),
        "--experiment",
        &sizes,
        "--valid",
        "0",
        "--ways",
        &ways.join(","),
        "--out",
        &small.path("replay"),
        "--device",
        &device(),
    ]);
    assert_eq!(answer["days"][0], "1");
    let auc = |way: usize, day: usize, task: usize| answer["ways"][way]["days"][day - 1]["tasks"][task]["auc"].as_f64();
    for way in 0..ways.len() {
        for day in 5..9 {
            assert!(
                auc(way, day, 0).unwrap() > 0.9,
                "way {way}, day {day}: what is known at once is learned: {:?}",
                auc(way, day, 0)
            );
        }
        for day in [3, 4] {
            assert!(auc(way, day, 1).unwrap() < 0.1, "way {way}, day {day}: {:?}", auc(way, day, 1));
        }
        assert_eq!([auc(way, 7, 1), auc(way, 8, 1)], [None, None], "the log does not know what day 7 came to");
    }
    assert!(
        auc(warm, 6, 1).unwrap() > 0.9,
        "days 2 and 3 are known by then, and were trained on last: {:?}",
        auc(warm, 6, 1)
    );
    let rows = |day: usize| answer["ways"][warm]["days"][day - 1]["rows"].as_u64().unwrap() / 20;
    assert_eq!([rows(2), rows(5)], [200, 400], "once for what is known at once, once more for what was late");
}

/// `examples/daily.sh`, as the manual shows it.
#[test]
fn the_daily_script_trains_measures_and_replaces() {
    let small = Small::new();
    succeeds(&texts(&small.args("train", "out", &["--epochs", "1"]))); // writes the log
    next_day(&small);
    let recipe = small.write("daily.toml", &small.read("next.toml"));
    small.write("experiment.toml", &small.read("small.toml"));
    let script = |day: &str, data: &str, margin: &str| {
        let mut command = std::process::Command::new("sh");
        let args = ["examples/daily.sh", &recipe, data, &small.path("models"), day];
        command.args(args).env("STEM", env!("CARGO_BIN_EXE_stem")).env("MARGIN", margin);
        command.current_dir(crate::program::workspace()).output().unwrap()
    };
    std::fs::create_dir(small.path("models")).unwrap();
    std::fs::create_dir(small.path("monday")).unwrap();
    small.write("monday/log.csv", &small.read("log.csv"));
    let served = || std::fs::read(small.path("models/served.safetensors")).unwrap();
    let first = script("monday", &small.path("monday"), "0.5");
    assert!(first.status.success(), "{}", text(&first.stderr));
    let monday = served();
    let second = script("tuesday", &small.path("next"), "0.5");
    assert!(second.status.success(), "{}", text(&second.stderr));
    let tuesday = served();
    assert_ne!(monday, tuesday, "the new model is served");
    for file in ["before/evaluation.json", "after/evaluation.json", "bundle.safetensors", "report.html"] {
        assert!(std::path::Path::new(&small.path(&format!("models/tuesday/{file}"))).exists(), "{file}");
    }
    // With no margin at all nothing of so few rows is shown to be no worse, unless it is better.
    let third = script("wednesday", &small.path("monday"), "0");
    if third.status.code() == Some(3) {
        assert!(text(&third.stderr).contains("wednesday: the new model is not shown to be no worse"));
        assert_eq!(served(), tuesday, "the old one stays");
    } else {
        assert!(third.status.success(), "{}", text(&third.stderr));
    }
}
