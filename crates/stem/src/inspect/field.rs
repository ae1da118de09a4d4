//! What a field is and which keys it knows.

use serde::Serialize;
use stem_core::{Field, FieldKind, Schema, Transform, Vocabulary};

use crate::table::table;

/// What `stem inspect` says of a field.
#[derive(Serialize)]
pub(super) struct FieldReport {
    column: String,
    kind: &'static str,
    /// In words: length of a sequence, mean of a number ...
    details: String,
    vocabulary: String,
    /// Keys that are known, or buckets that they are hashed into.
    known: usize,
    /// `integers`, `texts`, `hashed` or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<&'static str>,
    table_rows: usize,
}

impl FieldReport {
    /// Of a field, with its vocabulary where that was read.
    pub(super) fn new(field: &Field, schema: &Schema, vocabulary: Option<&Vocabulary>) -> Self {
        let (kind, details) = kind_of(field, schema);
        let spec = schema.vocabularies.get(field.vocabulary);
        let (name, table_rows) = spec.map_or((String::new(), 0), |spec| (spec.name.clone(), spec.rows));
        let keys = match vocabulary {
            Some(Vocabulary::Integers(_)) => Some("integers"),
            Some(Vocabulary::Texts(_)) => Some("texts"),
            Some(Vocabulary::Hashed { .. }) => Some("hashed"),
            _ => None,
        };
        // Beside the keys there are padding and the unseen.
        let known = if field.kind.has_keys() { table_rows.saturating_sub(2) } else { 0 };
        Self { column: field.name.clone(), kind, details, vocabulary: name, known, keys, table_rows }
    }

    /// Fields one below the other.
    pub(super) fn table(fields: &[Self]) -> String {
        let row = |field: &Self| {
            let of_keys = |text: String| if field.known == 0 && field.keys.is_none() { String::new() } else { text };
            let (vocabulary, known) = (of_keys(field.vocabulary.clone()), of_keys(field.known.to_string()));
            let keys = field.keys.unwrap_or("");
            vec![field.column.clone(), field.kind.into(), vocabulary, known, keys.into(), field.details.clone()]
        };
        let head = ["column", "kind", "vocabulary", "known", "keys", ""].map(str::to_string).to_vec();
        table(&[head].into_iter().chain(fields.iter().map(row)).collect::<Vec<_>>())
    }
}

/// The kind of a field, and what there is to say of it.
fn kind_of(field: &Field, schema: &Schema) -> (&'static str, String) {
    let mut details = Vec::new();
    let kind = match &field.kind {
        FieldKind::Category => "category",
        FieldKind::Sequence { max_len, pooling, keep } => {
            let [keep, pooling] = [format!("{keep:?}"), format!("{pooling:?}")].map(|word| word.to_lowercase());
            details.push(format!("the {keep} {max_len} values, {pooling}"));
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
        FieldKind::Vector { len } => {
            details.push(format!("{len} numbers"));
            "vector"
        }
        _ => "of a kind that this program does not know",
    };
    if !field.columns.is_empty() {
        details.push(format!("of {}", field.columns.join(", ")));
    }
    details.extend(field.transforms.iter().map(step));
    if let Some(default) = &field.default {
        details.push(format!("{default} for null"));
    }
    for derived in field.columns().iter().filter_map(|column| schema.derived.get(column)) {
        details.push(format!("computed: {}", derived.sql));
    }
    (kind, details.join("; "))
}

/// A step, in words.
fn step(step: &Transform) -> String {
    let shown = |bound: Option<f64>, none: &str| bound.map_or(none.into(), |bound| bound.to_string());
    match step {
        Transform::Cross { .. } => "crossed".into(),
        Transform::Time { part, utc_offset, .. } => {
            let local = if *utc_offset == 0 { String::new() } else { format!(", {utc_offset} minutes ahead of UTC") };
            format!("{} of the time{local}", format!("{part:?}").to_lowercase())
        }
        Transform::Ago => "how long before the row's time".into(),
        Transform::Trim => "trimmed".into(),
        Transform::Lower => "in lower case".into(),
        Transform::Clip { least, most } => format!("clipped to {} .. {}", shown(*least, "-inf"), shown(*most, "inf")),
        Transform::Log1p => "ln(1 + x)".into(),
        Transform::Bucketize { edges } => {
            format!(
                "in {} buckets from {}",
                edges.len() + 1,
                edges.iter().map(f64::to_string).collect::<Vec<_>>().join(", ")
            )
        }
        other => format!("{other:?}"),
    }
}
