//! Whether a task gains from sharing: every model's AUC less the single-task model's.

use super::{Context, Section, intro};
use crate::report::charts::{Chart, Forest, ForestGroup, ForestRow, transfer_legend};
use crate::report::judge::{Transfer, known};
use crate::report::markup::Markup;
use crate::report::number::{DASH, signed};
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
    intro(
        &mut body,
        "A model's AUC less that of a model trained for the task alone, with its 95 % interval. Right of zero the task gains \
         from the others, left of it they cost it something. The interval is that of other users, with the seeds as they are: it does not know \
         the luck of training, which the \u{b1} of the table above tells.",
    );
    transfer_legend(&mut body);
    context.figures.beside(&mut body, &figures);
    Some(Section { id: "transfer", heading: "Does sharing help?", body })
}

fn figure(context: &Context<'_>, t: usize, task: &str) -> Option<(Chart, Table)> {
    let models = &context.report.models;
    let mut table =
        Table::new(format!("Transfer to {task}: difference in AUC"), ["model", "mean", "low", "high", "transfer"]);
    let mut rows = Vec::new();
    for (i, model) in models.iter().enumerate().filter(|(i, _)| Some(*i) != context.reference) {
        let interval = known(context.task(i, t).and_then(|task| task.transfer));
        rows.push(ForestRow { name: model.name.clone(), interval });
        table.row(&model.name, interval_cells(interval));
    }
    let chart = Forest {
        kind: "transfer",
        title: format!("Transfer to {task}"),
        axis: against(context),
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
pub(super) fn against(context: &Context<'_>) -> String {
    let name = context.reference.and_then(|i| context.report.models.get(i)).map(|m| m.name.as_str());
    let (name, metric) = (name.unwrap_or("single-task"), context.report.metric);
    match metric.higher_is_better() {
        true => format!("difference in {} to {name}", metric.name()),
        false => format!("{} saved against {name}", metric.name()),
    }
}
