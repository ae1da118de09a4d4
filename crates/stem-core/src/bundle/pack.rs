//! The same bundle with packed rows, and packed keys.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use safetensors::tensor::Dtype;
use stem_kernels::rows::{PackedRows, Packer, ReadRows};

use super::read::read_tensors;
use super::write::{Tensor, write};
use super::{
    BLOCKS, Bundle, BundleFault, Golden, IDLE, Manifest, PACKED_KEYS, Packed, Packing, REMAINDERS, RowFormat, TABLE,
    prefix,
};
use crate::batch::Batch;
use crate::device::DeviceSpec;
use crate::embedding::{DistinctRows, SlotLayout, upload_rows};
use crate::error::{Error, Result};
use crate::forward::{score_pooled, upload};
use crate::integer_keys::PackedKeys;
use crate::models::ModelSpec;
use crate::vocabulary::Vocabulary;

/// Rows that a thread packs at a time.
const AT_ONCE: usize = 4096;

/// A bundle whose rows were packed, not written yet.
#[derive(Debug)]
pub struct PackedBundle<'b, C> {
    bundle: &'b Bundle<C>,
    format: RowFormat,
    /// What packing did, without metrics.
    pub packed: Packed,
    /// The packed table of every state.
    tables: Vec<Vec<u8>>,
}

/// Packs the rows of a bundle, those of every state.
///
/// # Errors
/// [`Error::Bundle`] of rows that are packed already, that are not finite, or that half precision does not hold.
pub fn pack<C: ModelSpec>(bundle: &Bundle<C>, packing: Packing) -> Result<PackedBundle<'_, C>> {
    packed(bundle, packing).map_err(|fault| Error::Bundle { path: bundle.path().to_path_buf(), fault })
}

fn packed<C: ModelSpec>(bundle: &Bundle<C>, packing: Packing) -> Result<PackedBundle<'_, C>, BundleFault> {
    if let Some(format) = bundle.manifest.rows {
        return Err(BundleFault::Packed { format });
    }
    let widths = bundle.config.widths(&bundle.manifest.schema);
    let states = 0..bundle.tasks_of_states().len();
    let tables = states.map(|state| bundle.table(state)).collect::<Result<Vec<_>, _>>()?;
    let most = tables.iter().flat_map(|table| table.iter()).fold(0.0f32, |most, value| most.max(value.abs()));
    let format = RowFormat::holding(packing, most).ok_or(BundleFault::TooLarge { most, packing })?;
    let packer = Packer::new(format, &widths);
    let (mut errors, mut count) = (Errors::default(), 0);
    let mut packed = Vec::new();
    for table in &tables {
        let (bytes, own) = pack_table(&packer, table, widths.iter().sum(), format.row_bytes(&widths));
        packed.push(bytes);
        errors = errors.and(own);
        count += table.len();
    }
    let root = |sum: f64| (sum / count.max(1) as f64).sqrt() as f32;
    let packed_by = Packed {
        of: bundle.checksum.clone(),
        largest_error: errors.largest,
        rms_error: root(errors.squares),
        rms: root(errors.of_numbers),
        measured: serde_json::Value::Null,
    };
    Ok(PackedBundle { bundle, format, packed: packed_by, tables: packed })
}

/// How far packed numbers are from what they were.
#[derive(Debug, Clone, Copy, Default)]
struct Errors {
    largest: f32,
    squares: f64,
    /// Squares of the numbers themselves.
    of_numbers: f64,
}

impl Errors {
    fn and(self, other: Self) -> Self {
        Self {
            largest: self.largest.max(other.largest),
            squares: self.squares + other.squares,
            of_numbers: self.of_numbers + other.of_numbers,
        }
    }
}

fn pack_table(packer: &Packer, table: &[f32], width: usize, row_bytes: usize) -> (Vec<u8>, Errors) {
    let mut bytes = vec![0; table.len() / width.max(1) * row_bytes];
    let parts = bytes.par_chunks_mut(AT_ONCE * row_bytes.max(1)).zip(table.par_chunks(AT_ONCE * width.max(1)));
    let errors = parts.map(|(bytes, rows)| {
        rows.chunks_exact(width)
            .zip(bytes.chunks_exact_mut(row_bytes))
            .for_each(|(row, bytes)| packer.pack(row, bytes));
        let (packed, mut scratch, mut errors) = (PackedRows::new(packer, bytes), vec![0.0; width], Errors::default());
        for (row, id) in rows.chunks_exact(width).zip(0..) {
            for (value, found) in row.iter().zip(packed.read(id, &mut scratch).unwrap_or_default()) {
                let off = (value - found).abs();
                errors.largest = errors.largest.max(off);
                errors.squares += f64::from(off).powi(2);
                errors.of_numbers += f64::from(*value).powi(2);
            }
        }
        errors
    });
    let errors: Vec<Errors> = errors.collect(); // summed in the order of the rows
    (bytes, errors.into_iter().fold(Errors::default(), Errors::and))
}

