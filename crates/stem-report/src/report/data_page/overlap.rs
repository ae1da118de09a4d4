//! What validation and test have in common with training.

use super::{BARS, Context, SPLITS, Shared, percent, series, share};
use crate::report::charts::{BarChart, BarGroup, Chart, legend};
use crate::report::markup::Markup;
use crate::report::number::{count, or_dash};
use crate::report::sections::{Section, intro};
use crate::report::table::Table;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let report = context.report;
    let groups = report.groups.iter().map(|(name, shared)| (format!("{name} (group)"), shared));
    let values = report.vocabularies.iter().map(|vocabulary| (vocabulary.name.clone(), &vocabulary.splits));
    let things: Vec<(String, &[Shared; 3])> = groups.chain(values).collect();
    let table = table(report.rows, &things);
    if table.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    intro(
        &mut body,
        "Different users and values of validation and test that training has too, however rare. What is new there is judged by the \
         other fields alone.",
    );
    match chart(&things) {
        Some(chart) => {
            legend(&mut body, &series(&[1, 2]), false);
            context.figures.beside(&mut body, &[(chart, table)]);
        }
        None => table.draw(&mut body),
    }
    Some(Section { id: "overlap", heading: "Shared with training", body })
}

fn chart(things: &[(String, &[Shared; 3])]) -> Option<Chart> {
    let of = |shared: &Shared| share(shared.trained, shared.all).map(|share| 100.0 * share);
    let groups = things
        .iter()
        .take(BARS)
        .map(|(name, shared)| BarGroup { heading: name.clone(), values: shared[1..].iter().map(of).collect() });
    let chart = BarChart {
        kind: "overlap",
        title: "Users and values that training has too".into(),
        axis: "% of the different users or values of the split".into(),
        series: series(&[1, 2]),
        groups: groups.collect(),
        places: 2,
    };
    chart.draw()
}

fn table(rows: [u64; 3], things: &[(String, &[Shared; 3])]) -> Table {
    let head = ["of", "split", "different", "in training too", "share", "% of the rows"];
    let mut table = Table::new("Users and values of each split that training has too", head).named_twice();
    for (name, shared) in things {
        for split in 1..3 {
            let Shared { all, trained, rows: theirs } = shared[split];
            let of_rows = or_dash(theirs, |theirs| percent(share(theirs, rows[split])));
            let cells = [SPLITS[split].into(), count(all), count(trained), percent(share(trained, all)), of_rows];
            table.row(name, cells);
        }
    }
    table
}
