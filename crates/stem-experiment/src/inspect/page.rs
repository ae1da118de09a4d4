//! The page of one run: the same as of a comparison, with one model.

use std::path::Path;

use stem_core::models::ModelFamily;
use stem_core::nn::GateSums;
use stem_data::Dataset;

use super::{add_test, task_report};
use super::{constants, embedding_report, gate_map, learning_curve, model_settings, of_dataset, of_model, provenance};
use crate::error::Result;
use crate::experiment::Experiment;
use crate::measured::Measured;
use crate::options::RunOptions;
use stem_report::report::{ModelReport, Report};

/// What a run came to, as a report.
///
/// # Errors
/// A log or a batch that does not read.
pub(crate) fn page_of_run<C: ModelFamily>(
    run: &Measured<C>,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    folder: &Path,
    options: &RunOptions,
) -> Result<Report> {
    let Measured { metrics, predictor, scores } = run;
    let tasks = dataset.schema().task_names();
    let seed = metrics.seed;
    let name = metrics.model.clone();
    let owners = predictor.config().gate_groups(dataset.schema());
    let mut gates = GateSums::new(&owners, 1);
    add_test(&mut gates, predictor, dataset, |_| [0])?;
    let seeds = std::slice::from_ref(scores);
    let reports: Vec<_> = (0..tasks.len()).map(|t| task_report(seeds, dataset, t)).collect();
    let mut warnings = of_dataset(dataset);
    warnings.extend(of_model(&name, seeds, &reports, &constants(dataset), dataset));
    if metrics.interrupted {
        warnings.push("The training was stopped before its end: the weights are the best until then.".into());
    }
    let model = ModelReport {
        parameters: metrics.parameters as u64,
        seconds: vec![metrics.seconds],
        memory_gb: Some(metrics.memory as f64 / 1e9),
        tasks: reports,
        learning: vec![learning_curve(folder, seed, &tasks)?],
        gates: gates.means(0).iter().enumerate().map(|(l, mean)| gate_map(l, mean, &owners, &tasks)).collect(),
        embeddings: embedding_report(predictor, seed, None),
        settings: model_settings(predictor.config(), &experiment.train, &experiment.train),
        name,
    };
    Ok(Report {
        title: format!("{} on {}", model.name, dataset.name()),
        provenance: provenance(dataset, &experiment.train, &[seed], options, metrics.seconds),
        tasks,
        models: vec![model],
        warnings,
        ..Report::default()
    })
}
