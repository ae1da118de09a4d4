//! The one training loop: epochs of steps, evaluations in between (`validation`), the best weights kept on disk, checkpoints (`resume`).

mod resume;
mod validation;

use std::time::Instant;

use stem_core::models::ModelSpec;
use stem_core::nn::seed_dropout;
use stem_core::{Batch, Task, fused};
use stem_data::{Bar, BatchPlan, Batches, Dataset, EpochRows, Split, part_of};

use crate::balance::{Balance, shared_groups};
use crate::checkpoint::{self, Change, Checkpoints};
use crate::config::TrainConfig;
use crate::counts::RowCounts;
use crate::done::{mark_done, unmark_done};
use crate::early_stop::Verdict;
use crate::error::Result;
use crate::given::GivenRows;
use crate::keep::{self, Keeper, Moment};
use crate::learner::{FitSummary, Learner};
use crate::log::RunLog;
use crate::loss_meter::LossMeter;
use crate::monitor::{Best, Monitor};
use crate::prior::{LearnedPrior, PriorConfig};
use crate::ranks::Questions;
use crate::schedule::RateSchedule;
use crate::start;
use crate::step::{Gathered, Objective, TrainState};
use crate::unseen::{Unseen, as_shown};
use crate::unseen_domain::UnseenDomain;

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
    unseen_domain: Option<UnseenDomain>,
    losses: LossMeter,
    keeper: Keeper,
    /// Of rank 0.
    log: Option<RunLog>,
    /// Whether it was asked to stop, as far as all ranks know.
    stopped: bool,
    /// Whether a checkpoint is due by the time since the last one, by rank 0's clock.
    is_time: bool,
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

impl<'l, C: ModelSpec> Training<'l, C> {
    /// Starts with drawn weights; the learner says everything else. What a training of before left to go on from is removed: were it left, it
    /// would be taken for this one's.
    pub(crate) fn new(learner: &'l Learner<'l, C>, state: TrainState<C::Model>) -> Result<Self> {
        if !learner.ranks.is_first() {
            return Self::with_log(learner, state, None);
        }
        unmark_done(&learner.work)?;
        checkpoint::clear(&learner.work)?;
        start::remove_kept(&learner.work)?;
        let log = RunLog::create(&learner.work)?;
        keep::remove_others(&learner.work, &[])?;
        Self::with_log(learner, state, Some(log))
    }

    fn with_log(learner: &'l Learner<'l, C>, state: TrainState<C::Model>, log: Option<RunLog>) -> Result<Self> {
        let Learner { dataset, config, device, .. } = learner;
        let (schema, tasks) = (dataset.schema(), dataset.schema().task_names());
        let TrainConfig { schedule, learning_rate, warm_up_steps, balance, seed, patience, .. } = *config;
        let is_joint =
            config.best == Best::Joint || !config.monitor.weights.is_empty() || !learner.spec.tasks_stand_apart();
        let rows = state.table.rows().dims()[0];
        Ok(Self {
            learner,
            monitor: learner.measurable_monitor(),
            objective: objective(dataset, config),
            losses: LossMeter::new(schema, state.table.rows().is_on_host()),
            state: Some(state),
            schedule: RateSchedule::new(schedule, learning_rate, warm_up_steps, config.planned_steps(dataset)),
            balance: Balance::at(&shared_groups(&learner.spec, schema), balance, tasks.len(), seed, device),
            prior: learned_prior(learner)?,
            unseen: Unseen::new(config.unseen, dataset)?,
            unseen_domain: match learner.start.is_some() || learner.ranks.is_several() {
                true => None, // a model's own row stays, and over ranks nobody fills it
                false => UnseenDomain::new(&learner.spec, dataset, config.unseen)?,
            },
            keeper: Keeper::new(&learner.work, tasks, patience, is_joint, learner.with_joint),
            log,
            stopped: false,
            is_time: false,
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
            checkpoints: config.checkpoint_every.map(|every| Checkpoints::start(&learner.work, every, rows)),
        })
    }

