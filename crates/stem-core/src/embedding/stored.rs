//! The table of a model that only scores: its rows lie in the bundle's file, as they were written, and are read where they lie.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};
use stem_kernels::rows::{PackedRows, Packer, PlainRows, ReadRows, RowFormat};

use super::EmbeddingTable;
use crate::forward::upload_index;
use crate::mapped::Stored;

/// Rows of a table in a file: `V` rows of `[group 0 | ... | group G-1]`.
#[derive(Debug, Clone)]
pub(crate) struct StoredTable {
    rows: Rows,
    widths: Vec<usize>,
}

#[derive(Debug, Clone)]
enum Rows {
    Plain(Stored<f32>),
    Packed(Box<Packer>, Stored<u8>),
}

/// What is done with rows of either kind.
pub(crate) trait WithRows {
    /// What it gives.
    type Output;

    /// Does it.
    fn with(self, rows: impl ReadRows) -> Self::Output;
}

impl StoredTable {
    /// `[V, W]` numbers.
    pub(crate) fn plain(values: Stored<f32>, widths: &[usize]) -> Self {
        Self { rows: Rows::Plain(values), widths: widths.to_vec() }
    }

    /// `V` packed rows.
    pub(crate) fn packed(format: RowFormat, bytes: Stored<u8>, widths: &[usize]) -> Self {
        Self { rows: Rows::Packed(Box::new(Packer::new(format, widths)), bytes), widths: widths.to_vec() }
    }

    /// `W`
    pub(crate) fn width(&self) -> usize {
        self.widths.iter().sum()
    }

    /// Lends the rows.
    pub(crate) fn with<W: WithRows>(&self, work: W) -> W::Output {
        match &self.rows {
            Rows::Plain(values) => work.with(PlainRows::new(values, self.width())),
            Rows::Packed(packer, bytes) => work.with(PackedRows::new(packer, bytes)),
        }
    }

    /// Copies rows. `[ids.len(), W]`
    ///
    /// # Panics
    /// An id outside the table.
    pub(crate) fn gather(&self, ids: &[u32]) -> Vec<f32> {
        self.with(Gather { ids, width: self.width() })
    }
}

struct Gather<'a> {
    ids: &'a [u32],
    width: usize,
}

impl WithRows for Gather<'_> {
    type Output = Vec<f32>;

    fn with(self, rows: impl ReadRows) -> Vec<f32> {
        let (mut scratch, mut values) = (vec![0.0; rows.scratch()], Vec::with_capacity(self.ids.len() * self.width));
        for &id in self.ids {
            let row = rows.read(id, &mut scratch);
            values.extend_from_slice(row.unwrap_or_else(|| panic!("row {id} lies outside {} rows", rows.count())));
        }
        values
    }
}

/// The table of a model that scores: on its device, or in the bundle's file.
#[derive(Debug)]
pub struct ScoringTable {
    place: Place,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one a model
enum Place {
    Device(EmbeddingTable),
    File(Arc<StoredTable>),
}

/// A table's rows, as a forward reads them.
pub(crate) enum TableRows<'a> {
    /// `[V, W]`
    Device(&'a Tensor<2>),
    File(&'a Arc<StoredTable>),
}

impl From<EmbeddingTable> for ScoringTable {
    fn from(table: EmbeddingTable) -> Self {
        Self { place: Place::Device(table) }
    }
}

impl From<StoredTable> for ScoringTable {
    fn from(table: StoredTable) -> Self {
        Self { place: Place::File(Arc::new(table)) }
    }
}

impl ScoringTable {
    /// Width of each group.
    pub fn widths(&self) -> &[usize] {
        match &self.place {
            Place::Device(table) => table.widths(),
            Place::File(table) => &table.widths,
        }
    }

    /// `[V, W]`
    pub fn dims(&self) -> [usize; 2] {
        match &self.place {
            Place::Device(table) => table.rows().dims(),
            Place::File(table) => [table.with(Count), table.width()],
        }
    }

    /// Whether its rows are read in the bundle's file, and not copied to a device.
    pub fn is_in_file(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// Copies the rows `ids`. `[ids.len(), W]`
    ///
    /// # Panics
    /// An id outside the table.
    pub fn gather(&self, ids: &[u32]) -> Vec<f32> {
        match &self.place {
            Place::Device(table) => {
                let rows = table.rows().gather(upload_index(ids, &table.rows().tensor().device()));
                rows.into_data().try_into_vec().expect("rows are f32")
            }
            Place::File(table) => table.gather(ids),
        }
    }

    pub(crate) fn rows(&self) -> TableRows<'_> {
        match &self.place {
            Place::Device(table) => TableRows::Device(table.rows().tensor()),
            Place::File(table) => TableRows::File(table),
        }
    }
}

struct Count;

impl WithRows for Count {
    type Output = usize;

    fn with(self, rows: impl ReadRows) -> usize {
        rows.count()
    }
}

/// Rows on a device. `[U, W]`
pub(crate) fn upload_rows(values: Vec<f32>, width: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / width.max(1);
    Tensor::from_data(TensorData::new(values, [rows, width]), (device, DType::F32))
}
