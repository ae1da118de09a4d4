//! Which rows are for training, validation and test, and within which groups rows are compared.

use stem_data::RawType;

use super::facts::{Facts, count, find};
use super::names;
use super::sql::quoted;
use super::time::time_of;
use crate::console::Result;

/// How the recipe splits, and why.
pub(super) struct Split {
    pub(super) by: SplitBy,
    pub(super) reason: String,
}

pub(super) enum SplitBy {
    /// The column and its values for the three parts.
    Column(String, [String; 3]),
    Time(String),
    Random,
}

impl Split {
    /// The column it reads, if any.
    pub(super) fn column(&self) -> Option<&str> {
        match &self.by {
            SplitBy::Column(column, _) | SplitBy::Time(column) => Some(column),
            SplitBy::Random => None,
        }
    }
}

/// Which of training (0), validation (1) and test (2) a word names.
pub(super) fn part(word: &str) -> Option<usize> {
    match word.to_lowercase().as_str() {
        "train" | "training" => Some(0),
        "valid" | "validation" | "val" | "dev" | "eval" => Some(1),
        "test" | "testing" => Some(2),
        _ => None,
    }
}

/// By a column that says it, else by time, else by chance.
pub(super) fn guess(facts: &[Facts], labels: &[String]) -> Split {
    for facts in facts {
        let Some(texts) = facts.texts().filter(|texts| texts.len() == 3) else { continue };
        let word = |which| texts.iter().find(|text| part(text) == Some(which)).map(|text| (*text).to_string());
        if let (Some(train), Some(valid), Some(test)) = (word(0), word(1), word(2)) {
            let reason = format!("\"{}\" holds \"{train}\", \"{valid}\" and \"{test}\"", facts.name());
            return Split { by: SplitBy::Column(facts.name().into(), [train, valid, test]), reason };
        }
    }
    let mut refused = Vec::new();
    let mut times = Vec::new();
    for facts in facts.iter().filter(|facts| !labels.iter().any(|label| label == facts.name())) {
        let Some(time) = time_of(facts, &quoted(facts.name())) else { continue };
        let name = facts.name();
        if time.expression.as_ref().is_some_and(String::is_empty) {
            refused.push(format!("\"{name}\" holds {}", time.what));
        } else if facts.nulls() > 0 {
            refused.push(format!("\"{name}\" is empty in {} rows", count(facts.nulls())));
        } else if names::is_time_of_something_else(name) {
            refused.push(format!("\"{name}\" is by its name no time of the row"));
        } else if facts.distinct() < 10 {
            refused.push(format!("\"{name}\" has {} different values", facts.distinct()));
        } else if !name.is_empty() {
            times.push((facts, time));
        }
    }
    match times.into_iter().max_by_key(|(facts, _)| facts.distinct()) {
        Some((facts, time)) => {
            let reason = format!(
                "\"{}\" holds {}: the model is tested on rows later than those it learned from, as in use",
                facts.name(),
                time.what
            );
            Split { by: SplitBy::Time(facts.name().into()), reason }
        }
        None => {
            let why = if refused.is_empty() { "no column holds a time".into() } else { refused.join("; ") };
            Split {
                by: SplitBy::Random,
                reason: format!("by chance: {why}. Rows of one user fall into all three parts"),
            }
        }
    }
}

/// The group asked for, or the column that names users; with the reason.
pub(super) fn group(
    asked: Option<&str>,
    facts: &[Facts],
    labels: &[String],
    data: &str,
) -> Result<Option<(String, String)>> {
    let fits = |facts: &Facts| {
        matches!(facts.kind(), RawType::Integer | RawType::Text | RawType::Boolean)
            && facts.nulls() == 0
            && !facts.name().is_empty()
    };
    let Some(name) = asked else {
        let ranked = facts.iter().filter(|facts| fits(facts) && facts.repeats() >= 1.5 && facts.distinct() > 1);
        let ranked = ranked.filter_map(|facts| Some((names::rank_as_user(facts.name())?, facts)));
        let best =
            ranked.filter(|(_, facts)| !labels.iter().any(|label| label == facts.name())).min_by_key(|(rank, _)| *rank);
        return Ok(best.map(|(_, facts)| {
            let reason =
                format!("by its name the user: {} of them, {:.1} rows each", count(facts.distinct()), facts.repeats());
            (facts.name().to_string(), reason)
        }));
    };
    let found = find(name, facts, data).map_err(|what| format!("--group: {what}"))?;
    let (nulls, rows) = (count(found.nulls()), count(found.rows));
    let refused = if labels.iter().any(|label| label == name) {
        format!("\"{name}\" is a label; rows are grouped by who saw them, the user as a rule")
    } else if found.nulls() > 0 {
        format!(
            "\"{name}\" is empty in {nulls} of {rows} rows, and a row without a group cannot be compared: take those rows out of the log, or name another column"
        )
    } else if !fits(found) {
        format!("\"{name}\" holds no integers or texts, by which rows could be grouped")
    } else if found.is_unique() {
        format!("every row has a \"{name}\" of its own, so that no two rows can be compared within a group")
    } else {
        let (users, rows) = (count(found.distinct()), found.repeats());
        return Ok(Some((name.into(), format!("as asked for: {users} of them, {rows:.1} rows each"))));
    };
    Err(format!("--group: {refused}").into())
}
