//! Plays a log again, day by day, with a model that is kept up to date.

use std::path::{Path, PathBuf};

use serde::Serialize;
use stem_core::ModelName;
use stem_experiment::{Replay, ReplayConfig, Way, replay};
use stem_report::metrics::four_decimals;
use stem_report::report::{ReplayDay, ReplayReport};

use crate::args::{DataArgs, RunArgs, by_force, model_names, options, refuse_replacing};
use crate::console::{Console, Result};
use crate::table::table;

/// Plays a log again day by day, and says what it is worth to keep a model up to date, and how
///
/// Every day is measured by a model that has not seen it, and then trained on, in each way of --ways: `full` trains anew on all days until
/// now, `warm` trains yesterday's model on with today's rows (as `stem train --from` does), `frozen` keeps the first model. Writes
/// OUT/report.html with AUC by day, OUT/replay.json, and the bundle of every day. The same command goes on where it was stopped.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem replay --by date --recipe recipe.toml --out out/replay
  stem replay --by week --ways full,warm --warm-epochs 1 --first 4 --recipe recipe.toml --data logs --out out/weeks")]
#[command(mut_arg("resume", |resume| resume.hide(true)))]
#[command(mut_arg("columns", |columns| columns.hide(true)))]
pub(crate) struct Args {
    /// Column of the SELECT that cuts the log into days: a date, a number or a text whose values ascend
    #[arg(long, value_name = "COLUMN")]
    by: String,
    #[arg(long, default_value_t = ModelName::Stem, help = format!("Model: {}", model_names()))]
    model: ModelName,
    /// Ways to keep the model up to date, with commas: full, warm, frozen. Gains are over the first
    #[arg(long, value_name = "WAY,...", value_delimiter = ',', default_value = "full,warm,frozen")]
    ways: Vec<Way>,
    /// Days that the first model is trained on
    #[arg(long, value_name = "N", default_value_t = 1)]
    first: usize,
    /// Share of the rows trained on that is validated on
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    valid: f64,
    /// Passes over all rows of a day in the way `warm`, instead of the experiment's epochs with validation
    #[arg(long, value_name = "N")]
    warm_epochs: Option<usize>,
    /// The optimizer's moments go on from day to day in the way `warm`; each day leaves them in a checkpoint of three times the table
    #[arg(long)]
    moments: bool,
    /// Folder for page, numbers and bundles
    #[arg(long, value_name = "FOLDER", default_value = "out/replay")]
    out: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Seed of weights, shuffling and dropout, instead of the experiment's
    #[arg(long, value_name = "N", help_heading = "Training")]
    seed: Option<u64>,
}

/// What was played.
#[derive(Serialize)]
struct Answer<'a> {
    tasks: &'a [String],
    #[serde(flatten)]
    replay: &'a ReplayReport,
    report: &'a Path,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    console.stop_on_signal()?;
    args.run.device.device.open()?; // before the long work
    let source = args.data.open()?;
    let mut experiment = args.run.load_experiment(&args.data)?;
    experiment.train.seed = args.seed.unwrap_or(experiment.train.seed);
    let outputs = ["report.html", "replay.json"].map(|name| args.out.join(name));
    let tables: Vec<PathBuf> = source.tables().collect();
    let inputs = tables.iter().map(PathBuf::as_path).chain([args.data.recipe.as_path()]);
    refuse_replacing(&outputs, inputs.chain(args.run.experiment.as_deref()))?;

    let config = ReplayConfig {
        model: args.model.to_string(),
        column: args.by.clone(),
        first: args.first,
        valid: args.valid,
        ways: args.ways.clone(),
        warm_epochs: args.warm_epochs,
        moments: args.moments,
    };
    let (recipe, data) = source.parts();
    let played = replay(&config, &experiment, recipe, data, &args.out, &options(&args.run, &source, console));
    let Replay { report, tasks, page } = played.map_err(by_force)?;
    let answer = Answer { tasks: &tasks, replay: &report, report: &page };
    console.answer(&answer, || text(&answer))
}

/// Means over the days.
fn text(answer: &Answer<'_>) -> String {
    let ReplayReport { days, ways, .. } = answer.replay;
    let head = ["", "", "AUC or XAUC", "gain", "gAUC", "logloss", "seconds"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for (t, task) in answer.tasks.iter().enumerate() {
        for (place, way) in ways.iter().enumerate() {
            let of = |of: fn(&ReplayDay, usize) -> Option<f64>| move |day: &ReplayDay| of(day, t);
            let auc = of(|day, t| day.auc(t));
            let gain = ways.first().filter(|_| place > 0).and_then(|first| way.gain(first, auc));
            let gain = gain.map_or(String::new(), |(mean, error)| format!("{mean:+.4} \u{b1} {error:.4}"));
            rows.push(vec![
                task.clone(),
                way.name.clone(),
                four_decimals(way.mean(auc)),
                gain,
                four_decimals(way.mean(of(|day, t| day.tasks.get(t)?.gauc))),
                four_decimals(way.mean(of(|day, t| day.tasks.get(t)?.logloss))),
                format!("{:.1}", way.seconds()),
            ]);
        }
    }
    let (first, last) = (days.first().map_or("", String::as_str), days.last().map_or("", String::as_str));
    let head = format!("means over {} days, {first} to {last}", days.len());
    format!("{head}\n{}\n{}", table(&rows), answer.report.display())
}
