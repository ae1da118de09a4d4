//! Fields whose values tell a label by themselves: copies of it, and what is measured after it.

use rayon::prelude::*;

use crate::dictionary::PAD;
use crate::encoding::number_places;
use crate::error::{Error, Fault, Result};
use crate::gather::CodedRows;
use crate::recipe::{Feedback, Kind, Recipe};
use crate::split::Split;
use crate::targets::value_places;

/// Training rows that are looked at.
const ROWS: usize = 200_000;
/// Rows of the rarer class without which nothing is said.
const LEAST: usize = 50;
/// AUC of a field alone above which it is told.
const SUSPECT: f64 = 0.99;

/// Looks at every field and label of the training split. Gives a warning for each field that nearly decides a label.
///
/// # Errors
/// A field that is a copy of a label, or of its opposite.
pub(crate) fn leaks(recipe: &Recipe, rows: &CodedRows) -> Result<Vec<String>> {
    let training = (0..rows.rows).filter(|&row| rows.splits[row] == Split::Train as u8).take(ROWS).collect::<Vec<_>>();
    let mut codes: Vec<Vec<u32>> = vec![Vec::with_capacity(training.len()); recipe.fields.len()]; // of each row of `training`
    let (mut walk, last) = (rows.walk(recipe)?, training.last().map_or(0, |last| last + 1));
    while let Some(block) = walk.next()?
        && block.rows.start < last
    {
        let looked_at = block.rows.start..block.rows.end.min(last);
        for place in looked_at.filter(|&row| rows.splits[row] == Split::Train as u8).map(|row| row - block.rows.start) {
            let first = block.row(place).map(|own| own.first().copied().unwrap_or(PAD));
            codes.iter_mut().zip(first).for_each(|(codes, first)| codes.push(first));
        }
    }
    let places = value_places(recipe.labels.iter().map(|label| label.kind == Feedback::Binary));
    let cuts: Vec<Option<(usize, f32)>> =
        places.into_iter().enumerate().map(|(task, own)| Some((own?, cut(rows, &training, task, own?)?))).collect();
    let known: Vec<Known> = (0..recipe.labels.len()).map(|task| known(rows, &training, task, cuts[task])).collect();
    let fields = recipe.fields.iter().zip(number_places(recipe)).enumerate().filter(|(_, (field, _))| {
        let has_several = matches!(field.kind, Kind::Sequence { .. } | Kind::Vector { .. });
        !has_several && !recipe.allow_leak.contains(&field.name)
    });
    let pairs: Vec<_> = fields.flat_map(|field| (0..known.len()).map(move |task| (field, task))).collect();
    let judged = pairs.into_par_iter().map(|((f, (field, number)), task)| {
        let known = &known[task];
        let positives = known.iter().filter(|(_, y)| *y).count();
        if positives.min(known.len() - positives) < LEAST {
            return None;
        }
        let (auc, values) = if field.numbers() > 0 {
            let value = |place: usize| rows.numbers.row(training[place])[number];
            by_value(known.iter().map(|&(place, y)| (value(place), y)).filter(|(value, _)| !value.is_nan()))
        } else {
            by_others(known.iter().map(|&(place, y)| (codes[f][place], y)))
        };
        (auc > SUSPECT).then_some((field, task, auc, values))
    });
    let (mut warnings, mut faults) = (Vec::new(), Vec::new());
    for (field, task, auc, values) in judged.collect::<Vec<_>>().into_iter().flatten() {
        let label = &recipe.labels[task];
        if auc == 1.0 && values == 2 {
            let what = format!(
                "field \"{}\" is label \"{}\" under another name{}: its two values are the two of the label in all {} training rows looked at. If it is known before the feedback all the same: `allow_leak = [\"{}\"]` at the top of the recipe",
                field.name,
                label.column,
                cuts[task].map_or(String::new(), |(_, cut)| format!(", cut at {cut}")),
                known[task].len(),
                field.name
            );
            faults.push(Fault { line: field.line, what });
        } else {
            warnings.push(format!(
                "field '{}' alone tells label '{}' (AUC {auc:.3} in training): is it known before the feedback, or made of it?",
                field.name, label.column
            ));
        }
    }
    if faults.is_empty() { Ok(warnings) } else { Err(Error::Recipe { path: recipe.path.clone(), faults }) }
}

/// The rows that have a label, each with its place among those looked at, and whether the label is 1, or a number above its cut.
type Known = Vec<(usize, bool)>;

