//! Opens a bundle, and trusts nothing in it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, TensorData};
use memmap2::Mmap;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::{
    BundleFault, CALIBRATED, CHECKSUM, FORMAT_VERSION, HEAD, MANIFEST, Manifest, NETWORK, OLDEST_VERSION, PACKED,
    RowFormat, TABLE, Verify, WITH_QUANTILES, WITH_STATES, checksum, checksum_of_head, prefix, vocabularies,
};
use crate::embedding::{EmbeddingTable, ScoringTable, StoredTable};
use crate::error::{Error, Result};
use crate::files::FileError;
use crate::fused;
use crate::mapped::{Stored, forget_pages, map_file, read_here_and_there};
use crate::models::ModelSpec;
use crate::params;
use crate::vocabulary::Vocabulary;

/// A bundle that was opened and checked; its tensors are still on disk.
///
/// The file is mapped. It is replaced as a whole by [`save`](super::save) and stays as it is under an open bundle, as it does under every
/// program that renames a new file into its place; who changes or cuts it in place, by other means, while it is open, ends the program.
#[derive(Debug)]
#[non_exhaustive]
pub struct Bundle<C> {
    path: PathBuf,
    pub(super) file: Arc<Mmap>,
    verify: Verify,
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

/// The weights of one moment of a training, ready to score.
#[derive(Debug)]
#[non_exhaustive]
pub struct State<M> {
    /// All embeddings: in the bundle's file where the device can read them there, else on the device.
    pub table: ScoringTable,
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
        Self::open_verified(path, Verify::Full)
    }

