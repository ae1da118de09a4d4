//! From a raw value to the one that a vocabulary or a number takes: steps that preparation and serving run alike, because they
//! are one function.

mod key;
mod number;
mod time;

pub use key::{KeyKind, hash_bucket};
pub(crate) use number::number_of;
pub use time::{TimePart, TimeUnit};

use serde::{Deserialize, Serialize};

use crate::value::Value;

/// One step. A null stays null through every one of them.
///
/// ```
/// use stem_core::{Transform, Value};
///
/// let steps = [Transform::Trim, Transform::Lower];
/// assert_eq!(Transform::all(&steps, " Paris ".into()), Ok("paris".into()));
/// let steps = [Transform::Clip { least: Some(0.0), most: None }, Transform::Bucketize { edges: vec![18.0, 65.0] }];
/// assert_eq!(Transform::all(&steps, Value::Float(18.0)), Ok(1.into()));
/// assert_eq!(Transform::all(&steps, "x".into()), Err("a finite number"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Transform {
    /// A list of one value a column becomes one text: the keys of all columns, U+001F between them; null where one of them is.
    Cross {
        /// How the keys of each column are written.
        keys: Vec<KeyKind>,
    },
    /// A part of a time, an integer. A time is a text as ISO 8601 writes it, or a number of units since 1970 in UTC.
    Time {
        /// Which part.
        part: TimePart,
        /// What a number counts; without it numbers are refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<TimeUnit>,
        /// Minutes that local time is ahead of UTC.
        #[serde(default)]
        utc_offset: i32,
    },
    /// A list of a time and the row's time becomes how long before the row's it was, both numbers of one unit: the row's less the other, in a
    /// sequence that reads a column of times and one of the row's time. Null where the first is.
    Ago,
    /// White space before and after a text is cut off.
    Trim,
    /// A text in lower case, as Unicode has it.
    Lower,
    /// A number below `least` becomes that, one above `most` that.
    Clip {
        /// The least number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        least: Option<f64>,
        /// The largest number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        most: Option<f64>,
    },
    /// `ln(1 + x)` of a number `x > -1`.
    Log1p,
    /// How many of the edges, which ascend, are at most the number: 0 below the first edge, their count from the last one on.
    Bucketize {
        /// `B - 1` edges of `B` buckets.
        edges: Vec<f64>,
    },
}

impl Transform {
    /// The value after this step.
    ///
    /// # Errors
    /// What was expected, where the value is something else.
    pub fn apply(&self, value: Value) -> Result<Value, &'static str> {
        match (self, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Self::Cross { keys }, value) => key::crossed(keys, &value),
            (Self::Time { part, unit, utc_offset }, value) => time::part_of(&value, *part, *unit, *utc_offset),
            (Self::Ago, value) => number::ago(&value),
            (Self::Trim, Value::Text(text)) => Ok(Value::Text(text.trim().to_string())),
            (Self::Lower, Value::Text(text)) => Ok(Value::Text(text.to_lowercase())),
            (Self::Trim | Self::Lower, value) => Ok(value),
            (Self::Clip { least, most }, value) => number::clip(&value, *least, *most).map(Value::Float),
            (Self::Log1p, value) => number::log1p(&value).map(Value::Float),
            (Self::Bucketize { edges }, value) => number::bucket(&value, edges).map(Value::Integer),
        }
    }

    /// The value after all steps, one after another. A text of which nothing is left is null.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn all(steps: &[Self], value: Value) -> Result<Value, &'static str> {
        let value = steps.iter().try_fold(value, |value, step| step.apply(value))?;
        Ok(match value {
            Value::Text(text) if text.is_empty() => Value::Null,
            value => value,
        })
    }

    /// What is wrong with its settings, if something is.
    pub(crate) fn fault(&self) -> Option<String> {
        match self {
            Self::Cross { keys } if keys.len() < 2 => {
                Some(format!("crosses {} columns, at least 2 are needed", keys.len()))
            }
            Self::Clip { least: Some(least), most: Some(most) } if least > most => {
                Some(format!("is clipped to at least {least} and at most {most}"))
            }
            Self::Clip { least, most } if least.iter().chain(most).any(|bound| !bound.is_finite()) => {
                Some("is clipped to bounds that are not finite".into())
            }
            Self::Bucketize { edges } => number::edges_fault(edges),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_stays_null_and_so_does_a_text_of_which_nothing_is_left() {
        let steps = [
            Transform::Trim,
            Transform::Lower,
            Transform::Log1p,
            Transform::Bucketize { edges: vec![1.0] },
            Transform::Time { part: TimePart::Hour, unit: None, utc_offset: 0 },
        ];
        for step in steps {
            assert_eq!(step.apply(Value::Null), Ok(Value::Null), "{step:?}");
        }
        assert_eq!(Transform::all(&[Transform::Trim], " \t".into()), Ok(Value::Null));
    }

    #[test]
    fn a_step_is_plain_in_json_and_comes_back() {
        let steps = vec![
            Transform::Clip { least: Some(0.1), most: None },
            Transform::Bucketize { edges: vec![0.1, 1.0 / 3.0] },
            Transform::Time { part: TimePart::Weekday, unit: Some(TimeUnit::Milliseconds), utc_offset: 330 },
            Transform::Cross { keys: vec![KeyKind::Integers, KeyKind::Texts] },
        ];
        let json = serde_json::to_string(&steps).unwrap();
        assert!(json.starts_with(r#"[{"step":"clip","least":0.1},{"step":"bucketize","edges":[0.1,"#), "{json}");
        assert_eq!(serde_json::from_str::<Vec<Transform>>(&json).unwrap(), steps);
    }

    #[test]
    fn settings_that_mean_nothing_are_named() {
        let cross = |columns: usize| Transform::Cross { keys: vec![KeyKind::Texts; columns] };
        let clip = |least, most| Transform::Clip { least, most };
        let sound = [
            cross(2),
            cross(3),
            clip(Some(0.0), Some(0.0)),
            clip(None, Some(2.0)),
            clip(Some(-1.0), None),
            Transform::Trim,
        ];
        for step in sound {
            assert_eq!(step.fault(), None, "{step:?}");
        }
        let faults = [
            (cross(1), "crosses 1 columns, at least 2 are needed"),
            (clip(Some(2.0), Some(1.0)), "is clipped to at least 2 and at most 1"),
            (clip(Some(f64::NEG_INFINITY), None), "is clipped to bounds that are not finite"),
            (clip(Some(0.0), Some(f64::NAN)), "is clipped to bounds that are not finite"),
        ];
        for (step, fault) in faults {
            assert_eq!(step.fault().as_deref(), Some(fault));
        }
        assert!(Transform::Bucketize { edges: vec![2.0, 1.0] }.fault().is_some());
        assert_eq!(Transform::Bucketize { edges: vec![1.0, 2.0] }.fault(), None);
    }
}
