//! What a training does with its weights between two steps: measures them on validation, tells of them, and saves what is best.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stem_core::models::{Model, ModelSpec};
use stem_core::{Calibration, bundle, files, params};
use stem_data::Split;
use stem_report::analysis::LabelKind;
use stem_report::metrics::{TaskMetrics, four_decimals};

use super::Training;
use crate::calibrate;
use crate::checkpoint::Change;
use crate::early_stop::Verdict;
use crate::error::{Error, Result};
use crate::keep::{BUNDLE, Moment};
use crate::learner::Learner;
use crate::log::by_task;
use crate::loss_meter::LossMeter;
use crate::measure::scores_of;
use crate::ranks::as_first;
use crate::start::CHECKPOINT;
use crate::step::TrainState;

/// What decides after an evaluation. Rank 0 has the scores of all, and says it to the others: that all are of one mind does not hang on how their
/// processors round.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Found {
    /// The task of a score that is no number, and its bits.
    broken: Option<(usize, u32)>,
    /// What is monitored of each task, more being better. `[T]`
    of_tasks: Vec<Option<f64>>,
    mean: Option<f64>,
}

impl<C: ModelSpec> Training<'_, C> {
    /// Gives the row of a domain that training does not see the mean of the others. Over ranks rows lie apart, and it stays as it was drawn.
    pub(super) fn fill_unseen_domain(&mut self) {
        let state = self.state.as_mut().filter(|state| state.shard().is_none());
        if let (Some(domain), Some(state)) = (&self.unseen_domain, state) {
            if let Some(checkpoints) = &mut self.checkpoints {
                checkpoints.before(Change::Rows(&[domain.row()]), &mut state.large_mut());
            }
            domain.put(state.table.rows_mut());
        }
    }

    /// Measures on validation, logs, judges, and saves the weights where they are somebody's best.
    pub(super) fn evaluate(&mut self) -> Result<Verdict> {
        self.evaluations += 1;
        self.fill_unseen_domain();
        let (learner, schema) = (self.learner, self.learner.dataset.schema());
        let scores = scores_of(learner, self.state(), Split::Valid)?; // over ranks, those of all on rank 0
        let (valid, found) = match learner.ranks.is_first() {
            true => self.found(&scores),
            false => Default::default(),
        };
        let Found { broken, of_tasks, mean } = learner.ranks.from_first(|| found);
        if let Some((task, bits)) = broken {
            return Err(self.not_finite((task, f32::from_bits(bits)), false)?);
        }
        let (moment, before) = (self.moment(), self.keeper.all());
        let judged = self.keeper.judge(&of_tasks, mean, moment);
        if judged.keep {
            let mut maps = learner.calibration_before(); // of a task for which none can be fitted, and of the model as it came
            if learner.ranks.is_first() && (self.steps > 0 || maps.is_empty()) {
                maps.extend(calibrate::fit(learner.config.calibrate, &scores, learner.dataset));
            }
            self.save(moment, mean, &maps)?;
            if learner.ranks.is_first() {
                self.keeper.clean(&before)?;
            }
            if judged.verdict == Verdict::Better {
                self.keep_checkpoint()?;
            }
        }
        self.tell(&valid, &judged.best_of, moment)?;
        self.losses = LossMeter::new(schema, self.state().table.rows().is_on_host());
        // One evaluation says little where there are several an epoch: what is better at its end may be worse in its middle.
        let in_an_epoch = learner.config.evaluations_an_epoch(learner.dataset);
        if judged.verdict == Verdict::Worse && judged.since.is_multiple_of(in_an_epoch) {
            self.schedule.epoch_was_worse();
        }
        Ok(judged.verdict)
    }

    /// Leaves a checkpoint of this moment, where one is to be kept.
    pub(super) fn keep_checkpoint(&self) -> Result<()> {
        if self.learner.config.keep_checkpoint {
            let (matrices, table_steps, network_steps) = self.state().matrices();
            let place = self.place(table_steps, network_steps)?;
            matrices.write(&place, &self.learner.work.join(CHECKPOINT))?;
        }
        Ok(())
    }

    /// What scores of the validation split come to.
    fn found(&self, scores: &[f32]) -> (Vec<TaskMetrics>, Found) {
        let (learner, tasks) = (self.learner, self.tasks().len());
        if let Some(place) = scores.iter().position(|score| !score.is_finite()) {
            return (Vec::new(), Found { broken: Some((place % tasks, scores[place].to_bits())), ..Found::default() });
        }
        let valid = learner.measure_for(scores, Split::Valid, &self.monitor);
        let of_tasks = learner.named(&valid).map(|(_, kind, metrics)| self.monitor.goodness(kind, metrics)).collect();
        let mean = self.monitor.mean(learner.named(&valid));
        (valid, Found { broken: None, of_tasks, mean })
    }

    /// A line of the log, and one for the reader; over several ranks the first's.
    fn tell(&mut self, valid: &[TaskMetrics], best_of: &[usize], moment: Moment) -> Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let schema = self.learner.dataset.schema();
        let (loss, rate) = (self.losses.means(), self.schedule.rate(self.steps.saturating_sub(1)));
        let is_start = moment.steps == 0; // a model that is trained on, as it came
        let best: Vec<&str> = best_of.iter().map(|&task| schema.tasks[task].name.as_str()).collect();
        let mut line = json!({
            "epoch": moment.epoch,
            "at": moment.at,
            "steps": moment.steps,
            "learning_rate": rate,
            "loss": if is_start { json!({}) } else { by_task(schema, &loss) },
            "valid": by_task(schema, valid),
            "best": best,
        });
        self.learner.task.iter().for_each(|task| line["task"] = task.as_str().into());
        self.balance.weights().into_iter().for_each(|weights| line["balance"] = by_task(schema, weights));
        log.write(&line)?;
        let all_alike = schema.tasks.iter().all(|task| task.kind.is_binary());
        let of_task = |(task, kind, metrics): (&str, LabelKind, &TaskMetrics)| {
            let metric = self.monitor.metric_of(kind);
            let named = if all_alike { String::new() } else { format!(" {}", metric.name()) };
            format!("{task}{named} {}", four_decimals(metrics.get(metric)))
        };
        let is_whole = (moment.at - moment.at.round()).abs() < 1e-9;
        let when = if is_whole { moment.epoch.to_string() } else { format!("{:.2}", moment.at) };
        let trained = match is_start {
            true => "before the first step".into(),
            false => format!("epoch {when}: loss {:.4}", loss.iter().sum::<f64>()),
        };
        tracing::info!(
            "{trained}, valid {}{}, rate {rate:.2e}{}",
            if all_alike { format!("{} ", self.monitor.name()) } else { String::new() },
            self.learner.named(valid).map(of_task).collect::<Vec<_>>().join(", "),
            match best.len() {
                0 => String::new(),
                all if all == schema.tasks.len() => ", best so far".into(),
                _ => format!(", best so far of {}", best.join(", ")),
            }
        );
        Ok(())
    }

    /// Writes the weights as they are, as those of `moment`, with what makes probabilities of their scores.
    pub(super) fn save(
        &mut self,
        moment: Moment,
        monitored: Option<f64>,
        calibration: &BTreeMap<String, Calibration>,
    ) -> Result<()> {
        let mut training = json!({
            "epoch": moment.epoch,
            "at": moment.at,
            "steps": moment.steps,
            "seed": self.learner.config.seed,
            "rows": self.learner.before().rows + if moment.steps > 0 { self.learner.dataset.rows(Split::Train) } else { 0 },
            "monitored": monitored,
        });
        if let Some((start, _)) = &self.learner.start {
            training["from"] = start.checksum().into();
        }
        if let Some(profile) = self.learner.dataset.profile(Split::Train) {
            let unseen = self.learner.dataset.profile(Split::Valid);
            training["data"] = json!({ "train": profile, "valid": unseen });
        }
        if let Some(prior) = &self.prior {
            let schema = self.learner.dataset.schema();
            training["prior"] = json!(prior.summary(schema, &self.learner.spec.embedding_groups(schema)));
        }
        write(self.learner, self.state(), &self.keeper.path(moment), &training, calibration)
    }

    /// The error for a loss or score that is not finite. This training's best weights are on disk already; without any, the
    /// weights as they are now are saved beside the bundle if they are still `whole`.
    pub(super) fn not_finite(&mut self, broken: (usize, f32), whole: bool) -> Result<Error> {
        let (task, value) = broken;
        let learner = self.learner;
        let task = self.tasks().get(task).map_or("(regularization)", |task| &task.name).to_string();
        let last_good = learner.folder.join("last-good.safetensors");
        let saved = if let Some(last) = self.keeper.last() {
            if learner.ranks.is_first() {
                self.keeper.finish::<C>(learner.config.seed, self.checkpoints.is_some())?;
            }
            format!("the weights of epoch {} are in {}", last.epoch, learner.work.join(BUNDLE).display())
        } else if whole && is_finite(self.state()) {
            let training = json!({ "epoch": 0, "seed": learner.config.seed });
            write(learner, self.state(), &last_good, &training, &BTreeMap::new())?;
            format!("the weights before that step are in {}", last_good.display())
        } else {
            "no epoch was finished before, so nothing was saved".into()
        };
        Ok(Error::NotFinite { task, value, step: self.steps, epoch: self.epoch, saved })
    }
}

