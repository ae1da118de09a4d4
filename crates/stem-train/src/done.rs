//! What says of a folder that its training has ended: its bundle and log are whole, and what remains is to measure and to publish them.
//!
//! The mark is hidden, so that it is never published. It is written before the checkpoints go, so that a program that is killed in between,
//! or while it measures, does not train again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stem_core::files::{self, FileError};

use crate::learner::FitSummary;

const MARK: &str = ".done.json";

#[derive(Serialize, Deserialize)]
struct Done {
    settings: Value,
    summary: FitSummary,
}

fn mark(folder: &Path) -> PathBuf {
    folder.join(MARK)
}

/// What the training of these [`settings`](crate::settings) in `folder` came to, where it has ended there.
pub fn done(folder: &Path, settings: &Value) -> Option<FitSummary> {
    let text = std::fs::read(mark(folder)).ok()?;
    let done: Done = serde_json::from_slice(&text).ok()?;
    (done.settings == *settings).then_some(done.summary)
}

/// Marks the training of `folder`, of these settings, as one that has ended.
///
/// # Errors
/// A mark that cannot be written.
pub fn mark_done(folder: &Path, settings: &Value, summary: &FitSummary) -> Result<(), FileError> {
    files::write_json(&mark(folder), &Done { settings: settings.clone(), summary: summary.clone() })
}

/// Removes the mark of `folder`, where there is one.
///
/// # Errors
/// A mark that cannot be removed.
pub fn unmark_done(folder: &Path) -> Result<(), FileError> {
    let mark = mark(folder);
    if mark.exists() { files::remove_file(&mark) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_training_of_the_same_settings_that_has_ended_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let summary = FitSummary { epochs: 3, ..FitSummary::default() };
        assert_eq!(done(folder, &"a".into()), None);
        mark_done(folder, &"a".into(), &summary).unwrap();
        assert_eq!((done(folder, &"a".into()), done(folder, &"b".into())), (Some(summary), None));
        assert!(std::fs::read_dir(folder).unwrap().flatten().all(|e| e.file_name().to_string_lossy().starts_with('.')));
        unmark_done(folder).unwrap();
        unmark_done(folder).unwrap();
        assert_eq!(done(folder, &"a".into()), None);
    }
}
