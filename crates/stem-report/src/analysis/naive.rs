//! Every metric against its definition, written down without sorting once, on small samples with ties, missing labels and weights.

use proptest::prelude::*;

use super::{LabelKind, Metric, Sample};

const EVERY: [Metric; 17] = [
    Metric::Auc,
    Metric::Gauc,
    Metric::Logloss,
    Metric::PrAuc,
    Metric::Ne,
    Metric::Ece,
    Metric::Ndcg(1),
    Metric::Ndcg(3),
    Metric::Mrr,
    Metric::Recall(1),
    Metric::Recall(3),
    Metric::HitRate(1),
    Metric::HitRate(3),
    Metric::Xauc,
    Metric::Rmse,
    Metric::Mae,
    Metric::Accuracy,
];

#[derive(Debug, Clone, Copy)]
struct Row {
    score: f32,
    label: f32,
    group: u32,
    weight: f32,
}

/// Score, label and weight of a row that takes part.
type Known = (f64, f64, f64);

/// Up to 5 rows of up to 5 groups in any order; of some the label is missing.
fn rows(labels: &'static [f32]) -> impl Strategy<Value = Vec<Row>> {
    let label = prop::option::weighted(0.85, prop::sample::select(labels));
    let weight = prop::sample::select(&[0.0, 0.5, 1.0, 2.0][..]);
    let row = (0u8..6, label, weight);
    let groups = prop::collection::vec(prop::collection::vec(row, 0..6), 0..6);
    let all = groups.prop_map(|groups| {
        let row = |group: usize, (score, label, weight): (u8, Option<f32>, f32)| Row {
            score: f32::from(score) / 5.0,
            label: label.unwrap_or(f32::NAN),
            group: 100 + group as u32,
            weight,
        };
        groups
            .into_iter()
            .enumerate()
            .flat_map(|(g, rows)| rows.into_iter().map(move |r| row(g, r)))
            .collect::<Vec<_>>()
    });
    all.prop_shuffle()
}

fn any_rows() -> impl Strategy<Value = (LabelKind, Vec<Row>)> {
    prop_oneof![
        rows(&[0.0, 1.0]).prop_map(|rows| (LabelKind::Binary, rows)),
        rows(&[-1.0, -0.0, 0.0, 0.5, 2.0, 3.0]).prop_map(|rows| (LabelKind::Value, rows)),
        rows(&[0.0, 1.0, 2.0]).prop_map(|rows| (LabelKind::Class, rows)),
    ]
}

fn columns(rows: &[Row]) -> (Vec<f32>, Vec<f32>, Vec<u32>, Vec<f32>) {
    let of = |column: fn(&Row) -> f32| rows.iter().map(column).collect();
    (of(|r| r.score), of(|r| r.label), rows.iter().map(|r| r.group).collect(), of(|r| r.weight))
}

fn sample(kind: LabelKind, rows: &[Row], weighted: bool) -> (Sample, Vec<f32>) {
    let (scores, labels, groups, weights) = columns(rows);
    (Sample::of(kind, &labels, Some(&groups), None).weighted(weighted.then_some(&weights)), scores)
}

fn measured(kind: LabelKind, rows: &[Row], weighted: bool) -> Vec<Option<f64>> {
    let (sample, scores) = sample(kind, rows, weighted);
    let ranked = sample.rank_for(&scores, &EVERY);
    EVERY.iter().map(|metric| ranked.metric(*metric)).collect()
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    a.is_some() == b.is_some() && (a.unwrap_or(0.0) - b.unwrap_or(0.0)).abs() < 1e-11
}

