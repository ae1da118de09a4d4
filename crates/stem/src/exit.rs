//! How the program ends.

use std::process::ExitCode;

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Done = 0,
    /// Something could not be done; the message is on stderr.
    Error = 1,
    /// The command line was wrong.
    Usage = 2,
    /// Everything was done, and the answer is no: a bundle that is not shown to be no worse than another.
    Refused = 3,
    /// Stopped by Ctrl-C or a signal; what was finished is kept.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
