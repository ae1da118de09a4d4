//! What was searched, told to a reader.

use super::Rungs;
use super::candidate::Candidate;
use stem_report::report::{SearchReport, Trial};

/// The report of a search, and warnings about it: `trials` were asked for, `won` are the winners' places.
pub(super) fn report<C>(
    trials: usize,
    plans: &[Rungs],
    all: &[Vec<Candidate<C>>],
    won: &[usize],
) -> (SearchReport, Vec<String>) {
    let most = plans.iter().max_by_key(|plan| plan.budget());
    let rungs: Vec<String> = most
        .into_iter()
        .flat_map(Rungs::as_slice)
        .map(|rung| {
            format!("{} for {} {}", rung.trials, rung.epochs, if rung.epochs == 1 { "epoch" } else { "epochs" })
        })
        .collect();
    let budget = format!(
        "Every model had the same budget: at most {trials} configurations ({}), {} epochs in all, with one seed.",
        rungs.join(", the best "),
        most.map_or(0, Rungs::budget)
    );
    let first = all.iter().flatten().next();
    let monitor = first.map_or("AUC".into(), |candidate| candidate.experiment.train.monitor.name());
    let fewer: Vec<String> = all.iter().filter(|of| of.len() < trials).filter_map(|of| fewer(of)).collect();
    let mut note = format!(
        "Judged by the mean validation {monitor} over the tasks; the test split was looked at once, by the winner of each model."
    );
    fewer.iter().for_each(|sentence| note.extend([" ", sentence.as_str()]));
    let trial = |(c, candidate): (usize, &Candidate<C>), won: usize| Trial {
        model: candidate.model.to_string(),
        settings: candidate.settings.in_words(),
        epochs: candidate.epochs,
        score: candidate.score,
        won: c == won,
    };
    let tried = all.iter().zip(won).filter(|(of, _)| of.len() > 1); // of one, nothing was tried
    let trials = tried.flat_map(|(of, &won)| of.iter().enumerate().map(move |one| trial(one, won))).collect();
    let uneven = all.iter().map(Vec::len).min() != all.iter().map(Vec::len).max();
    let warnings = uneven.then(|| format!("The search tried more of some models than of others. {}", fewer.join(" ")));
    (SearchReport { budget, note, trials }, warnings.into_iter().collect())
}

/// That a model has not as many configurations as were asked for.
fn fewer<C>(of: &[Candidate<C>]) -> Option<String> {
    let model = of.first()?.model;
    Some(match of.len() {
        1 => format!("{model} has no key of the space and was run as the experiment says."),
        count => format!("{model} has only {count} configurations, and all were tried."),
    })
}
