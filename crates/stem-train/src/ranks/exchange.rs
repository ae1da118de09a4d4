//! What a step needs of other ranks, and what it gives them.
//!
//! ```text
//! ids        each rank asks the owners for the distinct rows of its part of the batch        4 bytes a row, 4 for how often it occurs
//! rows       the owners send them                                                            4 W bytes a row, 2 W as bf16
//! gradients  each rank sends the gradient of each of them to its owner, who sums             4 W bytes a row, 2 W as bf16
//! ```
//!
//! Which rows are asked for hangs on no weight: the ids of the next batch travel while this one is computed. What a rank sends itself stays as it is.

use burn::tensor::{Device, Int, Tensor, TensorData};
use stem_core::nn::{DistinctRows, RowMatrix, upload_index};

use super::{Shard, Team, Wire, numbers, owner};

/// What each rank says beside its ids; of the whole batch it is the sum.
pub(crate) type Told = Vec<f64>;

/// The rows of this rank that a step changes: those that some rank has asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// In the whole table, ascending. `[O]`
    pub(crate) ids: Vec<u32>,
    /// In this rank's table. `[O]`
    pub(crate) places: Vec<u32>,
    /// How often each of them stands in the batch, sums from 0 on. `[O + 1]`
    pub(crate) starts: Vec<u32>,
    /// Of each rank, which of `ids` it has asked for, in its order.
    by_rank: Vec<Vec<u32>>,
    /// Of each rank, the places among this rank's distinct rows of those that live there.
    at: Vec<Vec<u32>>,
    /// On the device; `None` where nothing was asked for. `[O]`, `[O, W]`
    pub(crate) rows: Option<(Tensor<1, Int>, Tensor<2>)>,
}

/// The rows of a rank's part of a batch.
#[derive(Debug)]
struct Wanted {
    distinct: DistinctRows,
    /// Of each rank, the places among the distinct rows of those that live there.
    at: Vec<Vec<u32>>,
    /// Numbers that are said beside.
    told: usize,
}

/// What a rank asks the owners of rows about its part of a batch, and says beside.
#[derive(Debug)]
pub(crate) struct Question {
    own: Wanted,
    messages: Vec<Vec<u8>>,
}

/// What all ranks have asked this one, and what it has asked them.
#[derive(Debug)]
pub(crate) struct Questions {
    own: Wanted,
    heard: Vec<Vec<u8>>,
}

impl Question {
    /// About distinct rows; `told` is what is said beside.
    pub(crate) fn new(ranks: &Team, distinct: DistinctRows, told: &[f64]) -> Self {
        let count = ranks.ranks();
        let mut at = vec![Vec::new(); count];
        distinct.rows.iter().zip(0u32..).for_each(|(&id, place)| at[owner(id, count)].push(place));
        let starts = distinct.by_row.starts();
        let message = |at: &Vec<u32>| {
            let ids: Vec<u32> = at.iter().map(|&place| distinct.rows[place as usize]).collect();
            let times: Vec<u32> = at.iter().map(|&u| starts[u as usize + 1] - starts[u as usize]).collect();
            [bytemuck::cast_slice(told), bytemuck::cast_slice(&ids), bytemuck::cast_slice(&times)].concat()
        };
        let messages = at.iter().map(message).collect();
        Self { own: Wanted { distinct, at, told: told.len() }, messages }
    }

    /// Asks the others, and is asked by them. All ranks call it together.
    pub(crate) fn ask(self, ranks: &Team) -> Questions {
        Questions { own: self.own, heard: ranks.exchange(self.messages) }
    }

    /// The same while `work` is done.
    pub(crate) fn ask_while(self, ranks: &Team, work: impl FnOnce()) -> Questions {
        Questions { own: self.own, heard: ranks.exchange_while(self.messages, Box::new(work)) }
    }
}

/// The rows that a rank has asked for.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Which they are.
    pub(crate) distinct: DistinctRows,
    /// In the order of its distinct rows. `[U, W]`
    pub(crate) values: Vec<f32>,
    /// What it was asked for itself.
    pub(crate) asked: Asked,
    /// The sums of what was told.
    pub(crate) told: Told,
}

impl Shard {
    /// Fetches the rows that were asked for from where they live; serves what others have asked for.
    pub(crate) fn fetch(&self, table: &RowMatrix, questions: Questions, wire: Wire) -> Fetched {
        let Questions { own: Wanted { distinct, at, told }, heard } = questions;
        let [_, width] = table.dims();
        let (mut sums, head) = (vec![0.0; told], 8 * told);
        let mut wanted = Vec::with_capacity(heard.len()); // of each rank: ids, then times
        for message in &heard {
            let (told, rest) = message.split_at(head.min(message.len()));
            sums.iter_mut().zip(numbers::<f64>(told)).for_each(|(sum, value)| *sum += value);
            wanted.push(numbers::<u32>(rest));
        }
        let asked = self.asked(&wanted, at, table);
        let own: Vec<f32> = match &asked.rows {
            Some((_, values)) => values.to_data().try_into_vec().expect("rows are f32"), // [O, W]
            None => Vec::new(),
        };
        let to = |rank: usize| if rank == self.ranks.rank() { Wire::F32 } else { wire };
        let rows_of = |(rank, places): (usize, &Vec<u32>)| to(rank).pack_rows(&own, width, places);
        let received = self.ranks.exchange(asked.by_rank.iter().enumerate().map(rows_of).collect());
        let mut values = vec![0.0; distinct.rows.len() * width];
        for (from, (rows, at)) in received.iter().zip(&asked.at).enumerate() {
            for (row, &place) in to(from).unpack(rows).chunks_exact(width).zip(at) {
                values[place as usize * width..][..width].copy_from_slice(row);
            }
        }
        Fetched { distinct, values, asked, told: sums }
    }

