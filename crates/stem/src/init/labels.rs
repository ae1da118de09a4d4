//! The labels asked for, or a refusal that says what was found and how a label is made of it.

use stem_core::Value;
use stem_data::RawType;

use super::facts::{Facts, count, find};
use super::leak::{self, Answers};
use super::names;
use super::sql::quoted;
use crate::console::Result;

/// A label that can be learned.
pub(super) struct Label {
    pub(super) column: String,
    /// The lines that say what it holds, where that is not 0 and 1.
    pub(super) kind: Option<String>,
    /// Of a number whether it is above the median: what gives that away gives the number away.
    pub(super) answers: Answers,
    pub(super) positives: usize,
    pub(super) known: usize,
    /// Another label that is 1 wherever this one is.
    pub(super) inside: Option<String>,
}

impl Label {
    pub(super) fn rate(&self) -> f64 {
        self.positives as f64 / self.known.max(1) as f64
    }
}

/// What a label may be besides 0 and 1.
const KINDS: [&str; 6] = ["regression", "count", "watch-time", "ordinal", "classes", "zero-inflated"];

/// The column of `COLUMN` or `COLUMN:KIND`, and the kind. A column whose name holds the colon goes before.
pub(super) fn parts<'a>(asked: &'a str, facts: &[Facts]) -> (&'a str, Option<&'a str>) {
    match asked.rsplit_once(':') {
        Some((column, kind)) if !facts.iter().any(|facts| facts.name() == asked) => (column, Some(kind)),
        _ => (asked, None),
    }
}

/// Checks every label asked for. `table` is the name of the first source, for the SELECT that a message shows.
pub(super) fn check(asked: &[String], facts: &[Facts], table: &str, data: &str) -> Result<Vec<Label>> {
    if asked.is_empty() {
        return Err(none_asked(facts, data).into());
    }
    let mut labels: Vec<Label> = Vec::new();
    for asked in asked {
        let (name, kind) = parts(asked, facts);
        if labels.iter().any(|label| label.column == name) {
            return Err(format!("label \"{name}\" is named twice").into());
        }
        labels.push(match kind.filter(|kind| *kind != "binary") {
            None => label(name, facts, table, data)?,
            Some(kind) => of_numbers(name, kind, find(name, facts, data)?)?,
        });
    }
    let inside: Vec<Option<String>> = labels.iter().map(|label| outer(label, &labels)).collect();
    labels.iter_mut().zip(inside).for_each(|(label, inside)| label.inside = inside);
    Ok(labels)
}

fn label(name: &str, facts: &[Facts], table: &str, data: &str) -> Result<Label> {
    let found = find(name, facts, data)?;
    let binary = match found.kind() {
        RawType::Null => {
            return Err(format!("label \"{name}\" is empty in every row: nothing can be learned of it").into());
        }
        RawType::Boolean | RawType::Integer | RawType::Float => {
            found.numbers().is_some_and(|numbers| numbers.iter().all(|&y| y == 0.0 || y == 1.0))
        }
        _ => false,
    };
    if !binary {
        return Err(not_binary(name, found, table).into());
    }
    let answers = leak::answers(found);
    let positives = answers.iter().filter(|answer| **answer == Some(true)).count();
    let label = Label { column: name.into(), kind: None, answers, positives, known: found.known, inside: None };
    if positives == 0 || positives == found.known {
        let always = format!("{} in all {} rows that have it", u8::from(positives > 0), count(found.known));
        return Err(format!("label \"{name}\" is {always}: a model learns from rows of both kinds").into());
    }
    Ok(label)
}

/// A label that is learned as a number.
fn of_numbers(name: &str, kind: &str, found: &Facts) -> Result<Label> {
    if !KINDS.contains(&kind) {
        let known = KINDS.join(", ");
        return Err(format!("label \"{name}\" is asked for as \"{kind}\", expected binary or one of {known}").into());
    }
    let refuse = |expected: &str| {
        let examples = found.examples(6);
        Err(format!("label \"{name}\" as {kind} holds {examples}, expected {expected}").into())
    };
    let Some(numbers) = found.numbers() else { return refuse("numbers") };
    let is_whole = numbers.iter().all(|y| *y >= 0.0 && y.fract() == 0.0);
    let highest = numbers.iter().copied().fold(0.0, f64::max);
    match kind {
        "regression" => {}
        "count" | "ordinal" | "classes" if !is_whole => return refuse("whole numbers of 0 or more"),
        "ordinal" if highest > 1000.0 => return refuse("levels from 0 to 1000 at most"),
        "classes" if highest > 1000.0 => return refuse("classes from 0 to 1000 at most"),
        _ if numbers.iter().any(|y| *y < 0.0) => return refuse("numbers of 0 or more"),
        _ => {}
    }
    if found.distinct() < 2 {
        return refuse("different numbers: a label that is always the same teaches nothing");
    }
    let values: Vec<Option<f64>> =
        found.column.codes.iter().map(|&code| Some(numbers[(code as usize).checked_sub(1)?])).collect();
    let positives = values.iter().flatten().filter(|value| **value > 0.0).count();
    let mut known: Vec<f64> = values.iter().flatten().copied().collect();
    known.sort_unstable_by(f64::total_cmp);
    let (median, highest) = (known[known.len() / 2], known[known.len() - 1]);
    let cut = if median < highest { median } else { known[0] }; // some are above it, and some are not
    let answers: Answers = values.iter().map(|value| value.map(|value| value > cut)).collect();
    let lines = match kind {
        "ordinal" | "classes" => format!("kind = \"{kind}\"\nclasses = {}", highest as usize + 1),
        kind => format!("kind = \"{kind}\""),
    };
    Ok(Label { column: name.into(), kind: Some(lines), answers, positives, known: found.known, inside: None })
}

