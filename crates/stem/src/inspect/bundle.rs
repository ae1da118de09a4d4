//! What a bundle holds, and a row that it scores.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};
use stem_core::bundle::{Manifest, Packed};
use stem_core::models::ModelSpec;
use stem_core::{Bundle, Calibration, DeviceSpec, Field, ModelConfig, Predictor, Row, Task, example_row};
use stem_data::Profile;
use stem_train::prior::VocabularyPrior;

use super::field::FieldReport;
use super::thing::Header;
use crate::console::Result;
use crate::table::table;

/// What `stem inspect` says of a bundle.
#[derive(Serialize)]
pub(super) struct Report {
    path: String,
    bytes: u64,
    /// Tasks that each state answers for; empty where there is one state.
    states: Vec<Vec<String>>,
    /// What is done to the scores of a task.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    calibration: BTreeMap<String, Calibration>,
    /// How the table's rows are held: f32, f16, int8 or int4.
    rows: String,
    /// What packing them did.
    #[serde(skip_serializing_if = "Option::is_none")]
    packed: Option<Packed>,
    format_version: u32,
    checksum: String,
    model: Value,
    sizes: Value,
    parameters: Parameters,
    fields: Vec<FieldReport>,
    group: Option<String>,
    tasks: Vec<Value>,
    /// A row by column name.
    example: Option<Map<String, Value>>,
    /// Probability by task of the example.
    scores: Option<BTreeMap<String, f32>>,
    /// Golden rows, all of which it scores as it has to.
    golden: Option<usize>,
    training: Value,
    /// The run's metrics.json beside the bundle.
    metrics: Option<Value>,
    notes: Vec<String>,
}

#[derive(Clone, Copy, Serialize)]
struct Parameters {
    table: u64,
    table_rows: usize,
    network: u64,
    total: u64,
    bytes: u64,
}

/// Opens a bundle (which checks it) and scores a row of its own keys.
pub(super) fn read(path: &Path, header: Header) -> Result<Report> {
    let manifest: Manifest = serde_json::from_str(&header.manifest)
        .map_err(|e| format!("{}: a bundle whose manifest does not read: {e}", path.display()))?;
    let mut notes = Vec::new();
    let model_name = manifest.model["name"].as_str().map(str::to_string);
    let (mut opened, mut example, mut scores, mut golden) = (None, None, None, None);
    if serde_json::from_value::<ModelConfig>(manifest.model.clone()).is_ok() {
        let bundle = Bundle::<ModelConfig>::open(path)?;
        let row = example_row(&manifest.schema, &bundle.vocabularies);
        let value = |value: &Value| serde_json::from_value::<stem_core::Value>(value.clone());
        let values = row.iter().map(|(column, found)| Ok((column.clone(), value(found)?)));
        let values: Vec<(String, stem_core::Value)> = values.collect::<Result<_, serde_json::Error>>()?;
        let predictor = Predictor::open(path, &DeviceSpec::default().open()?)?;
        let scored = predictor.predict(&[values.into_iter().collect::<Row>()])?;
        golden = Some(predictor.check_golden().map_err(|fault| format!("{}: {fault}", path.display()))?);
        scores = Some(scored.tasks().iter().filter_map(|task| Some((task.clone(), scored.get(0, task)?))).collect());
        (opened, example) = (Some(bundle), Some(row));
    } else {
        let note = "its model is an application's own: weights and checksum were not checked, and no row was scored";
        notes.push(note.into());
    }
    let schema = &manifest.schema;
    let vocabulary = |field: &Field| opened.as_ref()?.vocabularies.get(field.vocabulary);
    let fields = schema.fields.iter().map(|field| FieldReport::new(field, schema, vocabulary(field))).collect();
    let tasks = schema.tasks.iter().map(task_of).collect();
    let metrics = metrics_beside(path, model_name.as_deref(), &schema.task_names(), &manifest.training, &mut notes);
    Ok(Report {
        path: path.display().to_string(),
        bytes: header.bytes,
        format_version: manifest.version,
        rows: manifest.rows.map_or_else(|| "f32".into(), |format| format.packing().to_string()),
        packed: manifest.packed.clone(),
        checksum: header.checksum.clone().unwrap_or_default(),
        parameters: parameters(&header, &manifest, schema.rows()),
        model: model_name.map_or(Value::Null, Value::String),
        sizes: sizes(&manifest.model),
        fields,
        group: schema.group.clone(),
        tasks,
        example,
        scores,
        golden,
        training: manifest.training.clone(),
        states: manifest.states.clone(),
        calibration: manifest.calibration.clone(),
        metrics,
        notes,
    })
}

/// The configuration without the model's name.
fn sizes(model: &Value) -> Value {
    let mut sizes = model.clone();
    if let Some(object) = sizes.as_object_mut() {
        object.remove("name");
    }
    sizes
}

