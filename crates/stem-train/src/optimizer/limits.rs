//! Limits that settings of several optimizers share: what the update computes with are f32.

use crate::error::{Result, require};

/// A decay that is still below 1 as the f32 that the update multiplies with.
pub(super) fn require_decay(key: &'static str, decay: f64) -> Result<()> {
    require(key, decay, "0 or more, below 1", decay >= 0.0 && (decay as f32) < 1.0)
}

/// An epsilon that is still above 0 as the f32 that the update divides by.
pub(super) fn require_epsilon(epsilon: f64) -> Result<()> {
    let holds = epsilon.is_finite() && epsilon as f32 >= f32::MIN_POSITIVE && (epsilon as f32).is_finite();
    require("optimizer.epsilon", format_args!("{epsilon:e}"), "a number above 0", holds)
}
