//! Writes a bundle.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use safetensors::tensor::{Dtype, View};

use super::golden::{self, Golden};
use super::read::read_tensors;
use super::{
    Bundle, CHECKSUM, HEAD, IDLE, MANIFEST, Manifest, NETWORK, OLDEST_VERSION, TABLE, checksum, checksum_of_head,
    prefix,
};
use crate::batch::Batch;
use crate::calibration::Calibration;
use crate::embedding::{DistinctRows, EmbeddingTable};
use crate::error::{Error, Result};
use crate::files::{self, FileError};
use crate::mapped::map_file;
use crate::models::ModelSpec;
use crate::params;
use crate::schema::Schema;
use crate::tensor_file;
use crate::vocabulary::Vocabulary;

/// One tensor to be written.
pub(crate) struct Tensor<'a> {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Cow<'a, [u8]>,
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The vocabularies of a bundle, with what is known of their keys beside the keys.
#[derive(Debug, Clone, Copy)]
pub struct KnownKeys<'k> {
    /// One per entry of the schema's.
    pub vocabularies: &'k [Vocabulary],
    /// For each vocabulary, and each of its keys in order: in how many trainings in a row it has not occurred, where models are trained
    /// on from day to day. Empty, as a whole or of one vocabulary: every key occurred.
    pub idle: &'k [Vec<u32>],
}

impl<'k> From<&'k [Vocabulary]> for KnownKeys<'k> {
    fn from(vocabularies: &'k [Vocabulary]) -> Self {
        Self { vocabularies, idle: &[] }
    }
}

impl<'k> From<&'k Vec<Vocabulary>> for KnownKeys<'k> {
    fn from(vocabularies: &'k Vec<Vocabulary>) -> Self {
        vocabularies.as_slice().into()
    }
}

impl<'k, const N: usize> From<&'k [Vocabulary; N]> for KnownKeys<'k> {
    fn from(vocabularies: &'k [Vocabulary; N]) -> Self {
        vocabularies.as_slice().into()
    }
}

/// Writes a bundle: a scratch file beside `path`, flushed, renamed, the folder synced. An older bundle of that name stays whole
/// until the new one is. The table is read where it lies, not copied, on the CPU device `flex`.
///
/// # Errors
/// [`Error::File`](crate::Error::File).
pub fn save<'k, C: ModelSpec>(
    path: &Path,
    schema: &Schema,
    keys: impl Into<KnownKeys<'k>>,
    config: &C,
    table: &EmbeddingTable,
    network: &C::Model,
    training: &serde_json::Value,
) -> Result<()> {
    save_calibrated(path, schema, keys, config, table, network, training, &BTreeMap::new())
}

/// As [`save`], with what is done to the scores of tasks, by their names.
///
/// # Errors
/// [`Error::File`](crate::Error::File).
#[allow(clippy::too_many_arguments)] // what a bundle holds, one by one
pub fn save_calibrated<'k, C: ModelSpec>(
    path: &Path,
    schema: &Schema,
    keys: impl Into<KnownKeys<'k>>,
    config: &C,
    table: &EmbeddingTable,
    network: &C::Model,
    training: &serde_json::Value,
    calibration: &BTreeMap<String, Calibration>,
) -> Result<()> {
    let shape = table.rows().dims();
    let scores = |batch: &Batch| golden::scores(network, table, schema, batch);
    table.rows().read(|values| {
        let bytes = bytemuck::cast_slice(values);
        save_table(path, schema, keys.into(), config, (bytes, shape), network, training, calibration, scores)
    })
}

