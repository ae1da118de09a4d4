//! `mpirun stem train` and `mpirun stem prepare`: held to what one process does.
#![cfg(feature = "mpi")]
#![allow(clippy::unwrap_used)]

mod program;

use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use program::{Small, stem, text, texts, workspace};

/// The program on so many ranks.
fn mpirun(ranks: usize, args: &[String]) -> Command {
    let mut command = Command::new("mpirun");
    command
        .args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string(), env!("CARGO_BIN_EXE_stem")])
        .args(args)
        .current_dir(workspace())
        .env_remove("STEM_LOG");
    command
}

fn on_ranks(ranks: usize, args: &[String]) -> Output {
    mpirun(ranks, args).output().expect("mpirun is there")
}

/// What the ranks print to stderr where they end with an error.
fn refused(ranks: usize, args: &[String]) -> String {
    let output = on_ranks(ranks, args);
    assert!(!output.status.success());
    let printed = text(&output.stderr);
    assert!(!printed.contains("panicked"), "{printed}");
    printed
}

fn metrics(small: &Small, out: &str) -> serde_json::Value {
    serde_json::from_str(&small.read(&format!("{out}/metrics.json"))).unwrap()
}

/// Refuses metrics that differ by more than 1e-6, and anything else that differs but for time and memory.
fn hold(there: &serde_json::Value, here: &serde_json::Value, at: &str) {
    use serde_json::Value;
    match (there, here) {
        (Value::Object(a), Value::Object(b)) => {
            assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{at}");
            for (key, value) in
                a.iter().filter(|(key, _)| !["seconds", "rows_per_second", "memory"].contains(&key.as_str()))
            {
                hold(value, &b[key], &format!("{at}.{key}"));
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-6, "{at}: {a} and {b}");
        }
        (a, b) => assert_eq!(a, b, "{at}"),
    }
}

#[test]
fn a_model_of_two_and_of_three_ranks_has_the_metrics_of_one_process_and_a_bundle_like_its() {
    let small = Small::new();
    for model in ["stem", "single-task"] {
        let alone = small.args("train", &format!("{model}-1"), &["--model", model]);
        let output = stem(&texts(&alone)).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        for ranks in [2, 3] {
            let out = format!("{model}-{ranks}");
            let output = on_ranks(ranks, &small.args("train", &out, &["--model", model]));
            assert!(output.status.success(), "{}", text(&output.stderr));
            let printed = text(&output.stdout);
            assert_eq!(printed.matches("report.html").count(), 1, "rank 0 alone tells: {printed}");
            hold(&metrics(&small, &format!("{model}-1")), &metrics(&small, &out), model);
            let length = |out: &str| std::fs::metadata(small.path(&format!("{out}/bundle.safetensors"))).unwrap().len();
            assert!(length(&out).abs_diff(length(&format!("{model}-1"))) < 200, "one file of the same layout");
            assert!(!small.folder.path().join(format!("{out}/unfinished")).exists());
        }
    }
}

#[test]
fn what_is_for_one_process_is_refused_by_its_name_on_several() {
    let small = Small::new();
    let found = refused(2, &small.args("replay", "out", &["--by", "user"]));
    assert!(
        found.contains(
            "2 processes were started, and only `stem prepare`, `stem train` and `stem compare` are for several"
        ),
        "{found}"
    );
    small.write("small.toml", "[train]\nepochs = 1\ntable = \"dense\"\n");
    let found = refused(2, &small.args("train", "out", &[]));
    assert!(found.contains("`table` is \"dense\", expected \"row-sparse\""), "{found}");
    assert!(!small.folder.path().join("out/bundle.safetensors").exists());
}

#[test]
fn a_rank_that_was_started_with_other_options_is_named_before_the_first_step() {
    let small = Small::new();
    let program = env!("CARGO_BIN_EXE_stem");
    let own = |seed: &str| small.args("train", "out", &["--seed", seed]);
    let output = Command::new("mpirun")
        .args(["--allow-run-as-root", "--oversubscribe", "-n", "1", program])
        .args(own("1"))
        .args([":", "-n", "1", program])
        .args(own("2"))
        .current_dir(workspace())
        .output()
        .unwrap();
    let printed = text(&output.stderr);
    assert!(!output.status.success());
    assert!(printed.contains("rank 1 is not of this training: its train.seed is 2, that of rank 0 1"), "{printed}");
}

/// A log of so many files beside the recipe, which reads all of them.
fn in_files(small: &Small, files: usize) {
    assert!(stem(&texts(&small.args("train", "once", &["--epochs", "1"]))).output().unwrap().status.success());
    let log = small.read("log.csv");
    let (head, rows) = log.split_once('\n').unwrap();
    let rows: Vec<&str> = rows.lines().collect();
    std::fs::create_dir(small.path("log")).unwrap();
    for (place, rows) in rows.chunks(rows.len().div_ceil(files)).enumerate() {
        small.write(&format!("log/part-{place}.csv"), &format!("{head}\n{}\n", rows.join("\n")));
    }
    let recipe = small.read("recipe.toml");
    let recipe = recipe.split_once("[simulator]").unwrap().0.replace("file = \"log.csv\"", "files = [\"log\"]");
    small.write("recipe.toml", &recipe);
}

