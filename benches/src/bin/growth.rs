//! How the cost of a training step and of scoring grows with vocabulary, batch, tasks and experts: runs `step_time` at several
//! sizes, draws a chart for each, and prints a Markdown table.
//!
//! ```text
//! cargo build --release --bin step_time
//! cargo run --release --bin growth -- --out docs/img
//! ```
//!
//! Every round runs all sizes of a chart once, so that a machine that slows down for a while does so for all of them; the median of
//! the rounds counts. Ten million rows want 2 to 6 GB.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, ValueEnum};
use serde_json::Value;
use stem_benches::chart::{Chart, Line, measured, number};

/// The small STEM of the benches: experts [64, 32], one shared and one per task.
const SMALL: [&str; 6] = ["--hidden", "64,32", "--gate", "32", "--tower", "32"];

/// Draws how a step's cost grows, one SVG file a chart: growth-vocabulary.svg, growth-batch.svg, growth-tasks.svg,
/// growth-experts.svg.
#[derive(Parser)]
struct Args {
    /// Where the charts go.
    #[arg(long)]
    out: PathBuf,
    /// Steps that a run times.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Threads of a run.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Runs of each size; their median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// One chart alone.
    #[arg(long)]
    only: Option<Subject>,
}

/// What grows; all else stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    Vocabulary,
    Batch,
    Tasks,
    Experts,
}

impl Subject {
    const ALL: [Self; 4] = [Self::Vocabulary, Self::Batch, Self::Tasks, Self::Experts];

    fn name(self) -> &'static str {
        match self {
            Self::Vocabulary => "vocabulary",
            Self::Batch => "batch",
            Self::Tasks => "tasks",
            Self::Experts => "experts",
        }
    }

    /// What the horizontal axis counts.
    fn axis(self) -> &'static str {
        match self {
            Self::Vocabulary => "rows of the table",
            Self::Batch => "rows of a batch",
            Self::Tasks => "tasks, one expert each",
            Self::Experts => "shared experts, beside one per task",
        }
    }

    /// The option of `step_time` that grows.
    fn option(self) -> &'static str {
        match self {
            Self::Vocabulary => "--vocab",
            Self::Batch => "--batch",
            Self::Tasks => "--tasks",
            Self::Experts => "--shared",
        }
    }

    fn sizes(self) -> Vec<usize> {
        match self {
            Self::Vocabulary => vec![10_000, 100_000, 1_000_000, 10_000_000],
            Self::Batch => (8..=14).map(|power| 1 << power).collect(),
            Self::Tasks => (1..=8).collect(),
            Self::Experts => vec![1, 2, 4, 8, 16],
        }
    }

    /// Whether sizes go over powers of ten.
    fn log(self) -> bool {
        matches!(self, Self::Vocabulary | Self::Batch)
    }

    /// All options of a run at `size`.
    fn options(self, size: usize) -> Vec<String> {
        let kept = [("--vocab", 10_000), ("--batch", 4096), ("--tasks", 2), ("--shared", 1), ("--specific", 1)];
        let sizes = kept.map(|(option, kept)| (option, if option == self.option() { size } else { kept }));
        let sizes = sizes.into_iter().flat_map(|(option, value)| [option.to_string(), value.to_string()]);
        sizes.chain(SMALL.map(String::from)).collect()
    }

    /// What is the same at all sizes.
    fn kept(self) -> String {
        let parts = [
            (Self::Vocabulary, "10 k table rows"),
            (Self::Batch, "batch 4096"),
            (Self::Tasks, "2 tasks"),
            (Self::Experts, "1 shared expert"),
        ];
        let parts: Vec<&str> = parts.into_iter().filter(|(grows, _)| *grows != self).map(|(_, part)| part).collect();
        format!("experts [64, 32], {}", parts.join(", "))
    }
}

