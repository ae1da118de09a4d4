//! Measures a bundle on raw tables of another day.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use stem_core::Predictor;
use stem_data::{Dataset, Known, Rows};
use stem_experiment::{EvaluateOptions, Evaluation, Measurement, evaluate};
use stem_report::analysis::{Bootstrap, Interval, LabelKind, Metric};
use stem_report::metrics::four_decimals;
use stem_report::report::{EvaluationReport, FieldImportance, GateReport, MeasuredTask};

use crate::args::{DataArgs, DeviceArgs, Source, refuse_replacing};
use crate::command_line::command_line;
use crate::console::{Console, Refused, Result};
use crate::table::table;

/// Measures a bundle on raw tables of another day, and says whether it is no worse than another
///
/// The rows are encoded as the bundle takes them: with its vocabularies and transforms. Prints AUC, gAUC, logloss and calibration of
/// each task with 95 % intervals, the same for slices (--by), and what moved since the training: unseen values, numbers, base rates.
/// With --against the exit code is 3 unless every task is no worse than with that bundle.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem evaluate --bundle out/train/bundle.safetensors --recipe recipe.toml --data today
  stem evaluate --bundle out/train/bundle.safetensors --split test --by tab --out out/evaluation
  stem evaluate --bundle out/new/bundle.safetensors --against out/old/bundle.safetensors --data today --margin 0.002")]
#[command(mut_arg("columns", |columns| columns.help(
    "Folder of the encoded columns, to be used again. By default OUT/columns, or none that stays"
)))]
pub(crate) struct Args {
    /// Bundle that a training left
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// Bundle that it has to be no worse than, on the same rows
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// A loss of less than this is none: of AUC, or of what decides on a task; of RMSE and MAE a part of the other's, 0.01 is 1 %
    #[arg(long, value_name = "LOSS", default_value_t = 0.001, requires = "against")]
    margin: f64,
    /// What bundles are compared in: auc, gauc, logloss, ndcg@10, rmse ... By default the label's metric, the recipe's verdict, or auc
    #[arg(long, requires = "against")]
    metric: Option<Metric>,
    /// Rows that are measured: all, or those of the recipe's test split
    #[arg(long, value_enum, default_value_t = Split::All)]
    split: Split,
    /// Columns of the SELECT by whose values the rows are measured apart, with commas
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    by: Vec<String>,
    /// Measure what each field is worth to each task: its values are dealt anew among the rows, and these scored once more
    #[arg(long)]
    importance: bool,
    /// Folder for evaluation.json and the page, report.html
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Resamples of the groups (users), for the intervals
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Rows that are measured.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Split {
    All,
    Test,
}

/// What was measured.
#[derive(Serialize)]
struct Answer<'a> {
    rows: usize,
    #[serde(flatten)]
    evaluation: &'a EvaluationReport,
    warnings: &'a [String],
    report: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    console.stop_on_signal()?;
    if !(args.margin.is_finite() && args.margin >= 0.0) {
        return Err(format!("--margin {}: expected a number of 0 or more", args.margin).into());
    }
    let device = args.device.device.open()?;
    let source = args.data.open()?;
    let bundles = [Some(&args.bundle), args.against.as_ref()];
    if let Some(out) = &args.out {
        let outputs = ["evaluation.json", "report.html"].map(|name| out.join(name));
        let tables: Vec<PathBuf> = source.tables().collect();
        let inputs = tables.iter().chain(bundles.into_iter().flatten()).chain([&args.data.recipe]);
        refuse_replacing(&outputs, inputs.map(PathBuf::as_path))?;
    }
    let scratch = tempfile::tempdir()?;
    let columns = match (&args.data.columns, &args.out) {
        (None, None) => scratch.path().join("columns"),
        (_, out) => args.data.columns(out.as_deref().unwrap_or(Path::new(""))),
    };
    let predictor = Predictor::open(&args.bundle, &device)?;
    let dataset = args.encode(&source, &predictor, &columns, console)?;
    let name = |path: &Path| path.display().to_string();
    let measured = Measurement { name: name(&args.bundle), predictor: &predictor, dataset: &dataset };
    let other = args.against.as_ref().map(|path| -> Result<(String, Predictor, Dataset)> {
        let predictor = Predictor::open(path, &device)?;
        let columns = columns.with_file_name(match columns.file_name() {
            Some(own) => format!("{}-against", own.to_string_lossy()),
            None => "columns-against".into(),
        });
        let dataset = args.encode(&source, &predictor, &columns, console)?;
        Ok((name(path), predictor, dataset))
    });
    let other = other.transpose()?;
    let other = other.as_ref().map(|(name, predictor, dataset)| Measurement { name: name.clone(), predictor, dataset });
    let options = EvaluateOptions {
        metric: args.metric.unwrap_or_else(|| source.verdict()),
        metrics: if args.metric.is_some() { Default::default() } else { source.metrics() },
        margin: args.margin,
        bootstrap: Bootstrap { resamples: args.resamples, ..Bootstrap::default() },
        importance: args.importance,
        device: args.device.device,
        command: command_line(),
    };
    let evaluation = evaluate(&measured, other.as_ref(), &options)?;
    evaluation.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let written = args.out.as_ref().map(|out| evaluation.write(out)).transpose()?;
    let answer = Answer {
        rows: dataset.rows(stem_data::Split::Test),
        evaluation: &evaluation.report,
        warnings: &evaluation.warnings,
        report: written.map(|[_, page]| page),
    };
    console.answer(&answer, || text(&answer, &evaluation))?;
    match &evaluation.report.gate {
        Some(gate) if !gate.passed => Err(Refused(format!("not shown to be no worse than {}", gate.against)).into()),
        _ => Ok(()),
    }
}

