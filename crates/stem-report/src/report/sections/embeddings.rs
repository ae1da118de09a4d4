//! What the embeddings look like: how long, how many dimensions in use, how alike, and where users are.

use super::gates::matrix;
use super::{Context, Section, folded, intro};
use crate::report::charts::{Axis, BarChart, BarGroup, Chart, Cloud, HeatMap, Series, Style, legend};
use crate::report::data::{EmbeddingReport, FieldEmbedding, Picture};
use crate::report::markup::Markup;
use crate::report::number::{count, decimals, maybe, mean, or_dash};
use crate::report::table::Table;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let mut body = Markup::new();
    intro(
        &mut body,
        "Norm: mean length of an embedding. Effective rank: how many of its dimensions are in use. CKA: how alike two groups of \
         embeddings are, 1 the same up to rotation and scale, 0 unrelated; \
         a dash where a field has too few values to tell. Task embeddings that are unlike each other are what \
         one embedding for all tasks could not have been.",
    );
    let (mut inside, mut any) = (Markup::new(), false);
    for model in &context.report.models {
        if let Some(embeddings) = &model.embeddings {
            any |= draw(context, &mut inside, &model.name, embeddings);
        }
    }
    folded(&mut body, "Charts of the embeddings", |m| m.add(inside));
    any.then_some(Section { id: "embeddings", heading: "What the embeddings look like", body })
}

fn draw(context: &Context<'_>, body: &mut Markup, model: &str, embeddings: &EmbeddingReport) -> bool {
    // Names of all embedding groups, in the order in which fields have them.
    let groups = distinct(embeddings.fields.iter().flat_map(|field| &field.groups));
    let norms = bars(model, embeddings, &groups, "norms", "Length of embeddings", "mean norm", 2, |field, g| {
        field.norms.get(g).copied()
    });
    let ranks =
        bars(model, embeddings, &groups, "rank", "Dimensions in use", "effective rank, dimensions", 1, |field, g| {
            field.effective_rank.get(g).copied().flatten()
        });
    let alike: Vec<(Chart, Table)> = embeddings.fields.iter().filter_map(|field| cka(model, field)).collect();
    let users = users(&embeddings.pictures);
    let pictures: Vec<(Chart, Table)> = embeddings.pictures.iter().filter_map(|p| picture(model, p, &users)).collect();
    if norms.is_none() && ranks.is_none() && alike.is_empty() && pictures.is_empty() {
        return false;
    }
    body.leaf("h3", &[], model);
    context.figures.beside(body, &norms.into_iter().chain(ranks).collect::<Vec<_>>());
    if !alike.is_empty() {
        context.figures.beside(body, &alike);
    }
    if !pictures.is_empty() {
        legend(body, &users, false);
        context.figures.beside(body, &pictures);
    }
    true
}

/// A series for every name, each once.
fn distinct<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for name in names {
        if series.iter().all(|s| s.name != *name) {
            series.push(Series { name: name.clone(), style: Style::of(series.len()) });
        }
    }
    series
}

#[expect(clippy::too_many_arguments, reason = "two charts that differ in nothing but these")]
fn bars(
    model: &str,
    embeddings: &EmbeddingReport,
    series: &[Series],
    kind: &'static str,
    what: &str,
    axis: &str,
    places: usize,
    of: impl Fn(&FieldEmbedding, usize) -> Option<f64>,
) -> Option<(Chart, Table)> {
    let title = what.to_owned();
    let mut table = Table::new(
        format!("{model}: {axis}"),
        ["field", "rows sampled"].into_iter().chain(series.iter().map(|s| s.name.as_str())),
    );
    let mut bars = Vec::new();
    for field in &embeddings.fields {
        let place = |s: &Series| field.groups.iter().position(|name| *name == s.name);
        let values: Vec<Option<f64>> = series.iter().map(|s| of(field, place(s)?)).collect();
        let cells = values.iter().map(|v| or_dash(*v, |v| decimals(v, 3)));
        table.row(&field.field, [count(field.sampled)].into_iter().chain(cells));
        bars.push(BarGroup { heading: field.field.clone(), values });
    }
    let chart = BarChart { kind, title, axis: axis.into(), series: series.to_vec(), groups: bars, places };
    Some((chart.draw()?.about(model), table))
}

fn cka(model: &str, field: &FieldEmbedding) -> Option<(Chart, Table)> {
    if field.groups.len() < 2 {
        return None;
    }
    let title = format!("How alike: {}", field.field);
    let table = matrix(
        &format!("{model}, {}: CKA of two groups", field.field),
        "group",
        &field.groups,
        &field.groups,
        &field.cka,
    );
    let chart = HeatMap {
        kind: "cka",
        title,
        axis: "CKA, 0 to 1".into(),
        rows: field.groups.clone(),
        columns: field.groups.clone(),
        values: field.cka.clone(),
    };
    Some((chart.draw()?.about(model), table))
}

/// The parts of the users that points of some picture belong to, those without a part last.
fn users(pictures: &[Picture]) -> Vec<Series> {
    let mut users = distinct(pictures.iter().flat_map(|p| &p.strata));
    if pictures.iter().any(|p| p.points.iter().any(|(.., i)| *i >= p.strata.len())) {
        users.push(Series { name: "in none".into(), style: Style::reference() });
    }
    users
}

fn picture(model: &str, picture: &Picture, users: &[Series]) -> Option<(Chart, Table)> {
    let mut series: Vec<(Series, Vec<(f64, f64)>)> = users.iter().map(|s| (s.clone(), Vec::new())).collect();
    for &(x, y, i) in &picture.points {
        let place = picture.strata.get(i).and_then(|name| users.iter().position(|s| s.name == *name));
        // Points without a part are the last series.
        if let Some((_, own)) = series.get_mut(place.unwrap_or(users.len().saturating_sub(1))) {
            own.push((x, y));
        }
    }
    let axis = |n: usize, share: f64| {
        let part =
            if share.is_finite() { format!(", {} % of variance", decimals(share * 100.0, 1)) } else { String::new() };
        format!("component {n}{part}")
    };
    let title = format!("{}: embeddings of {}, by users", picture.field, picture.group);
    let mut table = Table::new(
        format!("{model}, {title}: centre of every part"),
        ["users", "points", "component 1", "component 2"],
    );
    for (part, own) in &series {
        let centre = |of: fn(&(f64, f64)) -> f64| mean(own.iter().map(of));
        table.row(&part.name, [count(own.len() as u64), maybe(centre(|p| p.0)), maybe(centre(|p| p.1))]);
    }
    let chart = Cloud {
        kind: "picture",
        title,
        x: Axis::linear(axis(1, picture.explained[0]), picture.points.iter().map(|p| p.0)),
        y: Axis::linear(axis(2, picture.explained[1]), picture.points.iter().map(|p| p.1)),
        series,
    };
    Some((chart.draw()?.about(model), table))
}
