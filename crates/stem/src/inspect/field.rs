//! What a field is and which keys it knows.

use serde::Serialize;
use stem_core::{Field, FieldKind, Schema, Vocabulary};

use super::table;

/// What `stem inspect` says of a field.
#[derive(Serialize)]
pub(super) struct FieldReport {
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

impl FieldReport {
    /// Of a field, with its vocabulary where that was read.
    pub(super) fn new(field: &Field, schema: &Schema, vocabulary: Option<&Vocabulary>) -> Self {
        let (kind, details) = kind_of(field);
        let spec = schema.vocabularies.get(field.vocabulary);
        let (name, table_rows) = spec.map_or((String::new(), 0), |spec| (spec.name.clone(), spec.rows));
        let keys = match vocabulary {
            Some(Vocabulary::Integers(_)) => Some("integers"),
            Some(Vocabulary::Texts(_)) => Some("texts"),
            _ => None,
        };
        // Beside the keys there are padding and the unseen.
        let known = if kind == "number" { 0 } else { table_rows.saturating_sub(2) };
        Self { column: field.name.clone(), kind, details, vocabulary: name, known, keys, table_rows }
    }

    /// Fields one below the other.
    pub(super) fn table(fields: &[Self]) -> String {
        let row = |field: &Self| {
            let of_keys = |text: String| if field.kind == "number" { String::new() } else { text };
            let (vocabulary, known) = (of_keys(field.vocabulary.clone()), of_keys(field.known.to_string()));
            let keys = field.keys.unwrap_or("");
            vec![field.column.clone(), field.kind.into(), vocabulary, known, keys.into(), field.details.clone()]
        };
        let head = ["column", "kind", "vocabulary", "known", "keys", ""].map(str::to_string).to_vec();
        table(&[head].into_iter().chain(fields.iter().map(row)).collect::<Vec<_>>())
    }
}

/// The kind of a field, and what there is to say of it.
fn kind_of(field: &Field) -> (&'static str, String) {
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
