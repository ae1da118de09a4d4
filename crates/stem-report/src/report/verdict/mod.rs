//! What to ship, in sentences.

mod caution;
mod summary;
mod users;

use serde::Serialize;

pub(super) use summary::summary;

use super::data::{Interval, LabelKind, Metric, Report};
use super::judge::{ModelOnTask, Transfer, leaders, measured, models_on_task, reference};
use super::number::{count, list, signed, spread, things};

/// The answer for one task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verdict {
    /// The task.
    pub task: String,
    /// The model to ship: of those that cannot be told apart from the best the cheapest that costs comparable users nothing, or
    /// the cheapest. The best is chosen on the validation split where it was measured there. `None` without a comparison, and where
    /// training has to go on before anything can be said.
    pub model: Option<String>,
    /// The models it ties with.
    pub tied: Vec<String>,
    /// Whether epochs ran out before anything could be said: train longer.
    pub more_epochs: bool,
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
            let metric = a(report.metric_of(t));
            let reasons = vec![format!("no model has {metric} on it.")];
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
    let shown = LabelKind::ALL.into_iter().flat_map(Metric::shown).copied();
    let named = shown.filter_map(|metric| Some((metric.name(), measured(numbers, metric)?)));
    let calibration = numbers.calibration.as_ref().filter(|s| s.mean.is_finite()).map(|s| ("calibration".into(), s));
    let metric = only.metric.name();
    let others = named.chain(calibration).filter(|(name, _)| *name != metric);
    let others: Vec<String> = others.map(|(name, value)| format!("{name} {}", spread(value))).collect();
    let headline = format!("{} scores {metric} {} on {task}", only.model.name, spread(only.score));
    let mut reasons = if others.is_empty() { Vec::new() } else { vec![format!("{}.", list(&others))] };
    reasons.extend(caution::more_epochs(&[only]));
    Verdict { headline, reasons, task, ..Verdict::default() }
}

