//! What each field lacks, and how numbers are spread.

use super::{BARS, Context, DataField, OPEN, SPLITS, percent, series};
use crate::report::charts::{Axis, BarChart, BarGroup, Chart, ColumnChart, Step, legend};
use crate::report::markup::Markup;
use crate::report::number::{DASH, compact, count, decimals};
use crate::report::sections::{Section, folded, intro};
use crate::report::table::Table;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let fields = &context.report.fields;
    if fields.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    intro(
        &mut body,
        "A row without a value reads as unseen, a number as the mean. Unseen are values that training does not have, or has less \
         than min_count times: all of them read as one and the same.",
    );
    let unseen = |field: &DataField| field.unseen.unwrap_or_default();
    let charts = [
        bars(fields, "unseen", "Values that are unseen", "% of the values", &[1, 2], unseen),
        bars(fields, "nulls", "Rows without a value", "% of the rows", &[0, 1, 2], |field| field.nulls),
    ];
    let charts: Vec<(Chart, Table)> = charts.into_iter().flatten().collect();
    if !charts.is_empty() {
        legend(&mut body, &series(&[0, 1, 2]), false);
        context.figures.beside(&mut body, &charts);
    }
    table(fields).draw(&mut body);
    Some(Section { id: "fields", heading: "Fields", body })
}

/// The fields of which the largest share is missing, and the numbers of all; nothing where no field misses any.
fn bars(
    fields: &[DataField],
    kind: &'static str,
    title: &str,
    axis: &str,
    splits: &[usize],
    shares: impl Fn(&DataField) -> [Option<f64>; 3],
) -> Option<(Chart, Table)> {
    let of_splits = |field: &DataField| splits.iter().map(|&split| shares(field)[split]).collect::<Vec<_>>();
    let largest = |field: &DataField| of_splits(field).into_iter().flatten().fold(0.0, f64::max);
    let mut shown: Vec<&DataField> = fields.iter().filter(|field| largest(field) > 0.0).collect();
    let mut table = Table::new(title, ["field"].into_iter().chain(splits.iter().map(|&split| SPLITS[split])));
    shown.iter().for_each(|field| table.row(&field.name, of_splits(field).into_iter().map(percent)));
    shown.sort_by(|a, b| largest(b).total_cmp(&largest(a)));
    shown.truncate(BARS);
    let group = |field: &&DataField| BarGroup {
        heading: field.name.clone(),
        values: of_splits(field).iter().map(|share| share.map(|share| 100.0 * share)).collect(),
    };
    let chart = BarChart {
        kind,
        title: title.into(),
        axis: axis.into(),
        series: series(splits),
        groups: shown.iter().map(group).collect(),
        places: 2,
    };
    Some((chart.draw()?, table))
}

fn table(fields: &[DataField]) -> Table {
    let head = [&["field", "kind"], &SPLITS[..], &SPLITS[..]].concat();
    let above = vec![(String::new(), 2), ("rows without a value".into(), 3), ("values that are unseen".into(), 3)];
    let mut table = Table::new("What each field lacks", head).above(above).named_twice();
    for field in fields {
        let unseen = field.unseen.map_or([(); 3].map(|()| DASH.into()), |shares| shares.map(percent));
        table.row(&field.name, [field.kind.clone()].into_iter().chain(field.nulls.map(percent)).chain(unseen));
    }
    table
}

pub(super) fn numbers(context: &Context<'_>) -> Option<Section> {
    let fields = context.report.fields.iter().filter(|field| field.numbers.iter().any(Option::is_some));
    let fields: Vec<&DataField> = fields.collect();
    if fields.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    intro(&mut body, "Numbers as the SELECT gives them, before they are standardised.");
    let figures: Vec<(Chart, Table)> = fields.iter().filter_map(|field| histogram(field)).collect();
    let (open, further) = figures.split_at(figures.len().min(OPEN));
    context.figures.beside(&mut body, open);
    if !further.is_empty() {
        folded(&mut body, "Further numbers", |m| context.figures.beside(m, further));
    }
    let head = ["field", "split", "mean", "standard deviation", "smallest", "largest"];
    let mut table = Table::new("Numbers by split", head).named_twice();
    for field in fields {
        for (split, numbers) in SPLITS.iter().zip(field.numbers) {
            let numbers = numbers.map_or([(); 4].map(|()| DASH.into()), |numbers| numbers.map(number));
            table.row(&field.name, [split.to_string()].into_iter().chain(numbers));
        }
    }
    table.draw(&mut body);
    Some(Section { id: "numbers", heading: "Numbers", body })
}

fn histogram(field: &DataField) -> Option<(Chart, Table)> {
    let (low, high, counts) = field.histogram.as_ref()?;
    let all = counts.iter().sum::<u64>().max(1) as f64;
    let wide = (high / counts.len() as f64) - (low / counts.len() as f64);
    let edge = |bar: usize| low + wide * bar as f64;
    let mut table = Table::new(format!("Numbers of {} in training", field.name), ["from", "to", "numbers"]);
    let mut steps = Vec::with_capacity(counts.len());
    for (bar, &found) in counts.iter().enumerate() {
        let (from, to) = (edge(bar), edge(bar + 1));
        let title = format!("{} to {}: {}", number(from), number(to), count(found));
        table.row(number(from), [number(to), count(found)]);
        steps.push(Step { from, to, height: 100.0 * found as f64 / all, title });
    }
    let tallest = steps.iter().map(|step| step.height).fold(0.0, f64::max);
    let chart = ColumnChart {
        kind: "histogram",
        title: field.name.clone(),
        x: Axis::fixed("the outermost columns hold all that is beyond", *low, *high),
        y: Axis::fixed("% of the numbers in training", 0.0, tallest * 1.05),
        steps,
    };
    let chart = if high > low { chart.draw() } else { None };
    Some((chart?, table))
}

/// Four digits after the point, or the order of size where these say nothing.
fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1e6 => compact(value),
        _ if size != 0.0 && size < 1e-3 => format!("{value:.2e}"),
        _ => decimals(value, if size >= 1000.0 { 1 } else { 4 }),
    }
}
