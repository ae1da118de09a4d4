//! Files of a training that runs: they take their names at its end, so that a name stands for a training that has ended.

use std::path::{Path, PathBuf};

use stem_core::files::{self, FileError};

/// A file that is written under one name and read under another.
#[derive(Debug, Clone)]
pub(crate) struct Unfinished {
    /// Where it is while the training runs.
    pub(crate) path: PathBuf,
    /// Where it is afterwards.
    pub(crate) finished: PathBuf,
}

impl Unfinished {
    /// The bundle of a training in `folder`.
    pub(crate) fn bundle(folder: &Path) -> Self {
        Self { path: folder.join("unfinished.safetensors"), finished: folder.join("bundle.safetensors") }
    }

    /// The log of a training in `folder`.
    pub(crate) fn log(folder: &Path) -> Self {
        Self { path: folder.join("unfinished.jsonl"), finished: folder.join("log.jsonl") }
    }

    /// Gives the file its name; what had that name is replaced in one step.
    pub(crate) fn finish(&self) -> Result<(), FileError> {
        files::replace(&self.finished, |scratch| std::fs::rename(&self.path, scratch))
    }
}
