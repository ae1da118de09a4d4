//! Several processes that make one comparison. What `mpirun` and `srun` say to each stands in its environment; no MPI is needed.

use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::program::{Small, stem, succeeds, text, texts};
use serde_json::Value;

/// One of so many processes, as MPICH starts it.
fn one_of(ranks: usize, rank: usize, args: &[String]) -> Child {
    let mut command = stem(&texts(args));
    command.env("PMI_SIZE", ranks.to_string()).env("PMI_RANK", rank.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What a comparison says, but for what it took.
fn found(small: &Small, out: &str) -> Value {
    let mut found: Value = serde_json::from_str(&small.read(&format!("{out}/comparison.json"))).unwrap();
    forget(&mut found);
    found
}

fn forget(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            let of_a_run = ["seconds", "rows_per_second", "memory", "command", "date", "time"];
            entries.retain(|key, _| !of_a_run.contains(&key.as_str()));
            entries.values_mut().for_each(forget);
        }
        Value::Array(all) => all.iter_mut().for_each(forget),
        _ => {}
    }
}

const OPTIONS: [&str; 6] = ["--models", "stem", "--seeds", "1,2,3", "--resamples", "50"];

#[test]
fn processes_that_share_out_a_comparison_come_to_what_one_comes_to() {
    let small = Small::new();
    small.write("search.toml", "trials = 3\n[space]\n\"train.learning_rate\" = [0.001, 0.003, 0.01]\n");
    let search = small.path("search.toml");
    let args = |out: &str| -> Vec<String> {
        let mut args = small.args("compare", out, &OPTIONS);
        args.extend(["--search".to_string(), search.clone()]);
        args
    };
    succeeds(&texts(&args("one")));
    let hands: Vec<Child> = (0..3).map(|rank| one_of(3, rank, &args("several"))).collect();
    for (rank, hand) in hands.into_iter().enumerate() {
        let output = hand.wait_with_output().unwrap();
        let printed = text(&output.stdout);
        assert!(output.status.success(), "rank {rank}: {}", text(&output.stderr));
        assert_eq!(printed.contains("report.html"), rank == 0, "the first tells: {printed}");
    }
    assert_eq!(found(&small, "several"), found(&small, "one"));
}

#[test]
fn a_process_that_dies_leaves_its_run_to_the_others() {
    let small = Small::new();
    let args = |out: &str| small.args("compare", out, &OPTIONS);
    succeeds(&texts(&args("one")));
    let first = one_of(2, 0, &args("several"));
    let mut second = one_of(2, 1, &args("several"));
    let locked = || {
        let runs = small.folder.path().join("several/runs/stem");
        std::fs::read_dir(runs).is_ok_and(|runs| runs.flatten().any(|run| run.path().join("log.jsonl").exists()))
    };
    let begun = Instant::now();
    while !locked() && begun.elapsed() < Duration::from_secs(60) {
        sleep(Duration::from_millis(1));
    }
    second.kill().unwrap();
    second.wait().unwrap();
    let output = first.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(found(&small, "several"), found(&small, "one"));
}

#[test]
fn a_process_of_another_comparison_trains_nothing() {
    let small = Small::new();
    succeeds(&texts(&small.args("compare", "out", &OPTIONS)));
    small.write("small.toml", &small.read("small.toml").replace("dim = 4\nshared", "dim = 6\nshared"));
    let mut other = one_of(2, 1, &small.args("compare", "out", &OPTIONS));
    sleep(Duration::from_secs(3));
    assert!(other.try_wait().unwrap().is_none(), "it waits for the first, which may take the folder over");
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(small.folder.path().join("out/comparison.json").exists());
}
