//! What one key may be, and how it is drawn.
//!
//! ```text
//! real       low (1 - u) + high u                          u uniform on [0, 1)
//! real, log  exp(ln low (1 - u) + ln high u)
//! integer    uniform on low, low + 1, ..., high
//! integer, log  a real, log, of low - 1/2 to high + 1/2, rounded
//! ```
//!
//! Reals are rounded to 3 significant digits within their bounds, so that what a report shows is what ran.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Method;
use super::settings::same;
use crate::text::to_text;

const EXPECTED: &str = "a list of values or { low, high, log }";

/// What a key may be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Values {
    /// One of a list.
    Choices(Vec<Value>),
    /// An integer between two, both included.
    Integers {
        /// The least.
        low: i64,
        /// The greatest.
        high: i64,
        /// Whether ratios count rather than differences.
        log: bool,
    },
    /// A number between two.
    Reals {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// Whether ratios count rather than differences.
        log: bool,
    },
}

/// A range as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    low: toml::Value,
    high: toml::Value,
    #[serde(default)]
    log: bool,
}

impl Values {
    /// Reads what stands under `key`: a list, or a range, of integers if both bounds are.
    ///
    /// # Errors
    /// The key, what stands there and what was expected.
    pub(super) fn read(key: &str, value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Array(list) => {
                let choices = list.into_iter().map(json).collect::<Result<_, _>>();
                choices.map(Values::Choices).map_err(|found| format!("`{key}` has {found}"))
            }
            toml::Value::Table(table) if is_range(&table) => {
                let Range { low, high, log } = table
                    .try_into()
                    .map_err(|e| format!("`{key}`: {}; a range is {{ low, high, log }}", e.message()))?;
                match (low, high) {
                    (toml::Value::Integer(low), toml::Value::Integer(high)) => Ok(Values::Integers { low, high, log }),
                    (low, high) => Ok(Values::Reals { low: number(key, low)?, high: number(key, high)?, log }),
                }
            }
            toml::Value::Table(ref table) if !table.is_empty() => {
                let leaf = first_leaf(key, &value);
                let how = format!("write its keys with dots and in quotes: \"{leaf}\" = ...");
                Err(format!("`{key}` is a table, expected {EXPECTED}; {how}"))
            }
            other => Err(format!("`{key}` is {other}, expected {EXPECTED}")),
        }
    }

    /// Refuses what cannot be drawn from, or not by `method`.
    ///
    /// # Errors
    /// The key, what stands there and what may.
    pub(super) fn check(&self, key: &str, method: Method) -> Result<(), String> {
        let (low, high, log) = match *self {
            Values::Choices(ref choices) => return check_choices(key, choices),
            Values::Integers { low, high, log } => (low as f64, high as f64, log),
            Values::Reals { low, high, log } => (low, high, log),
        };
        let refuse = |expected: &str| Err(format!("`{key}` is {low} to {high}, expected {expected}"));
        match method {
            _ if !low.is_finite() || !high.is_finite() => refuse("finite numbers"),
            _ if low >= high => refuse("a low below high"),
            _ if log && low <= 0.0 => refuse("a low above 0, as a logarithm needs"),
            Method::Grid if self.count().is_none() => refuse("a list: a grid has no points in a range of reals"),
            Method::Grid if log => refuse("no `log`: a grid has all integers of a range"),
            Method::Grid | Method::Random => Ok(()),
        }
    }

    /// How many values there are, `None` of reals.
    pub(super) fn count(&self) -> Option<u64> {
        match *self {
            Values::Choices(ref choices) => Some(choices.len() as u64),
            Values::Integers { low, high, .. } => Some(high.abs_diff(low).saturating_add(1)),
            Values::Reals { .. } => None,
        }
    }

    /// The value at `index` below the count.
    pub(super) fn nth(&self, index: u64) -> Option<Value> {
        match *self {
            Values::Choices(ref choices) => choices.get(usize::try_from(index).ok()?).cloned(),
            Values::Integers { low, .. } => low.checked_add_unsigned(index).map(Value::from),
            Values::Reals { .. } => None,
        }
    }

    /// Draws a value.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Value {
        match *self {
            Values::Choices(ref choices) => choices[rng.random_range(0..choices.len())].clone(),
            Values::Integers { low, high, log: false } => rng.random_range(low..=high).into(),
            Values::Integers { low, high, log: true } => {
                let real = log_uniform(low as f64 - 0.5, high as f64 + 0.5, rng);
                (real.round() as i64).clamp(low, high).into()
            }
            Values::Reals { low, high, log: false } => rounded(between(low, high, rng)).clamp(low, high).into(),
            Values::Reals { low, high, log: true } => rounded(log_uniform(low, high, rng)).clamp(low, high).into(),
        }
    }
}