fn known(rows: &CodedRows, training: &[usize], task: usize, cut: Option<(usize, f32)>) -> Known {
    let known = training.iter().enumerate().filter_map(|(place, &row)| {
        let mark = rows.labels.row(row)[task];
        let is_high = || cut.map_or(mark == 1, |(own, cut)| value_of(rows, row, own) > cut);
        (mark <= 1).then(|| (place, is_high()))
    });
    known.collect()
}

/// The number of a row's label at its place among those that are numbers.
fn value_of(rows: &CodedRows, row: usize, own: usize) -> f32 {
    rows.values.as_ref().map_or(f32::NAN, |values| values.row(row)[own])
}

/// Where a label that is a number is cut in two: above the median, or above the least where half of the rows or more have the highest.
fn cut(rows: &CodedRows, training: &[usize], task: usize, own: usize) -> Option<f32> {
    let known = training.iter().filter(|&&row| rows.labels.row(row)[task] <= 1);
    let mut values: Vec<f32> = known.map(|&row| value_of(rows, row, own)).collect();
    values.sort_unstable_by(f32::total_cmp);
    let (median, highest) = (*values.get(values.len() / 2)?, *values.last()?);
    Some(if median < highest { median } else { values[0] })
}

/// AUC of a number, in the direction that tells more, and how many values it has (3 for more than two).
fn by_value(rows: impl Iterator<Item = (f64, bool)>) -> (f64, usize) {
    let rows: Vec<Scored> = rows.map(|(score, y)| Scored { score, up: y.into(), down: (!y).into() }).collect();
    let mut seen: Vec<f64> = Vec::new(); // up to three values
    for row in &rows {
        if seen.len() < 3 && !seen.contains(&row.score) {
            seen.push(row.score);
        }
    }
    let (values, auc) = (seen.len(), auc_of(rows));
    (auc.max(1.0 - auc), values)
}

/// AUC of a category by what the other rows of the same value say, and how many values it has.
fn by_others(rows: impl Iterator<Item = (u32, bool)>) -> (f64, usize) {
    let rows: Vec<(u32, bool)> = rows.collect();
    let codes = rows.iter().map(|(code, _)| *code as usize + 1).max().unwrap_or(PAD as usize + 1);
    let mut counts = vec![(0u32, 0u32); codes]; // rows and positives
    for &(code, y) in &rows {
        counts[code as usize].0 += 1;
        counts[code as usize].1 += u32::from(y);
    }
    let base = rows.iter().filter(|(_, y)| *y).count() as f64 / rows.len().max(1) as f64;
    // rows of one value and one label have one score
    let mut scored: Vec<Scored> = Vec::with_capacity(2 * codes);
    for &(n, positives) in counts.iter().filter(|(n, _)| *n > 0) {
        let score = |positives: u32| if n == 1 { base } else { f64::from(positives) / f64::from(n - 1) };
        if positives > 0 {
            scored.push(Scored { score: score(positives - 1), up: positives.into(), down: 0 });
        }
        if n > positives {
            scored.push(Scored { score: score(positives), up: 0, down: (n - positives).into() });
        }
    }
    (auc_of(scored), counts.iter().filter(|(n, _)| *n > 0).count())
}

/// Rows of one score: those with label 1, and the others.
struct Scored {
    score: f64,
    up: u64,
    down: u64,
}

/// AUC of scores; ties count half.
fn auc_of(mut rows: Vec<Scored>) -> f64 {
    rows.sort_unstable_by(|a, b| a.score.total_cmp(&b.score));
    let (mut below, mut twice, mut positives) = (0u64, 0u64, 0u64);
    for tied in rows.chunk_by(|a, b| a.score == b.score) {
        let up = tied.iter().map(|rows| rows.up).sum::<u64>();
        let down = tied.iter().map(|rows| rows.down).sum::<u64>();
        twice += up * (2 * below + down);
        below += down;
        positives += up;
    }
    match positives * below {
        0 => 0.5,
        pairs => twice as f64 / (2 * pairs) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_judged_by_other_rows_and_a_number_in_either_direction() {
        let (auc, values) = by_others((0..400).map(|i| (i % 2 + 2, i % 2 == 0)));
        assert_eq!((auc, values), (1.0, 2));
        let (chance, _) = by_others((0..400).map(|i| (i / 2 + 2, i % 2 == 0))); // every value twice, once with each label
        assert!(chance < 0.1, "{chance}");
        let (alone, _) = by_others((0..400).map(|i| (i + 2, i % 2 == 0)));
        assert_eq!(alone, 0.5);
        assert_eq!(by_value((0..100).map(|i| (-f64::from(i), i >= 50))), (1.0, 3));
        assert_eq!(by_value((0..100).map(|i| (f64::from(i % 2), i % 2 == 1))), (1.0, 2));
    }
}
