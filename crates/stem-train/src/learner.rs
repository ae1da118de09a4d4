//! The one training loop: epochs of steps, an evaluation after each, the best weights kept on disk.
//!
//! While a training runs its best weights and its log are in the folder `unfinished`. At its end both take their places: a training
//! that is killed leaves those of an earlier one untouched.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stem_core::lock::Lock;
use stem_core::models::ModelSpec;
use stem_core::nn::score;
use stem_core::{Bundle, Schema, Task, bundle, fused, params};
use stem_data::{BatchPlan, Dataset, Progress, Split, StopFlag};
use stem_report::metrics::{TaskMetrics, four_decimals};

use crate::balance::{Balance, BalanceConfig};
use crate::config::{Monitor, TrainConfig};
use crate::early_stop::{EarlyStop, Verdict};
use crate::error::{Error, Result, require};
use crate::log::{LOG, RunLog, by_task};
use crate::loss_meter::LossMeter;
use crate::memory::{self, MemoryPlan};
use crate::schedule::RateSchedule;
use crate::step::{Objective, TrainState};
use crate::unfinished::Unfinished;

/// Name of the bundle.
const BUNDLE: &str = "bundle.safetensors";

/// What a training came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FitSummary {
    /// Epochs that were run, the last one possibly cut short.
    pub epochs: usize,
    /// The epoch whose weights the bundle holds; 0 when none was finished.
    pub best_epoch: usize,
    /// Seconds in training steps, evaluations not counted.
    pub seconds: f64,
    /// Training rows a second, evaluations not counted.
    pub rows_per_second: f64,
    /// Parameters, table included.
    pub parameters: usize,
    /// Bytes that table, optimizer state and a batch take, as planned before training.
    pub memory: u64,
    /// Whether the stop flag was set.
    pub interrupted: bool,
}

/// Trains one model on one data set.
#[derive(Debug)]
pub struct Learner<'a, C: ModelSpec> {
    spec: C,
    dataset: &'a Dataset,
    config: TrainConfig,
    device: Device,
    memory: u64,
    state: Option<TrainState<C::Model>>,
    folder: PathBuf,
    /// Where bundle and log are written.
    work: PathBuf,
    best_epoch: usize,
    progress: Progress,
    stop: StopFlag,
    lock: Option<Lock>,
    task: Option<String>,
}

impl<'a, C: ModelSpec> Learner<'a, C> {
    /// Checks configuration and memory, then draws the weights. `folder` receives bundle and log.
    ///
    /// # Errors
    /// Configuration that cannot train, or more memory needed than the machine has.
    pub fn new(
        spec: C,
        dataset: &'a Dataset,
        config: TrainConfig,
        device: &Device,
        folder: impl Into<PathBuf>,
    ) -> Result<Self> {
        let plan = check(&spec, dataset, &config)?;
        let available = memory::available_to(device);
        available.map_or(Ok(()), |available| plan.check(available))?;
        let schema = dataset.schema();
        let state = TrainState::init(&spec, schema, config.embedding_std, config.seed, config.table, device)
            .with_optimizer(config.optimizer)
            .with_precision(config.precision);
        tracing::info!(
            "{}: {} training rows, {plan}{}",
            spec.name(),
            dataset.rows(Split::Train),
            match available.filter(|&bytes| bytes != memory::BEYOND_ANY_GPU) {
                Some(bytes) => format!(", {:.1} GiB free", bytes as f64 / f64::from(1 << 30)),
                None => ", on a device whose free memory is not known".to_string(),
            }
        );
        let (device, folder) = (device.clone(), folder.into());
        Ok(Self {
            spec,
            dataset,
            config,
            device,
            memory: plan.total(),
            state: Some(state),
            work: folder.clone(),
            folder,
            best_epoch: 0,
            progress: Progress::default(),
            stop: StopFlag::default(),
            lock: None,
            task: None,
        })
    }

    /// Draws a bar for every epoch.
    #[must_use]
    pub fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Listens to `stop`.
    #[must_use]
    pub fn with_stop(mut self, stop: StopFlag) -> Self {
        self.stop = stop;
        self
    }

    /// Trains under a lock of its folder that the caller holds. Without one, [`fit`](Self::fit) locks the folder as long as it runs.
    #[must_use]
    pub fn with_lock(mut self, lock: Lock) -> Self {
        self.lock = Some(lock);
        self
    }

    /// Names the task that the model is trained for alone, in every line of the log.
    #[must_use]
    pub fn with_task(mut self, task: Option<String>) -> Self {
        self.task = task;
        self
    }

