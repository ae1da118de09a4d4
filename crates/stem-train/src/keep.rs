//! Which weights of a training are kept: those of the moment that was best, for every task or for all together.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stem_core::files::{self, FileError};
use stem_core::models::ModelSpec;
use stem_core::{Bundle, bundle};

use crate::early_stop::{EarlyStop, Verdict};
use crate::error::Result;

/// Name of the bundle in a training's folder.
pub const BUNDLE: &str = "bundle.safetensors";
/// Name of a bundle of the moment that is best for all tasks together, beside one of several states.
pub const JOINT: &str = "joint.safetensors";

/// When weights were taken.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Moment {
    /// Steps since the start.
    pub steps: usize,
    /// The epoch it lies in, counted from 1.
    pub epoch: usize,
    /// Epochs since the start, 1.5 in the middle of the second.
    pub at: f64,
}

/// The evaluations of a training so far.
pub(crate) struct Keeper {
    folder: PathBuf,
    tasks: Vec<String>,
    /// One for each task, or one for all.
    judges: Vec<Judge>,
    /// The best moment of all tasks together, where that is wanted beside those of each.
    joint: Option<Judge>,
    /// Moments that checkpoints know of: their weights stay as long as the checkpoints do.
    pinned: Vec<Moment>,
}

/// What a keeper decided so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeeperState {
    judges: Vec<Judge>,
    joint: Option<Judge>,
}

impl KeeperState {
    fn moments(&self) -> Vec<Moment> {
        best_of(&self.judges, self.joint.as_ref())
    }

    /// Where the weights are that it names.
    pub(crate) fn weights(&self, folder: &Path) -> Vec<PathBuf> {
        self.moments().into_iter().map(|moment| weights_of(folder, moment)).collect()
    }
}

/// All moments that are somebody's best, by steps.
fn best_of(judges: &[Judge], joint: Option<&Judge>) -> Vec<Moment> {
    distinct(judges.iter().chain(joint).filter_map(|judge| judge.best))
}

fn weights_of(folder: &Path, moment: Moment) -> PathBuf {
    folder.join(format!("weights-{}.safetensors", moment.steps))
}

/// Decides for one task, or for all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Judge {
    stop: EarlyStop,
    best: Option<Moment>,
}

impl Judge {
    fn judge(&mut self, value: Option<f64>, moment: Moment) -> Verdict {
        let verdict = self.stop.judge(value);
        if verdict == Verdict::Better {
            self.best = Some(moment);
        }
        verdict
    }
}

/// What an evaluation came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    /// Places of the tasks whose best moment this is.
    pub(crate) best_of: Vec<usize>,
    /// Whether these weights are to be saved.
    pub(crate) keep: bool,
    /// Evaluations in a row in which no task became better that has not been settled.
    pub(crate) since: usize,
}

impl Keeper {
    /// For tasks that each keep their own best moment, or `jointly` one; `with_joint` that of all beside them.
    pub(crate) fn new(folder: &Path, tasks: Vec<String>, patience: usize, jointly: bool, with_joint: bool) -> Self {
        let judge = Judge { stop: EarlyStop::new(patience), best: None };
        let judges = vec![judge.clone(); if jointly { 1 } else { tasks.len() }];
        let joint = (with_joint && !jointly).then_some(judge);
        Self { folder: folder.into(), tasks, judges, joint, pinned: Vec::new() }
    }

    /// Takes the next evaluation: what was monitored of each task, more being better, and the mean of all. A task whose own metric is
    /// undefined goes by the mean.
    pub(crate) fn judge(&mut self, of_tasks: &[Option<f64>], mean: Option<f64>, moment: Moment) -> Judged {
        let is_joint = self.judges.len() == 1;
        let of = |place: usize| if is_joint { mean } else { of_tasks[place].or(mean) };
        let verdicts = self.judges.iter_mut().enumerate().map(|(place, judge)| judge.judge(of(place), moment));
        let verdicts: Vec<Verdict> = verdicts.collect();
        let best_of = (0..self.tasks.len()).filter(|task| verdicts[task % verdicts.len()] == Verdict::Better).collect();
        let joint = self.joint.as_mut().map(|judge| judge.judge(mean, moment));
        let verdict = match () {
            () if verdicts.contains(&Verdict::Better) => Verdict::Better,
            () if verdicts.iter().all(|verdict| *verdict == Verdict::Stop) => Verdict::Stop,
            () => Verdict::Worse,
        };
        let keep = [Some(verdict), joint].contains(&Some(Verdict::Better));
        let since = self.judges.iter().filter_map(|judge| judge.stop.since()).min().unwrap_or(0);
        Judged { verdict, best_of, keep, since }
    }

