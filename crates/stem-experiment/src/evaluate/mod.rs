//! A bundle measured on data of another day: how good it is, for whom, whether the data moved, and whether it is no worse than another.
//!
//! | question | module |
//! |---|---|
//! | quality of all rows and of slices | `quality` |
//! | inputs and labels against those of the training | `drift` |
//! | paired with another bundle | `gate` |
//! | what each field is worth | `importance` |

mod drift;
mod gate;
mod importance;
mod quality;

use std::collections::BTreeMap;
use std::path::PathBuf;

use stem_core::{DeviceSpec, Predictor, files};
use stem_data::{Dataset, Split};
use stem_report::analysis::{Bootstrap, LabelKind, Metric};
use stem_report::report::{self, EvaluationReport, ModelReport, Provenance, Report};

use crate::error::{Error, Result};
use crate::inspect::task_report;
use crate::measured::score_split;

/// A bundle, and rows that are encoded as it takes them.
#[derive(Debug)]
pub struct Measurement<'m> {
    /// What the answer calls it.
    pub name: String,
    /// The bundle.
    pub predictor: &'m Predictor,
    /// The rows, in the test split ([`prepare_known`](stem_data::prepare_known) with the bundle's schema and vocabularies).
    pub dataset: &'m Dataset,
}

/// How an evaluation is carried out.
#[derive(Debug, Clone, Default)]
pub struct EvaluateOptions {
    /// What two bundles are compared in.
    pub metric: Metric,
    /// The same of a task, by its name, where it is another.
    pub metrics: BTreeMap<String, Metric>,
    /// A loss of less than this is no loss.
    pub margin: f64,
    /// How intervals are drawn.
    pub bootstrap: Bootstrap,
    /// Whether it is measured what each field is worth to each task, by scoring the rows once more for every field.
    pub importance: bool,
    /// Where it is scored, for the page.
    pub device: DeviceSpec,
    /// The command line that does it again, for the page.
    pub command: String,
}

/// What a bundle came to, and the page that tells it.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The numbers.
    pub report: EvaluationReport,
    /// What a reader has to know.
    pub warnings: Vec<String>,
    page: Report,
}

impl Evaluation {
    /// Writes `evaluation.json` and `report.html` to a folder; gives their paths.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn write(&self, folder: &std::path::Path) -> Result<[PathBuf; 2]> {
        files::create_folder(folder)?;
        let paths = ["evaluation.json", crate::folder::PAGE].map(|name| folder.join(name));
        files::write_json(&paths[0], &self.report)?;
        files::replace_text(&paths[1], &report::render(&self.page))?;
        Ok(paths)
    }
}

/// Measures a bundle on the rows of the test split, and pairs it with `against` on the same rows, if there is one.
///
/// # Errors
/// Batches that do not read, and two bundles whose rows or tasks are not the same.
pub fn evaluate(
    measured: &Measurement<'_>,
    against: Option<&Measurement<'_>>,
    options: &EvaluateOptions,
) -> Result<Evaluation> {
    let Measurement { predictor, dataset, .. } = measured;
    let scores = score_split(predictor, dataset, Split::Test)?;
    let (drift, mut warnings) = drift::drift(&predictor.manifest().training, dataset);
    let mut evaluation = EvaluationReport {
        checksum: predictor.checksum().into(),
        tasks: quality::tasks(&scores, dataset, &options.bootstrap),
        slices: quality::slices(&scores, dataset),
        drift,
        gate: None,
        importance: if options.importance { importance::importance(predictor, dataset, options)? } else { Vec::new() },
    };
    let mut models = vec![model(&measured.name, &scores, dataset)];
    if let Some(other) = against {
        let others = score_split(other.predictor, other.dataset, Split::Test)?;
        let others = gate::in_order_of(dataset, other, others)?;
        evaluation.gate = Some(gate::gate(&other.name, &scores, &others, dataset, options));
        models.push(model(&other.name, &others, dataset));
    }
    let without = |task: &&report::MeasuredTask| task.metrics.auc.is_none() && task.kind == LabelKind::Binary;
    warnings.extend(evaluation.tasks.iter().filter(without).map(|task| {
        format!(
            "{}: {} of {} rows with the label have label 1: AUC needs both labels",
            task.task, task.positives, task.rows
        )
    }));
    let page = Report {
        title: format!("{} on {}", measured.name, dataset.name()),
        provenance: Provenance {
            recipe: dataset.name().into(),
            rows: Split::ALL.map(|split| dataset.rows(split) as u64),
            device: options.device.to_string(),
            versions: vec![("stem".into(), env!("CARGO_PKG_VERSION").into())],
            command: options.command.clone(),
            finished: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            ..Provenance::default()
        },
        tasks: dataset.schema().task_names(),
        models,
        warnings: warnings.clone(),
        evaluation: Some(evaluation.clone()),
        ..Report::default()
    };
    Ok(Evaluation { report: evaluation, warnings, page })
}

/// The curves of a model, for the page.
fn model(name: &str, scores: &[f32], dataset: &Dataset) -> ModelReport {
    let scores = [scores.to_vec()];
    let tasks = (0..dataset.schema().tasks.len()).map(|t| task_report(&scores, dataset, t, &[]));
    ModelReport { name: name.into(), tasks: tasks.collect(), ..ModelReport::default() }
}

/// The error of two bundles that cannot be compared.
fn unlike(what: String) -> Error {
    Error::Unlike { what }
}
