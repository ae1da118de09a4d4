//! Labels that are numbers: how they are laid beside the marks of all labels, and what is fitted of them on the training rows.
//!
//! Every label has a mark, a byte: of a number it says whether it is above 0. The numbers themselves are columns of their own.

use stem_core::{DurationQuantiles, Field, MISSING, TargetTransform, TaskKind};

use crate::dataset::NO_LABEL;
use crate::encoding::number_places;
use crate::error::{Error, Fault, Result};
use crate::gather::CodedRows;
use crate::recipe::{Feedback, LabelRecipe, Recipe};
use crate::split::Split;
use crate::within::Spaces;

impl Feedback {
    /// The kind of the task before anything is fitted.
    pub(crate) fn unfitted(&self) -> TaskKind {
        match *self {
            Self::Binary => TaskKind::Binary,
            Self::Regression { log1p, .. } => {
                let transform = if log1p { TargetTransform::Log1p } else { TargetTransform::None };
                TaskKind::Regression { transform, mean: 0.0, std: 1.0 }
            }
            Self::Count => TaskKind::Count { scale: 1.0 },
            Self::WatchTime => TaskKind::WatchTime { scale: 1.0 },
            Self::Ordinal { classes } => TaskKind::Ordinal { classes },
            Self::Classes { classes } => TaskKind::Classes { classes },
            Self::ZeroInflated => TaskKind::ZeroInflated { scale: 1.0 },
            Self::WatchQuantile { ref duration, .. } => {
                TaskKind::WatchQuantile(DurationQuantiles::unfitted(duration.as_str()))
            }
        }
    }
}

/// The place of each label's numbers among those of a row; `None` of a label that is 0 or 1. `[T]`
pub(crate) fn value_places(kinds: impl Iterator<Item = bool>) -> Vec<Option<usize>> {
    let mut next = 0;
    let place = |is_binary: bool| {
        (!is_binary).then(|| {
            next += 1;
            next - 1
        })
    };
    kinds.map(place).collect()
}

/// The numbers of a row's labels, missing where their marks are. `[R]`, appended
pub(crate) fn masked_values(masked: &[u8], values: &[f32], places: &[Option<usize>], out: &mut Vec<f32>) {
    for (mark, place) in masked.iter().zip(places) {
        out.extend(place.map(|place| if *mark == NO_LABEL { MISSING } else { values[place] }));
    }
}

