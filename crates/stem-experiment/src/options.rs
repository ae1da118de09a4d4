//! How a run is carried out.

use stem_core::DeviceSpec;
use stem_report::analysis::Metric;
use stem_train::ranks::Team;
use stem_train::{Progress, StopFlag, require};

use crate::error::Result;

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
    /// Which of the processes this is that share out the runs of a comparison.
    pub hands: Hands,
}

/// One of several processes that make one comparison: each trains runs that no other is at, and the first measures them. They meet in the
/// comparison's folder alone, which all of them see: one that dies leaves its run to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hands {
    /// Of this process, from 0.
    pub rank: usize,
    /// How many there are.
    pub ranks: usize,
}

impl Default for Hands {
    fn default() -> Self {
        Self { rank: 0, ranks: 1 }
    }
}

impl Hands {
    /// Whether there are others.
    pub fn are_several(self) -> bool {
        self.ranks > 1
    }
}

impl RunOptions {
    /// Refuses several ranks for `what` is one process's.
    pub(crate) fn alone(&self, what: &str) -> Result<()> {
        let found = format_args!("{} for {what}", self.ranks.ranks());
        Ok(require("ranks", found, "one process: several ranks train a single run", !self.ranks.is_several())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_train::ranks::Threads;

    #[test]
    fn what_is_one_process_s_is_refused_on_several_ranks() {
        let options = |ranks| RunOptions { ranks, ..RunOptions::default() };
        let errors = Threads::run(2, |ranks| options(ranks).alone("a replay").unwrap_err().to_string());
        assert!(errors[0].contains("`ranks` is 2 for a replay, expected one process"), "{}", errors[0]);
        RunOptions::default().alone("a replay").unwrap();
    }
}
