//! How a run is carried out.

use stem_core::DeviceSpec;
use stem_train::{Progress, StopFlag};

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
