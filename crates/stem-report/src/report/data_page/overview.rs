//! What is odd, and how many rows and labels there are.

use super::{Context, SPLITS, percent, series, share};
use crate::report::charts::{BarChart, BarGroup, Chart, legend};
use crate::report::markup::Markup;
use crate::report::number::{count, things};
use crate::report::sections::{Section, fact, intro, list_of_warnings};
use crate::report::table::Table;

pub(super) fn warnings(context: &Context<'_>) -> Option<Section> {
    let report = context.report;
    if report.warnings.is_empty() && report.allow_leak.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    list_of_warnings(&mut body, &report.warnings);
    if !report.allow_leak.is_empty() {
        body.leaf("p", &[("class", &"note")], "The recipe lets these fields past the search for leaks (allow_leak):");
        body.node("ul", &[], |m| report.allow_leak.iter().for_each(|field| m.leaf("li", &[], field)));
    }
    Some(Section { id: "warnings", heading: "Warnings", body })
}

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let report = context.report;
    if report.rows == [0; 3] {
        return None;
    }
    let mut body = Markup::new();
    body.node("dl", &[("class", &"facts")], |m| {
        report.facts.iter().for_each(|(name, value)| fact(m, name, value));
        for (name, rows) in ["Training", "Validation", "Test"].iter().zip(report.rows) {
            let part = percent(share(rows, report.rows.iter().sum()));
            fact(m, name, &format!("{} ({part})", things(rows, "row", "rows")));
        }
        fact(m, "Copies", &report.copies);
    });
    let table = table(context);
    if let Some(chart) = chart(context) {
        intro(&mut body, "The base rate of a task is the share of label 1 among the rows that have the label.");
        legend(&mut body, &series(&[0, 1, 2]), false);
        context.figures.beside(&mut body, &[(chart, table)]);
    } else if !table.is_empty() {
        table.draw(&mut body);
    }
    Some(Section { id: "rows", heading: "Rows and labels", body })
}

fn chart(context: &Context<'_>) -> Option<Chart> {
    let groups = context.report.tasks.iter().map(|task| {
        let rates = task.positives.iter().zip(task.labelled).map(|(&up, of)| share(up, of).map(|rate| 100.0 * rate));
        BarGroup { heading: task.name.clone(), values: rates.collect() }
    });
    let chart = BarChart {
        kind: "base-rates",
        title: "Base rates".into(),
        axis: "label 1, % of the rows that have the label".into(),
        series: series(&[0, 1, 2]),
        groups: groups.collect(),
        places: 2,
    };
    chart.draw()
}

fn table(context: &Context<'_>) -> Table {
    let head = ["task", "split", "rows with the label", "label 1", "base rate", "counts within"];
    let mut table = Table::new("Labels of each task and split", head).named_twice();
    for task in &context.report.tasks {
        for (split, name) in SPLITS.iter().enumerate() {
            let (labelled, positives) = (task.labelled[split], task.positives[split]);
            let within = task.within.clone().unwrap_or_else(|| "all rows".into());
            let rate = percent(share(positives, labelled));
            table.row(&task.name, [name.to_string(), count(labelled), count(positives), rate, within]);
        }
    }
    table
}