fn between(low: f64, high: f64, rng: &mut impl Rng) -> f64 {
    let u: f64 = rng.random();
    low * (1.0 - u) + high * u
}

fn log_uniform(low: f64, high: f64, rng: &mut impl Rng) -> f64 {
    between(low.ln(), high.ln(), rng).exp()
}

/// To 3 significant digits.
fn rounded(x: f64) -> f64 {
    format!("{x:.2e}").parse().unwrap_or(x)
}

fn check_choices(key: &str, choices: &[Value]) -> Result<(), String> {
    if choices.is_empty() {
        return Err(format!("`{key}` is an empty list, expected a value or more"));
    }
    match choices.iter().enumerate().find(|&(i, value)| choices[..i].iter().any(|earlier| same(earlier, value))) {
        None => Ok(()),
        Some((_, value)) => Err(format!("`{key}` has {} twice, expected values that differ", to_text(value))),
    }
}

fn is_range(table: &toml::Table) -> bool {
    ["low", "high", "log"].iter().any(|&key| table.contains_key(key))
}

fn number(key: &str, bound: toml::Value) -> Result<f64, String> {
    match bound {
        toml::Value::Integer(bound) => Ok(bound as f64),
        toml::Value::Float(bound) => Ok(bound),
        other => Err(format!("`{key}` has the bound {other}, expected a number")),
    }
}

/// The dotted key of the first values in nested tables.
fn first_leaf(key: &str, value: &toml::Value) -> String {
    match value.as_table().filter(|table| !is_range(table)).and_then(|table| table.iter().next()) {
        Some((part, inner)) => first_leaf(&format!("{key}.{part}"), inner),
        None => key.into(),
    }
}

