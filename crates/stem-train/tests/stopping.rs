//! A stop that is asked for in the middle of a training leaves weights, log and summary that fit each other.
#![allow(clippy::unwrap_used)]

mod common;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Once;

use common::by_hand::*;
use common::*;
use stem_core::{ModelConfig, ModelName};
use stem_data::{Dataset, Split};
use stem_train::{FitSummary, Objective, StopFlag, TrainConfig};
use tracing::span;

thread_local! {
    /// The stop that this thread's training is asked for: how many forward passes are yet to begin until then.
    static ASKED: RefCell<Option<(StopFlag, usize)>> = const { RefCell::new(None) };
}

/// Asks for a stop when a forward pass begins, as somebody with Ctrl-C may.
///
/// It is the one subscriber of this program, there before any training: one for each test would race with the other tests over
/// which spans are of interest to anybody.
struct StopInStep;

impl tracing::Subscriber for StopInStep {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        if attributes.metadata().name() == "forward" {
            ASKED.with_borrow_mut(|asked| {
                if let Some((stop, left)) = asked {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        stop.stop();
                    }
                }
            });
        }
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Trains and asks for a stop in the middle of step `step`, counted from 1; before the first step where it is 0.
fn fit_and_stop_at(
    step: usize,
    model: &ModelConfig,
    dataset: &Dataset,
    config: &TrainConfig,
    out: &Path,
) -> FitSummary {
    static SUBSCRIBE: Once = Once::new();
    SUBSCRIBE.call_once(|| tracing::subscriber::set_global_default(StopInStep).unwrap());
    let stop = StopFlag::default();
    assert!(!stop.is_set());
    if step == 0 {
        stop.stop();
    }
    ASKED.set(Some((stop.clone(), step)));
    let summary = learner(model, dataset, config, out.to_path_buf()).with_stop(stop).fit().unwrap();
    ASKED.set(None);
    summary
}

#[test]
fn a_stop_within_the_first_epoch_finishes_its_step_and_leaves_those_weights() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let (model, config, out) = (small(ModelName::SharedBottom), plain(), folder.path().join("out"));
    let summary = fit_and_stop_at(2, &model, &dataset, &config, &out);
    assert!(summary.interrupted && summary.epochs == 1 && summary.best_epoch == 1);
    let log = log_of(&out);
    assert_eq!((log.len(), &log[0]["steps"]), (1, &2.into()));
    let by_hand = ByHand { spec: &model, dataset: &dataset, config: &config, objective: Objective::plain(2) };
    let (expected, _) = by_hand.steps(&[0.3; 2]);
    assert!(largest_difference(&weights_in(&out.join("bundle.safetensors")), &expected) < 1e-6);
}

#[test]
fn a_stop_within_a_later_epoch_leaves_the_best_epoch_that_was_finished() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let (model, config, out) = (small(ModelName::SharedBottom), plain(), folder.path().join("out"));
    let steps = dataset.rows(Split::Train).div_ceil(500);
    let summary = fit_and_stop_at(steps + 2, &model, &dataset, &config, &out);
    assert!(summary.interrupted && summary.epochs == 2 && summary.best_epoch == 1);
    assert_eq!(log_of(&out).len(), 1, "an epoch cut short is not judged");
    let by_hand = ByHand { spec: &model, dataset: &dataset, config: &config, objective: Objective::plain(2) };
    let (expected, _) = by_hand.steps(&vec![0.3; steps]);
    assert!(largest_difference(&weights_in(&out.join("bundle.safetensors")), &expected) < 1e-6);
}

#[test]
fn a_stop_before_the_first_step_leaves_the_weights_of_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let (model, config, out) = (small(ModelName::SharedBottom), plain(), folder.path().join("out"));
    let summary = fit_and_stop_at(0, &model, &dataset, &config, &out);
    assert!(summary.interrupted && summary.epochs == 0 && summary.best_epoch == 0);
    assert_eq!(summary.rows_per_second, 0.0);
    let by_hand = ByHand { spec: &model, dataset: &dataset, config: &config, objective: Objective::plain(2) };
    assert_eq!(weights_in(&out.join("bundle.safetensors")), by_hand.steps(&[]).0);
    assert!(log_of(&out).is_empty());
}
