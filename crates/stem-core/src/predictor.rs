//! Raw rows in, a probability per task out. The same forward that trained.

use std::path::Path;

use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation::sigmoid};

use crate::batch::Batch;
use crate::bundle::{Bundle, Manifest};
use crate::embedding::{EmbeddingTable, Pooled, SlotLayout};
use crate::error::Result;
use crate::featurize::encode_rows;
use crate::models::{Model, ModelConfig, ModelSpec};
use crate::schema::Schema;
use crate::value::Row;
use crate::vocabulary::Vocabulary;

/// Rows scored at once, which bounds the memory of a large request.
const ROWS_AT_ONCE: usize = 4096;

/// Probabilities of a batch without labels needed: gather, pool, network, sigmoid. Trainer and predictor both score here.
///
/// # Shapes
/// Gives `B * T` probabilities, row-major.
pub fn score<M: Model>(network: &M, table: &EmbeddingTable, layout: &SlotLayout, batch: &Batch) -> Vec<f32> {
    if batch.rows == 0 {
        return Vec::new();
    }
    let y = sigmoid(network.forward(pool(table, layout, batch))); // [B, T]
    y.into_data().try_into_vec().expect("probabilities are f32")
}

/// The embeddings of a batch's fields: what a network reads.
pub fn pool(table: &EmbeddingTable, layout: &SlotLayout, batch: &Batch) -> Pooled {
    let rows = table.rows().tensor();
    let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &rows.device());
    layout.pool(rows.clone(), index, weights)
}

/// Ids and weights on a device: `index [B * S]`, `weights [B, S]`.
pub fn upload(ids: &[u32], weights: &[f32], rows: usize, device: &Device) -> (Tensor<1, Int>, Tensor<2>) {
    let weights = TensorData::new(weights.to_vec(), [rows, weights.len() / rows.max(1)]);
    (upload_index(ids, device), Tensor::from_data(weights, (device, DType::F32)))
}

/// Row numbers on a device. `[ids.len()]`
pub fn upload_index(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect(); // a checked schema has at most i32::MAX rows
    let len = ids.len();
    Tensor::from_data(TensorData::new(ids, [len]), (device, DType::I32))
}

/// A trained model, ready to score from any thread.
#[derive(Debug)]
pub struct Predictor<C: ModelSpec = ModelConfig> {
    manifest: Manifest,
    config: C,
    vocabularies: Vec<Vocabulary>,
    layout: SlotLayout,
    table: EmbeddingTable,
    network: C::Model,
}

impl Predictor {
    /// Opens a bundle of one of this crate's models.
    ///
    /// # Errors
    /// As [`Bundle::open`] and [`Bundle::load`].
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::open_model(path, device)
    }
}

impl<C: ModelSpec> Predictor<C> {
    /// Opens a bundle of a model of the application's own, named by its configuration type `C`.
    ///
    /// # Errors
    /// As [`Bundle::open`] and [`Bundle::load`].
    pub fn open_model(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let bundle = Bundle::<C>::open(path)?;
        let (table, network) = bundle.load(device)?;
        let layout = SlotLayout::new(&bundle.manifest.schema, table.widths());
        let Bundle { manifest, config, vocabularies, .. } = bundle;
        Ok(Self { manifest, config, vocabularies, layout, table, network })
    }

    /// Fields and tasks.
    pub fn schema(&self) -> &Schema {
        &self.manifest.schema
    }

    /// What the bundle says of itself, the training summary included.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model's configuration.
    pub fn config(&self) -> &C {
        &self.config
    }

    /// The embeddings of all fields.
    pub fn table(&self) -> &EmbeddingTable {
        &self.table
    }

    /// Weights that the gates give the experts on rows that are encoded already: [`Model::gates`]. Empty without gates.
    ///
    /// # Errors
    /// [`Error::Batch`](crate::Error::Batch) when the batch does not fit the schema.
    pub fn gates(&self, batch: &Batch) -> Result<Vec<Tensor<3>>> {
        batch.check(self.schema())?;
        Ok(self.network.gates(pool(&self.table, &self.layout, batch)))
    }

    /// Probabilities per row and task. An unseen value takes the row of the unseen; no rows give no scores.
    ///
    /// # Errors
    /// [`MissingColumn`](crate::Error::MissingColumn) and [`WrongType`](crate::Error::WrongType), naming column and row.
    pub fn predict(&self, rows: &[Row]) -> Result<Scores> {
        self.score(&encode_rows(self.schema(), &self.vocabularies, rows)?)
    }

    /// Probabilities of rows that are encoded already.
    ///
    /// # Errors
    /// [`Error::Batch`](crate::Error::Batch) when the batch does not fit the schema.
    pub fn score(&self, batch: &Batch) -> Result<Scores> {
        batch.check(self.schema())?;
        let slots = self.schema().slots();
        let mut values = Vec::with_capacity(batch.rows * self.schema().tasks.len());
        for start in (0..batch.rows).step_by(ROWS_AT_ONCE) {
            let rows = ROWS_AT_ONCE.min(batch.rows - start);
            let part = Batch {
                rows,
                ids: batch.ids[start * slots..(start + rows) * slots].to_vec(),
                weights: batch.weights[start * slots..(start + rows) * slots].to_vec(),
                labels: Vec::new(),
            };
            values.extend(score(&self.network, &self.table, &self.layout, &part));
        }
        Ok(Scores { tasks: self.schema().task_names(), values })
    }
}

/// Probabilities of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    tasks: Vec<String>,
    values: Vec<f32>, // [B, T]
}

impl Scores {
    /// Names of the tasks, in the order of each row's values.
    pub fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// Scored rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.tasks.len()
    }

    /// Whether the request was empty.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// One slice of `T` probabilities per row.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.tasks.len())
    }

    /// Probability of one task for one row; `None` when there is no such row or task.
    pub fn get(&self, row: usize, task: &str) -> Option<f32> {
        let place = self.tasks.iter().position(|name| name == task)?;
        self.values.get(row * self.tasks.len() + place).copied()
    }
}
