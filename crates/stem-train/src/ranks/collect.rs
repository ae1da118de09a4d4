//! The whole table, from all ranks into a file of rank 0: a stretch of its rows after the other, so that no rank holds it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use stem_core::files::FileError;
use stem_core::nn::RowMatrix;

use super::{Shard, numbers, owner};

/// Rows that travel at once.
const ROWS: usize = 1 << 15;

impl Shard {
    /// Writes all rows, in their order, f32, little-endian, into the file `path` of rank 0. All ranks call it together.
    ///
    /// # Errors
    /// On rank 0, a file that cannot be written; the others have sent their rows all the same.
    pub(crate) fn collect(&self, table: &RowMatrix, path: &Path) -> Result<(), FileError> {
        let [_, width] = table.dims();
        let fault = FileError::of("write", path);
        let mut file = self.ranks.is_first().then(|| File::create(path).map(BufWriter::new));
        table.read(|values| {
            let mut from = 0;
            for first in (0..self.whole()).step_by(ROWS) {
                let last = (first + ROWS).min(self.whole());
                let to = from + self.rows()[from..].partition_point(|&row| (row as usize) < last);
                let parts = self.ranks.gather(bytemuck::cast_slice(&values[from * width..to * width]).to_vec());
                from = to;
                if let Some(Ok(out)) = &mut file
                    && let Err(error) = self.write(out, first..last, &parts, width)
                {
                    file = Some(Err(error));
                }
            }
        });
        let Some(file) = file else { return Ok(()) };
        file.and_then(|mut file| file.flush()).map_err(fault)
    }

    /// Writes a stretch of rows, of which each rank has sent its own.
    fn write(
        &self,
        out: &mut impl Write,
        rows: std::ops::Range<usize>,
        parts: &[Vec<u8>],
        width: usize,
    ) -> std::io::Result<()> {
        let parts: Vec<Vec<f32>> = parts.iter().map(|part| numbers(part)).collect();
        let mut next: Vec<_> = parts.iter().map(|part| part.chunks_exact(width)).collect();
        for row in rows {
            let values =
                next[owner(row as u32, parts.len())].next().expect("each rank sends the rows that are its own");
            for value in values {
                out.write_all(&value.to_le_bytes())?;
            }
        }
        Ok(())
    }
}
