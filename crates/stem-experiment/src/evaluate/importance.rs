//! What each field is worth to each task: how much worse the scores get where a field's values are dealt anew among the rows.
//!
//! ```text
//! importance of field f to task t = m_t(scores) - m_t(scores of the rows with f's values permuted)      m_t what decides on t, more being better
//! ```
//!
//! Permutation importance (Breiman, 2001, "Random forests"; Fisher, Rudin and Dominici, 2019, "All models are wrong, but many are useful"), with the
//! paired interval over groups that a comparison of two models has. It is what *this model* makes of a field beside all others: of two fields
//! that say the same, each alone may be worth little.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stem_core::{Batch, Predictor};
use stem_data::{Dataset, Split};
use stem_report::analysis::{Metric, Sample};
use stem_report::report::{FieldImportance, Interval};

use super::EvaluateOptions;
use super::quality::{groups, of_task};
use crate::compare::metrics_of;
use crate::error::Result;
use crate::measured::in_order;

/// Rows that fields are permuted among at most; of more, a part that is drawn.
const ROWS: usize = 1 << 17;

/// A measurement for each field, in the order of the schema.
///
/// # Errors
/// Batches that do not read.
pub(super) fn importance(
    predictor: &Predictor,
    dataset: &Dataset,
    options: &EvaluateOptions,
) -> Result<Vec<FieldImportance>> {
    let (schema, metrics) = (dataset.schema(), metrics_of(dataset, options.metric, &options.metrics));
    let (rows, batch) = drawn(dataset);
    let groups: Vec<u32> =
        groups(dataset).into_iter().enumerate().filter_map(|(row, g)| rows[row].then_some(g)).collect();
    let weights = dataset.weights(Split::Test);
    let weights: Option<Vec<f32>> =
        weights.map(|all| all.iter().zip(&rows).filter_map(|(weight, taken)| taken.then_some(*weight)).collect());
    let samples = schema.tasks.iter().enumerate().map(|(t, _)| {
        let labels = of_task(&batch.labels, t, dataset);
        let kind = dataset.label_kinds()[t];
        let is_defined = !metrics[t].needs_groups() || schema.group.is_some();
        let metric = if is_defined { metrics[t] } else { Metric::plain(kind) };
        (Sample::of(kind, &labels, Some(&groups), None).weighted(weights.as_deref()), metric)
    });
    let samples: Vec<(Sample, Metric)> = samples.collect();
    let rank = |scores: &[f32], t: usize| {
        let (sample, metric) = &samples[t];
        sample.rank_for(&of_task(scores, t, dataset), &[*metric])
    };
    let whole = predictor.score(&batch)?.into_values(); // [N, T]
    let whole: Vec<_> = (0..samples.len()).map(|t| rank(&whole, t)).collect();
    let mut random = ChaCha8Rng::seed_from_u64(options.bootstrap.seed);
    let fields = schema.fields.iter().zip(schema.slot_ranges()).map(|(field, slots)| {
        let mut from: Vec<usize> = (0..batch.rows).collect();
        from.shuffle(&mut random);
        let scores = predictor.score(&permuted(&batch, slots, &from))?.into_values();
        let tasks = whole.iter().enumerate().map(|(t, whole)| {
            let gain =
                options.bootstrap.paired_by(samples[t].1, std::slice::from_ref(whole), &[vec![rank(&scores, t)]]);
            let loss = |Interval { mean, low, high }| Interval { mean: -mean, low: -high, high: -low };
            gain.into_iter().next().flatten().map(|difference| loss(difference.users))
        });
        Ok(FieldImportance { field: field.name.clone(), tasks: tasks.collect() })
    });
    fields.collect()
}

/// The rows that are looked at, and which they are of all.
fn drawn(dataset: &Dataset) -> (Vec<bool>, Batch) {
    let all = dataset.rows(Split::Test);
    let (mut wanted, mut random) = (ROWS.min(all), ChaCha8Rng::seed_from_u64(1));
    let mut taken = vec![false; all];
    for (row, taken) in taken.iter_mut().enumerate() {
        *taken = random.random_range(0..all - row) < wanted; // selection sampling: Knuth, volume 2, algorithm S
        wanted -= usize::from(*taken);
    }
    let (mut ids, mut weights, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for (first, batch) in in_order(dataset, Split::Test) {
        let (slots, tasks) = (batch.ids.len() / batch.rows, batch.labels.len() / batch.rows);
        for row in (0..batch.rows).filter(|row| taken[first + row]) {
            ids.extend_from_slice(&batch.ids[row * slots..][..slots]);
            weights.extend_from_slice(&batch.weights[row * slots..][..slots]);
            labels.extend_from_slice(&batch.labels[row * tasks..][..tasks]);
        }
    }
    let rows = taken.iter().filter(|taken| **taken).count();
    (taken, Batch::new(rows, ids, weights).with_labels(labels))
}

/// The rows with what other rows have in some slots.
fn permuted(batch: &Batch, slots: std::ops::Range<usize>, from: &[usize]) -> Batch {
    let width = batch.ids.len() / batch.rows.max(1);
    let mut other = batch.clone();
    for (row, &from) in from.iter().enumerate() {
        let (to, from) = (row * width, from * width);
        other.ids[to + slots.start..to + slots.end].copy_from_slice(&batch.ids[from + slots.start..from + slots.end]);
        other.weights[to + slots.start..to + slots.end]
            .copy_from_slice(&batch.weights[from + slots.start..from + slots.end]);
    }
    other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fields_slots_are_dealt_anew_and_no_others() {
        let batch = Batch::new(3, vec![1, 2, 3, 4, 5, 6, 7, 8, 9], vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
        let found = permuted(&batch, 1..3, &[2, 0, 1]);
        assert_eq!(found.ids, [1, 8, 9, 4, 2, 3, 7, 5, 6]);
        assert_eq!(found.weights, [0.1, 0.8, 0.9, 0.4, 0.2, 0.3, 0.7, 0.5, 0.6]);
    }
}
