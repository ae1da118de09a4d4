//! One training step, as the equations have it: gather, forward, loss, backward, clip, update, write back.
//!
//! Over several [ranks](crate::ranks) a rank has a part of the batch and a part of the table. Gathering fetches rows from where they live, a
//! backward pass ends with the sums over ranks, and the update is where the rows are; the equations are the same.

mod at_shared;
mod gathered;
mod over_ranks;
mod saved;
#[cfg(test)]
mod tests;

pub use gathered::{Gathered, StepGradients};
pub(crate) use saved::OTHER_OPTIMIZER;

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use stem_core::loss::{Criterion, Targets};
use stem_core::models::{Model, ModelSpec};
use stem_core::nn::{DistinctRows, EmbeddingTable, Pooled, SlotLayout, sum_by_row, upload, upload_index};
use stem_core::parts::{self, Parts};
use stem_core::precision::{self, Precision};
use stem_core::{Batch, Schema, params};
use tracing::trace_span;

use crate::checkpoint::Change;
use crate::given::GivenRows;
use crate::optimizer::{Clip, NetworkGradients, NetworkOptimizer, OptimizerConfig, OptimizerState, Rows, add_scaled};
use crate::ranks::Shard;
use gathered::{Live, Part};
use over_ranks::others;

/// Which rows of the table take part in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableMode {
    /// The batch's distinct rows: gathered, differentiated, written back. L2 and Adam touch those rows alone.
    #[default]
    RowSparse,
    /// Every row in every step, as the reference does: whole-table L2 and dense Adam. For parity; cost grows with the vocabulary.
    Dense,
}

/// What a step minimises: `sum_t w_t L_t + (lambda / 2) ||rows||^2 + (mu / 2) ||network||^2 +` the model's own penalty.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// `w_t`, one per task.
    pub task_weights: Vec<f64>,
    /// `lambda`
    pub embedding_l2: f64,
    /// `mu`
    pub network_l2: f64,
}

impl Objective {
    /// All tasks alike, nothing regularized.
    pub fn plain(tasks: usize) -> Self {
        Self { task_weights: vec![1.0; tasks], embedding_l2: 0.0, network_l2: 0.0 }
    }
}

/// The part of an objective that one backward pass takes.
#[derive(Debug, Clone)]
pub struct Share {
    /// Weight of every task's loss. `[T]`
    pub weights: Tensor<1>,
    /// Weight of the model's own penalty.
    pub penalty: f64,
}

impl Share {
    /// All of it.
    pub fn of(objective: &Objective, device: Device) -> Self {
        Self { weights: Tensor::from_floats(objective.task_weights.as_slice(), &device), penalty: 1.0 }
    }
}

/// What the weights of a share are multiplied with, given the losses of the whole batch and those weights. `[T]` all
pub type Weigh<'w> = dyn FnMut(&Tensor<1>, &Tensor<1>) -> Tensor<1> + 'w;

/// A model being trained: weights and optimizer state. The table and its state lie outside the autodiff graph.
#[derive(Debug)]
pub struct TrainState<M> {
    /// All embeddings.
    pub table: EmbeddingTable,
    /// The network, its parameters leaves of the autodiff graph.
    pub network: M,
    layout: SlotLayout,
    criterion: Criterion,
    mode: TableMode,
    precision: Precision,
    optimizer: OptimizerConfig,
    table_state: Option<OptimizerState>,
    network_optimizer: NetworkOptimizer,
    /// Which rows the table has, where it is a part of one over several ranks.
    shard: Option<Arc<Shard>>,
    /// The ranks, where a row's loss hangs on rows of others.
    others: Option<Arc<dyn Parts>>,
    /// Rows that start from given vectors, and which of them stay.
    given: Option<GivenRows>,
}

/// The losses of a step, still on the device.
#[derive(Debug, Clone)]
pub struct Losses {
    /// Mean loss of each task over its labelled rows. `[T]`
    pub tasks: Tensor<1>,
    /// Everything else: L2 of rows and network, and the model's penalty. `[1]`
    pub regularization: Tensor<1>,
    /// How much the rows count together whose label of a task is known. `[T]`
    pub labelled: Arc<[f64]>,
}

