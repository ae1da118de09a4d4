//! The data now, beside what a bundle keeps of those that it was trained on.

use serde_json::Value;
use stem_data::{Dataset, FieldProfile, Profile, Split};
use stem_report::report::DriftReport;

/// Shares of nulls and of unseen values that differ by more have moved.
const SHARE: f64 = 0.05;
/// A mean that moved by more than this part of the deviation in training has moved.
const SHIFT: f64 = 0.25;
/// A deviation, or a base rate, that is more than so many times the other has moved.
const TIMES: f64 = 1.25;

/// What moved and what did not; and in words what did. Nothing of a bundle that an earlier version wrote.
pub(super) fn drift(training: &Value, dataset: &Dataset) -> (Vec<DriftReport>, Vec<String>) {
    let Some(now) = dataset.profile(Split::Test) else { return (vec![], vec![]) };
    let Some([train, valid]) = Profile::of_training(training) else {
        return (vec![], vec!["the bundle does not say what its training data were like: it was written by an earlier version, so that nothing is said of drift".into()]);
    };
    let mut all = Vec::new();
    for (task, &rate) in &now.base_rates {
        let before = train.base_rates.get(task).copied();
        all.push(DriftReport {
            name: format!("{task}: base rate"),
            trained: before,
            now: Some(rate),
            is_large: before.is_some_and(|before| beyond(before, rate)),
        });
    }
    for (field, now) in &now.fields {
        let before = train.fields.get(field).copied().unwrap_or_default();
        let expected = valid.fields.get(field).and_then(|field| field.unseen);
        all.extend(of_field(field, now, &before, expected));
    }
    let words = all.iter().filter(|drift| drift.is_large).map(|drift| {
        let shown = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.4}"));
        format!("{} moved: {} in training, {} now", drift.name, shown(drift.trained), shown(drift.now))
    });
    let words = words.collect();
    (all, words)
}

fn of_field(field: &str, now: &FieldProfile, before: &FieldProfile, expected: Option<f64>) -> Vec<DriftReport> {
    let mut all = Vec::new();
    let mut add = |what: &str, trained: Option<f64>, now: Option<f64>, is_large: bool| {
        if now.is_some() || trained.is_some() {
            all.push(DriftReport { name: format!("{field}: {what}"), trained, now, is_large });
        }
    };
    let apart = |a: Option<f64>, b: Option<f64>| a.zip(b).is_some_and(|(a, b)| (a - b).abs() > SHARE);
    if [now.nulls, before.nulls].iter().flatten().any(|share| *share > 0.0) {
        add("rows without a value", before.nulls, now.nulls, apart(before.nulls, now.nulls));
    }
    let unseen = now.unseen.zip(expected.or(Some(0.0))).is_some_and(|(now, expected)| now - expected > SHARE);
    add("unseen values", expected, now.unseen, unseen);
    let shift =
        before.mean.zip(now.mean).zip(before.std).is_some_and(|((a, b), std)| (a - b).abs() > SHIFT * std.max(1e-12));
    add("mean", before.mean, now.mean, shift);
    let spread = before.std.zip(now.std).is_some_and(|(a, b)| beyond(a, b));
    add("standard deviation", before.std, now.std, spread);
    all
}

/// Whether one is more than so many times the other.
fn beyond(a: f64, b: f64) -> bool {
    let (less, more) = (a.min(b), a.max(b));
    more > TIMES * less
}
