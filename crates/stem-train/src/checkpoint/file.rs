//! One checkpoint as a file: a valid safetensors file whose metadata hold everything but weights and optimizer, and a checksum of all.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use stem_core::files::{self, FileError};
use stem_core::nn::{RowMatrix, upload_index};

use super::state::Place;

const PLACE: &str = "stem.checkpoint";
const CHECKSUM: &str = "stem.checksum";
const TABLE: &str = "embedding.table";
const TABLE_STATE: &str = "embedding.state.";
/// Of a checkpoint on top of another: which rows `TABLE` and `TABLE_STATE` hold.
const ROWS: &str = "embedding.rows";
const NETWORK: &str = "network.";
const NETWORK_STATE: &str = "optimizer.";

/// A longer head than safetensors takes, in bytes: it is another file.
const LONGEST_HEAD: u64 = 100_000_000;

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

/// What a checkpoint holds, copied: the training may go on while it is written.
pub(crate) struct Copied(BTreeMap<String, TensorData>);

/// A matrix as it was read: values, row-major, and its shape.
pub(crate) type Values = (Vec<f32>, [usize; 2]);

/// A checkpoint that was read.
pub(crate) struct Written {
    pub(crate) place: Place,
    /// Of the file.
    pub(crate) checksum: String,
    /// The rows that it holds, where it is on top of another.
    rows: Option<Vec<u32>>,
    pub(crate) table: Values,
    pub(crate) table_state: Vec<Values>,
    pub(crate) network: BTreeMap<String, TensorData>,
    pub(crate) network_state: BTreeMap<String, Vec<Values>>,
}

fn view(shape: Vec<usize>, bytes: &[u8]) -> TensorView<'_> {
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

/// Writes a file; one of that name stays whole until the new one is. Gives its checksum.
fn write(tensors: &BTreeMap<&str, TensorView<'_>>, place: &Place, path: &Path) -> Result<String, FileError> {
    let place = serde_json::to_string(place).expect("a place is plain data");
    let checksum = checksum(&place, tensors.iter().map(|(name, view)| (*name, view.shape(), view.data())));
    let metadata = HashMap::from([(CHECKSUM.to_string(), checksum.clone()), (PLACE.to_string(), place)]);
    files::replace(path, |scratch| {
        safetensors::serialize_to_file(tensors, Some(metadata), scratch).map_err(|e| match e {
            safetensors::SafeTensorError::IoError(source) => source,
            other => io::Error::other(other),
        })
    })?;
    Ok(checksum)
}

impl Matrices<'_> {
    /// Table and its state, by the names that they have in the file.
    fn large(&self) -> Vec<(String, &RowMatrix)> {
        let states = self.table_state.iter().enumerate().map(|(k, matrix)| (format!("{TABLE_STATE}{k}"), matrix));
        [(TABLE.to_string(), self.table)].into_iter().chain(states).collect()
    }

    /// The network and its state.
    fn small(&self) -> Vec<(String, &TensorData)> {
        let named = |(name, data)| (format!("{NETWORK}{name}"), data);
        let states = self.network_state.iter().flat_map(|(name, state)| {
            state.iter().enumerate().map(move |(k, data)| (format!("{NETWORK_STATE}{name}.{k}"), data))
        });
        self.network.iter().map(named).chain(states).collect()
    }

    /// Of table and its state.
    pub(crate) fn bytes(&self) -> u64 {
        self.large().iter().map(|(_, matrix)| 4 * matrix.dims().iter().product::<usize>() as u64).sum()
    }

    /// Of so many of its rows.
    pub(crate) fn bytes_of(&self, rows: usize) -> u64 {
        let values = |matrix: &RowMatrix| rows * matrix.dims()[1];
        self.large().iter().map(|(_, matrix)| 4 * values(matrix) as u64).sum()
    }

    /// Writes all of it from where it lies. Gives the checksum.
    pub(crate) fn write(&self, place: &Place, path: &Path) -> Result<String, FileError> {
        let (small, large) = (self.small(), self.large());
        let matrices: Vec<&RowMatrix> = large.iter().map(|(_, matrix)| *matrix).collect();
        lend(&matrices, &[], &mut |values| {
            let of_table = large.iter().zip(values);
            let of_table = of_table
                .map(|((name, matrix), values)| (&**name, view(matrix.dims().to_vec(), bytemuck::cast_slice(values))));
            let tensors = small.iter().map(|(name, data)| (&**name, view_of(data))).chain(of_table).collect();
            write(&tensors, place, path)
        })
    }

    /// A copy of it: of these rows of the table, ascending, or of all.
    pub(crate) fn copied(&self, rows: Option<&[u32]>) -> Copied {
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
        Copied(tensors)
    }
}

