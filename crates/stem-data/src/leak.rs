//! Fields whose values tell a label by themselves: copies of it, and what is measured after it.

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
    let (mut warnings, mut faults) = (Vec::new(), Vec::new());
    for (f, (field, number)) in recipe.fields.iter().zip(number_places(recipe)).enumerate() {
        let has_several = matches!(field.kind, Kind::Sequence { .. } | Kind::Vector { .. });
        if has_several || recipe.allow_leak.contains(&field.name) {
            continue;
        }
        for (task, label) in recipe.labels.iter().enumerate() {
            let known = training.iter().enumerate().filter_map(|(place, &row)| {
                let mark = rows.labels.row(row)[task];
                let is_high = || cuts[task].map_or(mark == 1, |(own, cut)| value_of(rows, row, own) > cut);
                (mark <= 1).then(|| (place, is_high()))
            });
            let known: Vec<(usize, bool)> = known.collect();
            let positives = known.iter().filter(|(_, y)| *y).count();
            if positives.min(known.len() - positives) < LEAST {
                continue;
            }
            let (auc, values) = if field.numbers() > 0 {
                let value = |place: usize| rows.numbers.row(training[place])[number];
                by_value(known.iter().map(|&(place, y)| (value(place), y)).filter(|(value, _)| !value.is_nan()))
            } else {
                by_others(known.iter().map(|&(place, y)| (codes[f][place], y)))
            };
            if auc == 1.0 && values == 2 {
                let what = format!(
                    "field \"{}\" is label \"{}\" under another name{}: its two values are the two of the label in all {} training rows looked at. If it is known before the feedback all the same: `allow_leak = [\"{}\"]` at the top of the recipe",
                    field.name,
                    label.column,
                    cuts[task].map_or(String::new(), |(_, cut)| format!(", cut at {cut}")),
                    known.len(),
                    field.name
                );
                faults.push(Fault { line: field.line, what });
            } else if auc > SUSPECT {
                warnings.push(format!(
                    "field '{}' alone tells label '{}' (AUC {auc:.3} in training): is it known before the feedback, or made of it?",
                    field.name, label.column
                ));
            }
        }
    }
    if faults.is_empty() { Ok(warnings) } else { Err(Error::Recipe { path: recipe.path.clone(), faults }) }
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
    let mut rows: Vec<(f64, bool)> = rows.collect();
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let values = rows.chunk_by(|a, b| a.0 == b.0).take(3).count();
    let auc = auc_of_sorted(&rows);
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
    let mut scored: Vec<(f64, bool)> = rows
        .iter()
        .map(|&(code, y)| match counts[code as usize] {
            (0 | 1, _) => (base, y),
            (n, positives) => (f64::from(positives - u32::from(y)) / f64::from(n - 1), y),
        })
        .collect();
    scored.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    (auc_of_sorted(&scored), counts.iter().filter(|(n, _)| *n > 0).count())
}

/// AUC of scores in ascending order; ties count half.
fn auc_of_sorted(rows: &[(f64, bool)]) -> f64 {
    let (mut below, mut twice, mut positives) = (0u64, 0u64, 0u64);
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let up = tied.iter().filter(|(_, y)| *y).count() as u64;
        let down = tied.len() as u64 - up;
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