impl<C: ModelSpec> PackedBundle<'_, C> {
    /// Golden rows with the scores that the packed rows give them.
    fn golden(&self, manifest: &Manifest) -> Result<Option<Golden>> {
        let (schema, device) = (&manifest.schema, DeviceSpec::default().open()?);
        let widths = self.bundle.config.widths(schema);
        let width = widths.iter().sum();
        let (layout, packer) = (SlotLayout::new(schema, &widths), Packer::new(self.format, &widths));
        let fault = |fault| Error::Bundle { path: self.bundle.path().to_path_buf(), fault };
        let states = self.bundle.tasks_of_states().into_iter().enumerate().zip(&self.tables);
        let states = states.map(|((state, tasks), table)| {
            let network = self.bundle.load_network(&device, state).map_err(fault)?;
            Ok((network, tasks, table))
        });
        let states = states.collect::<Result<Vec<_>>>()?;
        let score = |batch: &Batch| {
            let distinct = DistinctRows::of(&batch.ids);
            let mut scores = vec![0.0; batch.rows * schema.tasks.len()]; // [B, T]
            for (network, tasks, table) in &states {
                let (packed, mut scratch) = (PackedRows::new(&packer, table), vec![0.0; width]);
                let row = |id: &u32| packed.read(*id, &mut scratch).map(<[f32]>::to_vec).unwrap_or_default();
                let rows = upload_rows(distinct.rows.iter().flat_map(row).collect(), width, &device); // [U, W]
                let (index, weights) = upload(&distinct.inverse, &batch.weights, batch.rows, &device);
                let own =
                    score_pooled(network, || layout.pool(rows, index, weights), schema, (&batch.weights, batch.rows));
                let own = own.chunks_exact(schema.tasks.len());
                for (all, own) in scores.chunks_exact_mut(schema.tasks.len()).zip(own) {
                    tasks.iter().for_each(|&task| all[task] = own[task]);
                }
            }
            scores
        };
        Ok(Golden::of(manifest, &self.bundle.vocabularies, score))
    }

    /// Writes it, as [`save`](super::save) does; `measured` are metrics before and after, or null.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: &Path, measured: serde_json::Value) -> Result<()> {
        let fault = |fault| Error::Bundle { path: self.bundle.path().to_path_buf(), fault };
        let widths = self.bundle.config.widths(&self.bundle.manifest.schema);
        let (dtype, columns) = match self.format {
            RowFormat::F16 => (Dtype::F16, widths.iter().sum()),
            format => (Dtype::U8, format.row_bytes(&widths)),
        };
        let mut tensors = BTreeMap::new();
        for (name, view) in read_tensors(&self.bundle.file).map_err(fault)?.iter() {
            let (dtype, shape, bytes) = (view.dtype(), view.shape().to_vec(), view.data().into());
            tensors.insert(name.to_string(), Tensor { dtype, shape, bytes });
        }
        for (state, table) in self.tables.iter().enumerate() {
            let shape = vec![self.bundle.manifest.schema.rows(), columns];
            tensors.insert(prefix(state) + TABLE, Tensor { dtype, shape, bytes: table.into() });
        }
        let has_packed_keys = self.pack_keys(&mut tensors);
        let packed = Packed { measured, ..self.packed.clone() };
        let mut manifest = Manifest { rows: Some(self.format), packed: Some(packed), ..self.bundle.manifest.clone() };
        manifest.golden = self.golden(&manifest)?;
        let needed = manifest.version_needed();
        manifest.version = if has_packed_keys { needed.max(PACKED_KEYS) } else { needed };
        write(path, &tensors, &manifest)
    }

    /// Packs the keys that are fewer bytes so, and leaves out how long keys have been idle, for no training goes on from here. Whether there
    /// were any.
    fn pack_keys(&self, tensors: &mut BTreeMap<String, Tensor<'_>>) -> bool {
        let mut has_packed_keys = false;
        for (spec, vocabulary) in self.bundle.manifest.schema.vocabularies.iter().zip(&self.bundle.vocabularies) {
            let name = |part: &str| format!("vocabulary.{}.{part}", spec.name);
            tensors.remove(&name(IDLE));
            let Vocabulary::Integers(keys) = vocabulary else { continue };
            let packed = PackedKeys::of(&keys.values());
            if packed.bytes() >= keys.bytes() {
                continue; // few keys, or such as are spread over all that 64 bits hold
            }
            let (blocks, remainders) = packed.parts();
            let tensor = |dtype, shape, bytes: &[u8]| Tensor { dtype, shape, bytes: bytes.to_vec().into() };
            tensors.remove(&name("keys"));
            tensors.insert(name(BLOCKS), tensor(Dtype::I64, vec![blocks.len(), 2], bytemuck::cast_slice(blocks)));
            tensors.insert(name(REMAINDERS), tensor(Dtype::U8, vec![remainders.len()], remainders));
            has_packed_keys = true;
        }
        has_packed_keys
    }
}
