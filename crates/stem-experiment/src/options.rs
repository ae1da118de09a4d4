//! How a run is carried out.

use stem_core::DeviceSpec;
use stem_report::analysis::Metric;
use stem_train::ranks::Team;
use stem_train::{Progress, StopFlag};

/// How a run or a comparison is carried out.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Device to train on.
    pub device: DeviceSpec,
    /// Where to draw progress bars.
    pub progress: Progress,
    /// Asks to stop.
    pub stop: StopFlag,
    /// Whether a finished run in the folder is replaced, or another comparison's folder taken over.
    pub overwrite: bool,
    /// Whether a run goes on from the checkpoint that it left when it was stopped or killed, where there is one. A comparison always does.
    pub resume: bool,
    /// What tasks are measured in beside [the usual](stem_report::analysis::Metric::usual): metrics that a recipe names.
    pub metrics: Vec<Metric>,
    /// The command line that does it again, for the page; empty where there is none.
    pub command: String,
    /// The processes that train a run together; a comparison, a search and a replay are one process's.
    pub ranks: Team,
}
