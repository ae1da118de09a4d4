//! ROC curves, and whether a predicted probability is what happens.

use super::{Context, Section, intro};
use crate::report::charts::{Axis, Chart, Line, LineChart, legend};
use crate::report::markup::Markup;
use crate::report::number::{DASH, count, four, maybe};
use crate::report::table::Table;

/// False positive rates whose true positive rates are in the table.
const RATES: [f64; 9] = [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9];

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let figures: Vec<(Chart, Table)> = context
        .tasks()
        .flat_map(|(t, task)| [roc(context, t, task), calibration(context, t, task)])
        .flatten()
        .collect();
    if figures.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    intro(
        &mut body,
        "ROC: how many of the positives are found at how many false alarms; the dotted line is guessing. Calibration: rows in \
         bins of similar prediction; above the dotted line more happens than the model says, below it less.",
    );
    let shown =
        |i: usize| context.report.models[i].tasks.iter().any(|t| !t.roc.is_empty() || !t.calibration_curve.is_empty());
    legend(&mut body, &context.series(shown), true);
    context.figures.beside(&mut body, &figures);
    Some(Section { id: "curves", heading: "ROC and calibration", body })
}

fn roc(context: &Context<'_>, t: usize, task: &str) -> Option<(Chart, Table)> {
    let title = format!("{task}: ROC");
    let head = ["model".to_owned()].into_iter().chain(RATES.iter().map(|r| format!("at {r}")));
    let mut table = Table::new(format!("{title}: true positive rate at false positive rates"), head);
    let mut lines = Vec::new();
    for (i, model) in context.report.models.iter().enumerate() {
        let Some(points) = context.task(i, t).map(|t| &t.roc).filter(|roc| !roc.is_empty()) else { continue };
        table.row(&model.name, RATES.iter().map(|rate| maybe(at(points, *rate))));
        let points = points.iter().map(|[x, y]| (*x, *y)).collect();
        lines.push(Line { name: model.name.clone(), points, ..Line::plain(context.style(i)) });
    }
    let chart = LineChart {
        kind: "roc",
        title,
        x: Axis::fixed("false positive rate", 0.0, 1.0),
        y: Axis::fixed("true positive rate", 0.0, 1.0),
        lines,
        diagonal: Some((0.0, 1.0)),
    };
    Some((chart.draw()?, table))
}

/// The curve at a rate, between its points.
fn at(points: &[[f64; 2]], rate: f64) -> Option<f64> {
    let after = points.iter().position(|[x, _]| *x >= rate)?;
    let [x1, y1] = points[after];
    let Some([x0, y0]) = after.checked_sub(1).map(|before| points[before]) else { return Some(y1) };
    Some(if x1 > x0 { y0 + (y1 - y0) * (rate - x0) / (x1 - x0) } else { y1 })
}

fn calibration(context: &Context<'_>, t: usize, task: &str) -> Option<(Chart, Table)> {
    let title = format!("{task}: calibration");
    let head = ["model", "rows", "mean prediction", "mean label"];
    let mut table = Table::new(format!("{title}, bin by bin"), head);
    let (mut lines, mut largest) = (Vec::new(), 0.0f64);
    for (i, model) in context.report.models.iter().enumerate() {
        let Some(task) = context.task(i, t) else { continue };
        let mut points = Vec::new();
        for bin in task.calibration_curve.iter().filter(|bin| bin.rows > 0) {
            points.push((bin.mean_prediction, bin.mean_label));
            largest = largest.max(bin.mean_prediction).max(bin.mean_label);
            table.row(&model.name, [count(bin.rows), four(bin.mean_prediction), four(bin.mean_label)]);
        }
        lines.push(Line { name: model.name.clone(), points, markers: true, ..Line::plain(context.style(i)) });
    }
    let end = if largest > 0.0 && largest < 1.0 { largest * 1.04 } else { 1.0 };
    let chart = LineChart {
        kind: "calibration",
        title,
        x: Axis::fixed("mean prediction, probability", 0.0, end),
        y: Axis::fixed("mean label, share of positives", 0.0, end),
        lines,
        diagonal: Some((0.0, end)),
    };
    let chart = chart.draw()?;
    if table.is_empty() {
        table.row(DASH, [DASH; 3]);
    }
    Some((chart, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_read_between_its_points() {
        let points = [[0.0, 0.0], [0.0, 0.4], [0.5, 0.8], [1.0, 1.0]];
        assert_eq!(at(&points, 0.25).map(four), Some("0.6000".into()));
        assert_eq!(at(&points, 0.0), Some(0.0));
        assert_eq!(at(&[[0.5, 0.7]], 0.1), Some(0.7));
        assert_eq!(at(&[[f64::NAN, f64::NAN]], 0.1), None);
    }
}
