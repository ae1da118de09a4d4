//! What to ship, in sentences.

mod users;

use serde::Serialize;

use super::data::{Report, Spread};
use super::judge::{ModelOnTask, SEEDS, Transfer, close, leaders, models_on_task, reference};
use super::number::{count, interval, list, signed, spread, things};

/// An AUC below this has learned nothing.
const LEARNED: f64 = 0.51;

/// The answer for one task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verdict {
    /// The task.
    pub task: String,
    /// The model to ship: of those that cannot be told apart from the best the cheapest that costs comparable users nothing, or
    /// the cheapest. `None` without a comparison.
    pub model: Option<String>,
    /// The models it ties with.
    pub tied: Vec<String>,
    /// What to do.
    pub headline: String,
    /// Why; whole sentences, but the first goes on where the headline ends.
    pub reasons: Vec<String>,
}

/// One answer per task.
pub fn verdicts(report: &Report) -> Vec<Verdict> {
    (0..report.tasks.len()).map(|t| verdict(report, t)).collect()
}

fn verdict(report: &Report, t: usize) -> Verdict {
    let task = report.tasks.get(t).cloned().unwrap_or_default();
    let all = models_on_task(report, t);
    let reference = reference(report).and_then(|index| all.iter().find(|c| c.index == index).cloned());
    match (all.is_empty(), reference) {
        (true, _) => {
            let reasons = vec!["no model has an AUC on it.".into()];
            Verdict { headline: format!("Nothing to say about {task}"), reasons, task, ..Verdict::default() }
        }
        (false, None) if report.models.len() == 1 => single_model(task, t, &all[0]),
        (false, None) => without_reference(task, &all),
        (false, Some(reference)) => against_reference(report, task, &all, &reference),
    }
}

/// One model, and no other in the report.
fn single_model(task: String, t: usize, only: &ModelOnTask<'_>) -> Verdict {
    let numbers = &only.model.tasks[t];
    let named = [("gAUC", &numbers.gauc), ("logloss", &numbers.logloss), ("calibration", &numbers.calibration)];
    let known = |(name, value): (&str, &Option<Spread>)| {
        value.as_ref().filter(|s| s.mean.is_finite()).map(|s| format!("{name} {}", spread(s)))
    };
    let others: Vec<String> = named.into_iter().filter_map(known).collect();
    let headline = format!("{} scores AUC {} on {task}", only.model.name, spread(only.auc));
    let reasons = if others.is_empty() { Vec::new() } else { vec![format!("{}.", list(&others))] };
    Verdict { headline, reasons, task, ..Verdict::default() }
}

