//! Where a training works until it is whole, so that a name in its folder stands for a training that has ended.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use stem_core::files::{self, FileError};

use crate::start::of_states_in;

/// Where files of a training before are while those of this one take their places.
const REPLACED: &str = ".replaced";

/// The folder `unfinished` in that of a training: until what is there is published, what was in the folder before stays as it was.
#[derive(Debug)]
pub struct Unfinished {
    folder: PathBuf,
    /// Everything that the training writes goes here.
    pub path: PathBuf,
}

impl Unfinished {
    /// An empty place in `folder`; what a training before left unfinished is removed.
    ///
    /// # Errors
    /// A folder that cannot be emptied or made.
    pub fn start(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join("unfinished");
        if path.exists() {
            files::remove_folder(&path)?;
        }
        files::create_folder(&path)?;
        Ok(Self { folder: folder.to_path_buf(), path })
    }

    /// The place that a training before left, with all that is in it, to go on there; an empty one where there is none.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn go_on(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join("unfinished");
        files::create_folder(&path)?;
        files::remove_scratch(&path)?;
        Ok(Self { folder: folder.to_path_buf(), path })
    }

    /// Puts everything in its place, hidden files (a lock, a mark) apart: the training is whole. The files that belong `together` come last,
    /// in that order, one right after the other; those of them that this training does not have go, for they are of one before.
    ///
    /// # Errors
    /// A file that cannot be moved.
    pub fn publish(self, together: &[&str]) -> Result<(), FileError> {
        let mut names: Vec<OsString> = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(FileError::of("read", &self.path))? {
            names.push(entry.map_err(FileError::of("read", &self.path))?.file_name());
        }
        names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
        let of_states = [&self.folder, &self.path].map(|folder| of_states_in(folder));
        let together: Vec<&str> = together
            .iter()
            .copied()
            .chain(of_states.iter().max_by_key(|names| names.len()).into_iter().flatten().map(String::as_str))
            .collect();
        let together = &together[..];
        names.sort_by_key(|name| together.iter().position(|file| name.as_os_str() == *file));
        // Where a kill comes in between, some are missing: never do those of one training stand beside the first of another.
        // What is not here any more was put in its place before the kill.
        self.set_aside(together)?;
        let first = together.first().map(OsString::from);
        let mut is_in_place = first.as_ref().is_none_or(|first| !names.contains(first));
        for name in &names {
            // Until the first of them is in its place it is that of before that counts, with all that belongs to it.
            self.put(name).inspect_err(|_| {
                if !is_in_place {
                    self.put_back()
                }
            })?;
            is_in_place |= first.as_ref() == Some(name);
        }
        files::remove_folder(&self.path)
    }

    /// Moves what will be replaced, or is of a training before, but for the first of the files `together`, out of the way; all of it back where
    /// that fails.
    fn set_aside(&self, together: &[&str]) -> Result<(), FileError> {
        let replaced = self.path.join(REPLACED);
        let is_coming = |name: &str| self.path.join(name).exists();
        let none_is_there = together.first().is_some_and(|first| is_coming(first)); // of this training
        let coming = together.iter().skip(1).rev().filter(|name| none_is_there || is_coming(name));
        for name in coming.filter(|name| self.folder.join(name).exists()) {
            let from = self.folder.join(name);
            files::create_folder(&replaced)
                .and_then(|()| fs::rename(&from, replaced.join(name)).map_err(FileError::of("move aside", &from)))
                .inspect_err(|_| self.put_back())?;
        }
        Ok(())
    }

    /// Puts back what was set aside, as far as the disk lets it.
    fn put_back(&self) {
        for entry in fs::read_dir(self.path.join(REPLACED)).into_iter().flatten().flatten() {
            if let Err(error) = fs::rename(entry.path(), self.folder.join(entry.file_name())) {
                tracing::warn!("{} could not be put back: {error}", entry.path().display());
            }
        }
    }

    /// Puts one file or folder in its place.
    fn put(&self, name: &OsString) -> Result<(), FileError> {
        let (from, to) = (self.path.join(name), self.folder.join(name));
        if to.is_dir() {
            files::remove_folder(&to)?; // a folder takes no other's place by being renamed
        }
        fs::rename(&from, &to).map_err(FileError::of("move into place", &from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_stays_until_the_training_is_whole_and_then_all_of_it_is_replaced() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let write = |folder: &Path, name: &str, text: &str| {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), text).unwrap();
        };
        let of_state = "checkpoint.1.safetensors";
        for name in ["bundle", "metrics", "checkpoint", of_state, "task-0/log", "columns/ids", "unfinished/left over"] {
            write(folder, name, "old");
        }
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let training = Unfinished::start(folder).unwrap();
        assert_eq!(fs::read_dir(&training.path).unwrap().count(), 0, "what was left over is gone");
        let own = ["bundle", "log", "metrics", "page", "task-0/log"];
        own.iter().for_each(|name| write(&training.path, name, "new"));
        write(&training.path, ".lock", "new");
        write(folder, ".lock", "old");
        assert_eq!(read("bundle").as_deref(), Some("old"));
        training.publish(&["bundle", "checkpoint", "log", "metrics", "page"]).unwrap();
        assert_eq!([read("checkpoint"), read(of_state)], [None, None], "of a bundle that is no longer there");
        own.iter().for_each(|name| assert_eq!(read(name).as_deref(), Some("new"), "{name}"));
        for name in ["columns/ids", ".lock"] {
            assert_eq!(read(name).as_deref(), Some("old"), "{name} is left alone");
        }
        assert!(!folder.join("unfinished").exists());
    }

    #[test]
    fn scratch_that_a_killed_process_left_goes_when_it_is_gone_on() {
        let temporary = tempfile::tempdir().unwrap();
        let path = Unfinished::start(temporary.path()).unwrap().path;
        [".stem-abc.tmp", ".tmpAb3", ".done.json", "log"]
            .iter()
            .for_each(|name| fs::write(path.join(name), "").unwrap());
        Unfinished::go_on(temporary.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(path).unwrap().flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, [".done.json", "log"]);
    }

    #[test]
    fn files_of_which_some_are_in_their_place_are_put_there_by_a_second_try() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        let training = Unfinished::start(folder).unwrap();
        let placed = ["bundle", "checkpoint", "log"];
        placed.iter().for_each(|name| fs::write(folder.join(name), "new").unwrap()); // and then it was killed
        ["metrics", "page"].iter().for_each(|name| fs::write(training.path.join(name), "new").unwrap());
        fs::write(folder.join("page"), "old").unwrap();
        Unfinished::go_on(folder).unwrap().publish(&["bundle", "checkpoint", "log", "metrics", "page"]).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(["bundle", "checkpoint", "log", "metrics", "page"].map(read), ["new"; 5]);
        assert!(!folder.join("unfinished").exists());
    }
}
