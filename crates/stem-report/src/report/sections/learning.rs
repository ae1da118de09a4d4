//! How training went, measurement by measurement, and what happened in words.

use std::collections::BTreeSet;

use super::{Context, Section, intro};
use crate::report::charts::{Axis, Chart, Line, LineChart, legend};
use crate::report::data::{EpochPoint, LearningCurve, Metric};
use crate::report::markup::Markup;
use crate::report::number::{compact, decimals, four, list, mean, or_dash};
use crate::report::table::Table;
use crate::report::training;

/// A number of a measurement and a task.
type Of = fn(&EpochPoint, usize) -> Option<f64>;

/// One seed of one model: its place, its seed, places in epochs and numbers, NaN where there is none between two.
struct Run {
    model: usize,
    seed: u64,
    points: Vec<(f64, f64)>,
    /// The point whose weights are kept.
    kept: Option<(f64, f64)>,
}

pub(super) fn section(context: &Context<'_>) -> Option<Section> {
    let kinds: [(&str, &str, Of); 3] = [
        ("AUC on the validation split", "AUC, validation", |e, t| e.auc.get(t).copied().flatten()),
        ("logloss on the validation split", "logloss, validation, nats", |e, t| e.logloss.get(t).copied().flatten()),
        ("training loss", "training loss", |e, t| e.loss.get(t).copied()),
    ];
    let mut figures = Vec::new();
    for (t, task) in context.tasks() {
        for metric in others(context, t) {
            let (title, axis) = (
                format!("{task}: {} on the validation split", metric.name()),
                format!("{}, validation", metric.name()),
            );
            figures.extend(figure(context, title, &axis, t, |e, t| e.others.get(t)?.get(&metric).copied()));
        }
        for (what, axis, of) in kinds {
            figures.extend(figure(context, format!("{task}: {what}"), axis, t, of));
        }
    }
    if figures.is_empty() {
        return None;
    }
    let mut body = Markup::new();
    let seeds = if context.report.models.iter().any(|m| m.learning.len() > 1) {
        "Thick: the mean of a model's seeds, as far as all of them went on. Thin: each seed. "
    } else {
        ""
    };
    let rest = "A line ends where training did; a ring is around what was kept of a seed. A validation logloss that rises while the \
                training loss goes on falling is overfitting; a line that still gets better where it ends had too few epochs.";
    intro(&mut body, &format!("{seeds}{rest}"));
    let notes: Vec<String> = context.tasks().flat_map(|(t, task)| notes(context, t, task)).collect();
    if !notes.is_empty() {
        body.node("ul", &[("class", &"notes")], |m| notes.iter().for_each(|note| m.leaf("li", &[], note)));
    }
    legend(&mut body, &context.series(|i| !context.report.models[i].learning.is_empty()), true);
    context.figures.beside(&mut body, &figures);
    let heading = if context.report.models.len() > 1 { "How they learned" } else { "How it learned" };
    Some(Section { id: "learning", heading, body })
}

/// What else was measured of a task while models were trained.
fn others(context: &Context<'_>, t: usize) -> BTreeSet<Metric> {
    let points = context.report.models.iter().flat_map(|model| &model.learning).flat_map(|curve| &curve.epochs);
    points.filter_map(|point| point.others.get(t)).flat_map(|others| others.keys().copied()).collect()
}

/// What happened to a task's trainings: overfitting, epochs that ran out.
fn notes(context: &Context<'_>, t: usize, task: &str) -> Vec<String> {
    let (mut over, mut out) = (Vec::new(), Vec::new());
    for model in &context.report.models {
        let (name, all) = (&model.name, model.learning.len());
        let of = |count: usize| if all > 1 { format!("{count} of {all} seeds") } else { String::new() };
        let risen: Vec<f64> = model.learning.iter().filter_map(|curve| training::overfitted(curve, t)).collect();
        if !risen.is_empty() {
            let most = decimals(100.0 * risen.iter().copied().fold(0.0, f64::max), 1);
            let seeds = if all > 1 { format!("{}, ", of(risen.len())) } else { String::new() };
            over.push(format!("{name} ({seeds}up to {most} %)"));
        }
        let short = |curve: &&LearningCurve| training::ran_out(curve, t, context.report.metric_of(t));
        let short = model.learning.iter().filter(short).count();
        if short > 0 {
            out.push(if all > 1 { format!("{name} ({})", of(short)) } else { name.clone() });
        }
    }
    let over = (!over.is_empty()).then(|| {
        let which = list(&over);
        format!(
            "{task}, overfitting: after its best the validation logloss rises by more than 1 % while the training loss falls, with \
             {which}. The ring is around what is kept."
        )
    });
    let out = (!out.is_empty()).then(|| {
        format!(
            "{task}, epochs ran out: the last one allowed was still the best, with {}. Give more epochs.",
            list(&out)
        )
    });
    over.into_iter().chain(out).collect()
}

