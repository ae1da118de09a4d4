//! Looks at files now and then: a bundle that is another than before is put in its place.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use stem_core::burn::tensor::Device;
use stem_core::files::FileError;

use super::names::name_of;
use super::registry::Registry;
use crate::error::{Error, Result};

/// Files of a folder by which it is known as that of a run.
const OF_A_RUN: [&str; 2] = ["log.jsonl", "metrics.json"];
/// The bundle of a run.
const BUNDLE: &str = "bundle.safetensors";

/// Where bundles are found.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// One file.
    File(PathBuf),
    /// Every bundle of a folder.
    Folder(PathBuf),
}

impl Source {
    /// A file is a bundle; so is the folder of a run, which holds one; any other folder holds one for each of several models.
    pub(crate) fn of(path: &Path) -> Self {
        let bundle = path.join(BUNDLE);
        if !path.is_dir() {
            Self::File(path.into())
        } else if bundle.is_file() && OF_A_RUN.iter().any(|name| path.join(name).is_file()) {
            Self::File(bundle)
        } else {
            Self::Folder(path.into())
        }
    }

    /// The files of bundles, by the names of their models.
    pub(crate) fn files(&self) -> Result<BTreeMap<String, PathBuf>> {
        let folder = match self {
            Self::File(path) => {
                let name = name_of(path).or_else(|| Some(path.file_stem()?.to_string_lossy().into_owned()));
                return Ok(name.into_iter().map(|name| (name, path.clone())).collect());
            }
            Self::Folder(folder) => folder,
        };
        let entries = fs::read_dir(folder).map_err(FileError::of("read", folder)).map_err(Error::from)?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file());
        Ok(paths.filter_map(|path| Some((name_of(&path)?, path))).collect())
    }

    /// Where a bundle that is sent is kept.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => super::model::kept(folder, name),
            Self::File(path) if name_of(path).as_deref() == Some(name) => path.clone(),
            Self::File(path) => super::model::kept(path.parent().unwrap_or(Path::new("")), name),
        }
    }
}

/// What tells that a file was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Signature {
    bytes: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

pub(super) fn signature(path: &Path) -> Option<Signature> {
    let found = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let inode = 0;
    Some(Signature { bytes: found.len(), modified: found.modified().ok(), inode })
}

/// A thread that looks; it ends when this is dropped.
pub(crate) struct Watch {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Looks now and then for what has changed.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub(crate) fn start(mut looking: Looking, every: Duration) -> Result<Self> {
        let (end, ended) = mpsc::channel();
        let look = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(every) {
                looking.look();
            }
        };
        let thread = thread::Builder::new().name("stem-watch".into()).spawn(look);
        let thread = thread.map_err(|source| Error::System { action: "start the thread that watches", source })?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// The files of a source as they were opened.
pub(crate) struct Looking {
    source: Source,
    registry: Weak<Registry>,
    device: Device,
    /// What was opened last, of each file.
    opened: BTreeMap<String, Signature>,
    /// What was seen last: a file that is still being written changes from look to look.
    seen: BTreeMap<String, Signature>,
}

impl Looking {
    /// Remembers the files as they are, before they are opened for the first time: what changes from now on is noticed.
    pub(crate) fn new(source: Source, registry: &Arc<Registry>, device: Device) -> Self {
        let mut looking =
            Self { source, registry: Arc::downgrade(registry), device, opened: BTreeMap::new(), seen: BTreeMap::new() };
        looking.opened = looking.signatures().into_iter().map(|(name, _, found)| (name, found)).collect();
        looking
    }

    fn signatures(&self) -> Vec<(String, PathBuf, Signature)> {
        let files = self.source.files().unwrap_or_default().into_iter();
        files.filter_map(|(name, path)| signature(&path).map(|found| (name, path, found))).collect()
    }

    /// Opens what has changed and has been the same twice since.
    fn look(&mut self) {
        let Some(registry) = self.registry.upgrade() else { return };
        for (name, path, found) in self.signatures() {
            let is_settled = self.seen.insert(name.clone(), found) == Some(found);
            if is_settled && self.opened.get(&name) != Some(&found) {
                self.opened.insert(name.clone(), found);
                if registry.sent(&name) != Some(found) {
                    _ = registry.load(&name, &path, &self.device); // it tells itself why not
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_model_and_a_folder_of_bundles_is_several() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["bundle.safetensors", "joint.safetensors", "notes.txt", ".x.safetensors"] {
            fs::write(path(name), "").unwrap();
        }
        let names = |path: &Path| Source::of(path).files().unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(names(folder.path()), ["bundle", "joint"]);
        fs::write(path("metrics.json"), "").unwrap();
        assert_eq!(names(folder.path()), ["bundle"]);
        assert_eq!(names(&path("joint.safetensors")), ["joint"]);
    }
}