    /// Runs epochs until the last one, early stopping, or the stop flag; leaves bundle and log. What it went on from goes once it is marked that it
    /// has ended.
    pub(crate) fn run(mut self) -> Result<FitSummary> {
        let _memory = ReleaseMemory;
        self.listen();
        if self.learner.start.is_some() && self.evaluations == 0 && !self.stopped {
            self.evaluate()?; // a day that makes nothing better leaves the model as it was
        }
        while (self.taken > 0 || self.epoch < self.learner.config.epochs) && !self.stopped {
            if self.run_epoch()? == Verdict::Stop {
                break;
            }
        }
        self.listen();
        let interrupted = self.stopped; // asked once: what is left is of one mind
        if self.keeper.is_empty() {
            // Stopped before the first evaluation: what there is, is kept, and judged by nothing.
            let moment = self.moment();
            self.fill_unseen_domain();
            self.keeper.judge(&vec![None; self.tasks().len()], None, moment);
            self.save(moment, None, &self.learner.calibration_before())?;
            self.keep_checkpoint()?;
        }
        if let (Some(checkpoints), Some(state)) = (&mut self.checkpoints, &mut self.state) {
            checkpoints.give_all(&mut state.large_mut());
        }
        self.state = None; // its memory is needed to put the bundle together
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.wait(&mut self.keeper)?;
        }
        let summary = self.summary(interrupted);
        if let Some(log) = self.log.take() {
            self.keeper.finish::<C>(self.learner.config.seed, self.checkpoints.is_some())?;
            log.finish()?;
            if !interrupted {
                mark_done(&self.learner.work, &self.learner.settings(), &summary)?;
            }
            if self.checkpoints.is_none() || !interrupted {
                clear(self.learner)?; // without any checkpoints asked for, those that it went on from
            }
        }
        self.learner.ranks.barrier(); // the bundle is there
        Ok(summary)
    }

    fn summary(&self, interrupted: bool) -> FitSummary {
        let judged = if self.evaluations > 0 { self.keeper.moments() } else { Vec::new() };
        let names = self.learner.dataset.schema().task_names().into_iter();
        FitSummary {
            epochs: self.epoch,
            best_epoch: judged.iter().flatten().map(|moment| moment.epoch).max().unwrap_or(0),
            evaluations: self.evaluations,
            kept: names.zip(judged.into_iter().flatten()).collect(),
            seconds: self.seconds,
            rows_per_second: if self.seconds > 0.0 { self.rows as f64 / self.seconds } else { 0.0 },
            parameters: self.learner.parameters(),
            memory: self.learner.memory,
            interrupted,
            sent: 0,
        }
    }

    /// Asks whether it is to stop, and by rank 0's clock whether a checkpoint is due; over several ranks, whether any of them was asked to stop.
    fn listen(&mut self) {
        let stop = self.learner.stop.is_set();
        let is_time = self.checkpoints.as_mut().is_some_and(|checkpoints| checkpoints.clock().is_due_by_time());
        let ranks = &self.learner.ranks;
        let all = match ranks.is_several() {
            true => ranks.gather_all(&[u8::from(stop), u8::from(is_time)]),
            false => vec![vec![u8::from(stop), u8::from(is_time)]],
        };
        self.stopped = all.iter().any(|of_rank| of_rank[0] == 1);
        self.is_time |= all[0][1] == 1;
    }

    fn state(&self) -> &TrainState<C::Model> {
        self.state.as_ref().expect("a step takes the state and puts it back")
    }

    fn tasks(&self) -> &[Task] {
        &self.learner.dataset.schema().tasks
    }

    /// Now.
    fn moment(&self) -> Moment {
        let an_epoch = self.learner.config.steps_an_epoch(self.learner.dataset).max(1);
        Moment { steps: self.steps, epoch: self.epoch, at: self.steps as f64 / an_epoch as f64 }
    }

    /// One pass over the training rows, or what early stopping and the stop flag leave of it.
    fn run_epoch(&mut self) -> Result<Verdict> {
        let begins = self.taken == 0;
        self.epoch += usize::from(begins);
        let Learner { dataset, config, progress, spec, ranks, .. } = self.learner;
        let plan = BatchPlan { size: config.batch_size, shuffle: Some((config.seed, self.epoch as u64)) };
        if config.table_restart && self.epoch > 1 && begins {
            let seed = config.seed.wrapping_add((self.epoch as u64) << 32); // other numbers in every epoch
            let state = self.state.as_mut().expect("a step takes the state and puts it back");
            if let Some(checkpoints) = &mut self.checkpoints {
                checkpoints.before(Change::All, &mut state.large_mut());
            }
            state.restart_table(dataset.schema(), config.embedding_std, seed);
        }
        let total = dataset.rows_kept(Split::Train, config.kept_negatives());
        let bar = progress.rows(format!("{} epoch {}/{}", spec.name(), self.epoch, config.epochs), total);
        let (an_epoch, planned) = (config.steps_an_epoch(dataset), config.planned_steps(dataset));
        bar.advance((self.taken * config.batch_size).min(total));
        let mut begun = Instant::now();
        let whole_groups = config.criterion(dataset.schema())?.is_of_groups();
        let part = ranks.is_several().then(|| (ranks.rank(), ranks.ranks()));
        let rows = EpochRows { keep: config.kept_negatives(), whole_groups, part };
        let mut batches = dataset.batches_of(Split::Train, plan, self.taken, rows);
        let mut next = self.next_of(&mut batches, total, 0)?;
        let mut questions = None; // of the first batch nothing has travelled yet
        while let Some((batch, whole)) = next {
            next = self.next_of(&mut batches, total, 1)?;
            questions = self.step(&batch, questions, next.as_ref().map(|(batch, _)| batch), whole, &bar)?;
            self.taken += 1;
            let is_due = config.evaluate_every.is_due(self.steps, an_epoch, planned);
            let (steps, keeper) = (self.steps, &mut self.keeper);
            self.checkpoints.as_mut().map_or(Ok(()), |checkpoints| checkpoints.look(keeper))?;
            if !ranks.is_several() || is_due || steps.is_multiple_of(STEPS_A_LISTEN) {
                self.listen();
            }
            let is_stopped = self.stopped;
            let is_time = self.is_time || is_stopped;
            let is_saved = self.checkpoints.as_mut().is_some_and(|own| is_time || own.clock().is_due_by_steps(steps));
            if !is_due && !is_saved && !is_stopped {
                continue;
            }
            self.seconds += begun.elapsed().as_secs_f64();
            self.read_losses()?;
            if is_due && (!is_stopped || is_saved) && self.evaluate()? == Verdict::Stop {
                return Ok(Verdict::Stop);
            }
            self.listen();
            let is_stopped = self.stopped; // now, or while it was measured
            if is_saved || is_stopped {
                self.checkpoint()?;
            }
            if is_stopped {
                // A stretch cut short is judged only where there is no better-known state.
                return if self.keeper.is_empty() { self.evaluate().map(|_| Verdict::Stop) } else { Ok(Verdict::Stop) };
            }
            begun = Instant::now();
        }
        self.seconds += begun.elapsed().as_secs_f64();
        self.taken = 0;
        Ok(Verdict::Better)
    }

    /// The next batch of an epoch of `total` rows, as it is shown after `ahead` more steps, and how many rows of all ranks it has.
    fn next_of(&self, batches: &mut Batches, total: usize, ahead: usize) -> Result<Option<(Batch, usize)>> {
        let Learner { dataset, config, ranks, .. } = self.learner;
        let Some(mut batch) = batches.next() else { return Ok(None) };
        batch.check(dataset.schema())?;
        let rows = config.batch_size.min(total - (self.taken + ahead) * config.batch_size);
        if let Some(unseen) = &self.unseen {
            let first = part_of(rows, ranks.rank(), ranks.ranks()).start;
            unseen.show(&mut batch, first, seed_of_step(config.seed, self.steps + ahead + 1));
        }
        Ok(Some((batch, rows)))
    }

    /// A step on a batch of so many `rows` of all ranks, which have asked each other about it, or do so now. Over several ranks, what they ask about the `next` batch
    /// travels meanwhile, and is given.
    fn step(
        &mut self,
        batch: &Batch,
        questions: Option<Questions>,
        next: Option<&Batch>,
        rows: usize,
        bar: &Bar,
    ) -> Result<Option<Questions>> {
        let gathered = match questions {
            Some(questions) => self.state().gather_asked(batch, questions),
            None => self.state().gather(batch),
        };
        let (questions, done) = match next.and_then(|next| self.state().question(next)) {
            Some(question) => {
                let (ranks, mut done) = (&self.learner.ranks, Ok(None));
                let questions = question.ask_while(ranks, || done = self.update(batch, gathered));
                (Some(questions), done)
            }
            None => (None, self.update(batch, gathered)),
        };
        let seen = done?;
        self.rows += rows;
        bar.advance(rows);
        seen.into_iter().for_each(|loss| bar.say(format!("loss {loss:.4}")));
        Ok(questions)
    }

    /// Forward, backward, update, on a batch whose rows are there. Gives its loss, where that is known.
    fn update(&mut self, batch: &Batch, gathered: Gathered) -> Result<Option<f64>> {
        let rate = self.schedule.rate(self.steps);
        self.steps += 1;
        let seed = self.learner.config.seed.wrapping_add((self.learner.ranks.rank() as u64) << 40); // of its own rows
        seed_dropout(seed_of_step(seed, self.steps));
        let mut state = self.state.take().expect("a step takes the state and puts it back");
        let (losses, mut gradients) = self.balance.differentiate(&state, gathered, &self.objective);
        let seen = self.losses.add(losses);
        if let Some(broken) = self.losses.broken() {
            let whole = state.table.rows().is_on_host() && state.shard().is_none(); // else the loss is read steps later
            self.state = Some(state);
            return Err(self.not_finite(broken, whole)?);
        }
        if let Some(prior) = &mut self.prior {
            prior.step(&state, batch, &self.objective.task_weights, &mut gradients);
        }
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.before(state.change(&gradients), &mut state.large_mut());
        }
        let mut state = state.apply(gradients, rate, self.learner.config.max_gradient_norm);
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.give_some(&mut state.large_mut());
        }
        self.state = Some(state);
        Ok(seen)
    }

    fn read_losses(&mut self) -> Result<()> {
        self.losses.read();
        match self.losses.broken() {
            Some(broken) => Err(self.not_finite(broken, false)?),
            None => Ok(()),
        }
    }
}