fn figure(
    context: &Context<'_>,
    title: String,
    axis: &str,
    t: usize,
    of: impl Fn(&EpochPoint, usize) -> Option<f64>,
) -> Option<(Chart, Table)> {
    let value = |e: &EpochPoint| (training::place(e), of(e, t).filter(|v| v.is_finite()).unwrap_or(f64::NAN));
    let run = |model: usize, curve: &LearningCurve| Run {
        model,
        seed: curve.seed,
        points: trimmed(curve.epochs.iter().map(value).collect()),
        kept: training::kept(curve, t, context.report.metric_of(t)).map(|kept| value(&curve.epochs[kept])),
    };
    let models = context.report.models.iter().enumerate();
    let runs: Vec<Run> = models
        .flat_map(|(model, m)| m.learning.iter().map(move |curve| run(model, curve)))
        .filter(|run| !run.points.is_empty())
        .collect();
    let all = || runs.iter().flat_map(|run| &run.points);
    let mut lines = Vec::new();
    for (i, model) in context.report.models.iter().enumerate() {
        let own: Vec<&Run> = runs.iter().filter(|run| run.model == i).collect();
        let style = context.style(i);
        let kept = |run: &Run| run.kept.into_iter().collect::<Vec<_>>();
        for run in own.iter().filter(|_| own.len() > 1) {
            let name = format!("{}, seed {}", model.name, run.seed);
            let points = run.points.clone();
            lines.push(Line { name, points, thin: true, kept: kept(run), ..Line::plain(style) });
        }
        let kept = if let [only] = own[..] { kept(only) } else { Vec::new() };
        lines.push(Line { name: model.name.clone(), points: means(&own), markers: true, kept, ..Line::plain(style) });
    }
    let chart = LineChart {
        kind: "learning",
        x: Axis::whole("epoch", all().map(|(at, _)| *at)),
        y: Axis::linear(axis, all().map(|(_, v)| *v)),
        lines,
        diagonal: None,
        title: title.clone(),
    };
    let table = table(context, title, &runs);
    Some((chart.draw()?, table))
}

/// From the first number to the last: a task trained apart may have stopped before the others.
fn trimmed(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let known = |(_, v): &(f64, f64)| v.is_finite();
    points.truncate(points.iter().rposition(known).map_or(0, |last| last + 1));
    points.drain(..points.iter().position(known).unwrap_or(0));
    points
}

/// Mean over runs of the places that all of them have.
fn means(runs: &[&Run]) -> Vec<(f64, f64)> {
    let Some(first) = runs.first() else { return Vec::new() };
    let of = |place: f64| -> Option<(f64, f64)> {
        let values: Vec<f64> = runs.iter().map(|run| at(run, place)).collect::<Option<_>>()?;
        let known = values.iter().all(|v| v.is_finite());
        Some((place, if known { mean(values)? } else { f64::NAN }))
    };
    first.points.iter().filter_map(|(place, _)| of(*place)).collect()
}

/// The number of a run at a place.
fn at(run: &Run, place: f64) -> Option<f64> {
    run.points.iter().find(|(own, _)| same(*own, place)).map(|(_, value)| *value)
}

/// Whether two places are one, whatever their last digits.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

/// A row per run, a column per place.
fn table(context: &Context<'_>, title: String, runs: &[Run]) -> Table {
    let mut places: Vec<f64> = runs.iter().flat_map(|run| run.points.iter().map(|(at, _)| *at)).collect();
    places.sort_unstable_by(f64::total_cmp);
    places.dedup_by(|a, b| same(*a, *b));
    let named = places.iter().map(|place| format!("epoch {}", compact(*place)));
    let head = ["model".to_owned(), "seed".to_owned(), "kept".to_owned()].into_iter().chain(named);
    let mut table = Table::new(title, head);
    for run in runs {
        let name = context.report.models.get(run.model).map_or("", |m| m.name.as_str());
        let kept = or_dash(run.kept, |(place, _)| format!("epoch {}", compact(place)));
        let values = places.iter().map(|place| or_dash(at(run, *place), four));
        table.row(name, [run.seed.to_string(), kept].into_iter().chain(values));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(points: &[(f64, f64)]) -> Run {
        Run { model: 0, seed: 0, points: points.to_vec(), kept: None }
    }

    #[test]
    fn the_mean_goes_as_far_as_all_seeds_do() {
        let (long, short) = (run(&[(1.0, 0.5), (2.0, 0.7), (3.0, 0.8)]), run(&[(1.0, 0.7), (2.0, 0.9)]));
        let means: Vec<String> = means(&[&long, &short]).iter().map(|(e, v)| format!("{e} {v:.1}")).collect();
        assert_eq!(means, ["1 0.6", "2 0.8"]);
    }

    #[test]
    fn a_line_has_gaps_but_no_ends_without_numbers() {
        let nan = f64::NAN;
        let points = trimmed(vec![(1.0, nan), (2.0, 0.5), (3.0, nan), (4.0, 0.7), (5.0, nan), (6.0, nan)]);
        assert_eq!(
            points.iter().map(|(e, v)| (*e, v.is_finite())).collect::<Vec<_>>(),
            [(2.0, true), (3.0, false), (4.0, true)]
        );
        assert!(trimmed(vec![(1.0, nan)]).is_empty() && trimmed(vec![]).is_empty());
        let means = means(&[&run(&points), &run(&[(2.0, 0.7), (3.0, 0.7), (4.0, 0.9)])]);
        assert_eq!(means.iter().map(|(_, v)| v.is_finite()).collect::<Vec<_>>(), [true, false, true]);
    }
}
