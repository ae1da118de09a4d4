//! What a training starts from where it does not start from drawn weights: a bundle, or a checkpoint, which has the optimizer's moments too.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stem_core::models::ModelSpec;
use stem_core::{Bundle, files};

use crate::checkpoint::{self, Chain, Place, Source, keys_of};
use crate::error::{Error, Result};
use crate::keep::BUNDLE;

/// The name that the checkpoint of a training has in its folder, where it is kept ([`keep_checkpoint`](crate::TrainConfig::keep_checkpoint)).
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// The name of the checkpoint of a state, where a training that started from several keeps one of each.
pub fn checkpoint_of(state: usize) -> String {
    if state == 0 { CHECKPOINT.into() } else { format!("checkpoint.{state}.safetensors") }
}

/// A model that was trained before.
pub struct Start<C> {
    /// Schema, vocabularies and configuration; the weights too, where there is no checkpoint.
    pub bundle: Arc<Bundle<C>>,
    /// One for all states of the bundle, or one of each.
    checkpoints: Arc<[Checkpoint]>,
    checksum: String,
}

/// A checkpoint that has all that it is on top of; what it holds is on the disk, and is read, and checked, once the training begins.
struct Checkpoint {
    path: PathBuf,
    checksum: String,
}

impl<C> Clone for Start<C> {
    fn clone(&self) -> Self {
        let Self { bundle, checkpoints, checksum } = self;
        Self { bundle: bundle.clone(), checkpoints: checkpoints.clone(), checksum: checksum.clone() }
    }
}

impl<C: ModelSpec> fmt::Debug for Start<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("path", &self.path()).field("checksum", &self.checksum()).finish_non_exhaustive()
    }
}

impl<C> From<Arc<Bundle<C>>> for Start<C> {
    fn from(bundle: Arc<Bundle<C>>) -> Self {
        let checksum = bundle.checksum.clone();
        Self { bundle, checkpoints: Arc::default(), checksum }
    }
}

impl<C: ModelSpec> Start<C> {
    /// Opens a bundle; or a checkpoint, by its file or by the folder of the training that wrote it: `checkpoint.safetensors`, which a whole
    /// training leaves, or else the last of a training that was stopped. Of a training that started from several states it is one of each, in
    /// files beside it ([`checkpoint_of`]). Schema and vocabularies are those of a bundle beside it.
    ///
    /// # Errors
    /// A bundle or checkpoint that does not read, a folder without any, and a checkpoint beside which there is no bundle of its training.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_file() && !checkpoint::is_checkpoint(path) {
            return Ok(Arc::new(Bundle::open(path)?).into());
        }
        let found = if path.is_dir() { in_folder(path)? } else { Some(at(path)?) };
        let Some(found) = found else {
            let what = format!("it holds no checkpoint, neither {CHECKPOINT} nor one of a training that was stopped");
            return Err(unfit(path, format!("{what}. Name a bundle, or train with `keep_checkpoint = true`")));
        };
        let path = found.path().to_path_buf();
        let bundle: Bundle<C> = bundle_beside(&path, found.place()).map_err(|what| unfit(&path, what))?;
        let mut all = vec![found];
        for state in 1..states_kept(&path, &bundle) {
            let own = checkpoint::folder_of(&path).join(checkpoint_of(state));
            all.push(at(&own)?);
        }
        let schema = &bundle.manifest.schema;
        let expected = [schema.rows(), bundle.config.widths(schema).iter().sum()];
        for found in &all {
            let unfit = |what: String| unfit(found.path(), what);
            if found.place().keys != all[0].place().keys {
                return Err(unfit(format!("its keys are not those of {} beside it", path.display())));
            }
            if found.table() != expected {
                return Err(unfit(format!("its table is {:?}, that of its model {expected:?}", found.table())));
            }
        }
        let one =
            |found: &Chain| Checkpoint { path: found.path().to_path_buf(), checksum: found.checksum().to_string() };
        let checkpoints: Arc<[Checkpoint]> = all.iter().map(one).collect();
        let checksum = match &*checkpoints {
            [one] => one.checksum.clone(),
            several => {
                let all: Vec<&str> = several.iter().map(|one| &*one.checksum).collect();
                blake3::hash(all.join(" ").as_bytes()).to_hex().to_string()
            }
        };
        Ok(Self { bundle: Arc::new(bundle), checkpoints, checksum })
    }

    /// The file; of several the first.
    pub fn path(&self) -> &Path {
        self.checkpoints.first().map_or(self.bundle.path(), |checkpoint| &checkpoint.path)
    }

    /// BLAKE3 of what it starts from.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// How many states a training on goes on from: those of a bundle, or as many as there are checkpoints.
    pub fn states(&self) -> usize {
        if self.is_checkpoint() { self.checkpoints.len() } else { self.bundle.manifest.states.len().max(1) }
    }

    /// Whether it has the optimizer's moments.
    pub fn is_checkpoint(&self) -> bool {
        !self.checkpoints.is_empty()
    }

    /// The place in the bundle of a state, for what it says of its training. One checkpoint is of the last moment that was somebody's best.
    pub(crate) fn state_told(&self, state: usize) -> usize {
        if self.checkpoints.len() == 1 { self.bundle.manifest.states.len().saturating_sub(1) } else { state }
    }

    /// The checkpoint of a state, once more from the disk.
    pub(crate) fn checkpoint(&self, state: usize) -> Result<Option<Chain>> {
        let Some(Checkpoint { path, checksum }) = self.checkpoints.get(state) else { return Ok(None) };
        let found = checkpoint::at(path).map_err(|why| unfit(path, why.to_string()))?;
        if found.checksum() != *checksum {
            return Err(unfit(path, "it was replaced by another while the data were read".into()));
        }
        Ok(Some(found))
    }
}

