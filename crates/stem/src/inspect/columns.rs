//! What a folder of encoded columns holds.

use std::path::Path;

use serde::Serialize;
use stem_data::{Dataset, Split};

use super::bundle::{kind_of, type_of_keys};
use super::table;
use crate::console::Result;

/// What `stem inspect` says of a folder of encoded columns.
#[derive(Serialize)]
pub(super) struct Report {
    path: String,
    /// The recipe's name.
    name: String,
    /// Hash of the recipe and of what it was prepared from.
    key: String,
    splits: Vec<SplitReport>,
    fields: Vec<FieldReport>,
    group: Option<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct SplitReport {
    split: &'static str,
    rows: usize,
    tasks: Vec<TaskReport>,
}

#[derive(Serialize)]
struct TaskReport {
    task: String,
    within: Option<String>,
    positives: usize,
    missing: usize,
}

#[derive(Serialize)]
struct FieldReport {
    column: String,
    kind: &'static str,
    details: String,
    vocabulary: String,
    /// Keys that are known.
    known: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<&'static str>,
}

/// Opens the folder, which checks that its files are those that were written.
pub(super) fn read(path: &Path) -> Result<Report> {
    let dataset = Dataset::open(path)?;
    let schema = dataset.schema();
    let splits = Split::ALL.iter().map(|&split| {
        let statistics = dataset.statistics(split);
        let tasks = schema.tasks.iter().enumerate().map(|(t, task)| TaskReport {
            task: task.name.clone(),
            within: task.within.clone(),
            positives: statistics.positives.get(t).copied().unwrap_or(0),
            missing: statistics.missing.get(t).copied().unwrap_or(0),
        });
        SplitReport { split: split.name(), rows: statistics.rows, tasks: tasks.collect() }
    });
    let fields = schema.fields.iter().map(|field| {
        let (kind, details) = kind_of(field);
        let vocabulary = &dataset.vocabularies()[field.vocabulary];
        let keys = type_of_keys(vocabulary);
        let name = schema.vocabularies[field.vocabulary].name.clone();
        FieldReport { column: field.name.clone(), kind, details, vocabulary: name, known: vocabulary.len(), keys }
    });
    Ok(Report {
        path: path.display().to_string(),
        name: dataset.name().into(),
        key: dataset.key().into(),
        splits: splits.collect(),
        fields: fields.collect(),
        group: schema.group.clone(),
        warnings: dataset.warnings().to_vec(),
    })
}

impl Report {
    /// For a person.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![
            format!("{}: the encoded columns of \"{}\"", self.path, self.name),
            format!("key {} (of the recipe and its files)", self.key),
            "\nrows:".into(),
        ];
        let mut rows = vec![["split", "rows", "task", "positives", "rate", "missing"].map(str::to_string).to_vec()];
        for split in &self.splits {
            for task in &split.tasks {
                let labelled = split.rows - task.missing;
                let rate = if labelled == 0 {
                    "-".into()
                } else {
                    format!("{:.2} %", 100.0 * task.positives as f64 / labelled as f64)
                };
                let name =
                    task.within.as_ref().map_or(task.task.clone(), |within| format!("{} (within {within})", task.task));
                rows.push(vec![
                    split.split.into(),
                    split.rows.to_string(),
                    name,
                    task.positives.to_string(),
                    rate,
                    task.missing.to_string(),
                ]);
            }
        }
        lines.push(table(&rows));
        lines.push("\nfields:".into());
        let mut rows = vec![["column", "kind", "vocabulary", "known", "keys", ""].map(str::to_string).to_vec()];
        rows.extend(self.fields.iter().map(|field| {
            let number = field.kind == "number";
            let known = if number { String::new() } else { field.known.to_string() };
            let vocabulary = if number { String::new() } else { field.vocabulary.clone() };
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
        lines.push(format!("\ngroup: {}", self.group.as_deref().unwrap_or("none")));
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.join("\n")
    }
}