fn parameters(header: &Header, manifest: &Manifest, table_rows: usize) -> Parameters {
    let elements = |tensor: &Value| {
        let shape = tensor["shape"].as_array().map(Vec::as_slice).unwrap_or_default();
        shape.iter().filter_map(Value::as_u64).product::<u64>()
    };
    let bytes = |tensor: &Value| {
        let [start, end] = [0, 1].map(|place| tensor["data_offsets"][place].as_u64().unwrap_or(0));
        end.saturating_sub(start)
    };
    let in_file = header.tensors.get("embedding.table");
    let config = serde_json::from_value::<ModelConfig>(manifest.model.clone()).ok();
    let width = config.map(|config| config.widths(&manifest.schema).iter().sum::<usize>());
    let table = match (manifest.rows, width) {
        (Some(_), Some(width)) => (table_rows * width) as u64, // packed: the tensor is of bytes
        _ => in_file.map_or(0, elements),
    };
    let of_network = header.tensors.iter().filter(|(name, _)| name.starts_with("network.")).map(|(_, tensor)| tensor);
    let network: u64 = of_network.clone().map(elements).sum();
    let bytes = in_file.into_iter().chain(of_network).map(bytes).sum();
    Parameters { table, table_rows, network, total: table + network, bytes }
}

/// The metrics of the run that wrote the bundle, if they lie beside it and are of this model.
fn metrics_beside(
    path: &Path,
    model: Option<&str>,
    tasks: &[String],
    training: &Value,
    notes: &mut Vec<String>,
) -> Option<Value> {
    let beside = path.with_file_name("metrics.json");
    let metrics: Value = serde_json::from_slice(&std::fs::read(&beside).ok()?).ok()?;
    let of_tasks = metrics["tasks"]
        .as_array()
        .is_none_or(|names| names.iter().map(Value::as_str).eq(tasks.iter().map(|task| Some(task.as_str()))));
    let seeds = training["seed"].is_null() || training["seed"] == metrics["seed"];
    if metrics["model"].as_str() == model && of_tasks && seeds {
        return Some(metrics);
    }
    notes.push(format!("{} is of another model or seed and is not shown", beside.display()));
    None
}

impl Report {
    /// For a person.
    pub(super) fn text(&self) -> String {
        let model = self.model.as_str().unwrap_or("an application's own model");
        let Parameters { table: in_table, table_rows, network, bytes: size, .. } = self.parameters;
        let mut lines = vec![
            format!("{}: a bundle of {model}, {}", self.path, bytes(self.bytes)),
            format!("format version {}, checksum {}", self.format_version, self.checksum),
            format!("sizes: {}", self.sizes),
            format!(
                "parameters: {in_table} in the table ({table_rows} rows), {network} in the network, {} in all",
                bytes(size)
            ),
        ];
        if let Some(Packed { of, largest_error, rms_error, rms, measured }) = &self.packed {
            let share = 100.0 * rms_error / rms.max(f32::MIN_POSITIVE);
            let rows = &self.rows;
            lines.push(format!(
                "rows: {rows}, off by {share:.3} % (root mean square) and at most {largest_error:e}; made of the bundle {of}"
            ));
            lines.extend((!measured.is_null()).then(|| format!("measured before and after: {measured}")));
        }
        if !self.states.is_empty() {
            let states: Vec<String> = self.states.iter().map(|tasks| tasks.join(", ")).collect();
            let all = format!("states: {}, of the moments that were best for {}", states.len(), states.join("; for "));
            lines.push(format!("{all}; the parameters are of one"));
        }
        let map = |(task, map): (&String, &Calibration)| match map {
            Calibration::Platt { slope, offset } => format!("{task} by a line (slope {slope:.3}, offset {offset:+.3})"),
            Calibration::Linear { slope, offset } => {
                format!("{task} by a line (slope {slope:.3}, offset {offset:+.3})")
            }
            Calibration::Isotonic { scores, .. } => format!("{task} by a rising map of {} points", scores.len()),
            _ => task.clone(),
        };
        if !self.calibration.is_empty() {
            lines.push(format!("calibrated: {}", self.calibration.iter().map(map).collect::<Vec<_>>().join(", ")));
        }
        lines.push("\nfields:".into());
        lines.push(FieldReport::table(&self.fields));
        let task = |task: &Value| {
            let name = task["name"].as_str().unwrap_or_default();
            let kind = task["kind"].as_str().filter(|kind| *kind != "binary").map(String::from);
            let within = task["within"].as_str().map(|within| format!("within {within}"));
            let told: Vec<String> = kind.into_iter().chain(within).collect();
            if told.is_empty() { name.to_string() } else { format!("{name} ({})", told.join(", ")) }
        };
        lines.push(format!("\ntasks: {}", self.tasks.iter().map(task).collect::<Vec<_>>().join(", ")));
        lines.extend(self.group.as_ref().map(|group| format!("group: {group} (not read when scoring)")));
        if let Some(example) = &self.example {
            lines.push(format!("\na row that scores:\n  {}", Value::Object(example.clone())));
            let scores: Vec<String> = self.scores.iter().flatten().map(|(task, p)| format!("{task} {p:.4}")).collect();
            lines.push(format!("  {}", scores.join(", ")));
            lines.push(match self.golden {
                Some(golden @ 1..) => format!("golden rows: {golden}, all scored as when it was written"),
                _ => "golden rows: none".into(),
            });
        }
        let mut training = self.training.clone();
        lines.extend(trained_on(&mut training));
        lines.extend(priors(&mut training));
        lines.push(format!("\ntraining: {training}"));
        let unknown = || "how good it was: no metrics.json beside it".into();
        lines.push(self.metrics.as_ref().map_or_else(unknown, quality));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.join("\n")
    }
}

