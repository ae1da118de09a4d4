//! One checkpoint as a file: a valid safetensors file whose metadata hold everything but weights and optimizer, and a checksum of all. Here it is
//! written, in `read` it is read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

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
/// As long as a checksum in hexadecimal digits.
const UNKNOWN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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

/// A checkpoint whose large matrices come while it is written, a stretch of their values after the other.
pub(crate) struct Coming {
    /// Shapes of the large matrices.
    pub(super) large: BTreeMap<String, [usize; 2]>,
    pub(super) small: BTreeMap<String, TensorData>,
    /// Which rows of the table they hold, ascending; all where `None`.
    pub(super) rows: Option<Arc<[u32]>>,
}

pub(super) fn view(shape: Vec<usize>, bytes: &[u8]) -> TensorView<'_> {
    TensorView::new(Dtype::F32, shape, bytes).expect("values fill their shape")
}

/// A tensor of floats, or of the rows' numbers.
fn view_of(data: &TensorData) -> TensorView<'_> {
    let dtype = if data.dtype() == DType::U32 { Dtype::U32 } else { Dtype::F32 };
    TensorView::new(dtype, data.shape().as_slice().to_vec(), data.as_bytes()).expect("values fill their shape")
}

fn view_of_rows(rows: &[u32]) -> TensorView<'_> {
    TensorView::new(Dtype::U32, vec![rows.len()], bytemuck::cast_slice(rows)).expect("values fill their shape")
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

    /// Whether it lies on the host of one process, where a few of its rows are read for nothing.
    pub(crate) fn is_here(&self) -> bool {
        self.shard.is_none() && self.table.is_on_host()
    }

    /// What is small of it, copied, and the shapes of what is large, of which these rows are written, or all.
    pub(crate) fn coming(&self, rows: Option<Arc<[u32]>>) -> Coming {
        let count = |all: usize| rows.as_ref().map_or(all, |rows| rows.len());
        let whole = |all: usize| count(self.shard.map_or(all, Shard::whole));
        let of = |(name, matrix): (String, &RowMatrix)| (name, [whole(matrix.dims()[0]), matrix.dims()[1]]);
        let large = self.large().into_iter().map(of).collect();
        let small = self.small().into_iter().map(|(name, data)| (name, data.clone())).collect();
        Coming { large, small, rows }
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

impl Coming {
    /// Writes the file of the slices that come from a [`Snapshot`](super::snapshot::Snapshot). Gives its checksum.
    ///
    /// # Errors
    /// The system's, and a snapshot that was given up.
    pub(super) fn write_slices(
        &self,
        place: &Place,
        path: &Path,
        from: &Receiver<Vec<f32>>,
    ) -> Result<String, FileError> {
        self.write(place, path, |name, put| {
            let mut left: usize = self.large[name].iter().product();
            while left > 0 {
                let slice = from.recv().map_err(|_| io::Error::other("the training ended before it was whole"))?;
                left = left.saturating_sub(slice.len());
                put(&slice)?;
            }
            Ok(())
        })
    }

    /// Writes the file, for which `fill` is asked for the large matrices one after the other, in the order of their names. Gives its checksum.
    pub(super) fn write(
        &self,
        place: &Place,
        path: &Path,
        mut fill: impl FnMut(&str, &mut dyn FnMut(&[f32]) -> io::Result<()>) -> io::Result<()>,
    ) -> Result<String, FileError> {
        let place = serde_json::to_string(place).expect("a place is plain data");
        let rows = self.rows.as_deref().map(view_of_rows);
        let large = self.large.iter().map(|(name, shape)| (name.clone(), (Dtype::F32, shape.to_vec())));
        let small =
            self.small.iter().map(|(name, data)| (name.clone(), (Dtype::F32, data.shape().as_slice().to_vec())));
        let numbers = rows.iter().map(|rows| (ROWS.to_string(), (Dtype::U32, rows.shape().to_vec())));
        let tensors: BTreeMap<String, (Dtype, Vec<usize>)> = large.chain(small).chain(numbers).collect();
        // The numbers of the rows come last in the file, and first by name, which is the order of the checksum.
        let hasher = RefCell::new(blake3::Hasher::new());
        hasher.borrow_mut().update(place.as_bytes());
        rows.iter().for_each(|rows| {
            hasher.borrow_mut().update(title(ROWS, rows.shape()).as_bytes()).update(rows.data());
        });
        let mut checksum = String::new();
        files::replace(path, |scratch| {
            let metadata = BTreeMap::from([(CHECKSUM, UNKNOWN.to_string()), (PLACE, place.clone())]);
            let fill = |name: &str, put: &mut dyn FnMut(&[u8]) -> io::Result<()>| {
                if let Some(rows) = rows.as_ref().filter(|_| name == ROWS) {
                    return put(rows.data());
                }
                hasher.borrow_mut().update(title(name, &tensors[name].1).as_bytes());
                let mut put = |bytes: &[u8]| {
                    hasher.borrow_mut().update(bytes);
                    put(bytes)
                };
                match self.small.get(name) {
                    Some(data) => put(data.as_bytes()),
                    None => fill(name, &mut |values| put(bytemuck::cast_slice(values))),
                }
            };
            tensor_file::write_as_they_come(scratch, metadata, &tensors, fill, |metadata| {
                checksum = hasher.borrow().finalize().to_hex().to_string();
                metadata.insert(CHECKSUM, checksum.clone());
            })
        })?;
        Ok(checksum)
    }
}