/// The same value as settings hold it, or what stands there instead.
fn json(value: toml::Value) -> Result<Value, String> {
    match value {
        toml::Value::String(text) => Ok(text.into()),
        toml::Value::Integer(integer) => Ok(integer.into()),
        toml::Value::Float(real) if real.is_finite() => Ok(real.into()),
        toml::Value::Float(real) => Err(format!("{real} in its list, expected finite numbers")),
        toml::Value::Boolean(holds) => Ok(holds.into()),
        toml::Value::Datetime(time) => Err(format!("{time} in its list, but no setting is a time")),
        toml::Value::Array(list) => list.into_iter().map(json).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| Ok((key, json(value)?))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use serde_json::json;

    use super::*;

    fn refused(value: &str, method: Method) -> String {
        let table: toml::Table = toml::from_str(&format!("x = {value}")).unwrap();
        let read = Values::read("model.x", table["x"].clone());
        read.and_then(|values| values.check("model.x", method)).expect_err(value)
    }

    fn draws(values: &Values, count: usize) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        (0..count).map(|_| values.draw(&mut rng).as_f64().unwrap()).collect()
    }

    fn share(draws: &[f64], holds: impl Fn(f64) -> bool) -> f64 {
        draws.iter().filter(|&&x| holds(x)).count() as f64 / draws.len() as f64
    }

    #[test]
    fn a_refusal_says_the_key_what_stands_there_and_what_was_expected() {
        for (value, expected) in [
            ("3", "`model.x` is 3, expected a list of values or { low, high, log }"),
            ("{}", "`model.x` is {}, expected a list of values or { low, high, log }"),
            ("[]", "`model.x` is an empty list, expected a value or more"),
            ("[1, 2, 1.0]", "`model.x` has 1 twice, expected values that differ"),
            ("[[1], [1]]", "`model.x` has [1] twice, expected values that differ"),
            ("[0.5, inf]", "`model.x` has inf in its list, expected finite numbers"),
            ("[2020-01-01]", "`model.x` has 2020-01-01 in its list, but no setting is a time"),
            ("{ low = 2, high = 2 }", "`model.x` is 2 to 2, expected a low below high"),
            ("{ low = 0.5, high = 0.1 }", "`model.x` is 0.5 to 0.1, expected a low below high"),
            ("{ low = nan, high = 1 }", "`model.x` is NaN to 1, expected finite numbers"),
            ("{ low = 1.0, high = inf }", "`model.x` is 1 to inf, expected finite numbers"),
            ("{ low = 0, high = 4, log = true }", "`model.x` is 0 to 4, expected a low above 0, as a logarithm needs"),
            ("{ low = 'a', high = 1 }", "`model.x` has the bound \"a\", expected a number"),
        ] {
            assert_eq!(refused(value, Method::Random), expected);
        }
        for (value, part) in [("{ low = 1 }", "missing field `high`"), ("{ low = 1, high = 2, step = 1 }", "`step`")] {
            let message = refused(value, Method::Random);
            assert!(message.starts_with("`model.x`: ") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_grid_refuses_reals_and_logarithms_but_has_all_integers_of_a_range() {
        let reals = "`model.x` is 0.1 to 1, expected a list: a grid has no points in a range of reals";
        assert_eq!(refused("{ low = 0.1, high = 1 }", Method::Grid), reals);
        let log = "`model.x` is 1 to 8, expected no `log`: a grid has all integers of a range";
        assert_eq!(refused("{ low = 1, high = 8, log = true }", Method::Grid), log);
        let integers = Values::Integers { low: -1, high: 1, log: false };
        integers.check("model.x", Method::Grid).unwrap();
        assert_eq!((0..3).filter_map(|i| integers.nth(i)).collect::<Vec<_>>(), [json!(-1), json!(0), json!(1)]);
        assert_eq!(Values::Integers { low: i64::MIN, high: i64::MAX, log: false }.count(), Some(u64::MAX));
    }

    #[test]
    fn every_decade_of_a_log_range_is_as_likely_and_reals_have_three_digits_within_their_bounds() {
        let log = draws(&Values::Reals { low: 1.234567e-4, high: 1.0, log: true }, 20_000);
        assert!(log.iter().all(|&x| (1.234567e-4..=1.0).contains(&x) && (x == rounded(x) || x == 1.234567e-4)));
        let decades = 1.234567e-4f64.log10().abs();
        for (low, high) in [(1e-3, 1e-2), (1e-2, 1e-1), (1e-1, 1.0)] {
            assert!((share(&log, |x| x >= low && x < high) - 1.0 / decades).abs() < 0.02);
        }
        let linear = draws(&Values::Reals { low: -1.0, high: 3.0, log: false }, 20_000);
        assert!(linear.iter().all(|x| (-1.0..=3.0).contains(x)));
        assert!((share(&linear, |x| x < 0.0) - 0.25).abs() < 0.02);
        assert_eq!([rounded(0.00123456), rounded(-98.76), rounded(0.0)], [0.00123, -98.8, 0.0]);
    }

    #[test]
    fn integers_are_drawn_from_both_bounds_on_and_small_ones_more_often_on_a_log_scale() {
        let linear = draws(&Values::Integers { low: 1, high: 4, log: false }, 20_000);
        assert!([1.0, 2.0, 3.0, 4.0].iter().all(|&x| (share(&linear, |y| y == x) - 0.25).abs() < 0.02));
        let log = draws(&Values::Integers { low: 1, high: 4, log: true }, 20_000);
        for x in [1.0f64, 2.0, 3.0, 4.0] {
            let expected = ((x + 0.5) / (x - 0.5)).ln() / (4.5f64 / 0.5).ln();
            assert!((share(&log, |y| y == x) - expected).abs() < 0.02);
        }
    }
}