/// What one run of `step_time` says.
#[derive(Debug, Clone, Copy)]
struct Measured {
    rows: f64,
    train: f64,
    score: f64,
    gb: Option<f64>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let program = std::env::current_exe()?.with_file_name(format!("step_time{}", std::env::consts::EXE_SUFFIX));
    if !program.is_file() {
        let missing = program.display();
        return Err(format!("{missing} is not there; build it: cargo build --release --bin step_time").into());
    }
    std::fs::create_dir_all(&args.out).map_err(|error| format!("--out {}: {error}", args.out.display()))?;
    println!("| grows | size | table rows | train ms (lowest to highest) | score ms (lowest to highest) | peak GB |");
    println!("|---|---|---|---|---|---|");
    for subject in Subject::ALL.into_iter().filter(|subject| args.only.is_none_or(|only| only == *subject)) {
        let runs = measure(&program, subject, args)?;
        for (size, runs) in subject.sizes().into_iter().zip(&runs) {
            println!("{}", line(subject, size, runs));
        }
        let file = args.out.join(format!("growth-{}.svg", subject.name()));
        std::fs::write(&file, chart(subject, &runs, args).svg())
            .map_err(|error| format!("{}: {error}", file.display()))?;
        eprintln!("wrote {}", file.display());
    }
    Ok(())
}

/// All rounds, size by size.
fn measure(program: &Path, subject: Subject, args: &Args) -> Result<Vec<Vec<Measured>>, Box<dyn Error>> {
    let sizes = subject.sizes();
    let mut runs = vec![Vec::new(); sizes.len()];
    for round in 1..=args.rounds {
        for (size, runs) in sizes.iter().zip(&mut runs) {
            eprintln!("{} {size}, round {round} of {}", subject.name(), args.rounds);
            runs.push(step_time(program, &subject.options(*size), args)?);
        }
    }
    Ok(runs)
}

/// One run in a process of its own, whose last line is JSON.
fn step_time(program: &Path, options: &[String], args: &Args) -> Result<Measured, Box<dyn Error>> {
    let mut command = Command::new(program);
    command.args(options).args(["--steps", &args.steps.to_string(), "--threads", &args.threads.to_string()]);
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", output.status).into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().last().unwrap_or_default();
    let said: Value =
        serde_json::from_str(found).map_err(|error| format!("{command:?}: expected JSON, found '{found}': {error}"))?;
    let field = |name: &str| said[name].as_f64();
    let needed = |name: &str| field(name).ok_or_else(|| format!("{command:?}: no number '{name}' in {found}"));
    Ok(Measured { rows: needed("vocab")?, train: needed("train_ms")?, score: needed("eval_ms")?, gb: field("rss_gb") })
}

/// A line of the table.
fn line(subject: Subject, size: usize, runs: &[Measured]) -> String {
    let milliseconds = |of: fn(&Measured) -> f64| {
        let sorted = sorted(runs, of);
        let [low, high] = [sorted[0], sorted[sorted.len() - 1]].map(measured);
        format!("{} ({low} to {high})", measured(sorted[sorted.len() / 2]))
    };
    let gb = runs.iter().filter_map(|run| run.gb).reduce(f64::max).map_or("".into(), |gb| format!("{gb:.3}"));
    format!(
        "| {} | {} | {} | {} | {} | {gb} |",
        subject.name(),
        number(size as f64),
        number(runs[0].rows),
        milliseconds(|run| run.train),
        milliseconds(|run| run.score),
    )
}

fn chart(subject: Subject, runs: &[Vec<Measured>], args: &Args) -> Chart {
    let middle = |of: fn(&Measured) -> f64| {
        runs.iter().map(|runs| sorted(runs, of)).map(|values| values[values.len() / 2]).collect()
    };
    let grows = if subject == Subject::Experts { "shared experts" } else { subject.name() };
    let s = if args.threads == 1 { "" } else { "s" };
    Chart {
        title: format!("Time of a training step and of scoring, by {grows}"),
        subtitle: format!("{}; {} thread{s}", subject.kept(), args.threads),
        x_title: subject.axis().into(),
        y_title: "milliseconds a batch".into(),
        log: subject.log(),
        places: subject.sizes().into_iter().map(|size| (size as f64, short(size))).collect(),
        lines: vec![
            Line { name: "training".into(), values: middle(|run| run.train) },
            Line { name: "scoring".into(), values: middle(|run| run.score) },
        ],
    }
}

/// 10 k and 1 M, other numbers as they are.
fn short(size: usize) -> String {
    match size {
        _ if size >= 1_000_000 && size.is_multiple_of(1_000_000) => format!("{} M", size / 1_000_000),
        _ if size >= 1_000 && size.is_multiple_of(1_000) => format!("{} k", size / 1_000),
        _ => number(size as f64),
    }
}

fn sorted(runs: &[Measured], of: fn(&Measured) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}
