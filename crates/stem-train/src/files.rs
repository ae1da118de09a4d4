//! Files of a run, with errors that name them.

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};

/// The result of doing `action` to `path`.
fn done<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error::Io { action, path: path.to_path_buf(), source })
}

/// A file's bytes.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    done("read", path, std::fs::read(path))
}

/// A file's text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    done("read", path, std::fs::read_to_string(path))
}

/// Writes a file anew.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    done("write", path, std::fs::write(path, text))
}

/// Writes a file beside the target and renames it: who reads it has the old one or the new one, whole.
pub(crate) fn replace_text(path: &Path, text: &str) -> Result<()> {
    let scratch = path.with_extension("tmp");
    done("write", path, std::fs::write(&scratch, text).and_then(|()| std::fs::rename(&scratch, path)))
}

/// Pretty JSON.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("what is written is plain data") + "\n"
}

/// Replaces a file by pretty JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    replace_text(path, &json(value))
}

/// A folder, with those above it.
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    done("create", folder, std::fs::create_dir_all(folder))
}

/// Removes a file.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    done("remove", path, std::fs::remove_file(path))
}

/// Removes a folder with all in it.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    done("remove", folder, std::fs::remove_dir_all(folder))
}
