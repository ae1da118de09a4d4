//! What is counted of a column once, for all guesses.

use stem_core::Value;
use stem_data::{LookColumn, RawType, nearest_name};

/// Counts of a column's values over the rows looked at.
pub(super) struct Facts<'l> {
    pub(super) column: &'l LookColumn,
    /// Rows looked at.
    pub(super) rows: usize,
    /// Those with a value.
    pub(super) known: usize,
    /// How often each of `column.values` occurs; empty for lists.
    pub(super) counts: Vec<u32>,
}

impl<'l> Facts<'l> {
    pub(super) fn new(column: &'l LookColumn) -> Self {
        if column.kind == RawType::List {
            let known = column.lengths.iter().filter(|&&length| length > 0).count();
            return Self { column, rows: column.lengths.len(), known, counts: vec![] };
        }
        let mut counts = vec![0; column.values.len()];
        for place in column.codes.iter().filter_map(|code| (*code as usize).checked_sub(1)) {
            counts[place] += 1;
        }
        let known = counts.iter().map(|&n| n as usize).sum();
        Self { column, rows: column.codes.len(), known, counts }
    }

    pub(super) fn name(&self) -> &'l str {
        &self.column.name
    }

    pub(super) fn kind(&self) -> &'l RawType {
        &self.column.kind
    }

    pub(super) fn distinct(&self) -> usize {
        self.column.values.len()
    }

    pub(super) fn nulls(&self) -> usize {
        self.rows - self.known
    }

    /// Rows per different value.
    pub(super) fn repeats(&self) -> f64 {
        self.known as f64 / self.distinct().max(1) as f64
    }

    pub(super) fn is_unique(&self) -> bool {
        self.known > 0 && self.distinct() == self.known
    }

    /// The different values as numbers; `None` where one is none.
    pub(super) fn numbers(&self) -> Option<Vec<f64>> {
        let number = |value: &Value| match value {
            Value::Integer(n) => Some(*n as f64),
            Value::Float(x) => Some(*x),
            _ => None,
        };
        self.column.values.iter().map(number).collect()
    }

    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        let integer = |value: &Value| if let Value::Integer(n) = value { Some(*n) } else { None };
        self.column.values.iter().map(integer).collect()
    }

    pub(super) fn texts(&self) -> Option<Vec<&'l str>> {
        let text = |value: &'l Value| if let Value::Text(text) = value { Some(text.as_str()) } else { None };
        self.column.values.iter().map(text).collect()
    }

    /// Smallest and largest number.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        let numbers = self.numbers().filter(|numbers| !numbers.is_empty())?;
        Some(numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x))))
    }

    /// Whether it holds 0 and 1, true and false, and nothing else; both occur.
    pub(super) fn is_binary(&self) -> bool {
        self.distinct() == 2 && self.numbers().is_some_and(|numbers| numbers.iter().all(|&x| x == 0.0 || x == 1.0))
    }

    /// Share of the known rows whose value occurs fewer than `least` times.
    pub(super) fn rare(&self, least: u32) -> f64 {
        let rows: usize = self.counts.iter().filter(|&&n| n < least).map(|&n| n as usize).sum();
        rows as f64 / self.known.max(1) as f64
    }

    /// Whether the rows' numbers never fall from one row to the next, and rise over all.
    pub(super) fn ascends(&self) -> bool {
        let Some(numbers) = self.numbers() else { return false };
        let rows: Vec<f64> =
            self.column.codes.iter().filter(|&&code| code > 0).map(|&code| numbers[code as usize - 1]).collect();
        rows.windows(2).all(|pair| pair[0] <= pair[1]) && rows.first() < rows.last()
    }

    /// The most frequent values in words, at most `most` of them.
    pub(super) fn examples(&self, most: usize) -> String {
        let mut places: Vec<usize> = (0..self.counts.len()).collect();
        places.sort_by_key(|&place| (std::cmp::Reverse(self.counts[place]), place));
        let first: Vec<String> = places.iter().take(most).map(|&place| short(&self.column.values[place])).collect();
        let more = if places.len() > most { ", ..." } else { "" };
        format!("{}{more}", first.join(", "))
    }
}

/// A value for a message: long texts are cut.
fn short(value: &Value) -> String {
    match value {
        Value::Text(text) if text.chars().count() > 30 => {
            format!("\"{}...\"", text.chars().take(30).collect::<String>())
        }
        other => other.to_string(),
    }
}

/// A count with its thousands set apart.
pub(super) fn count(n: usize) -> String {
    stem_report::report::count(n as u64)
}

/// The column of that name, or a message with the one most like it and all there are.
pub(super) fn find<'f, 'l>(name: &str, facts: &'f [Facts<'l>], data: &str) -> Result<&'f Facts<'l>, String> {
    facts.iter().find(|facts| facts.name() == name).ok_or_else(|| {
        let known: Vec<&str> = facts.iter().map(Facts::name).collect();
        let near = nearest_name(name, known.iter().copied());
        let near = near.map_or(".".into(), |near| format!(", did you mean \"{near}\"?"));
        format!("{data} has no column \"{name}\"{near} Its columns: {}", known.join(", "))
    })
}
