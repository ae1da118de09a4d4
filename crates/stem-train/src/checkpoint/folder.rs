//! The checkpoints of a folder: which are on top of which, which of them is of use, and which may go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use stem_core::files::{self, FileError};

use super::chain::{Chain, Source};
use super::read::{Head, Unusable};
use super::state::{Place, differences};
use crate::error::{Error, Result};
use crate::keep::KeeperState;
use crate::log::LOG;

/// Checkpoints that are kept: should the last one not be whole, there is the one before.
const KEPT: usize = 2;
const PREFIX: &str = "checkpoint-";
const ON: &str = "-on-";
const SUFFIX: &str = ".safetensors";

/// The file of a checkpoint, whole or on top of another.
pub(crate) fn path(folder: &Path, steps: usize, base: Option<usize>) -> PathBuf {
    let on = base.map_or(String::new(), |base| format!("{ON}{base}"));
    folder.join(format!("{PREFIX}{steps}{on}{SUFFIX}"))
}

/// A checkpoint in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) steps: usize,
    /// The steps of the one that it is on top of.
    base: Option<usize>,
    pub(crate) path: PathBuf,
}

/// The checkpoints in a folder, by steps, the last first.
pub(crate) fn list(folder: &Path) -> Result<Vec<Found>, FileError> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(folder).map_err(FileError::of("read", folder))? {
        let path = entry.map_err(FileError::of("read", folder))?.path();
        let name = name_of(&path);
        let Some(own) = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX)) else { continue };
        let (steps, base) = own.split_once(ON).map_or((own, None), |(steps, base)| (steps, Some(base)));
        if let (Ok(steps), Ok(base)) = (steps.parse(), base.map(str::parse).transpose()) {
            found.push(Found { steps, base, path });
        }
    }
    found.sort_by_key(|found| (std::cmp::Reverse(found.steps), found.base.is_some()));
    Ok(found)
}

/// The steps of a checkpoint and of all that it is on top of.
fn chain(all: &[Found], steps: usize) -> BTreeSet<usize> {
    let mut needed = BTreeSet::from([steps]);
    for found in all {
        // the last come first, so that those on top come before what they are on top of
        if needed.contains(&found.steps) {
            needed.extend(found.base);
        }
    }
    needed
}

/// The checkpoints that a training may have to go on from: the last ones, and the last of those that share no file with the newest, so
/// that one damaged file leaves something.
fn kept(all: &[Found]) -> BTreeSet<usize> {
    let Some(newest) = all.first() else { return BTreeSet::new() };
    let files = chain(all, newest.steps);
    let apart = all.iter().find(|found| chain(all, found.steps).is_disjoint(&files));
    all.iter().take(KEPT).chain(apart).map(|found| found.steps).collect()
}

/// Removes what no kept checkpoint needs, the newest first: none is ever without what it is on top of. Gives the steps of those that are kept.
pub(crate) fn clean(folder: &Path) -> Result<BTreeSet<usize>, FileError> {
    let all = list(folder)?;
    let kept = kept(&all);
    let needed: BTreeSet<usize> = kept.iter().flat_map(|steps| chain(&all, *steps)).collect();
    all.iter().filter(|found| !needed.contains(&found.steps)).try_for_each(|found| files::remove_file(&found.path))?;
    Ok(kept)
}

/// Removes all of them.
pub(crate) fn clear(folder: &Path) -> Result<(), FileError> {
    list(folder)?.iter().try_for_each(|found| files::remove_file(&found.path))
}

/// What the kept checkpoints of a folder know of best moments, by steps, the last first. One that is of no use knows of none.
pub(crate) fn known(folder: &Path) -> Result<Vec<(usize, KeeperState)>, FileError> {
    let all = list(folder)?;
    let kept = kept(&all);
    let place_in = |path: &Path| Head::open(path).ok().map(|head| head.place);
    let usable = |found: &Found| place_in(&found.path).filter(|place| missing(folder, place).is_none());
    let of = |found: &Found| Some((found.steps, usable(found)?.keeper));
    Ok(all.iter().filter(|found| kept.contains(&found.steps)).filter_map(of).collect())
}

