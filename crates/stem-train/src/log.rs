//! `log.jsonl`: one JSON object per evaluation, flushed as it is written.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use stem_core::Schema;

use crate::error::{Error, Result};
use crate::learner::create_folder;
use crate::metrics::TaskMetrics;

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
        let file = File::create(&path).map_err(|source| Error::Io { action: "write", path: path.clone(), source })?;
        Ok(Self { path, file })
    }

    /// Writes one evaluation.
    #[allow(clippy::too_many_arguments)] // a record's fields
    pub(crate) fn evaluation(
        &mut self,
        epoch: usize,
        steps: usize,
        rate: f64,
        loss: &[f64],
        schema: &Schema,
        valid: &[TaskMetrics],
        best: bool,
    ) -> Result<()> {
        let by_task = |values: Vec<serde_json::Value>| -> serde_json::Map<String, serde_json::Value> {
            schema.tasks.iter().map(|task| task.name.clone()).zip(values).collect()
        };
        let line = serde_json::json!({
            "epoch": epoch,
            "steps": steps,
            "learning_rate": rate,
            "loss": by_task(loss.iter().map(|&loss| loss.into()).collect()),
            "valid": by_task(valid.iter().map(|m| serde_json::to_value(m).expect("metrics are plain data")).collect()),
            "best": best,
        });
        writeln!(self.file, "{line}").and_then(|()| self.file.flush()).map_err(|source| Error::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}
