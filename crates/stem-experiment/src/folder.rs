//! What lies in the folder of a run, and how a run takes its place there.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stem_core::files::{self, FileError};

use crate::error::{Error, Result};

/// What an application scores from.
pub(crate) const BUNDLE: &str = "bundle.safetensors";
/// How the training went, a line per evaluation.
pub(crate) const LOG: &str = "log.jsonl";
/// What it came to.
pub(crate) const METRICS: &str = "metrics.json";
/// The page.
pub(crate) const PAGE: &str = "report.html";
/// What makes a folder a comparison's.
pub(crate) const PLAN: &str = "plan.toml";
/// Where a run works until it is whole.
const UNFINISHED: &str = "unfinished";

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

/// Where a run works: until it is whole, what was in its folder before stays as it was, however the run ends.
#[derive(Debug)]
pub(crate) struct Unfinished<'a> {
    folder: &'a Path,
    /// Everything that the run writes goes here.
    pub path: PathBuf,
}

impl<'a> Unfinished<'a> {
    /// An empty place in `folder`; what a run before left unfinished is removed.
    ///
    /// # Errors
    /// A folder that cannot be emptied or made.
    pub(crate) fn start(folder: &'a Path) -> Result<Self> {
        let path = folder.join(UNFINISHED);
        if path.exists() {
            files::remove_folder(&path)?;
        }
        files::create_folder(&path)?;
        Ok(Self { folder, path })
    }

    /// Puts everything in its place, hidden files (a lock) apart: the run is whole. The four files that belong together come last, one
    /// right after the other.
    ///
    /// # Errors
    /// A file that cannot be moved.
    pub(crate) fn publish(self) -> Result<()> {
        let together = [BUNDLE, LOG, METRICS, PAGE];
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(FileError::of("read", &self.path))? {
            let name = entry.map_err(FileError::of("read", &self.path))?.file_name();
            if together.iter().all(|file| name != *file) && !name.as_encoded_bytes().starts_with(b".") {
                others.push(name);
            }
        }
        // Where a kill comes in between, numbers are missing: never do those of one run stand beside the bundle of another.
        for path in [PAGE, METRICS, LOG].map(|name| self.folder.join(name)) {
            if path.exists() {
                files::remove_file(&path)?;
            }
        }
        let together = together.into_iter().map(Into::into).filter(|name| self.path.join(name).exists());
        for name in others.into_iter().chain(together.collect::<Vec<_>>()) {
            let (from, to) = (self.path.join(&name), self.folder.join(&name));
            if to.is_dir() {
                files::remove_folder(&to)?; // a folder takes no other's place by being renamed
            }
            fs::rename(&from, &to).map_err(FileError::of("move into place", &from))?;
        }
        Ok(files::remove_folder(&self.path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn what_was_there_stays_until_the_run_is_whole_and_then_all_of_it_is_replaced() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        for name in [BUNDLE, METRICS, "task-0/log.jsonl", "columns/ids", "unfinished/left over"] {
            write(folder, name, "old");
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let run = Unfinished::start(folder).unwrap();
        assert_eq!(fs::read_dir(&run.path).unwrap().count(), 0, "what was left over is gone");
        for name in [BUNDLE, LOG, METRICS, PAGE, "task-0/log.jsonl"] {
            write(&run.path, name, "new");
        }
        write(&run.path, ".lock", "new");
        write(folder, ".lock", "old");
        assert_eq!(read(BUNDLE).as_deref(), Some("old"));
        run.publish().unwrap();
        for name in [BUNDLE, LOG, METRICS, PAGE, "task-0/log.jsonl"] {
            assert_eq!(read(name).as_deref(), Some("new"), "{name}");
        }
        for name in ["columns/ids", ".lock"] {
            assert_eq!(read(name).as_deref(), Some("old"), "{name} is left alone");
        }
        assert!(!folder.join(UNFINISHED).exists());
    }

    #[test]
    fn a_finished_run_is_told_and_kept_unless_it_may_be_replaced() {
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