/// Removes what a training that has ended went on from, in this order: a checkpoint is never without the weights that it knows of. A checkpoint
/// that was kept goes where none is asked for.
pub(crate) fn clear<C: ModelSpec>(learner: &Learner<'_, C>) -> Result<()> {
    checkpoint::clear(&learner.work)?;
    keep::remove_others(&learner.work, &[])?;
    if !learner.config.keep_checkpoint {
        start::remove_kept(&learner.work)?;
    }
    Ok(())
}

/// Gives the buffers of fused ops back when a training ends, with or without an error.
struct ReleaseMemory;

impl Drop for ReleaseMemory {
    fn drop(&mut self) {
        fused::release_memory();
    }
}

/// Steps after which ranks ask each other whether to stop.
const STEPS_A_LISTEN: usize = 16;

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

/// The learned prior, if a configuration asks for one.
fn learned_prior<C: ModelSpec>(learner: &Learner<'_, C>) -> Result<Option<LearnedPrior>> {
    let Learner { dataset, config, spec, .. } = learner;
    let PriorConfig::Learned { tied, deviation, correlation } = config.prior() else { return Ok(None) };
    let widths = spec.widths(dataset.schema());
    let batches = dataset.batches(Split::Train, BatchPlan { size: 1 << 14, shuffle: None });
    let counts = as_shown(RowCounts::of(dataset.schema(), batches)?, config.unseen, dataset.schema());
    let counts = match GivenRows::of(dataset, config) {
        Some(given) => counts.without(|row| given.is_frozen(row)), // nothing is learned of rows that are not
        None => counts,
    };
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
