//! Golden rows: rows that a bundle brings along with the scores that it has to give them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stem_core::{Predictor, Row};

/// Rows and their scores, under `golden` in what the trainer has to say of a bundle. Trainings write none today.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    rows: Vec<Row>,
    /// `[B]` by task
    scores: BTreeMap<String, Vec<f32>>,
    /// How far a score may be off: other processors round otherwise. Of a number above 1 it is a share of that number.
    #[serde(default = "tolerance")]
    tolerance: f32,
}

fn tolerance() -> f32 {
    1e-5
}

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
    let golden = &predictor.manifest().training["golden"];
    if golden.is_null() {
        return Ok(Checked::Absent);
    }
    let golden: Golden =
        Deserialize::deserialize(golden).map_err(|error| format!("its golden rows do not read: {error}"))?;
    let scores = predictor.predict(&golden.rows).map_err(|error| format!("its golden rows do not score: {error}"))?;
    for (task, expected) in &golden.scores {
        let found: Vec<f32> =
            scores.task(task).ok_or_else(|| format!("its golden rows have a task '{task}'"))?.collect();
        if found.len() != expected.len() {
            return Err(format!("it has {} golden rows and {} scores of '{task}'", found.len(), expected.len()));
        }
        let is_off = |(found, expected): (&f32, &f32)| {
            let off = (found - expected).abs();
            off.is_nan() || off > golden.tolerance * expected.abs().max(1.0)
        };
        if let Some(row) = found.iter().zip(expected).position(is_off) {
            let (found, expected) = (found[row], expected[row]);
            return Err(format!("golden row {row}, task '{task}': expected {expected}, scored {found}"));
        }
    }
    Ok(Checked::Passed)
}
