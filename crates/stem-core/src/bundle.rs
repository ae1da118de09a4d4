//! One file that holds all a program needs to score: schema, vocabularies, configuration, weights.
//!
//! A bundle is a valid safetensors file. Its metadata holds the manifest under `stem.manifest`; its tensors are
//! `embedding.table [V, W]`, `network.*`, and the vocabularies: `vocabulary.NAME.keys` (I64), or `vocabulary.NAME.bytes` (U8)
//! cut by `vocabulary.NAME.offsets` (U64).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use memmap2::Mmap;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use serde::{Deserialize, Serialize};

use crate::embedding::EmbeddingTable;
use crate::error::{Error, Result};
use crate::files::{self, FileError};
use crate::mapped::map_file;
use crate::models::ModelSpec;
use crate::params;
use crate::schema::Schema;
use crate::vocabulary::{Texts, Vocabulary};

/// Version that is written, and the only one so far that is read.
pub const FORMAT_VERSION: u32 = 2;
const MANIFEST: &str = "stem.manifest";
const CHECKSUM: &str = "stem.checksum";
const TABLE: &str = "embedding.table";
const NETWORK: &str = "network.";

/// What a bundle says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u32,
    /// Fields, tasks, sizes.
    pub schema: Schema,
    /// The model's configuration; a [`ModelConfig`](crate::ModelConfig) unless the model is the application's own.
    pub model: serde_json::Value,
    /// What the trainer has to say: metrics, seed, epochs. Free in form, and not needed for scoring.
    pub training: serde_json::Value,
}

/// One tensor to be written.
struct Tensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Cow<'a, [u8]>,
}

impl View for &Tensor<'_> {
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

/// Writes a bundle: a scratch file beside `path`, flushed, renamed, the folder synced. An older bundle of that name stays whole
/// until the new one is. The table is borrowed for the time of the writing, not copied, where the device allows.
///
/// # Errors
/// [`Error::File`].
pub fn save<C: ModelSpec>(
    path: &Path,
    schema: &Schema,
    vocabularies: &[Vocabulary],
    config: &C,
    table: &mut EmbeddingTable,
    network: &C::Model,
    training: &serde_json::Value,
) -> Result<()> {
    let parameters = params::collect(network);
    let shape = table.rows().dims().to_vec();
    table.rows_mut().host_mut(|values| {
        let mut tensors = vocabulary_tensors(schema, vocabularies);
        for (name, data) in &parameters {
            let tensor =
                Tensor { dtype: Dtype::F32, shape: data.shape().as_slice().to_vec(), bytes: data.as_bytes().into() };
            tensors.insert(format!("{NETWORK}{name}"), tensor);
        }
        let bytes: &[u8] = bytemuck::cast_slice(values);
        tensors.insert(TABLE.into(), Tensor { dtype: Dtype::F32, shape, bytes: bytes.into() });
        let manifest = Manifest {
            version: FORMAT_VERSION,
            schema: schema.clone(),
            model: serde_json::to_value(config).expect("a configuration is plain data"),
            training: training.clone(),
        };
        let manifest = serde_json::to_string(&manifest).expect("a manifest is plain data");
        let parts = tensors.iter().map(|(n, t)| (n.as_str(), t.dtype, t.shape.as_slice(), &*t.bytes));
        let checksum = checksum(&manifest, parts);
        let metadata = HashMap::from([(MANIFEST.into(), manifest), (CHECKSUM.into(), checksum)]);
        let write = |scratch: &Path| {
            safetensors::serialize_to_file(&tensors, Some(metadata), scratch).map_err(|e| match e {
                safetensors::SafeTensorError::IoError(source) => source,
                other => io::Error::other(other),
            })
        };
        Ok(files::replace(path, write)?)
    })
}

