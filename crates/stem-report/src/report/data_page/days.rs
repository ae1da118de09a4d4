//! Rows and base rates by day.

use super::{Context, OPEN, SPLITS, percent, series, share};
use crate::report::charts::{Axis, Chart, Line, LineChart, Style, legend};
use crate::report::markup::Markup;
use crate::report::number::count;
use crate::report::sections::{Section, folded, intro};
use crate::report::table::Table;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let days = &context.report.days;
    if days.len() < 2 {
        return None;
    }
    let mut body = Markup::new();
    intro(
        &mut body,
        "Days in UTC. A rate that drifts, or a day that lacks rows, makes the later splits another problem than training.",
    );
    legend(&mut body, &series(&[0, 1, 2]), true);
    let tasks = &context.report.tasks;
    let rates = |place: usize| Some((rates(context, place)?, rates_table(context, place)));
    let mut figures: Vec<(Chart, Table)> =
        rows(context).map(|chart| (chart, rows_table(context))).into_iter().collect();
    figures.extend((0..tasks.len().min(OPEN)).filter_map(rates));
    context.figures.beside(&mut body, &figures);
    let further: Vec<(Chart, Table)> = (OPEN..tasks.len()).filter_map(rates).collect();
    if !further.is_empty() {
        folded(&mut body, "Further tasks", |m| context.figures.beside(m, &further));
    }
    Some(Section { id: "days", heading: "Day by day", body })
}

fn since(context: &Context<'_>) -> Axis {
    let days = &context.report.days;
    let first = days.first();
    let label = first.map_or(String::new(), |day| format!("days since {}", day.date));
    let begin = first.map_or(0, |day| day.day);
    Axis::whole(label, days.iter().map(|day| (day.day - begin) as f64))
}

fn rows(context: &Context<'_>) -> Option<Chart> {
    let days = &context.report.days;
    let begin = days.first()?.day;
    let lines = (0..3).map(|split| {
        let of_split = days.iter().filter(|day| day.rows[split] > 0);
        let points = of_split.map(|day| ((day.day - begin) as f64, day.rows[split] as f64)).collect();
        Line { name: SPLITS[split].into(), points, markers: true, ..Line::plain(Style::of(split)) }
    });
    let lines: Vec<Line> = lines.collect();
    let most = lines.iter().flat_map(|line| &line.points).map(|(_, rows)| *rows);
    let y = Axis::fixed("rows a day", 0.0, most.fold(1.0, f64::max) * 1.05);
    LineChart { kind: "rows-by-day", title: "Rows".into(), x: since(context), y, lines, diagonal: None }.draw()
}

fn rates(context: &Context<'_>, place: usize) -> Option<Chart> {
    let days = &context.report.days;
    let (begin, task) = (days.first()?.day, context.report.tasks.get(place)?);
    let points = days.iter().filter_map(|day| {
        let (labelled, positives) = *day.labels.get(place)?;
        Some(((day.day - begin) as f64, 100.0 * share(positives, labelled)?))
    });
    let points: Vec<(f64, f64)> = points.collect();
    let y = Axis::linear("label 1, %", points.iter().map(|(_, rate)| *rate));
    let line = Line { name: task.name.clone(), points, markers: true, ..Line::plain(Style::reference()) };
    let title = format!("Base rate of {}", task.name);
    LineChart { kind: "rate-by-day", title, x: since(context), y, lines: vec![line], diagonal: None }.draw()
}

fn rows_table(context: &Context<'_>) -> Table {
    let mut table = Table::new("Rows of each day", [&["day"], &SPLITS[..]].concat());
    context.report.days.iter().for_each(|day| table.row(&day.date, day.rows.map(count)));
    table
}

fn rates_table(context: &Context<'_>, place: usize) -> Table {
    let name = context.report.tasks.get(place).map_or("", |task| &task.name);
    let caption = format!("Labels of {name} on each day");
    let mut table = Table::new(caption, ["day", "rows with the label", "label 1", "base rate"]);
    for day in &context.report.days {
        let (labelled, positives) = day.labels.get(place).copied().unwrap_or_default();
        table.row(&day.date, [count(labelled), count(positives), percent(share(positives, labelled))]);
    }
    table
}
