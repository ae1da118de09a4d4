//! Where a preparation writes before its result takes its name: a hidden folder beside it, locked as long as it is in use.
//!
//! A process that is killed leaves its folder behind, without a lock. The next preparation beside it removes the folder, and first
//! puts back a data set that was just being replaced.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stem_core::files::{FileError, create_folder};
use stem_core::lock::{Lock, LockError};
use tempfile::TempDir;

use crate::error::Result;

/// What the names of scratch folders begin with.
const PREFIX: &str = ".stem-prepare-";
/// A folder that is not locked yet is left alone while it is younger than this.
const YOUNG: Duration = Duration::from_secs(60);
/// How often a new folder is tried when another process sweeps it away before it is locked.
const ATTEMPTS: usize = 8;

/// A scratch folder; it is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    _lock: Lock, // released before the folder is removed: an open file would keep some systems from removing it
    folder: TempDir,
}

impl Scratch {
    /// A new folder in the folder of `out`, which is created.
    pub(crate) fn beside(out: &Path) -> Result<Self> {
        let parent = parent(out);
        create_folder(parent)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent);
            let folder = folder.map_err(FileError::of("create a folder in", parent))?;
            match Lock::of(folder.path()) {
                Ok(lock) if folder.path().is_dir() => return Ok(Self { _lock: lock, folder }),
                Err(error @ LockError::File(_)) => return Err(error.into()),
                Err(error) if attempts == ATTEMPTS => return Err(error.into()),
                _ => {} // swept away
            }
        }
    }

    /// A new folder within.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        create_folder(&folder)?;
        Ok(folder)
    }

    /// Gives `made`, a folder within, the name `out`. What was there goes to the scratch folder first, and comes back if that fails.
    pub(crate) fn replace(&self, made: &Path, out: &Path) -> Result<()> {
        let old = self.folder("old")?.join(out.file_name().unwrap_or_default());
        if out.exists() {
            std::fs::rename(out, &old).map_err(FileError::of("replace", out))?;
        }
        let renamed = std::fs::rename(made, out);
        if renamed.is_err() && old.exists() {
            std::fs::rename(&old, out).map_err(FileError::of("restore", out))?;
        }
        renamed.map_err(FileError::of("write", out))?;
        sync_folder(parent(out))
    }
}

/// The folder that something is in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes sure that the names in a folder outlast a loss of power.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    #[cfg(unix)] // elsewhere a folder is no file that can be synced
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::of("sync", folder))?;
    Ok(())
}

/// Removes scratch folders beside `out` that no living process uses. What cannot be removed is left to the next preparation.
pub(crate) fn sweep_beside(out: &Path) {
    let parent = parent(out);
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        let lock = match Lock::again(&path) {
            Ok(Some(lock)) => Some(lock),
            Ok(None) if is_old(&path) => None,
            _ => continue,
        };
        restore(&path, parent);
        drop(lock);
        match std::fs::remove_dir_all(&path) {
            Ok(()) => tracing::info!("removed {}, which a process that has ended left behind", path.display()),
            Err(error) => tracing::warn!("cannot remove {}: {error}", path.display()),
        }
    }
}

fn is_old(folder: &Path) -> bool {
    let changed = std::fs::metadata(folder).and_then(|found| found.modified()).ok();
    changed.and_then(|changed| changed.elapsed().ok()).is_some_and(|age| age > YOUNG)
}

/// Puts back what a process was replacing when it ended, where nothing has that name.
fn restore(scratch: &Path, parent: &Path) {
    let Ok(old) = std::fs::read_dir(scratch.join("old")) else { return };
    for entry in old.flatten() {
        let name = parent.join(entry.file_name());
        if !name.exists() && std::fs::rename(entry.path(), &name).is_ok() {
            tracing::warn!("{} is the data set of before: its replacement was not finished", name.display());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn scratch_folders(parent: &Path) -> usize {
        let entries = std::fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.to_string_lossy().starts_with(PREFIX)).count()
    }

    #[test]
    fn scratch_of_a_process_that_has_ended_is_swept_and_scratch_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("columns");
        let in_use = Scratch::beside(&out).unwrap();
        let dead = parent.path().join(format!("{PREFIX}dead"));
        drop(Lock::of(&dead).unwrap());
        let unlocked = parent.path().join(format!("{PREFIX}young"));
        std::fs::create_dir(&unlocked).unwrap();
        sweep_beside(&out);
        let next = Scratch::beside(&out).unwrap();
        assert!(!dead.exists() && unlocked.exists() && in_use.folder.path().exists());
        assert_eq!(scratch_folders(parent.path()), 3);
        std::fs::File::open(&unlocked).unwrap().set_modified(std::time::SystemTime::now() - 2 * YOUNG).unwrap();
        drop((in_use, next));
        assert_eq!(scratch_folders(parent.path()), 1);
        sweep_beside(&out);
        assert_eq!(scratch_folders(parent.path()), 0);
    }

    #[test]
    fn a_data_set_that_was_being_replaced_comes_back() {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("columns");
        let dead = parent.path().join(format!("{PREFIX}dead"));
        drop(Lock::of(&dead).unwrap());
        std::fs::create_dir_all(dead.join("old/columns")).unwrap();
        std::fs::write(dead.join("old/columns/file"), "before").unwrap();
        sweep_beside(&out);
        assert_eq!(std::fs::read_to_string(out.join("file")).unwrap(), "before");
        let scratch = Scratch::beside(&out).unwrap();
        let made = scratch.folder("made").unwrap();
        std::fs::write(made.join("file"), "after").unwrap();
        scratch.replace(&made, &out).unwrap();
        drop(scratch);
        assert_eq!(std::fs::read_to_string(out.join("file")).unwrap(), "after");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_result_that_cannot_take_its_name_leaves_what_was_there() {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("columns");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(out.join("file"), "before").unwrap();
        let scratch = Scratch::beside(&out).unwrap();
        scratch.replace(&parent.path().join("nowhere"), &out).unwrap_err();
        assert_eq!(std::fs::read_to_string(out.join("file")).unwrap(), "before");
    }
}
