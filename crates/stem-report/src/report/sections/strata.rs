//! For which users sharing helps: transfer within users of one task, of the other, and of both.

use super::transfer::{against, difference, interval_cells};
use super::{Context, OPEN_PAIRS, Section, folded, intro};
use crate::report::charts::{Chart, Forest, ForestGroup, ForestRow, transfer_legend};
use crate::report::data::{Metric, PairReport, StratumReport, StratumTask};
use crate::report::judge::known;
use crate::report::markup::Markup;
use crate::report::number::{DASH, count, decimals, fit, list, maybe, things};
use crate::report::table::Table;

/// Names of strata over their rows are cut here, so that the numbers after them are not.
const WIDEST_NAME: f64 = 150.0;

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    if context.report.models.len() < 2 {
        return None;
    }
    let mut body = Markup::new();
    intro(
        &mut body,
        "Users are split by which of two tasks they give more positive feedback of. Comparable users are those whose tasks \
         should pull embeddings apart the least; models that share one embedding can lose even there.",
    );
    transfer_legend(&mut body);
    let mut shown = 0;
    for pair in &context.report.pairs {
        let figures: Vec<(Chart, Table)> = tasks(pair).iter().filter_map(|task| figure(context, pair, task)).collect();
        let tables: Vec<Table> = if figures.is_empty() {
            tasks(pair).iter().filter_map(|t| filled(context, pair, t)).collect()
        } else {
            vec![]
        };
        if figures.is_empty() && tables.is_empty() {
            continue;
        }
        shown += 1;
        let heading = format!("{} and {}", pair.a, pair.b);
        let inside = |m: &mut Markup| {
            m.leaf("p", &[("class", &"note")], cut(pair));
            context.figures.beside(m, &figures);
            tables.iter().for_each(|table| table.draw(m));
        };
        if shown > OPEN_PAIRS {
            folded(&mut body, &heading, inside);
        } else {
            body.leaf("h3", &[], heading);
            inside(&mut body);
        }
    }
    (shown > 0).then_some(Section { id: "users", heading: "For which users?", body })
}

fn tasks(pair: &PairReport) -> Vec<&str> {
    if pair.a == pair.b { vec![&pair.a] } else { vec![&pair.a, &pair.b] }
}

/// How the users were split.
fn cut(pair: &PairReport) -> String {
    let [low, high] = pair.cuts.map(|cut| decimals(cut, 2));
    let rows: Vec<String> = pair.strata.iter().map(|s| format!("{} {}", count(s.rows), s.name)).collect();
    let unassigned = match pair.unassigned {
        0 => String::new(),
        n => format!(" {} of users with positives of neither are in no part.", things(n, "row", "rows")),
    };
    let (a, b) = (&pair.a, &pair.b);
    let how = match &pair.note {
        Some(note) => {
            format!(
                "{} Here a is the number of a user's positives of {a} in the training split, and b that of {b}.",
                note.trim()
            )
        }
        None => format!(
            "Cut at a share of {b} of {low} and {high} among a user's positives of {a} and {b} in the training split; 0 is {a} alone."
        ),
    };
    format!("Test rows: {}. {how}{unassigned}", list(&rows))
}

fn of<'a>(stratum: &'a StratumReport, model: usize, task: &str) -> Option<&'a StratumTask> {
    stratum.models.get(model)?.tasks.iter().find(|t| t.task == task)
}

fn figure(context: &Context<'_>, pair: &PairReport, task: &str) -> Option<(Chart, Table)> {
    let reference = context.report.reference.as_deref();
    let group = |stratum: &StratumReport| {
        let rows = (0..stratum.models.len())
            .filter(|&i| reference != Some(&stratum.models[i].model))
            .map(|i| ForestRow {
                name: stratum.models[i].model.clone(),
                interval: known(of(stratum, i, task).and_then(|t| t.transfer)),
            })
            .collect();
        ForestGroup { heading: heading(stratum, task), rows: one_class(stratum, task).unwrap_or(rows) }
    };
    let chart = Forest {
        kind: "strata",
        title: format!("Transfer to {task}"),
        axis: against(context, metric_of(context, task)),
        groups: pair.strata.iter().map(group).collect(),
    };
    let about = format!("users of {} and {}", pair.a, pair.b);
    Some((chart.draw()?.about(&about), table(context, pair, task)))
}

/// What decides on a task.
fn metric_of(context: &Context<'_>, task: &str) -> Metric {
    let place = context.report.tasks.iter().position(|name| name == task);
    place.map_or(context.report.metric, |t| context.report.metric_of(t))
}

/// Name, cut if need be, rows and positives of a stratum.
fn heading(stratum: &StratumReport, task: &str) -> String {
    let name = fit(&stratum.name, WIDEST_NAME);
    match labels(stratum, task) {
        Some((positives, labelled)) => format!("{name}: {} of {} rows positive", count(positives), count(labelled)),
        None => format!("{name}: {}", things(stratum.rows, "row", "rows")),
    }
}

/// Positives, and rows with a label.
fn labels(stratum: &StratumReport, task: &str) -> Option<(u64, u64)> {
    (0..stratum.models.len()).find_map(|i| of(stratum, i, task)).map(|t| (t.positives, t.labelled))
}

/// One row that says why there are none.
fn one_class(stratum: &StratumReport, task: &str) -> Option<Vec<ForestRow>> {
    let undefined = (0..stratum.models.len()).filter_map(|i| of(stratum, i, task)).all(|t| t.auc.is_none());
    let why =
        if labels(stratum, task).is_some_and(|(_, labelled)| labelled > 0) { "one class only" } else { "no rows" };
    undefined.then(|| vec![ForestRow { name: why.into(), interval: None }])
}

/// The table where there is nothing to draw, if it has an AUC.
fn filled(context: &Context<'_>, pair: &PairReport, task: &str) -> Option<Table> {
    let any = |s: &StratumReport| (0..s.models.len()).any(|i| of(s, i, task).is_some());
    pair.strata.iter().any(any).then(|| table(context, pair, task))
}

fn table(context: &Context<'_>, pair: &PairReport, task: &str) -> Table {
    let head =
        ["users", "model", "positives", "AUC", "gAUC", "logloss", "calibration", "mean", "low", "high", "transfer"];
    let difference = difference(metric_of(context, task));
    let caption = format!("{task}, by users of {} and {}: quality, and {difference}", pair.a, pair.b);
    let above = vec![(String::new(), 7), (difference, 4)];
    let mut table = Table::new(caption, head).above(above).named_twice();
    for stratum in &pair.strata {
        for (i, model) in stratum.models.iter().enumerate() {
            let Some(numbers) = of(stratum, i, task) else { continue };
            let auc = match numbers.auc {
                Some(_) => maybe(numbers.auc),
                None if numbers.labelled == 0 => format!("{DASH} (no rows)"),
                None => format!("{DASH} (one class: {} of {})", count(numbers.positives), count(numbers.labelled)),
            };
            let others = [numbers.gauc, numbers.logloss, numbers.calibration].map(maybe);
            let cells = [model.model.clone(), count(numbers.positives), auc]
                .into_iter()
                .chain(others)
                .chain(interval_cells(known(numbers.transfer)));
            table.row(&stratum.name, cells);
        }
    }
    table
}
