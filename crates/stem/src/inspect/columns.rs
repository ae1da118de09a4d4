//! What a folder of encoded columns holds.

use std::path::Path;

use serde::Serialize;
use stem_core::Field;
use stem_data::{Dataset, Split};

use super::field::FieldReport;
use crate::console::Result;
use crate::table::table;

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
    /// What the label is, where it is not 0 and 1; positives are those above 0 then.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    positives: usize,
    missing: usize,
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
            kind: (!task.kind.is_binary()).then(|| task.kind.to_string()),
            positives: statistics.positives.get(t).copied().unwrap_or(0),
            missing: statistics.missing.get(t).copied().unwrap_or(0),
        });
        SplitReport { split: split.name(), rows: statistics.rows, tasks: tasks.collect() }
    });
    let vocabulary = |field: &Field| dataset.vocabularies().get(field.vocabulary);
    let fields = schema.fields.iter().map(|field| FieldReport::new(field, schema, vocabulary(field)));
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
                let rate = match labelled {
                    0 => "-".into(),
                    _ => format!("{:.2} %", 100.0 * task.positives as f64 / labelled as f64),
                };
                let within = task.within.as_ref().map(|within| format!("within {within}"));
                let kind = task.kind.iter().map(|kind| format!("{kind}: above 0"));
                let told: Vec<String> = kind.chain(within).collect();
                let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) };
                let name = format!("{}{told}", task.task);
                let [of, positives, missing] = [split.rows, task.positives, task.missing].map(|n| n.to_string());
                rows.push(vec![split.split.into(), of, name, positives, rate, missing]);
            }
        }
        lines.push(table(&rows));
        lines.push("\nfields:".into());
        lines.push(FieldReport::table(&self.fields));
        lines.push(format!("\ngroup: {}", self.group.as_deref().unwrap_or("none")));
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.join("\n")
    }
}