/// As [`save_calibrated`], with a table that lies in a file of its own, too large for memory: the values of its rows one after the other, f32,
/// little-endian. `shape` is `[V, W]`.
///
/// # Errors
/// [`Error::File`](crate::Error::File).
#[allow(clippy::too_many_arguments)] // what a bundle holds, one by one
pub fn save_from_file<'k, C: ModelSpec>(
    path: &Path,
    schema: &Schema,
    keys: impl Into<KnownKeys<'k>>,
    config: &C,
    (table, shape): (&Path, [usize; 2]),
    network: &C::Model,
    training: &serde_json::Value,
    calibration: &BTreeMap<String, Calibration>,
) -> Result<()> {
    let values = map_file(table).map_err(FileError::of("open", table))?;
    let scores = |batch: &Batch| {
        let distinct = DistinctRows::of(&batch.ids);
        let of = |row: &u32| values[*row as usize * 4 * shape[1]..].chunks_exact(4).take(shape[1]);
        let rows = distinct.rows.iter().flat_map(of).map(bytemuck::pod_read_unaligned).collect();
        let device = network.devices().into_iter().next().unwrap_or_default().inner();
        let rows = EmbeddingTable::from_values(rows, &config.widths(schema), &device);
        golden::scores(network, &rows, schema, &Batch { ids: distinct.inverse, ..batch.clone() })
    };
    save_table(path, schema, keys.into(), config, (&values, shape), network, training, calibration, scores)
}

#[allow(clippy::too_many_arguments)] // what a bundle holds, one by one
fn save_table<C: ModelSpec>(
    path: &Path,
    schema: &Schema,
    keys: KnownKeys<'_>,
    config: &C,
    (table, shape): (&[u8], [usize; 2]),
    network: &C::Model,
    training: &serde_json::Value,
    calibration: &BTreeMap<String, Calibration>,
    scores: impl FnOnce(&Batch) -> Vec<f32>,
) -> Result<()> {
    let parameters = params::collect(network);
    let mut manifest = Manifest {
        version: OLDEST_VERSION,
        schema: schema.clone(),
        model: serde_json::to_value(config).expect("a configuration is plain data"),
        training: training.clone(),
        states: Vec::new(),
        calibration: calibration.clone(),
        rows: None,
        packed: None,
        golden: None,
    };
    manifest.golden = Golden::of(&manifest, keys.vocabularies, scores);
    manifest.version = manifest.version_needed();
    let mut tensors = vocabulary_tensors(schema, keys);
    for (name, data) in &parameters {
        let tensor =
            Tensor { dtype: Dtype::F32, shape: data.shape().as_slice().to_vec(), bytes: data.as_bytes().into() };
        tensors.insert(format!("{NETWORK}{name}"), tensor);
    }
    tensors.insert(TABLE.into(), Tensor { dtype: Dtype::F32, shape: shape.to_vec(), bytes: table.into() });
    write(path, &tensors, &manifest)
}

/// Writes a bundle of several states: the weights of each of `bundles`, for the tasks that are named with it. All are bundles of one
/// training, with one state each. Their tensors are copied from file to file. Of one bundle this is a copy of it.
///
/// # Errors
/// [`Error::File`](crate::Error::File); [`Error::Bundle`] where the states do not answer for every task once.
pub fn combine<C: ModelSpec>(
    path: &Path,
    bundles: &[(Bundle<C>, Vec<String>)],
    training: &serde_json::Value,
) -> Result<()> {
    let fault = |fault| Error::Bundle { path: path.to_path_buf(), fault };
    let mut tensors = BTreeMap::new();
    for (state, (bundle, _)) in bundles.iter().enumerate() {
        for (name, view) in read_tensors(&bundle.file).map_err(fault)?.iter() {
            let is_weights = name == TABLE || name.starts_with(NETWORK);
            if is_weights || state == 0 {
                let name = if is_weights { prefix(state) + name } else { name.to_string() };
                let (dtype, shape, bytes) = (view.dtype(), view.shape().to_vec(), view.data().into());
                tensors.insert(name, Tensor { dtype, shape, bytes });
            }
        }
    }
    let Some((first, _)) = bundles.first() else {
        return Err(fault(super::BundleFault::States { found: "nothing".into(), expected: "of a model".into() }));
    };
    let mut manifest = Manifest { training: training.clone(), ..first.manifest.clone() };
    if bundles.len() > 1 {
        manifest.states = bundles.iter().map(|(_, tasks)| tasks.clone()).collect();
        let of = |(bundle, tasks): &(Bundle<C>, Vec<String>)| {
            let mut own = bundle.manifest.calibration.clone();
            own.retain(|task, _| tasks.contains(task));
            own
        };
        manifest.calibration = bundles.iter().flat_map(of).collect();
        manifest.golden = golden_of(bundles);
    }
    manifest.version = manifest.version_needed();
    super::read::check_states(&manifest).map_err(fault)?;
    write(path, &tensors, &manifest)
}

