//! Opens a bundle, and trusts nothing in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use memmap2::Mmap;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{
    BundleFault, CALIBRATED, CHECKSUM, FORMAT_VERSION, IDLE, MANIFEST, Manifest, NETWORK, OLDEST_VERSION, TABLE,
    VocabularyFault, WITH_STATES, checksum, prefix,
};
use crate::embedding::EmbeddingTable;
use crate::error::{Error, Result};
use crate::files::FileError;
use crate::mapped::map_file;
use crate::models::ModelSpec;
use crate::params;
use crate::schema::{Schema, VocabularySpec};
use crate::vocabulary::{Texts, Vocabulary};

/// A bundle that was opened and checked; its tensors are still on disk.
///
/// The file is mapped. It is replaced as a whole by [`save`](super::save) and stays as it is under an open bundle; who changes or
/// cuts it in place, by other means, while it is open, ends the program.
#[derive(Debug)]
#[non_exhaustive]
pub struct Bundle<C> {
    path: PathBuf,
    pub(super) file: Mmap,
    /// What the bundle says of itself.
    pub manifest: Manifest,
    /// The model's configuration.
    pub config: C,
    /// One per entry of the schema's vocabularies.
    pub vocabularies: Vec<Vocabulary>,
    /// See [`KnownKeys::idle`](super::KnownKeys::idle). One per entry of the schema's vocabularies.
    pub idle: Vec<Vec<u32>>,
    /// BLAKE3 of the whole, in hexadecimal digits: what tells it from others.
    pub checksum: String,
}

/// The weights of one moment of a training, on a device.
#[derive(Debug)]
#[non_exhaustive]
pub struct State<M> {
    /// All embeddings.
    pub table: EmbeddingTable,
    /// The network.
    pub network: M,
    /// Places of the tasks that it answers for, ascending.
    pub tasks: Vec<usize>,
}

