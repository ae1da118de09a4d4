//! What quality costs: parameters and seconds.

use super::{Context, Section, intro};
use crate::report::charts::{Axis, Chart, Point, ScatterChart, legend};
use crate::report::data::{Metric, ModelReport};
use crate::report::markup::Markup;
use crate::report::number::{count, decimals, duration, four, maybe, mean, or_dash};
use crate::report::table::Table;

/// Times that differ by more than this are laid out by their logarithms.
const WIDE: f64 = 20.0;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let models = &context.report.models;
    if models.len() < 2 {
        return None;
    }
    let figures: Vec<(Chart, Table)> = [by_parameters(context), by_seconds(context)].into_iter().flatten().collect();
    if figures.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    intro(&mut body, "Mean AUC over all tasks against what a model takes. Up is better, left is cheaper.");
    legend(&mut body, &context.series(|i| quality(context, i).is_some()), false);
    context.figures.beside(&mut body, &figures);
    Some(Section { id: "cost", heading: "What it costs", body })
}

/// Mean AUC over tasks, of labels that are numbers XAUC, of classes accuracy; `None` unless all of them have one, so that models are compared on the same tasks.
fn quality(context: &Context<'_>, model: usize) -> Option<f64> {
    let aucs: Option<Vec<f64>> = context
        .tasks()
        .map(|(t, _)| {
            let task = context.task(model, t)?;
            task.get(Metric::plain(task.kind)).map(|auc| auc.mean).filter(|auc| auc.is_finite())
        })
        .collect();
    mean(aucs?)
}

fn seconds(model: &ModelReport) -> Option<f64> {
    mean(model.seconds.iter().copied()).filter(|s| *s > 0.0)
}

fn points(
    context: &Context<'_>,
    cost: impl Fn(&ModelReport) -> Option<f64>,
    text: impl Fn(f64) -> String,
) -> Vec<Point> {
    let point = |(i, model): (usize, &ModelReport)| {
        let (x, y) = (cost(model)?, quality(context, i)?);
        let title = format!("{}: {}, AUC {}", model.name, text(x), four(y));
        Some(Point { title, name: model.name.clone(), style: context.style(i), x, y })
    };
    context.report.models.iter().enumerate().filter_map(point).collect()
}

fn table(context: &Context<'_>) -> Table {
    let head = ["model", "parameters", "training time", "memory planned, GB", "mean AUC"];
    let mut table = Table::new("Cost and mean AUC over tasks", head);
    for (i, model) in context.report.models.iter().enumerate() {
        table.row(
            &model.name,
            [
                count(model.parameters),
                or_dash(seconds(model), duration),
                or_dash(model.memory_gb, |gb| decimals(gb, 3)),
                maybe(quality(context, i)),
            ],
        );
    }
    table
}

fn by_parameters(context: &Context<'_>) -> Option<(Chart, Table)> {
    let points = points(
        context,
        |m| (m.parameters > 0).then_some(m.parameters as f64),
        |x| format!("{} parameters", count(x as u64)),
    );
    let chart = ScatterChart {
        kind: "parameters",
        title: "AUC by number of parameters".into(),
        x: Axis::log("parameters, logarithmic", points.iter().map(|p| p.x)),
        y: Axis::linear("mean AUC over tasks", points.iter().map(|p| p.y)),
        points,
    };
    Some((chart.draw()?, table(context)))
}

fn by_seconds(context: &Context<'_>) -> Option<(Chart, Table)> {
    let points = points(context, seconds, duration);
    let all = || points.iter().map(|p| p.x);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let x = if high > low * WIDE {
        Axis::log("training time, s, logarithmic", all())
    } else {
        Axis::linear("training time, s", all())
    };
    let chart = ScatterChart {
        kind: "seconds",
        title: "AUC by training time".into(),
        x,
        y: Axis::linear("mean AUC over tasks", points.iter().map(|p| p.y)),
        points,
    };
    Some((chart.draw()?, table(context)))
}