impl Copied {
    /// Writes the file. Gives its checksum.
    pub(crate) fn write(&self, place: &Place, path: &Path) -> Result<String, FileError> {
        write(&self.0.iter().map(|(name, data)| (&**name, view_of(data))).collect(), place, path)
    }
}

/// Whether a file is a checkpoint, whole or not.
pub(crate) fn is_checkpoint(path: &Path) -> bool {
    place_in(path).is_ok()
}

/// Where the training of a file was, without reading the rest of it.
pub(super) fn place_in(path: &Path) -> Result<Place, String> {
    let head = || -> io::Result<serde_json::Value> {
        let mut file = std::fs::File::open(path)?;
        let (mut length, mut head) = ([0; 8], Vec::new());
        file.read_exact(&mut length)?;
        file.take(u64::from_le_bytes(length).min(LONGEST_HEAD)).read_to_end(&mut head)?;
        Ok(serde_json::from_slice(&head)?)
    };
    let head = head().map_err(|e| e.to_string())?;
    let text = head["__metadata__"][PLACE].as_str().ok_or("it is no checkpoint")?;
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// Why a checkpoint is of no use.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It is not what was written.
    Damaged(String),
    /// It may well be, but the disk does not give it, or this version does not know it.
    Unreadable(String),
}

impl Unusable {
    /// The same, said after something else.
    pub(super) fn after(self, text: &str) -> Self {
        match self {
            Self::Damaged(why) => Self::Damaged(format!("{text}{why}")),
            Self::Unreadable(why) => Self::Unreadable(format!("{text}{why}")),
        }
    }
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Damaged(why) | Self::Unreadable(why)) = self;
        f.write_str(why)
    }
}

impl<T: Into<String>> From<T> for Unusable {
    fn from(why: T) -> Self {
        Self::Damaged(why.into())
    }
}

impl Written {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it is of no use.
    pub(crate) fn read(path: &Path) -> Result<Self, Unusable> {
        let bytes = files::read(path).map_err(|error| Unusable::Unreadable(format!("{error}: {}", error.source)))?;
        let damaged = |why: &dyn std::fmt::Display| format!("it is not whole ({why})");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&e))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e))?;
        let entry = |key: &str| metadata.metadata().as_ref().and_then(|metadata| metadata.get(key)).cloned();
        let text = entry(PLACE).ok_or("it is no checkpoint")?;
        let mut views = tensors.tensors();
        views.sort_by(|a, b| a.0.cmp(&b.0));
        let found = checksum(&text, views.iter().map(|(name, view)| (name.as_str(), view.shape(), view.data())));
        if entry(CHECKSUM).as_ref() != Some(&found) {
            return Err("its contents are not those that were written".into());
        }
        let other = |e: serde_json::Error| {
            Unusable::Unreadable(format!(
                "another version wrote it ({e}): go on with that one, or begin anew with --force"
            ))
        };
        let place: Place = serde_json::from_str(&text).map_err(other)?;
        let (mut table, mut table_state, mut rows) = (None, BTreeMap::new(), None);
        let (mut network, mut network_state) = (BTreeMap::new(), BTreeMap::<String, BTreeMap<usize, _>>::new());
        for (name, view) in &views {
            if name == ROWS {
                rows = Some(bytemuck::pod_collect_to_vec(view.data()));
                continue;
            }
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
        if rows.is_some() != place.base.is_some() {
            return Err("it does not say what it is on top of".into());
        }
        Ok(Self {
            place,
            checksum: found,
            rows,
            table: table.ok_or("it has no table")?,
            table_state: table_state.into_values().collect::<Vec<_>>(),
            network,
            network_state: network_state.into_iter().map(|(name, own)| (name, own.into_values().collect())).collect(),
        })
    }

    /// This one on top of the one that it was written on.
    pub(crate) fn onto(self, base: Self) -> Result<Self, String> {
        let Some(rows) = &self.rows else { return Ok(self) };
        let unfit = || "its rows do not fit the checkpoint that it is on top of".to_string();
        let put = |(values, [_, width]): &Values, (all, [count, of_all]): Values| -> Result<Values, String> {
            let mut all = all;
            if *width != of_all || values.len() != rows.len() * width {
                return Err(unfit());
            }
            for (&row, own) in rows.iter().zip(values.chunks_exact(of_all.max(1))) {
                all.get_mut(row as usize * of_all..)
                    .and_then(|all| all.get_mut(..of_all))
                    .ok_or_else(unfit)?
                    .copy_from_slice(own);
            }
            Ok((all, [count, of_all]))
        };
        if self.table_state.len() != base.table_state.len() {
            return Err(unfit());
        }
        let table = put(&self.table, base.table)?;
        let states = self.table_state.iter().zip(base.table_state).map(|(own, all)| put(own, all));
        let table_state = states.collect::<Result<_, String>>()?;
        Ok(Self { rows: base.rows.clone(), table, table_state, ..self })
    }
}
