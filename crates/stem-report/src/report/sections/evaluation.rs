//! A trained model on data of another day: is it no worse than the one before, how good is it, for whom, and did the data move?

use std::borrow::Cow;

use super::{Context, Section, intro};
use crate::analysis::{LabelKind, Metric};
use crate::report::data::{EvaluationReport, FieldImportance, Interval, MeasuredTask};
use crate::report::markup::Markup;
use crate::report::number::{DASH, count, decimals, interval, maybe, or_dash};
use crate::report::table::{Cell, Table};

pub(super) fn gate(context: &Context<'_>) -> Option<Section> {
    let gate = context.report.evaluation.as_ref()?.gate.as_ref()?;
    let mut body = Markup::new();
    let answer = if gate.passed { "It may take the place of" } else { "It may not take the place of" };
    body.leaf("p", &[("class", &"intro")], format!("{answer} {}.", gate.against));
    let margin = decimals(gate.margin, 4);
    let has_unit = gate.tasks.iter().any(|task| matches!(task.metric, Metric::Rmse | Metric::Mae));
    let says = format!(
        "Both models on the same rows. A task is no worse where the 95 % interval of its gain, over groups, lies above a loss of {margin}{}.",
        if has_unit { ", and of what has a unit, RMSE and MAE, of that part of the other's" } else { "" }
    );
    intro(&mut body, &says);
    let mut table = Table::new("Gain over the other model", ["task", "metric", "gain", "verdict"]).ending_in_text();
    for task in &gate.tasks {
        let gain = or_dash(task.gain, |gain| interval(&gain));
        table.row(&task.task, [task.metric.name().into_owned(), gain, task.verdict.words().into()]);
    }
    table.draw(&mut body);
    Some(Section { id: "gate", heading: "No worse than before?", body })
}

pub(super) fn measured(context: &Context<'_>) -> Option<Section> {
    let evaluation = context.report.evaluation.as_ref().filter(|evaluation| !evaluation.tasks.is_empty())?;
    let mut body = Markup::new();
    intro(
        &mut body,
        "With 95 % intervals over groups. Calibration is the mean prediction over the share of label 1; 1 is calibrated.",
    );
    for (kind, caption) in [
        (LabelKind::Binary, "Quality on these rows"),
        (LabelKind::Value, "Quality of labels that are numbers"),
        (LabelKind::Class, "Quality of labels that are classes"),
    ] {
        let mut table = Table::new(caption, ["task".into()].into_iter().chain(head(kind)));
        for task in evaluation.tasks.iter().filter(|task| task.kind == kind) {
            let counts = [count(task.rows as u64), count(task.positives as u64)];
            let calibration = or_dash(task.metrics.calibration, |value| decimals(value, 3));
            table.row(
                &task.task,
                counts.into_iter().chain(Metric::shown(kind).iter().map(|m| of_task(task, *m))).chain([calibration]),
            );
        }
        if !table.is_empty() {
            table.draw(&mut body);
        }
    }
    more(&mut body, evaluation);
    deciles(&mut body, evaluation);
    Some(Section { id: "measured", heading: "How good it is", body })
}

/// What stands above what is told of a label of a kind, behind its name.
fn head(kind: LabelKind) -> impl Iterator<Item = Cow<'static, str>> {
    let positive = if kind == LabelKind::Binary { "label 1" } else { "above 0" };
    let shown = Metric::shown(kind).iter().map(|metric| metric.name());
    ["rows".into(), positive.into()].into_iter().chain(shown).chain(["calibration".into()])
}

fn of_task(task: &MeasuredTask, metric: Metric) -> String {
    or_dash(task.metrics.get(metric), |value| with_ends(value, task.intervals.get(&metric)))
}

/// All other metrics, a row each.
fn more(body: &mut Markup, evaluation: &EvaluationReport) {
    let mut table = Table::new("More metrics", ["task", "metric", "value"]).named_twice();
    for task in &evaluation.tasks {
        for metric in task.metrics.others.keys().filter(|metric| !Metric::shown(task.kind).contains(metric)) {
            table.row(&task.task, [metric.name().into_owned(), of_task(task, *metric)]);
        }
    }
    if !table.is_empty() {
        super::folded(body, "Ranking within groups, and more of the probabilities", |m| table.draw(m));
    }
}

/// `0.7839 (0.7801 to 0.7872)`
fn with_ends(value: f64, ends: Option<&Interval>) -> String {
    let ends = ends.map_or(String::new(), |ends| format!(" ({} to {})", decimals(ends.low, 4), decimals(ends.high, 4)));
    format!("{}{ends}", decimals(value, 4))
}