/// What a backward pass leaves.
struct Backward {
    tasks: Tensor<1>,   // [T]
    penalty: Tensor<1>, // [1], the model's
    rows: Tensor<2>,    // [U, W]
    network: NetworkGradients,
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
            criterion: Criterion::of(schema),
            table,
            network,
            mode,
            precision: Precision::F32,
            optimizer: OptimizerConfig::default(),
            table_state: None,
            network_optimizer: NetworkOptimizer::new(OptimizerConfig::default()),
            shard: None,
            others: None,
            given: None,
        }
    }

    /// Another optimizer than Adam; before the first step.
    #[must_use]
    pub fn with_optimizer(self, optimizer: OptimizerConfig) -> Self {
        Self { optimizer, table_state: None, network_optimizer: NetworkOptimizer::new(optimizer), ..self }
    }

    /// Other losses than the tasks' kinds have by default.
    #[must_use]
    pub fn with_criterion(self, criterion: Criterion) -> Self {
        let others = self.shard.as_ref().and_then(|shard| others(&self.network, &criterion, shard));
        Self { others, criterion, ..self }
    }

    /// Products of another precision than f32, where the device has them. Weights and all sums stay f32.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Starts rows from given vectors; before the first step.
    #[must_use]
    pub(crate) fn with_given(mut self, given: Option<GivenRows>) -> Self {
        self.given = given;
        self.fill_given(false);
        self
    }

    /// Puts the given vectors to where they belong: of all rows that have one, or of those that stay as they were given.
    pub(crate) fn fill_given(&mut self, frozen_alone: bool) {
        if let Some(given) = &self.given {
            given.fill(&mut self.table, self.shard.as_deref(), frozen_alone);
        }
    }

    /// Starts from these parameters, before the first step; there is a value for each of the network's.
    pub(crate) fn with_network(self, network: BTreeMap<String, TensorData>) -> Self {
        let network = params::replace(self.network, network).expect("the shapes are those of the network");
        Self { network, ..self }
    }

    /// Draws the table anew; the optimizer forgets it.
    pub(crate) fn restart_table(&mut self, schema: &Schema, embedding_std: f32, seed: u64) {
        let (widths, device) = (self.table.widths().to_vec(), self.device());
        self.table = match &self.shard {
            Some(shard) => shard.draw(schema, &widths, embedding_std, seed, &device),
            None => EmbeddingTable::init(schema, &widths, embedding_std, seed, &device),
        };
        self.fill_given(false);
        self.table_state = None;
    }

    /// The rows of the table that [`apply`](Self::apply) changes.
    pub(crate) fn change<'g>(&self, gradients: &'g StepGradients) -> Change<'g> {
        match (gradients.batch().places(), self.mode) {
            (None, _) => Change::Rows(&[]),
            (Some((rows, _)), TableMode::RowSparse) => Change::Rows(rows),
            (Some(_), TableMode::Dense) => Change::All,
        }
    }

    /// Which slots make which field.
    pub fn layout(&self) -> &SlotLayout {
        &self.layout
    }

    /// Which rows take part in a step.
    pub(crate) fn mode(&self) -> TableMode {
        self.mode
    }

    /// For every slot of the first rows of a gathered batch its row, and the gradient of `sum_t w_t L_t` by it, each slot taken as a row of its
    /// own; `part` are those rows, and `labelled` how much the rows of all ranks count whose labels are known. `[B * S, W]` both, row-major.
    /// Changes no weight; batch normalisation moves its running statistics.
    pub(crate) fn slot_gradients(
        &self,
        of: &Gathered,
        part: &Batch,
        labelled: &[f64],
        weights: &[f64],
    ) -> (Vec<f32>, Vec<f32>) {
        let (device, targets) = (self.device(), self.targets(part, labelled));
        let nothing = || (Vec::new(), Vec::new());
        let Some(whole) = of.part.as_ref().filter(|_| part.rows > 0 || self.others.is_some()) else { return nothing() };
        let (rows, part) = (part.rows, self.or_nobody(part));
        let slots: Vec<u32> = (0..part.ids.len() as u32).collect();
        let (inverse, slot_weights) = upload(&slots, &part.weights, part.rows, &device);
        let alone = Part {
            values: whole.values.clone().select(0, whole.inverse.clone().slice(0..part.ids.len())),
            targets,
            rows,
            distinct: DistinctRows::of(&slots).into(),
            inverse,
            weights: slot_weights,
            index: None,
        };
        let share = Share { weights: Tensor::from_floats(weights, &device), penalty: 0.0 };
        let found = self.backward(&alone, share, None);
        if rows == 0 {
            return nothing();
        }
        let rows = found.rows;
        let floats = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().expect("rows are f32");
        (floats(alone.values), floats(rows))
    }

    /// Where the table is.
    pub fn device(&self) -> Device {
        self.table.rows().tensor().device()
    }

    /// Gather, forward, loss, backward. Changes no weight; batch normalisation moves its running statistics.
    pub fn differentiate(&self, batch: &Batch, objective: &Objective) -> (Losses, StepGradients) {
        let (losses, gradients) = self.task_gradients(&self.gather(batch), Share::of(objective, self.device()));
        self.regularize(losses, gradients, objective)
    }

    /// Distinct rows, looked up and uploaded; over several ranks, fetched from where they live.
    pub fn gather(&self, batch: &Batch) -> Gathered {
        let _span = trace_span!("gather").entered();
        let device = self.device();
        if let (Some(shard), Some(question)) = (&self.shard, self.question(batch)) {
            return self.fetch(shard, batch, question.ask(&shard.ranks));
        }
        let labelled = Targets::counts(batch, self.criterion.tasks());
        let [table_rows, _] = self.table.rows().dims();
        let distinct = match self.mode {
            TableMode::RowSparse => DistinctRows::of(&batch.ids),
            TableMode::Dense => DistinctRows::all(table_rows, &batch.ids),
        };
        let index = upload_index(&distinct.rows, &device);
        let (inverse, weights) = upload(&distinct.inverse, &batch.weights, batch.rows, &device);
        let part = Part {
            values: self.table.rows().gather(index.clone()),
            targets: self.criterion.targets_among(batch, &labelled, &device),
            rows: batch.rows,
            distinct: distinct.into(),
            index: Some(index),
            inverse,
            weights,
        };
        let live = self.given.as_ref().and_then(|given| {
            let rows = &part.distinct.rows;
            Live::of(given, rows, rows, &device)
        });
        Gathered { part: Some(part), labelled: labelled.into(), rows: batch.rows, home: None, live }
    }

    /// Forward, loss, backward: what one share of the losses does, L2 left out.
    pub fn task_gradients(&self, batch: &Gathered, share: Share) -> (Losses, StepGradients) {
        self.weighed_gradients(batch, share, None)
    }

    /// The same with weights that the losses of this batch decide: `weigh` is called once, between forward and backward.
    pub fn weighed_gradients(
        &self,
        batch: &Gathered,
        share: Share,
        weigh: Option<&mut Weigh<'_>>,
    ) -> (Losses, StepGradients) {
        if let Some(home) = &batch.home {
            return self.gradients_of_all(home, batch, share, weigh);
        }
        let part = batch.part.as_ref().expect("one process has all rows of a batch");
        let Backward { tasks, penalty, rows, network } = self.backward(part, share, weigh);
        let losses = Losses { tasks, regularization: penalty, labelled: batch.labelled.clone() };
        (losses, StepGradients { network, rows: batch.of_live(rows), batch: batch.clone() })
    }

    /// The same of a part of a batch.
    fn backward(&self, part: &Part, share: Share, weigh: Option<&mut Weigh<'_>>) -> Backward {
        let span = trace_span!("forward").entered();
        let (rows, x) = self.leaf(part);
        let (model_penalty, tasks) = self.losses(part, || self.network.forward_penalized(x)); // [1], [T]
        let weights = match weigh {
            Some(weigh) => share.weights.clone() * weigh(&tasks.clone().inner(), &share.weights),
            None => share.weights,
        };

        let mut loss = (tasks.clone() * weights.autodiff()).sum();
        let mut penalty = Tensor::zeros([1], &self.device());
        if let Some(of_model) = model_penalty {
            penalty = of_model.clone().inner();
            loss = loss + of_model * share.penalty;
        }
        drop(span);
        let _span = trace_span!("backward").entered();
        let mut grads = loss.backward();
        let rows = self.of_leaf(&rows, &mut grads, part).expect("every loss reads the rows"); // [U, W]
        let network = NetworkGradients::take(&self.network, &mut grads);
        Backward { tasks: tasks.inner(), penalty, rows, network }
    }

    /// What is differentiated, and what a model reads of it. The leaf is the distinct rows `[U, W]`, or off the host the row of each slot `[B * S, W]`,
    /// for there the backward of a gather is one thread a column.
    fn leaf(&self, part: &Part) -> (Tensor<2>, Pooled) {
        let weights = part.weights.clone().autodiff();
        if self.table.rows().is_on_host() {
            let rows = part.values.clone().autodiff().require_grad();
            let x = self.layout.pool(rows.clone(), part.inverse.clone().autodiff(), weights);
            return (rows, x.with_distinct(part.distinct.clone()));
        }
        let rows = part.values.clone().select(0, part.inverse.clone()).autodiff().require_grad();
        (rows.clone(), self.layout.pool_slots(rows, weights))
    }

    /// The gradient of the distinct rows; `None` where the loss does not reach them. `[U, W]`
    fn of_leaf(&self, leaf: &Tensor<2>, grads: &mut Gradients, part: &Part) -> Option<Tensor<2>> {
        let rows = leaf.grad_remove(grads)?;
        Some(if self.table.rows().is_on_host() { rows } else { sum_by_row(rows, &part.distinct.by_row) })
    }

    /// The model's penalty and the tasks' losses of a forward `[B, L]`. `[1]`, `[T]`
    fn losses(
        &self,
        part: &Part,
        forward: impl FnOnce() -> (Tensor<2>, Option<Tensor<1>>),
    ) -> (Option<Tensor<1>>, Tensor<1>) {
        let losses = || {
            let (logits, penalty) = precision::with(self.precision, forward); // [B, L], [1]
            (penalty, self.criterion.forward(logits, &part.targets))
        };
        match &self.others {
            Some(others) => parts::with(others.clone(), part.rows == 0, losses),
            None => losses(),
        }
    }

    /// Adds what L2 adds: `lambda rows` and `mu weights`, on everything the loss reaches.
    pub fn regularize(
        &self,
        mut losses: Losses,
        mut gradients: StepGradients,
        objective: &Objective,
    ) -> (Losses, StepGradients) {
        let _span = trace_span!("L2").entered();
        if objective.embedding_l2 > 0.0 {
            let values = gradients.batch.of_live(gradients.batch.row_values().clone());
            let (rows, squares) = add_scaled(gradients.rows, &values, objective.embedding_l2); // [U, W]
            let squares = gradients.batch.sum(squares);
            losses.regularization = losses.regularization + squares * (objective.embedding_l2 / 2.0);
            gradients.rows = rows;
        }
        if objective.network_l2 > 0.0
            && let Some(squares) = gradients.network.decay(&self.network, objective.network_l2)
        {
            losses.regularization = losses.regularization + squares * (objective.network_l2 / 2.0);
        }
        (losses, gradients)
    }

    /// Clip, optimizer on the network, optimizer on the rows, write back.
    pub fn apply(mut self, gradients: StepGradients, rate: f64, max_gradient_norm: f64) -> Self {
        let on_host = self.table.rows().is_on_host();
        let span = trace_span!("clip").entered();
        let squared = gradients.rows_squared();
        let StepGradients { network, rows, batch } = gradients;
        let network = if on_host { network } else { network.joined() };
        let clip = Clip::to(max_gradient_norm, network.add_squared_norm(squared), on_host);
        drop(span);
        let span = trace_span!("optimizer on the network").entered();
        self.network = self.network_optimizer.update(self.network, network, rate, &clip);
        drop(span);
        let _span = trace_span!("optimizer on the rows").entered();
        let matrix = self.table.rows_mut();
        let state = self
            .table_state
            .get_or_insert_with(|| OptimizerState::new(self.optimizer, matrix.dims(), &matrix.tensor().device()));
        let Some((ids, index)) = batch.places() else {
            state.skip(); // the step is one of the whole table
            return self;
        };
        let rows = batch.live_alone(rows);
        let touched = match self.mode {
            TableMode::RowSparse => Rows::Distinct { ids, index },
            TableMode::Dense => Rows::All,
        };
        state.update(rate, matrix, touched, rows, &clip);
        self
    }
}
