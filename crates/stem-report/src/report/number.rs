//! Numbers as a reader wants them, and how wide text is.

use super::data::{Interval, Spread};

/// What is shown where there is no number.
pub(super) const DASH: &str = "\u{2013}";

/// What is finite.
pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Mean of what is finite.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let known: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    if known.is_empty() { None } else { finite(known.iter().sum::<f64>() / known.len() as f64) }
}

/// So many decimals, a proper minus, a dash for what is not finite.
pub(super) fn decimals(value: f64, places: usize) -> String {
    if !value.is_finite() {
        return DASH.into();
    }
    let text = if value.abs() < 1e9 { format!("{value:.places$}") } else { format!("{value:.3e}") };
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| c == '0' || c == '.') => digits.into(),
        Some(digits) => format!("\u{2212}{digits}"),
        None => text,
    }
}

/// Four decimals.
pub(super) fn four(value: f64) -> String {
    decimals(value, 4)
}

/// Four decimals, or a dash.
pub(super) fn maybe(value: Option<f64>) -> String {
    or_dash(value, four)
}

/// Four decimals and always a sign.
pub(super) fn signed(value: f64) -> String {
    let text = four(value);
    if value > 0.0 && value.is_finite() { format!("+{text}") } else { text }
}

/// A count with its thousands set apart: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 row`, `3 rows`.
pub(super) fn things(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// `0.7839 ± 0.0012`; the mean alone where no spread is known.
pub(super) fn spread(value: &Spread) -> String {
    spread_to(value, 4)
}

/// The same with so many decimals.
pub(super) fn spread_to(value: &Spread, places: usize) -> String {
    let mean = decimals(value.mean, places);
    sd(value).map(|sd| format!("{mean} \u{b1} {}", decimals(sd, places))).unwrap_or(mean)
}

/// The standard deviation, where there are values enough for one.
pub(super) fn sd(value: &Spread) -> Option<f64> {
    if value.values.len() < 2 { None } else { finite(value.sd) }
}

/// `+0.0230 (+0.0190 to +0.0270)`.
pub(super) fn interval(value: &Interval) -> String {
    format!("{} ({} to {})", signed(value.mean), signed(value.low), signed(value.high))
}

/// `75 s`, `12 min 3 s`, `1 h 2 min`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return DASH.into();
    }
    if seconds < 10.0 {
        return format!("{} s", decimals(seconds, 1));
    }
    let whole = seconds.round() as u64;
    match whole {
        0..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", count(whole / 3600), whole / 60 % 60),
    }
}

/// Few characters for an axis: `500k`, `1.5M`.
pub(super) fn compact(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v >= 1e12 => return format!("{value:.0e}"),
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = decimals(scaled, 3);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match &names[..] {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The text of a number that there may be, or a dash.
pub(super) fn or_dash<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| DASH.into(), text)
}

/// About how wide text is in a chart, in units of its view box. Wide for a sans-serif font, so that it fits in others.
pub(super) fn width(text: &str) -> f64 {
    let units = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | '\'' | '|' | ':' | ' ' => 3.6,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 10.4,
        'A'..='Z' => 8.2,
        c if c < '\u{1100}' => 6.8,
        _ => 12.5,
    };
    text.chars().map(units).sum()
}

/// Text that is at most so wide, its end cut off if it must be.
pub(super) fn fit(text: &str, most: f64) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        short.push(c);
        if width(&short) > most - width("\u{2026}") {
            short.pop();
            break;
        }
    }
    format!("{}\u{2026}", short.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
        assert_eq!(
            (signed(0.023), signed(-0.0161), signed(0.0)),
            ("+0.0230".into(), "\u{2212}0.0161".into(), "0.0000".into())
        );
        assert_eq!((four(-0.000_01), four(f64::NAN), four(1e300)), ("0.0000".into(), DASH.into(), "1.000e300".into()));
        assert_eq!([0.25, 75.0, 723.0, 3725.0 * 2.0].map(duration), ["0.2 s", "75 s", "12 min 3 s", "2 h 4 min"]);
        assert_eq!([2.5e6, 500e3, 20.0, 0.5, 3e12].map(compact), ["2.5M", "500k", "20", "0.5", "3e12"]);
        assert_eq!(
            (list::<&str>(&[]), list(&["a"]), list(&["a", "b", "c"])),
            (String::new(), "a".into(), "a, b and c".into())
        );
        assert_eq!((things(1, "row", "rows"), things(2000, "row", "rows")), ("1 row".into(), "2,000 rows".into()));
    }

    #[test]
    fn a_spread_of_one_seed_has_no_plus_minus() {
        let mut value = Spread { mean: 0.78, sd: 0.001, values: vec![0.779, 0.781] };
        assert_eq!(spread(&value), "0.7800 \u{b1} 0.0010");
        value.values.pop();
        assert_eq!(spread(&value), "0.7800");
    }

    #[test]
    fn long_text_is_cut_and_marked() {
        assert_eq!(fit("stem", 200.0), "stem");
        let cut = fit("a name that goes on and on and on", 80.0);
        assert!(cut.ends_with('\u{2026}') && width(&cut) <= 80.0, "{cut}");
        assert_eq!(fit("stem", 0.0), "\u{2026}");
    }
}