/// What a label that is no 0 and 1 holds, and the SELECT that makes one of it.
fn not_binary(name: &str, facts: &Facts, table: &str) -> String {
    let what = match facts.kind() {
        RawType::Integer => "integers",
        RawType::Float => "numbers",
        RawType::Text => "texts",
        RawType::Time => "times",
        RawType::List => "lists",
        _ => "values",
    };
    let mut message = format!(
        "label \"{name}\" holds {} different {what} ({}), expected 0, 1, true, false or nothing (missing)",
        count(facts.distinct()),
        facts.examples(6)
    );
    if facts.numbers().is_some() {
        message.push_str(&format!(
            ".\nLearn it as a number or a class: --labels {name}:regression, or :{} (docs/labels.md)",
            KINDS[1..].join(", :")
        ));
    }
    if let Some((condition, derived)) = condition(name, facts) {
        message.push_str(&format!(
            ".\nDerive a label: add a column to the log, or write a recipe whose `sql` does it:\n    \
             SELECT *, CAST({condition} AS INT) AS {} FROM {}",
            quoted(&derived),
            quoted(table)
        ));
    }
    message
}

/// A condition that about half of the rows meet, and a name for it.
fn condition(name: &str, facts: &Facts) -> Option<(String, String)> {
    if let Some(numbers) = facts.numbers() {
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_by(|&a, &b| numbers[b].total_cmp(&numbers[a]));
        let (mut above, mut best) = (0usize, None);
        for &place in order.iter().take(order.len().saturating_sub(1)) {
            above += facts.counts[place] as usize;
            let off = (above as f64 / facts.known as f64 - 0.5).abs();
            if best.is_none_or(|(least, _)| off < least) {
                best = Some((off, place));
            }
        }
        let value = numbers[best?.1];
        return Some((format!("{} >= {value}", quoted(name)), format!("{name}_at_least_{value}")));
    }
    let texts = facts.texts()?;
    const YES: [&str; 9] = ["yes", "y", "true", "t", "positive", "1", "click", "buy", "like"];
    let plausible = texts.iter().find(|text| YES.contains(&text.to_lowercase().as_str()));
    let rarest = (0..texts.len()).min_by_key(|&place| facts.counts[place]).map(|place| &texts[place]);
    let value = plausible.or(rarest)?;
    Some((format!("{} = '{}'", quoted(name), value.replace('\'', "''")), format!("is_{value}")))
}

/// Another label that is 1 wherever this one is, though not the other way round.
fn outer(label: &Label, labels: &[Label]) -> Option<String> {
    let contains = |other: &&Label| {
        let mut rows = label.answers.iter().zip(&other.answers);
        let wherever = rows.all(|(inner, outer)| *inner != Some(true) || *outer == Some(true));
        let are_binary = label.kind.is_none() && other.kind.is_none();
        are_binary && other.column != label.column && other.positives > label.positives && wherever
    };
    labels.iter().filter(contains).min_by_key(|other| other.positives).map(|other| other.column.clone())
}

fn none_asked(facts: &[Facts], data: &str) -> String {
    let binary: Vec<&Facts> = facts.iter().filter(|facts| facts.is_binary()).collect();
    let rate = |facts: &Facts| {
        let ones =
            facts.column.values.iter().position(|value| *value == Value::Integer(1) || *value == Value::Float(1.0));
        ones.map_or(0.0, |place| f64::from(facts.counts[place]) / facts.known.max(1) as f64)
    };
    if binary.is_empty() {
        let names: Vec<&str> = facts.iter().map(Facts::name).collect();
        let rated = facts.iter().find(|facts| names::is_measured_feedback(facts.name()));
        let derived = rated.and_then(|facts| condition(facts.name(), facts)).map(|(condition, _)| condition);
        let hint = derived.map(|condition| format!(". A label can be made of one, for instance {condition}"));
        let hint = hint.unwrap_or_default();
        return format!(
            "no --labels, and no column of {data} holds 0 and 1: say which columns are the feedback to predict. Its columns: {}{hint}",
            names.join(", ")
        );
    }
    let names: Vec<&str> = binary.iter().map(|facts| facts.name()).collect();
    let mut suggested: Vec<&str> = names.iter().copied().filter(|name| names::is_feedback(name)).take(4).collect();
    if suggested.is_empty() {
        suggested.push(names[0]);
    }
    let listed: Vec<String> =
        binary.iter().map(|facts| format!("{} ({:.1} % are 1)", facts.name(), 100.0 * rate(facts))).collect();
    format!(
        "no --labels: say which columns are the feedback to predict, for instance --labels {}. Columns of 0 and 1: {}",
        suggested.join(","),
        listed.join(", ")
    )
}
