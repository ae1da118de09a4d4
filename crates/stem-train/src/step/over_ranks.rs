//! A step of several ranks: what they fetch before it, and what they sum after it.

use std::borrow::Cow;
use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stem_core::loss::{Criterion, Targets};
use stem_core::models::{Model, ModelSpec};
use stem_core::nn::{DistinctRows, upload};
use stem_core::parts::Parts;
use stem_core::{Batch, MISSING, Schema, params};

use super::gathered::{Gathered, Home, Live, Part, StepGradients};
use super::{Backward, Losses, Share, TableMode, TrainState, Weigh};
use crate::optimizer::NetworkGradients;
use crate::ranks::{Asked, Fetched, Question, Questions, Shard, Team, Wire, matrix, numbers, sum, sum_few};

/// The ranks as those who hold the parts of a batch.
#[derive(Debug)]
struct Others(Team);

impl Parts for Others {
    fn place(&self) -> usize {
        self.0.rank()
    }

    fn gather(&self, own: &[u8]) -> Vec<Vec<u8>> {
        self.0.gather_all(own)
    }
}

/// The ranks of a shard, where the loss of a row hangs on rows of others: they are normalised together, or learned together.
pub(super) fn others<M: Model>(network: &M, criterion: &Criterion, shard: &Shard) -> Option<Arc<dyn Parts>> {
    let together = criterion.is_of_groups() || params::normalises_batches(network);
    together.then(|| Arc::new(Others(shard.ranks.clone())) as Arc<dyn Parts>)
}

/// Labels, groups and weights of all rows of a batch, of which each rank has a part.
fn of_all(others: &dyn Parts, part: &Batch, tasks: usize) -> Batch {
    let weights: Vec<f32> = (0..part.rows).map(|row| part.row_weight(row)).collect();
    let own = [bytemuck::cast_slice(&part.labels), bytemuck::cast_slice(&weights), bytemuck::cast_slice(&part.groups)];
    let mut whole = Batch::default();
    for of_rank in others.gather(&own.concat()) {
        let rows = of_rank.len() / (4 * (tasks + 2)); // four bytes for each label, weight and group
        let (labels, rest) = of_rank.split_at(4 * tasks * rows);
        let (weights, groups) = rest.split_at(4 * rows);
        whole.rows += rows;
        whole.labels.extend(numbers::<f32>(labels));
        whole.row_weights.extend(numbers::<f32>(weights));
        whole.groups.extend(numbers::<u32>(groups));
    }
    whole
}

impl<M: Model> TrainState<M> {
    /// As [`init`](Self::init), but of the table only the rows that live on this rank.
    pub(crate) fn init_over<C: ModelSpec<Model = M>>(
        spec: &C,
        schema: &Schema,
        embedding_std: f32,
        seed: u64,
        (ranks, wire): (&Team, Wire),
        device: &Device,
    ) -> Self {
        let network = spec.init(schema, &mut ChaCha8Rng::seed_from_u64(seed), &device.clone().autodiff());
        let shard = Shard::of(ranks, schema.rows(), wire);
        let table = shard.draw(schema, &spec.widths(schema), embedding_std, seed, device);
        let alone = Self::new(schema, table, network, TableMode::RowSparse);
        Self { others: others(&alone.network, &alone.criterion, &shard), shard: Some(shard.into()), ..alone }
    }

    /// Whether over several ranks a row's loss hangs on rows of others.
    pub(crate) fn rows_hang_together(&self) -> bool {
        self.others.is_some()
    }

    /// Which rows the table has, where it is a part of one.
    pub(crate) fn shard(&self) -> Option<&Arc<Shard>> {
        self.shard.as_ref()
    }

    /// What this rank asks the others about its part of a batch; `None` of one process.
    pub(crate) fn question(&self, batch: &Batch) -> Option<Question> {
        let shard = self.shard.as_ref()?;
        let mut told = Targets::counts(batch, self.criterion.tasks());
        told.push(batch.rows as f64);
        Some(Question::new(&shard.ranks, DistinctRows::of(&batch.ids), &told))
    }

    /// As [`gather`](Self::gather), of a batch about which the ranks have asked each other.
    pub(crate) fn gather_asked(&self, batch: &Batch, questions: Questions) -> Gathered {
        let shard = self.shard.as_ref().expect("who has asked has a part of the table");
        self.fetch(shard, batch, questions)
    }

    /// A rank's part of a batch, its rows fetched.
    pub(super) fn fetch(&self, shard: &Arc<Shard>, batch: &Batch, questions: Questions) -> Gathered {
        let (device, [_, width]) = (self.device(), self.table.rows().dims());
        let Fetched { distinct, values, asked, mut told } = shard.fetch(self.table.rows(), questions, shard.wire);
        let rows = told.pop().unwrap_or_default() as usize; // a count is exact
        let targets = self.targets(batch, &told);
        let part = |batch: &Batch, distinct: DistinctRows, rows: usize| {
            let (inverse, weights) = upload(&distinct.inverse, &batch.weights, batch.rows, &device);
            let values = matrix(values, width, &device);
            Part { values, distinct: distinct.into(), inverse, weights, targets, rows, index: None }
        };
        let part = match (batch.rows, &self.others) {
            (0, None) => None,
            (0, Some(_)) => {
                let nobody = self.or_nobody(batch);
                Some(part(&nobody, DistinctRows::of(&nobody.ids), 0))
            }
            (rows, _) => Some(part(batch, distinct, rows)),
        };
        let home = match &asked.rows {
            Some((_, values)) => values.clone(),
            None => matrix(Vec::new(), width, &device),
        };
        let home = Home { shard: shard.clone(), asked, values: home };
        let live = self.given.as_ref().and_then(|given| {
            let Asked { ids, places, .. } = &home.asked;
            Live::of(given, ids, places, &device)
        });
        Gathered { part, labelled: told.into(), rows, home: Some(home.into()), live }
    }