/// Takes the last checkpoint of a folder that is of use, whole with all that it is on top of, the weights that it names, which `fault_of_weights`
/// reads, and the log: `take` reads it. One that is not is told, the one before is taken, and what came after that is removed.
///
/// # Errors
/// [`Error::OtherSettings`] where it is of another training; [`Error::Checkpoint`] where it may be whole but cannot be read now, or not by
/// this version, or does not fit; [`Error::NoneUsable`] where there are some and none is of use: what is there is left alone.
pub(crate) fn newest(
    folder: &Path,
    settings: &serde_json::Value,
    fault_of_weights: impl Fn(&Path) -> Option<String>,
    mut take: impl FnMut(&Chain) -> Result<(), Unusable>,
) -> Result<Option<Chain>> {
    let all = list(folder)?;
    let mut faults = Vec::new();
    for (place, Found { path, .. }) in all.iter().enumerate() {
        let mut taken = || -> Result<Chain, Unusable> {
            let chain = Chain::open(&all, path)?;
            let differences = differences(&chain.place().settings, settings);
            if !differences.is_empty() {
                chain.verify_last()?; // else that is the damage
                return Err(Unusable::OfAnother(differences.join("; ")));
            }
            let of_weights =
                |path: PathBuf| Some(format!("of the best weights that it knows of, {}", fault_of_weights(&path)?));
            let weights = || chain.place().keeper.weights(folder).into_iter().find_map(of_weights);
            if let Some(fault) = missing(folder, chain.place()).or_else(weights) {
                return Err(fault.into());
            }
            take(&chain)?;
            Ok(chain)
        };
        match taken() {
            Ok(chain) => {
                all[..place].iter().try_for_each(|found| files::remove_file(&found.path))?;
                return Ok(Some(chain));
            }
            Err(Unusable::OfAnother(differences)) => {
                return Err(Error::OtherSettings { path: path.clone(), differences });
            }
            Err(Unusable::Unreadable(what)) => return Err(Error::Checkpoint { path: path.clone(), what }),
            Err(why) => {
                tracing::warn!("{}: {why}; the checkpoint before it is taken, if there is one", path.display());
                faults.push(format!("{}: {why}", name_of(path)));
            }
        }
    }
    match faults.is_empty() {
        true => Ok(None),
        false => Err(Error::NoneUsable { folder: folder.to_path_buf(), faults: faults.join("; ") }),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A checkpoint with all that it is on top of, by its file. What they hold is not read yet.
pub(crate) fn at(path: &Path) -> Result<Chain, Unusable> {
    let all = list(folder_of(path)).map_err(|error| Unusable::Unreadable(error.to_string()))?;
    Chain::open(&all, path)
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The last checkpoint of a folder that is as long as it has to be, with all that it is on top of. One that is not is told; what is wrong with each, where
/// there are some and none is.
pub(crate) fn last(folder: &Path) -> Result<Option<Chain>, String> {
    let all = list(folder).map_err(|error| format!("{error}: {}", error.source))?;
    let mut faults = Vec::new();
    for Found { path, .. } in &all {
        match Chain::open(&all, path) {
            Ok(chain) => return Ok(Some(chain)),
            Err(why) => {
                tracing::warn!("{}: {why}; the checkpoint before it is taken, if there is one", path.display());
                faults.push(format!("{}: {why}", name_of(path)));
            }
        }
    }
    if faults.is_empty() { Ok(None) } else { Err(faults.join("; ")) }
}

/// What a checkpoint needs beside it and does not have.
fn missing(folder: &Path, place: &Place) -> Option<String> {
    if let Some(weights) = place.keeper.weights(folder).into_iter().find(|path| !path.is_file()) {
        return Some(format!("the best weights that it knows of are missing ({})", weights.display()));
    }
    let log = std::fs::metadata(folder.join(LOG)).map_or(0, |found| found.len());
    (log < place.log).then(|| format!("{LOG} has {log} bytes and had {} when it was written", place.log))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(folder: &Path) -> Vec<usize> {
        list(folder).unwrap().iter().map(|found| found.steps).collect()
    }

    #[test]
    fn what_the_last_ones_are_on_top_of_stays_and_so_does_one_that_shares_no_file_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let write = |steps, base| std::fs::write(path(folder, steps, base), "").unwrap();
        for (steps, base) in
            [(5, None), (10, None), (20, Some(10)), (30, None), (40, Some(30)), (50, Some(40)), (60, Some(50))]
        {
            write(steps, base);
        }
        std::fs::write(folder.join("checkpoint-x.safetensors"), "").unwrap();
        assert_eq!(steps(folder), [60, 50, 40, 30, 20, 10, 5]);
        assert_eq!(clean(folder).unwrap(), BTreeSet::from([60, 50, 20]));
        assert_eq!(steps(folder), [60, 50, 40, 30, 20, 10]);
        write(70, None);
        assert_eq!(clean(folder).unwrap(), BTreeSet::from([70, 60]));
        assert_eq!(steps(folder), [70, 60, 50, 40, 30]);
        write(80, None);
        assert_eq!(clean(folder).unwrap(), BTreeSet::from([80, 70]));
        assert_eq!(steps(folder), [80, 70]);
        clear(folder).unwrap();
        assert!(steps(folder).is_empty());
    }

    #[test]
    fn the_folder_of_a_name_alone_is_the_one_that_the_program_is_in() {
        assert_eq!(folder_of(Path::new("checkpoint.safetensors")), Path::new("."));
        assert_eq!(folder_of(Path::new("out/checkpoint.safetensors")), Path::new("out"));
    }
}
