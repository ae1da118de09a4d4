//! A training's checkpoints: written between two steps, gone on from later.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use stem_core::models::{Model, ModelSpec};
use stem_core::{Bundle, with_causes};

use super::Training;
use crate::checkpoint::{self, Base, Dealt, Head, Place, Plan, Said, Source};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::log::RunLog;
use crate::prior::LearnedPrior;
use crate::ranks::{Team, as_first, sum_few};
use crate::step::TrainState;

impl<'l, C: ModelSpec> Training<'l, C> {
    /// Goes on from the last checkpoint of the folder; starts where there is none. Over several ranks rank 0 reads, and sends each its own.
    pub(crate) fn go_on(learner: &'l Learner<'l, C>, mut state: TrainState<C::Model>) -> Result<Self> {
        if !learner.ranks.is_first() {
            let Some(place) = taken(&learner.ranks, &mut state)? else { return Self::new(learner, state) };
            let mut training = Self::with_log(learner, state, None)?;
            training.keeper.take(place.keeper.clone());
            return training.at(place, &learner.work);
        }
        let settings = learner.settings();
        let fault = |path: &Path| Bundle::<C>::open(path).err().map(|error| error.to_string());
        let found = checkpoint::newest(&learner.work, &settings, fault, |checkpoint| match state.shard().cloned() {
            None => state.restore(checkpoint),
            Some(shard) => {
                let head = Head::of(checkpoint);
                learner.ranks.from_first(|| Said::Looking(head.clone().into()));
                state.restore(&Dealt { shard: &shard, head, chain: Some(checkpoint) })
            }
        });
        learner.ranks.from_first(|| match &found {
            Ok(Some(_)) => Said::Taken,
            Ok(None) => Said::Nothing,
            Err(error) => Said::Failed(with_causes(error)),
        });
        let Some(checkpoint) = found? else {
            tracing::info!("{}: no checkpoint to go on from: the training begins", learner.work.display());
            return Self::new(learner, state);
        };
        let (place, path) = (checkpoint.place().clone(), checkpoint.path());
        let (rows, on_top) = place.base.as_ref().map_or((0, 0), |base| (base.rows, base.on_top));
        let base = Base { steps: place.steps, checksum: checkpoint.checksum().into(), rows, on_top };
        let log = RunLog::go_on(&learner.work, place.log)?;
        let mut training = Self::with_log(learner, state, Some(log))?;
        let known = checkpoint::known(&learner.work)?;
        training.keeper.restore(place.keeper.clone(), known.iter().map(|(_, state)| state))?;
        training.checkpoints.iter_mut().for_each(|checkpoints| checkpoints.go_on(base.clone(), known.clone()));
        tracing::info!("going on from step {} (epoch {}), {}", place.steps, place.epoch, path.display());
        training.at(place, path)
    }

    /// The training at the place of a checkpoint, weights and optimizer, which it has, apart.
    fn at(mut self, place: Place, path: &Path) -> Result<Self> {
        let unfit = |what: String| Error::Checkpoint { path: path.to_path_buf(), what };
        let training = &mut self;
        training.schedule.restore(place.rate);
        training.losses.restore(place.losses);
        training.balance.restore(&place.balance, &training.learner.device);
        if let (Some(prior), Some(state)) = (&mut training.prior, place.prior)
            && !prior.restore(state)
        {
            return Err(unfit("its prior is of other sizes".into()));
        }
        (training.steps, training.epoch, training.taken) = (place.steps, place.epoch, place.taken);
        (training.evaluations, training.rows, training.seconds) = (place.evaluations, place.rows, place.seconds);
        Ok(self)
    }

    /// Where it is; `table_steps` and `network_steps` are the optimizer's.
    pub(super) fn place(&self, table_steps: i32, network_steps: BTreeMap<String, i32>) -> Result<Place> {
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
            log: self.log.as_ref().map_or(Ok(0), RunLog::bytes)?,
            table_steps,
            network_steps,
        })
    }

    /// Writes all that the next step depends on; what of it is large, beside the steps that follow.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        let _span = tracing::trace_span!("checkpoint").entered();
        self.losses.read(); // nothing of it is left on a device
        let begun = Instant::now();
        let Some(mut checkpoints) = self.checkpoints.take() else { return Ok(()) };
        self.is_time = false;
        let ranks = &self.learner.ranks;
        let state = self.state.as_mut().expect("a step takes the state and puts it back");
        checkpoints.give_all(&mut state.large_mut());
        as_first(ranks, checkpoints.wait(&mut self.keeper))?; // the one before
        let whole = state.shard().map_or(state.table.rows().dims()[0], |shard| shard.whole());
        let bytes = 4 * state.row_floats();
        let mut count = [checkpoints.changed() as f64];
        sum_few(&**ranks, &mut count);
        let count = count[0] as usize; // it is exact
        let plan = ranks.from_first(|| checkpoints.plan(count, whole, bytes, ranks.is_several()));
        let state = self.state.as_ref().expect("a step takes the state and puts it back");
        let (matrices, table_steps, network_steps) = state.matrices();
        let place = self.place(table_steps, network_steps)?;
        let of_rows = if plan == Plan::OnTop { format!("{count} rows") } else { "all rows".to_string() };
        as_first(ranks, checkpoints.write(place, &matrices, plan, count, &mut self.keeper))?;
        drop(matrices);
        let state = self.state.as_mut().expect("a step takes the state and puts it back");
        checkpoints.give_some(&mut state.large_mut());
        let seconds = begun.elapsed().as_secs_f64();
        tracing::debug!("checkpoint of step {}: {of_rows}, {seconds:.3} s between the steps", self.steps);
        self.checkpoints = Some(checkpoints);
        Ok(())
    }
}

/// On another rank than 0: where the checkpoint is that rank 0 takes, whose rows that live here are in `state` then; `None` where there is none.
fn taken<M: Model>(ranks: &Team, state: &mut TrainState<M>) -> Result<Option<Place>> {
    let unfit = |what: String| Error::Checkpoint { path: "the checkpoint of rank 0".into(), what };
    let mut last = Err("it was taken and not sent".to_string());
    loop {
        match ranks.from_first(Said::default) {
            Said::Looking(head) => {
                let shard = state.shard().cloned().expect("another rank has a part of the table");
                let dealt = Dealt { shard: &shard, head: *head, chain: None };
                last = state.restore(&dealt).map(|()| dealt.place().clone()).map_err(|why| why.to_string());
            }
            Said::Taken => return last.map(Some).map_err(unfit),
            Said::Nothing => return Ok(None),
            Said::Failed(of_first) => return Err(Error::First(of_first)),
        }
    }
}
