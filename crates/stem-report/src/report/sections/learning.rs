//! How training went, epoch by epoch.

use super::{Context, Section, intro};
use crate::report::charts::{Axis, Chart, Line, LineChart, legend};
use crate::report::data::EpochPoint;
use crate::report::markup::Markup;
use crate::report::number::{four, mean, or_dash};
use crate::report::table::Table;

/// A number of an epoch and a task.
type Of = fn(&EpochPoint, usize) -> Option<f64>;

/// One seed of one model: its place, its seed, epochs and numbers, NaN where there is none between two.
struct Run {
    model: usize,
    seed: u64,
    points: Vec<(usize, f64)>,
}

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let (auc, loss): (Of, Of) = (|e, t| e.auc.get(t).copied().flatten(), |e, t| e.loss.get(t).copied());
    let mut figures = Vec::new();
    for (t, task) in context.tasks() {
        let title = |what: &str| format!("{task}: {what}");
        figures.extend(figure(context, title("AUC on the validation split"), "AUC, validation", |e| auc(e, t)));
        figures.extend(figure(context, title("training loss"), "training loss, nats", |e| loss(e, t)));
    }
    if figures.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    let seeds = if context.report.models.iter().any(|m| m.learning.len() > 1) {
        "Thick: the mean of a model's seeds, as far as all of them went on. Thin: each seed. "
    } else {
        ""
    };
    let falls = "A validation AUC that falls while the loss goes on falling is overfitting.";
    intro(&mut body, &format!("{seeds}A line ends where training did. {falls}"));
    legend(&mut body, &context.series(|i| !context.report.models[i].learning.is_empty()), true);
    context.figures.beside(&mut body, &figures);
    let heading = if context.report.models.len() > 1 { "How they learned" } else { "How it learned" };
    Some(Section { id: "learning", heading, body })
}

fn figure(
    context: &Context<'_>,
    title: String,
    axis: &str,
    of: impl Fn(&EpochPoint) -> Option<f64>,
) -> Option<(Chart, Table)> {
    let runs: Vec<Run> = context
        .report
        .models
        .iter()
        .enumerate()
        .flat_map(|(model, m)| m.learning.iter().map(move |curve| (model, curve)))
        .map(|(model, curve)| {
            let points = curve.epochs.iter().map(|e| (e.epoch, of(e).filter(|v| v.is_finite()).unwrap_or(f64::NAN)));
            Run { model, seed: curve.seed, points: trimmed(points.collect()) }
        })
        .filter(|run| !run.points.is_empty())
        .collect();
    let all = || runs.iter().flat_map(|run| &run.points);
    let mut lines = Vec::new();
    for (i, model) in context.report.models.iter().enumerate() {
        let own: Vec<&Run> = runs.iter().filter(|run| run.model == i).collect();
        let style = context.style(i);
        for run in own.iter().filter(|_| own.len() > 1) {
            let points = run.points.iter().map(|&(e, v)| (e as f64, v)).collect();
            let name = format!("{}, seed {}", model.name, run.seed);
            lines.push(Line { name, style, points, thin: true, markers: false });
        }
        lines.push(Line { name: model.name.clone(), style, points: means(&own), thin: false, markers: true });
    }
    let chart = LineChart {
        kind: "learning",
        x: Axis::whole("epoch", all().map(|(e, _)| *e as f64)),
        y: Axis::linear(axis, all().map(|(_, v)| *v)),
        lines,
        diagonal: None,
        title: title.clone(),
    };
    let table = table(context, title, &runs);
    Some((chart.draw()?, table))
}

/// From the first number to the last: a task trained apart may have stopped before the others.
fn trimmed(mut points: Vec<(usize, f64)>) -> Vec<(usize, f64)> {
    let known = |(_, v): &(usize, f64)| v.is_finite();
    points.truncate(points.iter().rposition(known).map_or(0, |last| last + 1));
    points.drain(..points.iter().position(known).unwrap_or(0));
    points
}

/// Mean over runs of the epochs that all of them have.
fn means(runs: &[&Run]) -> Vec<(f64, f64)> {
    let Some(first) = runs.first() else { return Vec::new() };
    let at = |run: &Run, epoch: usize| run.points.iter().find(|(e, _)| *e == epoch).map(|(_, v)| *v);
    let of = |epoch: usize| -> Option<(f64, f64)> {
        let values: Vec<f64> = runs.iter().map(|run| at(run, epoch)).collect::<Option<_>>()?;
        let known = values.iter().all(|v| v.is_finite());
        Some((epoch as f64, if known { mean(values)? } else { f64::NAN }))
    };
    first.points.iter().filter_map(|(epoch, _)| of(*epoch)).collect()
}

/// A row per run, a column per epoch.
fn table(context: &Context<'_>, title: String, runs: &[Run]) -> Table {
    let mut epochs: Vec<usize> = runs.iter().flat_map(|run| run.points.iter().map(|(e, _)| *e)).collect();
    epochs.sort_unstable();
    epochs.dedup();
    let head = ["model".to_owned(), "seed".to_owned()].into_iter().chain(epochs.iter().map(|e| format!("epoch {e}")));
    let mut table = Table::new(title, head);
    for run in runs {
        let name = context.report.models.get(run.model).map_or("", |m| m.name.as_str());
        let value = |epoch: &usize| or_dash(run.points.iter().find(|(e, _)| e == epoch), |(_, v)| four(*v));
        table.row(name, [run.seed.to_string()].into_iter().chain(epochs.iter().map(value)));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_goes_as_far_as_all_seeds_do() {
        let run = |points: &[(usize, f64)]| Run { model: 0, seed: 0, points: points.to_vec() };
        let (long, short) = (run(&[(1, 0.5), (2, 0.7), (3, 0.8)]), run(&[(1, 0.7), (2, 0.9)]));
        let means: Vec<String> = means(&[&long, &short]).iter().map(|(e, v)| format!("{e} {v:.1}")).collect();
        assert_eq!(means, ["1 0.6", "2 0.8"]);
    }

    #[test]
    fn a_line_has_gaps_but_no_ends_without_numbers() {
        let nan = f64::NAN;
        let points = trimmed(vec![(1, nan), (2, 0.5), (3, nan), (4, 0.7), (5, nan), (6, nan)]);
        assert_eq!(
            points.iter().map(|(e, v)| (*e, v.is_finite())).collect::<Vec<_>>(),
            [(2, true), (3, false), (4, true)]
        );
        assert!(trimmed(vec![(1, nan)]).is_empty() && trimmed(vec![]).is_empty());
        let run = |points: &[(usize, f64)]| Run { model: 0, seed: 0, points: points.to_vec() };
        let means = means(&[&run(&points), &run(&[(2, 0.7), (3, 0.7), (4, 0.9)])]);
        assert_eq!(means.iter().map(|(_, v)| v.is_finite()).collect::<Vec<_>>(), [true, false, true]);
    }
}
