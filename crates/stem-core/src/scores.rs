//! What a [`Predictor`](crate::Predictor) answers.

use std::sync::Arc;

use serde::ser::{Serialize, Serializer};

/// Scores of a request, row by row: probabilities of tasks whose label is 0 or 1, else numbers in the label's unit. Serialised, each row is a map from task to probability.
///
/// ```no_run
/// # let predictor = stem_core::Predictor::open("bundle.safetensors", &stem_core::DeviceSpec::default().open()?)?;
/// # let rows = Vec::new();
/// let scores = predictor.predict(&rows)?;
/// let best = scores.task("click").into_iter().flatten().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
/// println!("{best:?} of {}", serde_json::to_string(&scores)?); // [{"click":0.1,"buy":0.01}, ...]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    tasks: Arc<[String]>,
    values: Vec<f32>, // [B, T]
}

impl Scores {
    /// `values [B, T]`, row-major.
    pub(crate) fn new(tasks: Arc<[String]>, values: Vec<f32>) -> Self {
        Self { tasks, values }
    }

    /// Names of the tasks, in the order of each row's values.
    pub fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// Scored rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.tasks.len()
    }

    /// Whether the request was empty.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// One slice of `T` scores per row.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.tasks.len())
    }

    /// The scores of one task, row by row; `None` when there is no such task.
    pub fn task(&self, name: &str) -> Option<impl ExactSizeIterator<Item = f32>> {
        let index = self.task_index(name)?;
        Some(self.rows().map(move |row| row[index]))
    }

    /// Score of one task for one row; `None` when there is no such row or task.
    pub fn get(&self, row: usize, task: &str) -> Option<f32> {
        let index = self.task_index(task)?;
        self.rows().nth(row).map(|row| row[index])
    }

    /// All scores. `[B, T]`, row-major
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    fn task_index(&self, task: &str) -> Option<usize> {
        self.tasks.iter().position(|name| name == task)
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows().map(|row| ByTask(&self.tasks, row)))
    }
}

/// One row of scores.
struct ByTask<'a>(&'a [String], &'a [f32]);

impl Serialize for ByTask<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().zip(self.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_by_row_by_task_and_by_both() {
        let scores = Scores::new(["like", "buy"].map(String::from).into(), vec![0.25, 0.5, 0.75, 1.0]);
        assert_eq!((scores.len(), scores.is_empty()), (2, false));
        assert_eq!(scores.rows().collect::<Vec<_>>(), [[0.25, 0.5], [0.75, 1.0]]);
        assert_eq!(scores.task("buy").unwrap().collect::<Vec<_>>(), [0.5, 1.0]);
        assert_eq!((scores.get(1, "like"), scores.get(2, "like"), scores.get(0, "share")), (Some(0.75), None, None));
        assert!(scores.task("share").is_none());
        let json = serde_json::to_string(&scores).unwrap();
        assert_eq!(json, r#"[{"like":0.25,"buy":0.5},{"like":0.75,"buy":1.0}]"#);
        assert_eq!(scores.into_values(), [0.25, 0.5, 0.75, 1.0]);
    }
}
