//! One checkpoint as a file: a valid safetensors file whose metadata hold everything but weights and optimizer, and a checksum of all. Here it is
//! written, in `read` it is read.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, TensorView};
use stem_core::files::{self, FileError};
use stem_core::nn::{RowMatrix, upload_index};
use stem_core::tensor_file;

use super::state::Place;
use crate::ranks::Shard;

pub(super) const PLACE: &str = "stem.checkpoint";
pub(super) const CHECKSUM: &str = "stem.checksum";
pub(super) const TABLE: &str = "embedding.table";
pub(super) const TABLE_STATE: &str = "embedding.state.";
/// Of a checkpoint on top of another: which rows `TABLE` and `TABLE_STATE` hold.
pub(super) const ROWS: &str = "embedding.rows";
pub(super) const NETWORK: &str = "network.";
pub(super) const NETWORK_STATE: &str = "optimizer.";

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
    /// Which rows of the table these are, where it is a part of one over several ranks. Writing and copying is then the work of all of them, and
    /// what comes of it is on rank 0.
    pub(crate) shard: Option<&'m Shard>,
}

/// What a checkpoint holds, copied: the training may go on while it is written.
pub(crate) struct Copied(BTreeMap<String, TensorData>);

pub(super) fn view(shape: Vec<usize>, bytes: &[u8]) -> TensorView<'_> {
    TensorView::new(Dtype::F32, shape, bytes).expect("values fill their shape")
}

/// A tensor of floats, or of the rows' numbers.
fn view_of(data: &TensorData) -> TensorView<'_> {
    let dtype = if data.dtype() == DType::U32 { Dtype::U32 } else { Dtype::F32 };
    TensorView::new(dtype, data.shape().as_slice().to_vec(), data.as_bytes()).expect("values fill their shape")
}

/// BLAKE3 over the text, and the tensors in the order of their names.
fn checksum<'t>(place: &str, tensors: impl Iterator<Item = (&'t str, &'t [usize], &'t [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(place.as_bytes());
    for (name, shape, bytes) in tensors {
        hasher.update(title(name, shape).as_bytes());
        hasher.update_rayon(bytes); // by all threads: a table may have gigabytes
    }
    hasher.finalize().to_hex().to_string()
}

/// What stands before a tensor's bytes in what the checksum is of.
pub(super) fn title(name: &str, shape: &[usize]) -> String {
    format!("{name} {shape:?}\n")
}

/// Lends the values of all matrices at once, behind those already `lent`; on the device flex where they lie.
fn lend<R>(matrices: &[&RowMatrix], lent: &[&[f32]], read: &mut dyn FnMut(&[&[f32]]) -> R) -> R {
    let Some((matrix, others)) = matrices.split_first() else { return read(lent) };
    matrix.read(|values| {
        let lent: Vec<&[f32]> = lent.iter().copied().chain([values]).collect();
        lend(others, &lent, read)
    })
}

/// Writes a file; one of that name stays whole until the new one is. Gives its checksum.
fn write(tensors: &BTreeMap<&str, TensorView<'_>>, place: &Place, path: &Path) -> Result<String, FileError> {
    let place = serde_json::to_string(place).expect("a place is plain data");
    let checksum = checksum(&place, tensors.iter().map(|(name, view)| (*name, view.shape(), view.data())));
    let metadata = BTreeMap::from([(CHECKSUM, &*checksum), (PLACE, &*place)]);
    files::replace(path, |scratch| tensor_file::write(scratch, &metadata, tensors))?;
    Ok(checksum)
}

impl Matrices<'_> {
    /// Table and its state, by the names that they have in the file.
    pub(super) fn large(&self) -> Vec<(String, &RowMatrix)> {
        let states = self.table_state.iter().enumerate().map(|(k, matrix)| (format!("{TABLE_STATE}{k}"), matrix));
        [(TABLE.to_string(), self.table)].into_iter().chain(states).collect()
    }

    /// The network and its state.
    pub(super) fn small(&self) -> Vec<(String, &TensorData)> {
        let named = |(name, data)| (format!("{NETWORK}{name}"), data);
        let states = self.network_state.iter().flat_map(|(name, state)| {
            state.iter().enumerate().map(move |(k, data)| (format!("{NETWORK_STATE}{name}.{k}"), data))
        });
        self.network.iter().map(named).chain(states).collect()
    }

    /// Writes all of it from where it lies. Gives the checksum.
    pub(crate) fn write(&self, place: &Place, path: &Path) -> Result<Option<String>, FileError> {
        if let Some(shard) = self.shard {
            return self.write_over(shard, place, path);
        }
        let (small, large) = (self.small(), self.large());
        let matrices: Vec<&RowMatrix> = large.iter().map(|(_, matrix)| *matrix).collect();
        lend(&matrices, &[], &mut |values| {
            let of_table = large.iter().zip(values);
            let of_table = of_table
                .map(|((name, matrix), values)| (&**name, view(matrix.dims().to_vec(), bytemuck::cast_slice(values))));
            let tensors = small.iter().map(|(name, data)| (&**name, view_of(data))).chain(of_table).collect();
            write(&tensors, place, path).map(Some)
        })
    }

    /// A copy of it: of these rows of the table, ascending, or of all.
    pub(crate) fn copied(&self, rows: Option<&[u32]>) -> Option<Copied> {
        if let Some(shard) = self.shard {
            return self.copied_over(shard, rows);
        }
        let mut tensors: BTreeMap<String, TensorData> =
            self.small().into_iter().map(|(name, data)| (name, data.clone())).collect();
        let index = rows.map(|rows| upload_index(rows, &self.table.tensor().device()));
        for (name, matrix) in self.large() {
            let values = match &index {
                Some(index) => matrix.gather(index.clone()).into_data(), // [U, W]
                None => matrix.read(|values| TensorData::new(values.to_vec(), matrix.dims())),
            };
            tensors.insert(name, values);
        }
        tensors.extend(rows.map(|rows| (ROWS.to_string(), TensorData::new(rows.to_vec(), [rows.len()]))));
        Some(Copied(tensors))
    }
}

impl Copied {
    /// By the names that the file has.
    pub(super) fn of(tensors: BTreeMap<String, TensorData>) -> Self {
        Self(tensors)
    }

    /// Writes the file. Gives its checksum.
    pub(crate) fn write(&self, place: &Place, path: &Path) -> Result<String, FileError> {
        write(&self.0.iter().map(|(name, data)| (&**name, view_of(data))).collect(), place, path)
    }
}
