//! `log.jsonl`: one JSON object per evaluation, flushed as it is written.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use stem_core::Schema;
use stem_core::files::{FileError, create_folder};
use stem_report::metrics::TaskMetrics;

use crate::error::Result;

/// What a line says.
#[derive(Debug)]
pub(crate) struct Evaluation<'a> {
    /// The task that the model is trained for alone, if it is.
    pub task: Option<&'a str>,
    /// Epoch, counted from 1.
    pub epoch: usize,
    /// Steps since the start.
    pub steps: usize,
    /// Rate of the last step.
    pub learning_rate: f64,
    /// Mean loss of each task over the epoch.
    pub loss: &'a [f64],
    /// Learned weights of the tasks' losses, where they are learned.
    pub weights: Option<&'a [f32]>,
    /// Names the tasks.
    pub schema: &'a Schema,
    /// Of each task.
    pub valid: &'a [TaskMetrics],
    /// Whether these weights are the best so far.
    pub best: bool,
}

/// The log of one run.
#[derive(Debug)]
pub(crate) struct RunLog {
    path: PathBuf,
    file: File,
}

impl RunLog {
    /// Starts `folder/log.jsonl` anew.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        create_folder(folder)?;
        let path = folder.join("log.jsonl");
        let file = File::create(&path).map_err(FileError::of("write", &path))?;
        Ok(Self { path, file })
    }

    /// Writes one evaluation.
    pub(crate) fn evaluation(&mut self, evaluation: &Evaluation<'_>) -> Result<()> {
        let Evaluation { task, epoch, steps, learning_rate, loss, weights, schema, valid, best } = evaluation;
        let by_task = |values: Vec<serde_json::Value>| -> serde_json::Map<String, serde_json::Value> {
            schema.task_names().into_iter().zip(values).collect()
        };
        let mut line = serde_json::json!({
            "epoch": epoch,
            "steps": steps,
            "learning_rate": learning_rate,
            "loss": by_task(loss.iter().map(|&loss| loss.into()).collect()),
            "valid": by_task(valid.iter().map(|m| serde_json::to_value(m).expect("metrics are plain data")).collect()),
            "best": best,
        });
        if let Some(task) = task {
            line["task"] = (*task).into();
        }
        if let Some(weights) = weights {
            line["balance"] = by_task(weights.iter().map(|&weight| weight.into()).collect()).into();
        }
        let written = writeln!(self.file, "{line}").and_then(|()| self.file.flush());
        Ok(written.map_err(FileError::of("write", &self.path))?)
    }
}
