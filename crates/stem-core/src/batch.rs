//! One batch form for every kind of feature: `ids [B, S]`, `weights [B, S]`, `labels [B, T]`, on the host, checked.

use crate::error::{Error, Result};
use crate::schema::Schema;

/// A missing label.
pub const MISSING: f32 = f32::NAN;

/// `B` rows, ready for any device. Row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// `B`.
    pub rows: usize,
    /// Rows of the table, offset of the field's vocabulary included. `[B, S]`
    pub ids: Vec<u32>,
    /// What each slot's row is multiplied with; 0 for padding. `[B, S]`
    pub weights: Vec<f32>,
    /// 0, 1 or [`MISSING`]; empty when the batch is only scored. `[B, T]`
    pub labels: Vec<f32>,
}

impl Batch {
    /// Checks what no device checks: lengths, ids inside the table, finite weights, labels that are 0, 1 or missing.
    /// GPU gathers and scatters do not look at bounds, so every batch passes here first.
    ///
    /// # Errors
    /// [`Error::Batch`] with the row, the value and what was expected.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        let (slots, tasks, table) = (schema.slots(), schema.tasks.len(), schema.rows() as u32);
        let fault = |what: String| Err(Error::Batch { what });
        if self.ids.len() != self.rows * slots || self.weights.len() != self.rows * slots {
            return fault(format!(
                "{} rows of {slots} slots need {} ids and weights, found {} and {}",
                self.rows,
                self.rows * slots,
                self.ids.len(),
                self.weights.len()
            ));
        }
        if !self.labels.is_empty() && self.labels.len() != self.rows * tasks {
            return fault(format!(
                "{} rows of {tasks} tasks need {} labels, found {}",
                self.rows,
                self.rows * tasks,
                self.labels.len()
            ));
        }
        if let Some(i) = self.ids.iter().position(|&id| id >= table) {
            return fault(format!(
                "row {}, slot {}: id {} in a table of {table} rows",
                i / slots,
                i % slots,
                self.ids[i]
            ));
        }
        if let Some(i) = self.weights.iter().position(|w| !w.is_finite()) {
            return fault(format!("row {}, slot {}: weight {} is not finite", i / slots, i % slots, self.weights[i]));
        }
        if let Some(i) = self.labels.iter().position(|&y| !(y == 0.0 || y == 1.0 || y.is_nan())) {
            return fault(format!(
                "row {}, task '{}': label {} is neither 0, 1 nor missing",
                i / tasks,
                schema.tasks[i % tasks].name,
                self.labels[i]
            ));
        }
        Ok(())
    }
}
