//! Work that was finished before is not done again: beside what came of it stands what it was asked for.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Result;
use crate::files;

const SETTINGS: &str = "settings.json";

/// What `file` in `folder` says, if it was finished with the same settings.
pub(crate) fn kept<T: DeserializeOwned>(folder: &Path, file: &str, settings: &Value) -> Option<T> {
    let before: Value = serde_json::from_slice(&files::read(&folder.join(SETTINGS)).ok()?).ok()?;
    let found = serde_json::from_slice(&files::read(&folder.join(file)).ok()?).ok()?;
    (before == *settings).then_some(found)
}

/// Says that everything in `folder` is finished, and what it was asked for.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn keep(folder: &Path, settings: &Value) -> Result<()> {
    files::write_json(&folder.join(SETTINGS), settings)
}
