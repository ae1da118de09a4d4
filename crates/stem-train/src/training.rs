//! The one training loop: epochs of steps, evaluations in between, the best weights kept on disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::TensorData;
use serde_json::json;
use stem_core::models::{Model, ModelSpec};
use stem_core::nn::score;
use stem_core::{Batch, Calibration, Task, bundle, fused, params};
use stem_data::{Bar, BatchPlan, Dataset, EpochRows, Split};
use stem_report::analysis::LabelKind;
use stem_report::metrics::{TaskMetrics, four_decimals};

use crate::balance::Balance;
use crate::calibrate;
use crate::checkpoint::{self, Base, Checkpoints, Place};
use crate::config::TrainConfig;
use crate::counts::RowCounts;
use crate::early_stop::Verdict;
use crate::error::{Error, Result};
use crate::keep::{BUNDLE, Keeper, Moment};
use crate::learner::Learner;
use crate::log::{RunLog, by_task};
use crate::loss_meter::LossMeter;
use crate::monitor::{Best, Monitor};
use crate::prior::{LearnedPrior, PriorConfig};
use crate::schedule::RateSchedule;
use crate::start::CHECKPOINT;
use crate::step::{Objective, TrainState};
use crate::unseen::{Unseen, as_shown};

/// What a training is at, between two steps.
pub(crate) struct Training<'l, C: ModelSpec> {
    learner: &'l Learner<'l, C>,
    monitor: Monitor,
    objective: Objective,
    /// Taken by a step, which puts it back.
    state: Option<TrainState<C::Model>>,
    schedule: RateSchedule,
    balance: Balance,
    prior: Option<LearnedPrior>,
    unseen: Option<Unseen>,
    losses: LossMeter,
    keeper: Keeper,
    log: RunLog,
    steps: usize,
    epoch: usize,
    evaluations: usize,
    rows: usize,
    seconds: f64,
    /// Batches of the epoch that were taken.
    taken: usize,
    /// Where they are asked for.
    checkpoints: Option<Checkpoints>,
    /// What is in them told of the keys: see [`checkpoint::keys_of`].
    keys: String,
}

/// What a training came to.
pub(crate) struct Trained {
    pub(crate) moments: Vec<Option<Moment>>,
    pub(crate) epochs: usize,
    pub(crate) evaluations: usize,
    pub(crate) rows: usize,
    pub(crate) seconds: f64,
}

impl<'l, C: ModelSpec> Training<'l, C> {
    /// Starts with drawn weights; the learner says everything else.
    pub(crate) fn new(learner: &'l Learner<'l, C>, state: TrainState<C::Model>) -> Result<Self> {
        Self::with_log(learner, state, RunLog::create(&learner.work)?)
    }

    fn with_log(learner: &'l Learner<'l, C>, mut state: TrainState<C::Model>, log: RunLog) -> Result<Self> {
        if learner.config.checkpoint_every.is_some() {
            state.watch_rows();
        }
        let Learner { dataset, config, device, .. } = learner;
        let (schema, tasks) = (dataset.schema(), dataset.schema().task_names());
        let TrainConfig { schedule, learning_rate, warm_up_steps, balance, seed, patience, .. } = *config;
        device.seed(seed);
        let is_joint =
            config.best == Best::Joint || !config.monitor.weights.is_empty() || !learner.spec.tasks_stand_apart();
        Ok(Self {
            learner,
            monitor: learner.measurable_monitor(),
            objective: objective(dataset, config),
            losses: LossMeter::new(schema, state.table.rows().is_on_host()),
            state: Some(state),
            schedule: RateSchedule::new(schedule, learning_rate, warm_up_steps, planned_steps(config, dataset)),
            balance: Balance::new(balance, tasks.len(), seed, device),
            prior: learned_prior(learner)?,
            unseen: Unseen::new(config.unseen, dataset)?,
            keeper: Keeper::new(&learner.work, tasks, patience, is_joint, learner.with_joint),
            log,
            steps: 0,
            epoch: 0,
            evaluations: 0,
            rows: 0,
            seconds: 0.0,
            taken: 0,
            keys: match config.checkpoint_every.is_some() || config.keep_checkpoint {
                true => checkpoint::keys_of(schema, dataset.vocabularies()),
                false => String::new(),
            },
            checkpoints: config.checkpoint_every.map(|every| Checkpoints::start(&learner.work, every)),
        })
    }

