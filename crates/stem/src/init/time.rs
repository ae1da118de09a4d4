//! Columns that say when: seconds and milliseconds of an epoch, days as numbers, ISO dates and times.

use stem_data::RawType;

use super::facts::Facts;
use super::names;

/// A column that says when something happened.
pub(super) struct Time {
    /// What it holds, in words.
    pub(super) what: String,
    /// SQL that turns it into what a split can sort, where it cannot as it is; empty where none is known.
    pub(super) expression: Option<String>,
}

/// What kind of time a column holds, if it holds one.
pub(super) fn time_of(facts: &Facts, sql_name: &str) -> Option<Time> {
    let time = |what: &str, expression: Option<String>| Some(Time { what: what.into(), expression });
    match facts.kind() {
        RawType::Time => time("dates or times", None),
        RawType::Integer | RawType::Float if names::is_time(facts.name()) => {
            let (low, high) = facts.range()?;
            let within = |unit: f64| low >= 5e8 * unit && high <= 4.1e9 * unit; // 1985 to 2099
            for (unit, what) in [(1.0, "seconds"), (1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")] {
                if within(unit) {
                    return time(&format!("{what} since 1970"), None);
                }
            }
            let days = facts.integers()?;
            let is_day = |n: &i64| {
                (1900..2100).contains(&(n / 10_000))
                    && (1..=12).contains(&(n / 100 % 100))
                    && (1..=31).contains(&(n % 100))
            };
            if days.iter().all(is_day) {
                return time("days as YYYYMMDD", None);
            }
            if facts.distinct() > 50 && facts.repeats() < 2.0 && low >= 1e9 {
                return time("large numbers named as a time, in no unit that is known", Some(String::new()));
            }
            let counts_up = facts.ascends() && facts.distinct() >= 10 && low >= 0.0;
            if counts_up { time("numbers that rise from the first row to the last", None) } else { None }
        }
        RawType::Text => {
            let texts = facts.texts()?;
            let mut shapes: Vec<Iso> = texts.iter().map(|text| iso(text)).collect::<Option<_>>()?;
            let fraction = shapes.iter().any(|shape| matches!(shape, Iso::Time { fraction: true, .. }));
            shapes.iter_mut().for_each(|shape| {
                if let Iso::Time { fraction: own, .. } = shape {
                    *own = fraction; // `%.f` reads times without one too
                }
            });
            let first = shapes.first().copied()?;
            match first {
                _ if shapes.iter().any(|shape| *shape != first) => {
                    time("dates and times of several forms", Some(String::new()))
                }
                Iso::Date => time("dates as text", Some(format!("CAST({sql_name} AS DATE)"))),
                Iso::Time { between, fraction, zulu } => {
                    let (fraction, zulu) = (if fraction { "%.f" } else { "" }, if zulu { "Z" } else { "" });
                    let format = format!("%Y-%m-%d{between}%H:%M:%S{fraction}{zulu}");
                    time("dates and times as text", Some(format!("STRPTIME({sql_name}, '{format}')")))
                }
                Iso::Other => time("dates and times in a form that no cast reads", Some(String::new())),
            }
        }
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Iso {
    Date,
    /// `2024-05-01 12:30:00`, `2024-05-01T12:30:00.5Z`.
    Time {
        between: char,
        fraction: bool,
        zulu: bool,
    },
    /// With another zone or without seconds.
    Other,
}

/// What form of an ISO date or time a text is.
fn iso(text: &str) -> Option<Iso> {
    let digits = |text: &str, places: &[usize], between: &str| {
        let parts: Vec<&str> = text.split(|c| between.contains(c)).collect();
        parts.len() == places.len()
            && parts.iter().zip(places).all(|(part, &n)| part.len() == n && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let date = text.get(..10)?;
    let part = |from: usize, to: usize| date.get(from..to).and_then(|digits| digits.parse::<u32>().ok());
    if !digits(date, &[4, 2, 2], "-") || !(1..=12).contains(&part(5, 7)?) || !(1..=31).contains(&part(8, 10)?) {
        return None;
    }
    let Some(rest) = text.get(10..).filter(|rest| !rest.is_empty()) else { return Some(Iso::Date) };
    let between = rest.chars().next().filter(|c| matches!(c, 'T' | ' '))?;
    let clock = &rest[1..];
    let (plain, zulu) = clock.strip_suffix('Z').map_or((clock, false), |plain| (plain, true));
    let (whole, fraction) = plain.split_once('.').map_or((plain, None), |(whole, fraction)| (whole, Some(fraction)));
    if digits(whole, &[2, 2, 2], ":") && fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()))
    {
        return Some(Iso::Time { between, fraction: fraction.is_some(), zulu });
    }
    digits(clock.get(..5)?, &[2, 2], ":").then_some(Iso::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_told_from_other_texts() {
        let time = |between, fraction, zulu| Some(Iso::Time { between, fraction, zulu });
        assert_eq!(iso("2024-05-01"), Some(Iso::Date));
        assert_eq!(iso("2024-05-01 12:30:00"), time(' ', false, false));
        assert_eq!(iso("2024-05-01T12:30:00.123"), time('T', true, false));
        assert_eq!(iso("2024-05-01T12:30:00Z"), time('T', false, true));
        assert_eq!(iso("2024-05-01T12:30:00+02:00"), Some(Iso::Other));
        for text in
            ["2024-13-01", "2024-05-1", "2024-05-01x", "20240501", "1-2", "", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"]
        {
            assert!(iso(text).is_none(), "{text}");
        }
    }
}
