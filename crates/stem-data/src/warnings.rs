//! What is odd about the data, in words: nothing of it stops a preparation, all of it changes what a model can learn.

use std::collections::HashSet;

use crate::dictionary::Dictionary;
use crate::encode::Encoded;
use crate::encoding::Encoding;
use crate::gather::CodedRows;
use crate::recipe::{FieldRecipe, Kind, Recipe};
use crate::split::Split;
use crate::splitter::LEFT_OUT;

/// Everything, in the order in which it is best read.
pub(crate) fn warnings(recipe: &Recipe, rows: &CodedRows, encoding: &Encoding, counted: &Encoded) -> Vec<String> {
    let mut warnings = Vec::new();
    let left_out = rows.splits.iter().filter(|&&s| s == LEFT_OUT).count();
    if left_out > 0 {
        let strangers: Vec<String> = rows.strangers.keys().map(|value| format!("\"{value}\"")).collect();
        let others =
            if strangers.is_empty() { String::new() } else { format!("; it also holds {}", strangers.join(", ")) };
        warnings.push(format!(
            "{left_out} of {} rows belong to no split and are left out (split by {}{others})",
            rows.rows,
            recipe.split.describe()
        ));
    }
    for (split, counts) in Split::ALL.iter().zip(&counted.statistics).filter(|(_, counts)| counts.rows > 0) {
        for (task, label) in recipe.labels.iter().enumerate() {
            let (positives, labelled) = (counts.positives[task], counts.rows - counts.missing[task]);
            let what = match (positives, labelled) {
                (_, 0) => "no labels",
                (0, _) => "only label 0",
                (p, n) if p == n => "only label 1",
                _ => continue,
            };
            warnings.push(format!("task '{}' has {what} in the {split} split ({labelled} rows)", label.column));
        }
    }
    for &(a, b) in &counted.same {
        warnings.push(format!(
            "tasks '{}' and '{}' have identical labels",
            recipe.labels[a].column, recipe.labels[b].column
        ));
    }
    for (coded, vocabulary) in rows.vocabularies.iter().zip(&encoding.vocabularies) {
        let Some(dictionary) = &coded.dictionary else { continue };
        let names = || names(coded.fields.iter().map(|&f| &recipe.fields[f]));
        let seen = dictionary.codes() - 2; // padding and null are codes too
        if vocabulary.is_empty() && seen > 0 {
            warnings.push(format!(
                "{} knows no value: min_count {} leaves none of {seen}, and every row reads as unseen; lower min_count",
                names(),
                coded.min_count
            ));
        }
        if let Some((count, example)) = two_spellings(dictionary) {
            warnings.push(format!(
                "{} holds {count} keys that are written in two ways, for instance \"{example}\" and \"{example}.0\": are they one? CAST them to one type in the sql",
                names()
            ));
        }
    }
    for (coded, _) in rows.vocabularies.iter().zip(&encoding.varied).filter(|(_, varied)| !**varied) {
        for field in coded.fields.iter().map(|&f| &recipe.fields[f]) {
            let unscaled =
                if field.kind == (Kind::Number { standardize: true }) { ", and is not standardised" } else { "" };
            warnings.push(format!(
                "field '{}' has one value in the training split: it tells nothing{unscaled}",
                field.column
            ));
        }
    }
    warnings
}

/// Fields by name.
fn names<'r>(fields: impl Iterator<Item = &'r FieldRecipe>) -> String {
    let names: Vec<String> = fields.map(|field| format!("'{}'", field.column)).collect();
    format!("{} {}", if names.len() == 1 { "field" } else { "fields" }, names.join(", "))
}

/// How many keys are there as an integer and as a float, and one of them.
fn two_spellings(dictionary: &Dictionary) -> Option<(usize, String)> {
    let floats: HashSet<&str> = dictionary.text_keys().filter_map(|(key, _)| key.strip_suffix(".0")).collect();
    let twice: Vec<&str> = dictionary.text_keys().map(|(key, _)| key).filter(|key| floats.contains(key)).collect();
    twice.iter().min().map(|key| (twice.len(), key.to_string()))
}
