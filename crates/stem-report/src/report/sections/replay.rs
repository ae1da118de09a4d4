//! Ways to keep a model up to date, day by day.

use super::{Context, Section, intro};
use crate::metrics::TaskMetrics;
use crate::report::charts::{Axis, Chart, Line, LineChart, Series, Style, legend};
use crate::report::data::{ReplayDay, ReplayReport, ReplayWay};
use crate::report::markup::Markup;
use crate::report::number::{count, decimals, maybe, or_dash};
use crate::report::table::Table;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let replay = context.report.replay.as_ref().filter(|replay| !replay.days.is_empty())?;
    let mut body = Markup::new();
    intro(
        &mut body,
        "Every day is measured by a model that has not seen it, and then trained on. The gain is over the first way, paired day by \
         day, with its standard error over days. Seconds are those of training steps.",
    );
    body.node("ul", &[("class", &"notes")], |m| {
        replay.ways.iter().for_each(|way| m.leaf("li", &[], format!("{}: {}", way.name, way.does)));
    });
    means(context, replay, &mut body);
    let series = |(place, way): (usize, &ReplayWay)| Series { name: way.name.clone(), style: Style::of(place) };
    legend(&mut body, &replay.ways.iter().enumerate().map(series).collect::<Vec<_>>(), true);
    let figures: Vec<(Chart, Table)> = context.tasks().filter_map(|(t, task)| figure(replay, t, task)).collect();
    context.figures.beside(&mut body, &figures);
    Some(Section { id: "replay", heading: "From day to day", body })
}

/// AUC, or XAUC of labels that are numbers.
fn auc(t: usize) -> impl Fn(&ReplayDay) -> Option<f64> {
    move |day| day.auc(t)
}

fn means(context: &Context<'_>, replay: &ReplayReport, body: &mut Markup) {
    let head = ["task", "way", "AUC", "gain", "gAUC", "logloss", "calibration", "seconds"];
    let mut table = Table::new("Means over the days", head).named_twice();
    for (t, task) in context.tasks() {
        for (place, way) in replay.ways.iter().enumerate() {
            let mean = |of: fn(&TaskMetrics) -> Option<f64>| maybe(way.mean(|day| day.tasks.get(t).and_then(of)));
            let gain = replay.ways.first().and_then(|first| way.gain(first, auc(t))).filter(|_| place > 0);
            let gain = or_dash(gain.map(|(mean, _)| mean), |mean| {
                let error = gain.map_or(0.0, |(_, error)| error);
                let sign = if mean < 0.0 { "" } else { "+" };
                format!("{sign}{} ± {}", decimals(mean, 4), decimals(error, 4))
            });
            let numbers = [mean(|m| m.gauc), mean(|m| m.logloss), mean(|m| m.calibration), decimals(way.seconds(), 1)];
            table.row(task, [way.name.clone(), maybe(way.mean(auc(t))), gain].into_iter().chain(numbers));
        }
    }
    table.draw(body);
}

fn figure(replay: &ReplayReport, t: usize, task: &str) -> Option<(Chart, Table)> {
    let title = format!("{task}: AUC by day");
    let value = |day: &ReplayDay| auc(t)(day).unwrap_or(f64::NAN);
    let lines = replay.ways.iter().enumerate().map(|(place, way)| {
        let points = way.days.iter().enumerate().map(|(day, own)| (day as f64 + 1.0, value(own))).collect();
        Line { name: way.name.clone(), points, markers: true, ..Line::plain(Style::of(place)) }
    });
    let lines: Vec<Line> = lines.collect();
    let chart = LineChart {
        kind: "replay",
        title: title.clone(),
        x: Axis::whole("day", (1..=replay.days.len()).map(|day| day as f64)),
        y: Axis::linear("AUC of the day", lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y))),
        lines,
        diagonal: None,
    };
    let head = ["day", "rows"].into_iter().chain(replay.ways.iter().map(|way| way.name.as_str()));
    let mut table = Table::new(title, head);
    for (place, day) in replay.days.iter().enumerate() {
        let rows = count(replay.rows.get(place).copied().unwrap_or(0) as u64);
        let values = replay.ways.iter().map(|way| maybe(way.days.get(place).and_then(auc(t))));
        table.row(day, [rows].into_iter().chain(values));
    }
    Some((chart.draw()?, table))
}
