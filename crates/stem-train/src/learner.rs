//! A model on a data set, trained and measured; the loop itself is in `training`, scores and metrics are in `measure`.
//!
//! While a training runs its best weights and its log are in the folder `unfinished`. At its end both take their places: a training
//! that is killed leaves those of an earlier one untouched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use stem_core::files;
use stem_core::lock::Lock;
use stem_core::models::ModelSpec;
use stem_core::{Bundle, Calibration, Predictor};
use stem_data::{Dataset, Progress, Split, StopFlag};

use crate::check::{check, check_over};
use crate::checkpoint::settings;
use crate::config::TrainConfig;
use crate::done::done;
use crate::error::{Result, require};
use crate::given::GivenRows;
use crate::keep::{BUNDLE, JOINT, Moment};
use crate::log::LOG;
use crate::memory;
use crate::ranks::{Team, agree, as_first};
use crate::start::{CHECKPOINT, Start};
use crate::step::TrainState;
use crate::training::{self, Training};
use crate::unfinished::Unfinished;
use crate::warm::{Before, place_of, warm};

/// What a training came to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FitSummary {
    /// Epochs that were run, the last one possibly cut short.
    pub epochs: usize,
    /// The epoch whose weights the bundle holds, of several the last; 0 when validation was never asked.
    pub best_epoch: usize,
    /// How often validation was asked.
    #[serde(default)]
    pub evaluations: usize,
    /// The moment whose weights each task is scored with, by name of the task.
    #[serde(default)]
    pub kept: BTreeMap<String, Moment>,
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
    /// Bytes that this process has sent to others, where several train together.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub sent: u64,
}

fn is_nothing(bytes: &u64) -> bool {
    *bytes == 0
}