fn vocabulary_tensors<'a>(schema: &Schema, vocabularies: &'a [Vocabulary]) -> BTreeMap<String, Tensor<'a>> {
    let mut tensors = BTreeMap::new();
    for (spec, vocabulary) in schema.vocabularies.iter().zip(vocabularies) {
        let mut add = |part: &str, dtype, len, bytes: &'a [u8]| {
            let name = format!("vocabulary.{}.{part}", spec.name);
            tensors.insert(name, Tensor { dtype, shape: vec![len], bytes: bytes.into() });
        };
        match vocabulary {
            Vocabulary::Number => {}
            Vocabulary::Integers(keys) => add("keys", Dtype::I64, keys.len(), bytemuck::cast_slice(keys)),
            Vocabulary::Texts(texts) => {
                let (bytes, offsets) = texts.parts();
                add("bytes", Dtype::U8, bytes.len(), bytes);
                add("offsets", Dtype::U64, offsets.len(), bytemuck::cast_slice(offsets));
            }
        }
    }
    tensors
}

/// BLAKE3 over the manifest's text, and the tensors in the order of their names: name, type, shape, bytes.
fn checksum<'a>(manifest: &str, tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(manifest.as_bytes());
    for (name, dtype, shape, bytes) in tensors {
        hasher.update(format!("{name} {dtype:?} {shape:?}\n").as_bytes());
        hasher.update(bytes);
    }
    hasher.finalize().to_hex().to_string()
}

/// A bundle that was opened and checked; its tensors are still on disk.
#[derive(Debug)]
pub struct Bundle<C> {
    path: PathBuf,
    file: Mmap,
    /// What the bundle says of itself.
    pub manifest: Manifest,
    /// The model's configuration.
    pub config: C,
    /// One per entry of the schema's vocabularies.
    pub vocabularies: Vec<Vocabulary>,
}

