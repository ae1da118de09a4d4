//! The page of an encoded data set.

use std::path::{Path, PathBuf};

use stem_core::{Field, FieldKind, files};
use stem_data::{CopyFacts, DATA_PAGE, Dataset, Facts, FieldFacts, NumberFacts, Split, ValueFacts};
use stem_report::report::{DataDay, DataField, DataReport, DataTask, DataVocabulary, Shared, count, render_data};

use crate::error::Result;

/// One HTML page that tells what a data set holds and what is odd about it: rows, base rates, values, nulls, what splits have in common.
/// It holds everything it needs. Columns are not read.
pub fn data_page(dataset: &Dataset) -> String {
    render_data(&data_report(dataset))
}

/// Writes [`data_page`] to `folder`, where the columns of the data set lie; a page that is the same already is left. Gives its path.
///
/// # Errors
/// A folder that cannot be written to.
pub fn write_data_page(dataset: &Dataset, folder: &Path) -> Result<PathBuf> {
    let (path, page) = (folder.join(DATA_PAGE), data_page(dataset));
    if !std::fs::read(&path).is_ok_and(|found| found == page.as_bytes()) {
        files::replace_text(&path, &page)?;
    }
    Ok(path)
}

fn data_report(dataset: &Dataset) -> DataReport {
    let report = DataReport {
        name: dataset.name().into(),
        facts: vec![
            ("Key".into(), dataset.key().chars().take(12).collect()),
            ("Group".into(), dataset.schema().group.clone().unwrap_or_default()),
        ],
        rows: Split::ALL.map(|split| dataset.rows(split) as u64),
        tasks: tasks(dataset),
        warnings: dataset.warnings().to_vec(),
        ..DataReport::default()
    };
    let Some(facts) = dataset.facts() else { return report };
    let schema = dataset.schema();
    let groups = facts.groups.map(|groups| {
        groups.map(|g| Shared { all: g.groups as u64, trained: g.trained as u64, rows: Some(g.rows as u64) })
    });
    DataReport {
        fields: schema.fields.iter().zip(&facts.fields).map(|(field, facts)| field_of(field, facts)).collect(),
        vocabularies: vocabularies(dataset, facts),
        groups: schema.group.clone().zip(groups),
        days: days(facts),
        copies: copies(&facts.copies),
        allow_leak: facts.allow_leak.clone(),
        ..report
    }
}

fn tasks(dataset: &Dataset) -> Vec<DataTask> {
    let tasks = dataset.schema().tasks.iter().enumerate();
    let counts = |place: usize| Split::ALL.map(|split| (dataset.statistics(split), place));
    let tasks = tasks.map(|(place, task)| DataTask {
        name: if task.kind.is_binary() { task.name.clone() } else { format!("{} above 0", task.name) },
        within: task.within.clone(),
        labelled: counts(place).map(|(found, place)| (found.rows - found.missing[place]) as u64),
        positives: counts(place).map(|(found, place)| found.positives[place] as u64),
    });
    tasks.collect()
}

fn field_of(field: &Field, facts: &FieldFacts) -> DataField {
    let kind = match &field.kind {
        FieldKind::Category => "category".into(),
        FieldKind::Sequence { max_len, keep, .. } => {
            format!("list, the {} {max_len} values", format!("{keep:?}").to_lowercase())
        }
        FieldKind::Vector { len } => format!("vector of {len} numbers"),
        FieldKind::Number { mean, std } if (*mean, *std) == (0.0, 1.0) => "number as it is".into(),
        FieldKind::Number { .. } => "number, standardised".into(),
        other => format!("{other:?}"),
    };
    DataField {
        name: field.name.clone(),
        kind,
        nulls: facts.splits.map(|counts| counts.null_share()),
        unseen: field.kind.has_keys().then(|| facts.splits.map(|counts| counts.unseen_share())),
        numbers: facts.numbers.map(|found| found.map(|NumberFacts { mean, std, min, max }| [mean, std, min, max])),
        histogram: facts.histogram.as_ref().map(|found| (found.low, found.high, found.counts.clone())),
    }
}

fn vocabularies(dataset: &Dataset, facts: &Facts) -> Vec<DataVocabulary> {
    let schema = dataset.schema();
    let with_values = schema.vocabularies.iter().zip(&facts.vocabularies).enumerate();
    let all = with_values.filter_map(|(v, (spec, facts))| {
        let ValueFacts { known, left_out, left_out_occurrences, half, bins, distinct, trained } = facts.as_ref()?;
        let occurrences: u64 = bins.iter().map(|bin| bin.occurrences).sum();
        Some(DataVocabulary {
            name: spec.name.clone(),
            fields: schema
                .fields
                .iter()
                .filter(|field| field.vocabulary == v)
                .map(|field| field.name.clone())
                .collect(),
            known: *known as u64,
            left_out: *left_out as u64,
            left_out_share: (occurrences > 0).then(|| *left_out_occurrences as f64 / occurrences as f64),
            half: *half as u64,
            bins: bins.iter().map(|bin| (bin.values as u64, bin.occurrences)).collect(),
            splits: [0, 1, 2].map(|split| Shared {
                all: distinct[split] as u64,
                trained: trained[split] as u64,
                rows: None,
            }),
        })
    });
    all.collect()
}

fn days(facts: &Facts) -> Vec<DataDay> {
    let days = facts.days.iter().map(|day| DataDay {
        date: day.date(),
        day: day.day,
        rows: day.rows.map(|rows| rows as u64),
        labels: day.labelled.iter().zip(&day.positives).map(|(&of, &up)| (of as u64, up as u64)).collect(),
    });
    days.collect()
}

/// Copies in words.
fn copies(facts: &CopyFacts) -> String {
    let CopyFacts { one_in, rows, copies, test, test_in_train, .. } = *facts;
    let [rows, copies, test, test_in_train] = [rows, copies, test, test_in_train].map(|n| count(n as u64));
    let looked = if one_in > 1 { format!(" that were looked at, one in {one_in}") } else { String::new() };
    format!(
        "{copies} of {rows} rows{looked} are equal to another in all that the recipe reads; {test_in_train} of {test} test rows to a training row"
    )
}
