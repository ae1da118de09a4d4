//! One TOML per experiment: how to train, and the sizes of every model that may be asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use stem_core::ModelConfig;
use stem_core::files;
use stem_core::models::{ModelFamily, Preset};
use stem_train::TrainConfig;

use crate::error::{Error, Result};

/// An experiment: how models are trained, and their sizes. `C` is the family of models that it may speak of: those of `stem-core`,
/// or [`Extended`](stem_core::models::Extended) by one of an application's own.
///
/// | in the file | |
/// |---|---|
/// | `preset = "small"` or `"paper"` | the sizes that no section names; small where it is not written |
/// | `[train]` | [`TrainConfig`] |
/// | `[MODEL]` | sizes of a model; a key that is not there has the preset's |
///
/// ```
/// use stem_core::ModelConfig;
///
/// let text = "[train]\nlearning_rate = 0.001\n[stem]\nshared_experts = 2\n";
/// let experiment = stem_experiment::Experiment::parse(text, "example.toml")?;
/// let ModelConfig::Stem(stem) = experiment.model("stem")? else { unreachable!() };
/// assert_eq!((stem.shared_experts, stem.experts.as_slice()), (2, &[64, 32][..]));
/// # Ok::<(), stem_experiment::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment<C = ModelConfig> {
    /// How to train.
    pub train: TrainConfig,
    /// The sizes of models and keys that are not named.
    pub preset: Preset,
    models: BTreeMap<String, C>,
    /// The file that it stands in.
    path: Option<PathBuf>,
}

impl<C> Default for Experiment<C> {
    fn default() -> Self {
        Self { train: TrainConfig::default(), preset: Preset::default(), models: BTreeMap::new(), path: None }
    }
}

impl Experiment {
    /// Reads a TOML file about the models of `stem-core`.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Experiment`], which names line and key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_family(path)
    }

    /// Parses TOML about the models of `stem-core`; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Experiment`], which names line and key, or the key whose value cannot train.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        Self::parse_family(text, path)
    }
}

impl<C: ModelFamily> Experiment<C> {
    /// Reads a TOML file about the models of the family `C`.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Experiment`], which names line and key.
    pub fn load_family(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::parse_family(&files::read_text(path)?, path)
    }

    /// Parses TOML about the models of the family `C`; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Experiment`], which names line and key, or the key whose value cannot train.
    pub fn parse_family(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        let fault = |what: String| Error::Experiment { path: path.as_ref().to_path_buf(), what };
        let of_toml = |error: toml::de::Error| fault(error.to_string().trim_end().into());
        let Sections { train, preset, models, .. } = toml::from_str::<Sections<C>>(text).map_err(of_toml)?;
        train.check().map_err(|e| fault(format!("[train]: {e}")))?;
        let table: toml::Table = toml::from_str(text).map_err(of_toml)?;
        let path = Some(path.as_ref().to_path_buf());
        let mut experiment = Self { train, preset, models: BTreeMap::new(), path };
        for name in models {
            let section = table.get(name).and_then(toml::Value::as_table).into_iter().flatten();
            let config = over_preset(name, preset, section).map_err(|e| fault(format!("[{name}]: {e}")))?;
            experiment.models.insert(name.into(), config);
        }
        Ok(experiment)
    }

    /// The sizes of models that no section names, in words.
    pub(crate) fn preset_sizes(&self) -> &'static str {
        match self.preset {
            Preset::Small => "small sizes",
            Preset::Paper => "the STEM paper's sizes",
        }
    }

    /// Says that no section names the sizes of a model, if so.
    pub(crate) fn log_preset(&self, model: &str) {
        if !self.has(model) {
            tracing::info!("the experiment has no section [{model}]: it has {}", self.preset_sizes());
        }
    }

    /// Whether the experiment has a section for that model.
    pub fn has(&self, name: impl AsRef<str>) -> bool {
        self.models.contains_key(name.as_ref())
    }

    /// The configuration of one model; the preset's where the experiment has no section for it.
    ///
    /// # Errors
    /// [`UnknownModel`](stem_core::Error::UnknownModel), with the name most like it and all names.
    pub fn model(&self, name: impl AsRef<str>) -> Result<C> {
        let name = name.as_ref();
        match self.models.get(name) {
            Some(config) => Ok(config.clone()),
            None => Ok(C::of_preset(name, self.preset)?),
        }
    }

    /// The same experiment with another configuration of a model, which is no longer that of a file.
    #[must_use]
    pub fn with_model(mut self, config: C) -> Self {
        self.models.insert(config.name().into(), config);
        self.path = None;
        self
    }

    /// The error with the file that the setting stands in.
    pub(crate) fn in_file(&self, error: Error) -> Error {
        use stem_core::Error::{Config, Unfit, UnknownLabel};
        let of_setting = matches!(
            &error,
            Error::Core(Config { .. } | Unfit { .. } | UnknownLabel { .. })
                | Error::Train(stem_train::Error::Config { .. })
                | Error::Train(stem_train::Error::Core(Config { .. } | Unfit { .. } | UnknownLabel { .. }))
        );
        match &self.path {
            Some(path) if of_setting => Error::Experiment { path: path.clone(), what: error.to_string() },
            _ => error,
        }
    }
}

