//! `log.jsonl`: one JSON object per evaluation, flushed as it is written.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use stem_core::Schema;
use stem_core::files::{FileError, create_folder};

/// Name of the log in a training's folder.
pub const LOG: &str = "log.jsonl";

/// The log of one training.
#[derive(Debug)]
pub(crate) struct RunLog {
    path: PathBuf,
    file: File,
}

impl RunLog {
    /// Starts a log in `folder`, which need not exist.
    pub(crate) fn create(folder: &Path) -> Result<Self, FileError> {
        create_folder(folder)?;
        let path = folder.join(LOG);
        let file = File::create(&path).map_err(FileError::of("write", &path))?;
        Ok(Self { path, file })
    }

    /// Goes on with a log of which so many bytes were written.
    pub(crate) fn go_on(folder: &Path, bytes: u64) -> Result<Self, FileError> {
        let path = folder.join(LOG);
        let open = || {
            let mut file = File::options().write(true).create(true).truncate(false).open(&path)?;
            file.set_len(bytes)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(FileError::of("write", &path))?;
        Ok(Self { path, file })
    }

    /// Bytes so far, all of them on the disk.
    pub(crate) fn bytes(&self) -> Result<u64, FileError> {
        self.file.sync_all().map_err(FileError::of("write", &self.path))?;
        self.file.metadata().map(|found| found.len()).map_err(FileError::of("read", &self.path))
    }

    /// Writes one evaluation.
    pub(crate) fn write(&mut self, evaluation: &Value) -> Result<(), FileError> {
        let written = writeln!(self.file, "{evaluation}").and_then(|()| self.file.flush());
        written.map_err(FileError::of("write", &self.path))
    }

    /// Leaves it on the disk.
    pub(crate) fn finish(self) -> Result<(), FileError> {
        self.file.sync_all().map_err(FileError::of("write", &self.path))
    }
}

/// A value for each task, by its name.
pub(crate) fn by_task<T: Serialize>(schema: &Schema, values: impl IntoIterator<Item = T>) -> Value {
    let value = |value: T| serde_json::to_value(value).expect("numbers are plain data");
    schema.task_names().into_iter().zip(values.into_iter().map(value)).collect()
}