/// Removes the checkpoint that a training kept in a folder.
pub(crate) fn remove_kept(folder: &Path) -> Result<()> {
    let kept = folder.join(CHECKPOINT);
    if kept.exists() {
        files::remove_file(&kept)?;
    }
    Ok(())
}

fn unfit(path: &Path, what: String) -> Error {
    Error::Start { path: path.to_path_buf(), what }
}

/// How many states of a training have a checkpoint of their own, this one included.
fn states_kept<C>(path: &Path, bundle: &Bundle<C>) -> usize {
    let is_first = path.file_name().is_some_and(|name| name == CHECKPOINT);
    let has_second = checkpoint::folder_of(path).join(checkpoint_of(1)).is_file();
    if is_first && has_second { bundle.manifest.states.len().max(1) } else { 1 }
}

/// The checkpoints of single states in a folder, the first's apart, by name.
pub(crate) fn of_states_in(folder: &Path) -> Vec<String> {
    (1..).map(checkpoint_of).take_while(|name| folder.join(name).is_file()).collect()
}

/// The checkpoint of a file.
fn at(path: &Path) -> Result<Chain> {
    checkpoint::at(path).map_err(|why| unfit(path, why.to_string()))
}

/// The checkpoint that a training left in its folder, or in the folder where it works until it is whole.
fn in_folder(folder: &Path) -> Result<Option<Chain>> {
    for folder in [folder.to_path_buf(), folder.join("unfinished")] {
        let (kept, last) = (folder.join(CHECKPOINT), checkpoint::last(&folder));
        match last {
            Ok(Some(last)) => return Ok(Some(last)),
            _ if kept.is_file() => return at(&kept).map(Some),
            Ok(None) => {}
            Err(faults) => return Err(unfit(&folder, format!("none of its checkpoints is of use: {faults}"))),
        }
    }
    Ok(None)
}

/// The bundle beside a checkpoint that is of the same training: its own, or one of the best weights until then.
fn bundle_beside<C: ModelSpec>(file: &Path, place: &Place) -> Result<Bundle<C>, String> {
    let folder = checkpoint::folder_of(file);
    let entries = std::fs::read_dir(folder).map_err(|e| e.to_string())?.flatten().map(|entry| entry.path());
    let is_one = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name == BUNDLE || (name.starts_with("weights-") && name.ends_with(".safetensors"))
    };
    let mut candidates: Vec<PathBuf> = entries.filter(is_one).collect();
    candidates.sort_by_key(|path| std::cmp::Reverse((path.as_os_str().len(), path.clone()))); // of weights the last
    let model = &place.settings["model"];
    for path in &candidates {
        let Ok(bundle) = Bundle::<C>::open(path) else { continue };
        let is_same_model = serde_json::to_value(&bundle.config).is_ok_and(|own| own == *model);
        if is_same_model && keys_of(&bundle.manifest.schema, &bundle.vocabularies) == place.keys {
            return Ok(bundle);
        }
    }
    let why = match candidates.len() {
        0 => "there is no bundle beside it".to_string(),
        _ => "the bundles beside it are of other trainings".to_string(),
    };
    let place = "the keys of its rows are in the bundle of its training, which must lie in its folder";
    Err(format!("{place}, and {why}. A training has one from its first evaluation on"))
}
