//! Steps on numbers.

use crate::value::Value;
use crate::value_ref::ValueRef;
use crate::vocabulary::integer_key;

const EXPECTED: &str = "a finite number";

/// The number that a value is, or that a text holds; true and false are 1 and 0.
pub(crate) fn number_of<'v>(value: impl Into<ValueRef<'v>>) -> Result<f64, &'static str> {
    let number = match value.into() {
        ValueRef::Integer(v) => Some(v as f64),
        ValueRef::Unsigned(v) => Some(v as f64),
        ValueRef::Float(v) => Some(v),
        ValueRef::Text(v) => v.trim().parse().ok().or_else(|| integer_key(v).map(|v| v as f64)),
        ValueRef::Null | ValueRef::List(_) => None,
    };
    number.filter(|v| v.is_finite()).ok_or(EXPECTED)
}

pub(super) fn clip(value: &Value, least: Option<f64>, most: Option<f64>) -> Result<f64, &'static str> {
    let x = number_of(value)?;
    Ok(x.max(least.unwrap_or(f64::NEG_INFINITY)).min(most.unwrap_or(f64::INFINITY)))
}

pub(super) fn ago(value: &Value) -> Result<Value, &'static str> {
    match value {
        Value::List(both) => match &both[..] {
            [Value::Null, _] => Ok(Value::Null),
            [then, now] => Ok(Value::Float(number_of(now)? - number_of(then)?)),
            _ => Err("a time and the row's time"),
        },
        _ => Err("a time and the row's time"),
    }
}

pub(super) fn log1p(value: &Value) -> Result<f64, &'static str> {
    let x = number_of(value)?;
    if x > -1.0 { Ok(x.ln_1p()) } else { Err("a number above -1, for ln(1 + x)") }
}

pub(super) fn bucket(value: &Value, edges: &[f64]) -> Result<i64, &'static str> {
    let x = number_of(value)?;
    Ok(edges.partition_point(|&edge| edge <= x) as i64)
}

pub(super) fn edges_fault(edges: &[f64]) -> Option<String> {
    match edges.windows(2).find(|pair| pair[0] >= pair[1]) {
        _ if edges.is_empty() => Some("is cut into buckets without an edge".into()),
        _ if edges.iter().any(|edge| !edge.is_finite()) => Some("has an edge of buckets that is not finite".into()),
        Some(pair) => Some(format!("has edges of buckets that do not ascend: {}, {}", pair[0], pair[1])),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_begins_with_its_edge() {
        let bucket = |x: f64| bucket(&x.into(), &[0.0, 0.1, 5.0]).unwrap();
        assert_eq!([-1.0, 0.0, 0.05, 0.1, 4.9, 5.0, 1e300].map(bucket), [0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn numbers_are_clipped_on_the_sides_that_are_named() {
        let clip = |x: f64, least, most| clip(&x.into(), least, most).unwrap();
        assert_eq!([-2.0, 0.5, 9.0].map(|x| clip(x, Some(0.0), Some(1.0))), [0.0, 0.5, 1.0]);
        assert_eq!([-2.0, 9.0].map(|x| clip(x, None, Some(1.0))), [-2.0, 1.0]);
        assert_eq!([-2.0, 9.0].map(|x| clip(x, Some(0.0), None)), [0.0, 9.0]);
    }

    #[test]
    fn text_that_holds_a_number_is_one_and_what_is_none_is_refused() {
        assert_eq!(number_of(" 2.5 "), Ok(2.5));
        assert_eq!(number_of("true"), Ok(1.0));
        for none in [Value::from("x"), f64::NAN.into(), "inf".into(), vec![1].into()] {
            assert_eq!(number_of(&none), Err(EXPECTED), "{none}");
        }
        assert_eq!(log1p(&1.0.into()), Ok(2f64.ln()));
        assert!(log1p(&Value::Float(-1.0)).is_err());
    }

    #[test]
    fn edges_ascend() {
        assert_eq!(edges_fault(&[1.0, 2.0]), None);
        for wrong in [&[][..], &[1.0, 1.0], &[2.0, 1.0], &[f64::NAN], &[f64::INFINITY]] {
            assert!(edges_fault(wrong).is_some(), "{wrong:?}");
        }
    }
}
