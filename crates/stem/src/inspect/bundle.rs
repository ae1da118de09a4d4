//! What a bundle holds, and a row that it scores.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};
use stem_core::bundle::Manifest;
use stem_core::{Bundle, DeviceSpec, Field, FieldKind, ModelConfig, Predictor, Row, Vocabulary};

use super::table;
use super::thing::Header;
use crate::console::Result;

/// What `stem inspect` says of a bundle.
#[derive(Serialize)]
pub(super) struct Report {
    path: String,
    bytes: u64,
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
    training: Value,
    /// The run's metrics.json beside the bundle.
    metrics: Option<Value>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Parameters {
    table: u64,
    table_rows: usize,
    network: u64,
    total: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct FieldReport {
    column: String,
    kind: &'static str,
    /// In words: length of a sequence, mean of a number ...
    details: String,
    vocabulary: String,
    /// Keys that are known.
    known: usize,
    /// `integers`, `texts` or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<&'static str>,
    table_rows: usize,
}

/// Opens a bundle (which checks it) and scores a row of its own keys.
pub(super) fn read(path: &Path, header: Header) -> Result<Report> {
    let manifest: Manifest = serde_json::from_str(&header.manifest)
        .map_err(|e| format!("{}: a bundle whose manifest does not read: {e}", path.display()))?;
    let mut notes = Vec::new();
    let model_name = manifest.model["name"].as_str().map(str::to_string);
    let known = serde_json::from_value::<ModelConfig>(manifest.model.clone());
    let opened = match known {
        Ok(_) => Some(Bundle::<ModelConfig>::open(path)?),
        Err(_) => {
            notes.push(
                "its model is an application's own: weights and checksum were not checked, and no row was scored"
                    .into(),
            );
            None
        }
    };
    let (mut example, mut scores) = (None, None);
    if let Some(bundle) = &opened {
        let row = example_row(&manifest, &bundle.vocabularies);
        let predictor = Predictor::open(path, &DeviceSpec::default().open()?)?;
        let values: Row = row
            .iter()
            .map(|(column, value)| Ok((column.clone(), serde_json::from_value::<stem_core::Value>(value.clone())?)))
            .collect::<Result<Vec<_>, serde_json::Error>>()?
            .into_iter()
            .collect();
        let scored = predictor.predict(&[values])?;
        scores = Some(scored.tasks().iter().filter_map(|task| Some((task.clone(), scored.get(0, task)?))).collect());
        example = Some(row);
    }
    let schema = &manifest.schema;
    let keys = |field: &Field| type_of_keys(opened.as_ref()?.vocabularies.get(field.vocabulary)?);
    let fields = schema.fields.iter().map(|field| field_report(field, schema, keys(field))).collect();
    let tasks = schema.tasks.iter().map(|task| json!({ "name": task.name, "within": task.within })).collect();
    let metrics = metrics_beside(path, model_name.as_deref(), &schema.task_names(), &manifest.training, &mut notes);
    Ok(Report {
        path: path.display().to_string(),
        bytes: header.bytes,
        format_version: manifest.version,
        checksum: header.checksum.clone().unwrap_or_default(),
        parameters: parameters(&header, schema.rows()),
        model: model_name.map_or(Value::Null, Value::String),
        sizes: sizes(&manifest.model),
        fields,
        group: schema.group.clone(),
        tasks,
        example,
        scores,
        training: manifest.training.clone(),
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

fn parameters(header: &Header, table_rows: usize) -> Parameters {
    let elements = |tensor: &Value| {
        let shape = tensor["shape"].as_array().map(Vec::as_slice).unwrap_or_default();
        shape.iter().filter_map(Value::as_u64).product::<u64>()
    };
    let of = |wanted: &dyn Fn(&str) -> bool| {
        header.tensors.iter().filter(|(name, _)| wanted(name)).map(|(_, t)| elements(t)).sum()
    };
    let (table, network): (u64, u64) =
        (of(&|name| name == "embedding.table"), of(&|name| name.starts_with("network.")));
    Parameters { table, table_rows, network, total: table + network, bytes: 4 * (table + network) }
}

/// `integers`, `texts`, or nothing where there are no keys.
pub(super) fn type_of_keys(vocabulary: &Vocabulary) -> Option<&'static str> {
    match vocabulary {
        Vocabulary::Integers(_) => Some("integers"),
        Vocabulary::Texts(_) => Some("texts"),
        _ => None,
    }
}

pub(super) fn kind_of(field: &Field) -> (&'static str, String) {
    let mut details = Vec::new();
    let kind = match &field.kind {
        FieldKind::Category => "category",
        FieldKind::Sequence { max_len, pooling } => {
            details.push(format!("the first {max_len} values, {}", format!("{pooling:?}").to_lowercase()));
            if let Some(separator) = &field.separator {
                details.push(format!("separated by {separator:?}"));
            }
            "sequence"
        }
        FieldKind::Number { mean, std } => {
            if (*mean, *std) != (0.0, 1.0) {
                details.push(format!("mean {mean}, standard deviation {std}"));
            }
            "number"
        }
        _ => "of a kind that this program does not know",
    };
    if let Some(default) = &field.default {
        details.push(format!("{default} for null"));
    }
    if let Some(derived) = &field.derived {
        details.push(format!("computed: {}", derived.sql));
    }
    (kind, details.join("; "))
}

fn field_report(field: &Field, schema: &stem_core::Schema, keys: Option<&'static str>) -> FieldReport {
    let (kind, details) = kind_of(field);
    let (vocabulary, table_rows) =
        schema.vocabularies.get(field.vocabulary).map_or((String::new(), 0), |spec| (spec.name.clone(), spec.rows));
    let known = if kind == "number" { 0 } else { table_rows.saturating_sub(2) };
    FieldReport { column: field.name.clone(), kind, details, vocabulary, known, keys, table_rows }
}

/// A value for every column that the model reads, of keys that it knows.
fn example_row(manifest: &Manifest, vocabularies: &[Vocabulary]) -> Map<String, Value> {
    let key = |vocabulary: &Vocabulary, place: usize| match vocabulary {
        Vocabulary::Integers(keys) => keys.get(place).map_or(Value::Null, |key| json!(key)),
        Vocabulary::Texts(keys) if place < keys.len() => json!(keys.get(place)),
        _ => Value::Null,
    };
    let value = |field: &Field| {
        let vocabulary = &vocabularies[field.vocabulary];
        let middle = vocabulary.len() / 2;
        match &field.kind {
            FieldKind::Category => key(vocabulary, middle),
            FieldKind::Number { mean, .. } => json!(mean),
            FieldKind::Sequence { max_len, .. } => {
                let places = (middle..vocabulary.len()).take(2.min(*max_len));
                let keys: Vec<Value> = places.map(|place| key(vocabulary, place)).collect();
                match &field.separator {
                    Some(separator) => {
                        let texts: Vec<String> = keys
                            .iter()
                            .map(|key| key.as_str().map_or_else(|| key.to_string(), str::to_string))
                            .collect();
                        json!(texts.join(separator))
                    }
                    None => json!(keys),
                }
            }
            _ => Value::Null,
        }
    };
    manifest.schema.fields.iter().map(|field| (field.name.clone(), value(field))).collect()
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
        let mut lines = vec![
            format!(
                "{}: a bundle of {}, {}",
                self.path,
                self.model.as_str().unwrap_or("an application's own model"),
                bytes(self.bytes)
            ),
            format!("format version {}, checksum {}", self.format_version, self.checksum),
            format!("sizes: {}", self.sizes),
            format!(
                "parameters: {} in the table ({} rows), {} in the network, {} in all",
                self.parameters.table,
                self.parameters.table_rows,
                self.parameters.network,
                bytes(self.parameters.bytes)
            ),
            "\nfields:".into(),
        ];
        let mut rows = vec![["column", "kind", "vocabulary", "known", "keys", ""].map(str::to_string).to_vec()];
        rows.extend(self.fields.iter().map(|field| {
            let known = if field.kind == "number" { String::new() } else { field.known.to_string() };
            let vocabulary = if field.kind == "number" { String::new() } else { field.vocabulary.clone() };
            vec![
                field.column.clone(),
                field.kind.into(),
                vocabulary,
                known,
                field.keys.unwrap_or("").into(),
                field.details.clone(),
            ]
        }));
        lines.push(table(&rows));
        let tasks: Vec<String> = self
            .tasks
            .iter()
            .map(|task| {
                let name = task["name"].as_str().unwrap_or_default();
                task["within"].as_str().map_or(name.to_string(), |within| format!("{name} (within {within})"))
            })
            .collect();
        lines.push(format!("\ntasks: {}", tasks.join(", ")));
        lines.extend(self.group.as_ref().map(|group| format!("group: {group} (not read when scoring)")));
        if let Some(example) = &self.example {
            lines.push(format!("\na row that scores:\n  {}", Value::Object(example.clone())));
            let scores: Vec<String> = self.scores.iter().flatten().map(|(task, p)| format!("{task} {p:.4}")).collect();
            lines.push(format!("  {}", scores.join(", ")));
        }
        lines.push(format!("\ntraining: {}", self.training));
        if let Some(metrics) = &self.metrics {
            lines.push(quality(metrics));
        } else {
            lines.push("how good it was: no metrics.json beside it".into());
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.join("\n")
    }
}

/// Metrics by split and task.
fn quality(metrics: &Value) -> String {
    let mut rows = vec![["split", "task", "AUC", "gAUC", "logloss", "calibration"].map(str::to_string).to_vec()];
    let number = |value: &Value| value.as_f64().map_or("-".to_string(), |x| format!("{x:.4}"));
    for (split, key) in [("validation", "valid"), ("test", "test")] {
        for (task, of) in metrics[key].as_object().into_iter().flatten() {
            let cells = ["auc", "gauc", "logloss", "calibration"].map(|name| number(&of[name]));
            rows.push([vec![split.to_string(), task.clone()], cells.to_vec()].concat());
        }
    }
    format!(
        "how good it was (metrics.json beside it; {} epochs, seed {}):\n{}",
        metrics["epochs"],
        metrics["seed"],
        table(&rows)
    )
}

/// Bytes in the unit that reads best.
pub(super) fn bytes(n: u64) -> String {
    match n {
        0..10_000 => format!("{n} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.1} GB", n as f64 / 1e9),
    }
}
