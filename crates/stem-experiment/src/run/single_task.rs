//! Single-task training: one model per task, trained apart, put side by side in one bundle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stem_core::models::ModelSpec;
use stem_core::nn::EmbeddingTable;
use stem_core::{Bundle, Task, bundle, files, params};
use stem_data::Dataset;
use stem_train::{BalanceConfig, FitSummary, TrainConfig};

use super::train::Training;
use crate::error::{Error, Result};
use crate::folder::{BUNDLE, LOG};

/// Trains a model per task, each with its own early stopping, in `folder/task-N`; then one bundle and one log of them all.
///
/// # Errors
/// Whatever keeps a task's model from being trained, and [`Error::Interrupted`] when a stop left a task without weights.
pub(super) fn train<C: ModelSpec>(all: &Training<'_, C>) -> Result<FitSummary> {
    all.once(|| each(all))
}

fn each<C: ModelSpec>(all: &Training<'_, C>) -> Result<FitSummary> {
    let Training { spec, train, dataset, folder, device, options, .. } = all;
    train.check_tasks(dataset.schema())?;
    let mut sum = FitSummary::default();
    let mut rows = 0.0;
    let mut parts: Vec<PathBuf> = Vec::new();
    let mut log = String::new();
    for (t, task) in dataset.schema().tasks.iter().enumerate() {
        let part = folder.join(format!("task-{t}"));
        tracing::info!("single-task: {}", task.name);
        let train = train_of(train, task);
        let one = Training { train: &train, dataset: &dataset.only_task(t), folder: &part, ..all.clone() };
        let summary = one.jointly(Some(&task.name))?;
        if summary.interrupted && summary.evaluations == 0 {
            return Err(Error::Interrupted { task: task.name.clone(), folder: folder.to_path_buf() });
        }
        parts.push(part.join(BUNDLE));
        if options.ranks.is_first() {
            log.push_str(&files::read_text(&part.join(LOG))?);
        }
        rows += summary.rows_per_second * summary.seconds;
        sum.parameters += summary.parameters;
        sum.memory = sum.memory.max(summary.memory);
        sum.epochs = sum.epochs.max(summary.epochs);
        sum.best_epoch = sum.best_epoch.max(summary.best_epoch);
        sum.evaluations = sum.evaluations.max(summary.evaluations);
        sum.kept.extend(summary.kept);
        sum.seconds += summary.seconds;
        sum.interrupted |= summary.interrupted;
    }
    sum.rows_per_second = if sum.seconds > 0.0 { rows / sum.seconds } else { 0.0 };
    if !options.ranks.is_first() {
        return Ok(sum);
    }
    files::replace_text(&folder.join(LOG), &log)?;
    merge(&parts, dataset, *spec, &folder.join(BUNDLE), device)?;
    Ok(sum)
}

/// How a task is trained alone: it has nothing to be weighed or balanced against, and where its label is a number no row is negative.
pub(super) fn train_of(train: &TrainConfig, task: &Task) -> TrainConfig {
    let mut train = train.clone();
    train.task_weights.retain(|name, _| *name == task.name);
    train.losses.retain(|name, _| *name == task.name);
    train.negative_sampling = train.negative_sampling.filter(|_| task.kind.is_binary());
    train.balance = BalanceConfig::default();
    train.monitor.weights.clear(); // its own metric decides
    train
}

