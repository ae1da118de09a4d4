//! Every model on every task, the best marked, ties named.

use super::{Context, Section, intro};
use crate::report::data::{LabelKind, Metric, ModelReport, Spread, TaskReport};
use crate::report::judge::close;
use crate::report::markup::Markup;
use crate::report::number::{DASH, decimals, duration, four, list, mean, or_dash, spread, spread_to, things};
use crate::report::table::{Cell, Table};

/// A number of a model on a task, and how it is written.
type Of = fn(&TaskReport) -> Option<&Spread>;
type Text = fn(&Spread) -> String;

/// A column: its name, the metric, how far a value is from the best possible, and how it is written.
type Column = (&'static str, Of, fn(f64) -> f64, Text);

const CALIBRATION: Column = ("calibration", |t| t.calibration.as_ref(), |v| (v - 1.0).abs(), |s| spread_to(s, 3));

/// Of tasks whose label is 0 or 1.
const COLUMNS: [Column; 4] = [
    ("AUC", |t| t.auc.as_ref(), |v| -v, spread),
    ("gAUC", |t| t.gauc.as_ref(), |v| -v, spread),
    ("logloss", |t| t.logloss.as_ref(), |v| v, spread),
    CALIBRATION,
];

/// Of tasks whose label is a number.
const OF_NUMBERS: [Column; 4] = [
    ("XAUC", |t| t.others.get(&Metric::Xauc), |v| -v, spread),
    ("RMSE", |t| t.others.get(&Metric::Rmse), |v| v, spread),
    ("MAE", |t| t.others.get(&Metric::Mae), |v| v, spread),
    CALIBRATION,
];

/// Of tasks whose label is a class.
const OF_CLASSES: [Column; 1] = [("accuracy", |t| t.others.get(&Metric::Accuracy), |v| -v, spread)];

/// Within users, and what else is told of probabilities.
const RANKING: [Column; 7] = [
    ("NDCG@10", |t| t.others.get(&Metric::Ndcg(10)), |v| -v, spread),
    ("MRR", |t| t.others.get(&Metric::Mrr), |v| -v, spread),
    ("recall@10", |t| t.others.get(&Metric::Recall(10)), |v| -v, spread),
    ("hit rate@10", |t| t.others.get(&Metric::HitRate(10)), |v| -v, spread),
    ("PR-AUC", |t| t.others.get(&Metric::PrAuc), |v| -v, spread),
    ("NE", |t| t.others.get(&Metric::Ne), |v| v, spread),
    ("ECE", |t| t.others.get(&Metric::Ece), |v| v, spread),
];

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let one = context.report.models.len() == 1;
    let seeds = |t: usize| {
        let of = move |i| {
            let task = context.task(i, t)?;
            Some(task.get(Metric::plain(task.kind))?.values.len())
        };
        (0..context.report.models.len()).filter_map(of)
    };
    let single = context.tasks().flat_map(|(t, _)| seeds(t)).max() == Some(1);
    let over = if single { "" } else { ": mean and standard deviation over seeds" };
    let is_of = |t: usize, kind: LabelKind| {
        (0..context.report.models.len()).any(|i| context.task(i, t).is_some_and(|task| task.kind == kind))
    };
    let of = |kind: LabelKind| context.tasks().map(|(t, _)| t).filter(|t| is_of(*t, kind)).collect::<Vec<usize>>();
    let [binary, numbers, classes] = LabelKind::ALL.map(of);
    let table = |what: &str, tasks: &[usize], columns: &[Column], with_valid: bool| {
        let caption = format!("{what}{over}");
        if one {
            by_task(context, caption, tasks, columns)
        } else {
            by_task_and_model(context, caption, tasks, columns, with_valid)
        }
    };
    let all: Vec<usize> = context.tasks().map(|(t, _)| t).collect();
    let mut tables = table("The test split", &binary, &COLUMNS, true).into_iter().collect::<Vec<_>>();
    tables.extend(table("Tasks whose label is a number, the test split", &numbers, &OF_NUMBERS, true));
    tables.extend(table("Tasks whose label is a class, the test split", &classes, &OF_CLASSES, true));
    if tables.is_empty() {
        return None;
    }
    let ranking = table("Ranking within users, the test split", &all, &RANKING, false);
    let mut body = Markup::new();
    if !numbers.is_empty() {
        intro(
            &mut body,
            "Of labels that are numbers XAUC, the share of pairs of rows in the right order, is better the higher, RMSE and MAE, in \
             the label's unit, the lower.",
        );
    }
    if !classes.is_empty() {
        intro(
            &mut body,
            "Of labels that are classes accuracy is the share of rows whose most likely class is the label.",
        );
    }
    intro(
        &mut body,
        "AUC and gAUC (AUC within users) are better the higher, logloss (nats) the lower, calibration (mean prediction over \
         mean label) the nearer to 1. A mean is over all seeds; where one of them has no value, as an AUC of one class, there is \
         a dash. All is of the test split, but for a column of the validation split, by which models are chosen.",
    );
    if !one {
        intro(
            &mut body,
            "Where the best and others are closer than the larger of their deviations, all of them are marked as a tie.",
        );
    }
    tables.iter().for_each(|table| table.draw(&mut body));
    if let Some(table) = ranking {
        super::folded(&mut body, "Ranking within users, and more of the probabilities", |m| {
            intro(
                m,
                "NDCG, MRR, recall and hit rate are means over users with a positive; PR-AUC is average precision. NE, the logloss over \
                 that of always predicting the mean, and ECE, the expected calibration error, are better the lower.",
            );
            table.draw(m);
        });
    }
    if let Some(table) = calibrated(context) {
        intro(&mut body, "Scores were calibrated on the validation split; before and after, on the test split:");
        table.draw(&mut body);
    }
    if let [model] = &context.report.models[..] {
        let takes = takes(model);
        if !takes.is_empty() {
            body.leaf("p", &[("class", &"note")], format_args!("{}.", list(&takes)));
        }
    }
    if single {
        let more = if one { "" } else { ", and small differences say nothing" };
        body.leaf("p", &[("class", &"note")], format_args!("One seed: no spread is known{more}."));
    }
    let heading = if one { "How good the model is" } else { "How good the models are" };
    Some(Section { id: "quality", heading, body })
}

