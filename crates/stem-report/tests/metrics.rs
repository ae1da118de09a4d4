//! Every metric against scikit-learn, TorchMetrics and all pairs (`fixtures/metrics.py`).

use std::collections::BTreeMap;

use serde::Deserialize;
use stem_report::analysis::{LabelKind, Metric};
use stem_report::metrics::TaskMetrics;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    kind: LabelKind,
    scores: Vec<f32>,
    labels: Vec<Option<f32>>,
    groups: Vec<u32>,
    weights: Option<Vec<f32>>,
    /// Computed in double precision.
    exact: BTreeMap<Metric, f64>,
    /// In single precision.
    single: BTreeMap<Metric, f64>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("fixtures/metrics.json")).expect("metrics.py writes what is read here")
}

#[test]
fn every_metric_is_what_other_libraries_make_of_the_same_rows() {
    let mut held: BTreeMap<Metric, usize> = BTreeMap::new();
    for case in cases() {
        let labels: Vec<f32> = case.labels.iter().map(|label| label.unwrap_or(f32::NAN)).collect();
        let wanted: Vec<Metric> = case.exact.keys().chain(case.single.keys()).copied().collect();
        let (groups, weights) = (Some(case.groups.as_slice()), case.weights.as_deref());
        let found = TaskMetrics::measure(case.kind, &case.scores, &labels, groups, weights, &wanted);
        for (expected, tolerance) in [(&case.exact, 1e-9), (&case.single, 1e-6)] {
            for (metric, expected) in expected {
                let found = found.get(*metric).unwrap_or_else(|| panic!("{}: no {metric}", case.name));
                let off = (found - expected).abs() / expected.abs().max(1.0);
                assert!(off < tolerance, "{}: {metric} is {found}, not {expected}", case.name);
                *held.entry(*metric).or_default() += 1;
            }
        }
    }
    for metric in Metric::usual(LabelKind::Binary).into_iter().chain(Metric::usual(LabelKind::Value)) {
        assert!(held.get(&metric).is_some_and(|cases| *cases > 1), "{metric} is held to nothing");
    }
}
