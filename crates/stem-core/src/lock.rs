//! One program at a time writes into a folder.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use crate::files::{self, FileError};

/// The file that is locked. It stays in the folder: the lock is what the system knows of it, not that it is there.
const FILE: &str = ".lock";

/// A folder that nobody else may write into: until this is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the folder, which is made if it is not there.
    ///
    /// # Errors
    /// A folder that somebody else has taken, or in which no file can be locked.
    pub fn take(folder: &Path) -> Result<Self, FileError> {
        files::create_folder(folder)?;
        let path = folder.join(FILE);
        let file = File::create(&path).map_err(FileError::of("write", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let what =
                    "another training or comparison is writing into it: wait for its end, or name another folder";
                Err(FileError::of("take", folder)(io::Error::new(io::ErrorKind::WouldBlock, what)))
            }
            Err(TryLockError::Error(source)) => Err(FileError::of("lock", &path)(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn a_folder_is_taken_once_until_it_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("new/folder");
        let lock = Lock::take(&inner).unwrap();
        let error = Lock::take(&inner).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot take {}", inner.display()));
        assert!(error.source().unwrap().to_string().starts_with("another training"));
        Lock::take(&folder.path().join("other")).unwrap();
        drop(lock);
        Lock::take(&inner).unwrap();
    }
}
