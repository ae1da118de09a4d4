//! The page of one run: the same as of a comparison, with one model.

use std::collections::BTreeMap;
use std::path::Path;

use stem_core::models::ModelFamily;
use stem_data::Dataset;

use super::{ModelRuns, constants, model_settings, of_dataset, of_model, of_training, provenance};
use crate::compare::metrics_of;
use crate::error::Result;
use crate::experiment::Experiment;
use crate::measured::{Measured, RunMetrics};
use crate::options::RunOptions;
use stem_report::analysis::Metric;
use stem_report::report::Report;

/// What a run came to, as a report, and as metrics.
///
/// # Errors
/// A log or a batch that does not read.
pub(crate) fn page_of_run<C: ModelFamily>(
    run: Measured<C>,
    experiment: &Experiment<C>,
    dataset: &Dataset,
    folder: &Path,
    options: &RunOptions,
) -> Result<(Report, RunMetrics)> {
    let Measured { metrics, predictor, scores } = run;
    let (train, seed) = (&experiment.train, metrics.seed);
    let mut runs = ModelRuns::new(predictor.config(), dataset, &[]);
    runs.add(&predictor, scores, seed, folder, train.epochs, None)?;
    let settings = model_settings(predictor.config(), train, train);
    let decide = metrics_of(dataset, Metric::default(), &BTreeMap::new());
    let (model, scores) = runs.report(std::slice::from_ref(&metrics), &decide, settings);
    let mut warnings = of_dataset(dataset);
    warnings.extend(of_training(train, dataset));
    warnings.extend(of_model(&model, &scores, &constants(dataset), dataset));
    if metrics.interrupted {
        warnings.push("The training was stopped before its end: the weights are the best until then.".into());
    }
    let page = Report {
        title: format!("{} on {}", model.name, dataset.name()),
        provenance: provenance(dataset, train, &[seed], options, metrics.seconds),
        tasks: dataset.schema().task_names(),
        metrics: decide,
        models: vec![model],
        warnings,
        ..Report::default()
    };
    Ok((page, metrics))
}
