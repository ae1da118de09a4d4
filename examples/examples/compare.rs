//! Does sharing help my tasks, for which users, and what should I ship?
//!
//! ```text
//! cargo run --release --example compare -- --recipe datasets/simulated/recipe.toml --data DIR \
//!     --models stem,mmoe,shared-bottom --seeds 1,2,3 --out OUT
//! ```

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stem_core::DeviceSpec;
use stem_data::{PrepareOptions, Recipe, prepare};
use stem_examples::cell;
use stem_experiment::{CompareConfig, ModelName, RunOptions, SearchConfig, compare};
use stem_report::analysis::Bootstrap;
use stem_report::report::{Interval, ModelReport, Report, Transfer, verdicts};
use stem_train::Progress;

/// Encodes the raw tables (once), trains every model with every seed and single-task beside them, and measures on the test split
/// what each task gains or loses by sharing, for all users and for those whose feedback is comparable. Writes
/// OUT/comparison.json, OUT/report.html and OUT/runs/MODEL/seed-N. Goes on where it was stopped.
#[derive(Parser)]
struct Args {
    /// Recipe: sources, SQL, fields, labels, split. It must name a `group`.
    #[arg(long)]
    recipe: PathBuf,
    /// Folder of the raw tables. A recipe with a simulator writes its log there when it is missing.
    #[arg(long)]
    data: PathBuf,
    #[arg(long, value_delimiter = ',', required = true, help = format!("Models, with commas: {}", stem_examples::model_names()))]
    models: Vec<ModelName>,
    /// Seeds of weights, shuffling and dropout, with commas: a run of every model for each.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Folder for runs, columns, comparison and report.
    #[arg(long)]
    out: PathBuf,
    /// Experiment: how to train, sizes of the models. By default experiment.toml beside the recipe, if there.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Folder of the encoded columns, for several comparisons to share. By default OUT/columns.
    #[arg(long)]
    columns: Option<PathBuf>,
    /// Device: flex, ndarray, wgpu or wgpu:INDEX, of those compiled in.
    #[arg(long, default_value_t)]
    device: DeviceSpec,
    /// Runs at the same time. With dropout, runs at the same time draw from one generator and differ from time to time.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Search: which settings to try for every model before it is compared, on the validation split alone.
    #[arg(long)]
    search: Option<PathBuf>,
    /// Where users are cut: shares of the second task of a pair among a user's positives of both. By default terciles
    /// of the test rows.
    #[arg(long, value_name = "LOW,HIGH", value_parser = two_numbers)]
    cuts: Option<[f64; 2]>,
    /// The field whose embeddings are drawn. By default the group (the users).
    #[arg(long)]
    picture: Option<String>,
    /// Resamples of the users, for the intervals.
    #[arg(long, default_value_t = 1000)]
    resamples: usize,
    /// Take over a folder that holds another comparison: what differs is trained again.
    #[arg(long)]
    force: bool,
}

/// Two numbers with a comma.
fn two_numbers(text: &str) -> Result<[f64; 2], String> {
    let numbers = text.split(',').map(|number| number.trim().parse()).collect::<Result<Vec<f64>, _>>();
    numbers
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or("expected two numbers with a comma, e.g. 0.3,0.7".into())
}

fn main() -> ExitCode {
    let args = Args::parse();
    let progress = stem_examples::log_to_stderr();
    stem_examples::finish(run(args, progress))
}

fn run(args: Args, progress: Progress) -> Result<ExitCode, Box<dyn std::error::Error>> {
    args.device.open()?;
    let recipe = Recipe::load(&args.recipe)?;
    let experiment = stem_examples::load_experiment(args.config.as_deref(), &args.recipe)?;
    let config = CompareConfig {
        models: args.models.iter().map(ToString::to_string).collect(),
        seeds: args.seeds,
        jobs: args.jobs,
        cuts: args.cuts,
        picture: args.picture,
        bootstrap: Bootstrap { resamples: args.resamples, ..Bootstrap::default() },
        search: args.search.map(SearchConfig::load).transpose()?,
    };
    config.check()?; // before the long work
    let columns = args.columns.unwrap_or(args.out.join("columns"));
    let stop = stem_examples::stop_on_ctrl_c()?;
    let preparation = PrepareOptions { progress: progress.clone(), stop: stop.clone() };
    let dataset = prepare(&recipe, &args.data, &columns, &preparation)?;
    let options = RunOptions {
        device: args.device,
        progress,
        stop,
        overwrite: args.force,
        command: stem_examples::command_line("compare"),
    };
    let found = compare(&config, &experiment, &dataset, &args.out, &options)?;
    let answer = format!("{}\n{}\n", told(&found)?, args.out.join("report.html").display());
    stem_examples::print(&answer)?;
    Ok(ExitCode::SUCCESS)
}

/// The table, the strata, and the answer.
fn told(report: &Report) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "| model | task | AUC | sd | gAUC | logloss | transfer |\n|---|---|---|---|---|---|---|")?;
    let number = |value: Option<f64>| stem_report::metrics::shown(value);
    for ModelReport { name, tasks, .. } in &report.models {
        for (task, numbers) in report.tasks.iter().zip(tasks) {
            let [auc, gauc, logloss] =
                [&numbers.auc, &numbers.gauc, &numbers.logloss].map(|spread| number(spread.as_ref().map(|s| s.mean)));
            let sd = number(numbers.auc.as_ref().filter(|auc| auc.values.len() > 1).map(|auc| auc.sd));
            let task = cell(task);
            writeln!(out, "| {name} | {task} | {auc} | {sd} | {gauc} | {logloss} | {} |", transfer(numbers.transfer))?;
        }
    }
    for pair in &report.pairs {
        writeln!(out, "\nUsers by their share of {} among their positives of {} and {}:\n", pair.b, pair.a, pair.b)?;
        writeln!(out, "| users | rows | model | task | AUC | transfer |\n|---|---|---|---|---|---|")?;
        for stratum in pair.strata.iter().filter(|stratum| stratum.rows > 0) {
            for (model, task) in stratum.models.iter().flat_map(|m| m.tasks.iter().map(move |task| (&m.model, task))) {
                let (auc, transfer) = (number(task.auc), transfer(task.transfer));
                let (users, rows, task) = (cell(&stratum.name), stratum.rows, cell(&task.task));
                writeln!(out, "| {users} | {rows} | {model} | {task} | {auc} | {transfer} |")?;
            }
        }
    }
    writeln!(out)?;
    for verdict in verdicts(report) {
        writeln!(out, "{}: {}", verdict.headline, verdict.reasons.join(" "))?;
    }
    for warning in &report.warnings {
        writeln!(out, "Warning: {warning}")?;
    }
    Ok(out)
}

/// The difference to single-task, its interval, and what that says.
fn transfer(interval: Option<Interval>) -> String {
    let Some(interval) = interval else { return "-".into() };
    let call = Transfer::of(&interval).map_or("-", Transfer::name);
    format!("{:+.4} ({:+.4} to {:+.4}), {call}", interval.mean, interval.low, interval.high)
}
