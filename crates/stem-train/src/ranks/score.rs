//! Scores of splits by a bundle that rank 0 has, over all ranks: rows of its table go to where a hash says, as in a training, and no rank holds the table.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use stem_core::bundle::State;
use stem_core::models::{Model, ModelSpec};
use stem_core::nn::{DistinctRows, EmbeddingTable, SlotLayout, rng, score};
use stem_core::{Batch, Bundle, Schema, params};
use stem_data::{BatchPlan, Dataset, EpochRows, Split};

use super::{Fetched, Give, Question, Questions, Shard, Team, Wire, as_first, numbers};
use crate::error::Result;

/// Rows of a batch, of all ranks.
const ROWS: usize = 8192;

/// A network that scores, with the rows of its table that live here.
pub(crate) struct Scoring<'a, M> {
    pub(crate) network: &'a M,
    pub(crate) table: &'a EmbeddingTable,
    pub(crate) layout: &'a SlotLayout,
    pub(crate) shard: &'a Shard,
}

impl<M: Model> Scoring<'_, M> {
    /// Scores of every row of a split, in order, on rank 0, nothing on the others; each rank scores its part of every batch of so many rows.
    /// All ranks call it together. `[N, T]`, row-major
    ///
    /// # Errors
    /// Batches that do not read.
    pub(crate) fn split(&self, dataset: &Dataset, split: Split, rows: usize) -> Result<Vec<f32>> {
        let (ranks, schema) = (&self.shard.ranks, dataset.schema());
        let part = Some((ranks.rank(), ranks.ranks()));
        let plan = BatchPlan { size: rows, shuffle: None };
        let rows = EpochRows { part, ..EpochRows::default() };
        let batches = dataset.batches_of(split, plan, 0, rows);
        let mut batches = batches.map(|batch| batch.check(schema).map(|()| batch));
        let (mut scores, mut asked) = (Vec::new(), None);
        let mut next = batches.next().transpose()?;
        while let Some(batch) = next {
            next = batches.next().transpose()?;
            let questions = asked.take().unwrap_or_else(|| self.question(&batch).ask(ranks));
            let score = || {
                let own = self.part(schema, &batch, questions);
                let all = ranks.gather(bytemuck::cast_slice(&own).to_vec());
                all.iter().for_each(|part| scores.extend(numbers::<f32>(part)));
            };
            match &next {
                Some(next) => asked = Some(self.question(next).ask_while(ranks, score)),
                None => score(),
            }
        }
        Ok(scores)
    }

    /// What this rank asks about its part of a batch, which hangs on no score: it travels while the batch before is scored.
    fn question(&self, batch: &Batch) -> Question {
        Question::new(&self.shard.ranks, DistinctRows::of(&batch.ids), &[])
    }

    /// Of the rows of a batch that are this rank's. `[b, T]`
    fn part(&self, schema: &Schema, batch: &Batch, questions: Questions) -> Vec<f32> {
        let (table, device) = (self.table.rows(), self.table.rows().tensor().device());
        let Fetched { distinct, values, .. } = self.shard.fetch(table, questions, Wire::F32);
        if batch.rows == 0 {
            return Vec::new();
        }
        let rows = EmbeddingTable::from_values(values, self.table.widths(), &device);
        let batch = Batch::new(batch.rows, distinct.inverse, batch.weights.clone());
        score(self.network, &rows, self.layout, schema, &batch)
    }
}

