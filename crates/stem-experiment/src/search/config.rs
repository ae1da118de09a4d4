//! A search as its TOML says it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::Values;
use stem_core::files;

/// How configurations are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Drawn.
    #[default]
    Random,
    /// Every combination of the values, or as many drawn from them as there are trials.
    Grid,
}

/// What to search and for how long. Keys that are not written have defaults; the space has none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "keys of a search and a section [space]")]
pub struct SearchConfig {
    /// How configurations are chosen.
    pub method: Method,
    /// Configurations per model at most, the experiment's own among them: for all of a grid that it is not in, one more.
    pub trials: usize,
    /// Of the draws.
    pub seed: u64,
    /// Epochs of every configuration in the first rung.
    pub first_epochs: usize,
    /// Of every `keep` configurations one goes on, with `keep` times the epochs.
    pub keep: usize,
    /// Values by key: `train.KEY`, `model.KEY` of every model that has it, `MODEL.KEY` of one. In the order of the keys.
    #[serde(deserialize_with = "read_space")]
    pub space: BTreeMap<String, Values>,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self { method: Method::Random, trials: 9, seed: 1, first_epochs: 2, keep: 3, space: BTreeMap::new() }
    }
}

fn read_space<'de, D: Deserializer<'de>>(space: D) -> Result<BTreeMap<String, Values>, D::Error> {
    let read = |(key, value): (String, toml::Value)| {
        Values::read(&key, value).map(|values| (key, values)).map_err(D::Error::custom)
    };
    BTreeMap::deserialize(space)?.into_iter().map(read).collect()
}

impl SearchConfig {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File), and [`Error::Experiment`](crate::Error::Experiment) with the key.
    pub fn load(path: impl AsRef<Path>) -> crate::error::Result<Self> {
        let path = path.as_ref();
        let fault = |what| crate::Error::Experiment { path: path.to_path_buf(), what };
        Self::parse(&files::read_text(path)?).map_err(fault)
    }

    /// Parses TOML.
    ///
    /// # Errors
    /// Line and key of what does not parse, or the key that no search can use.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_string())?;
        config.check()?;
        Ok(config)
    }

    /// Refuses settings that cannot search.
    ///
    /// # Errors
    /// The key, what stands there and what may.
    pub fn check(&self) -> Result<(), String> {
        for (key, found, least) in
            [("trials", self.trials, 2), ("first_epochs", self.first_epochs, 1), ("keep", self.keep, 2)]
        {
            if found < least {
                return Err(format!("`{key}` is {found}, expected {least} or more"));
            }
        }
        if self.space.is_empty() {
            let example = r#""train.learning_rate" = { low = 1e-4, high = 1e-2, log = true }"#;
            return Err(format!("the search space is empty: say under [space] what to try, as in {example}"));
        }
        for (key, values) in &self.space {
            check_key(key)?;
            values.check(key, self.method)?;
        }
        Ok(())
    }
}