/// By the definition.
fn naive(metric: Metric, kind: LabelKind, rows: &[Row]) -> Option<f64> {
    let known: Vec<Row> = rows.iter().copied().filter(|row| !row.label.is_nan() && row.weight > 0.0).collect();
    let of_group = |group: u32| -> Vec<Known> { known.iter().filter(|r| r.group == group).map(of_row).collect() };
    let all: Vec<Known> = known.iter().map(of_row).collect();
    if !metric.applies_to(kind) {
        return None;
    }
    let total: f64 = all.iter().map(|r| r.2).sum();
    let mean = |of: fn(Known) -> f64| (total > 0.0).then(|| all.iter().map(|r| r.2 * of(*r)).sum::<f64>() / total);
    match metric {
        Metric::Auc | Metric::Xauc => pairs_in_order(&all),
        Metric::Gauc => {
            let groups = (100..106).map(of_group);
            let parts = groups.filter_map(|g| Some((pairs_in_order(&g)?, g.iter().map(|r| r.2).sum::<f64>())));
            let (sum, rows) = parts.fold((0.0, 0.0), |(sum, rows), (auc, n)| (sum + n * auc, rows + n));
            (rows > 0.0).then(|| sum / rows)
        }
        Metric::Logloss => mean(cross_entropy),
        Metric::Ne => {
            let p = mean(|r| r.1)?;
            let entropy = -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
            (p > 0.0 && p < 1.0).then(|| mean(cross_entropy).map(|loss| loss / entropy))?
        }
        Metric::Rmse => mean(|(s, y, _)| (s - y).powi(2)).map(f64::sqrt),
        Metric::Mae => mean(|(s, y, _)| (s - y).abs()),
        Metric::Accuracy => mean(|(s, y, _)| if (s - y).abs() < 0.5 { 1.0 } else { 0.0 }),
        Metric::PrAuc => average_precision(&all),
        Metric::Ece => {
            let bin = |b: usize| {
                let holds = |s: f64| (s * 15.0 + 1e-5) as usize == b || (b == 14 && s >= 1.0);
                let rows: Vec<&Known> = all.iter().filter(|r| holds(r.0)).collect();
                let count: f64 = rows.iter().map(|r| r.2).sum();
                let mean = |of: fn(&Known) -> f64| rows.iter().map(|r| r.2 * of(r)).sum::<f64>() / count;
                if rows.is_empty() { 0.0 } else { count / total * (mean(|r| r.1) - mean(|r| r.0)).abs() }
            };
            (total > 0.0).then(|| (0..15).map(bin).sum())
        }
        _ => {
            let groups: Vec<Vec<Known>> =
                (100..106).map(of_group).filter(|group| group.iter().any(|r| r.1 > 0.0)).collect();
            let sum: f64 = groups.iter().map(|group| over_orders(metric, group)).sum();
            (!groups.is_empty()).then(|| sum / groups.len() as f64)
        }
    }
}

fn of_row(row: &Row) -> Known {
    (f64::from(row.score), f64::from(row.label), f64::from(row.weight))
}

fn cross_entropy((s, y, _): Known) -> f64 {
    let p = s.clamp(1e-7, 1.0 - 1e-7);
    -y * p.ln() - (1.0 - y) * (1.0 - p).ln()
}

fn pairs_in_order(rows: &[Known]) -> Option<f64> {
    let (mut won, mut pairs) = (0.0, 0.0);
    for (s, y, w) in rows {
        for (other, _, v) in rows.iter().filter(|r| r.1 < *y) {
            won += w * v * f64::from(u8::from(s > other) + u8::from(s >= other)) / 2.0;
            pairs += w * v;
        }
    }
    (pairs > 0.0).then(|| won / pairs)
}

fn average_precision(rows: &[Known]) -> Option<f64> {
    let above = |threshold: f64, of: fn(&Known) -> f64| -> f64 {
        rows.iter().filter(|r| r.0 >= threshold).map(|r| r.2 * of(r)).sum()
    };
    let positives = above(f64::NEG_INFINITY, |r| r.1);
    let mut thresholds: Vec<f64> = rows.iter().map(|r| r.0).collect();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let (mut sum, mut before) = (0.0, 0.0);
    for threshold in thresholds {
        let found = above(threshold, |r| r.1);
        sum += (found - before) / positives * found / above(threshold, |_| 1.0);
        before = found;
    }
    (positives > 0.0).then_some(sum)
}

