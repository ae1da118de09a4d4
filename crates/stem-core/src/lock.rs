//! One writer at a time in a folder: a lock that ends with its process.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::{FileError, create_folder};

/// The file that is locked. It stays in the folder, empty: what counts is the lock, which the system takes back when the process ends,
/// however it ends.
const FILE: &str = ".lock";

/// A folder that this process alone writes to, until the last clone is dropped. Other processes, and this one, are refused in between.
#[derive(Debug, Clone)]
pub struct Lock {
    _file: Arc<File>,
    folder: PathBuf,
    is_held: bool,
}

/// A folder that cannot be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else writes to it.
    #[error(
        "{} is in use by another training or comparison: wait for its end, or name another folder",
        folder.display()
    )]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder or its lock file cannot be created or locked.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Lock {
    /// Locks a folder, which is created where it does not exist.
    ///
    /// # Errors
    /// [`LockError::Taken`] at once where the folder is locked already; a folder that cannot be created or written to.
    pub fn of(folder: &Path) -> Result<Self, LockError> {
        create_folder(folder)?;
        let path = folder.join(FILE);
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(FileError::of("create", &path))?;
        Self::hold(file, folder)
    }

    /// Locks a folder that was locked before; `None` where it never was, or does not exist.
    ///
    /// # Errors
    /// See [`of`](Self::of).
    pub fn again(folder: &Path) -> Result<Option<Self>, LockError> {
        let path = folder.join(FILE);
        match File::options().write(true).open(&path) {
            Ok(file) => Self::hold(file, folder).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::of("open", &path)(error).into()),
        }
    }

    fn hold(file: File, folder: &Path) -> Result<Self, LockError> {
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: Arc::new(file), folder: folder.to_path_buf(), is_held: true }),
            Err(TryLockError::WouldBlock) => Err(LockError::Taken { folder: folder.to_path_buf() }),
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                tracing::warn!(
                    "{}: this file system has no locks; start nothing else in this folder",
                    folder.display()
                );
                Ok(Self { _file: Arc::new(file), folder: folder.to_path_buf(), is_held: false })
            }
            Err(TryLockError::Error(error)) => Err(FileError::of("lock", &folder.join(FILE))(error).into()),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it keeps others out: not on a file system without locks.
    pub fn is_held(&self) -> bool {
        self.is_held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_writer_until_the_last_clone_of_its_lock_is_dropped() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("new/run");
        assert!(Lock::again(&folder).unwrap().is_none());
        let lock = Lock::of(&folder).unwrap();
        assert_eq!((lock.folder(), lock.is_held()), (folder.as_path(), true));
        let clone = lock.clone();
        drop(lock);
        for refused in [Lock::of(&folder).unwrap_err(), Lock::again(&folder).unwrap_err()] {
            let expected = format!("{} is in use by another training", folder.display());
            assert!(refused.to_string().starts_with(&expected), "{refused}");
        }
        Lock::of(parent.path()).unwrap(); // a folder above is another one
        drop(clone);
        assert!(Lock::again(&folder).unwrap().is_some());
        Lock::of(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_created_is_an_error_that_names_it() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Lock::of(&file.join("run")).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot create {}", file.join("run").display()));
        let error = Lock::again(&file).unwrap_err(); // what is no folder was not merely never locked
        assert_eq!(error.to_string(), format!("cannot open {}", file.join(FILE).display()));
    }
}
