//! Models that are known by name: those of this crate, and those of this crate beside one of an application's own.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::{AnyModel, Model, ModelConfig, ModelName, ModelSpec, NetworkSize};
use crate::embedding::Pooled;
use crate::error::{Error, Result};
use crate::schema::Schema;

/// The sizes of a model where nobody names any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Trains in seconds: embeddings of 8, experts and bottoms of `[64, 32]`, gates and towers of `[32]`, one expert per task and one
    /// shared one, or three in all.
    #[default]
    Small,
    /// The STEM paper's, a hundred times as much to compute: what `Default` of each configuration gives.
    Paper,
}

/// Configurations that are chosen by the name of a model: what an experiment, a comparison and a search go by.
///
/// [`ModelConfig`] is the family of this crate's models; [`Extended`] adds one of an application's own to them.
pub trait ModelFamily: ModelSpec {
    /// Names of all models, in the order that reports and messages list them.
    fn names() -> Vec<&'static str>;

    /// The configuration of a model with the sizes of a preset.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], with the name most like it and all names.
    fn of_preset(name: &str, preset: Preset) -> Result<Self>;

    /// Reads the section of a model; keys that are not there have the defaults of serde.
    ///
    /// # Errors
    /// The format's own, naming an unknown model, an unknown key or a value of the wrong type.
    fn deserialize_section<'de, D: Deserializer<'de>>(name: &str, section: D) -> Result<Self, D::Error>;

    /// The name as the family spells it.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], with the name most like it and all names.
    fn find(name: &str) -> Result<&'static str> {
        let names = Self::names();
        names.iter().copied().find(|candidate| *candidate == name).ok_or_else(|| unknown_model(name, &names))
    }
}

/// The error for a name that is none of `names`.
pub(super) fn unknown_model(name: &str, names: &[&'static str]) -> Error {
    let similarity = |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), candidate);
    let nearest = names.iter().copied().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let nearest = nearest.filter(|candidate| similarity(candidate) > ModelName::LIKE);
    Error::UnknownModel { name: name.into(), nearest, known: names.join(", ") }
}

impl AsRef<str> for ModelName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl ModelFamily for ModelConfig {
    fn names() -> Vec<&'static str> {
        ModelName::ALL.iter().map(|model| model.as_str()).collect()
    }

    fn of_preset(name: &str, preset: Preset) -> Result<Self> {
        let model: ModelName = name.parse()?;
        let small = [
            ("dim", json!(8)),
            ("specific_experts", json!(1)),
            ("shared_experts", json!(1)),
            ("expert_count", json!(3)),
            ("experts", json!([64, 32])),
            ("bottom", json!([64, 32])),
            ("gate", json!([32])),
            ("tower", json!([32])),
        ];
        Ok(match preset {
            Preset::Paper => model.default_config(),
            Preset::Small => model.config_with(small).expect("every size is of its key's type"),
        })
    }

    fn deserialize_section<'de, D: Deserializer<'de>>(name: &str, section: D) -> Result<Self, D::Error> {
        name.parse::<ModelName>().map_err(D::Error::custom)?.deserialize_config(section)
    }
}

/// A model of this crate, or one of an application's own: `Extended<C>` is a family of them all, in which `C` goes by its
/// [`name`](ModelSpec::name) and has the sizes of its `Default` whatever the preset. It takes the place of a model of this crate
/// that has the same name.
///
/// It is written with the name beside its keys, as [`ModelConfig`] is; read without a name it is `C`.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant)] // one a program
pub enum Extended<C> {
    /// A model of this crate.
    BuiltIn(ModelConfig),
    /// The application's own.
    Own(C),
}

/// What [`Extended`] builds.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)] // one a program
pub enum ExtendedModel<M: Module + ModuleDisplay> {
    /// A model of this crate.
    BuiltIn(AnyModel),
    /// The application's own.
    Own(M),
}

impl<M: Model> Model for ExtendedModel<M> {
    ask_model!(BuiltIn, Own);
}

impl<C: ModelSpec> ModelSpec for Extended<C>
where
    C: Default,
{
    type Model = ExtendedModel<C::Model>;

    ask_config!(ExtendedModel: BuiltIn, Own);
}

impl<C: ModelSpec + Default> ModelFamily for Extended<C> {
    fn names() -> Vec<&'static str> {
        let own = C::default().name();
        let mut names = ModelConfig::names();
        names.retain(|name| *name != own);
        names.push(own);
        names
    }

    fn of_preset(name: &str, preset: Preset) -> Result<Self> {
        let own = C::default();
        if name == own.name() {
            return Ok(Self::Own(own));
        }
        Self::find(name)?; // so that a message lists the own model too
        ModelConfig::of_preset(name, preset).map(Self::BuiltIn)
    }

    fn deserialize_section<'de, D: Deserializer<'de>>(name: &str, section: D) -> Result<Self, D::Error> {
        if name == C::default().name() {
            return C::deserialize(section).map(Self::Own);
        }
        Self::find(name).map_err(D::Error::custom)?;
        ModelConfig::deserialize_section(name, section).map(Self::BuiltIn)
    }
}

impl<C: ModelSpec> Serialize for Extended<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Named<'a, C> {
            name: &'static str,
            #[serde(flatten)]
            config: &'a C,
        }
        match self {
            Self::BuiltIn(config) => config.serialize(serializer),
            Self::Own(config) => Named { name: config.name(), config }.serialize(serializer),
        }
    }
}

impl<'de, C: ModelSpec + Default> Deserialize<'de> for Extended<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let name = value.get("name").and_then(Value::as_str);
        if name.is_some_and(|name| name != C::default().name()) {
            return serde_json::from_value(value).map(Self::BuiltIn).map_err(D::Error::custom);
        }
        if let Some(keys) = value.as_object_mut() {
            keys.remove("name");
        }
        serde_json::from_value(value).map(Self::Own).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_presets_name_every_model_and_small_is_small() {
        for name in ModelConfig::names() {
            let of = |preset| serde_json::to_value(ModelConfig::of_preset(name, preset).unwrap()).unwrap();
            let (small, paper) = (of(Preset::Small), of(Preset::Paper));
            assert_eq!((&small["name"], &small["dim"], &paper["dim"]), (&json!(name), &json!(8), &json!(16)));
            for (key, expected) in [
                ("specific_experts", json!(1)),
                ("shared_experts", json!(1)),
                ("expert_count", json!(3)),
                ("experts", json!([64, 32])),
                ("bottom", json!([64, 32])),
                ("gate", json!([32])),
                ("tower", json!([32])),
            ] {
                assert!(small.get(key).is_none_or(|found| *found == expected), "{name} {key}: {small}");
            }
        }
        let message = ModelConfig::of_preset("stm", Preset::Small).unwrap_err().to_string();
        assert!(message.starts_with("unknown model 'stm', did you mean 'stem'? Known are: stem, "), "{message}");
    }
}
