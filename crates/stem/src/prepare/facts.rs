//! What was counted of the data while they were encoded, for the answer of `stem prepare`.

use std::collections::BTreeMap;

use serde::Serialize;
use stem_data::{CopyFacts, Dataset, DayFacts, FieldFacts, GroupFacts, NumberFacts, Split};

use crate::table::table;

/// Shares and numbers by the name of the split.
type BySplit<T> = BTreeMap<&'static str, T>;

#[derive(Serialize)]
pub(super) struct FactsAnswer<'a> {
    fields: Vec<FieldAnswer<'a>>,
    /// Groups (users) of each split; null where the recipe names no group.
    groups: Option<BySplit<GroupFacts>>,
    /// Rows that are there more than once.
    copies: CopyFacts,
    /// Where the split orders rows by a time: rows and base rates of each day.
    days: Vec<DayAnswer<'a>>,
}

#[derive(Serialize)]
struct FieldAnswer<'a> {
    column: &'a str,
    /// Share of rows without a value.
    nulls: BySplit<Option<f64>>,
    /// Share of values that the vocabulary does not know; null for a number.
    unseen: Option<BySplit<Option<f64>>>,
    /// Of a number, before it is standardised; null for a field of keys.
    numbers: Option<BySplit<NumberFacts>>,
}

#[derive(Serialize)]
struct DayAnswer<'a> {
    date: String,
    rows: BySplit<usize>,
    base_rates: BTreeMap<&'a str, Option<f64>>,
}

impl<'a> FactsAnswer<'a> {
    /// Nothing for columns that an earlier version wrote.
    pub(super) fn of(dataset: &'a Dataset, tasks: &[&'a str]) -> Option<Self> {
        let facts = dataset.facts()?;
        let fields = dataset.schema().fields.iter().zip(&facts.fields);
        Some(Self {
            fields: fields.map(|(field, facts)| field_answer(&field.name, facts)).collect(),
            groups: facts.groups.map(by_split),
            copies: facts.copies,
            days: facts.days.iter().map(|day| day_answer(day, tasks)).collect(),
        })
    }

    /// A line for each field.
    pub(super) fn text(&self) -> String {
        let head = ["", "null", "unseen in valid", "unseen in test", "mean", "std", "min", "max"];
        let shown = if self.fields.iter().any(|field| field.numbers.is_some()) { &head[..] } else { &head[..4] };
        let mut rows = vec![shown.iter().map(|name| name.to_string()).collect()];
        for field in &self.fields {
            let [_, valid, test] = Split::ALL.map(|split| {
                let unseen = field.unseen.as_ref().map(|unseen| unseen[split.name()]);
                unseen.map_or(String::new(), percent)
            });
            let null = percent(field.nulls[Split::Train.name()]);
            let mut row = vec![field.column.to_string(), null, valid, test];
            if let Some(NumberFacts { mean, std, min, max }) =
                field.numbers.as_ref().and_then(|numbers| numbers.get(Split::Train.name()))
            {
                row.extend([mean, std, min, max].map(|number| short(*number)));
            }
            rows.push(row);
        }
        table(&rows)
    }
}

fn field_answer<'a>(column: &'a str, facts: &FieldFacts) -> FieldAnswer<'a> {
    let is_number = facts.histogram.is_some() || facts.numbers.iter().any(Option::is_some);
    let numbers = Split::ALL.iter().zip(facts.numbers).filter_map(|(split, number)| Some((split.name(), number?)));
    FieldAnswer {
        column,
        nulls: by_split(facts.splits.map(|counts| counts.null_share())),
        unseen: (!is_number).then(|| by_split(facts.splits.map(|counts| counts.unseen_share()))),
        numbers: is_number.then(|| numbers.collect()),
    }
}

fn day_answer<'a>(day: &DayFacts, tasks: &[&'a str]) -> DayAnswer<'a> {
    let counts = day.positives.iter().zip(&day.labelled);
    let rates = counts.map(|(&positives, &labelled)| (labelled > 0).then(|| positives as f64 / labelled as f64));
    DayAnswer { date: day.date(), rows: by_split(day.rows), base_rates: tasks.iter().copied().zip(rates).collect() }
}

fn by_split<T>(values: [T; 3]) -> BySplit<T> {
    Split::ALL.map(Split::name).into_iter().zip(values).collect()
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.2} %", 100.0 * share))
}

/// At most four digits after the point; by powers of ten where that says nothing.
fn short(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e7).contains(&size) {
        return format!("{number:.3e}");
    }
    format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_lose_their_size() {
        assert_eq!([0.0, 3.0, -1.25, 100.0, 12345.67891].map(short), ["0", "3", "-1.25", "100", "12345.6789"]);
        assert_eq!([1.5e12, -2e-5].map(short), ["1.500e12", "-2.000e-5"]);
    }
}
