//! Matrices with the rows of the table, from all ranks to rank 0 and back: a stretch of their rows after the other, so that no rank holds them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use stem_core::files::FileError;
use stem_core::nn::{RowMatrix, upload_index};

use super::{Shard, numbers, owner};

/// Rows that travel at once.
const ROWS: usize = 1 << 15;

/// Fills a slice with the next rows of a matrix.
pub(crate) type Give<'g, E> = dyn FnMut(&mut [f32]) -> Result<(), E> + 'g;

impl Shard {
    /// Writes all rows, in their order, f32, little-endian, into the file `path` of rank 0. All ranks call it together.
    ///
    /// # Errors
    /// On rank 0, a file that cannot be written; the others have sent their rows all the same.
    pub(crate) fn write(&self, table: &RowMatrix, path: &Path) -> Result<(), FileError> {
        let fault = FileError::of("write", path);
        if !self.ranks.is_first() {
            return self.collect(table, |_| Ok(())).map_err(fault);
        }
        let mut file = File::create(path).map(BufWriter::new);
        self.collect(table, |values| {
            let out = file.as_mut().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
            values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
        })
        .and_then(|()| file?.flush())
        .map_err(fault)
    }

    /// Gives all rows of a matrix, in their order, to `take` on rank 0, a stretch of them at once. All ranks call it together.
    ///
    /// # Errors
    /// On rank 0 the first of `take`, which is not called again; the others have sent their rows all the same.
    pub(crate) fn collect(&self, matrix: &RowMatrix, mut take: impl FnMut(&[f32]) -> io::Result<()>) -> io::Result<()> {
        let [_, width] = matrix.dims();
        let mut done = Ok(());
        matrix.read(|values| {
            let mut from = 0;
            for first in (0..self.whole()).step_by(ROWS) {
                let last = (first + ROWS).min(self.whole());
                let to = from + self.rows()[from..].partition_point(|&row| (row as usize) < last);
                let parts = self.ranks.gather(bytemuck::cast_slice(&values[from * width..to * width]).to_vec());
                from = to;
                if self.ranks.is_first() && done.is_ok() {
                    done = take(&put_together(first..last, &parts, width));
                }
            }
        });
        done
    }

    /// Some rows of matrices, on rank 0: which of the whole table they are, ascending, and of each matrix their values. Each rank says by `places`,
    /// ascending, which of its own. All ranks call it together.
    pub(crate) fn collect_some(&self, matrices: &[&RowMatrix], places: &[u32]) -> (Vec<u32>, Vec<Vec<f32>>) {
        let ids: Vec<u32> = places.iter().map(|&place| self.rows()[place as usize]).collect();
        let of_ranks = self.ranks.gather(bytemuck::cast_slice(&ids).to_vec());
        let mut all: Vec<(u32, usize)> = Vec::new(); // a row, and whose it is
        for (rank, ids) in of_ranks.iter().enumerate() {
            all.extend(numbers::<u32>(ids).into_iter().map(|id| (id, rank)));
        }
        all.sort_unstable();
        let of_matrix = |matrix: &&RowMatrix| {
            let [_, width] = matrix.dims();
            let own: Vec<f32> = match places.is_empty() {
                true => Vec::new(),
                false => {
                    let index = upload_index(places, &matrix.tensor().device());
                    matrix.gather(index).into_data().try_into_vec().expect("rows are f32")
                }
            };
            let parts = self.ranks.gather(bytemuck::cast_slice(&own).to_vec());
            drop(own);
            let parts: Vec<Vec<f32>> = parts.iter().map(|part| numbers(part)).collect();
            let mut next: Vec<_> = parts.iter().map(|part| part.chunks_exact(width)).collect();
            let of_row = |(_, rank): &(u32, usize)| next[*rank].next().expect("a rank sends the rows that it names");
            all.iter().flat_map(of_row).copied().collect()
        };
        let values = matrices.iter().map(of_matrix).collect();
        (all.into_iter().map(|(id, _)| id).collect(), values)
    }

