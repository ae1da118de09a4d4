//! Beside the scores of each row: what each field adds to them, and what the gates weigh.

use stem_core::{Batch, Explanation, Predictor, Row, example_row};

use super::scoring::score_of;
use crate::console::Result;

/// Rows whose explanations are held at once.
const AT_ONCE: usize = 256;

/// The columns that explain scores: `p_TASK.FIELD` is what a field adds to `p_TASK`, `gate_TASK.LAYER.EXPERT` the weight that the task's gate gives an
/// expert, those of the tasks first and the shared ones last.
pub(super) struct Explained {
    tasks: Vec<String>,
    names: Vec<String>,
}

impl Explained {
    /// The columns of a model's explanations, which its example row tells.
    ///
    /// # Errors
    /// A model that does not score its example row.
    pub(super) fn new(predictor: &Predictor) -> Result<Self> {
        let schema = predictor.schema();
        let example = serde_json::Value::Object(example_row(schema, predictor.vocabularies()));
        let shown = predictor.explain(&[serde_json::from_value::<Row>(example)?])?.remove(0);
        let tasks = schema.task_names();
        let mut names = Vec::new();
        for task in &tasks {
            names.extend(shown.fields.iter().map(|one| format!("{}.{}", score_of(task), one.field)));
        }
        for (layer, gates) in (1..).zip(&shown.gates) {
            for task in &tasks {
                let experts = gates.get(task).map_or(0, Vec::len);
                names.extend((1..=experts).map(|expert| format!("gate_{task}.{layer}.{expert}")));
            }
        }
        Ok(Self { tasks, names })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The scores of rows, and behind those of each row what explains them. `scores [B, T]`
    ///
    /// # Errors
    /// Rows that do not fit the model.
    pub(super) fn beside(&self, predictor: &Predictor, batch: &Batch, scores: &[f32]) -> Result<Vec<f32>> {
        let (tasks, slots) = (self.tasks.len(), predictor.schema().slots());
        let mut numbers = Vec::with_capacity(batch.rows * (tasks + self.names.len()));
        let parts = batch.ids.chunks(AT_ONCE * slots).zip(batch.weights.chunks(AT_ONCE * slots));
        let mut scores = scores.chunks_exact(tasks);
        for (ids, weights) in parts {
            let part = Batch::new(ids.len() / slots, ids.to_vec(), weights.to_vec());
            for (row, own) in predictor.explain_batch(&part)?.iter().zip(&mut scores) {
                numbers.extend_from_slice(own);
                self.add(row, &mut numbers);
            }
        }
        Ok(numbers)
    }

    fn add(&self, row: &Explanation, numbers: &mut Vec<f32>) {
        for task in &self.tasks {
            numbers.extend(row.fields.iter().map(|one| one.tasks[task]));
        }
        for gates in &row.gates {
            self.tasks.iter().for_each(|task| numbers.extend(gates.get(task).into_iter().flatten()));
        }
    }
}
