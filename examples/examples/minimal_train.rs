//! Trains STEM from a recipe, in twenty lines; the README shows this very text.

use stem_data::{PrepareOptions, Recipe, prepare};
use stem_experiment::{Experiment, ModelName, RunOptions, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What to read, learn and split; sizes of the model and how to train it.
    let recipe = Recipe::load("datasets/simulated/recipe.toml")?;
    let mut experiment = Experiment::load("datasets/simulated/experiment.toml")?;
    experiment.train.epochs = 3;

    // Raw tables to encoded columns (skipped when they are there), then one training run.
    let dataset = prepare(&recipe, "out/minimal".as_ref(), "out/minimal/columns".as_ref(), &PrepareOptions::default())?;
    let metrics = run(ModelName::Stem, &experiment, &dataset, "out/minimal".as_ref(), &RunOptions::default())?;
    for (task, m) in &metrics.test {
        println!("{task}: AUC {:.4}, gAUC {:.4}", m.auc.unwrap_or(f64::NAN), m.gauc.unwrap_or(f64::NAN));
    }
    Ok(())
}
