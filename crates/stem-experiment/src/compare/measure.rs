//! What each model is like on the test split, over its seeds.

use std::path::Path;

use stem_core::Predictor;
use stem_core::models::ModelFamily;
use stem_data::{Dataset, Split};

use super::plan::Plan;
use super::runs::run_folder;
use crate::error::{Error, Result};
use crate::folder::BUNDLE;
use crate::inspect::{Colours, ModelRuns, Pair, TestScores, model_settings};
use crate::measured::{RunMetrics, score_split};
use crate::options::RunOptions;
use stem_report::analysis::Metric;
use stem_report::report::ModelReport;

/// All models, and what they predict.
#[allow(clippy::too_many_arguments)] // all that a comparison has
pub(super) fn models<C: ModelFamily>(
    plan: &Plan<C>,
    runs: &[Vec<RunMetrics>],
    dataset: &Dataset,
    pairs: &[Pair],
    field: usize,
    metrics: &[Metric],
    out: &Path,
    options: &RunOptions,
) -> Result<(Vec<ModelReport>, Vec<TestScores>)> {
    let colours = pairs.first().map(|pair| Colours::of(dataset, field, &pair.strata, pair.names.to_vec()));
    let picture = colours.as_ref().map(|colours| (field, colours));
    let bar = options.progress.pieces("measuring", runs.iter().map(Vec::len).sum());
    let device = options.device.open()?;
    let mut measured = Vec::new();
    for ((model, experiment), runs) in plan.models.iter().zip(runs) {
        let config = experiment.model(model)?;
        let mut found = ModelRuns::new(&config, dataset, pairs);
        for run in runs {
            let folder = run_folder(out, model, run.seed);
            let predictor = Predictor::<C>::open_model(folder.join(BUNDLE), &device)
                .map_err(|source| Error::Damaged { folder: folder.clone(), source })?;
            let scores = score_split(&predictor, dataset, Split::Test)?;
            found.add(&predictor, scores, run.seed, &folder, experiment.train.epochs, picture)?;
            bar.advance(1);
        }
        measured.push(found.report(runs, metrics, model_settings(&config, &experiment.train, &plan.train)));
    }
    Ok(measured.into_iter().unzip())
}
