//! What lies in the folder of a run.

use std::path::Path;

use serde::Deserialize;
use stem_core::files::{self, FileError};
use stem_train::unmark_done;
pub(crate) use stem_train::{BUNDLE, JOINT, LOG};

use crate::error::{Error, Result};

/// What a run came to.
pub(crate) const METRICS: &str = "metrics.json";
/// The page.
pub(crate) const PAGE: &str = "report.html";
/// What makes a folder a comparison's.
pub(crate) const PLAN: &str = "plan.toml";

/// Refuses a folder that holds a comparison, or a finished run that is not to be replaced.
///
/// # Errors
/// [`Error::HoldsComparison`], [`Error::Occupied`].
pub(crate) fn check_free(folder: &Path, overwrite: bool) -> Result<()> {
    if folder.join(PLAN).exists() {
        return Err(Error::HoldsComparison { folder: folder.into() });
    }
    match finished_run(folder) {
        Some(what) if !overwrite => Err(Error::Occupied { folder: folder.into(), what }),
        _ => Ok(()),
    }
}

/// Removes from the folder of a run that is trained and measured what a run that goes on would need: the bundle of the joint best, and the marks
/// that its trainings have ended.
///
/// # Errors
/// A file that cannot be removed.
pub(crate) fn tidy(folder: &Path) -> Result<()> {
    let joint = folder.join(JOINT);
    if joint.exists() {
        files::remove_file(&joint)?;
    }
    unmark_done(folder)?;
    for entry in std::fs::read_dir(folder).map_err(FileError::of("read", folder))? {
        let part = entry.map_err(FileError::of("read", folder))?.path(); // a task's, where each is trained apart
        if part.is_dir() {
            unmark_done(&part)?;
        }
    }
    Ok(())
}

/// The finished run in a folder, in words.
pub(crate) fn finished_run(folder: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Run {
        model: String,
        seed: u64,
    }
    let read = || serde_json::from_slice::<Run>(&files::read(&folder.join(METRICS)).ok()?).ok();
    let there = |name: &str| folder.join(name).exists();
    (there(BUNDLE) || there(METRICS)).then(|| match read() {
        Some(Run { model, seed }) => format!("a run of '{model}' with seed {seed}"),
        None => "a bundle of another run".into(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn a_finished_run_is_named_and_stays_unless_it_may_be_replaced() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        check_free(folder, false).unwrap();
        write(folder, BUNDLE, "");
        let message = check_free(folder, false).unwrap_err().to_string();
        assert!(message.contains("holds a bundle of another run: name another folder"), "{message}");
        write(folder, METRICS, r#"{"model":"mmoe","seed":7,"epochs":3}"#);
        let message = check_free(folder, false).unwrap_err().to_string();
        assert!(message.contains("holds a run of 'mmoe' with seed 7: name another folder"), "{message}");
        fs::remove_file(folder.join(BUNDLE)).unwrap();
        assert!(check_free(folder, false).is_err(), "metrics alone are somebody's too");
        check_free(folder, true).unwrap();
        write(folder, PLAN, "");
        assert!(matches!(check_free(folder, true), Err(Error::HoldsComparison { .. })));
    }
}
