//! A checkpoint of several ranks: the file that one process writes, by rank 0, to which the others send their rows a stretch at a time; and read
//! by rank 0, which sends each rank its own. So any number of ranks goes on from it, and none of them needs a folder that all share.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use stem_core::files::FileError;
use stem_core::nn::RowMatrix;

use super::chain::{Chain, Large, Small, Source, Take};
use super::file::{Copied, Matrices, NETWORK, NETWORK_STATE, ROWS, view};
use super::read::Unusable;
use super::state::Place;
use crate::ranks::Shard;

impl Matrices<'_> {
    /// Table and its state, in the order in which a file has them, which is that of their names.
    fn in_order(&self) -> Vec<(String, &RowMatrix)> {
        let mut large = self.large();
        large.sort_by(|a, b| a.0.cmp(&b.0));
        large
    }

    /// Writes all of it on rank 0, which holds a stretch of rows at once. Gives the checksum there.
    pub(super) fn write_over(&self, shard: &Shard, place: &Place, path: &Path) -> Result<Option<String>, FileError> {
        let large = self.in_order();
        if !shard.ranks.is_first() {
            let sent = large.iter().try_for_each(|(_, matrix)| shard.collect(matrix, |_| Ok(())));
            return sent.map(|()| None).map_err(FileError::of("write", path));
        }
        let mut sent = 0;
        let done = self.coming(None).write(place, path, |_, put| {
            sent += 1;
            shard.collect(large[sent - 1].1, put)
        });
        // What was not asked for, after an error, is sent all the same.
        large
            .iter()
            .skip(sent)
            .try_for_each(|(_, matrix)| shard.collect(matrix, |_| Ok(())))
            .map_err(FileError::of("write", path))?;
        done.map(Some)
    }

    /// A copy of it, on rank 0: of the rows of the table that each rank names by their places in its part, ascending, or of all.
    pub(super) fn copied_over(&self, shard: &Shard, places: Option<&[u32]>) -> Option<Copied> {
        let large = self.in_order();
        let mut tensors: BTreeMap<String, TensorData> =
            self.small().into_iter().map(|(name, data)| (name, data.clone())).collect();
        let width = |matrix: &RowMatrix| matrix.dims()[1];
        if let Some(places) = places {
            let matrices: Vec<&RowMatrix> = large.iter().map(|(_, matrix)| *matrix).collect();
            let (rows, values) = shard.collect_some(&matrices, places);
            let count = rows.len();
            for ((name, matrix), values) in large.iter().zip(values) {
                tensors.insert(name.clone(), TensorData::new(values, [count, width(matrix)]));
            }
            tensors.insert(ROWS.into(), TensorData::new(rows, [count]));
        } else {
            for (name, matrix) in &large {
                let mut values = Vec::new();
                let collected = shard.collect(matrix, |stretch| {
                    values.reserve_exact(if values.is_empty() { shard.whole() * width(matrix) } else { 0 });
                    values.extend_from_slice(stretch);
                    Ok(())
                });
                collected.expect("memory takes what it is given");
                let shape = [values.len() / width(matrix).max(1), width(matrix)];
                tensors.insert(name.clone(), TensorData::new(values, shape));
            }
        }
        shard.ranks.is_first().then(|| Copied::of(tensors))
    }
}

/// What rank 0 says of the checkpoints of its folder, to the others.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) enum Said {
    /// It reads this one now.
    Looking(Box<Head>),
    /// The one that was read is gone on from.
    Taken,
    /// There is none.
    #[default]
    Nothing,
    /// None is of use, or the one that would be is another training's: why.
    Failed(String),
}

/// What the others know of a checkpoint before it is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Head {
    place: Place,
    /// Of the whole table.
    shape: [usize; 2],
    /// Of each matrix of its optimizer's state.
    widths: Vec<usize>,
}

impl Head {
    /// Of a checkpoint.
    pub(crate) fn of(chain: &Chain) -> Self {
        let widths = (0..chain.states()).map(|k| chain.shape_of(Large::State(k))[1]).collect();
        Self { place: chain.place().clone(), shape: chain.shape_of(Large::Table), widths }
    }
}

