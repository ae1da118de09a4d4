//! A training's checkpoints: written between two steps, gone on from later.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use stem_core::Bundle;
use stem_core::models::ModelSpec;

use super::Training;
use crate::checkpoint::{self, Base, Place};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::log::RunLog;
use crate::prior::LearnedPrior;
use crate::step::TrainState;

impl<'l, C: ModelSpec> Training<'l, C> {
    /// Goes on from the last checkpoint of the folder; starts where there is none.
    pub(crate) fn go_on(learner: &'l Learner<'l, C>, mut state: TrainState<C::Model>) -> Result<Self> {
        let settings = learner.settings();
        let fault = |path: &Path| Bundle::<C>::open(path).err().map(|error| error.to_string());
        let found = checkpoint::newest(&learner.work, &settings, fault, |checkpoint| state.restore(checkpoint))?;
        let Some(checkpoint) = found else {
            tracing::info!("{}: no checkpoint to go on from: the training begins", learner.work.display());
            return Self::new(learner, state);
        };
        let (place, path) = (checkpoint.place().clone(), checkpoint.path());
        let (rows, on_top) = place.base.as_ref().map_or((0, 0), |base| (base.rows, base.on_top));
        let base = Base { steps: place.steps, checksum: checkpoint.checksum().into(), rows, on_top };
        let unfit = |what: String| Error::Checkpoint { path: path.to_path_buf(), what };
        let log = RunLog::go_on(&learner.work, place.log)?;
        let mut training = Self::with_log(learner, state, Some(log))?;
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
        checkpoints.wait(&mut self.keeper)?; // the one before
        let changed = self.state.as_mut().and_then(TrainState::changed_rows);
        let rows = changed.and_then(|changed| changed.take(checkpoints.most_rows(changed.rows())));
        let state = self.state.as_ref().expect("a step takes the state and puts it back");
        let (matrices, table_steps, network_steps) = state.matrices();
        let place = self.place(table_steps, network_steps)?;
        let of_rows = rows.as_ref().map_or("all rows".to_string(), |rows| format!("{} rows", rows.len()));
        checkpoints.write(place, &matrices, rows.as_deref(), &mut self.keeper)?;
        let seconds = begun.elapsed().as_secs_f64();
        tracing::debug!("checkpoint of step {}: {of_rows}, {seconds:.3} s between the steps", self.steps);
        self.checkpoints = Some(checkpoints);
        Ok(())
    }
}