/// Scores of every row of `splits`, in order, by the bundle in the file `path` of rank 0, before they are calibrated: on rank 0, nothing on the others. Each of
/// several ranks, which call it together, has a part of the table and scores a part of every batch; the scores are those of one process but for rounding.
/// `[N, T]` each, row-major.
///
/// # Errors
/// A bundle that does not load, and batches that do not read: on all ranks.
pub fn score_over<C: ModelSpec>(
    ranks: &Team,
    spec: &C,
    path: &Path,
    dataset: &Dataset,
    splits: &[Split],
    device: &Device,
) -> Result<Vec<Vec<f32>>> {
    let load = || -> Result<Vec<State<C::Model>>> { Ok(Bundle::<C>::open(path)?.load_states(device)?) };
    let mut states = as_first(ranks, if ranks.is_first() { load() } else { Ok(Vec::new()) })?.into_iter();
    let tasks_of_states =
        ranks.from_first(|| states.as_slice().iter().map(|state| state.tasks.clone()).collect::<Vec<_>>());
    let (schema, tasks) = (dataset.schema(), dataset.schema().tasks.len());
    let widths = spec.widths(schema);
    let layout = SlotLayout::new(schema, &widths);
    let shard = Shard::of(ranks, schema.rows(), Wire::F32);
    let mut all: Vec<Vec<f32>> = vec![Vec::new(); splits.len()];
    for (place, own_tasks) in tasks_of_states.iter().enumerate() {
        let state = states.next(); // on rank 0
        let said = ranks.broadcast(state.as_ref().map_or_else(Vec::new, |state| written(&state.network)));
        let network = match &state {
            Some(_) => None,
            None => Some(read::<C>(spec, dataset, &said, device)),
        };
        let table = EmbeddingTable::from_values(rows_here(&shard, &widths, state.as_ref()), &widths, device);
        let network = network.as_ref().or(state.as_ref().map(|state| &state.network));
        let network = network.expect("rank 0 has a state, and the others what it says of it");
        let scoring = Scoring { network, table: &table, layout: &layout, shard: &shard };
        for (all, split) in all.iter_mut().zip(splits) {
            let own = scoring.split(dataset, *split, ROWS)?;
            if place == 0 {
                *all = own; // of the tasks that are others' too, until theirs come
                continue;
            }
            for (all, own) in all.chunks_exact_mut(tasks).zip(own.chunks_exact(tasks)) {
                own_tasks.iter().for_each(|&task| all[task] = own[task]);
            }
        }
    }
    Ok(all)
}

/// The rows that live here of a table that rank 0 has, which reads a stretch of them at once.
fn rows_here<M>(shard: &Shard, widths: &[usize], state: Option<&State<M>>) -> Vec<f32> {
    let width: usize = widths.iter().sum();
    let mut own = vec![0.0; shard.rows().len() * width];
    let mut first = 0;
    let mut give = |values: &mut [f32]| -> std::result::Result<(), String> {
        let rows = first..first + (values.len() / width) as u32;
        first = rows.end;
        let state = state.ok_or("rank 0 alone gives")?;
        values.copy_from_slice(&state.table.gather(&rows.collect::<Vec<u32>>()));
        Ok(())
    };
    let give = state.map(|_| &mut give as &mut Give<'_, String>);
    shard.deal_out(width, &mut own, give).expect("rows are there: the bundle was checked when it was opened");
    own
}

/// A network's parameters as a message, which is a file of them.
fn written<M: Model>(network: &M) -> Vec<u8> {
    let parameters = params::collect(network);
    fn view(data: &TensorData) -> TensorView<'_> {
        let shape = data.shape().as_slice().to_vec();
        TensorView::new(Dtype::F32, shape, data.as_bytes()).expect("values fill their shape")
    }
    let views = parameters.iter().map(|(name, data)| (name.as_str(), view(data)));
    safetensors::serialize(views, None).expect("names and shapes are plain data")
}

fn read<C: ModelSpec>(spec: &C, dataset: &Dataset, said: &[u8], device: &Device) -> C::Model {
    let tensors = SafeTensors::deserialize(said).expect("rank 0 runs the same version, which was asked at the start");
    let data = |view: TensorView| TensorData::new(numbers::<f32>(view.data()), view.shape().to_vec());
    let values: BTreeMap<String, TensorData> = tensors.iter().map(|(name, view)| (name.into(), data(view))).collect();
    let drawn = spec.init(dataset.schema(), &mut rng(0), device);
    params::replace(drawn, values).expect("rank 0 has a model of the same settings, which were compared at the start")
}