    /// Goes on from the last checkpoint of the folder; starts where there is none.
    pub(crate) fn go_on(learner: &'l Learner<'l, C>, state: TrainState<C::Model>) -> Result<Self> {
        let settings = learner.settings();
        let Some(written) = checkpoint::newest(&learner.work, &settings)? else {
            tracing::info!("{}: no checkpoint to go on from: the training begins", learner.work.display());
            checkpoint::clear(&learner.work)?; // what is there is of no use
            let training = Self::new(learner, state)?;
            training.keeper.remove_others(&[])?;
            return Ok(training);
        };
        let place = written.place.clone();
        let below = place.base.as_ref();
        let path = checkpoint::path(&learner.work, place.steps, below.map(|base| base.steps));
        let (rows, on_top) = below.map_or((0, 0), |base| (base.rows, base.on_top));
        let base = Base { steps: place.steps, checksum: written.checksum.clone(), rows, on_top };
        let unfit = |what: String| Error::Checkpoint { path: path.clone(), what };
        let log = RunLog::go_on(&learner.work, place.log)?;
        let mut training = Self::with_log(learner, state.restored(written).map_err(unfit)?, log)?;
        let known = checkpoint::known(&learner.work)?;
        training.keeper.restore(place.keeper, known.iter().map(|(_, state)| state))?;
        training.checkpoints.iter_mut().for_each(|checkpoints| checkpoints.go_on(base.clone(), known.clone()));
        training.schedule.restore(place.rate);
        training.losses.restore(place.losses);
        training.balance.restore(&place.balance, &learner.device);
        if let (Some(prior), Some(state)) = (&mut training.prior, place.prior)
            && !prior.restore(state)
        {
            return Err(unfit("its prior is of other sizes".into()));
        }
        (training.steps, training.epoch, training.taken) = (place.steps, place.epoch, place.taken);
        (training.evaluations, training.rows, training.seconds) = (place.evaluations, place.rows, place.seconds);
        tracing::info!("going on from step {} (epoch {}), {}", place.steps, place.epoch, path.display());
        Ok(training)
    }

    /// Where it is, but for the optimizer's steps.
    fn place(&self) -> Result<Place> {
        Ok(Place {
            base: None,
            keys: self.keys.clone(),
            settings: self.learner.settings(),
            steps: self.steps,
            epoch: self.epoch,
            taken: self.taken,
            evaluations: self.evaluations,
            rows: self.rows,
            seconds: self.seconds,
            rate: self.schedule.full(),
            keeper: self.keeper.state(),
            losses: self.losses.state(),
            balance: self.balance.state(),
            prior: self.prior.as_ref().map(LearnedPrior::state),
            log: self.log.bytes()?,
            table_steps: 0,
            network_steps: BTreeMap::new(),
        })
    }

    /// Writes all that the next step depends on; what of it is large, beside the steps that follow.
    fn checkpoint(&mut self) -> Result<()> {
        let _span = tracing::trace_span!("checkpoint").entered();
        self.losses.read(); // nothing of it is left on a device
        let begun = Instant::now();
        let Some(mut checkpoints) = self.checkpoints.take() else { return Ok(()) };
        checkpoints.wait(&mut self.keeper)?; // the one before
        let changed = self.state.as_mut().and_then(TrainState::changed_rows);
        let rows = changed.and_then(|changed| changed.take(checkpoints.most_rows(changed.rows())));
        let state = self.state.as_ref().expect("a step takes the state and puts it back");
        let (matrices, table_steps, network_steps) = state.matrices();
        let place = Place { table_steps, network_steps, ..self.place()? };
        let of_rows = rows.as_ref().map_or("all rows".to_string(), |rows| format!("{} rows", rows.len()));
        checkpoints.write(place, &matrices, rows.as_deref(), &mut self.keeper)?;
        let seconds = begun.elapsed().as_secs_f64();
        tracing::debug!("checkpoint of step {}: {of_rows}, {seconds:.3} s between the steps", self.steps);
        self.checkpoints = Some(checkpoints);
        Ok(())
    }