impl<C: ModelSpec> Bundle<C> {
    /// Maps the file and checks it: format, version, checksum, schema, configuration, vocabularies.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::Bundle`] when it is damaged or something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = map_file(path).map_err(FileError::of("open", path))?;
        Self::from_map(path, file).map_err(|what| Error::Bundle { path: path.to_path_buf(), what })
    }

    fn from_map(path: &Path, file: Mmap) -> Result<Self, String> {
        let tensors = SafeTensors::deserialize(&file)
            .map_err(|e| format!("it does not read as safetensors ({e}); is it cut short?"))?;
        let (_, metadata) = SafeTensors::read_metadata(&file).map_err(|e| e.to_string())?;
        let entry = |key: &str| {
            let found = metadata.metadata().as_ref().and_then(|metadata| metadata.get(key));
            found.ok_or_else(|| format!("its metadata has no '{key}': it was not written by stem"))
        };
        let manifest = entry(MANIFEST)?;
        let loose: serde_json::Value =
            serde_json::from_str(manifest).map_err(|e| format!("its manifest is no JSON: {e}"))?;
        let version = loose["version"].as_u64();
        if version != Some(u64::from(FORMAT_VERSION)) {
            let found = version.map_or("none".into(), |version| version.to_string());
            return Err(format!(
                "format version {found}, this program reads {FORMAT_VERSION}: train or import the model again"
            ));
        }
        let mut views: Vec<(String, TensorView<'_>)> = tensors.tensors();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        let found = checksum(manifest, views.iter().map(|(n, t)| (n.as_str(), t.dtype(), t.shape(), t.data())));
        if found != *entry(CHECKSUM)? {
            return Err("its checksum is another: it was damaged or edited".into());
        }
        let manifest: Manifest = serde_json::from_value(loose).map_err(|e| format!("its manifest: {e}"))?;
        manifest.schema.check().map_err(|e| e.to_string())?;
        let config: C = serde_json::from_value(manifest.model.clone()).map_err(|e| format!("its model: {e}"))?;
        config.check(&manifest.schema).map_err(|e| e.to_string())?;
        let vocabularies = read_vocabularies(&manifest.schema, &tensors)?;
        Ok(Self { path: path.to_path_buf(), file, manifest, config, vocabularies })
    }

    /// Puts the weights on a device.
    ///
    /// # Errors
    /// [`Error::Bundle`] when a tensor is missing, left over or of another shape than schema and configuration say.
    pub fn load(&self, device: &Device) -> Result<(EmbeddingTable, C::Model)> {
        self.load_onto(device).map_err(|what| Error::Bundle { path: self.path.clone(), what })
    }

    fn load_onto(&self, device: &Device) -> Result<(EmbeddingTable, C::Model), String> {
        let tensors = SafeTensors::deserialize(&self.file).map_err(|e| e.to_string())?;
        let schema = &self.manifest.schema;
        let widths = self.config.widths(schema);
        let table = tensors.tensor(TABLE).map_err(|_| format!("tensor '{TABLE}' is missing"))?;
        let expected = [schema.rows(), widths.iter().sum()];
        if table.dtype() != Dtype::F32 || table.shape() != expected {
            return Err(format!(
                "tensor '{TABLE}' is {:?} {:?}, schema and model need F32 {expected:?}",
                table.dtype(),
                table.shape()
            ));
        }
        let table =
            EmbeddingTable::from_values(bytemuck::pod_collect_to_vec(table.data()), &widths, &device.clone().inner());
        let held: usize = tensors.iter().map(|(_, view)| view.data().len() / size_of::<f32>()).sum();
        let needed = self.config.size(schema).parameters;
        if needed / 2 > held as u64 {
            return Err(format!("its model needs {needed} parameters, and the file holds {held} numbers in all"));
        }
        let network = self.config.init(schema, &mut ChaCha8Rng::seed_from_u64(0), device);
        let mut values = BTreeMap::new();
        for (name, view) in tensors.iter() {
            let Some(name) = name.strip_prefix(NETWORK) else { continue };
            if view.dtype() != Dtype::F32 {
                return Err(format!("parameter '{name}' is {:?}, expected F32", view.dtype()));
            }
            let data = TensorData::new(bytemuck::pod_collect_to_vec::<u8, f32>(view.data()), view.shape().to_vec());
            values.insert(name.to_string(), data);
        }
        Ok((table, params::replace(network, values)?))
    }
}

fn read_vocabularies(schema: &Schema, tensors: &SafeTensors<'_>) -> Result<Vec<Vocabulary>, String> {
    let read = |spec: &crate::schema::VocabularySpec| {
        let part = |part: &str, dtype: Dtype| {
            let name = format!("vocabulary.{}.{part}", spec.name);
            tensors.tensor(&name).ok().filter(|view| view.dtype() == dtype)
        };
        let parts = (part("keys", Dtype::I64), part("bytes", Dtype::U8), part("offsets", Dtype::U64));
        let vocabulary = match parts {
            (Some(keys), ..) => Vocabulary::Integers(bytemuck::pod_collect_to_vec(keys.data())),
            (None, Some(bytes), Some(offsets)) => {
                Texts::from_parts(bytes.data().to_vec(), bytemuck::pod_collect_to_vec(offsets.data()))
                    .map(Vocabulary::Texts)
                    .ok_or_else(|| format!("the texts of vocabulary '{}' are not cut into UTF-8", spec.name))?
            }
            _ if spec.rows == 1 => Vocabulary::Number,
            _ => return Err(format!("vocabulary '{}' is missing", spec.name)),
        };
        if vocabulary.rows() != spec.rows {
            let rows = vocabulary.rows();
            return Err(format!("vocabulary '{}' has {rows} rows, the schema says {}", spec.name, spec.rows));
        }
        if !vocabulary.is_sorted() {
            return Err(format!("the keys of vocabulary '{}' are not in ascending order", spec.name));
        }
        Ok(vocabulary)
    };
    schema.vocabularies.iter().map(read).collect()
}
