//! What the learned prior is worth, as a picture.

use super::Run;
use super::tables::{Difference, Gain, gains};
use crate::chart::{line, paper, point, text};

/// Edges of the area in which points lie.
const LEFT: f64 = 210.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 84.0;
/// From one row to the next.
const ROW: f64 = 26.0;
/// Steps of the axis.
const STEP: f64 = 0.005;

/// A row for each data set and task: the difference of AUC against the best model under a fixed prior, and against STEM under one, with
/// their 95 % intervals over seeds; one seed has none.
pub fn gained(runs: &[Run]) -> String {
    let gains: Vec<Gain<'_>> = gains(runs).into_iter().filter(|gain| gain.against_best.is_some()).collect();
    let ends = |side: f64| {
        let all = gains.iter().flat_map(|gain| [gain.against_best, gain.against_own]).flatten();
        all.map(|of| of.mean + side * STEP).fold(0.0, |a: f64, b| if side > 0.0 { a.max(b) } else { a.min(b) })
    };
    let (low, high) = ((ends(-1.0) / STEP).floor() as i32, (ends(1.0) / STEP).ceil() as i32);
    let bounds = [f64::from(low) * STEP, f64::from(high) * STEP];
    let x =
        |value: f64| LEFT + (value.clamp(bounds[0], bounds[1]) - bounds[0]) / (bounds[1] - bounds[0]) * (RIGHT - LEFT);
    let bottom = TOP + ROW * gains.len() as f64;
    let height = bottom + 62.0;
    let (title, subtitle) = (
        "What the learned prior is worth to STEM",
        "Difference of test AUC, 95 % intervals over seeds (cut off at the edges)",
    );
    let mut svg = paper(title, subtitle, [720.0, height]);
    for mark in low..=high {
        let value = f64::from(mark) * STEP;
        line(&mut svg, "grid", [x(value); 2], [TOP - 8.0, bottom]);
        text(&mut svg, "faint", "middle", [x(value), bottom + 18.0], &format!("{value:+.3}"));
    }
    line(&mut svg, "line zero", [x(0.0); 2], [TOP - 8.0, bottom]);
    for (place, gain) in gains.iter().enumerate() {
        let y = TOP + ROW * (place as f64 + 0.5);
        text(&mut svg, "ink", "end", [LEFT - 12.0, y + 4.0], &format!("{}: {}", gain.data, gain.task));
        for (i, (of, y)) in [(gain.against_best, y - 4.0), (gain.against_own, y + 4.0)].into_iter().enumerate() {
            let Some(Difference { mean, half }) = of else { continue };
            let half = half.unwrap_or(0.0);
            line(&mut svg, ["line a", "line b"][i], [x(mean - half), x(mean + half)], [y, y]);
            point(&mut svg, i, [x(mean), y]);
        }
    }
    text(&mut svg, "fa", "start", [LEFT, bottom + 44.0], "● against the best model with a fixed L2");
    text(&mut svg, "fb", "start", [LEFT + 260.0, bottom + 44.0], "■ against STEM with a fixed L2");
    svg.push_str("</svg>\n");
    svg
}
