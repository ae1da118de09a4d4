//! Calibration: for each task a map from a score to one that can be taken at its word, fitted on the validation split when its weights are kept.
//!
//! ```text
//! Platt       min over a, b of  sum_i c_i BCE(sigmoid(a logit(p_i) + b), y_i)                     Newton's method
//! linear      min over a, b of  sum_i c_i (a s_i + b - y_i)^2                                     of regressions and levels
//! factor      a = sum_i c_i y_i / sum_i c_i s_i                                                   of counts, times and amounts
//! isotonic    min over rising f of  sum_i c_i (f(p_i) - y_i)^2                                    pool adjacent violators
//! ```
//!
//! with `c_i` how much row `i` counts. The blocks of the isotonic fit are joined by lines from middle to middle, so that the order of scores
//! is kept within them as far as probabilities differ.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stem_core::{Calibration, Task, TaskKind, logit};
use stem_data::{Dataset, Split};
use stem_report::metrics::column;

/// How scores become probabilities that can be taken at their word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calibrate {
    /// They are left as the model makes them.
    #[default]
    None,
    /// By a line through their logits, or through the scores themselves where the label is a number: two numbers a task, for few
    /// validation rows too.
    Platt,
    /// By a rising map: of any form, for thousands of positives.
    Isotonic,
}

/// Rows of label 0 and of label 1 that a map is fitted on at least; of a regression rows, of other numbers rows above 0.
const LEAST: usize = 10;
/// Steps of Newton's method at most.
const STEPS: usize = 50;

/// Fits a map for each task; none for a task with fewer than 10 validation rows of either label, or with fewer than 10 rows (above 0, but for
/// a regression) where the label is a number. `scores [N, T]`
pub(crate) fn fit(method: Calibrate, scores: &[f32], dataset: &Dataset) -> BTreeMap<String, Calibration> {
    let tasks = &dataset.schema().tasks;
    let (labels, weights) = (dataset.labels(Split::Valid), dataset.weights(Split::Valid));
    let of = |(t, task): (usize, &Task)| {
        let rows = column(scores, t, tasks.len()).zip(column(labels, t, tasks.len())).enumerate();
        let rows = rows.filter(|(_, (_, label))| !label.is_nan()).map(|(row, (score, label))| Row {
            score: f64::from(*score),
            label: f64::from(*label),
            weight: weights.map_or(1.0, |weights| f64::from(weights[row])),
        });
        let is_told = |row: &Row| row.weight > 0.0 && row.score.abs() < f64::from(f32::MAX); // a score beyond all tells no level
        let rows: Vec<Row> = rows.filter(is_told).collect();
        let positives = rows.iter().filter(|row| row.label > 0.0).count();
        let enough = match task.kind {
            TaskKind::Classes { .. } => false, // a class has no level
            TaskKind::Binary => positives.min(rows.len() - positives) >= LEAST,
            TaskKind::Regression { .. } => rows.len() >= LEAST,
            _ => positives >= LEAST,
        };
        if !enough {
            return None;
        }
        let map = match method {
            Calibrate::None => return None,
            Calibrate::Platt => match task.kind {
                TaskKind::Binary => platt(&rows),
                TaskKind::Regression { .. } | TaskKind::Ordinal { .. } => linear(&rows),
                _ => factor(&rows),
            },
            Calibrate::Isotonic => isotonic(rows, &task.kind),
        };
        Some((task.name.clone(), map))
    };
    tasks.iter().enumerate().filter_map(of).collect()
}

#[derive(Debug, Clone, Copy)]
struct Row {
    score: f64,
    label: f64,
    weight: f64,
}

fn platt(rows: &[Row]) -> Calibration {
    let logits: Vec<f64> = rows.iter().map(|row| logit(row.score)).collect();
    let fitted = newton(rows, &logits, true);
    // Scores that are worse than chance are not turned round: only their level is set right.
    let (slope, offset) = if fitted.0 > 0.0 { fitted } else { newton(rows, &logits, false) };
    Calibration::Platt { slope, offset }
}

/// A least-squares line; where it would fall, or the scores are all one, their level alone is set right.
fn linear(rows: &[Row]) -> Calibration {
    let sum = |of: &dyn Fn(&Row) -> f64| rows.iter().map(|row| row.weight * of(row)).sum::<f64>();
    let weight = sum(&|_| 1.0);
    let (score, label) = (sum(&|row| row.score) / weight, sum(&|row| row.label) / weight);
    let spread = sum(&|row| (row.score - score) * (row.score - score));
    let slope = sum(&|row| (row.score - score) * (row.label - label)) / spread;
    let slope = if slope.is_finite() && slope > 0.0 { slope } else { 1.0 };
    Calibration::Linear { slope, offset: label - slope * score }
}

/// Scores of counts and amounts times what their sum lacks of the labels': what is never below 0 stays so.
fn factor(rows: &[Row]) -> Calibration {
    let sum = |of: fn(&Row) -> f64| rows.iter().map(|row| row.weight * of(row)).sum::<f64>();
    let slope = sum(|row| row.label) / sum(|row| row.score);
    Calibration::Linear { slope: if slope.is_finite() && slope > 0.0 { slope } else { 1.0 }, offset: 0.0 }
}