    /// As [`open`](Self::open), with as much of it checked as `verify` says.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_verified(path: impl AsRef<Path>, verify: Verify) -> Result<Self> {
        let path = path.as_ref();
        let file = Arc::new(map_file(path).map_err(FileError::of("open", path))?);
        Self::from_map(path, file, verify).map_err(|fault| Error::Bundle { path: path.to_path_buf(), fault })
    }

    fn from_map(path: &Path, file: Arc<Mmap>, verify: Verify) -> Result<Self, BundleFault> {
        let tensors = read_tensors(&file)?;
        let (_, metadata) = SafeTensors::read_metadata(&file).map_err(|e| BundleFault::NotSafetensors(Box::new(e)))?;
        let entry = |key: &'static str| {
            let found = metadata.metadata().as_ref().and_then(|metadata| metadata.get(key));
            found.ok_or(BundleFault::Foreign { key })
        };
        let manifest = entry(MANIFEST)?;
        let expected = entry(CHECKSUM)?;
        let loose: serde_json::Value = serde_json::from_str(manifest).map_err(BundleFault::Manifest)?;
        let found = loose["version"].as_u64();
        if !found.is_some_and(|found| (u64::from(OLDEST_VERSION)..=u64::from(FORMAT_VERSION)).contains(&found)) {
            return Err(BundleFault::Version { found, reads: FORMAT_VERSION });
        }
        let mut views: Vec<(String, TensorView<'_>)> = tensors.tensors();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        let parts = || views.iter().map(|(n, t)| (n.as_str(), t.dtype(), t.shape(), t.data()));
        let unknown = |key: &&String| ![MANIFEST, CHECKSUM, HEAD].contains(&key.as_str());
        if let Some(key) = metadata.metadata().iter().flat_map(|metadata| metadata.keys()).find(unknown) {
            return Err(BundleFault::Metadata { key: key.clone() });
        }
        let is_head_of = |head: &String| *head == checksum_of_head(manifest, parts());
        let is_sound = match verify {
            Verify::Full => checksum(manifest, parts()) == *expected && entry(HEAD).ok().is_none_or(is_head_of),
            Verify::Header => entry(HEAD).ok().is_none_or(is_head_of),
            Verify::None => true,
        };
        if !is_sound {
            return Err(BundleFault::Checksum);
        }
        let checksum = expected.clone();
        let unusable = |e| BundleFault::Unusable(Box::new(e));
        let of_part = |part| move |error| BundleFault::of_part(part, error);
        let mut manifest: Manifest = serde_json::from_value(loose).map_err(of_part("manifest"))?;
        let config: C = serde_json::from_value(manifest.model.clone()).map_err(of_part("model"))?;
        tell_gaps(&mut manifest, &config);
        manifest.schema.check().map_err(unusable)?;
        config.check(&manifest.schema).map_err(unusable)?;
        check_states(&manifest)?;
        check_calibration(&manifest)?;
        check_rows(&manifest)?;
        let (vocabularies, idle) = vocabularies::read(&manifest, &file, verify)?;
        let path = path.to_path_buf();
        Ok(Self { path, file, verify, manifest, config, vocabularies, idle, checksum })
    }

    /// Puts the weights on a device, to be trained on; of several states the first's.
    ///
    /// # Errors
    /// [`Error::Bundle`] when a tensor is missing, left over or of another shape than schema and configuration say, or holds a
    /// number that is not finite; and of rows that are packed, which no training goes on from.
    pub fn load(&self, device: &Device) -> Result<(EmbeddingTable, C::Model)> {
        self.load_state(device, 0)
    }

    /// Puts the weights of one state on a device; states are counted from 0.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_state(&self, device: &Device, state: usize) -> Result<(EmbeddingTable, C::Model)> {
        let load = || -> Result<_, BundleFault> {
            if let Some(format) = self.manifest.rows {
                return Err(BundleFault::Packed { format });
            }
            let widths = self.config.widths(&self.manifest.schema);
            let table = EmbeddingTable::from_values(self.table(state)?, &widths, &device.clone().inner());
            Ok((table, self.load_network(device, state)?))
        };
        load().map_err(|fault| Error::Bundle { path: self.path.clone(), fault })
    }

    /// The weights of one state, as [`load_state`](Self::load_state) gives them, but the numbers of the table where they lie in the file, `[V, W]`,
    /// row-major.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_stored(&self, device: &Device, state: usize) -> Result<(Stored<f32>, C::Model)> {
        let load = || -> Result<_, BundleFault> {
            if let Some(format) = self.manifest.rows {
                return Err(BundleFault::Packed { format });
            }
            let (name, bytes) = self.table_bytes(state)?;
            let table = match Stored::<f32>::in_file(&self.file, place_in(&self.file, bytes)) {
                Some(values) => {
                    all_finite(&name, &values)?;
                    values
                }
                None => finite(&name, bytes)?.into(), // a file of another program, in which numbers are not aligned
            };
            Ok((table, self.load_network(device, state)?))
        };
        load().map_err(|fault| Error::Bundle { path: self.path.clone(), fault })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes every state ready to score on a device: its network is put there, its table stays in the file where the device can read it
    /// there, which is on `flex`, and everywhere where its rows are packed.
    ///
    /// # Errors
    /// As [`load`](Self::load); of rows that are packed too when they are not the bytes that they should be.
    pub fn load_states(&self, device: &Device) -> Result<Vec<State<C::Model>>> {
        let all = self.tasks_of_states().into_iter().enumerate();
        let load = |(state, tasks)| -> Result<State<C::Model>, BundleFault> {
            Ok(State { table: self.scoring_table(device, state)?, network: self.load_network(device, state)?, tasks })
        };
        let states = all.map(load).collect::<Result<Vec<_>, BundleFault>>();
        if self.verify == Verify::Full {
            forget_pages(&self.file); // all were read
        }
        read_here_and_there(&self.file);
        states.map_err(|fault| Error::Bundle { path: self.path.clone(), fault })
    }

    /// The table of a state, where it is read when rows are scored.
    fn scoring_table(&self, device: &Device, state: usize) -> Result<ScoringTable, BundleFault> {
        let widths = self.config.widths(&self.manifest.schema);
        let (name, bytes) = self.table_bytes(state)?;
        let place = place_in(&self.file, bytes);
        if let Some(format) = self.manifest.rows {
            if self.verify == Verify::Full && format == RowFormat::F16 {
                let is_finite = |half: &[u8; 2]| u16::from_le_bytes(*half) & 0x7c00 != 0x7c00;
                if let Some(place) = bytes.as_chunks::<2>().0.iter().position(|half| !is_finite(half)) {
                    return Err(BundleFault::NotFinite { tensor: name, value: f32::NAN, place });
                }
            }
            let bytes = Stored::in_file(&self.file, place).expect("bytes are aligned anywhere");
            return Ok(StoredTable::packed(format, bytes, &widths).into());
        }
        match Stored::<f32>::in_file(&self.file, place).filter(|_| fused::is_fused_on(device)) {
            Some(values) => {
                if self.verify == Verify::Full {
                    all_finite(&name, &values)?;
                }
                Ok(StoredTable::plain(values, &widths).into())
            }
            None => {
                let values = finite(&name, bytes)?;
                Ok(EmbeddingTable::from_values(values, &widths, &device.clone().inner()).into())
            }
        }
    }

    /// The numbers of a state's table, all of them finite.
    pub(super) fn table(&self, state: usize) -> Result<Vec<f32>, BundleFault> {
        let (name, bytes) = self.table_bytes(state)?;
        finite(&name, bytes)
    }

    /// The bytes of a state's table, and what it is called; as many as schema, configuration and format of rows say.
    fn table_bytes(&self, state: usize) -> Result<(String, &[u8]), BundleFault> {
        let (tensors, schema, name) = (read_tensors(&self.file)?, &self.manifest.schema, prefix(state) + TABLE);
        let widths = self.config.widths(schema);
        let found = tensors.tensor(&name).map_err(|_| BundleFault::Missing { tensor: name.clone() })?;
        let (dtype, columns) = match self.manifest.rows {
            None => (Dtype::F32, widths.iter().sum()),
            Some(RowFormat::F16) => (Dtype::F16, widths.iter().sum()),
            Some(format) => (Dtype::U8, format.row_bytes(&widths)),
        };
        let expected = [schema.rows(), columns];
        if found.shape() != expected {
            return Err(BundleFault::Shape { tensor: name, found: found.shape().to_vec(), expected: expected.into() });
        }
        of_type(&name, &found, dtype)?;
        let place = place_in(&self.file, found.data());
        Ok((name, &self.file[place]))
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

    pub(super) fn load_network(&self, device: &Device, state: usize) -> Result<C::Model, BundleFault> {
        let (tensors, network_names) = (read_tensors(&self.file)?, prefix(state) + NETWORK);
        let schema = &self.manifest.schema;
        let found = tensors.iter().map(|(_, view)| (view.data().len() / size_of::<f32>()) as u64).sum();
        let needed = self.config.size(schema).parameters;
        if needed / 2 > found {
            return Err(BundleFault::TooSmall { needed, found });
        }
        let network = self.config.init(schema, &mut ChaCha8Rng::seed_from_u64(0), device);
        let mut values = BTreeMap::new();
        for (name, view) in tensors.iter() {
            if let Some(parameter) = name.strip_prefix(&network_names) {
                of_type(name, &view, Dtype::F32)?;
                let data = TensorData::new(finite(name, view.data())?, view.shape().to_vec());
                values.insert(parameter.to_string(), data);
            }
        }
        params::replace(network, values).map_err(|fault| BundleFault::of_state(state, fault))
    }
}