/// What is said of each state.
fn states_of(training: &mut Value) -> Vec<&mut Value> {
    if training.get("states").is_some() {
        return training["states"].as_array_mut().into_iter().flatten().collect();
    }
    match training {
        Value::Array(parts) => parts.iter_mut().collect(),
        one => vec![one],
    }
}

/// What the training data were like, in a line, and no longer in `training`.
fn trained_on(training: &mut Value) -> Option<String> {
    let [Profile { rows, base_rates, .. }, _] = Profile::of_training(training)?;
    states_of(training).into_iter().filter_map(Value::as_object_mut).for_each(|state| drop(state.remove("data")));
    let rates: Vec<String> = base_rates.iter().map(|(task, rate)| format!("{task} {rate:.4}")).collect();
    Some(format!("\ntrained on {rows} rows; label above 0: {}", rates.join(", ")))
}

/// What learned priors came to, as a table, and no longer in `training`: of the last state, where there are several.
fn priors(training: &mut Value) -> Option<String> {
    let mut states = states_of(training);
    let taken = states.iter_mut().map(|state| state.as_object_mut().and_then(|state| state.remove("prior")));
    let last = taken.collect::<Vec<_>>().pop()??; // the one that has learned for the longest
    let all: Vec<VocabularyPrior> = serde_json::from_value(last).ok()?;
    let groups: Vec<&str> = all.first()?.groups.iter().map(|group| group.name.as_str()).collect();
    let pairs: Vec<(usize, usize)> = (0..groups.len()).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
    let deviations = groups.iter().map(|name| format!("sd {name}"));
    let correlations = pairs.iter().map(|&(a, b)| format!("{} ~ {}", groups[a], groups[b]));
    let mut rows = vec![["field".to_string()].into_iter().chain(deviations).chain(correlations).collect::<Vec<_>>()];
    for prior in &all {
        let deviations = prior.groups.iter().map(|group| format!("{:.3}", group.deviation));
        let related = |&(a, b): &(usize, usize)| prior.correlation.get(b)?.get(a).copied();
        let correlations = pairs.iter().map(|pair| related(pair).map_or("-".to_string(), |r| format!("{r:.2}")));
        rows.push([prior.fields.join(", ")].into_iter().chain(deviations).chain(correlations).collect());
    }
    Some(format!(
        "\nhow alike the tasks are to each field, as the prior learned (sd of embeddings, and correlations):\n{}",
        table(&rows)
    ))
}

fn task_of(task: &Task) -> Value {
    json!({ "name": task.name, "within": task.within, "kind": task.kind.to_string() })
}

/// Metrics by split and task; of labels that are numbers below.
fn quality(metrics: &Value) -> String {
    let tables = [
        (false, ["auc", "gauc", "logloss", "calibration"], ["AUC", "gAUC", "logloss", "calibration"]),
        (true, ["xauc", "rmse", "mae", "calibration"], ["XAUC", "RMSE", "MAE", "calibration"]),
    ];
    let number = |value: &Value| value.as_f64().map_or("-".to_string(), |x| format!("{x:.4}"));
    let of_kind = |(numbers, keys, names): (bool, [&str; 4], [&str; 4])| {
        let mut rows =
            vec![[&["split", "task"][..], &names].concat().into_iter().map(str::to_string).collect::<Vec<_>>()];
        for (split, key) in [("validation", "valid"), ("test", "test")] {
            let tasks = metrics[key].as_object().into_iter().flatten();
            let is_number = |task: &String| metrics["numbers"].as_array().is_some_and(|all| all.contains(&json!(task)));
            for (task, of) in tasks.filter(|(task, _)| is_number(task) == numbers) {
                let cells = keys.map(|name| number(&of[name]));
                rows.push([vec![split.to_string(), task.clone()], cells.to_vec()].concat());
            }
        }
        (rows.len() > 1).then(|| table(&rows))
    };
    let tables: Vec<String> = tables.into_iter().filter_map(of_kind).collect();
    format!(
        "how good it was (metrics.json beside it; {} epochs, seed {}):\n{}",
        metrics["epochs"],
        metrics["seed"],
        tables.join("\n")
    )
}

/// Bytes in the unit that reads best.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}
