//! Which rows of the table live where.
//!
//! ```text
//! owner(row) = mix(row) mod ranks        mix the finalizer of SplitMix64
//! ```
//!
//! Rows of a vocabulary lie in the order of their keys, in which those that are busy may be neighbours; a hash deals them out evenly. It is the
//! same on every machine and in every version. A rank keeps the rows that are its own in their order, one after the other.

use burn::tensor::Device;
use stem_core::Schema;
use stem_core::nn::EmbeddingTable;
use stem_kernels::initializer;

use super::{Team, Wire};
use crate::training::mixed;

/// The rank that a row of the table lives on, with its optimizer's state.
pub fn owner(row: u32, ranks: usize) -> usize {
    (mixed(u64::from(row)) % ranks as u64) as usize
}

/// Rows of the whole table in a stretch, among whose rows that live here one is found by bisection.
const STRETCH: usize = 1024;

/// The part of the table that lives on this rank.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) ranks: Team,
    /// Rows of the whole table, ascending.
    rows: Vec<u32>,
    /// How many of them come before each stretch of the whole table. `[V / STRETCH + 2]`
    before: Vec<u32>,
    /// `V`
    whole: usize,
    /// How rows and gradients of a step travel.
    pub(crate) wire: Wire,
}

impl Shard {
    /// Of a table of so many rows.
    pub(crate) fn of(ranks: &Team, whole: usize, wire: Wire) -> Self {
        let (own, count) = (ranks.rank(), ranks.ranks());
        let rows: Vec<u32> = (0..whole as u32).filter(|&row| owner(row, count) == own).collect();
        let mut before = vec![0; whole / STRETCH + 2];
        rows.iter().for_each(|&row| before[row as usize / STRETCH + 1] += 1);
        (1..before.len()).for_each(|stretch| before[stretch] += before[stretch - 1]);
        Self { ranks: ranks.clone(), rows, before, whole, wire }
    }

    /// Rows of the whole table that live here, ascending.
    pub(crate) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// `V`, the rows of all ranks.
    pub(crate) fn whole(&self) -> usize {
        self.whole
    }

    /// Where rows that live here lie in this rank's table.
    pub(super) fn places(&self, ids: &[u32]) -> Vec<u32> {
        let place = |id: &u32| {
            let stretch = *id as usize / STRETCH;
            let [from, to] = [self.before[stretch], self.before[stretch + 1]];
            from + self.rows[from as usize..to as usize].partition_point(|row| row < id) as u32
        };
        ids.iter().map(place).collect()
    }

    /// The rows that live here of the table that one process would draw ([`EmbeddingTable::init`]), of which a stretch at a time is drawn.
    pub(crate) fn draw(
        &self,
        schema: &Schema,
        widths: &[usize],
        std: f32,
        seed: u64,
        device: &Device,
    ) -> EmbeddingTable {
        let width: usize = widths.iter().sum();
        let offsets = schema.offsets();
        let padding: Vec<u32> =
            schema.fields.iter().filter(|field| field.kind.has_keys()).map(|field| offsets[field.vocabulary]).collect();
        let mut values = Vec::with_capacity(self.rows.len() * width);
        let mut stretch = Vec::new();
        let mut own = self.rows.as_slice();
        // So many rows are whole blocks of the initializer, whatever their width.
        for (place, first) in (0..self.whole).step_by(initializer::BLOCK).enumerate() {
            let rows = initializer::BLOCK.min(self.whole - first);
            stretch.resize(rows * width, 0.0f32);
            initializer::normal_from(place * width, &mut stretch, std, seed);
            let (here, later) = own.split_at(own.partition_point(|&row| (row as usize) < first + rows));
            own = later;
            for &row in here {
                let at = (row as usize - first) * width;
                match padding.contains(&row) {
                    true => values.resize(values.len() + width, 0.0),
                    false => values.extend_from_slice(&stretch[at..at + width]),
                }
            }
        }
        EmbeddingTable::from_values(values, widths, device)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Threads;
    use super::*;
    use stem_core::{DeviceSpec, Field, Task, VocabularySpec};

    #[test]
    fn every_row_lives_on_one_rank_in_its_order_and_is_drawn_as_one_process_draws_it() {
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let fields = vec![Field::category("user", 0), Field::number("age", 1)];
        let vocabularies = vec![VocabularySpec::new("user", 70_000), VocabularySpec::new("age", 1)];
        let schema = Schema::new(fields, vocabularies, vec![Task::new("a")]);
        let whole = EmbeddingTable::init(&schema, &[2, 1], 0.1, 7, &device).rows().read(<[f32]>::to_vec);
        let parts = Threads::run(3, |ranks| {
            let shard = Shard::of(&ranks, schema.rows(), Wire::F32);
            let table = shard.draw(&schema, &[2, 1], 0.1, 7, &device);
            let some: Vec<u32> = shard.rows().iter().copied().step_by(5).collect();
            let places: Vec<u32> = (0..shard.rows().len() as u32).step_by(5).collect();
            assert_eq!(shard.places(&some), places);
            (shard.rows().to_vec(), table.rows().read(<[f32]>::to_vec))
        });
        let mut seen = 0;
        for (rank, (rows, values)) in parts.iter().enumerate() {
            assert!((22_000..25_000).contains(&rows.len()), "dealt out evenly: {}", rows.len());
            seen += rows.len();
            for (row, found) in rows.iter().zip(values.chunks_exact(3)) {
                assert_eq!(owner(*row, 3), rank);
                assert_eq!(found, &whole[*row as usize * 3..][..3], "row {row}");
            }
        }
        assert_eq!(seen, 70_001);
    }

    #[test]
    fn where_a_row_lives_never_changes() {
        assert_eq!((0..12).map(|row| owner(row, 4)).collect::<Vec<_>>(), PLACES);
    }

    /// Of the first rows over four ranks.
    const PLACES: [usize; 12] = [0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 1, 1];
}
