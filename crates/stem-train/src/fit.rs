//! What a training needs to know, and how it is carried out.

use std::path::Path;

use burn::tensor::Device;
use stem_core::{DeviceSpec, ModelConfig};
use stem_data::Dataset;

use crate::error::Result;
use crate::experiment::TrainConfig;
use crate::learner::{FitSummary, Learner, StopFlag};
use crate::progress::Progress;

/// How a run is carried out.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Device to train on.
    pub device: DeviceSpec,
    /// Where to draw progress bars.
    pub progress: Progress,
    /// Asks the run to stop.
    pub stop: StopFlag,
    /// The command line that does it again, for the report; empty where there is none.
    pub command: String,
}

/// Everything that a training needs to know.
#[derive(Clone)]
pub(crate) struct Fit<'a> {
    pub spec: &'a ModelConfig,
    pub train: &'a TrainConfig,
    pub dataset: &'a Dataset,
    pub folder: &'a Path,
    pub device: &'a Device,
    pub options: &'a RunOptions,
}

impl Fit<'_> {
    /// Trains one model on all tasks of the data set.
    pub(crate) fn jointly(&self) -> Result<FitSummary> {
        let learner = Learner::new(self.spec.clone(), self.dataset, self.train.clone(), self.device, self.folder)?;
        learner.with_progress(self.options.progress.clone()).with_stop(self.options.stop.clone()).fit()
    }
}
