//! Trains one model from a recipe and leaves a bundle.

use std::path::{Path, PathBuf};

use serde::Serialize;
use stem_core::models::ModelSpec;
use stem_core::{ModelConfig, ModelName};
use stem_data::Known;
use stem_experiment::{RunMetrics, RunOptions, check_start, metrics_table, run as train, run_from};
use stem_train::Start;
use stem_train::ranks::Team;

use crate::args::{DataArgs, RunArgs, by_force, model_names, options, refuse_replacing};
use crate::console::{Console, Result};

/// Trains one model: leaves a bundle, its metrics and a page about it
///
/// Encodes the raw tables (once), trains, and writes OUT/bundle.safetensors, OUT/report.html, OUT/metrics.json and OUT/log.jsonl.
/// Ctrl-C finishes the step, keeps the best weights and writes the bundle; then the exit code is 130. With `checkpoint_every` in the
/// experiment, the same command with --resume goes on from where it was stopped or killed.
///
/// With --from the model of an earlier training is trained on with these rows: known values keep their embeddings, new ones get a row
/// (`[grow]` in the recipe), and a training that makes nothing better leaves the model as it was.
///
/// A program that was built with `--features mpi` trains one model over several processes or machines when `mpirun` starts it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem train --recipe recipe.toml --out out/train
  stem train --recipe recipe.toml --out out/train --resume
  stem train --from out/monday/bundle.safetensors --recipe recipe.toml --data tuesday --out out/tuesday
  stem train --from out/monday/checkpoint.safetensors --recipe recipe.toml --data tuesday --out out/tuesday
  mpirun -n 4 stem train --recipe recipe.toml --out out/train
  stem train --recipe datasets/simulated/recipe.toml --data out/simulated --model mmoe --seed 2 --out out/mmoe")]
pub(crate) struct Args {
    #[arg(long, help = format!("Model: {}. By default stem, or that of --from", model_names()))]
    model: Option<ModelName>,
    /// Bundle of an earlier training, to be trained on with these rows; or a checkpoint of one (`keep_checkpoint` of the experiment) or its
    /// folder, for the optimizer's moments to go on too
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Folder for bundle, page, metrics and log
    #[arg(long, value_name = "FOLDER", default_value = "out/train")]
    out: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Seed of weights, shuffling and dropout, instead of the experiment's
    #[arg(long, value_name = "N", help_heading = "Training")]
    seed: Option<u64>,
}

/// What was trained.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    metrics: &'a RunMetrics,
    bundle: PathBuf,
    report: PathBuf,
}

pub(crate) fn run(args: &Args, ranks: &Team, console: &Console) -> Result {
    console.stop_on_signal()?;
    let device = args.run.device.device;
    device.open()?; // before the long work
    let source = args.data.open()?;
    let mut experiment = args.run.load_experiment(&args.data)?;
    experiment.train.seed = args.seed.unwrap_or(experiment.train.seed);

    let of = |name: &str| args.out.join(name);
    let outputs = ["bundle.safetensors", "report.html", "metrics.json", "log.jsonl", "settings.json"].map(of);
    let tables: Vec<PathBuf> = source.tables().collect();
    let inputs = inputs(&args.data, &args.run).chain(args.from.as_deref());
    refuse_replacing(&outputs, tables.iter().map(PathBuf::as_path).chain(inputs))?;

    let columns = args.data.columns(&args.out);
    let options = RunOptions { ranks: ranks.clone(), ..options(&args.run, &source, console) };
    let metrics = match &args.from {
        None => {
            let dataset = ranks.in_turn(|| source.encode(&columns, console))?;
            train(args.model.unwrap_or(ModelName::Stem), &experiment, &dataset, &args.out, &options)
        }
        Some(path) => {
            let start = Start::<ModelConfig>::open(path)?;
            check_start(&start, &args.out)?; // before the long work
            let found = start.bundle.config.name();
            if let Some(model) = args.model.filter(|model| model.as_str() != found) {
                return Err(format!("{} is a model {found}, not {model}: leave --model out", path.display()).into());
            }
            let dataset = ranks.in_turn(|| source.encode_grown(Known::from(&*start.bundle), &columns, console))?;
            run_from(start, &experiment, &dataset, &args.out, &options)
        }
    };
    let metrics = metrics.map_err(by_force)?;
    if !ranks.is_first() {
        return Ok(()); // what was trained, the first tells
    }
    // Stopped where an older run stays, it is not in its place.
    let unfinished = metrics.interrupted && of("unfinished/bundle.safetensors").exists();
    let place = if unfinished { of("unfinished") } else { args.out.clone() };
    let [bundle, report] = ["bundle.safetensors", "report.html"].map(|name| place.join(name));
    let answer = Answer { metrics: &metrics, bundle, report };
    console.answer(&answer, || {
        let RunMetrics { epochs, rows_per_second, .. } = metrics;
        let (table, report) = (metrics_table([&metrics]), answer.report.display());
        format!("{table}{epochs} epochs, {rows_per_second:.0} rows/s, {report}")
    })
}

/// The files that say what is done.
fn inputs<'a>(data: &'a DataArgs, run: &'a RunArgs) -> impl Iterator<Item = &'a Path> {
    [data.recipe.as_path()].into_iter().chain(run.experiment.as_deref())
}
