//! What is odd about the data, in words: nothing of it stops a preparation, all of it changes what a model can learn.

use std::collections::{HashMap, HashSet};

use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::dictionary::Dictionary;
use crate::encode::Encoded;
use crate::encoding::Encoding;
use crate::error::{Error, Fault, Result};
use crate::gather::CodedRows;
use crate::recipe::{ColumnType, Feedback, FieldRecipe, Kind, Recipe, SplitRecipe};
use crate::split::Split;
use crate::splitter::LEFT_OUT;

/// Keys that are there as an integer and as a float, where the recipe does not say that they are two.
///
/// # Errors
/// The field that holds them, and what to write.
pub(crate) fn refuse_two_spellings(recipe: &Recipe, rows: &CodedRows) -> Result<()> {
    let mut faults = Vec::new();
    for coded in &rows.vocabularies {
        let Some((count, example)) = coded.dictionary.as_ref().and_then(two_spellings) else { continue };
        for field in coded.fields.iter().map(|&f| &recipe.fields[f]) {
            let is_meant =
                |(name, kind): &(String, ColumnType)| field.columns.contains(name) && *kind == ColumnType::Text;
            if !recipe.sources.iter().flat_map(|source| &source.types).any(is_meant) {
                let what = format!(
                    "field \"{}\" holds {count} keys that are written in two ways, for instance \"{example}\" and \"{example}.0\": write `types = {{ {} = \"int\" }}` for its source, or \"text\" if they are two",
                    field.name, field.columns[0]
                );
                faults.push(Fault { line: field.line, what });
            }
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Recipe { path: recipe.path.clone(), faults }) }
}

/// Everything, in the order in which it is best read.
pub(crate) fn warnings(recipe: &Recipe, rows: &CodedRows, encoding: &Encoding, counted: &Encoded) -> Vec<String> {
    let mut warnings = Vec::new();
    let left_out = rows.splits.iter().filter(|&&s| s == LEFT_OUT).count();
    if left_out > 0 && !matches!(recipe.split, SplitRecipe::Days { .. }) {
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
            let is_binary = label.kind == Feedback::Binary;
            let what = match (positives, labelled) {
                (_, 0) => "no labels",
                _ if !is_binary => continue,
                (0, _) => "only label 0",
                (p, n) if p == n => "only label 1",
                _ => continue,
            };
            let stop = match split {
                Split::Valid => ": no AUC is defined there, and nothing of this task tells when to stop",
                _ => "",
            };
            warnings.push(format!("task '{}' has {what} in the {split} split ({labelled} rows){stop}", label.column));
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
    }
    for (coded, _) in rows.vocabularies.iter().zip(&encoding.varied).filter(|(_, varied)| !**varied) {
        for field in coded.fields.iter().map(|&f| &recipe.fields[f]) {
            let unscaled =
                if field.kind == (Kind::Number { standardize: true }) { ", and is not standardised" } else { "" };
            warnings.push(format!(
                "field '{}' has one value in the training split: it tells nothing{unscaled}",
                field.name
            ));
        }
    }
    warnings
}

/// Keys of text that look as if something was to be done to them: spaces round them, or lists that were not cut.
pub(crate) fn odd_keys(recipe: &Recipe, rows: &CodedRows) -> Vec<String> {
    let mut told = Vec::new();
    for coded in &rows.vocabularies {
        let Some(dictionary) = coded.dictionary.as_ref() else { continue };
        let fields = || names(coded.fields.iter().map(|&f| &recipe.fields[f]));
        let keys = dictionary.text_keys().count();
        let spaced: Vec<&str> = dictionary.text_keys().filter(|key| key.trim() != *key).collect();
        let trimmed: HashSet<&str> = spaced.iter().map(|key| key.trim()).collect();
        let twice = dictionary.text_keys().filter(|key| trimmed.contains(key)).count();
        if let Some(example) = spaced.iter().min().filter(|_| twice > 0 || 2 * spaced.len() >= keys) {
            let others = if twice > 0 { format!(", and {twice} are there without them too") } else { String::new() };
            told.push(format!(
                "{} holds {} keys of {keys} with spaces before or behind them, for instance \"{example}\"{others}: `trim = true` takes them away",
                fields(),
                spaced.len()
            ));
        }
        for field in coded.fields.iter().map(|&f| (&recipe.fields[f], rows.longest[f])) {
            let (Some(separator), 1) = (&field.0.separator, field.1) else { continue };
            let others: Vec<&str> = [";", ",", "|", "\t", "["].into_iter().filter(|other| other != separator).collect();
            let is_uncut = |key: &&str| others.iter().any(|other| key.contains(other));
            let uncut = dictionary.text_keys().filter(is_uncut).count();
            if let Some(example) = dictionary.text_keys().filter(is_uncut).min().filter(|_| 2 * uncut >= keys) {
                told.push(format!(
                    "field '{}': no list has more than one value between \"{separator}\", for instance \"{example}\": is that what stands between them? A list as JSON writes it wants no `separator`",
                    field.0.name
                ));
            }
        }
    }
    told
}

