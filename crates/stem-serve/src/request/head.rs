//! The settings of a request: which model, what is made of its scores.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::Value as Json;
use stem_core::{Combine, Ranking};

use super::{Fault, KEYS, Skip, nearest, no_fault, read, unexpected};
use crate::refusal::{Refusal, shortened};

/// All of a request but its rows.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Head {
    /// The model that is asked.
    pub(crate) model: Option<String>,
    /// Whether columns that nobody reads are left out.
    pub(crate) ignore_unknown: bool,
    /// What is made of the scores.
    pub(crate) ranking: Ranking,
}

impl Head {
    /// Reads the settings of a body; a ranking's are known `for_ranking` alone.
    pub(crate) fn read(body: &[u8], for_ranking: bool) -> Result<Self, Refusal> {
        let fault = no_fault();
        read(body, HeadSeed { fault: &fault, for_ranking }, &fault)
    }
}

struct HeadSeed<'f> {
    fault: &'f Fault,
    for_ranking: bool,
}

impl<'de> DeserializeSeed<'de> for HeadSeed<'_> {
    type Value = Head;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Head, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeadSeed<'_> {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let mut head = Head::default();
        let mut seen: Vec<&str> = Vec::new();
        let known = if self.for_ranking { KEYS } else { &KEYS[..5] };
        while let Some(key) = map.next_key::<String>()? {
            let Some(place) = known.iter().position(|known| *known == key) else {
                let nearest = nearest(&key, known.iter().copied());
                let key = shortened(key);
                return Err(self.fault.refuse(Refusal::UnknownKey { key, nearest, known: known.join(", ") }));
            };
            if seen.contains(&known[place]) {
                return Err(self.fault.refuse(Refusal::DuplicateKey { key, row: None }));
            }
            seen.push(known[place]);
            match known[place] {
                "model" => head.model = Some(map.next_value()?),
                "ignore_unknown" => head.ignore_unknown = map.next_value()?,
                "top_k" => head.ranking.top_k = Some(self.top_k(map.next_value_seed(Setting)?)?),
                key @ ("weights" | "powers") => {
                    if head.ranking.combine.is_some() {
                        let (key, found, expected) =
                            (key.into(), "there beside the other".into(), "either \"weights\" or \"powers\"".into());
                        return Err(self.fault.refuse(Refusal::Setting { key, found, expected }));
                    }
                    let is_powers = key == "powers";
                    let factors = map.next_value_seed(Factors { fault: self.fault, key, is_powers })?;
                    head.ranking.combine =
                        Some(if is_powers { Combine::Powers(factors) } else { Combine::Weights(factors) });
                }
                _ => map.next_value_seed(Skip)?,
            }
        }
        Ok(head)
    }
}

impl HeadSeed<'_> {
    fn top_k<E: serde::de::Error>(&self, value: Json) -> Result<usize, E> {
        match value.as_u64().and_then(|top_k| usize::try_from(top_k).ok()) {
            Some(top_k) if top_k > 0 => Ok(top_k),
            _ => {
                let (key, expected) = ("top_k".into(), "a whole number of 1 or more".into());
                Err(self.fault.refuse(Refusal::Setting { key, found: shortened(value.to_string()), expected }))
            }
        }
    }
}

/// A plain value, and nothing inside it.
struct Setting;

impl<'de> DeserializeSeed<'de> for Setting {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Setting {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text, true, false or null")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(value.into())
    }
}

/// A number for each of some tasks.
struct Factors<'f> {
    fault: &'f Fault,
    key: &'static str,
    is_powers: bool,
}

impl<'de> DeserializeSeed<'de> for Factors<'_> {
    type Value = Vec<(String, f64)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Factors<'_> {
    type Value = Vec<(String, f64)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of a number by task")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        /// So large that sums and products of them cannot leave the range of numbers.
        const MOST: f64 = 1e6;
        /// More tasks than any model has.
        const MOST_TASKS: usize = 10_000;
        let mut factors: Self::Value = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(task) = map.next_key::<String>()? {
            if !seen.insert(task.clone()) {
                return Err(self.fault.refuse(Refusal::DuplicateKey { key: shortened(task), row: None }));
            }
            let value = map.next_value_seed(Setting)?;
            let least = if self.is_powers { 0.0 } else { -MOST };
            match value.as_f64() {
                Some(factor) if (least..=MOST).contains(&factor) => factors.push((task, factor)),
                _ => {
                    let key = format!("{}.{}", self.key, shortened(task));
                    let (found, expected) = (shortened(value.to_string()), format!("a number from {least} to {MOST}"));
                    return Err(self.fault.refuse(Refusal::Setting { key, found, expected }));
                }
            }
            if factors.len() > MOST_TASKS {
                return Err(unexpected("more tasks than a model has", "some of its tasks"));
            }
        }
        if factors.is_empty() {
            let (key, expected) = (self.key.to_string(), "a number for one task or more".to_string());
            return Err(self.fault.refuse(Refusal::Setting { key, found: "{}".into(), expected }));
        }
        Ok(factors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(body: &str) -> Result<Head, Refusal> {
        Head::read(body.as_bytes(), true)
    }

    #[test]
    fn settings_are_read_past_rows_of_any_form() {
        let read = head(
            r#"{"rows": [{"a": [1, {"b": 2}]}], "model": "new", "ignore_unknown": true, "top_k": 3, "powers": {"like": 0.5}}"#,
        );
        let mut expected = Head { model: Some("new".into()), ignore_unknown: true, ..Head::default() };
        expected.ranking.combine = Some(Combine::Powers(vec![("like".into(), 0.5)]));
        expected.ranking.top_k = Some(3);
        assert_eq!(read.unwrap(), expected);
        assert_eq!(head("{}").unwrap(), Head::default());
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let kind = |body: &str| head(body).unwrap_err().kind();
        assert_eq!(kind(r#"{"rowz": []}"#), "unknown-key");
        assert_eq!(kind(r#"{"rows": [], "rows": []}"#), "duplicate-key");
        assert_eq!(kind(r#"{"weights": {"a": 1, "a": 1}}"#), "duplicate-key");
        assert_eq!(kind(r#"{"weights": {"a": 1}, "powers": {"a": 1}}"#), "setting");
        for (body, key) in [
            (r#"{"top_k": 0}"#, "top_k"),
            (r#"{"top_k": -1}"#, "top_k"),
            (r#"{"top_k": 1.5}"#, "top_k"),
            (r#"{"top_k": "all"}"#, "top_k"),
            (r#"{"weights": {"a": "x"}}"#, "weights.a"),
            (r#"{"weights": {}}"#, "weights"),
            (r#"{"weights": {"a": 1e300}}"#, "weights.a"),
            (r#"{"powers": {"a": -1}}"#, "powers.a"),
        ] {
            match head(body) {
                Err(Refusal::Setting { key: named, .. }) => assert_eq!(named, key),
                other => panic!("{body}: {other:?}"),
            }
        }
        for body in ["", "[]", "{", "{}}", r#"{"model": 7}"#, r#"{"top_k": []}"#, "\u{0}", r#"{"rows": [NaN]}"#] {
            assert_eq!(kind(body), "body", "{body}");
        }
        assert!(head(r#"{"rows": [{"age": NaN}]}"#).unwrap_err().to_string().contains("JSON has no NaN"));
        let told = Head::read(br#"{"top_k": 3}"#, false).unwrap_err().to_string();
        assert!(told.contains("no key 'top_k'"), "{told}");
    }
}