/// Refuses what is no key of an experiment, and what the search itself decides.
fn check_key(key: &str) -> Result<(), String> {
    if !key.contains('.') || key.split('.').any(str::is_empty) {
        return Err(format!("`{key}` is no key to search, expected train.KEY, model.KEY or MODEL.KEY"));
    }
    match key {
        _ if !key.starts_with("train.") && key.ends_with(".name") => {
            Err(format!("`{key}` cannot be searched: models are named on their own, see `models`"))
        }
        "train.seed" => {
            Err("`train.seed` cannot be searched: a seed is luck, and configurations are compared at the same".into())
        }
        "train.monitor" => {
            Err("`train.monitor` cannot be searched: it is what configurations are judged by, the same for all".into())
        }
        "train.epochs" => {
            Err("`train.epochs` cannot be searched: the rungs decide it, see `first_epochs` and `keep`".into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EXAMPLE: &str = r#"
        method = "random"
        trials = 12
        seed = 5
        first_epochs = 1
        keep = 2

        [space]
        "train.learning_rate" = { low = 1e-4, high = 1e-2, log = true }
        "train.embedding_l2" = [0.0, 1e-6]
        "train.optimizer" = [{ name = "adam" }, { name = "sgd", momentum = 0.9 }]
        "model.tower" = [[64], [128, 64]]
        "stem.shared_experts" = { low = 1, high = 4 }
    "#;

    fn refused(text: &str) -> String {
        SearchConfig::parse(text).expect_err(text)
    }

    /// The refusal of a space of one key.
    fn refused_key(entry: &str) -> String {
        refused(&format!("[space]\n{entry}"))
    }

    #[test]
    fn every_kind_of_values_is_read_and_keys_that_are_not_written_have_defaults() {
        let config = SearchConfig::parse(EXAMPLE).unwrap();
        assert_eq!((config.method, config.trials, config.seed), (Method::Random, 12, 5));
        assert_eq!((config.first_epochs, config.keep), (1, 2));
        for (key, expected) in [
            ("train.learning_rate", Values::Reals { low: 1e-4, high: 1e-2, log: true }),
            ("train.embedding_l2", Values::Choices(vec![json!(0.0), json!(1e-6)])),
            (
                "train.optimizer",
                Values::Choices(vec![json!({ "name": "adam" }), json!({ "name": "sgd", "momentum": 0.9 })]),
            ),
            ("model.tower", Values::Choices(vec![json!([64]), json!([128, 64])])),
            ("stem.shared_experts", Values::Integers { low: 1, high: 4, log: false }),
        ] {
            assert_eq!(config.space[key], expected, "{key}");
        }
        let short = SearchConfig::parse("[space]\n\"model.dim\" = [8, 16]").unwrap();
        assert_eq!(SearchConfig { space: BTreeMap::new(), ..short }, SearchConfig::default());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let config = SearchConfig::parse(EXAMPLE).unwrap();
        assert_eq!(SearchConfig::parse(&toml::to_string(&config).unwrap()).unwrap(), config);
    }

    #[test]
    fn an_unknown_key_or_method_is_refused_with_its_line() {
        let unknown = refused("trails = 3");
        assert!(unknown.contains("line 1") && unknown.contains("unknown field `trails`"), "{unknown}");
        assert!(refused("method = \"bayes\"").contains("expected `random` or `grid`"));
    }

    #[test]
    fn nonsense_is_refused_by_key() {
        assert_eq!(refused("trials = 1"), "`trials` is 1, expected 2 or more");
        assert_eq!(refused("first_epochs = 0"), "`first_epochs` is 0, expected 1 or more");
        assert_eq!(refused("keep = 1"), "`keep` is 1, expected 2 or more");
        let empty = refused("");
        assert!(empty.starts_with("the search space is empty: say under [space] what to try"), "{empty}");
        for key in ["dim", "model.", ".dim", "model..dim"] {
            let expected = format!("`{key}` is no key to search, expected train.KEY, model.KEY or MODEL.KEY");
            assert_eq!(refused_key(&format!("\"{key}\" = [1]")), expected);
        }
        assert!(refused_key("\"train.seed\" = [1, 2]").starts_with("`train.seed` cannot be searched: a seed is luck"));
        assert!(
            refused_key("\"train.monitor\" = ['auc']").starts_with("`train.monitor` cannot be searched: it is what")
        );
        assert!(refused_key("\"train.epochs\" = [1]").starts_with("`train.epochs` cannot be searched: the rungs"));
    }

    #[test]
    fn keys_without_quotes_are_told_how_to_be_written() {
        for unquoted in ["[space.model.hidden]\ndropout = [0.1]", "[space]\nmodel.hidden.dropout = [0.1]"] {
            let message = refused(unquoted);
            let expected = "`model` is a table, expected a list of values or { low, high, log }; \
                            write its keys with dots and in quotes: \"model.hidden.dropout\" = ...";
            assert!(message.contains(expected), "{message}");
        }
    }
}
