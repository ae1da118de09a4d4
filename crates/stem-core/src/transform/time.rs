//! Parts of times.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike};
use serde::{Deserialize, Serialize};

use super::number::number_of;
use crate::value::Value;

/// A part of a time, by the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TimePart {
    /// 0 to 23.
    Hour,
    /// 1 (Monday) to 7.
    Weekday,
    /// Day of the month, 1 to 31.
    Day,
    /// 1 to 12.
    Month,
}

/// What a number that is a time counts, from 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Thousandths of a second.
    Milliseconds,
    /// Millionths of a second.
    Microseconds,
}

const EXPECTED: &str = "a time, as 2024-03-01 17:30:00 or 2024-03-01T17:30:00Z";

/// The part of a time; null of an empty text.
pub(super) fn part_of(
    value: &Value,
    part: TimePart,
    unit: Option<TimeUnit>,
    utc_offset: i32,
) -> Result<Value, &'static str> {
    let seconds = match value {
        Value::Text(text) if text.trim().is_empty() => return Ok(Value::Null),
        Value::Text(text) => match seconds_of(text.trim()) {
            Some(seconds) => seconds,
            None => seconds_of_number(number_of(value).map_err(|_| EXPECTED)?, unit)?, // a number, in a table of text
        },
        value => seconds_of_number(number_of(value).map_err(|_| EXPECTED)?, unit)?,
    };
    let local = DateTime::from_timestamp(seconds.saturating_add(i64::from(utc_offset) * 60), 0);
    let local = local.ok_or("a time that a calendar has")?;
    Ok(Value::Integer(i64::from(match part {
        TimePart::Hour => local.hour(),
        TimePart::Weekday => local.weekday().number_from_monday(),
        TimePart::Day => local.day(),
        TimePart::Month => local.month(),
    })))
}

fn seconds_of_number(number: f64, unit: Option<TimeUnit>) -> Result<i64, &'static str> {
    let units = match unit.ok_or("a time in text; for numbers the field's `unit` must say what they count")? {
        TimeUnit::Seconds => 1.0,
        TimeUnit::Milliseconds => 1e3,
        TimeUnit::Microseconds => 1e6,
    };
    Ok((number / units).floor() as i64)
}

/// Seconds since 1970 in UTC of a time as ISO 8601 writes it, `T` or a space before the hour; a time without an offset is in UTC.
fn seconds_of(text: &str) -> Option<i64> {
    let with_offset = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y-%m-%d %H:%M%#z"];
    let without = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
    let day = || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?.and_utc().timestamp());
    if text.len() <= 10 {
        return day();
    }
    let plain = without.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let plain = plain.map(|time| time.and_utc().timestamp());
    plain.or_else(|| {
        with_offset.iter().find_map(|form| DateTime::parse_from_str(text, form).ok()).map(|t| t.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(value: impl Into<Value>, part: TimePart) -> Result<Value, &'static str> {
        part_of(&value.into(), part, None, 0)
    }

    #[test]
    fn parts_are_those_of_the_calendar_in_every_way_to_write_a_time() {
        for text in [
            "2024-03-01 17:30:00",
            "2024-03-01T17:30:00.25",
            "2024-03-01 17:30",
            "2024-03-01T17:30:00Z",
            "2024-03-01T23:00:00+05:30",
            "2024-03-01 23:00:00+0530",
            " 2024-03-01 17:30:00 ",
        ] {
            assert_eq!(part(text, TimePart::Hour), Ok(17.into()), "{text}");
            assert_eq!(part(text, TimePart::Weekday), Ok(5.into()), "{text}");
        }
        assert_eq!(part("2024-03-01", TimePart::Day), Ok(1.into()));
        assert_eq!(part("2024-03-03", TimePart::Weekday), Ok(7.into()));
        assert_eq!(part("1969-12-31 23:59:59", TimePart::Month), Ok(12.into()));
        assert_eq!(part("", TimePart::Hour), Ok(Value::Null));
        for none in ["17:30", "2024-13-01", "yesterday", "2024-03-01 25:00:00"] {
            assert_eq!(part(none, TimePart::Hour), Err(EXPECTED), "{none}");
        }
    }

    #[test]
    fn a_number_is_a_time_in_the_unit_that_is_named() {
        let hour = |value: Value, unit| part_of(&value, TimePart::Hour, Some(unit), 0);
        assert_eq!(hour(1_709_314_200.into(), TimeUnit::Seconds), Ok(17.into()));
        assert_eq!(hour(1_709_314_200_999i64.into(), TimeUnit::Milliseconds), Ok(17.into()));
        assert_eq!(hour("1709314200000000".into(), TimeUnit::Microseconds), Ok(17.into()));
        assert_eq!(hour((-1).into(), TimeUnit::Seconds), Ok(23.into()));
        assert!(part(1_709_314_200, TimePart::Hour).is_err());
        assert!(hour(1e300.into(), TimeUnit::Seconds).is_err());
    }

    #[test]
    fn local_time_is_utc_and_the_offset() {
        let local = |offset| part_of(&"2024-03-01 17:30:00".into(), TimePart::Hour, None, offset);
        assert_eq!([330, -60, 420].map(local), [Ok(23.into()), Ok(16.into()), Ok(0.into())]);
    }
}