    /// What all ranks ask for together; each of them `ids` and then how often.
    fn asked(&self, wanted: &[Vec<u32>], at: Vec<Vec<u32>>, table: &RowMatrix) -> Asked {
        let mut all: Vec<(u32, u32)> = Vec::new();
        for of_rank in wanted {
            let (ids, times) = of_rank.split_at(of_rank.len() / 2);
            all.extend(ids.iter().copied().zip(times.iter().copied()));
        }
        all.sort(); // runs that ascend, one of each rank, are merged
        let (mut ids, mut starts) = (Vec::<u32>::new(), vec![0u32]);
        for (id, times) in all {
            match (ids.last() == Some(&id), starts.last_mut()) {
                (true, Some(end)) => *end += times,
                (_, end) => {
                    let before = end.map_or(0, |end| *end);
                    ids.push(id);
                    starts.push(before + times);
                }
            }
        }
        let among = |own: &[u32]| {
            let mut place = 0;
            let place = |id: &u32| {
                place += ids[place..].iter().take_while(|row| *row < id).count();
                place as u32
            };
            own.iter().map(place).collect::<Vec<u32>>() // both ascend
        };
        let by_rank = wanted.iter().map(|of_rank| among(&of_rank[..of_rank.len() / 2])).collect();
        let places = self.places(&ids);
        let rows = (!ids.is_empty()).then(|| {
            let index = upload_index(&places, &table.tensor().device());
            (index.clone(), table.gather(index))
        });
        Asked { ids, places, starts, by_rank, at, rows }
    }

    /// Sends the gradients of the distinct rows, `[U, W]`, to where the rows live; gives those of the rows here, summed in the order of the ranks.
    /// `[O, W]`
    pub(crate) fn send_home(&self, asked: &Asked, grads: &[f32], width: usize) -> Vec<f32> {
        let to = |rank: usize| if rank == self.ranks.rank() { Wire::F32 } else { self.wire };
        let rows_of = |(rank, places): (usize, &Vec<u32>)| to(rank).pack_rows(grads, width, places);
        let received = self.ranks.exchange(asked.at.iter().enumerate().map(rows_of).collect());
        let mut sums = vec![0.0f32; asked.ids.len() * width];
        for (from, (rows, places)) in received.iter().zip(&asked.by_rank).enumerate() {
            for (row, &place) in to(from).unpack(rows).chunks_exact(width).zip(places) {
                sums[place as usize * width..][..width].iter_mut().zip(row).for_each(|(sum, grad)| *sum += grad);
            }
        }
        sums
    }
}

/// A matrix on a device; one row of zeros where there is none, which takes part in nothing.
pub(crate) fn matrix(values: Vec<f32>, width: usize, device: &Device) -> Tensor<2> {
    match values.len() / width.max(1) {
        0 => Tensor::zeros([1, width], device),
        rows => Tensor::from_data(TensorData::new(values, [rows, width]), device),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Threads;
    use super::*;
    use proptest::prelude::*;
    use stem_core::DeviceSpec;

    const WIDTH: usize = 3;
    const ROWS: usize = 40;

    /// Row `id` of the table in the test.
    fn row(id: u32) -> [f32; WIDTH] {
        [id as f32, id as f32 + 0.25, -(id as f32)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn rows_come_from_where_they_live_and_their_gradients_go_back_there(
            parts in (1usize..5).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(0u32..ROWS as u32, 0..30), n)),
        ) {
            let device = DeviceSpec::from_env().unwrap().open().unwrap();
            let found = Threads::run(parts.len(), |ranks| {
                let shard = Shard::of(&ranks, ROWS, Wire::F32);
                let values: Vec<f32> = shard.rows().iter().flat_map(|&id| row(id)).collect();
                let table = RowMatrix::new(matrix(values, WIDTH, &device));
                let part = &parts[ranks.rank()];
                let distinct = DistinctRows::of(part);
                let question = Question::new(&ranks, distinct, &[part.len() as f64, 0.5]);
                let Fetched { distinct, values, asked, told } =
                    shard.fetch(&table, question.ask(&ranks), Wire::F32);
                let expected: Vec<f32> = distinct.rows.iter().flat_map(|&id| row(id)).collect();
                assert_eq!(values, expected);
                // the gradient of a row: how often it stands in the part
                let times = distinct.by_row.starts().windows(2).map(|ends| (ends[1] - ends[0]) as f32);
                let grads: Vec<f32> = times.flat_map(|times| [times, 2.0 * times, 0.0]).collect();
                let home = shard.send_home(&asked, &grads, WIDTH);
                for (place, &id) in asked.places.iter().zip(&asked.ids) {
                    assert_eq!(shard.rows()[*place as usize], id);
                }
                (asked.ids, asked.starts, home, told)
            });
            let all: Vec<u32> = parts.concat();
            let mut seen = 0;
            for (ids, starts, home, told) in found {
                prop_assert_eq!(&told, &vec![all.len() as f64, 0.5 * parts.len() as f64]);
                for ((id, ends), grad) in ids.iter().zip(starts.windows(2)).zip(home.chunks_exact(WIDTH)) {
                    let times = all.iter().filter(|&other| other == id).count();
                    prop_assert_eq!((ends[1] - ends[0]) as usize, times);
                    prop_assert_eq!(grad, &[times as f32, 2.0 * times as f32, 0.0]);
                    seen += times;
                }
            }
            prop_assert_eq!(seen, all.len(), "every row at home once");
        }
    }
}