/// Logloss and calibration before and after; `None` where no score is calibrated.
fn calibrated(context: &Context<'_>) -> Option<Table> {
    let head = ["task", "model", "calibration before", "after", "logloss before", "after"];
    let mut table = Table::new("Calibration before and after", head).named_twice();
    for (t, task) in context.tasks() {
        for (i, model) in context.report.models.iter().enumerate() {
            let Some(own) = context.task(i, t) else { continue };
            let Some([logloss, calibration]) = &own.uncalibrated else { continue };
            let after = [own.calibration.as_ref(), own.logloss.as_ref()];
            let cells = [
                model.name.clone(),
                spread_to(calibration, 3),
                or_dash(after[0], |spread| spread_to(spread, 3)),
                spread(logloss),
                or_dash(after[1], spread),
            ];
            table.row(task, cells);
        }
    }
    (!table.is_empty()).then_some(table)
}

/// What the only model costs.
fn takes(model: &ModelReport) -> Vec<String> {
    let seconds = mean(model.seconds.iter().copied()).filter(|s| *s > 0.0);
    let parameters = (model.parameters > 0).then(|| things(model.parameters, "parameter", "parameters"));
    let time = seconds.map(|s| format!("{} of training", duration(s)));
    let memory = model.memory_gb.filter(|gb| gb.is_finite());
    let memory = memory.map(|gb| format!("{} GB of memory, as planned before training", decimals(gb, 2)));
    parameters.into_iter().chain(time).chain(memory).collect()
}