    /// Where the bundle is when the training has ended.
    pub fn bundle_path(&self) -> PathBuf {
        self.folder.join(BUNDLE)
    }

    /// Parameters: network and table.
    pub fn parameters(&self) -> usize {
        let state = self.state();
        state.network.num_params() + state.table.rows().dims().iter().product::<usize>()
    }

    fn state(&self) -> &TrainState<C::Model> {
        self.state.as_ref().expect("a step takes the state and puts it back")
    }

    /// Runs epochs until the last one, early stopping, or the stop flag; leaves the best weights in the bundle and in `self`.
    ///
    /// # Errors
    /// A folder that another training writes to, a loss that is not finite, a batch that does not read, a bundle or log that
    /// cannot be written. The bundle and the log of an earlier training stay as they are until this one has ended.
    pub fn fit(&mut self) -> Result<FitSummary> {
        let _lock = match &self.lock {
            Some(lock) => lock.clone(),
            None => Lock::of(&self.folder)?,
        };
        let unfinished = Unfinished::start(&self.folder)?;
        self.work.clone_from(&unfinished.path);
        let summary = self.train()?;
        unfinished.publish(&[BUNDLE, LOG])?;
        Ok(summary)
    }

    /// As [`fit`](Self::fit), but straight into the folder, which is the caller's alone: nothing is locked, and bundle and log are
    /// there before the training has ended.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit), the lock's apart.
    pub fn fit_in_place(&mut self) -> Result<FitSummary> {
        self.work.clone_from(&self.folder);
        self.train()
    }

    /// What decides whether an epoch was better: the metric that was asked for, or AUC where validation cannot measure that.
    fn measurable_monitor(&self) -> Monitor {
        let monitor = self.config.monitor;
        let labels = self.dataset.labels(Split::Valid).len();
        let measured = self.measure(&vec![0.0; labels], Split::Valid); // whether a metric is defined does not hang on the scores
        if labels == 0 || monitor.mean(&measured).is_some() {
            return monitor;
        }
        let nothing = "every epoch counts as the best so far, and training stops after the last";
        match (monitor, Monitor::Auc.mean(&measured)) {
            (Monitor::Gauc, Some(_)) => tracing::warn!(
                "monitor = \"gauc\" cannot be measured: no group of the validation split has rows of both labels. AUC decides in its place"
            ),
            _ => tracing::warn!(
                "{} cannot be measured: no task has rows of both labels in the validation split. So {nothing}",
                monitor.name()
            ),
        }
        Monitor::Auc
    }

    fn train(&mut self) -> Result<FitSummary> {
        let _memory = ReleaseMemory;
        let mut log = RunLog::create(&self.work)?;
        let schema = self.dataset.schema();
        self.device.seed(self.config.seed);
        let mut early_stop = EarlyStop::new(self.config.patience);
        let monitor = self.measurable_monitor();
        let TrainConfig { schedule, learning_rate, warm_up_steps, balance, seed, .. } = self.config;
        let planned = planned_steps(&self.config, self.dataset);
        let mut schedule = RateSchedule::new(schedule, learning_rate, warm_up_steps, planned);
        let mut balance = Balance::new(balance, schema.tasks.len(), seed, &self.device);
        let (mut steps, mut rows, mut seconds) = (0, 0, 0.0);
        self.best_epoch = 0;
        let mut epoch = 0;
        while epoch < self.config.epochs && !self.stop.is_set() {
            epoch += 1;
            let begun = Instant::now();
            let (epoch_rows, loss) = self.epoch(epoch, &schedule, &mut balance, &mut steps)?;
            seconds += begun.elapsed().as_secs_f64();
            rows += epoch_rows;
            if self.stop.is_set() && self.best_epoch > 0 {
                break; // an epoch cut short is not judged while there is a better-known state
            }
            let scores = self.score(Split::Valid)?;
            if let Some(place) = scores.iter().position(|score| !score.is_finite()) {
                let task = place % schema.tasks.len();
                return Err(self.not_finite((task, scores[place]), steps, epoch, false)?);
            }
            let valid = self.measure(&scores, Split::Valid);
            let monitored = monitor.mean(&valid);
            let verdict = early_stop.judge(monitored);
            let rate = schedule.rate(steps.saturating_sub(1));
            let best = verdict == Verdict::Better;
            let mut line = json!({
                "epoch": epoch,
                "steps": steps,
                "learning_rate": rate,
                "loss": by_task(schema, &loss),
                "valid": by_task(schema, &valid),
                "best": best,
            });
            self.task.iter().for_each(|task| line["task"] = task.as_str().into());
            balance.weights().into_iter().for_each(|weights| line["balance"] = by_task(schema, weights));
            log.write(&line)?;
            let of_task = |(t, m): (&Task, &TaskMetrics)| format!("{} {}", t.name, four_decimals(monitor.of(m)));
            tracing::info!(
                "epoch {epoch}: loss {:.4}, valid {} {}, rate {rate:.2e}{}",
                loss.iter().sum::<f64>(),
                monitor.name(),
                schema.tasks.iter().zip(&valid).map(of_task).collect::<Vec<_>>().join(", "),
                if best { ", best so far" } else { "" }
            );
            match verdict {
                Verdict::Better => {
                    self.best_epoch = epoch;
                    let training = json!({ "epoch": epoch, "seed": seed, "monitored": monitored });
                    self.save(&self.work.join(BUNDLE), training)?;
                }
                Verdict::Worse => schedule.epoch_was_worse(),
                Verdict::Stop => break,
            }
        }
        if self.best_epoch == 0 {
            // Stopped before the first epoch.
            self.save(&self.work.join(BUNDLE), json!({ "epoch": 0, "seed": seed }))?;
        } else if self.best_epoch < epoch {
            self.restore()?;
        }
        log.finish()?;
        let rows_per_second = if seconds > 0.0 { rows as f64 / seconds } else { 0.0 };
        Ok(FitSummary {
            epochs: epoch,
            best_epoch: self.best_epoch,
            seconds,
            rows_per_second,
            parameters: self.parameters(),
            memory: self.memory,
            interrupted: self.stop.is_set(),
        })
    }