    /// Whether there are no weights yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.judges.iter().all(|judge| judge.best.is_none())
    }

    /// The last moment whose weights are kept.
    pub(crate) fn last(&self) -> Option<Moment> {
        self.judges.iter().filter_map(|judge| judge.best).max_by_key(|moment| moment.steps)
    }

    /// The moment of each task.
    pub(crate) fn moments(&self) -> Vec<Option<Moment>> {
        (0..self.tasks.len()).map(|task| self.judges[task % self.judges.len()].best).collect()
    }

    /// Where the weights of a moment are, until the training ends.
    pub(crate) fn path(&self, moment: Moment) -> PathBuf {
        weights_of(&self.folder, moment)
    }

    /// Removes the weights of moments that are nobody's best any longer; `before` were.
    pub(crate) fn clean(&self, before: &[Moment]) -> Result<(), FileError> {
        let kept = self.all();
        before
            .iter()
            .filter(|moment| !kept.contains(moment) && !self.pinned.contains(moment))
            .try_for_each(|moment| files::remove_file(&self.path(*moment)))
    }

    /// What was decided so far, for a checkpoint.
    pub(crate) fn state(&self) -> KeeperState {
        KeeperState { judges: self.judges.clone(), joint: self.joint.clone() }
    }

    /// Goes on from there. Weights that none of these checkpoints knows of are removed.
    pub(crate) fn restore<'s>(
        &mut self,
        state: KeeperState,
        checkpoints: impl Iterator<Item = &'s KeeperState>,
    ) -> Result<(), FileError> {
        let own = state.moments();
        self.pinned = distinct(checkpoints.flat_map(KeeperState::moments).chain(own));
        self.take(state);
        remove_others(&self.folder, &self.pinned)
    }

    /// The same where another process has the files.
    pub(crate) fn take(&mut self, state: KeeperState) {
        let KeeperState { judges, joint } = state;
        (self.judges, self.joint) = (judges, joint);
    }

    /// The weights that these checkpoints know of stay; those that only older ones knew of go.
    pub(crate) fn pin<'s>(&mut self, checkpoints: impl Iterator<Item = &'s KeeperState>) -> Result<(), FileError> {
        let before = std::mem::take(&mut self.pinned);
        self.pinned = distinct(checkpoints.flat_map(KeeperState::moments));
        let before: Vec<Moment> = before.into_iter().filter(|moment| !self.pinned.contains(moment)).collect();
        self.clean(&before)
    }

    /// All moments that are somebody's best, by steps.
    pub(crate) fn all(&self) -> Vec<Moment> {
        best_of(&self.judges, self.joint.as_ref())
    }

    /// Makes one bundle of all that is kept, and removes the parts. Beside one of several states the joint best, if that was wanted,
    /// is left in a bundle of its own.
    /// The parts stay where checkpoints may be gone on from.
    pub(crate) fn finish<C: ModelSpec>(&self, seed: u64, parts_stay: bool) -> Result<()> {
        let of_tasks = self.moments();
        let moments = distinct(of_tasks.iter().flatten().copied());
        let joint = self.folder.join(JOINT);
        if joint.exists() {
            files::remove_file(&joint)?; // of a training that was stopped, which this one goes on
        }
        if let Some(joint) = self.joint.as_ref().and_then(|judge| judge.best).filter(|_| moments.len() > 1) {
            copy(&self.path(joint), &self.folder.join(JOINT))?;
        }
        let out = self.folder.join(BUNDLE);
        match moments[..] {
            [] => {}
            [moment] if parts_stay => copy(&self.path(moment), &out)?,
            [moment] => rename(&self.path(moment), &out)?,
            _ => {
                let (mut parts, mut said) = (Vec::new(), Vec::<Value>::new());
                for moment in &moments {
                    let own = self.tasks.iter().zip(&of_tasks).filter(|(_, best)| **best == Some(*moment));
                    let own: Vec<String> = own.map(|(task, _)| task.clone()).collect();
                    let part = Bundle::<C>::open(self.path(*moment))?;
                    let mut training = part.manifest.training.clone();
                    training["tasks"] = json!(own);
                    said.push(training);
                    parts.push((part, own));
                }
                bundle::combine(&out, &parts, &json!({ "seed": seed, "states": said }))?;
            }
        }
        if parts_stay {
            return Ok(());
        }
        Ok(remove_others(&self.folder, &[])?)
    }
}

