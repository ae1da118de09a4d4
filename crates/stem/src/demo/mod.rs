//! The whole path on a simulated log: what a newcomer runs first.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use stem_core::{ModelName, Predictor, Row, Value, files};
use stem_data::{PrepareOptions, Recipe, Split, prepare};
use stem_experiment::{Experiment, RunMetrics, RunOptions, metrics_table, run as train};

use crate::args::DeviceArgs;
use crate::command_line::command_line;
use crate::console::{Console, Result};

const RECIPE: &str = include_str!("recipe.toml");
const EXPERIMENT: &str = include_str!("experiment.toml");

/// Shows the whole path on a simulated log: three models, their table, a bundle, scores
///
/// Simulates a log in which two kinds of feedback pull users apart, and shows what sharing embeddings does to them. Leaves the log,
/// its recipe and experiment, a bundle and a page per model in OUT.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem demo
  stem demo --out out/short --epochs 2 --seed 3

Go on from there:
  stem compare --recipe out/demo/recipe.toml --columns out/demo/columns --models stem,mmoe,shared-bottom")]
pub(crate) struct Args {
    /// Folder for the log, the encoded columns and the bundles
    #[arg(long, value_name = "FOLDER", default_value = "out/demo")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// Seed of weights, shuffling and dropout
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Epochs at most, instead of the experiment's 15
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
}

/// What was trained, and what came of it.
#[derive(Serialize)]
struct Answer<'a> {
    models: &'a [RunMetrics],
    bundle: &'a Path,
    scored: &'a [Scored],
    seconds: f64,
}

/// A row of the log, its probabilities and the true ones.
#[derive(Serialize)]
struct Scored {
    user: String,
    item: String,
    scores: Vec<f32>,
    truth: [String; 2],
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    console.stop_on_signal()?;
    let (begun, out, device) = (Instant::now(), &args.out, args.device.device);
    let opened = device.open()?;
    let [recipe, experiment] =
        [("recipe.toml", RECIPE), ("experiment.toml", EXPERIMENT)].map(|(name, text)| (out.join(name), text));
    let mut plan = Experiment::parse(experiment.1, &experiment.0)?;
    plan.train.seed = args.seed;
    plan.train.epochs = args.epochs.unwrap_or(plan.train.epochs);
    plan.train.check()?;
    for (path, text) in [&recipe, &experiment] {
        if !path.exists() {
            files::replace_text(path, text)?; // for the command lines that follow
        }
    }

    let preparation = PrepareOptions { progress: console.progress(), stop: console.stop() };
    let recipe = Recipe::parse(recipe.1, &recipe.0)?;
    let dataset = prepare(&recipe, out, &out.join("columns"), &preparation)?;
    let (progress, stop) = (console.progress(), console.stop());
    let options =
        RunOptions { device, progress, stop, overwrite: true, command: command_line(), ..RunOptions::default() };
    let mut runs: Vec<RunMetrics> = Vec::new();
    for model in [ModelName::Stem, ModelName::SharedBottom, ModelName::SingleTask] {
        runs.push(train(model, &plan, &dataset, &out.join(model.as_str()), &options)?);
        if console.stop().is_set() {
            break;
        }
    }

    let bundle = &out.join("stem/bundle.safetensors");
    let scored = &score_some(&Predictor::open(bundle, &opened)?, &out.join("simulated.csv"))?;
    let answer = Answer { models: &runs, bundle, scored, seconds: begun.elapsed().as_secs_f64() };
    let rows = Split::ALL.map(|split| dataset.rows(split));
    console.answer(&answer, || answer.text(rows, dataset.schema().rows()))
}

/// What an application does: build rows from raw values, read probabilities by task.
fn score_some(predictor: &Predictor, log: &Path) -> Result<Vec<Scored>> {
    let mut reader = csv::Reader::from_path(log)?;
    let header = reader.headers()?.clone();
    let records: Vec<csv::StringRecord> = reader.records().take(5).collect::<Result<_, _>>()?;
    let raw = |record: &csv::StringRecord| -> Row { header.iter().zip(record.iter().map(Value::from)).collect() };
    let rows: Vec<Row> = records.iter().map(raw).collect();
    let scored = |(row, scores): (&Row, &[f32])| {
        let value = |column: &str| row.get(column).map_or(String::new(), |v| v.to_string().replace('"', ""));
        let (user, item, truth) = (value("user"), value("item"), [value("p_a"), value("p_b")]);
        Scored { user, item, scores: scores.to_vec(), truth }
    };
    Ok(rows.iter().zip(predictor.predict(&rows)?.rows()).map(scored).collect())
}

impl Answer<'_> {
    fn text(&self, [train, valid, test]: [usize; 3], table_rows: usize) -> String {
        let table = metrics_table(self.models);
        let size = std::fs::metadata(self.bundle).map_or(0, |bundle| bundle.len() / 1024);
        let scored: String = self.scored.iter().map(Scored::line).collect();
        format!(
            "{train} rows to train on, {valid} to stop by, {test} to test, {table_rows} table rows\n\n{table}\n\
             {} ({size} KiB); five rows of the log scored from it:\n{scored}\n{:.0} s in all",
            self.bundle.display(),
            self.seconds
        )
    }
}

impl Scored {
    fn line(&self) -> String {
        let Self { user, item, scores, truth: [a, b] } = self;
        let (p_a, p_b) = (scores[0], scores[1]);
        format!("user {user:>4}, item {item:>4}: p(a) = {p_a:.3} (truth {a}), p(b) = {p_b:.3} (truth {b})\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The package holds copies: it has to build without the repository around it.
    #[test]
    fn the_demo_is_the_simulated_data_set_of_the_repository() {
        let datasets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/simulated");
        for (name, text) in [("recipe.toml", RECIPE), ("experiment.toml", EXPERIMENT)] {
            if let Ok(there) = std::fs::read_to_string(datasets.join(name)) {
                assert_eq!(text, there, "{name}");
            }
        }
    }
}