fn preparation(small: &Small, out: &str) -> Vec<String> {
    let own = ["prepare", "--recipe", "recipe.toml", "--data", "", "--columns", out];
    let path =
        |(place, own): (usize, &str)| if place % 2 == 0 && place > 0 { small.path(own) } else { own.to_string() };
    own.into_iter().enumerate().map(path).collect()
}

#[test]
fn columns_that_two_and_three_ranks_prepare_are_those_of_one_process_byte_for_byte() {
    let small = Small::new();
    in_files(&small, 2);
    let output = stem(&texts(&preparation(&small, "columns-1"))).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let files = |out: &str, folder: &str| {
        let files = std::fs::read_dir(small.path(&format!("{out}/{folder}"))).unwrap().map(|file| file.unwrap());
        let files = files.filter(|file| file.path().is_file() && file.file_name() != "dataset.json");
        let mut files: Vec<_> = files.map(|file| (file.file_name(), std::fs::read(file.path()).unwrap())).collect();
        files.sort();
        files
    };
    let checked = |out: &str| {
        let manifest: serde_json::Value = serde_json::from_str(&small.read(&format!("{out}/dataset.json"))).unwrap();
        let marks = manifest["files"].as_object().unwrap().clone();
        let checksums: Vec<String> = marks.iter().map(|(name, mark)| format!("{name} {}", mark["checksum"])).collect();
        (checksums, manifest["facts"].clone(), manifest["warnings"].clone(), manifest["key"].clone())
    };
    for ranks in [2, 3] {
        let out = format!("columns-{ranks}");
        let output = on_ranks(ranks, &preparation(&small, &out)); // with three, one has no file
        assert!(output.status.success(), "{}", text(&output.stderr));
        let printed = text(&output.stdout);
        assert_eq!(printed.matches("2000 rows in").count(), 1, "rank 0 alone tells: {printed}");
        for folder in ["", "train", "valid", "test"] {
            assert!(files("columns-1", folder) == files(&out, folder), "{ranks} ranks: {folder}");
        }
        assert_eq!(checked("columns-1"), checked(&out), "{ranks} ranks");
    }
}

#[test]
fn a_rank_whose_file_cannot_be_read_ends_the_preparation_with_the_file_and_the_line() {
    let small = Small::new();
    in_files(&small, 3);
    let part = small.read("log/part-2.csv");
    let lines: Vec<&str> = part.lines().collect();
    small.write("log/part-2.csv", &[&lines[..90], &["1,2"], &lines[90..]].concat().join("\n"));
    let found = refused(3, &preparation(&small, "columns"));
    assert!(found.contains("rank 2: ") && found.contains("part-2.csv:91: 2 values in a table of 8 columns"), "{found}");
    assert!(!small.folder.path().join("columns").exists());
}

/// The processes that another one has started.
fn children(of: &Child) -> Vec<u32> {
    let path = format!("/proc/{0}/task/{0}/children", of.id());
    std::fs::read_to_string(path).unwrap_or_default().split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

#[test]
fn a_rank_that_is_killed_ends_all_with_a_message_that_names_it() {
    let small = Small::new();
    let args = small.args("train", "out", &["--epochs", "100000"]);
    let mut job = mpirun(3, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = small.folder.path().join("out/unfinished/log.jsonl");
    let begun = Instant::now();
    while std::fs::metadata(&log).map_or(0, |log| log.len()) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(120) && job.try_wait().unwrap().is_none(), "it does not begin");
        sleep(Duration::from_millis(50));
    }
    let ranks = children(&job);
    assert_eq!(ranks.len(), 3, "{ranks:?}");
    let killed = Instant::now();
    assert!(Command::new("kill").args(["-9", &ranks[1].to_string()]).status().unwrap().success());
    let output = job.wait_with_output().unwrap();
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());
    let printed = text(&output.stderr);
    assert!(!output.status.success());
    assert!(printed.contains("rank 1") && printed.contains("signal 9"), "{printed}");
    let runs = |id: &u32| std::path::Path::new(&format!("/proc/{id}")).exists();
    while ranks.iter().any(runs) {
        assert!(killed.elapsed() < Duration::from_secs(30), "some of {ranks:?} still run");
        sleep(Duration::from_millis(50));
    }
}

/// Ranks that are killed; `STEM_KILLS` asks for more.
fn kills() -> u64 {
    std::env::var("STEM_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(4)
}

/// When a rank of a job is killed.
#[derive(Clone, Copy)]
enum Moment {
    /// So long after the job was started.
    OfJob(Duration),
    /// So long after it has written its first checkpoint.
    BehindCheckpoint(Duration),
}

/// The checkpoints of a training into `out` that was not finished.
fn checkpoints(small: &Small, out: &str) -> Vec<std::ffi::OsString> {
    let files = std::fs::read_dir(small.path(&format!("{out}/unfinished"))).into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name());
    names.filter(|name| name.to_string_lossy().starts_with("checkpoint-")).collect()
}

