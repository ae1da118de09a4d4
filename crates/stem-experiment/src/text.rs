//! Settings as people read them.

use serde_json::Value;

/// A value for people.
pub(crate) fn to_text(value: &Value) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(x) if number.is_f64() => real_to_text(x),
            _ => number.to_string(),
        },
        Value::Array(values) => format!("[{}]", list(values.iter().map(to_text).collect())),
        Value::Object(map) => {
            format!("{{ {} }}", list(map.iter().map(|(key, value)| format!("{key} = {}", to_text(value))).collect()))
        }
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

/// With as few digits as tell it from all others; below 0.001 and from a million on with an exponent.
fn real_to_text(x: f64) -> String {
    let short = x as f32; // some settings are kept as such
    if f64::from(short) == x && x.to_string().len() > short.to_string().len() {
        return if short.abs() < 1e-3 { format!("{short:e}") } else { format!("{short}") };
    }
    if x == 0.0 || (1e-3..1e6).contains(&x.abs()) { format!("{x}") } else { format!("{x:e}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_short_numbers_and_strings_without_quotes() {
        for (value, expected) in [
            (json!(0.00123), "0.00123"),
            (json!(1e-6), "1e-6"),
            (json!(1e-4f32), "1e-4"),
            (json!(1.25e-4), "1.25e-4"),
            (json!(0.9999), "0.9999"),
            (json!(0.0), "0"),
            (json!(-0.25f32), "-0.25"),
            (json!(0.1f32), "0.1"),
            (json!(0.001f32), "0.001"),
            (json!(1e6), "1e6"),
            (json!(null), "null"),
            (json!(2e7), "2e7"),
            (json!(4096), "4096"),
            (json!("row-sparse"), "row-sparse"),
            (json!(false), "false"),
            (json!([128, 64]), "[128, 64]"),
            (json!({ "name": "sgd", "momentum": 0.9 }), "{ momentum = 0.9, name = sgd }"),
        ] {
            assert_eq!(to_text(&value), expected);
        }
    }
}