/// What each task learns: of a regression mean and deviation of its training rows, of a count or time their mean, of a rank quantiles by what
/// its duration's `fields` weigh. What a model has decided already is not asked for.
///
/// # Errors
/// A number that is the same in all training rows, and a duration that is.
pub(crate) fn fitted(
    recipe: &Recipe,
    rows: &CodedRows,
    fields: &[Field],
    is_decided: impl Fn(&LabelRecipe) -> bool,
) -> Result<Vec<TaskKind>> {
    let mut kinds: Vec<TaskKind> = recipe.labels.iter().map(|label| label.kind.unfitted()).collect();
    let Some(values) = &rows.values else { return Ok(kinds) };
    let places = value_places(kinds.iter().map(TaskKind::is_binary));
    let (spaces, mut masked) = (Spaces::of(recipe), vec![0; kinds.len()]);
    let mut moments = vec![Moments::default(); kinds.len()];
    let durations: Vec<Option<usize>> = kinds.iter().map(|kind| duration_field(kind, fields)).collect();
    let number_places = number_places(recipe);
    let mut watched: Vec<Vec<(f32, f32)>> = vec![Vec::new(); kinds.len()]; // duration as it weighs, label
    for row in (0..rows.rows).filter(|&row| rows.splits[row] == Split::Train as u8) {
        spaces.mask(rows.labels.row(row), &mut masked);
        for (task, place) in places.iter().enumerate() {
            if let Some(place) = place.filter(|_| masked[task] != NO_LABEL) {
                let value = f64::from(values.row(row)[place]);
                if let Some(f) = durations[task].filter(|_| !is_decided(&recipe.labels[task])) {
                    let duration = rows.numbers.row(row)[number_places[f]];
                    let weight = if duration.is_nan() { 0.0 } else { fields[f].kind.number_weight(duration) };
                    watched[task].push((weight, value as f32));
                }
                moments[task].see(match kinds[task] {
                    TaskKind::Regression { transform, .. } => transform.apply(value),
                    _ => value,
                });
            }
        }
    }
    let mut faults = Vec::new();
    for (((kind, label), found), watched) in kinds.iter_mut().zip(&recipe.labels).zip(&moments).zip(watched) {
        let is_asked = label.kind != Feedback::Binary && !is_decided(label);
        if is_asked && found.count > 0.0 && found.lowest == found.highest {
            let (column, rows, value) = (&label.column, found.count, found.lowest);
            let what = format!(
                "label \"{column}\" is {value} in all {rows} training rows that have it: there is nothing to learn; take this [[label]] out"
            );
            faults.push(Fault { line: label.line, what });
        }
        if let (TaskKind::WatchQuantile(fitted), Feedback::WatchQuantile { duration, buckets }) =
            (&mut *kind, &label.kind)
            && !is_decided(label)
            && !watched.is_empty()
        {
            *fitted = DurationQuantiles::fit(duration.as_str(), watched, *buckets);
            if fitted.buckets() == 1 {
                let column = &label.column;
                let what = format!(
                    "label \"{column}\": nearly all training rows that have it are of one \"{duration}\", so that they cannot be cut into {buckets} buckets by it; take `kind = \"regression\"` or \"watch-time\""
                );
                faults.push(Fault { line: label.line, what });
            }
        }
        match (kind, &label.kind) {
            (TaskKind::Regression { mean, std, .. }, Feedback::Regression { standardize: true, .. }) => {
                (*mean, *std) = (found.mean as f32, found.deviation() as f32);
                if !(*std > 0.0 && std.is_finite()) {
                    (*mean, *std) = (0.0, 1.0);
                }
            }
            (TaskKind::Count { scale } | TaskKind::WatchTime { scale } | TaskKind::ZeroInflated { scale }, _) => {
                let mean = found.mean as f32;
                *scale = if mean > 0.0 && mean.is_finite() { mean } else { 1.0 };
            }
            _ => {}
        }
    }
    if faults.is_empty() { Ok(kinds) } else { Err(Error::Recipe { path: recipe.path.clone(), faults }) }
}

/// The place of the field that is a label's duration.
fn duration_field(kind: &TaskKind, fields: &[Field]) -> Option<usize> {
    let duration = kind.duration()?;
    fields.iter().position(|field| field.name == duration)
}

/// Mean and spread in one pass (Welford, 1962).
#[derive(Debug, Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
    lowest: f64,
    highest: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self { count: 0.0, mean: 0.0, squares: 0.0, lowest: f64::INFINITY, highest: f64::NEG_INFINITY }
    }
}

impl Moments {
    fn see(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
        (self.lowest, self.highest) = (self.lowest.min(value), self.highest.max(value));
    }

    /// Of the whole, not of a sample.
    fn deviation(&self) -> f64 {
        (self.squares / self.count.max(1.0)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_beside_the_marks_and_are_missing_where_those_are() {
        let places = value_places([true, false, true, false].into_iter());
        assert_eq!(places, [None, Some(0), None, Some(1)]);
        let mut out = Vec::new();
        masked_values(&[1, 1, 0, NO_LABEL], &[7.5, 3.0], &places, &mut out);
        assert!(out[0] == 7.5 && out[1].is_nan() && out.len() == 2, "{out:?}");
    }

    #[test]
    fn moments_are_those_of_two_passes() {
        let values = [3.0, 4.5, -1.0, 12.0, 0.0];
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.see(*value));
        let mean = values.iter().sum::<f64>() / 5.0;
        let std = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 5.0).sqrt();
        assert!((moments.mean - mean).abs() < 1e-12 && (moments.deviation() - std).abs() < 1e-12);
        assert_eq!((moments.lowest, moments.highest), (-1.0, 12.0));
    }
}