impl<C: ModelSpec> Bundle<C> {
    /// Maps the file and checks it: format, version, checksum, schema, configuration, vocabularies.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::Bundle`] when it is damaged or something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = map_file(path).map_err(FileError::of("open", path))?;
        Self::from_map(path, file).map_err(|fault| Error::Bundle { path: path.to_path_buf(), fault })
    }

    fn from_map(path: &Path, file: Mmap) -> Result<Self, BundleFault> {
        let tensors = read_tensors(&file)?;
        let (_, metadata) = SafeTensors::read_metadata(&file).map_err(|e| BundleFault::NotSafetensors(Box::new(e)))?;
        let entry = |key: &'static str| {
            let found = metadata.metadata().as_ref().and_then(|metadata| metadata.get(key));
            found.ok_or(BundleFault::Foreign { key })
        };
        let manifest = entry(MANIFEST)?;
        let loose: serde_json::Value = serde_json::from_str(manifest).map_err(BundleFault::Manifest)?;
        let found = loose["version"].as_u64();
        if !found.is_some_and(|found| (u64::from(OLDEST_VERSION)..=u64::from(FORMAT_VERSION)).contains(&found)) {
            return Err(BundleFault::Version { found, reads: FORMAT_VERSION });
        }
        let mut views: Vec<(String, TensorView<'_>)> = tensors.tensors();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        let found = checksum(manifest, views.iter().map(|(n, t)| (n.as_str(), t.dtype(), t.shape(), t.data())));
        if found != *entry(CHECKSUM)? {
            return Err(BundleFault::Checksum);
        }
        let unusable = |e| BundleFault::Unusable(Box::new(e));
        let manifest: Manifest = serde_json::from_value(loose).map_err(BundleFault::Manifest)?;
        manifest.schema.check().map_err(unusable)?;
        let config: C = serde_json::from_value(manifest.model.clone()).map_err(BundleFault::Model)?;
        config.check(&manifest.schema).map_err(unusable)?;
        check_states(&manifest)?;
        check_calibration(&manifest)?;
        let (vocabularies, idle) = read_vocabularies(&manifest.schema, &tensors)?;
        Ok(Self { path: path.to_path_buf(), file, manifest, config, vocabularies, idle, checksum: found })
    }

    /// Puts the weights on a device; of several states the first's.
    ///
    /// # Errors
    /// [`Error::Bundle`] when a tensor is missing, left over or of another shape than schema and configuration say, or holds a
    /// number that is not finite.
    pub fn load(&self, device: &Device) -> Result<(EmbeddingTable, C::Model)> {
        self.load_state(device, 0)
    }

    /// Puts the weights of one state on a device; states are counted from 0.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_state(&self, device: &Device, state: usize) -> Result<(EmbeddingTable, C::Model)> {
        self.load_onto(device, state).map_err(|fault| Error::Bundle { path: self.path.clone(), fault })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the weights of every state on a device.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_states(&self, device: &Device) -> Result<Vec<State<C::Model>>> {
        let all = self.tasks_of_states().into_iter().enumerate();
        let load = |(state, tasks)| -> Result<State<C::Model>, BundleFault> {
            let (table, network) = self.load_onto(device, state)?;
            Ok(State { table, network, tasks })
        };
        let states = all.map(load).collect::<Result<Vec<_>, BundleFault>>();
        states.map_err(|fault| Error::Bundle { path: self.path.clone(), fault })
    }

    /// Places of the tasks that each state answers for.
    pub fn tasks_of_states(&self) -> Vec<Vec<usize>> {
        let Manifest { schema, states, .. } = &self.manifest;
        if states.is_empty() {
            return vec![(0..schema.tasks.len()).collect()];
        }
        let place = |name: &String| schema.tasks.iter().position(|task| task.name == *name);
        let places = |tasks: &Vec<String>| {
            let mut places: Vec<usize> = tasks.iter().filter_map(place).collect(); // all of them: they were checked
            places.sort_unstable();
            places
        };
        states.iter().map(places).collect()
    }

    fn load_onto(&self, device: &Device, state: usize) -> Result<(EmbeddingTable, C::Model), BundleFault> {
        let tensors = read_tensors(&self.file)?;
        let schema = &self.manifest.schema;
        let widths = self.config.widths(schema);
        let (table_name, network_names) = (prefix(state) + TABLE, prefix(state) + NETWORK);
        let table = tensors.tensor(&table_name).map_err(|_| BundleFault::Missing { tensor: table_name.clone() })?;
        let expected = [schema.rows(), widths.iter().sum()];
        if table.shape() != expected {
            let (tensor, found) = (table_name, table.shape().to_vec());
            return Err(BundleFault::Shape { tensor, found, expected: expected.into() });
        }
        let table = EmbeddingTable::from_values(finite(&table_name, &table)?, &widths, &device.clone().inner());
        let found = tensors.iter().map(|(_, view)| (view.data().len() / size_of::<f32>()) as u64).sum();
        let needed = self.config.size(schema).parameters;
        if needed / 2 > found {
            return Err(BundleFault::TooSmall { needed, found });
        }
        let network = self.config.init(schema, &mut ChaCha8Rng::seed_from_u64(0), device);
        let mut values = BTreeMap::new();
        for (name, view) in tensors.iter() {
            if let Some(parameter) = name.strip_prefix(&network_names) {
                let data = TensorData::new(finite(name, &view)?, view.shape().to_vec());
                values.insert(parameter.to_string(), data);
            }
        }
        Ok((table, params::replace(network, values).map_err(|fault| BundleFault::of_state(state, fault))?))
    }
}

/// Every task is one state's.
pub(super) fn check_states(manifest: &Manifest) -> Result<(), BundleFault> {
    let mut named: Vec<&str> = manifest.states.iter().flatten().map(String::as_str).collect();
    let mut tasks: Vec<&str> = manifest.schema.tasks.iter().map(|task| task.name.as_str()).collect();
    named.sort_unstable();
    tasks.sort_unstable();
    let is_one = manifest.states.is_empty() && manifest.version != WITH_STATES;
    let are_several = manifest.states.iter().all(|tasks| !tasks.is_empty()) && named == tasks;
    if is_one || (manifest.version >= WITH_STATES && are_several) {
        return Ok(());
    }
    Err(BundleFault::States { found: format!("[{}]", named.join(", ")), expected: tasks.join(", ") })
}