/// Says in the schema which sequences stand beside which histories, where an older program has said so in the model's configuration alone. Such
/// a program's golden rows are left out: it made lists of different lengths for them.
fn tell_gaps(manifest: &mut Manifest, config: &impl ModelSpec) {
    for (history, gaps) in config.front().interest.iter().flat_map(|interest| &interest.gaps) {
        let field = manifest.schema.fields.iter_mut().find(|field| field.name == *gaps && field.beside.is_none());
        if let Some(field) = field {
            field.beside = Some(history.clone());
            manifest.golden = None;
        }
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

/// Rows are packed in a version that has a word for it, and their scales are numbers.
fn check_rows(manifest: &Manifest) -> Result<(), BundleFault> {
    match manifest.rows {
        Some(format) if manifest.version < PACKED || !format.is_sound() => Err(BundleFault::Rows { format }),
        None if (PACKED..WITH_QUANTILES).contains(&manifest.version) => Err(BundleFault::NotPacked),
        _ => Ok(()),
    }
}

/// Where in a file a part of it lies.
pub(super) fn place_in(file: &Mmap, part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - file.as_ptr() as usize;
    start..start + part.len()
}

/// Refuses a tensor of another type.
fn of_type(name: &str, view: &TensorView<'_>, dtype: Dtype) -> Result<(), BundleFault> {
    let expected = match dtype {
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        _ => "U8",
    };
    match view.dtype() {
        found if found == dtype => Ok(()),
        found => Err(BundleFault::Type { tensor: name.into(), found: format!("{found:?}"), expected }),
    }
}

/// A tensor's numbers, all of them finite.
fn finite(name: &str, bytes: &[u8]) -> Result<Vec<f32>, BundleFault> {
    let values: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
    all_finite(name, &values)?;
    Ok(values)
}

fn all_finite(name: &str, values: &[f32]) -> Result<(), BundleFault> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(place) => Err(BundleFault::NotFinite { tensor: name.into(), value: values[place], place }),
        None => Ok(()),
    }
}
