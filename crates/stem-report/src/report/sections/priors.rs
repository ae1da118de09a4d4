//! How alike the tasks are to a field: the covariances that a learned prior came to.

use super::gates::matrix;
use super::{Context, Section, folded, intro};
use crate::report::charts::{Chart, HeatMap};
use crate::report::data::{ModelReport, PriorReport};
use crate::report::markup::Markup;
use crate::report::number::{decimals, or_dash};
use crate::report::table::Table;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let mut body = Markup::new();
    intro(
        &mut body,
        "A learned prior holds that the embeddings of a value, one for each task and a shared one, are drawn together, and learns from \
         all values of a field how alike they are. Correlation: 1 is one taste for both tasks, 0 two tastes that have nothing to do with \
         each other, below 0 opposite ones. Where each value has few rows, what was believed at the start stays.",
    );
    let mut any = false;
    for model in context.report.models.iter().filter(|model| model.priors.iter().any(is_tied)) {
        any = true;
        body.leaf("h3", &[], &model.name);
        let charts: Vec<(Chart, Table)> = model
            .priors
            .iter()
            .filter(|prior| is_tied(prior))
            .filter_map(|prior| correlation(&model.name, prior))
            .collect();
        let mut inside = Markup::new();
        context.figures.beside(&mut inside, &charts);
        deviations(model).draw(&mut body);
        folded(&mut body, "Charts of the correlations", |m| m.add(inside));
    }
    any.then_some(Section { id: "priors", heading: "How alike the tasks are to each field", body })
}

fn is_tied(prior: &PriorReport) -> bool {
    prior.groups.len() > 1 && !prior.correlation.is_empty()
}

fn correlation(model: &str, prior: &PriorReport) -> Option<(Chart, Table)> {
    let values: Vec<Vec<Option<f64>>> =
        prior.correlation.iter().map(|row| row.iter().copied().map(Some).collect()).collect();
    let table = matrix(
        &format!("{model}, {}: correlation of two groups", prior.fields),
        "group",
        &prior.groups,
        &prior.groups,
        &values,
    );
    let chart = HeatMap {
        kind: "prior",
        title: format!("How alike: {}", prior.fields),
        axis: "correlation".into(),
        rows: prior.groups.clone(),
        columns: prior.groups.clone(),
        values,
    };
    Some((chart.draw()?.about(model), table))
}

/// Deviations of every group.
fn deviations(model: &ModelReport) -> Table {
    let groups: &[String] = model.priors.first().map_or(&[], |prior| &prior.groups);
    let mut table = Table::new(
        format!("{}: standard deviations of embeddings that the prior believes", model.name),
        ["field"].into_iter().chain(groups.iter().map(String::as_str)),
    );
    for prior in &model.priors {
        table.row(
            &prior.fields,
            (0..groups.len()).map(|g| or_dash(prior.deviations.get(g).copied(), |x| decimals(x, 3))),
        );
    }
    table
}
