//! Rows and labels by day.

use serde::{Deserialize, Serialize};

use crate::dataset::NO_LABEL;
use crate::splitter::LEFT_OUT;

/// More days than these, from the first to the last, are not told one by one: ten years.
const MOST_DAYS: i64 = 3_660;
const SECONDS_A_DAY: i64 = 86_400;
/// Integers in this range of seconds since 1970 (1995 to 2100) are taken for times, those of a thousand times it for milliseconds, and so
/// on. A number of another meaning may lie there too; then it is told by "day" as if it were one.
const SECONDS: std::ops::Range<i64> = 788_918_400..4_102_444_800;

/// Of one day, in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DayFacts {
    /// Days since 1970-01-01.
    pub day: i64,
    /// Rows of each split.
    pub rows: [usize; 3],
    /// Rows with label 1, for each task. `[T]`
    pub positives: Vec<usize>,
    /// Rows that have the label, for each task. `[T]`
    pub labelled: Vec<usize>,
}

impl DayFacts {
    /// `2024-03-01`.
    pub fn date(&self) -> String {
        // the calendar repeats every 400 years; years begin in March, so that the day that is left out is the last
        let day = self.day + 719_468;
        let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let of_month = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        format!("{:04}-{month:02}-{of_month:02}", year + era * 400 + i64::from(month <= 2))
    }
}

/// What rows are ordered by, where the split orders them.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// Ascends with time. `[N]`, empty where nothing orders the rows
    pub(crate) order: Vec<i64>,
    /// How much of it is a day, where its type tells.
    pub(crate) a_day: Option<i64>,
    /// Whether it is an integer, which may be a time.
    pub(crate) integers: bool,
}

impl Times {
    /// Says so where some rows have a time in seconds and others in milliseconds, or in other units: their order is none.
    pub(crate) fn two_units(&self, split: &str) -> Option<String> {
        if !self.integers || self.a_day.is_some() {
            return None;
        }
        let units =
            [("seconds", 1), ("milliseconds", 1_000), ("microseconds", 1_000_000), ("nanoseconds", 1_000_000_000)];
        let of = |scale: i64| self.order.iter().filter(|time| SECONDS.contains(&(*time / scale))).count();
        let found: Vec<(&str, usize)> =
            units.map(|(name, scale)| (name, of(scale))).into_iter().filter(|(_, n)| *n > 0).collect();
        let is_all = found.iter().map(|(_, rows)| rows).sum::<usize>() == self.order.len();
        let told: Vec<String> = found.iter().map(|(name, rows)| format!("{rows} rows in {name}")).collect();
        (is_all && found.len() > 1).then(|| {
            format!("split by {split}: its times look like {}: rows of different units have no order; make them one in the sql", told.join(" and "))
        })
    }

    /// First day, number of days, and what a day is; `None` where that is not known.
    fn range(&self) -> Option<(i64, usize, i64)> {
        let (first, last) = (*self.order.iter().min()?, *self.order.iter().max()?);
        let scales = [1, 1_000, 1_000_000, 1_000_000_000];
        let guess = |scale: &i64| SECONDS.contains(&(first / scale)) && SECONDS.contains(&(last / scale));
        let guessed = || scales.into_iter().find(guess).map(|scale| scale * SECONDS_A_DAY);
        let a_day = self.a_day.or_else(|| self.integers.then(guessed).flatten())?;
        let days = last.div_euclid(a_day) - first.div_euclid(a_day) + 1;
        (days <= MOST_DAYS).then_some((first.div_euclid(a_day), days as usize, a_day))
    }
}

/// Counts rows and labels.
pub(super) struct Days<'r> {
    order: &'r [i64],
    range: Option<(i64, usize, i64)>,
    tasks: usize,
    rows: Vec<[usize; 3]>,   // [days]
    labels: Vec<[usize; 2]>, // [days, T], positives and labelled
}

impl<'r> Days<'r> {
    pub(super) fn new(times: &'r Times, tasks: usize) -> Self {
        let range = times.range();
        let days = range.map_or(0, |(_, days, _)| days);
        Self { order: &times.order, range, tasks, rows: vec![[0; 3]; days], labels: vec![[0; 2]; days * tasks] }
    }

    #[inline]
    pub(super) fn see(&mut self, row: usize, split: u8, labels: &[u8]) {
        let Some((first, _, a_day)) = self.range.filter(|_| split != LEFT_OUT) else { return };
        let day = (self.order[row].div_euclid(a_day) - first) as usize;
        self.rows[day][split as usize] += 1;
        for (counts, label) in self.labels[day * self.tasks..].iter_mut().zip(labels) {
            counts[0] += usize::from(*label == 1);
            counts[1] += usize::from(*label != NO_LABEL);
        }
    }

    pub(super) fn finish(self) -> Vec<DayFacts> {
        let first = self.range.map_or(0, |(first, ..)| first);
        let days = self.rows.iter().zip(self.labels.chunks_exact(self.tasks.max(1))).zip(first..);
        let facts = days.filter(|((rows, _), _)| **rows != [0; 3]).map(|((rows, labels), day)| DayFacts {
            day,
            rows: *rows,
            positives: labels.iter().map(|[positives, _]| *positives).collect(),
            labelled: labels.iter().map(|[_, labelled]| *labelled).collect(),
        });
        facts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_the_dates_of_the_calendar() {
        let date = |day| DayFacts { day, ..DayFacts::default() }.date();
        let days = [-1, 0, 59, 789, 11_016, 11_017, 19_782, 47_540];
        let dates = [
            "1969-12-31",
            "1970-01-01",
            "1970-03-01",
            "1972-02-29",
            "2000-02-29",
            "2000-03-01",
            "2024-02-29",
            "2100-02-28",
        ];
        assert_eq!(days.map(date), dates);
    }

    #[test]
    fn integers_are_times_where_they_can_be_and_nothing_else_is_guessed() {
        let range = |order: &[i64], a_day, integers| Times { order: order.to_vec(), a_day, integers }.range();
        let seconds = 1_700_000_000;
        assert_eq!(range(&[seconds, seconds + 86_400], None, true), Some((19_675, 2, 86_400)));
        assert_eq!(range(&[seconds * 1000], None, true), Some((19_675, 1, 86_400_000)));
        assert_eq!(range(&[5, 1_000_000], None, true), None);
        assert_eq!(range(&[seconds], None, false), None, "bits of floats are no times");
        assert_eq!(range(&[-1, 3], Some(1), false), Some((-1, 5, 1)));
        assert_eq!(range(&[0, MOST_DAYS], Some(1), false), None);
        assert_eq!(range(&[], Some(1), false), None);
    }
}