/// A checkpoint that rank 0 reads, as one of the ranks sees it: of large matrices the rows that live there.
pub(crate) struct Dealt<'s> {
    pub(crate) shard: &'s Shard,
    pub(crate) head: Head,
    /// On rank 0.
    pub(crate) chain: Option<&'s Chain>,
}

impl Dealt<'_> {
    /// `[rows, width]` of this rank's part of a matrix.
    fn shape(&self, width: usize) -> [usize; 2] {
        [self.shard.rows().len(), width]
    }

    /// Reads on rank 0, and sends.
    fn read_and_send(&self, chain: &Chain, take: &mut Take<'_>) -> Result<Small, Unusable> {
        let is_told = Cell::new(false); // whether the others know of an error, or have it themselves
        let small = chain.read(&mut |large, [_, width], put| {
            let mut deal = |own: &mut [f32]| {
                self.shard
                    .deal_out(width, own, Some(put))
                    .map_err(|fault| fault.unwrap_or_else(|| "it was not read".into()))
            };
            take(large, self.shape(width), &mut deal).inspect_err(|_| is_told.set(true))
        });
        match &small {
            Ok(small) => drop(self.shard.ranks.broadcast(written(small))),
            Err(_) if is_told.get() => {}
            Err(_) => drop(self.shard.ranks.broadcast(Vec::new())),
        }
        small
    }

    /// Takes what rank 0 sends.
    fn receive(&self, take: &mut Take<'_>) -> Result<Small, Unusable> {
        const UNREAD: &str = "rank 0 could not read it";
        let states = self.head.widths.iter().enumerate().map(|(k, width)| (Large::State(k), *width));
        for (large, width) in states.chain([(Large::Table, self.head.shape[1])]) {
            take(large, self.shape(width), &mut |own| {
                self.shard.deal_out::<Unusable>(width, own, None).map_err(|_| UNREAD.into())
            })?;
        }
        let said = self.shard.ranks.broadcast(Vec::new());
        if said.is_empty() { Err(UNREAD.into()) } else { Ok(read(&said)) }
    }
}

impl Source for Dealt<'_> {
    fn place(&self) -> &Place {
        &self.head.place
    }

    fn table(&self) -> [usize; 2] {
        let [rows, width] = self.head.shape;
        if rows == self.shard.whole() { self.shape(width) } else { [rows, width] }
    }

    fn states(&self) -> usize {
        self.head.widths.len()
    }

    fn read(&self, take: &mut Take<'_>) -> Result<Small, Unusable> {
        match self.chain {
            Some(chain) => self.read_and_send(chain, take),
            None => self.receive(take),
        }
    }
}

/// What is small as a message, which is a file of it.
fn written(small: &Small) -> Vec<u8> {
    let parameters = small
        .network
        .iter()
        .map(|(name, data)| (format!("{NETWORK}{name}"), view(data.shape().as_slice().to_vec(), data.as_bytes())));
    let states = small.network_state.iter().flat_map(|(name, all)| {
        all.iter().enumerate().map(move |(k, (values, shape))| {
            (format!("{NETWORK_STATE}{name}.{k}"), view(shape.to_vec(), bytemuck::cast_slice(values)))
        })
    });
    safetensors::serialize(parameters.chain(states), None).expect("names and shapes are plain data")
}

fn read(message: &[u8]) -> Small {
    let tensors =
        SafeTensors::deserialize(message).expect("rank 0 runs the same version, which was asked at the start");
    let mut small = Small::default();
    let mut states: BTreeMap<(String, usize), (Vec<f32>, [usize; 2])> = BTreeMap::new();
    for (name, tensor) in tensors.iter() {
        let (values, shape) = (bytemuck::pod_collect_to_vec(tensor.data()), tensor.shape());
        if let Some(name) = name.strip_prefix(NETWORK) {
            small.network.insert(name.into(), TensorData::new(values, shape.to_vec()));
        } else if let Some((own, k)) = name.strip_prefix(NETWORK_STATE).and_then(|name| name.rsplit_once('.')) {
            states.insert((own.into(), k.parse().unwrap_or(usize::MAX)), (values, [shape[0], shape[1]]));
        }
    }
    states.into_iter().for_each(|((name, _), values)| small.network_state.entry(name).or_default().push(values));
    small
}
