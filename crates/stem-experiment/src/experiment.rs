//! One TOML per experiment: how to train, and the sizes of every model that may be asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use stem_core::files;
use stem_core::{ModelConfig, ModelName};
use stem_train::TrainConfig;

use crate::error::{Error, Result};

/// An experiment: `[train]` and a section per model. What is not written has the paper's defaults.
///
/// ```
/// use stem_core::{ModelConfig, ModelName};
///
/// let text = "[train]\nlearning_rate = 0.001\n[stem]\nshared_experts = 2\n";
/// let experiment = stem_experiment::Experiment::parse(text, "example.toml")?;
/// let ModelConfig::Stem(stem) = experiment.model(ModelName::Stem) else { unreachable!() };
/// assert_eq!(stem.shared_experts, 2);
/// # Ok::<(), stem_experiment::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Experiment {
    /// How to train.
    pub train: TrainConfig,
    models: BTreeMap<ModelName, ModelConfig>,
}

impl Experiment {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Experiment`], which names line and key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse(&files::read_text(path)?, path)
    }

    /// Parses TOML; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Experiment`], which names line and key, or the key whose value cannot train.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        let fault = |what: String| Error::Experiment { path: path.as_ref().to_path_buf(), what };
        let experiment: Self = toml::from_str(text).map_err(|e| fault(e.to_string().trim_end().into()))?;
        experiment.train.check().map_err(|e| fault(format!("[train]: {e}")))?;
        Ok(experiment)
    }

    /// Whether the experiment says sizes of that model.
    pub fn has(&self, name: ModelName) -> bool {
        self.models.contains_key(&name)
    }

    /// The configuration of one model; its defaults where the experiment has no section for it.
    pub fn model(&self, name: ModelName) -> ModelConfig {
        self.models.get(&name).cloned().unwrap_or_else(|| name.default_config())
    }

    /// The same experiment with another configuration of a model.
    #[must_use]
    pub fn with_model(mut self, config: ModelConfig) -> Self {
        self.models.insert(config.model_name(), config);
        self
    }
}

/// `[train]`, and sections named as models are; each is read by whoever it belongs to.
impl<'de> Deserialize<'de> for Experiment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sections;

        impl<'de> Visitor<'de> for Sections {
            type Value = Experiment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[train] and sections of models")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Experiment, A::Error> {
                let mut experiment = Experiment::default();
                while let Some(section) = map.next_key::<String>()? {
                    if section == "train" {
                        experiment.train = map.next_value()?;
                        continue;
                    }
                    let config = map.next_value_seed(Section(&section))?;
                    experiment.models.insert(config.model_name(), config);
                }
                Ok(experiment)
            }
        }
        deserializer.deserialize_map(Sections)
    }
}

/// The section of a model, or an error at its place.
struct Section<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Section<'_> {
    type Value = ModelConfig;

    fn deserialize<D: Deserializer<'de>>(self, section: D) -> Result<ModelConfig, D::Error> {
        let name = self.0;
        if strsim::jaro_winkler(name, "train") > ModelName::LIKE {
            return Err(D::Error::custom(format!("unknown section [{name}], did you mean [train]?")));
        }
        let model: ModelName =
            name.parse().map_err(|e| D::Error::custom(format!("[{name}] is neither [train] nor a model: {e}")))?;
        model.deserialize_config(section)
    }
}
