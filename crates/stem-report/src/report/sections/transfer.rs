//! Whether a task gains from sharing: how much better every model is than the single-task model.

use super::{Context, Section, intro};
use crate::report::charts::{Chart, Forest, ForestGroup, ForestRow, transfer_legend};
use crate::report::data::Metric;
use crate::report::judge::{Transfer, known, models_on_task};
use crate::report::markup::Markup;
use crate::report::number::{DASH, list, signed};
use crate::report::table::Table;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    if context.report.models.len() < 2 {
        return None;
    }
    let figures: Vec<(Chart, Table)> = context.tasks().filter_map(|(t, task)| figure(context, t, task)).collect();
    if figures.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    let what = match context.report.one_metric() {
        Some(metric) if metric.higher_is_better() => {
            format!("A model's {0} less that of a model trained for the task alone", metric.name())
        }
        Some(metric) => format!("The {0} of a model trained for the task alone less a model's", metric.name()),
        None => {
            let of = |(t, task): (usize, &str)| format!("of {task} {}", context.report.metric_of(t).name());
            let all: Vec<String> = context.tasks().map(of).collect();
            format!("How much better a model is than one trained for the task alone, {}", list(&all))
        }
    };
    intro(
        &mut body,
        &format!(
            "{what}, with its 95 % interval. Right of zero the task gains from the others, left of it they cost it something. The \
             interval is that of other users and of other seeds; with one seed it is that of other users alone, and does not know \
             the luck of training."
        ),
    );
    transfer_legend(&mut body);
    context.figures.beside(&mut body, &figures);
    if let Some(table) = stopping(context) {
        intro(
            &mut body,
            "A model that is measured on validation for each task can keep the best weights of each. Part of its difference to \
             single-task is that, and no sharing: this is what one stopping point for all tasks would have given.",
        );
        table.draw(&mut body);
    }
    Some(Section { id: "transfer", heading: "Does sharing help?", body })
}

/// How much of each difference is the stopping; `None` where no model was stopped task by task.
fn stopping(context: &Context<'_>) -> Option<Table> {
    let all = context.report.one_metric().map_or("gain".into(), |metric| against(context, metric));
    let caption = format!("Mean {all}, and how much of it is the stopping");
    let head = ["task", "model", "each task's best", "one stopping point", "of that the stopping"];
    let mut table = Table::new(caption, head).named_twice();
    for (t, task) in context.tasks() {
        let models = models_on_task(context.report, t);
        let Some(reference) = models.iter().find(|c| Some(c.index) == context.reference) else { continue };
        for model in models.iter().filter(|c| c.index != reference.index) {
            let Some([kept, at_one]) = model.with_one_stopping_point(reference) else { continue };
            let cells = [model.model.name.clone(), signed(kept), signed(at_one), signed(kept - at_one)];
            table.row(task, cells);
        }
    }
    (!table.is_empty()).then_some(table)
}

fn figure(context: &Context<'_>, t: usize, task: &str) -> Option<(Chart, Table)> {
    let models = &context.report.models;
    let mut table = Table::new(
        format!("Transfer to {task}: {}", difference(context.report.metric_of(t))),
        ["model", "mean", "low", "high", "transfer"],
    );
    let mut rows = Vec::new();
    for (i, model) in models.iter().enumerate().filter(|(i, _)| Some(*i) != context.reference) {
        let interval = known(context.task(i, t).and_then(|task| task.transfer));
        rows.push(ForestRow { name: model.name.clone(), interval });
        table.row(&model.name, interval_cells(interval));
    }
    let chart = Forest {
        kind: "transfer",
        title: format!("Transfer to {task}"),
        axis: against(context, context.report.metric_of(t)),
        groups: vec![ForestGroup { heading: String::new(), rows }],
    };
    Some((chart.draw()?, table))
}

/// Mean, ends and what they say.
pub(super) fn interval_cells(interval: Option<crate::report::data::Interval>) -> [String; 4] {
    match interval.and_then(|i| Some((i, Transfer::of(&i)?))) {
        Some((i, call)) => [signed(i.mean), signed(i.low), signed(i.high), call.name().into()],
        None => [DASH; 4].map(Into::into),
    }
}

/// What the axis of differences is called.
pub(super) fn against(context: &Context<'_>, metric: Metric) -> String {
    let name = context.reference.and_then(|i| context.report.models.get(i)).map_or("single-task", |m| m.name.as_str());
    let to = if metric.higher_is_better() { "to" } else { "against" };
    format!("{} {to} {name}", difference(metric))
}

/// What differences are of.
pub(super) fn difference(metric: Metric) -> String {
    match metric.higher_is_better() {
        true => format!("difference in {}", metric.name()),
        false => format!("{} saved", metric.name()),
    }
}