impl Args {
    /// The rows as a bundle takes them.
    fn encode(&self, source: &Source, predictor: &Predictor, columns: &Path, console: &Console) -> Result<Dataset> {
        let rows = if self.split == Split::All { Rows::All } else { Rows::BySplit };
        source.encode_known(Known::from(predictor), rows, &self.by, columns, console)
    }
}

/// Values of a column that are printed, those with the most rows.
const SHOWN: usize = 12;

/// Tables of what was measured.
fn text(answer: &Answer<'_>, evaluation: &Evaluation) -> String {
    let EvaluationReport { tasks, slices, gate, importance, .. } = &evaluation.report;
    let mut lines = vec![format!("{} rows", answer.rows)];
    let kinds = LabelKind::ALL.into_iter().filter(|kind| tasks.iter().any(|task| task.kind == *kind));
    let kinds: Vec<LabelKind> = kinds.collect();
    for kind in &kinds {
        let mut rows = vec![head(1, *kind)];
        rows.extend(tasks.iter().filter(|task| task.kind == *kind).map(|task| row(vec![task.task.clone()], task)));
        lines.push(table(&rows));
    }
    for kind in kinds.iter().filter(|_| !slices.is_empty()) {
        let mut rows = vec![head(2, *kind)];
        let mut columns = BTreeMap::<&str, usize>::new();
        for slice in slices {
            let shown = columns.entry(&slice.column).or_default();
            *shown += 1;
            if *shown > SHOWN {
                continue;
            }
            let name = format!("{} = {}", slice.column, slice.value);
            let own = slice.tasks.iter().filter(|task| task.kind == *kind);
            rows.extend(own.map(|task| row(vec![name.clone(), task.task.clone()], task)));
        }
        lines.push(table(&rows));
        let more = columns.into_iter().filter(|(_, values)| *values > SHOWN);
        lines.extend(
            more.map(|(column, values)| {
                format!("  {} more values of {column}: on the page, in the JSON", values - SHOWN)
            }),
        );
    }
    let names: Vec<&str> = tasks.iter().map(|task| task.task.as_str()).collect();
    lines.extend((!importance.is_empty()).then(|| importance_text(&names, importance)));
    lines.extend(gate.iter().map(gate_text));
    lines.extend(answer.report.iter().map(|page| page.display().to_string()));
    lines.join("\n")
}

fn head(names: usize, kind: LabelKind) -> Vec<String> {
    let counted = ["rows", if kind == LabelKind::Binary { "label 1" } else { "above 0" }].map(String::from);
    let metrics = Metric::shown(kind).iter().map(|metric| metric.name().into_owned());
    std::iter::repeat_n(String::new(), names).chain(counted).chain(metrics).chain(["calibration".into()]).collect()
}

fn row(mut cells: Vec<String>, task: &MeasuredTask) -> Vec<String> {
    let ends = |metric: Metric| {
        let ends = task.intervals.get(&metric);
        ends.map_or(String::new(), |Interval { low, high, .. }| format!(" ({low:.4} to {high:.4})"))
    };
    cells.extend([task.rows.to_string(), task.positives.to_string()]);
    let shown = Metric::shown(task.kind).iter();
    cells.extend(shown.map(|metric| format!("{}{}", four_decimals(task.metrics.get(*metric)), ends(*metric))));
    cells.push(four_decimals(task.metrics.calibration));
    cells
}

/// A line for each field, those first that are worth the most to some task.
pub(crate) fn importance_text(tasks: &[&str], importance: &[FieldImportance]) -> String {
    let mut rows = vec![std::iter::once("").chain(tasks.iter().copied()).map(String::from).collect::<Vec<_>>()];
    let most = |field: &FieldImportance| {
        field.tasks.iter().flatten().map(|interval| interval.mean).fold(f64::NEG_INFINITY, f64::max)
    };
    let mut fields: Vec<&FieldImportance> = importance.iter().collect();
    fields.sort_by(|a, b| most(b).total_cmp(&most(a)));
    let cell = |interval: &Option<Interval>| {
        interval.map_or("-".into(), |Interval { mean, low, high }| format!("{mean:+.4} ({low:+.4} to {high:+.4})"))
    };
    rows.extend(
        fields.iter().map(|field| [field.field.clone()].into_iter().chain(field.tasks.iter().map(cell)).collect()),
    );
    format!("what each field is worth:\n{}", table(&rows))
}

fn gate_text(gate: &GateReport) -> String {
    let rows = gate.tasks.iter().map(|task| {
        let gain = task
            .gain
            .map_or("-".into(), |Interval { mean, low, high }| format!("{mean:+.4} ({low:+.4} to {high:+.4})"));
        vec![task.task.clone(), task.metric.name().into_owned(), gain, task.verdict.words().into()]
    });
    let passed = if gate.passed { "no worse than" } else { "not shown to be no worse than" };
    let margin = gate.margin;
    let rows = table(&rows.collect::<Vec<_>>());
    format!(
        "gain over {}, where a loss of less than {margin} is none:\n{rows}\n{passed} {}",
        gate.against, gate.against
    )
}