/// Tasks by metrics of the only model; `None` if it has none.
fn by_task(context: &Context<'_>, caption: String, tasks: &[usize], columns: &[Column]) -> Option<Table> {
    let value = |t: usize, of: Of| context.task(0, t).and_then(of).filter(|s| s.mean.is_finite());
    let metrics: Vec<&Column> =
        columns.iter().filter(|(_, of, ..)| tasks.iter().any(|t| value(*t, *of).is_some())).collect();
    let mut table = Table::new(caption, ["task"].into_iter().chain(metrics.iter().map(|(name, ..)| *name)));
    for (t, task) in context.tasks().filter(|(t, _)| tasks.contains(t)) {
        table.row(task, metrics.iter().map(|(_, of, _, text)| or_dash(value(t, *of), text)));
    }
    (!metrics.is_empty()).then_some(table)
}

/// A row for every task and model, so that many tasks make a long table and not a wide one; `None` if no model has a number.
fn by_task_and_model(
    context: &Context<'_>,
    caption: String,
    tasks: &[usize],
    columns: &[Column],
    with_valid: bool,
) -> Option<Table> {
    let models = &context.report.models;
    let first = tasks.first().map_or(context.report.metric, |t| context.report.metric_of(*t));
    let metric = Some(first).filter(|first| tasks.iter().all(|t| context.report.metric_of(*t) == *first));
    // Alone without its deviation, so that the table is no wider than the page.
    let (valid, mean): (Of, Text) = (|t| t.valid.as_ref(), |s| four(s.mean));
    let valid: Column = match metric {
        Some(Metric::Auc) => ("valid AUC", valid, |v| -v, mean),
        Some(Metric::Gauc) => ("valid gAUC", valid, |v| -v, mean),
        Some(Metric::Logloss) => ("valid logloss", valid, |v| v, mean),
        Some(Metric::Xauc) => ("valid XAUC", valid, |v| -v, mean),
        Some(Metric::Accuracy) => ("valid accuracy", valid, |v| -v, mean),
        Some(other) if !other.higher_is_better() => ("valid", valid, |v| v, mean),
        _ => ("valid", valid, |v| -v, mean),
    };
    let values = |t: usize, of: Of| -> Vec<Option<&Spread>> {
        (0..models.len()).map(|i| context.task(i, t).and_then(of).filter(|s| s.mean.is_finite())).collect()
    };
    let known = |(_, of, ..): &Column| tasks.iter().any(|t| values(*t, *of).iter().any(Option::is_some));
    let columns: Vec<Column> =
        [valid].into_iter().filter(|_| with_valid).chain(columns.iter().copied()).filter(known).collect();
    if columns.is_empty() {
        return None;
    }
    let names = columns.iter().map(|(name, ..)| *name);
    let mut table = Table::new(caption, ["task", "model"].into_iter().chain(names)).named_twice().tight();
    for (t, task) in context.tasks().filter(|(t, _)| tasks.contains(t)) {
        let cells: Vec<Vec<Cell>> =
            columns.iter().map(|(_, of, loss, text)| column(&values(t, *of), *loss, *text)).collect();
        for (i, model) in models.iter().enumerate() {
            let own = cells.iter().filter_map(|column| column.get(i).cloned());
            table.row(task, [Cell::from(model.name.as_str())].into_iter().chain(own));
        }
    }
    Some(table)
}

/// A metric of all models, its best marked when there is more than one.
fn column(values: &[Option<&Spread>], loss: fn(f64) -> f64, text: Text) -> Vec<Cell> {
    let best = values.iter().flatten().min_by(|a, b| loss(a.mean).total_cmp(&loss(b.mean)));
    // How far from the best possible, so that 0.99 and 1.01 are as well calibrated as each other.
    let turned = |s: &Spread| Spread { mean: loss(s.mean), ..s.clone() };
    let tied: Vec<bool> = values
        .iter()
        .map(|v| match (v, best) {
            (Some(v), Some(best)) => close(&turned(v), &turned(best)),
            _ => false,
        })
        .collect();
    let badge = match tied.iter().filter(|t| **t).count() {
        _ if values.iter().flatten().count() < 2 => None,
        1 => Some("best"),
        _ => Some("tie"),
    };
    let cell = |(value, tied): (&Option<&Spread>, &bool)| match value {
        Some(value) => Cell::marked(text(value), badge.filter(|_| *tied)),
        None => DASH.into(),
    };
    values.iter().zip(&tied).map(cell).collect()
}
