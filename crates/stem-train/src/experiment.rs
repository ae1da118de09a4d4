//! One TOML per experiment: how to train, and the sizes of every model that may be asked for.

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stem_core::{ModelConfig, Schema, SharedBottomConfig, SingleTaskConfig, StemConfig};

use crate::error::{Error, Result};

/// An experiment: `[train]` and a section per model. What is not written has the paper's defaults.
///
/// ```
/// let text = "[train]\nlearning_rate = 0.001\n[stem]\nshared_experts = 2\n";
/// let experiment = stem_train::Experiment::parse(text, "example.toml")?;
/// assert_eq!(experiment.stem.shared_experts, 2);
/// # Ok::<(), stem_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Experiment {
    /// How to train.
    pub train: TrainConfig,
    /// Sizes of STEM.
    pub stem: StemConfig,
    /// Sizes of SharedBottom.
    pub shared_bottom: SharedBottomConfig,
    /// Sizes of each single-task model.
    pub single_task: SingleTaskConfig,
}

/// Which model of an experiment to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    /// STEM-Net.
    Stem,
    /// SharedBottom.
    SharedBottom,
    /// One model per task.
    SingleTask,
}

impl ModelName {
    /// All models, in the order reports show them.
    pub const ALL: [ModelName; 3] = [ModelName::Stem, ModelName::SharedBottom, ModelName::SingleTask];

    /// The name on command lines and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            ModelName::Stem => "stem",
            ModelName::SharedBottom => "shared-bottom",
            ModelName::SingleTask => "single-task",
        }
    }
}

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        ModelName::ALL.into_iter().find(|model| model.as_str() == name).ok_or_else(|| Error::UnknownModel {
            name: name.into(),
            known: ModelName::ALL.map(ModelName::as_str).join(", "),
        })
    }
}

/// Which rows of the table take part in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableMode {
    /// The batch's distinct rows: gathered, differentiated, written back. L2 and Adam touch those rows alone.
    #[default]
    RowSparse,
    /// Every row in every step, as the reference does: whole-table L2 and dense Adam. For parity; cost grows with the vocabulary.
    Dense,
}

/// What early stopping and the rate go by: a mean over the tasks, on the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Monitor {
    /// Area under the ROC curve.
    #[default]
    Auc,
    /// AUC within groups; the recipe must name a `group`.
    Gauc,
}

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Rows a step.
    pub batch_size: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// Adam's rate.
    pub learning_rate: f64,
    /// What decides whether an epoch was better.
    pub monitor: Monitor,
    /// The rate is multiplied with it after every epoch that was no better.
    pub rate_decay: f64,
    /// Training stops after so many epochs in a row that were no better.
    pub patience: usize,
    /// `lambda` of `(lambda / 2) ||rows||^2`.
    pub embedding_l2: f64,
    /// Gradients are scaled down to this global norm.
    pub max_gradient_norm: f64,
    /// Standard deviation of the embeddings at the start.
    pub embedding_std: f32,
    /// Weight of each task's loss by name; 1 where it is not named.
    pub task_weights: std::collections::BTreeMap<String, f64>,
    /// Row-sparse or dense.
    pub table: TableMode,
    /// Of weights, shuffling and dropout.
    pub seed: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch_size: 4096,
            epochs: 20,
            learning_rate: 1e-3,
            monitor: Monitor::Auc,
            rate_decay: 0.1,
            patience: 2,
            embedding_l2: 1e-6,
            max_gradient_norm: 10.0,
            embedding_std: 1e-4,
            task_weights: Default::default(),
            table: TableMode::RowSparse,
            seed: 1,
        }
    }
}

impl TrainConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// [`Error::Config`] with the key, what stands there and what may.
    pub fn check(&self) -> Result<()> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let rules: [(&'static str, String, &'static str, bool); 8] = [
            ("batch_size", self.batch_size.to_string(), "1 to 16777216", (1..=1 << 24).contains(&self.batch_size)),
            ("epochs", self.epochs.to_string(), "1 or more", self.epochs >= 1),
            ("learning_rate", self.learning_rate.to_string(), "a number above 0", positive(self.learning_rate)),
            (
                "rate_decay",
                self.rate_decay.to_string(),
                "above 0, at most 1",
                positive(self.rate_decay) && self.rate_decay <= 1.0,
            ),
            ("patience", self.patience.to_string(), "1 or more", self.patience >= 1),
            (
                "embedding_l2",
                self.embedding_l2.to_string(),
                "0 or more",
                self.embedding_l2.is_finite() && self.embedding_l2 >= 0.0,
            ),
            (
                "max_gradient_norm",
                self.max_gradient_norm.to_string(),
                "a number above 0",
                positive(self.max_gradient_norm),
            ),
            (
                "embedding_std",
                self.embedding_std.to_string(),
                "0 or more",
                self.embedding_std.is_finite() && self.embedding_std >= 0.0,
            ),
        ];
        for (key, found, expected, holds) in rules {
            if !holds {
                return Err(Error::Config { key, found, expected });
            }
        }
        if let Some((name, weight)) = self.task_weights.iter().find(|(_, w)| !(w.is_finite() && **w >= 0.0)) {
            let found = format!("{name} = {weight}");
            return Err(Error::Config { key: "task_weights", found, expected: "numbers of 0 or more" });
        }
        Ok(())
    }

    /// Refuses weights of tasks that the schema does not have.
    ///
    /// # Errors
    /// [`Error::Config`] with the task.
    pub fn check_tasks(&self, schema: &Schema) -> Result<()> {
        match self.task_weights.keys().find(|name| schema.task(name).is_none()) {
            None => Ok(()),
            Some(name) => {
                let found = format!("a weight for '{name}'");
                Err(Error::Config { key: "task_weights", found, expected: "names of the recipe's labels" })
            }
        }
    }
}

impl Experiment {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Experiment`], which names line and key.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// Parses TOML; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Experiment`], which names line and key.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        toml::from_str(text)
            .map_err(|e| Error::Experiment { path: path.as_ref().to_path_buf(), what: e.to_string().trim_end().into() })
    }

    /// The configuration of one model.
    pub fn model(&self, name: ModelName) -> ModelConfig {
        match name {
            ModelName::Stem => ModelConfig::Stem(self.stem.clone()),
            ModelName::SharedBottom => ModelConfig::SharedBottom(self.shared_bottom.clone()),
            ModelName::SingleTask => ModelConfig::SingleTask(self.single_task.clone()),
        }
    }
}
