//! What of the counts is odd, in words with figures.

use super::{CopyFacts, Facts, NumberFacts, share};
use crate::recipe::{Feedback, Kind, Recipe, SplitRecipe};
use crate::split::SplitStatistics;

/// Share of copies above which they are told; a client that sends an event again makes fewer.
const COPIES: f64 = 0.02;
/// Share of test rows of users without a training row above which a test tells more of new users than of those who are known.
const UNTRAINED: f64 = 0.1;
/// Share of the labels 1 that a space takes away; a few stray rows change nothing.
const OUTSIDE: f64 = 0.005;
/// Mean or standard deviation of a number as it is. Standardised ones have 0 and 1, embeddings begin far below that.
const LARGE: f64 = 100.0;
/// Standard deviations from the mean. Of a hundred million numbers of a normal distribution the farthest is 6 away, of an exponential
/// one 18.
const FAR: f64 = 50.0;

/// All of it.
pub(crate) fn warnings(recipe: &Recipe, facts: &Facts, statistics: &[SplitStatistics; 3]) -> Vec<String> {
    let mut warnings = Vec::new();
    warnings.extend(copies(&facts.copies));
    warnings.extend(untrained(recipe, facts, statistics));
    for ((task, &outside), label) in facts.outside.iter().enumerate().zip(&recipe.labels) {
        let kept: usize = statistics.iter().map(|counts| counts.positives[task]).sum();
        if let Some(space) = &label.within
            && share(outside, outside + kept).is_some_and(|share| share >= OUTSIDE)
        {
            let counted = if label.kind == Feedback::Binary { "1" } else { "above 0" };
            warnings.push(format!(
                "label '{}' is {counted} in {outside} rows where '{space}' is not, and these count as missing ({kept} others are kept): is it within '{space}'?",
                label.column
            ));
        }
    }
    for (field, facts) in recipe.fields.iter().zip(&facts.fields) {
        let Kind::Number { standardize } = field.kind else { continue };
        let told = if standardize { far(&facts.numbers) } else { large(&facts.numbers) };
        warnings.extend(told.map(|what| format!("field '{}' {what}", field.name)));
    }
    warnings
}

fn copies(facts: &CopyFacts) -> Option<String> {
    let CopyFacts { one_in, rows, copies, test, test_in_train, .. } = *facts;
    facts.share().filter(|share| *share >= COPIES && !facts.are_by_chance())?;
    let looked = if one_in > 1 { format!(" (one row in {one_in} was looked at)") } else { String::new() };
    let tested = match test_in_train {
        0 => String::new(),
        found => format!(", and {found} of {test} test rows are copies of training rows"),
    };
    Some(format!(
        "{copies} of {rows} rows{looked} are copies: equal to another in every field, label and time that the recipe reads, and more than chance repeats{tested}: if something was written, read or joined twice, SELECT DISTINCT leaves one of each"
    ))
}

fn untrained(recipe: &Recipe, facts: &Facts, statistics: &[SplitStatistics; 3]) -> Option<String> {
    let (SplitRecipe::Last { column, valid, test, .. }, Some(found)) = (&recipe.split, facts.untrained) else {
        return None;
    };
    let rows = statistics[2].rows;
    share(found, rows).filter(|share| *share >= UNTRAINED)?;
    Some(format!(
        "{found} of {rows} test rows belong to a '{column}' without a training row, for it has {} rows or fewer: what is measured there is how new ones are served; leave them out in the sql, or split by time",
        valid + test
    ))
}

/// A number as it is that drowns what other fields say.
fn large(numbers: &[Option<NumberFacts>; 3]) -> Option<String> {
    let NumberFacts { mean, std, .. } = numbers[0].filter(|n| n.mean.abs() > LARGE || n.std > LARGE)?;
    Some(format!(
        "holds large numbers as they are (mean {}, standard deviation {} in training), which drown what other fields say: `standardize = true`, or a smaller unit in the sql",
        short(mean),
        short(std)
    ))
}

/// A standardised number of which a few rows outweigh all others.
fn far(numbers: &[Option<NumberFacts>; 3]) -> Option<String> {
    let NumberFacts { mean, std, .. } = numbers[0].filter(|n| n.std > 0.0)?;
    let ends = numbers.iter().flatten().flat_map(|n| [n.min, n.max]);
    let farthest = ends.max_by(|a, b| (a - mean).abs().total_cmp(&(b - mean).abs()))?;
    let away = (farthest - mean).abs() / std;
    (away > FAR).then(|| {
        format!(
            "holds {}, which is {away:.0} standard deviations from its mean ({}, standard deviation {} in training): such rows outweigh all others; `log1p = true` takes the logarithm, `clip = [0, 1000]` sets a limit",
            short(farthest),
            short(mean),
            short(std)
        )
    })
}

/// At most four digits after the point, or the order of size.
fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 1e7 || (size > 0.0 && size < 1e-3) => format!("{number:.3e}"),
        _ => format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').into(),
    }
}