/// The preset's configuration of a model, with the keys of a section. The section was read before: its keys and types are right.
fn over_preset<'a, C: ModelFamily>(
    name: &str,
    preset: Preset,
    section: impl Iterator<Item = (&'a String, &'a toml::Value)>,
) -> Result<C, Box<dyn std::error::Error>> {
    let mut config: Value = serde_json::to_value(C::of_preset(name, preset)?)?;
    for (key, value) in section {
        config[key] = serde_json::to_value(value)?;
    }
    Ok(serde_json::from_value(config)?)
}

/// What the file says, each section read at its place, so that an error has its line.
struct Sections<C> {
    train: TrainConfig,
    preset: Preset,
    models: Vec<&'static str>,
    family: PhantomData<C>,
}

impl<'de, C: ModelFamily> Deserialize<'de> for Sections<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of<C>(PhantomData<C>);

        impl<'de, C: ModelFamily> Visitor<'de> for Of<C> {
            type Value = Sections<C>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("preset, [train] and sections of models")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut found = Sections {
                    train: TrainConfig::default(),
                    preset: Preset::default(),
                    models: Vec::new(),
                    family: PhantomData,
                };
                while let Some(section) = map.next_key::<String>()? {
                    match section.as_str() {
                        "train" => found.train = map.next_value()?,
                        "preset" => found.preset = map.next_value()?,
                        name => found.models.push(map.next_value_seed(Section::<C>(name, PhantomData))?),
                    }
                }
                Ok(found)
            }
        }
        deserializer.deserialize_map(Of(PhantomData))
    }
}

/// The section of a model, or an error at its place.
struct Section<'a, C>(&'a str, PhantomData<C>);

impl<'de, C: ModelFamily> DeserializeSeed<'de> for Section<'_, C> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, section: D) -> Result<&'static str, D::Error> {
        let name = self.0;
        let known = C::find(name).map_err(|unknown| {
            let top = [("train", "[train]"), ("preset", "`preset`, at the top")];
            match top.into_iter().find(|(known, _)| strsim::jaro_winkler(name, known) > MISTYPED) {
                Some((_, known)) => D::Error::custom(format!("unknown section [{name}], did you mean {known}?")),
                None => D::Error::custom(format!("[{name}] is neither [train] nor a model: {unknown}")),
            }
        })?;
        C::deserialize_section(name, section)?;
        Ok(known)
    }
}

/// Likeness (Jaro-Winkler) above which a section is `train` or `preset` mistyped: no name of a model comes near it.
const MISTYPED: f64 = 0.85;

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::models::StemConfig;

    fn stem(text: &str) -> StemConfig {
        let ModelConfig::Stem(stem) = Experiment::parse(text, "e.toml").unwrap().model("stem").unwrap() else {
            unreachable!()
        };
        stem
    }

    #[test]
    fn a_key_that_is_not_named_has_the_presets_size() {
        for (preset, widths, shared) in [("", vec![64, 32], 1), ("preset = 'paper'\n", vec![512, 512, 512], 8)] {
            let whole = stem(preset);
            assert_eq!((&whole.experts, whole.shared_experts), (&widths, shared));
            let named = stem(&format!("{preset}[stem]\ndim = 5\nhidden = {{ dropout = 0.5 }}"));
            assert_eq!((named.dim, &named.experts, named.shared_experts), (5, &widths, shared));
            assert_eq!(named.hidden.dropout, 0.5);
        }
        assert_eq!(stem("preset = 'paper'"), StemConfig::default());
    }

    #[test]
    fn a_fault_in_the_keys_of_what_stands_before_a_model_is_told_with_its_line_and_the_keys_that_there_are() {
        let of = |keys: &str| Experiment::parse(&format!("[stem]\ndim = 8\n{keys}"), "e.toml").unwrap_err().to_string();
        let message = of("cros = { layers = 1 }");
        assert!(
            message.contains("line 3, column 1") && message.contains("unknown field `cros`, expected one of `dim`"),
            "{message}"
        );
        assert!(["`task_embeddings`", "`interest`", "`cross`"].iter().all(|key| message.contains(key)), "{message}");
        let message = of("cross = { layers = 'two' }");
        assert!(message.contains("line 3, column 20") && message.contains("invalid type: string"), "{message}");
        let message = of("domain = 'tab'");
        assert!(
            message.contains("line 3") && message.contains("expected a table like { field = \"tab\" }"),
            "{message}"
        );
        let message = of("interest = { candidates = {}, weights = 1 }");
        assert!(message.contains("line 3") && message.contains("unknown field `weights`"), "{message}");
        assert_eq!(stem("[stem]\ncross = { layers = 1 }\nfm = true").front.cross.layers, 1);
    }

    #[test]
    fn a_preset_that_is_none_or_mistyped_is_named() {
        let message = Experiment::parse("preset = 'large'", "e.toml").unwrap_err().to_string();
        assert!(message.contains("unknown variant `large`, expected `small` or `paper`"), "{message}");
        let message = Experiment::parse("presets = 'paper'", "e.toml").unwrap_err().to_string();
        assert!(message.contains("unknown section [presets], did you mean `preset`, at the top?"), "{message}");
    }

    #[test]
    fn a_model_that_is_not_known_is_told_with_all_that_are() {
        let message = Experiment::<ModelConfig>::default().model("ples").unwrap_err().to_string();
        assert!(message.starts_with("unknown model 'ples', did you mean 'ple'? Known are: stem, "), "{message}");
    }
}
