//! What a model does to parts of the users, in sentences.

use crate::report::data::{Interval, PairReport, Report, StratumTask};
use crate::report::judge::{ModelOnTask, Transfer, known, strata};
use crate::report::number::{list, signed};

/// More pairs, or more parts that gain or lose, than this have no sentence each.
const MOST: usize = 3;

/// The users who are split to see whether sharing hurts where it should not.
const COMPARABLE: &str = "comparable";

/// The pairs of tasks that a task is one of.
pub(super) fn pairs<'a>(report: &'a Report, task: &str) -> Vec<&'a PairReport> {
    report.pairs.iter().filter(|p| p.a == task || p.b == task).collect()
}

/// What a model does to the users of every pair: a sentence for each of the first, one for the others.
pub(super) fn by_pair(pairs: &[&PairReport], model: &str, task: &str) -> Vec<String> {
    let sentence = |pair: &&PairReport| {
        Some(format!("Users split by {} and {}: {}.", pair.a, pair.b, by_stratum(pair, model, task)?))
    };
    let first = pairs.iter().take(MOST).filter_map(sentence);
    let more = (pairs.len() > MOST).then(|| "Other pairs are under \u{201c}For which users?\u{201d}.".to_owned());
    first.chain(more).collect()
}

/// What a model does to each part of the users: changes with evidence, then those without.
pub(super) fn by_stratum(pair: &PairReport, model: &str, task: &str) -> Option<String> {
    let (mut changes, mut open) = (Vec::new(), Vec::new());
    for (stratum, _, numbers) in strata(pair, model, task) {
        let Some(i) = known(numbers.transfer) else { continue };
        match Transfer::of(&i) {
            Some(Transfer::NoEvidence) | None => open.push(stratum),
            Some(_) if stratum == COMPARABLE => {
                let (low, high) = (signed(i.low), signed(i.high));
                changes.push(format!("{} on {} ({low} to {high})", signed(i.mean), users(stratum)));
            }
            Some(_) => changes.push(format!("{} on {}", signed(i.mean), users(stratum))),
        }
    }
    let open = (!open.is_empty()).then(|| format!("no evidence on {}", users(&list(&open))));
    let changes = (!changes.is_empty()).then(|| changes.join(", "));
    let parts: Vec<String> = changes.into_iter().chain(open).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Whether a model transfers negatively on the comparable users of any pair.
pub(super) fn comparable_lose(pairs: &[&PairReport], model: &str, task: &str) -> bool {
    let loses = |(stratum, _, numbers): (&str, u64, &StratumTask)| {
        stratum == COMPARABLE && known(numbers.transfer).and_then(|i| Transfer::of(&i)) == Some(Transfer::Negative)
    };
    pairs.iter().any(|pair| strata(pair, model, task).into_iter().any(loses))
}

/// The users on whom models transfer so; `None` if there are none. Comparable users come first, then the models' order.
pub(super) fn who_transfer(
    pairs: &[&PairReport],
    models: &[ModelOnTask<'_>],
    task: &str,
    call: Transfer,
) -> Option<String> {
    let several = pairs.len() > 1;
    let parts_of = |pair: &PairReport, model: &str| -> Vec<(bool, String)> {
        let one = |stratum: &str, i: Interval| {
            let of = if several { format!(" of {} and {}", pair.a, pair.b) } else { String::new() };
            (stratum != COMPARABLE, format!("{} with {model} on {}{of}", signed(i.mean), users(stratum)))
        };
        let judged = |transfer| known(transfer).filter(|i| Transfer::of(i) == Some(call));
        strata(pair, model, task).into_iter().filter_map(|(s, _, n)| Some(one(s, judged(n.transfer)?))).collect()
    };
    let mut all: Vec<(bool, String)> =
        models.iter().flat_map(|c| pairs.iter().flat_map(move |pair| parts_of(pair, &c.model.name))).collect();
    all.sort_by_key(|(other, _)| *other);
    let mut parts: Vec<String> = all.iter().take(MOST).map(|(_, part)| part.clone()).collect();
    if all.len() > MOST {
        parts.push(format!("{} more", all.len() - MOST));
    }
    (!parts.is_empty()).then(|| list(&parts))
}

fn users(stratum: &str) -> String {
    format!("{stratum} users")
}