/// Without a single-task model.
fn without_reference(task: String, all: &[ModelOnTask<'_>]) -> Verdict {
    let tied = leaders(all, |_| false);
    let [ship, others @ ..] = &tied[..] else { return Verdict { task, ..Verdict::default() } };
    let (name, metric) = (&ship.model.name, ship.metric.name());
    let nothing = "Without a single-task model on the same rows nothing can be said about whether sharing helps.";
    if all.len() == 1 {
        let headline = format!("{name} scores {metric} {} on {task}", spread(ship.score));
        let reasons = vec!["there is nothing to compare it with.".into(), nothing.into()];
        return Verdict { headline, reasons, task, ..Verdict::default() };
    }
    let mut reasons = vec![format!("{metric} {}.", spread(ship.score))];
    reasons.extend(tie(&tied));
    reasons.push(nothing.into());
    reasons.extend(caution::more_epochs(&[ship]));
    let headline = match others {
        [] => format!("{name} is the best on {task}"),
        _ => format!("A tie on {task}, {name} the cheapest"),
    };
    Verdict { headline, reasons, model: Some(name.clone()), tied: names(others), task, ..Verdict::default() }
}

/// Against the single-task model.
fn against_reference(report: &Report, task: String, all: &[ModelOnTask<'_>], reference: &ModelOnTask<'_>) -> Verdict {
    let sharing: Vec<ModelOnTask<'_>> = all.iter().filter(|c| c.index != reference.index).cloned().collect();
    let gaining: Vec<ModelOnTask<'_>> = sharing.iter().filter(|c| c.gains()).cloned().collect();
    let pairs = users::pairs(report, &task);
    // The cheapest of a tie, unless it costs comparable users something that another of the tie does not.
    let tied = leaders(&gaining, |c| users::comparable_lose(&pairs, &c.model.name, &task));
    let Some(ship) = tied.first() else { return reference_stays(report, task, &sharing, reference) };
    let (name, against) = (&ship.model.name, &reference.model.name);

    let change = ship.transfer.map_or_else(String::new, |i| {
        format!(
            "{} against {against} on all users of this test split (95 % interval over users and seeds {} to {}; a gain with each \
             of {} seeds)",
            gained(ship.metric, i.mean),
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
    reasons.extend(caution::stopping(ship, reference));
    // The one to ship first, then the others that gain.
    let ship_first: Vec<ModelOnTask<'_>> =
        [ship].into_iter().chain(gaining.iter().filter(|c| c.index != ship.index)).cloned().collect();
    if let Some(losses) = users::who_transfer(&pairs, &ship_first, &task, Transfer::Negative) {
        reasons.push(format!("Some users lose all the same: {losses}."));
    }
    reasons.extend(caution::learned_nothing(reference));
    reasons.extend(tie(&tied));
    reasons.extend(caution::chosen(&tied, sharing.len()));
    if let Some(higher) = sharing.iter().find(|c| c.ahead_of(&gaining[0]) > 0.0) {
        let where_ = caution::where_chosen(higher);
        let mean = spread(higher.choice);
        let missing = caution::missing(higher);
        let better = if higher.metric.higher_is_better() { "a higher" } else { "a lower" };
        reasons.push(format!("{} has {better} mean{where_} ({mean}), but {missing}.", higher.model.name));
    }
    reasons.push(tally(&sharing, &task));
    let found = Verdict {
        headline: format!("Ship {name} for {task}"),
        reasons,
        model: Some(name.clone()),
        tied: names(&tied[1..]),
        task,
        ..Verdict::default()
    };
    caution::unless_epochs_ran_out(found, &[ship, reference])
}

/// Nothing beats the single-task model with evidence.
fn reference_stays(report: &Report, task: String, sharing: &[ModelOnTask<'_>], reference: &ModelOnTask<'_>) -> Verdict {
    let (name, metric) = (&reference.model.name, reference.metric);
    let mut reasons = Vec::new();
    match sharing.first() {
        None => {
            let a = a(metric);
            reasons.push(format!("no other model has {a} on it. Its own is {}.", spread(reference.score)));
        }
        Some(nearest) => {
            let by = match nearest.transfer {
                Some(i) => difference(metric, &i),
                None => {
                    let difference = gained(metric, metric.gain(nearest.score.mean, reference.score.mean));
                    format!("{difference}, of which no interval was measured")
                }
            };
            let where_ = caution::where_chosen(nearest);
            reasons.push("no model that shares beats it with evidence on this test split.".into());
            reasons.push(format!("The best of the others{where_}, {}, differs by {by}.", nearest.model.name));
            reasons.extend(caution::stopping(nearest, reference));
            // The one that only seeds are missing for, if there is one; its interval is what a reader sees first.
            let nearly = sharing.iter().find(|c| c.gains_by_interval());
            reasons.extend(
                nearly.map(|c| format!("{} is above it by the interval, but {}.", c.model.name, caution::missing(c))),
            );
            let of_one = sharing.iter().find(|c| !c.gains_by_interval() && c.gains_with_every_seed());
            reasons.extend(of_one.map(|c| format!("{} is above it, but {}.", c.model.name, caution::missing(c))));
        }
    }
    if let Some(gains) = users::who_transfer(&users::pairs(report, &task), sharing, &task, Transfer::Positive) {
        reasons.push(format!("Some users gain all the same: {gains}."));
    }
    reasons.extend(caution::more_epochs(&sharing.iter().collect::<Vec<_>>()));
    if !sharing.is_empty() {
        reasons.push(tally(sharing, &task));
    }
    let headline = format!("Ship {name} for {task}");
    let found = Verdict { headline, reasons, model: Some(name.clone()), task, ..Verdict::default() };
    caution::unless_epochs_ran_out(found, &[reference])
}

/// What a model has none of.
fn a(metric: Metric) -> String {
    let name = metric.name();
    if metric == Metric::Auc { format!("an {name}") } else { name.into_owned() }
}

/// A difference with its sign and its unit: above zero is a gain, also of logloss.
fn gained(metric: Metric, difference: f64) -> String {
    let saved = if metric.higher_is_better() { "" } else { " saved" };
    format!("{} {}{saved}", signed(difference), metric.name())
}

/// The same with its interval.
fn difference(metric: Metric, i: &Interval) -> String {
    format!("{} ({} to {})", gained(metric, i.mean), signed(i.low), signed(i.high))
}

/// The sentence about models that cannot be told apart; the first is the one to ship.
fn tie(tied: &[ModelOnTask<'_>]) -> Option<String> {
    let [ship, _, ..] = tied else { return None };
    let metric = ship.metric.name();
    let all: Vec<String> = tied.iter().map(|c| format!("{} ({metric} {})", c.model.name, spread(c.score))).collect();
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
    let of = |call: Option<Transfer>| sharing.iter().filter(|c| c.call() == call).count();
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

fn names(models: &[ModelOnTask<'_>]) -> Vec<String> {
    models.iter().map(|c| c.model.name.clone()).collect()
}