    /// One pass over the training rows; gives the rows seen and each task's mean loss.
    fn epoch(
        &mut self,
        epoch: usize,
        schedule: &RateSchedule,
        balance: &mut Balance,
        steps: &mut usize,
    ) -> Result<(usize, Vec<f64>)> {
        let schema = self.dataset.schema();
        let objective = objective(schema, &self.config);
        let plan = BatchPlan { size: self.config.batch_size, shuffle: Some((self.config.seed, epoch as u64)) };
        let total = self.dataset.rows(Split::Train);
        let bar = self.progress.rows(format!("{} epoch {epoch}/{}", self.spec.name(), self.config.epochs), total);
        let mut losses = LossMeter::new(schema, self.state().table.rows().is_on_host());
        let mut rows = 0;
        for batch in self.dataset.batches(Split::Train, plan) {
            batch.check(schema)?;
            let rate = schedule.rate(*steps);
            *steps += 1;
            let (step_losses, gradients) = balance.differentiate(self.state(), &batch, &objective);
            let seen = losses.add(step_losses, &batch);
            if let Some(broken) = losses.broken() {
                let whole = self.state().table.rows().is_on_host(); // else the loss is read steps later
                return Err(self.not_finite(broken, *steps, epoch, whole)?);
            }
            let state = self.state.take().expect("a step takes the state and puts it back");
            self.state = Some(state.apply(gradients, rate, self.config.max_gradient_norm));
            rows += batch.rows;
            bar.advance(batch.rows);
            seen.into_iter().for_each(|loss| bar.say(format!("loss {loss:.4}")));
            if self.stop.is_set() {
                break;
            }
        }
        losses.read();
        match losses.broken() {
            Some(broken) => Err(self.not_finite(broken, *steps, epoch, false)?),
            None => Ok((rows, losses.means())),
        }
    }

    /// Metrics of every task on a split, by the forward that the predictor uses.
    ///
    /// # Errors
    /// Batches that do not read.
    pub fn evaluate(&self, split: Split) -> Result<Vec<TaskMetrics>> {
        Ok(self.measure(&self.score(split)?, split))
    }

    fn measure(&self, scores: &[f32], split: Split) -> Vec<TaskMetrics> {
        let (labels, groups) = (self.dataset.labels(split), self.dataset.groups(split));
        TaskMetrics::per_task(scores, labels, groups, self.dataset.schema().tasks.len())
    }

    /// Probabilities of every row of a split, in order. `[N, T]`, row-major.
    ///
    /// # Errors
    /// Batches that do not read.
    pub fn score(&self, split: Split) -> Result<Vec<f32>> {
        let state = self.state();
        let network = state.network.valid();
        let mut scores = Vec::new();
        for batch in self.dataset.batches(split, BatchPlan { size: self.config.batch_size, shuffle: None }) {
            batch.check(self.dataset.schema())?;
            scores.extend(score(&network, &state.table, state.layout(), &batch));
        }
        Ok(scores)
    }