/// Trains one model on one data set.
#[derive(Debug)]
pub struct Learner<'a, C: ModelSpec> {
    pub(crate) spec: C,
    pub(crate) dataset: &'a Dataset,
    pub(crate) config: TrainConfig,
    pub(crate) device: Device,
    pub(crate) memory: u64,
    parameters: usize,
    /// Drawn weights, until a training takes them.
    pub(crate) state: Option<TrainState<C::Model>>,
    /// What the last training left, once it was asked for.
    pub(crate) trained: OnceLock<Predictor<C>>,
    pub(crate) folder: PathBuf,
    /// Where bundle and log are written.
    pub(crate) work: PathBuf,
    pub(crate) progress: Progress,
    pub(crate) stop: StopFlag,
    lock: Option<Lock>,
    /// The task that the model is trained for alone.
    pub(crate) task: Option<String>,
    /// Whether the weights that are best for all tasks together are left too.
    pub(crate) with_joint: bool,
    /// Whether it goes on from a checkpoint.
    resume: bool,
    /// A model that was trained before, which it starts from.
    pub(crate) start: Option<(Start<C>, usize)>,
    /// The processes that train it together.
    pub(crate) ranks: Team,
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
        Self::over(Team::default(), spec, dataset, config, device, folder)
    }

    /// As [`new`](Self::new), for one of several processes that train the model together: all of them make the same calls. Rows of the table
    /// and their optimizer's state live on one rank each, the network is on all; a step is that of one process, its sums taken in the order of
    /// the ranks. Rank 0 alone writes, and its `folder` alone receives bundle and log.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), and settings that are not for several ranks yet, by their names.
    pub fn over(
        ranks: Team,
        spec: C,
        dataset: &'a Dataset,
        config: TrainConfig,
        device: &Device,
        folder: impl Into<PathBuf>,
    ) -> Result<Self> {
        let plan = check(&spec, dataset, &config)?.over(ranks.ranks());
        let available = memory::available_to(device);
        available.map_or(Ok(()), |available| plan.check(available))?;
        let state = draw(&spec, dataset, &config, device, &ranks);
        check_over(&ranks, (&spec, &state), dataset.schema(), &config)?;
        let width: usize = spec.widths(dataset.schema()).iter().sum();
        let parameters = state.network.num_params() + dataset.schema().rows() * width;
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
            parameters,
            state: Some(state),
            trained: OnceLock::new(),
            work: folder.clone(),
            folder,
            progress: Progress::default(),
            stop: StopFlag::default(),
            lock: None,
            task: None,
            with_joint: false,
            resume: false,
            start: None,
            ranks,
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

    /// Leaves a second bundle, [`joint_path`](Self::joint_path), of the weights that were best for all tasks together, where tasks are
    /// scored with those of different moments.
    #[must_use]
    pub fn with_joint(mut self, wanted: bool) -> Self {
        self.with_joint = wanted;
        self
    }

    /// Goes on from the last checkpoint that a training of the same settings left in the folder
    /// ([`checkpoint_every`](TrainConfig::checkpoint_every)); begins where there is none. One that has ended there is not trained again. Where there
    /// are checkpoints and none is of use, [`fit`](Self::fit) gives [`Error::NoneUsable`](crate::Error::NoneUsable).
    #[must_use]
    pub fn with_resume(mut self, wanted: bool) -> Self {
        self.resume = wanted;
        self
    }

    /// Starts from a model that was trained before, on rows of earlier days, in the place of drawn weights: from one of the states of
    /// a bundle, counted from 0, or from a checkpoint, which has the optimizer's moments too; those of new rows start as at the first
    /// training. The data set is one whose vocabularies have grown from the model's ([`stem_data::prepare_grown`]); a key's row is
    /// found again by its key. Of a bundle of tasks that were trained apart, a training of one of them takes what is that task's.
    ///
    /// The model as it comes is the first that is validated: a training that makes nothing better leaves it as it was.
    ///
    /// # Errors
    /// [`Error::Start`](crate::Error::Start) where it is of another kind, of other sizes or other tasks, or a checkpoint of another optimizer;
    /// bundles and checkpoints that do not load.
    pub fn with_start(mut self, start: impl Into<Start<C>>, state: usize) -> Result<Self> {
        let start = start.into();
        let expected = "false where a model is trained on: all that its rows have learned would be lost";
        require("table_restart", self.config.table_restart, expected, !self.config.table_restart)?;
        let drawn = self.state.take().unwrap_or_else(|| self.draw());
        self.state = Some(warm(drawn, (&start, state), &self.spec, self.dataset, &self.config, &self.device)?);
        self.start = Some((start, state));
        Ok(self)
    }

    /// What the model that it starts from brings along; nothing where it starts from drawn weights.
    pub(crate) fn before(&self) -> Before {
        let place = |bundle: &Bundle<C>| place_of(bundle, &self.spec, self.dataset.schema()).ok().flatten();
        let of = |(start, state): &(Start<C>, usize)| {
            Before::of(&start.bundle, start.state_told(*state), place(&start.bundle))
        };
        self.start.as_ref().map(of).unwrap_or_default()
    }

    /// What is done to the scores of the model that it starts from.
    pub(crate) fn calibration_before(&self) -> BTreeMap<String, Calibration> {
        let mut maps =
            self.start.as_ref().map(|(start, _)| start.bundle.manifest.calibration.clone()).unwrap_or_default();
        maps.retain(|task, _| self.dataset.schema().task(task).is_some());
        maps
    }

    /// What this training is, for checkpoints.
    pub(crate) fn settings(&self) -> serde_json::Value {
        let from = self.start.as_ref().map(|(start, state)| format!("{}:{state}", start.checksum()));
        settings(&self.spec, &self.config, self.dataset, self.task.as_deref(), from.as_deref())
    }

    /// Where the bundle is when the training has ended.
    pub fn bundle_path(&self) -> PathBuf {
        self.folder.join(BUNDLE)
    }

    /// Where the bundle of the joint best is, if one was asked for and is another.
    pub fn joint_path(&self) -> PathBuf {
        self.folder.join(JOINT)
    }

    /// Parameters: network and table.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Runs epochs until the last one, early stopping, or the stop flag; leaves the best weights in the bundle, where
    /// [`evaluate`](Self::evaluate) takes them from. A second call trains afresh.
    ///
    /// # Errors
    /// A folder that another training writes to, a loss that is not finite, a batch that does not read, a bundle or log that
    /// cannot be written. The bundle and the log of an earlier training stay as they are until this one has ended.
    pub fn fit(&mut self) -> Result<FitSummary> {
        if !self.ranks.is_first() {
            as_first(&self.ranks, Ok(()))?;
            let was_killed = self.ranks.from_first(|| None);
            return was_killed.map_or_else(|| self.train(), Ok);
        }
        let begun = self.begin();
        let (_lock, unfinished) = as_first(&self.ranks, begun)?;
        self.work.clone_from(&unfinished.path);
        let was_killed = self.done_before().filter(|_| !self.work.join(BUNDLE).exists()); // while it took its place
        let summary = self.ranks.from_first(|| was_killed).map_or_else(|| self.train(), Ok)?;
        if summary.interrupted && self.config.checkpoint_every.is_some() {
            return Ok(summary); // what it goes on from stays where it is
        }
        unfinished.publish(&[BUNDLE, CHECKPOINT, LOG])?;
        self.work.clone_from(&self.folder);
        Ok(summary)
    }

    /// The lock of the folder, and where it works.
    fn begin(&self) -> Result<(Lock, Unfinished)> {
        let lock = match &self.lock {
            Some(lock) => lock.clone(),
            None => Lock::of(&self.folder)?,
        };
        let unfinished = if self.resume { Unfinished::go_on(&self.folder)? } else { Unfinished::start(&self.folder)? };
        Ok((lock, unfinished))
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

    /// What the training came to that is gone on with, where it had ended.
    fn done_before(&self) -> Option<FitSummary> {
        done(&self.work, &self.settings()).filter(|_| self.resume)
    }

    fn draw(&self) -> TrainState<C::Model> {
        draw(&self.spec, self.dataset, &self.config, &self.device, &self.ranks)
    }

    fn train(&mut self) -> Result<FitSummary> {
        if self.ranks.is_several() {
            agree(&self.ranks, &self.settings())?;
        }
        self.trained = OnceLock::new();
        let prepared = match self.ranks.is_first() {
            // nobody else writes there
            true => files::create_folder(&self.work).and_then(|()| files::remove_scratch(&self.work)),
            false => Ok(()),
        };
        as_first(&self.ranks, prepared.map_err(Into::into))?;
        if let Some(done) = self.ranks.from_first(|| self.done_before()) {
            if self.ranks.is_first() {
                tracing::info!("{}: the training has ended before", self.work.display());
                training::clear(self)?;
            }
            return Ok(done);
        }
        let state = match (self.state.take(), &self.start) {
            (Some(state), _) => state,
            (None, None) => self.draw(),
            (None, Some((start, state))) => {
                let drawn = self.draw();
                warm(drawn, (start, *state), &self.spec, self.dataset, &self.config, &self.device)?
            }
        };
        let sent = self.ranks.sent();
        let mut summary =
            (if self.resume { Training::go_on(self, state) } else { Training::new(self, state) })?.run()?;
        summary.sent = self.ranks.sent() - sent;
        if summary.sent > 0 {
            tracing::info!("rank {} sent {:.1} MB to the others", self.ranks.rank(), summary.sent as f64 / 1e6);
        }
        Ok(summary)
    }
}

/// Weights to start from; over several ranks the rows that live on this one.
fn draw<C: ModelSpec>(
    spec: &C,
    dataset: &Dataset,
    config: &TrainConfig,
    device: &Device,
    ranks: &Team,
) -> TrainState<C::Model> {
    let (schema, std, seed) = (dataset.schema(), config.embedding_std, config.seed);
    let drawn = match ranks.is_several() {
        true => TrainState::init_over(spec, schema, std, seed, (ranks, config.wire), device),
        false => TrainState::init(spec, schema, std, seed, config.table, device),
    };
    drawn
        .with_optimizer(config.optimizer)
        .with_precision(config.precision)
        .with_criterion(config.criterion(schema).expect("the learner has checked its settings"))
        .with_given(GivenRows::of(dataset, config))
}