/// Without a single-task model.
fn without_reference(task: String, all: &[ModelOnTask<'_>]) -> Verdict {
    let tied = leaders(all, |_| false);
    let [ship, others @ ..] = &tied[..] else { return Verdict { task, ..Verdict::default() } };
    let name = &ship.model.name;
    let nothing = "Without a single-task model on the same rows nothing can be said about whether sharing helps.";
    if all.len() == 1 {
        let headline = format!("{name} scores AUC {} on {task}", spread(ship.auc));
        let reasons = vec!["there is nothing to compare it with.".into(), nothing.into()];
        return Verdict { headline, reasons, task, ..Verdict::default() };
    }
    let mut reasons = vec![format!("AUC {}.", spread(ship.auc))];
    reasons.extend(tie(&tied));
    reasons.push(nothing.into());
    let headline = match others {
        [] => format!("{name} is the best on {task}"),
        _ => format!("A tie on {task}, {name} the cheapest"),
    };
    Verdict { headline, reasons, model: Some(name.clone()), tied: names(others), task }
}

/// Against the single-task model.
fn against_reference(report: &Report, task: String, all: &[ModelOnTask<'_>], reference: &ModelOnTask<'_>) -> Verdict {
    let sharing: Vec<ModelOnTask<'_>> = all.iter().filter(|c| c.index != reference.index).cloned().collect();
    let gaining: Vec<ModelOnTask<'_>> = sharing.iter().filter(|c| c.gains()).cloned().collect();
    let pairs = users::pairs(report, &task);
    // The cheapest of a tie, unless it costs comparable users something that another of the tie does not.
    let tied = leaders(&gaining, |c| users::comparable_lose(&pairs, &c.model.name, &task));
    let against = &reference.model.name;
    let Some(ship) = tied.first() else { return reference_stays(report, task, &sharing, reference) };
    let name = &ship.model.name;

    let change = ship.transfer.map_or_else(String::new, |i| {
        format!(
            "{} AUC against {against} on all users of this test split (95 % interval {} to {}; a gain with each of {} seeds)",
            signed(i.mean),
            signed(i.low),
            signed(i.high),
            ship.by_seed.len()
        )
    });
    let alone = match &pairs[..] {
        [pair] => users::by_stratum(pair, name, &task),
        _ => None,
    };
    let mut reasons = vec![format!("{change}{}.", alone.map_or_else(String::new, |s| format!(", {s}")))];
    if pairs.len() > 1 {
        reasons.extend(users::by_pair(&pairs, name, &task));
    }
    // The one to ship first, then the others that gain.
    let gained: Vec<ModelOnTask<'_>> =
        [ship].into_iter().chain(gaining.iter().filter(|c| c.index != ship.index)).cloned().collect();
    if let Some(losses) = users::who_transfer(&pairs, &gained, &task, Transfer::Negative) {
        reasons.push(format!("Some users lose all the same: {losses}."));
    }
    reasons.extend(doubts(ship, reference));
    reasons.extend(tie(&tied));
    if let Some(higher) = sharing.iter().find(|c| c.auc.mean > gaining[0].auc.mean) {
        let mean = spread(higher.auc);
        reasons.push(format!("{} has a higher mean ({mean}), but {}.", higher.model.name, missing(higher)));
    }
    reasons.push(tally(&sharing, &task));
    let headline = format!("Ship {name} for {task}");
    Verdict { headline, reasons, model: Some(name.clone()), tied: names(&tied[1..]), task }
}

/// Nothing beats the single-task model with evidence.
fn reference_stays(report: &Report, task: String, sharing: &[ModelOnTask<'_>], reference: &ModelOnTask<'_>) -> Verdict {
    let name = &reference.model.name;
    let mut reasons = Vec::new();
    match sharing.first() {
        None => reasons.push(format!("no other model has an AUC on it. Its own is {}.", spread(reference.auc))),
        Some(nearest) => {
            let by = match nearest.transfer {
                Some(i) => interval(&i),
                None => {
                    let difference = signed(nearest.auc.mean - reference.auc.mean);
                    format!("{difference}, of which no interval was measured")
                }
            };
            reasons.push("no model that shares beats it with evidence on this test split.".into());
            reasons.push(format!("The highest of the others, {}, differs by {by}.", nearest.model.name));
            // The one that only seeds are missing for, if there is one; its interval is what a reader sees first.
            reasons.extend(
                sharing
                    .iter()
                    .find(|c| c.gains_over_users())
                    .map(|c| format!("{} is above it by the interval over users, but {}.", c.model.name, missing(c))),
            );
        }
    }
    if let Some(gains) = users::who_transfer(&users::pairs(report, &task), sharing, &task, Transfer::Positive) {
        reasons.push(format!("Some users gain all the same: {gains}."));
    }
    if !sharing.is_empty() {
        reasons.push(tally(sharing, &task));
    }
    Verdict { headline: format!("Ship {name} for {task}"), reasons, model: Some(name.clone()), tied: Vec::new(), task }
}

/// What keeps a model that is not shipped from being a gain.
fn missing(model: &ModelOnTask<'_>) -> String {
    let seeds = model.by_seed.len();
    let gains = model.by_seed.iter().filter(|difference| **difference > 0.0).count();
    if !model.gains_over_users() {
        "its interval is not above zero".into()
    } else if seeds < SEEDS {
        let which = if seeds == 0 { "without the same seeds for both there is" } else { "one seed is" };
        format!("{which} no evidence against the luck of training: compare with {SEEDS} or more")
    } else {
        format!("with {gains} of {seeds} seeds only: more of them would tell")
    }
}

/// Why the difference to the reference may be other than it looks.
fn doubts(ship: &ModelOnTask<'_>, reference: &ModelOnTask<'_>) -> Vec<String> {
    let mut doubts = Vec::new();
    let against = &reference.model.name;
    if reference.auc.mean < LEARNED {
        let auc = spread(reference.auc);
        doubts.push(format!("But {against} has learned nothing (AUC {auc}): better than that is not good."));
    }
    if close(ship.auc, reference.auc) {
        doubts.push(format!(
            "But seeds differ by as much (AUC {} against {}): more of them would tell.",
            spread(ship.auc),
            spread(reference.auc)
        ));
    }
    doubts
}

/// The sentence about models that cannot be told apart; the first is the one to ship.
fn tie(tied: &[ModelOnTask<'_>]) -> Option<String> {
    let [ship, _, ..] = tied else { return None };
    let all: Vec<String> = tied.iter().map(|c| format!("{} (AUC {})", c.model.name, spread(c.auc))).collect();
    let cheapest = tied.iter().all(|c| ship.model.parameters <= c.model.parameters);
    let of = if cheapest { "" } else { " of those that cost comparable users nothing" };
    Some(format!(
        "It is a tie: these users and seeds cannot tell {} apart, and {} has the fewest parameters ({}){of}.",
        list(&all),
        ship.model.name,
        count(ship.model.parameters)
    ))
}

/// How many models transfer which way.
fn tally(sharing: &[ModelOnTask<'_>], task: &str) -> String {
    let of =
        |call: Option<Transfer>| sharing.iter().filter(|c| c.transfer.and_then(|i| Transfer::of(&i)) == call).count();
    let mut parts = vec![
        format!("positive for {}", of(Some(Transfer::Positive))),
        format!("negative for {}", of(Some(Transfer::Negative))),
        format!("without evidence for {}", of(Some(Transfer::NoEvidence))),
    ];
    if of(None) > 0 {
        parts.push(format!("not measured for {}", of(None)));
    }
    let models = things(sharing.len() as u64, "model that shares", "models that share");
    format!("Of {models}, transfer to {task} is {}.", list(&parts))
}

/// What holds for all tasks together.
pub(super) fn summary(report: &Report, verdicts: &[Verdict]) -> Vec<String> {
    if report.models.len() == 1 {
        return vec!["Whether sharing helps shows only beside a single-task model on the same rows.".into()];
    }
    let mut sentences = Vec::new();
    let judged: Vec<&Verdict> = verdicts.iter().filter(|v| v.model.is_some()).collect();
    if judged.is_empty() {
        return sentences;
    }
    if let Some(index) = reference(report) {
        let helped = judged.iter().filter(|v| v.model.as_ref() != Some(&report.models[index].name)).count();
        sentences.push(match (helped, judged.len()) {
            (helped, all) if all < report.tasks.len() => {
                let others = report.tasks.len() - all;
                format!("Sharing helps {helped} of the {all} tasks that could be measured ({others} could not).")
            }
            (0, 1) => "Sharing does not help the task, as far as these seeds and this test split show.".into(),
            (0, _) => "Sharing helps none of the tasks, as far as these seeds and this test split show.".into(),
            (1, 1) => "Sharing helps the task.".into(),
            (2, 2) => "Sharing helps both tasks.".into(),
            (helped, all) if helped == all => format!("Sharing helps all {all} tasks."),
            (helped, all) => format!("Sharing helps {helped} of {all} tasks."),
        });
    }
    if judged.len() > 1 && judged.len() == report.tasks.len() {
        let leads = |name: &String| judged.iter().all(|v| v.model.as_ref() == Some(name) || v.tied.contains(name));
        let one = report.models.iter().filter(|m| leads(&m.name)).min_by_key(|m| m.parameters);
        sentences.push(match one {
            Some(model) if Some(&model.name) == report.reference.as_ref() => {
                format!("{} is best on every task: a model for each, in one bundle.", model.name)
            }
            Some(model) => format!("One model can serve every task: {} is best or tied on each.", model.name),
            None => {
                "No model is best or tied on every task: serve one per task, or choose a compromise from the table."
                    .into()
            }
        });
    }
    sentences
}

fn names(models: &[ModelOnTask<'_>]) -> Vec<String> {
    models.iter().map(|c| c.model.name.clone()).collect()
}
