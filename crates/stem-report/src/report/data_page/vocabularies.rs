//! How many values there are, how often they occur, and which are too rare to be known.

use super::{Context, DataVocabulary, OPEN, percent};
use crate::report::charts::{Axis, Chart, ColumnChart, Step};
use crate::report::markup::Markup;
use crate::report::number::{count, things};
use crate::report::sections::{Section, folded, intro};
use crate::report::table::Table;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let vocabularies = &context.report.vocabularies;
    if vocabularies.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    intro(
        &mut body,
        "How often values occur in training, both axes by their logarithms. A value that occurs a few times is barely learned; \
         min_count makes rare ones unseen.",
    );
    let figures: Vec<(Chart, Table)> = vocabularies.iter().filter_map(histogram).collect();
    let (open, further) = figures.split_at(figures.len().min(OPEN));
    context.figures.beside(&mut body, open);
    if !further.is_empty() {
        folded(&mut body, "Further vocabularies", |m| context.figures.beside(m, further));
    }
    let head =
        ["vocabulary", "known values", "values", "% of occurrences", "most frequent values that make half", "fields"];
    let above = vec![(String::new(), 2), ("too rare (min_count)".into(), 2), (String::new(), 2)];
    let mut table = Table::new("Values of each vocabulary", head).above(above).ending_in_text();
    for vocabulary in vocabularies {
        let DataVocabulary { known, left_out, left_out_share, half, fields, .. } = vocabulary;
        let numbers = [count(*known), count(*left_out), percent(*left_out_share), count(*half), fields.join(", ")];
        table.row(&vocabulary.name, numbers);
    }
    table.draw(&mut body);
    Some(Section { id: "vocabularies", heading: "Vocabularies", body })
}

fn histogram(vocabulary: &DataVocabulary) -> Option<(Chart, Table)> {
    let bins = &vocabulary.bins;
    let values: u64 = bins.iter().map(|(values, _)| values).sum();
    let mut table = Table::new(
        format!("Values of {} by how often they occur in training", vocabulary.name),
        ["occurrences, from", "to", "values", "all together"],
    );
    let mut steps = Vec::with_capacity(bins.len());
    for (bin, &(found, occurrences)) in bins.iter().enumerate() {
        let from = 1u64 << bin.min(62);
        table.row(count(from), [count(2 * from - 1), count(found), count(occurrences)]);
        let title = format!("{} to {} times: {}", count(from), count(2 * from - 1), things(found, "value", "values"));
        steps.push(Step { from: from as f64, to: 2.0 * from as f64, height: found as f64, title });
    }
    let ends = steps.iter().flat_map(|step| [step.from, step.to]).collect::<Vec<_>>();
    let most = steps.iter().map(|step| step.height).collect::<Vec<_>>();
    let chart = ColumnChart {
        kind: "value-counts",
        title: format!(
            "{}: {}, half of all by {}",
            vocabulary.name,
            things(values, "value", "values"),
            count(vocabulary.half)
        ),
        x: Axis::log("occurrences in training", ends),
        y: Axis::log("values", most.into_iter().chain([1.0])),
        steps,
    };
    Some((chart.draw()?, table))
}
