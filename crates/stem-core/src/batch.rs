//! One batch form for every kind of feature: `ids [B, S]`, `weights [B, S]`, `labels [B, T]`, on the host, checked.

use crate::error::{Error, Result};
use crate::schema::Schema;

/// A missing label.
pub const MISSING: f32 = f32::NAN;

/// `B` rows, ready for any device. Row-major. Two batches are equal when their numbers are, where [`MISSING`] equals itself.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Batch {
    /// `B`.
    pub rows: usize,
    /// Rows of the table, offset of the field's vocabulary included. `[B, S]`
    pub ids: Vec<u32>,
    /// What each slot's row is multiplied with; 0 for padding. `[B, S]`
    pub weights: Vec<f32>,
    /// 0, 1, or a number as the task's [kind](crate::TaskKind) has it, or [`MISSING`]; empty when the batch is only scored. `[B, T]`
    pub labels: Vec<f32>,
    /// How much each row counts in the loss; empty where all count alike. `[B]`
    pub row_weights: Vec<f32>,
    /// The group (user) of each row, for losses of pairs; empty where nothing asks for it. `[B]`
    pub groups: Vec<u32>,
}

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&f32, &f32)| a == b || (a.is_nan() && b.is_nan());
        self.rows == other.rows
            && self.ids == other.ids
            && self.weights == other.weights
            && self.row_weights == other.row_weights
            && self.groups == other.groups
            && self.labels.len() == other.labels.len()
            && self.labels.iter().zip(&other.labels).all(same)
    }
}

impl Batch {
    /// Rows to be scored: `ids [B, S]` and `weights [B, S]`.
    pub fn new(rows: usize, ids: Vec<u32>, weights: Vec<f32>) -> Self {
        Self { rows, ids, weights, ..Self::default() }
    }

    /// The same rows with `labels [B, T]`.
    #[must_use]
    pub fn with_labels(self, labels: Vec<f32>) -> Self {
        Self { labels, ..self }
    }

    /// The same rows, of which each counts as `row_weights [B]` says.
    #[must_use]
    pub fn with_row_weights(self, row_weights: Vec<f32>) -> Self {
        Self { row_weights, ..self }
    }

    /// How much a row counts in the loss.
    pub fn row_weight(&self, row: usize) -> f32 {
        self.row_weights.get(row).copied().unwrap_or(1.0)
    }

    /// The first rows, at most as many as there are.
    #[must_use]
    pub fn first(&self, rows: usize) -> Self {
        let rows = rows.min(self.rows);
        let of = |length: usize| length / self.rows.max(1) * rows;
        let (ids, weights) = (self.ids[..of(self.ids.len())].to_vec(), self.weights[..of(self.weights.len())].to_vec());
        let labels = self.labels[..of(self.labels.len())].to_vec();
        let first = Self::new(rows, ids, weights)
            .with_labels(labels)
            .with_row_weights(self.row_weights[..of(self.row_weights.len())].to_vec());
        Self { groups: self.groups[..of(self.groups.len())].to_vec(), ..first }
    }

