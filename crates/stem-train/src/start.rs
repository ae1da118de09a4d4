//! What a training starts from where it does not start from drawn weights: a bundle, or a checkpoint, which has the optimizer's moments too.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stem_core::models::ModelSpec;
use stem_core::nn::EmbeddingTable;
use stem_core::{Bundle, files, params};

use crate::checkpoint::{self, Place, Written, keys_of};
use crate::error::{Error, Result};
use crate::keep::BUNDLE;

/// The name that the checkpoint of a training has in its folder, where it is kept ([`keep_checkpoint`](crate::TrainConfig::keep_checkpoint)).
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// A model that was trained before.
pub struct Start<C> {
    /// Schema, vocabularies and configuration; the weights too, where there is no checkpoint.
    pub bundle: Arc<Bundle<C>>,
    checkpoint: Option<Arc<Checkpoint>>,
}

/// A checkpoint that was found whole; what it holds is on the disk.
struct Checkpoint {
    path: PathBuf,
    checksum: String,
}

impl<C> Clone for Start<C> {
    fn clone(&self) -> Self {
        Self { bundle: self.bundle.clone(), checkpoint: self.checkpoint.clone() }
    }
}

impl<C: ModelSpec> fmt::Debug for Start<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").field("path", &self.path()).field("checksum", &self.checksum()).finish_non_exhaustive()
    }
}

impl<C> From<Arc<Bundle<C>>> for Start<C> {
    fn from(bundle: Arc<Bundle<C>>) -> Self {
        Self { bundle, checkpoint: None }
    }
}

/// Table, network, and what a checkpoint says beside them.
pub(crate) struct Loaded<M> {
    pub(crate) table: EmbeddingTable,
    pub(crate) network: M,
    /// Without its table and network.
    pub(crate) moments: Option<Written>,
}

impl<C: ModelSpec> Start<C> {
    /// Opens a bundle; or a checkpoint, by its file or by the folder of the training that wrote it: `checkpoint.safetensors`, which a whole
    /// training leaves, or else the last of a training that was stopped. Schema and vocabularies are those of a bundle beside it.
    ///
    /// # Errors
    /// A bundle or checkpoint that does not read, a folder without any, and a checkpoint beside which there is no bundle of its training.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_file() && !checkpoint::is_checkpoint(path) {
            return Ok(Arc::new(Bundle::open(path)?).into());
        }
        let found = if path.is_dir() { in_folder(path)? } else { Some(at(path)?) };
        let Some((file, Written { place, checksum, table, .. })) = found else {
            let what = format!("it holds no checkpoint, neither {CHECKPOINT} nor one of a training that was stopped");
            return Err(unfit(path, format!("{what}. Name a bundle, or train with `keep_checkpoint = true`")));
        };
        let bundle = bundle_beside(&file, &place).map_err(|what| unfit(&file, what))?;
        let rows = bundle.manifest.schema.rows();
        if table.1[0] != rows {
            return Err(unfit(&file, format!("its table has {} rows, its vocabularies {rows}", table.1[0])));
        }
        Ok(Self { bundle: Arc::new(bundle), checkpoint: Some(Arc::new(Checkpoint { path: file, checksum })) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.checkpoint.as_ref().map_or(self.bundle.path(), |checkpoint| &checkpoint.path)
    }

    /// BLAKE3 of what it starts from.
    pub fn checksum(&self) -> &str {
        self.checkpoint.as_ref().map_or(&self.bundle.checksum, |checkpoint| &checkpoint.checksum)
    }

    /// How many states a training on goes on from: those of a bundle, one of a checkpoint.
    pub fn states(&self) -> usize {
        if self.is_checkpoint() { 1 } else { self.bundle.manifest.states.len().max(1) }
    }

    /// Whether it has the optimizer's moments.
    pub fn is_checkpoint(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// The place in the bundle of a state, for what it says of its training. A checkpoint is of the last moment that was somebody's best.
    pub(crate) fn state_told(&self, state: usize) -> usize {
        if self.is_checkpoint() { self.bundle.manifest.states.len().saturating_sub(1) } else { state }
    }

    /// Reads the weights of a state.
    pub(crate) fn load(&self, state: usize, device: &Device) -> Result<Loaded<C::Model>> {
        let Some(Checkpoint { path, checksum }) = self.checkpoint.as_deref() else {
            let (table, network) = self.bundle.load_state(device, state)?;
            return Ok(Loaded { table, network, moments: None });
        };
        let unfit = |what: String| Error::Start { path: path.clone(), what };
        let mut written = checkpoint::read(path).map_err(unfit)?;
        if written.checksum != *checksum {
            return Err(unfit("it was replaced by another while the data were read".into()));
        }
        let schema = &self.bundle.manifest.schema;
        let drawn = self.bundle.config.init(schema, &mut ChaCha8Rng::seed_from_u64(0), device);
        let network = params::replace(drawn, std::mem::take(&mut written.network)).map_err(|e| unfit(e.to_string()))?;
        let (values, [_, width]) = std::mem::take(&mut written.table);
        let widths = self.bundle.config.widths(schema);
        if widths.iter().sum::<usize>() != width {
            return Err(unfit(format!(
                "its rows are {width} wide, those of its model {}",
                widths.iter().sum::<usize>()
            )));
        }
        let table = EmbeddingTable::from_values(values, &widths, device);
        Ok(Loaded { table, network, moments: Some(written) })
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

/// The checkpoint of a file.
fn at(path: &Path) -> Result<(PathBuf, Written)> {
    Ok((path.to_path_buf(), checkpoint::read(path).map_err(|what| unfit(path, what))?))
}

/// The checkpoint that a training left in its folder, or in the folder where it works until it is whole.
fn in_folder(folder: &Path) -> Result<Option<(PathBuf, Written)>> {
    for folder in [folder.to_path_buf(), folder.join("unfinished")] {
        let kept = folder.join(CHECKPOINT);
        if let Some(last) = checkpoint::last_whole(&folder)? {
            return Ok(Some(last));
        }
        if kept.is_file() {
            return at(&kept).map(Some);
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