    /// Fills `own`, this rank's rows of a matrix, with what `give` gives on rank 0, which alone has one: all rows of the matrix in their order, a
    /// stretch of them at once. All ranks call it together.
    ///
    /// # Errors
    /// On rank 0 that of `give`; on the others nothing but that there was one.
    pub(crate) fn deal_out<E>(
        &self,
        width: usize,
        own: &mut [f32],
        mut give: Option<&mut Give<'_, E>>,
    ) -> Result<(), Option<E>> {
        let ranks = self.ranks.ranks();
        let mut to_come = own;
        let mut values = Vec::new();
        for first in (0..self.whole()).step_by(ROWS) {
            let last = (first + ROWS).min(self.whole());
            let mut parts = vec![Vec::new(); ranks];
            let mut fault = None;
            if let Some(give) = give.as_mut() {
                values.resize((last - first) * width, 0.0);
                fault = give(&mut values).err();
                if fault.is_none() {
                    parts = vec![vec![GIVEN]; ranks];
                    for (row, values) in (first..last).zip(values.chunks_exact(width)) {
                        parts[owner(row as u32, ranks)].extend_from_slice(bytemuck::cast_slice(values));
                    }
                }
            }
            let heard = self.ranks.exchange(parts).swap_remove(0);
            let Some((_, heard)) = heard.split_first() else { return Err(fault) };
            let (here, later) = to_come.split_at_mut(heard.len() / 4);
            here.copy_from_slice(&numbers::<f32>(heard));
            to_come = later;
        }
        Ok(())
    }
}

/// What stands before rows that rank 0 sends; where there is nothing, it could not.
const GIVEN: u8 = 1;

/// A stretch of rows, of which each rank has sent its own.
fn put_together(rows: std::ops::Range<usize>, parts: &[Vec<u8>], width: usize) -> Vec<f32> {
    let parts: Vec<Vec<f32>> = parts.iter().map(|part| numbers(part)).collect();
    let mut next: Vec<_> = parts.iter().map(|part| part.chunks_exact(width)).collect();
    let mut values = Vec::with_capacity(rows.len() * width);
    for row in rows {
        let row = next[owner(row as u32, parts.len())].next();
        values.extend_from_slice(row.expect("each rank sends the rows that are its own"));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::super::{Threads, Wire, matrix};
    use super::*;
    use stem_core::DeviceSpec;

    #[test]
    fn rows_come_together_in_their_order_and_go_back_to_where_they_live() {
        const WHOLE: usize = 70_000; // more than two stretches
        let device = DeviceSpec::from_env().unwrap().open().unwrap();
        let values = |row: u32| [row as f32, -0.5 * row as f32];
        let found = Threads::run(3, |ranks| {
            let shard = Shard::of(&ranks, WHOLE, Wire::F32);
            let own: Vec<f32> = shard.rows().iter().flat_map(|&row| values(row)).collect();
            let table = RowMatrix::new(matrix(own.clone(), 2, &device));
            let mut all = Vec::new();
            let take = |values: &[f32]| {
                all.extend_from_slice(values);
                Ok(())
            };
            shard.collect(&table, take).unwrap();
            // the first rows of each rank, of rank 1 none
            let places: Vec<u32> = if ranks.rank() == 1 { Vec::new() } else { (0..5).collect() };
            let some = shard.collect_some(&[&table, &table], &places);
            let mut back = vec![0.0; own.len()];
            let mut given = all.chunks(1);
            let mut give = |values: &mut [f32]| {
                values.iter_mut().for_each(|value| *value = given.next().unwrap()[0]);
                Ok::<(), &str>(())
            };
            let dealt = shard.deal_out(2, &mut back, ranks.is_first().then_some(&mut give as &mut Give<'_, &str>));
            assert_eq!((dealt, back), (Ok(()), own));
            // an error in the middle of it is told to all
            let mut stretches = 0;
            let mut give = |_: &mut [f32]| {
                stretches += 1;
                if stretches == 2 { Err("damaged") } else { Ok(()) }
            };
            let mut back = vec![0.0; 2 * shard.rows().len()];
            let broken = shard.deal_out(2, &mut back, ranks.is_first().then_some(&mut give as &mut Give<'_, &str>));
            assert_eq!(broken, Err(ranks.is_first().then_some("damaged")));
            // and one of who takes them does not keep the others waiting
            let refused = shard.collect(&table, |_| Err(io::Error::other("full")));
            assert_eq!(refused.is_err(), ranks.is_first());
            (all, some)
        });
        let (all, (ids, some)) = &found[0];
        assert_eq!(*all, (0..WHOLE as u32).flat_map(values).collect::<Vec<f32>>());
        let firsts = |rank| (0..).filter(move |&row| owner(row, 3) == rank).take(5);
        let mut expected: Vec<u32> = firsts(0).chain(firsts(2)).collect();
        expected.sort_unstable();
        assert_eq!(*ids, expected);
        assert_eq!(*some, vec![expected.iter().flat_map(|&row| values(row)).collect::<Vec<f32>>(); 2]);
        assert!(found[1].0.is_empty() && found[2].1.0.is_empty(), "on rank 0 alone");
    }
}