/// Reads the bundles of the tasks' models, in task order, and writes one that holds them all.
///
/// The wiring of a single-task model keeps every task's parameters in banks: putting models side by side is appending their
/// banks, and their table rows column by column. A tower that ends in fewer numbers than the widest is given zeros beside them, which
/// nothing reads.
///
/// # Errors
/// A bundle that does not open, or that cannot be written.
fn merge<C: ModelSpec>(
    parts: &[impl AsRef<Path>],
    dataset: &Dataset,
    spec: &C,
    path: &Path,
    device: &Device,
) -> Result<()> {
    let mut values: BTreeMap<String, Vec<TensorData>> = BTreeMap::new();
    let mut tables: Vec<Vec<f32>> = Vec::new();
    let (mut training, mut calibration) = (Vec::new(), BTreeMap::new());
    for part in parts {
        let bundle = Bundle::<C>::open(part)?;
        let (table, network) = bundle.load(device)?;
        for (name, data) in params::collect(&network) {
            values.entry(name).or_default().push(data);
        }
        tables.push(table.rows().read(<[f32]>::to_vec));
        training.push(bundle.manifest.training);
        calibration.extend(bundle.manifest.calibration);
    }
    let schema = dataset.schema();
    let widths = spec.widths(schema);
    let rows: Vec<f32> = (0..schema.rows())
        .flat_map(|row| {
            tables.iter().zip(&widths).flat_map(move |(table, width)| &table[row * width..(row + 1) * width])
        })
        .copied()
        .collect();
    let table = EmbeddingTable::from_values(rows, &widths, device);
    let values = values.into_iter().map(|(name, parts)| (name, appended(&parts))).collect();
    let network = params::replace(spec.init(schema, &mut ChaCha8Rng::seed_from_u64(0), device), values)
        .map_err(|e| Error::Core(stem_core::Error::Bundle { path: path.to_path_buf(), fault: e.into() }))?;
    let training = serde_json::Value::Array(training);
    let keys = dataset.known_keys();
    Ok(bundle::save_calibrated(path, schema, keys, spec, &table, &network, &training, &calibration)?)
}

/// Banks one after another, all as wide as the widest. `[E_p, .., O_p]` each
fn appended(parts: &[TensorData]) -> TensorData {
    let width = |part: &TensorData| part.shape().as_slice().last().copied().unwrap_or(1);
    let widest = parts.iter().map(width).max().unwrap_or(1);
    let mut shape = parts[0].shape().as_slice().to_vec();
    shape[0] = parts.iter().map(|part| part.shape().as_slice()[0]).sum();
    if shape.len() > 1 {
        *shape.last_mut().expect("it has an axis") = widest;
        let mut values = Vec::with_capacity(shape.iter().product());
        for part in parts {
            for row in part.as_slice::<f32>().expect("parameters are f32").chunks_exact(width(part)) {
                values.extend_from_slice(row);
                values.resize(values.len() + widest - row.len(), 0.0);
            }
        }
        return TensorData::new(values, shape);
    }
    let values = parts.iter().flat_map(|part| part.as_slice::<f32>().expect("parameters are f32")).copied();
    TensorData::new(values.collect::<Vec<f32>>(), shape)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stem_core::TaskKind;
    use stem_core::loss::TaskLoss;
    use stem_train::NegativeSampling;

    use super::*;

    #[test]
    fn a_task_that_is_trained_alone_keeps_what_is_its_own() {
        let weights = BTreeMap::from([("a".to_string(), 2.0), ("b".to_string(), 3.0)]);
        let all = TrainConfig {
            task_weights: weights.clone(),
            losses: ["a", "b"].map(|task| (task.to_string(), TaskLoss::CrossEntropy { label_smoothing: 0.1 })).into(),
            negative_sampling: Some(NegativeSampling { keep: 0.1 }),
            balance: BalanceConfig::PcGrad {},
            ..TrainConfig::default()
        };
        let all = TrainConfig { monitor: stem_train::Monitor { weights, ..all.monitor.clone() }, ..all };
        let binary = train_of(&all, &Task::new("a"));
        assert_eq!(binary.task_weights, BTreeMap::from([("a".to_string(), 2.0)]));
        assert_eq!(binary.losses.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(binary.negative_sampling, all.negative_sampling);
        assert_eq!(binary.balance, BalanceConfig::default());
        assert!(binary.monitor.weights.is_empty(), "there is nothing to weigh it against");
        let mut number = Task::new("a");
        number.kind = TaskKind::Count { scale: 1.0 };
        assert_eq!(train_of(&all, &number).negative_sampling, None, "no row of a number is negative");
    }
}
