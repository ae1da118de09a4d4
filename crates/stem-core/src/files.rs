//! Files, with errors that name them, and the one way in which this workspace replaces a file.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A file or folder that could not be read or written. The system's reason is its `source()`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}{}", path.display(), if *.intact { "; what was there before is untouched" } else { "" })]
pub struct FileError {
    /// Read, write, open ...
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Whether an older file of that name still stands whole.
    pub intact: bool,
    /// The system's reason.
    pub source: io::Error,
}

impl FileError {
    /// Wraps the system's error: `.map_err(FileError::of("read", path))`.
    pub fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_path_buf(), intact: false, source }
    }
}

/// A file's bytes.
///
/// # Errors
/// A file that cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(FileError::of("read", path))
}

/// A file's text.
///
/// # Errors
/// A file that cannot be read, or is no UTF-8.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(FileError::of("read", path))
}

/// A folder, with those above it.
///
/// # Errors
/// A folder that cannot be created.
pub fn create_folder(folder: &Path) -> Result<(), FileError> {
    std::fs::create_dir_all(folder).map_err(FileError::of("create", folder))
}

/// Removes a file.
///
/// # Errors
/// A file that cannot be removed.
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    std::fs::remove_file(path).map_err(FileError::of("remove", path))
}

/// Removes a folder with all that is in it.
///
/// # Errors
/// A folder that cannot be removed.
pub fn remove_folder(folder: &Path) -> Result<(), FileError> {
    std::fs::remove_dir_all(folder).map_err(FileError::of("remove", folder))
}

/// Replaces a file: `write` fills a scratch file beside it, whose path it is given; that is flushed and renamed; then the folder
/// is synced. A reader has the old file or the new one, whole. The scratch file's name is nobody else's, its mode is what the
/// umask leaves of `rw-rw-rw-`, and it is gone after an error. A symbolic link is followed: what it points to is replaced.
///
/// # Errors
/// What `write` gives, and the system's; the older file is untouched but where only the folder could not be synced.
pub fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), FileError> {
    replace_and_sync(path, write, sync_folder)
}

fn replace_and_sync(
    path: &Path,
    write: impl FnOnce(&Path) -> io::Result<()>,
    sync: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), FileError> {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf()); // what does not exist yet is no link to anything
    let failed = |source| FileError { action: "write", path: path.to_path_buf(), intact: path.exists(), source };
    if let Ok(found) = std::fs::metadata(&target)
        && !found.is_file()
    {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let scratch = scratch_file(folder).map_err(failed)?;
    write(scratch.path()).map_err(failed)?;
    scratch.as_file().sync_all().map_err(failed)?;
    scratch.persist(&target).map_err(|e| failed(e.error))?;
    sync(folder).map_err(FileError::of("sync the folder of", path))
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}
#[cfg(not(unix))] // a folder is no file that can be synced
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn scratch_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(SCRATCH).suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// What the names of scratch files begin with.
const SCRATCH: &str = ".stem-";
/// What those began with that earlier versions wrote beside them.
const OLD_SCRATCH: &str = ".tmp";

/// Removes the scratch files that killed processes left in a folder into which nobody else writes now.
///
/// # Errors
/// A folder that cannot be read, and a file that cannot be removed.
pub fn remove_scratch(folder: &Path) -> Result<(), FileError> {
    for entry in std::fs::read_dir(folder).map_err(FileError::of("read", folder))? {
        let entry = entry.map_err(FileError::of("read", folder))?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        let is_scratch = (name.starts_with(SCRATCH) && name.ends_with(".tmp")) || name.starts_with(OLD_SCRATCH);
        if is_scratch && path.is_file() {
            tracing::info!("{}: left by a process that was killed, removed", path.display());
            remove_file(&path)?;
        }
    }
    Ok(())
}

/// Replaces a text file.
///
/// # Errors
/// See [`replace`].
pub fn replace_text(path: &Path, text: &str) -> Result<(), FileError> {
    replace(path, |scratch| std::fs::write(scratch, text))
}

/// Pretty JSON with a line break at its end.
///
/// # Panics
/// A value that is not plain data, such as a map whose keys are no texts.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("what is written is plain data") + "\n"
}

/// Replaces a file by pretty JSON.
///
/// # Errors
/// See [`replace`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    replace_text(path, &json(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn a_file_is_replaced_whole_and_an_error_leaves_it_and_no_scratch_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/file.txt");
        replace_text(&path, "old").unwrap();
        let error = replace(&path, |_| Err(io::Error::other("no more"))).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}; what was there before is untouched", path.display()));
        assert_eq!(error.source().unwrap().to_string(), "no more");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        replace_text(&path, "new").unwrap();
        assert_eq!(read_text(&path).unwrap(), "new");
        assert!(replace_text(folder.path(), "x").unwrap_err().source().unwrap().to_string().contains("not a regular"));
    }

    #[test]
    fn what_was_written_is_read_as_bytes_and_is_gone_once_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [0xff, 0x00]).unwrap();
        assert_eq!(read(&path).unwrap(), [0xff, 0x00]);
        assert!(read_text(&path).is_err());
        remove_file(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(remove_file(&path).unwrap_err().to_string(), format!("cannot remove {}", path.display()));
        write_json(&path, &[1]).unwrap();
        assert_eq!(read_text(&path).unwrap(), "[\n  1\n]\n");
        remove_folder(folder.path()).unwrap();
        assert!(!folder.path().exists());
    }

    #[test]
    fn an_error_after_the_renaming_does_not_say_that_the_older_file_stands() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        replace_text(&path, "old").unwrap();
        let error =
            replace_and_sync(&path, |scratch| std::fs::write(scratch, "new"), |_| Err(io::Error::other("gone")));
        assert_eq!(error.unwrap_err().to_string(), format!("cannot sync the folder of {}", path.display()));
        assert_eq!(read_text(&path).unwrap(), "new");
    }

    /// The test runs itself again under other masks, which are a process's and not a thread's.
    #[cfg(unix)]
    #[test]
    fn the_umask_decides_who_may_read_a_file() {
        use std::os::unix::fs::PermissionsExt;
        if let Some(path) = std::env::var_os("STEM_TEST_UMASK") {
            return replace_text(Path::new(&path), "new").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        for (mask, mode) in [("022", 0o644), ("027", 0o640), ("077", 0o600), ("000", 0o666)] {
            let path = folder.path().join(mask);
            let status = std::process::Command::new("sh")
                .args([
                    "-c",
                    &format!("umask {mask}; exec \"$0\" --exact files::tests::the_umask_decides_who_may_read_a_file"),
                ])
                .arg(std::env::current_exe().unwrap())
                .env("STEM_TEST_UMASK", &path)
                .stdout(std::process::Stdio::null())
                .status();
            assert!(status.unwrap().success());
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode, "under umask {mask}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_and_no_name_beside_the_file_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| folder.path().join(name);
        std::fs::write(of("precious"), "precious").unwrap();
        std::os::unix::fs::symlink(of("precious"), of("file.tmp")).unwrap();
        std::fs::write(of("real"), "old").unwrap();
        std::os::unix::fs::symlink(of("real"), of("file")).unwrap();
        replace_text(&of("file"), "new").unwrap();
        assert_eq!(["precious", "real", "file"].map(|name| read_text(&of(name)).unwrap()), ["precious", "new", "new"]);
        assert!(of("file").is_symlink() && of("file.tmp").is_symlink());
    }
}