/// Predictions and labels of each tenth of the rows.
fn deciles(body: &mut Markup, evaluation: &EvaluationReport) {
    super::folded(body, "Calibration by tenths of the predictions", |m| {
        let head = ["task", "tenth", "rows", "mean prediction", "share of label 1", "prediction / label"];
        let mut table = Table::new("Rows in tenths of ascending prediction", head).named_twice();
        for task in &evaluation.tasks {
            for (place, bin) in task.deciles.iter().enumerate() {
                let ratio = (bin.mean_label > 0.0).then(|| bin.mean_prediction / bin.mean_label);
                let cells = [
                    (place + 1).to_string(),
                    count(bin.rows),
                    decimals(bin.mean_prediction, 4),
                    decimals(bin.mean_label, 4),
                    or_dash(ratio, |ratio| decimals(ratio, 2)),
                ];
                table.row(&task.task, cells);
            }
        }
        table.draw(m);
    });
}

pub(super) fn slices(context: &Context<'_>) -> Option<Section> {
    let evaluation = context.report.evaluation.as_ref().filter(|evaluation| !evaluation.slices.is_empty())?;
    let mut body = Markup::new();
    for (kind, caption) in [
        (LabelKind::Binary, "Quality by slice"),
        (LabelKind::Value, "Quality by slice, of numbers"),
        (LabelKind::Class, "Quality by slice, of classes"),
    ] {
        let named = ["slice".into(), "task".into()];
        let mut table = Table::new(caption, named.into_iter().chain(head(kind))).named_twice();
        for slice in &evaluation.slices {
            for own in slice.tasks.iter().filter(|task| task.kind == kind) {
                let MeasuredTask { task, rows, positives, metrics, .. } = own;
                let calibration = or_dash(metrics.calibration, |value| decimals(value, 3));
                let counts = [task.clone(), count(*rows as u64), count(*positives as u64)];
                let values = Metric::shown(kind).iter().map(|metric| maybe(metrics.get(*metric)));
                let name = format!("{} = {}", slice.column, slice.value);
                table.row(name, counts.into_iter().chain(values).chain([calibration]));
            }
        }
        if !table.is_empty() {
            table.draw(&mut body);
        }
    }
    Some(Section { id: "slices", heading: "For whom", body })
}

pub(super) fn importance(context: &Context<'_>) -> Option<Section> {
    let evaluation = context.report.evaluation.as_ref().filter(|evaluation| !evaluation.importance.is_empty())?;
    let mut body = Markup::new();
    intro(
        &mut body,
        "By how much a task gets worse where a field's values are dealt anew among the rows, in what decides on the task, with 95 % intervals \
         over groups. It is what this model makes of a field beside all others: of two fields that say the same, each may be worth little.",
    );
    let mut table =
        Table::new("What each field is worth", ["field"].into_iter().chain(context.tasks().map(|(_, task)| task)));
    let most = |importance: &&FieldImportance| {
        let means = importance.tasks.iter().flatten().map(|interval| interval.mean);
        means.fold(f64::NEG_INFINITY, f64::max)
    };
    let mut fields: Vec<&FieldImportance> = evaluation.importance.iter().collect();
    fields.sort_by(|a, b| most(b).total_cmp(&most(a)));
    for importance in fields {
        let cells = importance.tasks.iter().map(|task| or_dash(*task, |own| interval(&own)));
        table.row(&importance.field, cells);
    }
    table.draw(&mut body);
    Some(Section { id: "importance", heading: "What each field is worth", body })
}

pub(super) fn drift(context: &Context<'_>) -> Option<Section> {
    let evaluation = context.report.evaluation.as_ref().filter(|evaluation| !evaluation.drift.is_empty())?;
    let mut body = Markup::new();
    intro(
        &mut body,
        "What differs by more than days usually do is marked; of unseen values, training stands for its validation split.",
    );
    let mut table = Table::new("The data now and in training", ["what", "in training", "now"]);
    for drift in &evaluation.drift {
        let shown = |value: Option<f64>| value.map_or(DASH.to_string(), |value| decimals(value, 4));
        let now = Cell::marked(shown(drift.now), drift.is_large.then_some("moved"));
        table.row(&drift.name, [Cell::from(shown(drift.trained)), now]);
    }
    table.draw(&mut body);
    Some(Section { id: "drift", heading: "Did the data move?", body })
}
