//! One training step, as the equations have it: gather, forward, loss, backward, clip, update, write back.

use burn::tensor::{Device, Int, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stem_core::loss::{Targets, bce_per_task};
use stem_core::{Batch, DistinctRows, EmbeddingTable, Model, ModelSpec, Schema, SlotLayout, upload, upload_index};

use crate::experiment::TableMode;
use crate::optimizer::{Adam, Clip, Moments, NetworkAdam, NetworkGradients, Rows, squared_norm};

/// What a step minimises: `sum_t w_t L_t + (lambda / 2) ||rows||^2`.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// `w_t`, one per task.
    pub task_weights: Vec<f64>,
    /// `lambda`
    pub embedding_l2: f64,
}

/// A model being trained: weights and optimizer state. The table and its moments lie outside the autodiff graph.
#[derive(Debug)]
pub struct TrainState<M> {
    /// All embeddings.
    pub table: EmbeddingTable,
    /// The network, its parameters leaves of the autodiff graph.
    pub network: M,
    layout: SlotLayout,
    tasks: usize,
    mode: TableMode,
    adam: Adam,
    table_moments: Option<Moments>,
    network_adam: NetworkAdam,
}

/// The losses of a step, still on the device.
#[derive(Debug, Clone)]
pub struct Losses {
    /// Mean cross-entropy of each task. `[T]`
    pub tasks: Tensor<1>,
    /// `(lambda / 2) ||rows||^2` `[1]`
    pub regularization: Tensor<1>,
}

/// The gradients of a step.
#[derive(Debug)]
pub struct StepGradients {
    /// Of every parameter the loss reaches.
    pub network: NetworkGradients,
    /// Of the distinct rows. `[U, W]`
    pub rows: Tensor<2>,
    distinct: Vec<u32>,
    index: Tensor<1, Int>,
}

impl<M: Model> TrainState<M> {
    /// Draws weights from `seed`, the same on every device.
    pub fn init<C: ModelSpec<Model = M>>(
        spec: &C,
        schema: &Schema,
        embedding_std: f32,
        seed: u64,
        mode: TableMode,
        device: &Device,
    ) -> Self {
        let network = spec.init(schema, &mut ChaCha8Rng::seed_from_u64(seed), &device.clone().autodiff());
        let table = EmbeddingTable::init(schema, &spec.widths(schema), embedding_std, seed, device);
        Self::new(schema, table, network, mode)
    }

    /// Goes on from given weights; the network must be on an autodiff device.
    pub fn new(schema: &Schema, table: EmbeddingTable, network: M, mode: TableMode) -> Self {
        Self {
            layout: SlotLayout::new(schema, table.widths()),
            tasks: schema.tasks.len(),
            table,
            network,
            mode,
            adam: Adam::default(),
            table_moments: None,
            network_adam: NetworkAdam::new(Adam::default()),
        }
    }

    /// Which slots make which field.
    pub fn layout(&self) -> &SlotLayout {
        &self.layout
    }

    /// Gather, forward, loss, backward. Changes nothing.
    pub fn differentiate(&self, batch: &Batch, objective: &Objective) -> (Losses, StepGradients) {
        let device = self.table.rows().tensor().device();
        let [table_rows, _] = self.table.rows().dims();
        let distinct = match self.mode {
            TableMode::RowSparse => DistinctRows::of(&batch.ids),
            TableMode::Dense => DistinctRows::all(table_rows, &batch.ids),
        };
        let index = upload_index(&distinct.rows, &device); // [U]
        let rows = self.table.rows().gather(index.clone()).autodiff().require_grad(); // [U, W], the leaf

        let (inverse, weights) = upload(&distinct.inverse, &batch.weights, batch.rows, &device);
        let x = self.layout.pool(rows.clone(), inverse.autodiff(), weights.autodiff());
        let logits = self.network.forward(x); // [B, T]
        let tasks = bce_per_task(logits, &Targets::new(batch, self.tasks, &device)); // [T]
        let regularization = (rows.clone() * rows.clone()).sum() * (objective.embedding_l2 / 2.0); // [1]

        let weights = Tensor::<1>::from_floats(objective.task_weights.as_slice(), &device);
        let loss = (tasks.clone() * weights).sum() + regularization.clone();
        let mut grads = loss.backward();
        let losses = Losses { tasks: tasks.inner(), regularization: regularization.inner() };
        let rows = rows.grad_remove(&mut grads).expect("every loss reads the rows");
        let network = NetworkGradients::take(&self.network, &mut grads);
        (losses, StepGradients { network, rows, distinct: distinct.rows, index })
    }

    /// Clip, Adam on the network, Adam on the rows, write back.
    pub fn apply(mut self, gradients: StepGradients, rate: f64, max_gradient_norm: f64) -> Self {
        let StepGradients { network, rows, distinct, index } = gradients;
        let on_host = self.table.rows().is_on_host();
        let clip = Clip::to(max_gradient_norm, network.add_squared_norm(squared_norm(&rows)), on_host);
        self.network = self.network_adam.update(self.network, network, rate, &clip);
        let matrix = self.table.rows_mut();
        let moments =
            self.table_moments.get_or_insert_with(|| Moments::zeros(matrix.dims(), &matrix.tensor().device()));
        let touched = match self.mode {
            TableMode::RowSparse => Rows::Distinct { ids: &distinct, index: &index },
            TableMode::Dense => Rows::All,
        };
        moments.update(&self.adam, rate, matrix, touched, rows, &clip);
        self
    }
}
