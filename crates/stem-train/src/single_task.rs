//! Single-task training: one model per task, trained apart, put side by side in one bundle.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stem_core::{Bundle, EmbeddingTable, ModelConfig, ModelSpec, bundle, params};
use stem_data::Dataset;

use crate::error::{Error, Result};

/// Reads the bundles of the tasks' models, in task order, and writes one that holds them all.
///
/// The wiring of a single-task model keeps every task's parameters in banks: putting models side by side is appending their
/// banks, and their table rows column by column.
///
/// # Errors
/// A bundle that does not open, or that cannot be written.
pub(crate) fn merge(
    parts: &[impl AsRef<Path>],
    dataset: &Dataset,
    spec: &ModelConfig,
    path: &Path,
    device: &Device,
) -> Result<()> {
    let mut values: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
    let mut tables: Vec<Vec<f32>> = Vec::new();
    let mut training = Vec::new();
    for part in parts {
        let bundle = Bundle::<ModelConfig>::open(part)?;
        let (mut table, network) = bundle.load(device)?;
        for (name, data) in params::collect(&network) {
            let (shape, all) = values.entry(name).or_insert_with(|| {
                let mut shape = data.shape().as_slice().to_vec();
                shape[0] = 0;
                (shape, Vec::new())
            });
            shape[0] += data.shape().as_slice()[0];
            all.extend_from_slice(data.as_slice::<f32>().expect("parameters are f32"));
        }
        tables.push(table.rows_mut().host_mut(|rows| rows.to_vec()));
        training.push(bundle.manifest.training);
    }
    let schema = dataset.schema();
    let widths = spec.widths(schema);
    let rows: Vec<f32> = (0..schema.rows())
        .flat_map(|row| {
            tables.iter().zip(&widths).flat_map(move |(table, width)| &table[row * width..(row + 1) * width])
        })
        .copied()
        .collect();
    let mut table = EmbeddingTable::from_values(rows, &widths, device);
    let values = values.into_iter().map(|(name, (shape, values))| (name, TensorData::new(values, shape))).collect();
    let network = params::replace(spec.init(schema, &mut ChaCha8Rng::seed_from_u64(0), device), values)
        .map_err(|what| Error::Core(stem_core::Error::Bundle { path: path.to_path_buf(), what }))?;
    let training = serde_json::Value::Array(training);
    Ok(bundle::save(path, schema, dataset.vocabularies(), spec, &mut table, &network, &training)?)
}