/// Removes from a training's folder the weights of all moments but these.
pub(crate) fn remove_others(folder: &Path, kept: &[Moment]) -> Result<(), FileError> {
    for entry in std::fs::read_dir(folder).map_err(FileError::of("read", folder))? {
        let path = entry.map_err(FileError::of("read", folder))?.path();
        let is_weights = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"weights-"));
        if is_weights && !kept.iter().any(|moment| weights_of(folder, *moment) == path) {
            files::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Each moment once, by steps.
fn distinct(moments: impl Iterator<Item = Moment>) -> Vec<Moment> {
    let mut moments: Vec<Moment> = moments.collect();
    moments.sort_by_key(|moment| moment.steps);
    moments.dedup();
    moments
}

fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    std::fs::rename(from, to).map_err(FileError::of("move into place", from))
}

fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    std::fs::copy(from, to).map(|_| ()).map_err(FileError::of("copy", from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(patience: usize, jointly: bool, with_joint: bool) -> Keeper {
        Keeper::new(Path::new("out"), vec!["a".into(), "b".into()], patience, jointly, with_joint)
    }

    fn moment(steps: usize) -> Moment {
        Moment { steps, epoch: steps, at: steps as f64 }
    }

    /// Curves of `a`, which falls after its second evaluation, and of `b`, which rises until its fourth.
    const CURVES: [[f64; 2]; 6] = [[0.6, 0.5], [0.7, 0.55], [0.65, 0.6], [0.6, 0.7], [0.9, 0.65], [0.55, 0.6]];

    fn run(keeper: &mut Keeper) -> Vec<Judged> {
        let mut judged: Vec<Judged> = Vec::new();
        for (place, [a, b]) in CURVES.into_iter().enumerate() {
            judged.push(keeper.judge(&[Some(a), Some(b)], Some((a + b) / 2.0), moment(place + 1)));
            if judged[place].verdict == Verdict::Stop {
                break;
            }
        }
        judged
    }

    #[test]
    fn each_task_keeps_its_own_best_moment_and_is_settled_after_its_own_patience() {
        let mut keeper = keeper(2, false, false);
        let judged = run(&mut keeper);
        let best_of: Vec<&[usize]> = judged.iter().map(|judged| &judged.best_of[..]).collect();
        assert_eq!(best_of, [&[0, 1][..], &[0, 1], &[1], &[1], &[], &[]], "0.9 comes after a was settled");
        assert_eq!(keeper.moments(), [Some(moment(2)), Some(moment(4))]);
        assert_eq!(keeper.all(), [moment(2), moment(4)]);
        assert_eq!(judged.len(), 6, "it stops when b is settled too");
        let since: Vec<usize> = judged.iter().map(|judged| judged.since).collect();
        assert_eq!(since, [0, 0, 0, 0, 1, 0], "of a, which is settled, nothing is waited for");
        assert_eq!(keeper.last(), Some(moment(4)));
    }

    #[test]
    fn jointly_the_mean_decides_for_all() {
        let mut keeper = keeper(3, true, true);
        run(&mut keeper);
        assert_eq!(keeper.moments(), [Some(moment(5)); 2]);
        assert_eq!(keeper.all(), [moment(5)]);
    }

    #[test]
    fn beside_the_moments_of_tasks_that_of_all_is_kept_where_it_is_wanted() {
        let mut keeper = keeper(2, false, true);
        let judged = run(&mut keeper);
        assert_eq!(keeper.all(), [moment(2), moment(4), moment(5)]);
        assert!(judged[4].keep && judged[4].best_of.is_empty() && !judged[5].keep);
    }

    #[test]
    fn a_task_that_cannot_be_measured_goes_by_the_others() {
        let mut keeper = keeper(2, false, false);
        for (steps, a) in [(1, 0.6), (2, 0.7), (3, 0.65)] {
            keeper.judge(&[Some(a), None], Some(a), moment(steps));
        }
        assert_eq!(keeper.moments(), [Some(moment(2)); 2]);
    }
}
