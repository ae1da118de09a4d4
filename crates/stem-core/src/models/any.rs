//! The list of models: one line each, and every model of this crate is known by name, in experiments and in bundles.

use std::fmt;
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize};

use super::family::unknown_model;
use super::{
    AitmConfig, EsmmConfig, MmoeConfig, MmoeMeConfig, Model, ModelFamily, ModelSpec, NetworkSize, OmoeConfig,
    PleConfig, PleMeConfig, SharedBottomConfig, SingleTaskConfig, StemConfig,
};
use crate::embedding::Pooled;
use crate::error::{Error, Result};
use crate::front::{DomainConfig, Front, FrontConfig, TowerGates, TowerPlan};
use crate::schema::Schema;

/// Makes [`ModelName`], [`ModelConfig`] and [`AnyModel`] of the list: whatever they are asked, they ask the model.
macro_rules! models {
    ($($(#[doc = $doc:literal])+ $model:ident = $name:literal: $config:ident;)+) => {
        /// Which model.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ModelName {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $model,)+
        }

        impl ModelName {
            /// All models, in the order reports show them.
            pub const ALL: &'static [ModelName] = &[$(ModelName::$model),+];

            /// The name on command lines and in files.
            pub const fn as_str(self) -> &'static str {
                match self { $(ModelName::$model => $name),+ }
            }

            /// The configuration with every size at its default.
            pub fn default_config(self) -> ModelConfig {
                match self { $(ModelName::$model => ModelConfig::$model($config::default())),+ }
            }

            /// Reads the configuration of this model, as it stands in the section of an experiment.
            ///
            /// # Errors
            /// The format's own, naming an unknown key or a value of the wrong type.
            pub fn deserialize_config<'de, D: Deserializer<'de>>(self, section: D) -> Result<ModelConfig, D::Error> {
                match self { $(ModelName::$model => <$config as Deserialize>::deserialize(section).map(ModelConfig::$model)),+ }
            }
        }

        /// Configuration of any model of this crate.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name")]
        #[non_exhaustive]
        pub enum ModelConfig {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $model($config),)+
        }

        impl ModelConfig {
            /// Which model it configures.
            pub fn model_name(&self) -> ModelName {
                match self { $(ModelConfig::$model(_) => ModelName::$model),+ }
            }
        }

        /// The wiring of a model, without what stands before it.
        #[derive(Module, Debug)]
        #[allow(clippy::large_enum_variant)] // one a program
        #[non_exhaustive]
        pub enum AnyWiring {
            $($(#[doc = $doc])+ $model(<$config as ModelSpec>::Model),)+
        }

        impl Model for AnyWiring {
            ask_model!($($model),+);
        }

        impl ModelConfig {
            /// The sizes of the wiring alone.
            fn wiring_size(&self, schema: &Schema) -> NetworkSize {
                match self { $(ModelConfig::$model(config) => config.size(schema)),+ }
            }

            fn init_wiring(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> AnyWiring {
                match self { $(ModelConfig::$model(config) => AnyWiring::$model(config.init(schema, rng, device))),+ }
            }

            fn check_wiring(&self, schema: &Schema) -> Result<()> {
                match self { $(ModelConfig::$model(config) => config.check(schema)),+ }
            }
        }

        impl ModelConfig {
            /// The towers and embeddings of the model, to what gates its towers.
            fn tower_plan(&self, schema: &Schema) -> TowerPlan {
                let (widths, groups) = (self.widths(schema), self.embedding_groups(schema));
                let dim = widths.first().copied().unwrap_or(0);
                TowerPlan::new(self.tower_inputs(schema), &groups, widths.len(), dim, schema.tasks.len())
            }
        }

        impl ModelSpec for ModelConfig {
            type Model = AnyModel;

            ask_facts!($($model),+);

            fn check(&self, schema: &Schema) -> Result<()> {
                self.check_wiring(schema)?;
                self.front().check(schema, &self.widths(schema))
            }

            fn size(&self, schema: &Schema) -> NetworkSize {
                let front = self.front();
                let of_towers = front.of_towers().map(|domain| domain.size_of_towers(schema, &self.tower_plan(schema)));
                self.wiring_size(schema) + front.size(schema, &self.widths(schema)) + of_towers.unwrap_or_default()
            }

            fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> AnyModel {
                let (model, config) = (self.init_wiring(schema, rng, device), self.front());
                let front = config.init(schema, &self.widths(schema), rng, device);
                let of_towers = |domain: &DomainConfig| domain.init_towers(schema, &self.tower_plan(schema), rng, device);
                AnyModel { front, towers: config.of_towers().map(of_towers), model }
            }
        }
    };
}

/// What [`ModelConfig`] builds: the wiring of a model, and what stands before it in every model.
#[derive(Module, Debug)]
pub struct AnyModel {
    front: Front,
    towers: Option<TowerGates>,
    /// The model itself.
    pub model: AnyWiring,
}

impl AnyModel {
    /// The same with the gates of towers beside it.
    fn gated(&self, x: Pooled) -> Pooled {
        match self.towers.as_ref().map(|towers| towers.forward(&x)) {
            Some(gates) => x.gating_towers(gates),
            None => x,
        }
    }
}

impl Model for AnyModel {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        self.model.forward(self.gated(self.read(x)))
    }

    fn gates(&self, x: Pooled) -> Vec<Tensor<3>> {
        self.model.gates(self.read(x))
    }

    fn penalty(&self, logits: &Tensor<2>) -> Option<Tensor<1>> {
        self.model.penalty(logits)
    }

    fn forward_penalized(&self, x: Pooled) -> (Tensor<2>, Option<Tensor<1>>) {
        self.forward_read(self.read(x))
    }

    fn read(&self, x: Pooled) -> Pooled {
        self.front.forward(x)
    }

    fn forward_read(&self, x: Pooled) -> (Tensor<2>, Option<Tensor<1>>) {
        self.model.forward_penalized(self.gated(x))
    }
}

models! {
    /// Task and shared embeddings, AFTB gating.
    Stem = "stem": StemConfig;
    /// One embedding, one bottom, a tower per task.
    SharedBottom = "shared-bottom": SharedBottomConfig;
    /// A model of its own for every task.
    SingleTask = "single-task": SingleTaskConfig;
    /// Experts mixed by one gate for all tasks.
    Omoe = "omoe": OmoeConfig;
    /// Experts mixed by a gate per task.
    Mmoe = "mmoe": MmoeConfig;
    /// Task experts and shared experts, in layers.
    Ple = "ple": PleConfig;
    /// A bottom per task, each passing on to the next.
    Aitm = "aitm": AitmConfig;
    /// Clicks, and conversions as clicks times conversion rate.
    Esmm = "esmm": EsmmConfig;
    /// MMoE with an embedding per expert.
    MmoeMe = "mmoe-me": MmoeMeConfig;
    /// PLE with an embedding per expert group.
    PleMe = "ple-me": PleMeConfig;
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl ModelName {
    /// The defaults, with those of `settings` (by key) that this model has.
    ///
    /// # Errors
    /// A value of another type than its key's.
    pub fn config_with<'a>(
        self,
        settings: impl IntoIterator<Item = (&'a str, serde_json::Value)>,
    ) -> serde_json::Result<ModelConfig> {
        let mut config = serde_json::to_value(self.default_config())?;
        for (key, value) in settings {
            if FrontConfig::KEYS.contains(&key) || config.get(key).is_some() {
                config[key] = value;
            }
        }
        serde_json::from_value(config)
    }

    /// Likeness (Jaro-Winkler, 0 to 1) above which a name is taken for another one mistyped.
    pub const LIKE: f64 = 0.7;
}

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = ModelName::ALL.iter().copied().find(|model| model.as_str() == name);
        found.ok_or_else(|| unknown_model(name, &ModelConfig::names()))
    }
}
