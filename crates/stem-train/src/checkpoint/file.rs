//! One checkpoint as a file: a valid safetensors file whose metadata hold everything but weights and optimizer, and a checksum of all.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use burn::tensor::TensorData;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use stem_core::files::{self, FileError};
use stem_core::nn::RowMatrix;

use super::state::Place;

const PLACE: &str = "stem.checkpoint";
const CHECKSUM: &str = "stem.checksum";
const TABLE: &str = "embedding.table";
const TABLE_STATE: &str = "embedding.state.";
const NETWORK: &str = "network.";
const NETWORK_STATE: &str = "optimizer.";

/// The large part of a training, where it lies.
pub(crate) struct Matrices<'m> {
    /// `[V, W]`
    pub(crate) table: &'m RowMatrix,
    /// Of the table, with the rows of it.
    pub(crate) table_state: &'m [RowMatrix],
    /// Parameters by name.
    pub(crate) network: BTreeMap<String, TensorData>,
    /// Of each parameter that has one.
    pub(crate) network_state: BTreeMap<String, Vec<TensorData>>,
}

/// A matrix as it was read: values, row-major, and its shape.
pub(crate) type Values = (Vec<f32>, [usize; 2]);

/// A checkpoint that was read.
pub(crate) struct Written {
    pub(crate) place: Place,
    pub(crate) table: Values,
    pub(crate) table_state: Vec<Values>,
    pub(crate) network: BTreeMap<String, TensorData>,
    pub(crate) network_state: BTreeMap<String, Vec<Values>>,
}

fn view(shape: Vec<usize>, bytes: &[u8]) -> TensorView<'_> {
    TensorView::new(Dtype::F32, shape, bytes).expect("values fill their shape")
}

/// BLAKE3 over the text, and the tensors in the order of their names.
fn checksum<'t>(place: &str, tensors: impl Iterator<Item = (&'t str, &'t [usize], &'t [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(place.as_bytes());
    for (name, shape, bytes) in tensors {
        hasher.update(format!("{name} {shape:?}\n").as_bytes());
        hasher.update_rayon(bytes); // by all threads: a table may have gigabytes
    }
    hasher.finalize().to_hex().to_string()
}

/// Lends the values of all matrices at once, behind those already `lent`; on the device flex where they lie.
fn lend<R>(matrices: &[&RowMatrix], lent: &[&[f32]], read: &mut dyn FnMut(&[&[f32]]) -> R) -> R {
    let Some((matrix, others)) = matrices.split_first() else { return read(lent) };
    matrix.read(|values| {
        let lent: Vec<&[f32]> = lent.iter().copied().chain([values]).collect();
        lend(others, &lent, read)
    })
}

impl Matrices<'_> {
    /// Writes the file; one of that name stays whole until the new one is.
    pub(crate) fn write(&self, place: &Place, path: &Path) -> Result<(), FileError> {
        let place = serde_json::to_string(place).expect("a place is plain data");
        let named = |(name, data)| (format!("{NETWORK}{name}"), data);
        let states = self.network_state.iter().flat_map(|(name, state)| {
            state.iter().enumerate().map(move |(k, data)| (format!("{NETWORK_STATE}{name}.{k}"), data))
        });
        let small: Vec<(String, &TensorData)> = self.network.iter().map(named).chain(states).collect();
        let large: Vec<&RowMatrix> = [self.table].into_iter().chain(self.table_state).collect();
        let names = (0..self.table_state.len()).map(|k| format!("{TABLE_STATE}{k}"));
        let names: Vec<String> = [TABLE.to_string()].into_iter().chain(names).collect();
        lend(&large, &[], &mut |values| {
            let small =
                small.iter().map(|(name, data)| (&**name, view(data.shape().as_slice().to_vec(), data.as_bytes())));
            let large = names.iter().zip(&large).zip(values);
            let large = large
                .map(|((name, matrix), values)| (&**name, view(matrix.dims().to_vec(), bytemuck::cast_slice(values))));
            let tensors: BTreeMap<&str, TensorView<'_>> = small.chain(large).collect();
            let parts = tensors.iter().map(|(name, view)| (*name, view.shape(), view.data()));
            let metadata =
                HashMap::from([(CHECKSUM.to_string(), checksum(&place, parts)), (PLACE.to_string(), place.clone())]);
            files::replace(path, |scratch| {
                safetensors::serialize_to_file(&tensors, Some(metadata), scratch).map_err(|e| match e {
                    safetensors::SafeTensorError::IoError(source) => source,
                    other => io::Error::other(other),
                })
            })
        })
    }
}

impl Written {
    /// Reads a file; why it is of no use, otherwise.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let bytes = files::read(path).map_err(|error| format!("{error}: {}", error.source))?;
        let damaged = |why: &dyn std::fmt::Display| format!("it is not whole ({why})");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&e))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e))?;
        let entry = |key: &str| metadata.metadata().as_ref().and_then(|metadata| metadata.get(key)).cloned();
        let text = entry(PLACE).ok_or("it is no checkpoint")?;
        let mut views = tensors.tensors();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        let found = checksum(&text, views.iter().map(|(name, view)| (name.as_str(), view.shape(), view.data())));
        if entry(CHECKSUM) != Some(found) {
            return Err("its contents are not those that were written".into());
        }
        let place: Place = serde_json::from_str(&text).map_err(|e| format!("another version wrote it ({e})"))?;
        let (mut table, mut table_state) = (None, BTreeMap::new());
        let (mut network, mut network_state) = (BTreeMap::new(), BTreeMap::<String, BTreeMap<usize, _>>::new());
        for (name, view) in &views {
            let shape = view.shape().to_vec();
            let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
            let matrix = || [shape.first().copied().unwrap_or(0), shape.get(1).copied().unwrap_or(1)];
            if name == TABLE {
                table = Some((values, matrix()));
            } else if let Some(k) = name.strip_prefix(TABLE_STATE) {
                table_state.insert(k.parse().unwrap_or(usize::MAX), (values, matrix()));
            } else if let Some(name) = name.strip_prefix(NETWORK) {
                network.insert(name.to_string(), TensorData::new(values, shape));
            } else if let Some((name, k)) = name.strip_prefix(NETWORK_STATE).and_then(|name| name.rsplit_once('.')) {
                let own = network_state.entry(name.to_string()).or_default();
                own.insert(k.parse().unwrap_or(usize::MAX), (values, matrix()));
            }
        }
        Ok(Self {
            place,
            table: table.ok_or("it has no table")?,
            table_state: table_state.into_values().collect::<Vec<_>>(),
            network,
            network_state: network_state.into_iter().map(|(name, own)| (name, own.into_values().collect())).collect(),
        })
    }
}