/// The loss of a line through the logits.
fn loss_of(rows: &[Row], logits: &[f64], (slope, offset): (f64, f64)) -> f64 {
    let of = |(row, z): (&Row, &f64)| {
        let z = slope * z + offset;
        row.weight * (z.max(0.0) - z * row.label + (-z.abs()).exp().ln_1p())
    };
    rows.iter().zip(logits).map(of).sum()
}

/// Slope and offset, or the offset alone beside a slope of 1. A step is halved until the loss falls: what is given is never worse than the
/// scores as they are.
fn newton(rows: &[Row], logits: &[f64], with_slope: bool) -> (f64, f64) {
    let mut line = (1.0, 0.0);
    let mut loss = loss_of(rows, logits, line);
    for _ in 0..STEPS {
        let (mut g, mut h) = ([0.0; 2], [1e-9, 0.0, 1e-9]); // gradient by slope and offset, and the Hessian's upper half
        for (row, z) in rows.iter().zip(logits) {
            let p = 1.0 / (1.0 + (-(line.0 * z + line.1)).exp());
            let (error, curve) = (row.weight * (p - row.label), row.weight * p * (1.0 - p));
            g = [g[0] + error * z, g[1] + error];
            h = [h[0] + curve * z * z, h[1] + curve * z, h[2] + curve];
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        let step = match with_slope && determinant > 0.0 {
            true => [(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant],
            false => [0.0, g[1] / h[2]],
        };
        let halved = (0..60).map(|times| 0.5f64.powi(times)).find_map(|part| {
            let line = (line.0 - part * step[0], line.1 - part * step[1]);
            let found = loss_of(rows, logits, line);
            (found < loss).then_some((line, found))
        });
        let Some((next, found)) = halved else { break };
        let gained = loss - found;
        (line, loss) = (next, found);
        if gained <= 1e-12 * loss.abs() {
            break;
        }
    }
    line
}

/// A block of neighbouring rows: sums of weights, of weighted labels and of weighted scores.
#[derive(Debug, Clone, Copy)]
struct Block {
    weight: f64,
    label: f64,
    score: f64,
}

impl Block {
    fn level(&self) -> f64 {
        self.label / self.weight
    }
}

fn isotonic(mut rows: Vec<Row>, kind: &TaskKind) -> Calibration {
    rows.sort_unstable_by(|a, b| a.score.total_cmp(&b.score));
    let mut blocks: Vec<Block> = Vec::new();
    for tied in rows.chunk_by(|a, b| a.score == b.score) {
        let sum = |of: fn(&Row) -> f64| tied.iter().map(|row| row.weight * of(row)).sum::<f64>();
        let mut block = Block { weight: sum(|_| 1.0), label: sum(|row| row.label), score: sum(|row| row.score) };
        while let Some(before) = blocks.pop_if(|before| before.level() >= block.level()) {
            block = Block {
                weight: block.weight + before.weight,
                label: block.label + before.label,
                score: block.score + before.score,
            };
        }
        blocks.push(block);
    }
    let (mut scores, mut probabilities): (Vec<f32>, Vec<f32>) = (Vec::new(), Vec::new());
    for block in blocks {
        let of = |mean: f64| (if kind.is_binary() { mean.clamp(0.0, 1.0) } else { mean }) as f32;
        let (score, level) = ((block.score / block.weight) as f32, of(block.level()));
        match scores.last() {
            Some(last) if *last >= score => {} // apart by less than 32 bits tell
            _ => {
                scores.push(of(f64::from(score)));
                probabilities.push(level);
            }
        }
    }
    Calibration::Isotonic { scores, probabilities }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Scores whose true odds are `factor` times what they say.
    fn rows(factor: f64) -> Vec<Row> {
        (0..20_000)
            .map(|i| {
                let score = (0.5 + f64::from(i % 200)) / 200.0;
                let odds = factor * score / (1.0 - score);
                let label = f64::from(u8::from((f64::from(i / 200) + 0.5) / 100.0 < odds / (1.0 + odds)));
                Row { score, label, weight: 1.0 }
            })
            .collect()
    }

    #[test]
    fn platt_finds_the_shift_of_the_odds_and_turns_nothing_round() {
        let Calibration::Platt { slope, offset } = platt(&rows(0.25)) else { panic!("Platt") };
        assert!((slope - 1.0).abs() < 0.03 && (offset - 0.25f64.ln()).abs() < 0.03, "{slope} {offset}");
        let against: Vec<Row> = rows(1.0).into_iter().map(|row| Row { label: 1.0 - row.label, ..row }).collect();
        let Calibration::Platt { slope, offset } = platt(&against) else { panic!("Platt") };
        assert!(slope == 1.0 && offset.abs() < 0.01, "half of the labels are 1: {slope} {offset}");
    }

    /// Logits close together, far from 0: what a short training leaves of a rare task. The first step of Newton's method leads far astray.
    #[test]
    fn platt_finds_a_steep_line_through_narrow_logits() {
        let (slope, offset) = (8.0, 27.0);
        let rows: Vec<Row> = (0..20_000)
            .map(|i| {
                let z = -4.0 + 0.3 * (f64::from(i % 200) - 99.5) / 50.0;
                let p = 1.0 / (1.0 + (-(slope * z + offset)).exp());
                let label = f64::from(u8::from((f64::from(i / 200) + 0.5) / 100.0 < p));
                Row { score: 1.0 / (1.0 + (-z).exp()), label, weight: 1.0 }
            })
            .collect();
        let Calibration::Platt { slope: found, offset: level } = platt(&rows) else { panic!("Platt") };
        assert!((found / slope - 1.0).abs() < 0.1 && (level / offset - 1.0).abs() < 0.1, "{found} {level}");
    }

    #[test]
    fn rows_count_as_often_as_their_weights_say() {
        let weighted: Vec<Row> =
            rows(0.5).into_iter().enumerate().map(|(i, row)| Row { weight: (i % 3) as f64, ..row }).collect();
        let repeated: Vec<Row> =
            weighted.iter().flat_map(|row| vec![Row { weight: 1.0, ..*row }; row.weight as usize]).collect();
        let positive: Vec<Row> = weighted.iter().copied().filter(|row| row.weight > 0.0).collect();
        let (Calibration::Platt { slope: a, offset: b }, Calibration::Platt { slope: c, offset: d }) =
            (platt(&positive), platt(&repeated))
        else {
            panic!("Platt")
        };
        assert!((a - c).abs() < 1e-6 && (b - d).abs() < 1e-6);
        let [one, other] = [positive, repeated].map(|rows| isotonic(rows, &TaskKind::Binary));
        assert!((0..=100).all(|p| (one.apply(p as f32 / 100.0) - other.apply(p as f32 / 100.0)).abs() < 1e-5));
    }

    #[test]
    fn scores_of_numbers_are_set_right_by_a_line_that_never_falls() {
        let row = |score: f64, label: f64| Row { score, label, weight: 1.0 };
        let of: Vec<Row> = (0..20).map(|i| row(f64::from(i), 3.0 * f64::from(i) + 5.0)).collect();
        let Calibration::Linear { slope, offset } = linear(&of) else { panic!("a line") };
        assert!((slope - 3.0).abs() < 1e-9 && (offset - 5.0).abs() < 1e-9, "{slope} {offset}");
        let falling: Vec<Row> = of.iter().map(|row| Row { label: -row.label, ..*row }).collect();
        let Calibration::Linear { slope, offset } = linear(&falling) else { panic!("a line") };
        let mean = -(3.0 * 9.5 + 5.0);
        assert!(slope == 1.0 && (9.5 + offset - mean).abs() < 1e-9, "{slope} {offset}");
        let Calibration::Linear { slope, offset } = factor(&of) else { panic!("a factor") };
        assert!((slope - (3.0 + 5.0 / 9.5)).abs() < 1e-9 && offset == 0.0, "{slope} {offset}");
        let Calibration::Isotonic { probabilities, .. } = isotonic(of, &TaskKind::Count { scale: 1.0 }) else {
            panic!("a map")
        };
        assert_eq!(probabilities.last(), Some(&62.0), "seconds are no probabilities");
    }

    #[test]
    fn an_isotonic_fit_has_the_level_of_each_stretch() {
        let of = |score: f64, label: f64| Row { score, label, weight: 1.0 };
        let fitted =
            isotonic(vec![of(0.1, 0.0), of(0.2, 1.0), of(0.3, 0.0), of(0.4, 1.0), of(0.4, 1.0)], &TaskKind::Binary);
        // 0.2 and 0.3 are pooled: half of them are 1
        let expected = Calibration::Isotonic { scores: vec![0.1, 0.25, 0.4], probabilities: vec![0.0, 0.5, 1.0] };
        assert_eq!(fitted, expected);
    }

    proptest! {
        /// Of a mean over all rows nothing is lost, and the map never falls.
        #[test]
        fn isotonic_blocks_keep_the_sum_of_labels_and_the_order(raw in prop::collection::vec((0u8..50, any::<bool>()), 1..200)) {
            let rows: Vec<Row> = raw
                .iter()
                .map(|(score, label)| Row { score: f64::from(*score) / 50.0, label: f64::from(u8::from(*label)), weight: 1.0 })
                .collect();
            let map = isotonic(rows.clone(), &TaskKind::Binary);
            let Calibration::Isotonic { scores, probabilities } = &map else { panic!("isotonic") };
            prop_assert!(scores.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(probabilities.windows(2).all(|pair| pair[0] <= pair[1]));
            let mut ascending: Vec<f64> = rows.iter().map(|row| row.score).collect();
            ascending.sort_by(f64::total_cmp);
            let applied: Vec<f32> = ascending.iter().map(|score| map.apply(*score as f32)).collect();
            prop_assert!(applied.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6));
        }
    }
}