/// What became of a job.
struct Ran {
    /// Whether a rank was killed: not where the end came first.
    is_killed: bool,
    lasted: Duration,
    /// What of it came after its first checkpoint.
    behind_checkpoint: Duration,
}

/// Runs a job into `out` and kills one of its ranks at a moment.
fn run_and_kill(small: &Small, out: &str, rank: usize, at: Option<Moment>) -> Ran {
    let before = checkpoints(small, out);
    let begun = Instant::now();
    let args = small.args("train", out, &["--resume"]);
    let mut job = mpirun(2, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = None;
    loop {
        if first.is_none() && checkpoints(small, out).iter().any(|name| !before.contains(name)) {
            first = Some(begun.elapsed());
        }
        let come = match at {
            Some(Moment::OfJob(delay)) => begun.elapsed() >= delay,
            Some(Moment::BehindCheckpoint(delay)) => first.is_some_and(|first| begun.elapsed() >= first + delay),
            None => false,
        };
        if come && children(&job).len() == 2 {
            break;
        }
        if let Some(status) = job.try_wait().unwrap() {
            assert!(status.success(), "{args:?}: {status}");
            let lasted = begun.elapsed();
            return Ran { is_killed: false, lasted, behind_checkpoint: lasted - first.unwrap_or(lasted) };
        }
        sleep(Duration::from_millis(1));
    }
    let of_rank = children(&job).get(rank).map(u32::to_string);
    of_rank.map(|id| Command::new("kill").args(["-9", &id]).status().unwrap());
    // Who had done all and was only ending when it was killed has ended: what it leaves is held to the whole training too.
    let is_killed = !job.wait().unwrap().success();
    let lasted = begun.elapsed();
    Ran { is_killed, lasted, behind_checkpoint: lasted - first.unwrap_or(lasted) }
}

#[test]
fn jobs_of_which_a_rank_is_killed_at_any_moment_go_on_to_the_same_bits() {
    let small = Small::new();
    let often = "epochs = 20\npatience = 20\ncheckpoint_every = { steps = 5 }";
    let settings = small.read("small.toml").replace("epochs = 2", often).replace("batch_size = 256", "batch_size = 64");
    small.write("small.toml", &settings);
    let Ran { mut lasted, mut behind_checkpoint, .. } = run_and_kill(&small, "whole", 0, None);
    assert!(!behind_checkpoint.is_zero(), "the whole training writes checkpoints");
    let bytes = |out: &str, name: &str| std::fs::read(small.path(&format!("{out}/{name}"))).unwrap();
    let (mut killed, mut of_ranks, mut with_checkpoint, mut round) = (0, [0; 2], 0, 0);
    while killed < kills() {
        round += 1;
        let out = format!("killed-{round}");
        for turn in 0..2 {
            let drawn = (round * 2 + turn + 1_u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            let within = |whole: Duration| Duration::from_millis(drawn % (whole.as_millis() as u64).max(1));
            // Most of a short job is its start: one kill of four falls anywhere, the others in the training.
            let at = match drawn >> 10 & 3 {
                0 => Moment::OfJob(within(lasted)),
                _ => Moment::BehindCheckpoint(within(behind_checkpoint)),
            };
            let rank = (drawn >> 20) as usize % 2;
            let ran = run_and_kill(&small, &out, rank, Some(at));
            if !ran.is_killed {
                // The machine was slower before: the moment lay behind the end.
                if turn == 0 && !ran.behind_checkpoint.is_zero() {
                    (lasted, behind_checkpoint) =
                        (lasted.min(ran.lasted), behind_checkpoint.min(ran.behind_checkpoint));
                }
                break;
            }
            killed += 1;
            of_ranks[rank] += 1;
            with_checkpoint += usize::from(!checkpoints(&small, &out).is_empty());
        }
        let has_checkpoint = !checkpoints(&small, &out).is_empty();
        let output = on_ranks(2, &small.args("train", &out, &["--resume"]));
        let printed = text(&output.stderr);
        assert!(output.status.success(), "{printed}");
        assert!(!has_checkpoint || printed.contains("going on from step"), "{printed}");
        for name in ["bundle.safetensors", "log.jsonl"] {
            assert!(bytes("whole", name) == bytes(&out, name), "{out}: {name} is another");
        }
        hold(&metrics(&small, "whole"), &metrics(&small, &out), &out);
        std::fs::remove_dir_all(small.path(&out)).unwrap();
    }
    println!(
        "{killed} kills, {of_ranks:?} of each rank, {with_checkpoint} where there was a checkpoint, in {round} trainings"
    );
    assert!(with_checkpoint > 0, "all of them came before the first checkpoint");
}
