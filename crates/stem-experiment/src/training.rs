//! What a training needs to know, and how it is carried out.

use std::path::Path;

use burn::tensor::Device;
use stem_core::ModelConfig;
use stem_data::Dataset;
use stem_train::{FitSummary, Learner, TrainConfig};

use crate::error::Result;
use crate::options::RunOptions;

/// Everything that a training needs to know.
#[derive(Clone)]
pub(crate) struct Training<'a> {
    pub spec: &'a ModelConfig,
    pub train: &'a TrainConfig,
    pub dataset: &'a Dataset,
    pub folder: &'a Path,
    pub device: &'a Device,
    pub options: &'a RunOptions,
}

impl Training<'_> {
    /// Trains one model on all tasks of the data set.
    pub(crate) fn jointly(&self) -> Result<FitSummary> {
        let learner = Learner::new(self.spec.clone(), self.dataset, self.train.clone(), self.device, self.folder)?;
        Ok(learner.with_progress(self.options.progress.clone()).with_stop(self.options.stop.clone()).fit()?)
    }
}