/// Keys that a reader takes for one: the same letters put together otherwise, or in other capitals.
pub(crate) fn alike_keys(recipe: &Recipe, rows: &CodedRows) -> Vec<String> {
    let mut told = Vec::new();
    for coded in &rows.vocabularies {
        let Some(dictionary) = coded.dictionary.as_ref() else { continue };
        let fields = || names(coded.fields.iter().map(|&f| &recipe.fields[f]));
        let whole = |key: &str| key.nfc().collect::<String>();
        let apart: HashSet<String> = dictionary.text_keys().filter(|key| !is_nfc(key)).map(whole).collect();
        let twins: Vec<&str> = dictionary.text_keys().filter(|key| apart.contains(*key)).collect();
        if let Some(example) = twins.iter().min() {
            told.push(format!(
                "{} holds {} keys twice, with letters put together in two ways of Unicode (NFC and another), for instance \"{example}\": each is a value of its own; NORMALIZE(column, NFC) in the sql makes one of them",
                fields(),
                twins.len()
            ));
        }
        let (looked_at, more, pair) = but_for_capitals(dictionary);
        if let Some((one, other)) = pair.filter(|_| ALIKE * more >= looked_at) {
            told.push(format!(
                "{} holds {more} keys of {looked_at} that differ from another in capital letters alone, for instance \"{one}\" and \"{other}\": `lower = true` makes one of them",
                fields()
            ));
        }
    }
    told
}

/// Keys that are compared without their capitals, how many of them are another's but for these, and the first two that are. The order of the
/// keys does not matter.
fn but_for_capitals(dictionary: &Dictionary) -> (usize, usize, Option<(&str, &str)>) {
    let hash = |text: &str| xxhash_rust::xxh3::xxh3_64(text.to_lowercase().as_bytes());
    let one_in = dictionary.text_keys().len().div_ceil(LOOKED_AT).max(1) as u64;
    let mut first: HashMap<u64, [Option<&str>; 2]> = HashMap::new(); // the least two of each
    let mut looked_at = 0;
    for key in dictionary.text_keys() {
        let hash = hash(key);
        if (hash >> 32) % one_in == 0 {
            looked_at += 1;
            let two = first.entry(hash).or_default();
            match two {
                [Some(least), _] if key > *least => two[1] = Some(two[1].map_or(key, |next| next.min(key))),
                _ => *two = [Some(key), two[0]],
            }
        }
    }
    let pair = first.values().filter_map(|[one, other]| Some(((*one)?, (*other)?))).min();
    (looked_at, looked_at - first.len(), pair)
}

/// Keys that are compared without their capitals, about; of more a part, in which are all that are alike or none.
const LOOKED_AT: usize = 1 << 20;
/// One in so many keys is alike another: fewer are ids in which capitals mean something.
const ALIKE: usize = 50;

/// Keys that may stand for nothing.
pub(crate) fn null_words(recipe: &Recipe, rows: &CodedRows) -> Vec<String> {
    let keyed = rows.vocabularies.iter().filter_map(|coded| Some((coded, coded.dictionary.as_ref()?)));
    let told = keyed.filter_map(|(coded, dictionary)| {
        let words = dictionary.text_keys().filter(|key| NULL_WORDS.contains(key)).map(|key| format!("\"{key}\""));
        let mut words: Vec<String> = words.collect();
        words.sort();
        let (fields, words) = (names(coded.fields.iter().map(|&f| &recipe.fields[f])), words.join(", "));
        (!words.is_empty()).then(|| {
            format!(
                "{fields} holds {words} as a key: if it stands for nothing, `null_values = [{words}]` in its source says so"
            )
        })
    });
    told.collect()
}

/// What programs write for nothing.
const NULL_WORDS: [&str; 9] = ["NULL", "null", "None", "NA", "N/A", "\\N", "nan", "NaN", "NAN"];

/// Fields by name.
fn names<'r>(fields: impl Iterator<Item = &'r FieldRecipe>) -> String {
    let names: Vec<String> = fields.map(|field| format!("'{}'", field.name)).collect();
    format!("{} {}", if names.len() == 1 { "field" } else { "fields" }, names.join(", "))
}

/// How many keys are there as an integer and as a float, and one of them.
fn two_spellings(dictionary: &Dictionary) -> Option<(usize, String)> {
    let floats: HashSet<&str> = dictionary.text_keys().filter_map(|key| key.strip_suffix(".0")).collect();
    let twice: Vec<&str> = dictionary.text_keys().filter(|key| floats.contains(key)).collect();
    twice.iter().min().map(|key| (twice.len(), key.to_string()))
}