/// The golden rows of all, each task's scores as the state has them that answers for it; `None` where one has none, or other rows.
fn golden_of<C>(bundles: &[(Bundle<C>, Vec<String>)]) -> Option<Golden> {
    let all = bundles.iter().map(|(bundle, tasks)| Some((bundle.manifest.golden.as_ref()?, tasks)));
    let all = all.collect::<Option<Vec<_>>>()?;
    let (first, _) = all.first()?;
    let scores = all.iter().flat_map(|(golden, tasks)| golden.only(tasks)).collect();
    all.iter().all(|(golden, _)| golden.rows == first.rows).then(|| Golden { scores, ..(*first).clone() })
}

pub(super) fn write(path: &Path, tensors: &BTreeMap<String, Tensor<'_>>, manifest: &Manifest) -> Result<()> {
    let manifest = serde_json::to_string(manifest).expect("a manifest is plain data");
    let head = checksum_of_head(&manifest, parts(tensors));
    write_tensors(path, tensors, (MANIFEST, &manifest), Some((HEAD, &head)))
}

/// Replaces a file by tensors with a text of what they are, a checksum over both, and another entry.
pub(crate) fn write_tensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor<'_>>,
    (key, text): (&str, &str),
    other: Option<(&str, &str)>,
) -> Result<()> {
    let checksum = checksum(text, parts(tensors));
    let metadata = [(key, text), (CHECKSUM, &checksum)].into_iter().chain(other).collect();
    Ok(files::replace(path, |scratch| tensor_file::write(scratch, &metadata, tensors))?)
}

/// Name, type, shape and bytes of tensors, in the order of their names.
fn parts<'t>(
    tensors: &'t BTreeMap<String, Tensor<'_>>,
) -> impl Iterator<Item = (&'t str, Dtype, &'t [usize], &'t [u8])> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.dtype, tensor.shape.as_slice(), &*tensor.bytes))
}

fn vocabulary_tensors<'a>(schema: &Schema, known: KnownKeys<'a>) -> BTreeMap<String, Tensor<'a>> {
    let mut tensors = BTreeMap::new();
    for (place, (spec, vocabulary)) in schema.vocabularies.iter().zip(known.vocabularies).enumerate() {
        let mut add = |part: &str, dtype, len, bytes: Cow<'a, [u8]>| {
            let name = format!("vocabulary.{}.{part}", spec.name);
            tensors.insert(name, Tensor { dtype, shape: vec![len], bytes });
        };
        match vocabulary {
            Vocabulary::Number | Vocabulary::Vector(_) | Vocabulary::Hashed { .. } => {} // the schema says all
            Vocabulary::Integers(keys) => {
                let bytes = match keys.values() {
                    Cow::Borrowed(keys) => Cow::Borrowed(bytemuck::cast_slice(keys)),
                    Cow::Owned(keys) => Cow::Owned(bytemuck::cast_slice(&keys).to_vec()),
                };
                add("keys", Dtype::I64, keys.len(), bytes);
            }
            Vocabulary::Texts(texts) => {
                let (bytes, offsets) = texts.parts();
                add("bytes", Dtype::U8, bytes.len(), bytes.into());
                add("offsets", Dtype::U64, offsets.len(), bytemuck::cast_slice(offsets).into());
            }
        }
        if let Some(idle) = known.idle.get(place).filter(|idle| !idle.is_empty()) {
            add(IDLE, Dtype::U32, idle.len(), bytemuck::cast_slice(idle).into());
        }
    }
    tensors
}