/// The mean over all orders of a group's rows in which no score stands below a lower one.
fn over_orders(metric: Metric, rows: &[Known]) -> f64 {
    let descending = |order: &Vec<usize>| order.windows(2).all(|pair| rows[pair[0]].0 >= rows[pair[1]].0);
    let orders: Vec<Vec<usize>> = orders((0..rows.len()).collect()).into_iter().filter(descending).collect();
    let value = |order: &Vec<usize>| in_order(metric, &order.iter().map(|&place| rows[place]).collect::<Vec<_>>());
    orders.iter().map(value).sum::<f64>() / orders.len() as f64
}

fn orders(of: Vec<usize>) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![vec![]];
    }
    let with_first = |place: usize| {
        let mut rest = of.clone();
        let first = rest.remove(place);
        orders(rest).into_iter().map(move |rest| [vec![first], rest].concat())
    };
    (0..of.len()).flat_map(with_first).collect()
}

fn in_order(metric: Metric, rows: &[Known]) -> f64 {
    let weight = |rows: &[Known]| rows.iter().filter(|r| r.1 > 0.0).map(|r| r.2).sum::<f64>();
    let first = |k: u16| &rows[..rows.len().min(k.into())];
    match metric {
        Metric::Ndcg(k) => {
            let dcg = |gains: &[f64]| -> f64 {
                gains.iter().take(k.into()).enumerate().map(|(r, gain)| gain / (r as f64 + 2.0).log2()).sum()
            };
            let gains: Vec<f64> = rows.iter().map(|(_, y, w)| w * y.max(0.0)).collect();
            let mut ideal = gains.clone();
            ideal.sort_by(|a, b| b.total_cmp(a));
            dcg(&gains) / dcg(&ideal)
        }
        Metric::Mrr => 1.0 / (1.0 + rows.iter().position(|r| r.1 > 0.0).unwrap() as f64),
        Metric::Recall(k) => weight(first(k)) / weight(rows),
        Metric::HitRate(k) => f64::from(u8::from(weight(first(k)) > 0.0)),
        _ => unreachable!(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_metric_is_its_definition((kind, rows) in any_rows()) {
        for (metric, found) in EVERY.into_iter().zip(measured(kind, &rows, true)) {
            let expected = naive(metric, kind, &rows);
            prop_assert!(close(found, expected), "{} is {:?}, not {:?}", metric, found, expected);
        }
    }

    #[test]
    fn rows_of_weight_1_count_as_rows_without_and_rows_of_weight_0_do_not((kind, mut rows) in any_rows()) {
        rows.iter_mut().for_each(|row| row.weight = row.weight.ceil().min(1.0));
        let kept: Vec<Row> = rows.iter().copied().filter(|row| row.weight > 0.0).collect();
        for (metric, (a, b)) in EVERY.into_iter().zip(measured(kind, &rows, true).into_iter().zip(measured(kind, &kept, false))) {
            prop_assert!(close(a, b), "{}: {:?}, {:?}", metric, a, b);
        }
    }

    /// What a resample is: groups repeated, each time as a group of its own.
    #[test]
    fn under_counts_of_groups_a_metric_is_that_of_the_groups_repeated(
        (kind, rows) in any_rows(),
        counts in prop::collection::vec(0u8..4, 6),
        weighted in any::<bool>(),
    ) {
        let count = |group: u32| counts[(group - 100) as usize];
        let again = |row: &Row| (0..u32::from(count(row.group))).map(|time| Row { group: row.group + 100 * time, ..*row }).collect::<Vec<_>>();
        let repeated: Vec<Row> = rows.iter().flat_map(again).collect();
        let mut order: Vec<u32> = Vec::new(); // groups by their first row with a label
        for row in rows.iter().filter(|row| !row.label.is_nan()) {
            if !order.contains(&row.group) {
                order.push(row.group);
            }
        }
        let of_sample: Vec<u8> = order.into_iter().map(count).collect();
        let (sample, scores) = sample(kind, &rows, weighted);
        let ranked = sample.rank_for(&scores, &EVERY);
        for (metric, expected) in EVERY.into_iter().zip(measured(kind, &repeated, weighted)) {
            let found = ranked.measure(metric).value(&of_sample);
            prop_assert!(close(found, expected), "{} is {:?}, not {:?}", metric, found, expected);
        }
    }

    #[test]
    fn xauc_of_labels_0_and_1_is_the_auc_also_where_they_are_taken_for_numbers(rows in rows(&[0.0, 1.0])) {
        let place = EVERY.iter().position(|metric| *metric == Metric::Xauc).unwrap();
        let [binary, value] = [LabelKind::Binary, LabelKind::Value].map(|kind| measured(kind, &rows, true));
        prop_assert!(close(binary[0], binary[place]) && close(binary[0], value[place]), "{:?} {:?}", binary[0], value[place]);
    }
}

#[test]
fn what_is_undefined_is_none_in_every_metric() {
    let row = |score: f32, label: f32| Row { score, label, group: 100, weight: 1.0 };
    for kind in [LabelKind::Binary, LabelKind::Value] {
        assert!(measured(kind, &[], false).iter().all(Option::is_none), "no rows");
        let no_number = [row(0.1, 1.0), row(f32::NAN, 0.0), row(0.3, 1.0)];
        assert!(measured(kind, &no_number, false).iter().all(Option::is_none), "a score that is no number");
        let unlabelled = [row(0.1, 1.0), row(f32::NAN, f32::NAN), row(0.3, 0.0)];
        assert!(measured(kind, &unlabelled, false)[15].is_some(), "no score is asked where there is no label");
        let names = |rows: &[Row]| -> Vec<String> {
            let found = EVERY.into_iter().zip(measured(kind, rows, false));
            found
                .filter(|(metric, value)| value.is_none() && metric.applies_to(kind))
                .map(|(m, _)| m.to_string())
                .collect()
        };
        let (negative, positive) = (names(&[row(0.1, 0.0), row(0.2, 0.0)]), names(&[row(0.1, 1.0), row(0.2, 1.0)]));
        let within = ["ndcg@1", "ndcg@3", "mrr", "recall@1", "recall@3", "hitrate@1", "hitrate@3", "xauc"];
        if kind == LabelKind::Binary {
            assert_eq!(negative, [&["auc", "gauc", "pr-auc", "ne"][..], &within].concat());
            assert_eq!(positive, ["auc", "gauc", "ne", "xauc"]);
        } else {
            assert_eq!((negative, positive), (within.map(String::from).into(), vec!["xauc".to_string()]));
        }
        let sample = Sample::of(kind, &[1.0, 0.0], Some(&[0, 0]), None);
        assert_eq!(
            sample.rank_for(&[0.1, 0.2], &[Metric::Ndcg(0)]).metric(Metric::Ndcg(0)),
            None,
            "no row is asked for"
        );
    }
}

/// Half of the orders put the positive first.
#[test]
fn a_tie_is_worth_the_mean_over_its_orders() {
    let of = |metric| Sample::new(&[1.0, 0.0], &[7, 7], None).rank_for(&[0.5; 2], &[metric]).metric(metric).unwrap();
    assert_eq!(
        (of(Metric::Mrr), of(Metric::Recall(1)), of(Metric::HitRate(1)), of(Metric::HitRate(2))),
        (0.75, 0.5, 0.5, 1.0)
    );
    assert!((of(Metric::Ndcg(2)) - (1.0 + 1.0 / 3f64.log2()) / 2.0).abs() < 1e-12);
}

#[test]
#[should_panic(
    expected = "ndcg@5 is asked of scores that were ranked for [Auc, Gauc, Logloss]: name it in Sample::rank_for"
)]
fn a_metric_that_was_not_prepared_is_not_taken_for_an_undefined_one() {
    Sample::new(&[1.0, 0.0], &[7, 7], None).rank(&[0.5; 2]).metric(Metric::Ndcg(5));
}