    /// Checks what no device checks: lengths, ids inside the table, finite weights, labels that are what their tasks say or missing, rows that count 0 or more.
    /// GPU gathers and scatters do not look at bounds, so every batch passes here first.
    ///
    /// # Errors
    /// [`Error::Batch`] with the row, the value and what was expected.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        let (slots, tasks, table) = (schema.slots(), schema.tasks.len(), schema.rows() as u32);
        let (rows, ids, weights, labels) = (self.rows, self.ids.len(), self.weights.len(), self.labels.len());
        let fault = |what: String| Err(Error::Batch { what });
        let needed = |width: usize| match rows.checked_mul(width) {
            Some(needed) => Ok(needed),
            None => {
                Err(Error::Batch { what: format!("{rows} rows of {width} values are more than memory has places") })
            }
        };
        let (cells, marks) = (needed(slots)?, needed(tasks)?);
        if ids != cells || weights != cells {
            return fault(format!(
                "{rows} rows of {slots} slots need {cells} ids and weights, found {ids} and {weights}"
            ));
        }
        if !(labels == 0 || labels == marks) {
            return fault(format!("{rows} rows of {tasks} tasks need {marks} labels, found {labels}"));
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
        let misfit = |(i, y): (usize, &f32)| match y.is_nan() {
            true => None,
            false => Some((i, schema.tasks[i % tasks].kind.misfit(*y)?)),
        };
        if let Some((i, expected)) = self.labels.iter().enumerate().find_map(misfit) {
            return fault(format!(
                "row {}, task '{}': label {} is neither {expected} nor missing",
                i / tasks,
                schema.tasks[i % tasks].name,
                self.labels[i]
            ));
        }
        let counts = self.row_weights.len();
        if !(counts == 0 || counts == rows) {
            return fault(format!("{rows} rows need {rows} weights of rows, found {counts}"));
        }
        let groups = self.groups.len();
        if !(groups == 0 || groups == rows) {
            return fault(format!("{rows} rows need {rows} groups, found {groups}"));
        }
        if let Some(row) = self.row_weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return fault(format!("row {row} counts {}, expected a finite number of 0 or more", self.row_weights[row]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Field, Task, VocabularySpec};

    /// Two slots, two tasks, a table of 7 rows.
    fn schema() -> Schema {
        let specs = [("user", 6), ("age", 1)].map(|(name, rows)| VocabularySpec::new(name, rows));
        let fields = vec![Field::category("user", 0), Field::number("age", 1)];
        Schema::new(fields, specs.into(), vec![Task::new("like"), Task::new("love")])
    }

    fn batch() -> Batch {
        Batch::new(2, vec![1, 6, 5, 6], vec![1.0, 0.5, 1.0, -3.0]).with_labels(vec![0.0, 1.0, MISSING, 0.0])
    }

    #[track_caller]
    fn refused(edit: impl FnOnce(&mut Batch), expected: &str) {
        let mut batch = batch();
        edit(&mut batch);
        assert_eq!(batch.check(&schema()).unwrap_err().to_string(), format!("bad batch: {expected}"));
    }

    #[test]
    fn every_fault_is_refused_with_its_place() {
        batch().check(&schema()).unwrap();
        Batch::default().check(&schema()).unwrap();
        refused(|b| b.ids.truncate(3), "2 rows of 2 slots need 4 ids and weights, found 3 and 4");
        refused(|b| b.weights.push(1.0), "2 rows of 2 slots need 4 ids and weights, found 4 and 5");
        refused(|b| b.labels.truncate(3), "2 rows of 2 tasks need 4 labels, found 3");
        refused(|b| b.ids[2] = 7, "row 1, slot 0: id 7 in a table of 7 rows");
        refused(|b| b.weights[1] = f32::NAN, "row 0, slot 1: weight NaN is not finite");
        refused(|b| b.weights[3] = f32::INFINITY, "row 1, slot 1: weight inf is not finite");
        refused(|b| b.weights[3] = f32::NEG_INFINITY, "row 1, slot 1: weight -inf is not finite");
        refused(|b| b.labels[3] = 0.5, "row 1, task 'love': label 0.5 is neither 0, 1 nor missing");
        refused(|b| b.row_weights = vec![1.0], "2 rows need 2 weights of rows, found 1");
        refused(|b| b.row_weights = vec![1.0, -0.5], "row 1 counts -0.5, expected a finite number of 0 or more");
        refused(|b| b.row_weights = vec![f32::NAN, 1.0], "row 0 counts NaN, expected a finite number of 0 or more");
        refused(|b| b.labels[0] = f32::INFINITY, "row 0, task 'like': label inf is neither 0, 1 nor missing");
    }

    #[test]
    fn the_first_rows_are_rows_with_all_that_belongs_to_them() {
        let all = batch();
        let all = all.with_row_weights(vec![2.0, 0.5]);
        let one = Batch::new(1, vec![1, 6], vec![1.0, 0.5]).with_labels(vec![0.0, 1.0]).with_row_weights(vec![2.0]);
        assert_eq!([all.first(1), all.first(2), all.first(9)], [one, all.clone(), all.clone()]);
        assert_eq!((all.first(0), Batch::default().first(3)), (Batch::default(), Batch::default()));
    }

    #[test]
    fn more_rows_than_can_be_multiplied_are_refused() {
        let batch = Batch { rows: 1 << 63, ..Batch::default() };
        let message = batch.check(&schema()).unwrap_err().to_string();
        assert_eq!(message, "bad batch: 9223372036854775808 rows of 2 values are more than memory has places");
    }

    #[test]
    fn a_batch_with_missing_labels_equals_itself() {
        assert_eq!(batch(), batch());
        assert_ne!(batch(), batch().with_labels(vec![0.0, 1.0, 0.0, 0.0]));
        assert_ne!(batch(), batch().with_labels(Vec::new()));
    }
}
