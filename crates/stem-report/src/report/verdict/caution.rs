//! What a reader has to know beside the verdict, and what keeps one from being given.

use super::{Verdict, gained};
use crate::report::judge::{ModelOnTask, SEEDS, Transfer};
use crate::report::number::{list, spread, things};

/// An AUC below this has learned nothing.
const LEARNED: f64 = 0.51;

/// What keeps a model that is not shipped from being a gain.
pub(super) fn missing(model: &ModelOnTask<'_>) -> String {
    let seeds = model.by_seed.len();
    let gains = model.by_seed.iter().filter(|difference| **difference > 0.0).count();
    if !model.gains_by_interval() && model.call() == Some(Transfer::Positive) {
        "it ranks no better than guessing".into()
    } else if !model.gains_by_interval() && model.gains_with_every_seed() {
        let by_seed: Vec<String> = model.by_seed.iter().map(|difference| gained(model.metric, *difference)).collect();
        let seeds = if seeds <= 3 { format!(" ({})", list(&by_seed)) } else { String::new() };
        format!(
            "its interval over users and seeds holds zero, though each seed gains{seeds}: more seeds or users would tell"
        )
    } else if !model.gains_by_interval() {
        "its interval is not above zero".into()
    } else if seeds < SEEDS {
        let which = if seeds == 0 { "without the same seeds for both there is" } else { "one seed is" };
        format!("{which} no evidence against the luck of training: compare with {SEEDS} or more")
    } else {
        format!("with {gains} of {seeds} seeds only: more of them would tell")
    }
}

/// Why a gain may be none: what it is measured against knows nothing.
pub(super) fn learned_nothing(reference: &ModelOnTask<'_>) -> Option<String> {
    let auc = reference.auc.filter(|auc| auc.mean < LEARNED)?;
    let (name, auc) = (&reference.model.name, spread(auc));
    Some(format!("But {name} has learned nothing (AUC {auc}): better than that is not good."))
}

/// Where models were put in order, if it was not where they are measured.
pub(super) fn where_chosen(model: &ModelOnTask<'_>) -> &'static str {
    if model.validated { " on the validation split" } else { "" }
}

/// By what the model was chosen, where there was something to choose from and a split to choose on; `tied` begins with it.
pub(super) fn chosen(tied: &[ModelOnTask<'_>], of: usize) -> Option<String> {
    let ship = tied.first().filter(|ship| of > 1 && ship.validated)?;
    let (metric, valid) = (ship.metric.name(), spread(ship.choice));
    let how = match tied.len() {
        1 => format!("It was chosen on the validation split ({metric} {valid} there)"),
        _ => {
            format!("Models were put in order on the validation split ({metric} {valid} of {} there)", ship.model.name)
        }
    };
    Some(format!("{how}, and the test split only tells what is gained."))
}

/// How much of a difference is that every task was stopped at its own best.
pub(super) fn stopping(model: &ModelOnTask<'_>, reference: &ModelOnTask<'_>) -> Option<String> {
    let [kept, at_one] = model.with_one_stopping_point(reference)?.map(|difference| gained(model.metric, difference));
    let name = &model.model.name;
    (at_one != kept).then(|| {
        format!(
            "Stopping has a part in it: {name} keeps the best weights of each task; with one stopping point for all tasks it would \
             be {at_one} instead of {kept}."
        )
    })
}

/// The sentence about models whose epochs ran out; `None` if there are none.
pub(super) fn more_epochs(models: &[&ModelOnTask<'_>]) -> Option<String> {
    let ran_out = |c: &&&ModelOnTask<'_>| c.ran_out > 0;
    let names: Vec<String> = models.iter().filter(ran_out).map(|c| which(c)).collect();
    (!names.is_empty())
        .then(|| format!("Epochs ran out while {} still got better: more of them may change this.", list(&names)))
}

/// A model and how many of its trainings ran out of epochs.
fn which(model: &ModelOnTask<'_>) -> String {
    let runs = model.model.learning.len() as u64;
    format!("{} ({} of {})", model.model.name, model.ran_out, things(runs, "seed", "seeds"))
}

/// The verdict, or that there is none yet, if one of the models it rests on had too few epochs.
pub(super) fn unless_epochs_ran_out(found: Verdict, models: &[&ModelOnTask<'_>]) -> Verdict {
    let cut_short: Vec<String> = models.iter().filter(|c| c.ran_out > 0).map(|c| which(c)).collect();
    if cut_short.is_empty() {
        return found;
    }
    let why = format!("epochs ran out while {} still got better: give more epochs.", list(&cut_short));
    let so_far = format!(
        "So far it would be to {}: {}",
        lower_first(&found.headline),
        found.reasons.first().map_or("", String::as_str)
    );
    let reasons = [why, so_far].into_iter().chain(found.reasons.into_iter().skip(1)).collect();
    let headline = format!("No verdict yet for {}", found.task);
    Verdict { task: found.task, headline, reasons, more_epochs: true, ..Verdict::default() }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