/// Every calibration is one of a task, and maps probabilities to probabilities.
fn check_calibration(manifest: &Manifest) -> Result<(), BundleFault> {
    for (task, calibration) in &manifest.calibration {
        let place = manifest.schema.task(task).filter(|_| manifest.version >= CALIBRATED);
        let expected = match place {
            Some(place) => calibration.fault(&manifest.schema.tasks[place].kind),
            None => Some("one of the model's tasks"),
        };
        if let Some(expected) = expected {
            return Err(BundleFault::Calibration { task: task.clone(), expected });
        }
    }
    Ok(())
}

pub(super) fn read_tensors(file: &Mmap) -> Result<SafeTensors<'_>, BundleFault> {
    SafeTensors::deserialize(file).map_err(|e| BundleFault::NotSafetensors(Box::new(e)))
}

/// A tensor's numbers, all of them finite.
fn finite(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, BundleFault> {
    if view.dtype() != Dtype::F32 {
        return Err(BundleFault::Type { tensor: name.into(), found: format!("{:?}", view.dtype()) });
    }
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
    match values.iter().position(|value| !value.is_finite()) {
        Some(place) => Err(BundleFault::NotFinite { tensor: name.into(), value: values[place], place }),
        None => Ok(values),
    }
}

/// The vocabularies, and how long each of their keys has been idle.
fn read_vocabularies(
    schema: &Schema,
    tensors: &SafeTensors<'_>,
) -> Result<(Vec<Vocabulary>, Vec<Vec<u32>>), BundleFault> {
    let read = |(place, spec): (usize, &VocabularySpec)| {
        let read = || {
            let vocabulary = read_vocabulary(spec, Vocabulary::without_keys(schema, place), tensors)?;
            let Ok(view) = tensors.tensor(&format!("vocabulary.{}.{IDLE}", spec.name)) else {
                return Ok((vocabulary, Vec::new()));
            };
            let counts = if view.dtype() == Dtype::U32 { view.data() } else { &[] };
            let idle: Vec<u32> = bytemuck::pod_collect_to_vec(counts);
            let (found, expected) = (idle.len(), vocabulary.len());
            if found == expected { Ok((vocabulary, idle)) } else { Err(VocabularyFault::Idle { found, expected }) }
        };
        read().map_err(|fault| BundleFault::Vocabulary { name: spec.name.clone(), fault })
    };
    schema.vocabularies.iter().enumerate().map(read).collect()
}

fn read_vocabulary(
    spec: &VocabularySpec,
    without_keys: Option<Vocabulary>,
    tensors: &SafeTensors<'_>,
) -> Result<Vocabulary, VocabularyFault> {
    let part = |part: &str, dtype: Dtype| {
        let name = format!("vocabulary.{}.{part}", spec.name);
        tensors.tensor(&name).ok().filter(|view| view.dtype() == dtype)
    };
    let parts = (part("keys", Dtype::I64), part("bytes", Dtype::U8), part("offsets", Dtype::U64));
    let vocabulary = match parts {
        (Some(keys), ..) => Vocabulary::Integers(bytemuck::pod_collect_to_vec(keys.data())),
        (None, Some(bytes), Some(offsets)) => {
            let offsets = bytemuck::pod_collect_to_vec(offsets.data());
            Texts::from_parts(bytes.data().to_vec(), offsets).map(Vocabulary::Texts).ok_or(VocabularyFault::Texts)?
        }
        _ => without_keys.ok_or(VocabularyFault::Missing)?,
    };
    if vocabulary.rows() != spec.rows {
        return Err(VocabularyFault::Rows { found: vocabulary.rows(), expected: spec.rows });
    }
    if !vocabulary.is_sorted() {
        return Err(VocabularyFault::Order);
    }
    Ok(vocabulary)
}
