//! Which experts the gates take.

use super::{Context, OPEN_PAIRS, Section, folded, intro};
use crate::report::charts::{Chart, HeatMap};
use crate::report::data::{GateMap, ModelReport};
use crate::report::markup::Markup;
use crate::report::number::{maybe, things};
use crate::report::table::Table;

/// More pictures than this of a model's gates by users are folded up.
const OPEN_MAPS: usize = 4;

/// Two tasks.
type Pair = (String, String);

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let mut body = Markup::new();
    intro(
        &mut body,
        "Mean weight that a gate gives a group of experts, over test rows; a row adds up to 1. A task that gives its weight to \
         its own experts shares little; one that gives it to another task's reads what that task has learned.",
    );
    let pairs = pairs(context);
    let mut any = false;
    for model in &context.report.models {
        let (by_users, all): (Vec<&GateMap>, Vec<&GateMap>) =
            model.gates.iter().filter(|map| drawn(map, &pairs)).partition(|map| map.stratum.is_some());
        any |= draw(context, &mut body, model, &pairs, [all, by_users]);
    }
    if context.report.models.iter().flat_map(|m| &m.gates).any(|map| !drawn(map, &pairs)) {
        let of = if pairs.len() == OPEN_PAIRS + 1 { "pair" } else { "pairs" };
        let note = format!(
            "By users, gates are drawn for the first {OPEN_PAIRS} pairs of tasks; numbers of the other {of} are in \
             comparison.json."
        );
        body.leaf("p", &[("class", &"note")], note);
    }
    any.then_some(Section { id: "gates", heading: "What the gates do", body })
}

/// The pairs whose users gates are the mean over: first in the order of the report, then as they come.
fn pairs(context: &Context<'_>) -> Vec<Pair> {
    let of_gates = || context.report.models.iter().flat_map(|m| &m.gates).filter_map(|map| map.pair.clone());
    let mut pairs: Vec<Pair> = Vec::new();
    for pair in context.report.pairs.iter().map(|p| (p.a.clone(), p.b.clone())).chain(of_gates()) {
        if !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    pairs
}

/// Whether a map is of all users or of one of the first pairs.
fn drawn(map: &GateMap, pairs: &[Pair]) -> bool {
    map.stratum.is_none() || map.pair.as_ref().is_none_or(|pair| pairs.iter().take(OPEN_PAIRS).any(|p| p == pair))
}

/// A model's pictures: of all users, then by users.
fn draw(
    context: &Context<'_>,
    body: &mut Markup,
    model: &ModelReport,
    pairs: &[Pair],
    maps: [Vec<&GateMap>; 2],
) -> bool {
    let figure = |map: &&GateMap| figure(&model.name, map, pairs.len() > 1);
    let [mut all, by_users]: [Vec<(Chart, Table)>; 2] = maps.map(|maps| maps.iter().filter_map(figure).collect());
    if all.is_empty() && by_users.is_empty() {
        return false;
    }
    body.leaf("h3", &[], &model.name);
    if by_users.len() > OPEN_MAPS {
        if !all.is_empty() {
            context.figures.beside(body, &all);
        }
        let summary = format!("By users: {}", things(by_users.len() as u64, "picture", "pictures"));
        folded(body, &summary, |m| context.figures.beside(m, &by_users));
    } else {
        all.extend(by_users);
        context.figures.beside(body, &all);
    }
    true
}

fn figure(model: &str, map: &GateMap, several: bool) -> Option<(Chart, Table)> {
    let users = match (&map.stratum, &map.pair) {
        (None, _) => "all users".to_owned(),
        (Some(stratum), Some((a, b))) if several => format!("{stratum} users of {a} and {b}"),
        (Some(stratum), _) => format!("{stratum} users"),
    };
    let title = format!("Layer {}, {users}", map.layer.saturating_add(1));
    let values: Vec<Vec<Option<f64>>> = map.values.iter().map(|row| row.iter().copied().map(Some).collect()).collect();
    let table = matrix(&format!("{model}: {title}"), "gate", &map.rows, &map.columns, &values);
    let chart = HeatMap {
        kind: "gates",
        title,
        axis: "across: experts; weight, 0 to 1".into(),
        rows: map.rows.clone(),
        columns: map.columns.clone(),
        values,
    };
    Some((chart.draw()?.about(model), table))
}

/// A matrix as a table.
pub(super) fn matrix(
    title: &str,
    corner: &str,
    rows: &[String],
    columns: &[String],
    values: &[Vec<Option<f64>>],
) -> Table {
    let mut table = Table::new(title, [corner].into_iter().chain(columns.iter().map(String::as_str)));
    for (r, name) in rows.iter().enumerate() {
        let value = |c: usize| maybe(values.get(r).and_then(|row| row.get(c).copied().flatten()));
        table.row(name, (0..columns.len()).map(value));
    }
    table
}