fn write<C: ModelSpec>(
    learner: &Learner<'_, C>,
    state: &TrainState<C::Model>,
    path: &Path,
    training: &serde_json::Value,
    calibration: &BTreeMap<String, Calibration>,
) -> Result<()> {
    let (schema, keys) = (learner.dataset.schema(), learner.dataset.known_keys());
    let (table, network) = (&state.table, &state.network);
    let Some(shard) = state.shard() else {
        return Ok(bundle::save_calibrated(path, schema, keys, &learner.spec, table, network, training, calibration)?);
    };
    let rows = path.with_extension("table");
    let save = || -> Result<()> {
        shard.write(table.rows(), &rows)?;
        if learner.ranks.is_first() {
            let whole = (rows.as_path(), [shard.whole(), table.rows().dims()[1]]);
            bundle::save_from_file(path, schema, keys, &learner.spec, whole, network, training, calibration)?;
            files::remove_file(&rows)?;
        }
        Ok(())
    };
    as_first(&learner.ranks, save())
}

/// Whether all weights are numbers.
fn is_finite<M: Model>(state: &TrainState<M>) -> bool {
    let finite = |data: TensorData| data.iter::<f32>().all(f32::is_finite);
    params::collect(&state.network).into_values().chain([state.table.rows().tensor().to_data()]).all(finite)
}