    /// Writes a bundle with the weights as they are.
    fn save(&mut self, path: &Path, training: serde_json::Value) -> Result<()> {
        let state = self.state.as_mut().expect("a step takes the state and puts it back");
        let (schema, vocabularies) = (self.dataset.schema(), self.dataset.vocabularies());
        Ok(bundle::save(path, schema, vocabularies, &self.spec, &state.table, &state.network, &training)?)
    }

    /// The error for a loss or score that is not finite. This training's best weights are on disk already; without any, the
    /// weights as they are now are saved beside the bundle if they are still `whole`.
    fn not_finite(&mut self, broken: (usize, f32), step: usize, epoch: usize, whole: bool) -> Result<Error> {
        let (task, value) = broken;
        let task = self.dataset.schema().tasks.get(task).map_or("(regularization)", |task| &task.name).to_string();
        let last_good = self.folder.join("last-good.safetensors");
        let saved = if self.best_epoch > 0 {
            format!("the weights of epoch {} are in {}", self.best_epoch, self.work.join(BUNDLE).display())
        } else if whole && self.is_finite() {
            self.save(&last_good, json!({ "epoch": 0, "seed": self.config.seed }))?;
            format!("the weights before that step are in {}", last_good.display())
        } else {
            "no epoch was finished before, so nothing was saved".into()
        };
        Ok(Error::NotFinite { task, value, step, epoch, saved })
    }

    /// Whether all weights are numbers.
    fn is_finite(&self) -> bool {
        let state = self.state();
        let finite = |data: TensorData| data.iter::<f32>().all(f32::is_finite);
        params::collect(&state.network).into_values().chain([state.table.rows().tensor().to_data()]).all(finite)
    }

    /// Takes the best weights back from their file.
    fn restore(&mut self) -> Result<()> {
        self.state = None; // the optimizer's state is not needed any more, and its memory is
        let bundle = Bundle::<C>::open(self.work.join(BUNDLE))?;
        let (table, network) = bundle.load(&self.device.clone().autodiff())?;
        let state = TrainState::new(self.dataset.schema(), table, network, self.config.table);
        self.state = Some(state.with_optimizer(self.config.optimizer).with_precision(self.config.precision));
        Ok(())
    }
}

/// Gives the buffers of fused ops back when a training ends, with or without an error.
struct ReleaseMemory;

impl Drop for ReleaseMemory {
    fn drop(&mut self) {
        fused::release_memory();
    }
}

/// Refuses a configuration that cannot train on the data; gives what memory the training will take. Whether there is so much is for
/// the caller to ask, who knows the device and how many trainings run side by side:
/// `plan.times(jobs).check(available)` with [`memory::available_to`].
///
/// # Errors
/// [`Error::Config`] and [`Error::Core`].
pub fn check<C: ModelSpec>(spec: &C, dataset: &Dataset, config: &TrainConfig) -> Result<MemoryPlan> {
    config.check()?;
    let schema = dataset.schema();
    schema.check()?;
    spec.check(schema)?;
    config.check_tasks(schema)?;
    let groups = config.monitor != Monitor::Gauc || schema.group.is_some();
    require("monitor", "gauc", "auc, or a `group` in the recipe: without groups there is no gAUC", groups)?;
    let several = config.balance == BalanceConfig::default() || schema.tasks.len() > 1;
    let expected = "fixed where there is one task: there is nothing to balance";
    require("balance", config.balance.name(), expected, several)?;
    let (climb, planned) = (config.warm_up_steps, planned_steps(config, dataset));
    let found = format_args!("{climb} of {planned} planned");
    require("warm_up_steps", found, "fewer: the rate would never be reached", climb == 0 || climb < planned)?;
    let (widths, size) = (spec.widths(schema), spec.size(schema));
    Ok(MemoryPlan::new(schema, dataset.vocabularies(), &widths, size, config))
}

/// Steps of all epochs.
fn planned_steps(config: &TrainConfig, dataset: &Dataset) -> usize {
    config.epochs.saturating_mul(dataset.rows(Split::Train).div_ceil(config.batch_size))
}

/// The objective that a configuration asks for.
fn objective(schema: &Schema, config: &TrainConfig) -> Objective {
    let weight = |name: &String| config.task_weights.get(name).copied().unwrap_or(1.0);
    Objective {
        task_weights: schema.tasks.iter().map(|task| weight(&task.name)).collect(),
        embedding_l2: config.embedding_l2,
        network_l2: config.network_l2,
    }
}
