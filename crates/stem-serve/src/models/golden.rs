//! Golden rows: rows that a bundle brings along with the scores that it has to give them.

use serde::Serialize;
use stem_core::{Predictor, with_causes};

/// What golden rows said of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Checked {
    /// It has none.
    Absent,
    /// All of them have the scores that they should.
    Passed,
}

/// Scores the golden rows of a bundle, if it has some.
///
/// # Errors
/// What is wrong with them, or the row whose score is another.
pub(super) fn check(predictor: &Predictor) -> Result<Checked, String> {
    match predictor.check_golden() {
        Ok(0) => Ok(Checked::Absent),
        Ok(_) => Ok(Checked::Passed),
        Err(fault) => Err(with_causes(&fault)),
    }
}