    /// Runs epochs until the last one, early stopping, or the stop flag; leaves bundle and log.
    pub(crate) fn run(mut self) -> Result<Trained> {
        let _memory = ReleaseMemory;
        if self.learner.start.is_some() && self.evaluations == 0 && !self.learner.stop.is_set() {
            self.evaluate()?; // a day that makes nothing better leaves the model as it was
        }
        while (self.taken > 0 || self.epoch < self.learner.config.epochs) && !self.learner.stop.is_set() {
            if self.run_epoch()? == Verdict::Stop {
                break;
            }
        }
        if self.keeper.is_empty() {
            // Stopped before the first evaluation: what there is, is kept, and judged by nothing.
            let moment = self.moment();
            self.keeper.judge(&vec![None; self.tasks().len()], None, moment);
            self.save(moment, None, &self.learner.calibration_before())?;
        }
        self.state = None; // its memory is needed to put the bundle together
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.wait(&mut self.keeper)?;
        }
        self.keeper.finish::<C>(self.learner.config.seed, self.checkpoints.is_some())?;
        self.log.finish()?;
        if self.checkpoints.is_some() && !self.learner.stop.is_set() {
            // In this order: a checkpoint is never without the weights that it knows of.
            checkpoint::clear(&self.learner.work)?;
            self.keeper.remove_others(&[])?;
        }
        Ok(Trained {
            moments: self.keeper.moments(),
            epochs: self.epoch,
            evaluations: self.evaluations,
            rows: self.rows,
            seconds: self.seconds,
        })
    }

    fn state(&self) -> &TrainState<C::Model> {
        self.state.as_ref().expect("a step takes the state and puts it back")
    }

    fn tasks(&self) -> &[Task] {
        &self.learner.dataset.schema().tasks
    }

    /// Now.
    fn moment(&self) -> Moment {
        let an_epoch = steps_an_epoch(&self.learner.config, self.learner.dataset).max(1);
        Moment { steps: self.steps, epoch: self.epoch, at: self.steps as f64 / an_epoch as f64 }
    }

    /// One pass over the training rows, or what early stopping and the stop flag leave of it.
    fn run_epoch(&mut self) -> Result<Verdict> {
        let begins = self.taken == 0;
        self.epoch += usize::from(begins);
        let Learner { dataset, config, progress, spec, stop, .. } = self.learner;
        let plan = BatchPlan { size: config.batch_size, shuffle: Some((config.seed, self.epoch as u64)) };
        if config.table_restart && self.epoch > 1 && begins {
            let seed = config.seed.wrapping_add((self.epoch as u64) << 32); // other numbers in every epoch
            let state = self.state.as_mut().expect("a step takes the state and puts it back");
            state.restart_table(dataset.schema(), config.embedding_std, seed);
        }
        let total = dataset.rows_kept(Split::Train, config.kept_negatives());
        let bar = progress.rows(format!("{} epoch {}/{}", spec.name(), self.epoch, config.epochs), total);
        let (an_epoch, planned) = (steps_an_epoch(config, dataset), planned_steps(config, dataset));
        bar.advance((self.taken * config.batch_size).min(total));
        let mut begun = Instant::now();
        let whole_groups = config.criterion(dataset.schema())?.is_of_groups();
        let rows = EpochRows { keep: config.kept_negatives(), whole_groups };
        for mut batch in dataset.batches_of(Split::Train, plan, self.taken, rows) {
            batch.check(dataset.schema())?;
            if let Some(unseen) = &self.unseen {
                unseen.show(&mut batch, seed_of_step(config.seed, self.steps + 1));
            }
            self.step(&batch, &bar)?;
            self.taken += 1;
            let is_due = config.evaluate_every.is_due(self.steps, an_epoch, planned);
            let (steps, keeper) = (self.steps, &mut self.keeper);
            self.checkpoints.as_mut().map_or(Ok(()), |checkpoints| checkpoints.look(keeper))?;
            let is_saved = self.checkpoints.as_mut().is_some_and(|own| own.is_due(steps) || stop.is_set());
            if !is_due && !is_saved && !stop.is_set() {
                continue;
            }
            self.seconds += begun.elapsed().as_secs_f64();
            self.read_losses()?;
            if is_due && (!stop.is_set() || is_saved) && self.evaluate()? == Verdict::Stop {
                return Ok(Verdict::Stop);
            }
            if is_saved {
                self.checkpoint()?;
            }
            if stop.is_set() {
                // A stretch cut short is judged only where there is no better-known state.
                return if self.keeper.is_empty() { self.evaluate().map(|_| Verdict::Stop) } else { Ok(Verdict::Stop) };
            }
            begun = Instant::now();
        }
        self.seconds += begun.elapsed().as_secs_f64();
        self.taken = 0;
        Ok(Verdict::Better)
    }

    /// Forward, backward, update.
    fn step(&mut self, batch: &Batch, bar: &Bar) -> Result<()> {
        let rate = self.schedule.rate(self.steps);
        self.steps += 1;
        self.learner.device.seed(seed_of_step(self.learner.config.seed, self.steps));
        let state = self.state.take().expect("a step takes the state and puts it back");
        let (losses, mut gradients) = self.balance.differentiate(&state, batch, &self.objective);
        let seen = self.losses.add(losses, batch);
        if let Some(broken) = self.losses.broken() {
            let whole = state.table.rows().is_on_host(); // else the loss is read steps later
            self.state = Some(state);
            return Err(self.not_finite(broken, whole)?);
        }
        if let Some(prior) = &mut self.prior {
            prior.step(&state, batch, &self.objective.task_weights, &mut gradients);
        }
        self.state = Some(state.apply(gradients, rate, self.learner.config.max_gradient_norm));
        self.rows += batch.rows;
        bar.advance(batch.rows);
        seen.into_iter().for_each(|loss| bar.say(format!("loss {loss:.4}")));
        Ok(())
    }

    fn read_losses(&mut self) -> Result<()> {
        self.losses.read();
        match self.losses.broken() {
            Some(broken) => Err(self.not_finite(broken, false)?),
            None => Ok(()),
        }
    }

    /// Measures on validation, logs, judges, and saves the weights where they are somebody's best.
    fn evaluate(&mut self) -> Result<Verdict> {
        self.evaluations += 1;
        let (learner, schema) = (self.learner, self.learner.dataset.schema());
        let scores = scores_of(learner, self.state(), Split::Valid)?;
        if let Some(place) = scores.iter().position(|score| !score.is_finite()) {
            return Err(self.not_finite((place % schema.tasks.len(), scores[place]), false)?);
        }
        let valid = learner.measure_for(&scores, Split::Valid, &self.monitor);
        let mean = self.monitor.mean(learner.named(&valid));
        let of_tasks = learner.named(&valid).map(|(_, kind, metrics)| self.monitor.goodness(kind, metrics));
        let of_tasks: Vec<Option<f64>> = of_tasks.collect();
        let (moment, before) = (self.moment(), self.keeper.all());
        let judged = self.keeper.judge(&of_tasks, mean, moment);
        if judged.keep {
            let mut maps = learner.calibration_before(); // of a task for which none can be fitted, and of the model as it came
            if self.steps > 0 || maps.is_empty() {
                maps.extend(calibrate::fit(learner.config.calibrate, &scores, learner.dataset));
            }
            self.save(moment, mean, &maps)?;
            self.keeper.clean(&before)?;
            if learner.config.keep_checkpoint {
                let (matrices, table_steps, network_steps) = self.state().matrices();
                let place = Place { table_steps, network_steps, ..self.place()? };
                matrices.write(&place, &learner.work.join(CHECKPOINT))?;
            }
        }
        self.tell(&valid, &judged.best_of, moment)?;
        self.losses = LossMeter::new(schema, self.state().table.rows().is_on_host());
        if judged.verdict == Verdict::Worse {
            self.schedule.evaluation_was_worse();
        }
        Ok(judged.verdict)
    }

    /// A line of the log, and one for the reader.
    fn tell(&mut self, valid: &[TaskMetrics], best_of: &[usize], moment: Moment) -> Result<()> {
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
        self.log.write(&line)?;
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
    fn save(
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
    fn not_finite(&mut self, broken: (usize, f32), whole: bool) -> Result<Error> {
        let (task, value) = broken;
        let learner = self.learner;
        let task = self.tasks().get(task).map_or("(regularization)", |task| &task.name).to_string();
        let last_good = learner.folder.join("last-good.safetensors");
        let saved = if let Some(last) = self.keeper.last() {
            self.keeper.finish::<C>(learner.config.seed, false)?;
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

/// Scores of every row of a split, in order, by weights that are being trained. `[N, T]`, row-major.
pub(crate) fn scores_of<C: ModelSpec>(
    learner: &Learner<'_, C>,
    state: &TrainState<C::Model>,
    split: Split,
) -> Result<Vec<f32>> {
    let network = state.network.valid();
    let schema = learner.dataset.schema();
    let mut scores = Vec::new();
    let plan = BatchPlan { size: learner.config.batch_size, shuffle: None };
    for batch in learner.dataset.batches(split, plan) {
        batch.check(schema)?;
        scores.extend(score(&network, &state.table, state.layout(), &schema.tasks, &batch));
    }
    Ok(scores)
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
    Ok(bundle::save_calibrated(path, schema, keys, &learner.spec, table, network, training, calibration)?)
}

/// Whether all weights are numbers.
fn is_finite<M: Model>(state: &TrainState<M>) -> bool {
    let finite = |data: TensorData| data.iter::<f32>().all(f32::is_finite);
    params::collect(&state.network).into_values().chain([state.table.rows().tensor().to_data()]).all(finite)
}

/// Gives the buffers of fused ops back when a training ends, with or without an error.
struct ReleaseMemory;

impl Drop for ReleaseMemory {
    fn drop(&mut self) {
        fused::release_memory();
    }
}

/// What a step draws from (dropout): numbers of its own, whatever was drawn before.
fn seed_of_step(seed: u64, step: usize) -> u64 {
    mixed(seed.wrapping_add((step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The finalizer of SplitMix64.
pub(crate) fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Steps of one epoch.
fn steps_an_epoch(config: &TrainConfig, dataset: &Dataset) -> usize {
    dataset.rows_kept(Split::Train, config.kept_negatives()).div_ceil(config.batch_size)
}

/// Steps of all epochs.
pub(crate) fn planned_steps(config: &TrainConfig, dataset: &Dataset) -> usize {
    config.epochs.saturating_mul(steps_an_epoch(config, dataset))
}

/// The learned prior, if a configuration asks for one.
fn learned_prior<C: ModelSpec>(learner: &Learner<'_, C>) -> Result<Option<LearnedPrior>> {
    let Learner { dataset, config, spec, .. } = learner;
    let PriorConfig::Learned { tied, deviation, correlation } = config.prior() else { return Ok(None) };
    let widths = spec.widths(dataset.schema());
    let batches = dataset.batches(Split::Train, BatchPlan { size: 1 << 14, shuffle: None });
    let counts = as_shown(RowCounts::of(dataset.schema(), batches)?, config.unseen, dataset.schema());
    let prior = LearnedPrior::of_counts(counts, &widths, tied, deviation, correlation);
    Ok(Some(match &learner.start {
        Some(_) => prior.after(&learner.before(), dataset.schema(), &spec.embedding_groups(dataset.schema())),
        None => prior,
    }))
}

/// The objective that a configuration asks for.
fn objective(dataset: &Dataset, config: &TrainConfig) -> Objective {
    let weight = |name: &String| config.task_weights.get(name).copied().unwrap_or(1.0);
    Objective {
        task_weights: dataset.schema().tasks.iter().map(|task| weight(&task.name)).collect(),
        embedding_l2: config.l2(),
        network_l2: config.network_l2,
    }
}
