//! What each model is like on the test split, over its seeds.

use std::path::Path;

use stem_core::Predictor;
use stem_core::models::ModelFamily;
use stem_core::nn::GateSums;
use stem_data::{Dataset, Split};

use super::plan::Plan;
use super::runs::run_folder;
use super::strata::Pair;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::folder::BUNDLE;
use crate::inspect::{Colours, add_test, embedding_report, gate_map, learning_curve, model_settings, task_report};
use crate::measured::{RunMetrics, score_split};
use crate::options::RunOptions;
use stem_report::analysis::Stratum;
use stem_report::report::{GateMap, ModelReport};

/// A model's scores `[N, T]` of the test split, seed by seed.
pub(super) type TestScores = Vec<Vec<f32>>;

/// All models, and what they predict.
pub(super) fn models<C: ModelFamily>(
    plan: &Plan<C>,
    runs: &[Vec<RunMetrics>],
    dataset: &Dataset,
    pairs: &[Pair],
    field: usize,
    out: &Path,
    options: &RunOptions,
) -> Result<(Vec<ModelReport>, Vec<TestScores>)> {
    let colours = pairs.first().map(|pair| Colours::of(dataset, field, &pair.strata, pair.names.to_vec()));
    let picture = colours.as_ref().map(|colours| (field, colours));
    let bar = options.progress.pieces("measuring", runs.iter().map(Vec::len).sum());
    let mut found = (Vec::new(), Vec::new());
    for ((model, experiment), runs) in plan.models.iter().zip(runs) {
        let measuring = Measuring { plan, dataset, pairs, out, options };
        let (report, scores) = measuring.model(model, experiment, runs, picture, || bar.advance(1))?;
        found.0.push(report);
        found.1.push(scores);
    }
    Ok(found)
}

struct Measuring<'a, C> {
    plan: &'a Plan<C>,
    dataset: &'a Dataset,
    pairs: &'a [Pair],
    out: &'a Path,
    options: &'a RunOptions,
}

impl<C: ModelFamily> Measuring<'_, C> {
    fn model(
        &self,
        model: &str,
        experiment: &Experiment<C>,
        runs: &[RunMetrics],
        picture: Option<(usize, &Colours)>,
        advance: impl Fn(),
    ) -> Result<(ModelReport, TestScores)> {
        let schema = self.dataset.schema();
        let tasks = schema.task_names();
        let config = experiment.model(model)?;
        let mut gates = GateSums::new(&config.gate_groups(schema), part(self.pairs.len(), Stratum::ALL[0]));
        let (mut scores, mut learning, mut embeddings) = (Vec::new(), Vec::new(), None);
        for run in runs {
            let folder = run_folder(self.out, model, run.seed);
            let predictor = Predictor::<C>::open_model(folder.join(BUNDLE), &self.options.device.open()?)
                .map_err(|source| Error::Damaged { folder: folder.clone(), source })?;
            // Experts of nobody have other numbers in every seed: the first stands for them.
            if !config.gate_groups(schema).is_empty() || scores.is_empty() {
                add_test(&mut gates, &predictor, self.dataset, |row| self.parts_of(row))?;
            }
            scores.push(score_split(&predictor, self.dataset, Split::Test)?);
            learning.push(learning_curve(&folder, run.seed, &tasks)?);
            if embeddings.is_none() {
                embeddings = embedding_report(&predictor, run.seed, picture);
            }
            advance();
        }
        let report = ModelReport {
            name: model.to_string(),
            parameters: runs.first().map_or(0, |run| run.parameters as u64),
            seconds: runs.iter().map(|run| run.seconds).collect(),
            memory_gb: runs.first().map(|run| run.memory as f64 / 1e9),
            tasks: (0..tasks.len()).map(|t| task_report(&scores, self.dataset, t)).collect(),
            learning,
            gates: self.gate_maps(&gates, &config.gate_groups(schema), &tasks),
            embeddings,
            settings: model_settings(&config, &experiment.train, &self.plan.train),
        };
        Ok((report, scores))
    }

    /// The parts that a test row's gates are added up in: part 0 is all rows, three parts follow for every pair.
    fn parts_of(&self, row: usize) -> impl Iterator<Item = usize> {
        let stratum = move |pair: &Pair| pair.strata.rows[row];
        let parts = self.pairs.iter().enumerate();
        [0].into_iter().chain(parts.filter_map(move |(p, pair)| Some(part(p, stratum(pair)?))))
    }

    /// All users first, then every stratum.
    fn gate_maps(&self, gates: &GateSums, owners: &[usize], tasks: &[String]) -> Vec<GateMap> {
        let maps = |part: usize| -> Vec<GateMap> {
            gates.means(part).iter().enumerate().map(|(l, mean)| gate_map(l, mean, owners, tasks)).collect()
        };
        let mut all = maps(0);
        for (p, pair) in self.pairs.iter().enumerate() {
            for (stratum, name) in pair.parts() {
                let [a, b] = pair.tasks.map(|t| tasks[t].clone());
                let of = |map| GateMap { stratum: Some(name.into()), pair: Some((a.clone(), b.clone())), ..map };
                all.extend(maps(part(p, stratum)).into_iter().map(of));
            }
        }
        all
    }
}

/// The part of a pair's stratum, in which its rows' gates are added up: part 0 is all rows.
fn part(pair: usize, stratum: Stratum) -> usize {
    1 + Stratum::ALL.len() * pair + stratum as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stratum_of_every_pair_has_a_part_of_its_own_after_that_of_all_rows() {
        let parts: Vec<usize> = (0..3).flat_map(|pair| Stratum::ALL.map(|stratum| part(pair, stratum))).collect();
        assert_eq!(parts, (1..=9).collect::<Vec<_>>());
    }
}
