//! What a column of text holds, by its values.
//!
//! A column is of integers or floats only where nothing is lost by reading it so: `007` and `7` are two ids, and a text.

/// What a column of text can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inferred {
    /// No value was seen.
    Nothing,
    /// `true` and `false`, in any case of letters.
    Boolean,
    /// 64-bit integers.
    Integer,
    /// Numbers.
    Float,
    /// Anything else.
    Text,
}

/// What every value so far can be read as.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    boolean: bool,
    integer: bool,
    float: bool,
    anything: bool,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { boolean: true, integer: true, float: true, anything: false }
    }
}

impl Evidence {
    /// Sees a value that is not null.
    pub(crate) fn see(&mut self, value: &str) {
        self.anything = true;
        self.boolean = self.boolean && (value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"));
        self.float = self.float && is_number(value);
        self.integer = self.integer && self.float && is_integer(value);
    }

    /// Whether another value may change what the column is.
    pub(crate) fn is_open(&self) -> bool {
        !self.anything || self.boolean || self.float
    }

    /// What the values seen so far are.
    pub(crate) fn inferred(&self) -> Inferred {
        match self {
            Self { anything: false, .. } => Inferred::Nothing,
            Self { boolean: true, .. } => Inferred::Boolean,
            Self { integer: true, .. } => Inferred::Integer,
            Self { float: true, .. } => Inferred::Float,
            _ => Inferred::Text,
        }
    }
}

/// Whether this is how a 64-bit integer is written, and it can be written no other way.
pub(crate) fn is_integer(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value).as_bytes();
    let plain = match digits {
        [] | [b'0', _, ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    plain && value != "-0" && (digits.len() < 19 || value.parse::<i64>().is_ok())
}

/// Whether this is how a float is written that is a whole number or has a fraction: no exponent, no zeros in front.
pub(crate) fn is_plain_float(value: &str) -> bool {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    is_integer(whole) && fraction.bytes().all(|b| b.is_ascii_digit())
}

/// Whether the reader of text tables takes this for a finite number, and nothing is lost by it.
pub(crate) fn is_number(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let plain = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    let mut bytes = digits.bytes();
    let (first, second) = (bytes.next(), bytes.next());
    let zeros_lost = first == Some(b'0') && second.is_some_and(|b| b.is_ascii_digit());
    plain
        && first.is_some_and(|b| b.is_ascii_digit() || b == b'.')
        && !zeros_lost
        && digits.parse::<f64>().is_ok_and(f64::is_finite)
        && (is_integer(value) || value.contains(['.', 'e', 'E']) || value == "-0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_as_a_number_without_loss_is_one() {
        for number in ["0", "-3", "12.5", "0.5", "-0.25", "1e3", ".5", "2.", "-0"] {
            assert!(is_number(number), "{number}");
        }
        for text in ["007", "-01", "NaN", "inf", "1-2", "+5", " 5", "12345678901234567890", "", "-", "e5", "1_000"] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn an_integer_is_written_in_one_way() {
        for integer in ["0", "7", "-7", "9223372036854775807", "-9223372036854775808"] {
            assert!(is_integer(integer), "{integer}");
        }
        for text in ["", "-", "007", "-0", "+5", "7.0", "9223372036854775808", "1e3", " 7"] {
            assert!(!is_integer(text), "{text}");
        }
    }
}
