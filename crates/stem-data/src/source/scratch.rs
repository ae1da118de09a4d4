//! Where text that had to be unpacked or rewritten lies as long as it is read.

use std::path::{Path, PathBuf};

use stem_core::files::FileError;
use tempfile::TempDir;

use crate::error::Result;

/// Rewritten files; they are removed when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// The folder to use; the system's for temporary files otherwise.
    within: Option<PathBuf>,
    folder: Option<TempDir>,
    files: usize,
}

impl Unpacked {
    /// Files in a folder of their own within `folder`.
    pub(crate) fn within(folder: &Path) -> Self {
        Self { within: Some(folder.into()), ..Self::default() }
    }

    /// The path of a new file.
    pub(crate) fn file(&mut self) -> Result<PathBuf> {
        let folder = match &mut self.folder {
            Some(folder) => folder,
            none => {
                let within = self.within.clone().unwrap_or_else(std::env::temp_dir);
                let made = tempfile::Builder::new().prefix("stem-text-").tempdir_in(&within);
                none.insert(made.map_err(FileError::of("create a folder in", &within))?)
            }
        };
        self.files += 1;
        Ok(folder.path().join(format!("{}.txt", self.files)))
    }
}