    /// The labels of a rank's part of a batch, or of no row's where it has none ([`or_nobody`](Self::or_nobody)); those of all rows too where rows are learned
    /// together. `labelled` is of all ranks. `[T]`
    pub(super) fn targets(&self, batch: &Batch, labelled: &[f64]) -> Targets {
        let (device, part) = (self.device(), self.or_nobody(batch));
        match &self.others {
            Some(others) if self.criterion.is_of_groups() => {
                let whole = of_all(&**others, batch, self.criterion.tasks());
                self.criterion.targets_within(&part, &whole, labelled, &device)
            }
            _ => self.criterion.targets_among(&part, labelled, &device),
        }
    }

    /// The same batch, or, of one without rows, a row that counts nothing: of padding, without labels. A rank takes part with it in a step of which it
    /// has no row.
    pub(super) fn or_nobody<'b>(&self, batch: &'b Batch) -> Cow<'b, Batch> {
        if batch.rows > 0 {
            return Cow::Borrowed(batch);
        }
        let (slots, tasks) = (self.layout.slots(), self.criterion.tasks());
        let mut row = Batch::new(1, vec![0; slots], vec![0.0; slots]).with_labels(vec![MISSING; tasks]);
        row.groups = vec![0];
        Cow::Owned(row)
    }

    /// Forward, loss, backward on this rank's part; then the gradients of rows go where those live, and all else is summed.
    pub(super) fn gradients_of_all(
        &self,
        home: &Arc<Home>,
        batch: &Gathered,
        share: Share,
        weigh: Option<&mut Weigh<'_>>,
    ) -> (Losses, StepGradients) {
        let (device, tasks) = (self.device(), self.criterion.tasks());
        let mut weigh = weigh.map(|weigh| {
            |own: &Tensor<1>, weights: &Tensor<1>| {
                let own: Vec<f32> = own.to_data().try_into_vec().expect("losses are f32");
                let mut of_all: Vec<f64> = own.into_iter().map(f64::from).collect();
                sum_few(&*home.shard.ranks, &mut of_all);
                weigh(&Tensor::from_floats(of_all.as_slice(), &device), weights)
            }
        });
        let mut found = None;
        if let Some(part) = &batch.part {
            let own = batch.share_of(part);
            let share = Share { penalty: share.penalty * own, ..share };
            let of_part = self.backward(part, share, weigh.as_mut().map(|weigh| weigh as &mut Weigh<'_>));
            found = Some(Backward { penalty: of_part.penalty * own, ..of_part });
        } else if let Some(weigh) = &mut weigh {
            weigh(&Tensor::zeros([tasks], &device), &share.weights); // all ranks learn the same
        }
        self.together(home, batch, found)
    }

    /// The gradients of rows go where those live, and all else is summed; a rank without rows has found nothing.
    pub(super) fn together(
        &self,
        home: &Arc<Home>,
        batch: &Gathered,
        found: Option<Backward>,
    ) -> (Losses, StepGradients) {
        let (device, [_, width]) = (self.device(), self.table.rows().dims());
        let tasks = self.criterion.tasks();
        let (mut rows, mut network, mut losses) = (Vec::new(), NetworkGradients::default(), vec![0.0; tasks + 1]);
        if let Some(found) = found {
            let told = Tensor::cat(vec![found.tasks, found.penalty], 0);
            losses = told.into_data().try_into_vec().expect("losses are f32");
            rows = found.rows.into_data().try_into_vec().expect("gradients are f32");
            network = found.network;
        }
        let rows = home.shard.send_home(&home.asked, &rows, width); // [O, W]
        let mut all = network.flat(&self.network);
        let Shard { ranks, wire, .. } = &*home.shard;
        let losses = match wire {
            Wire::F32 => {
                all.extend(losses);
                sum(&**ranks, &mut all, *wire);
                all.split_off(all.len() - tasks - 1)
            }
            Wire::Bf16 => {
                sum(&**ranks, &mut all, *wire);
                sum(&**ranks, &mut losses, Wire::F32); // what is told is not rounded
                losses
            }
        };
        let tensor = |values: &[f32]| Tensor::<1>::from_floats(values, &device);
        let losses = Losses {
            tasks: tensor(&losses[..tasks]),
            regularization: tensor(&losses[tasks..]),
            labelled: batch.labelled.clone(),
        };
        let network = NetworkGradients::of_flat(&self.network, &all, &device);
        let rows = batch.of_live(matrix(rows, width, &device));
        (losses, StepGradients { network, rows, batch: batch.clone() })
    }
}
