//! The codes of all rows as they lie on disk between the pass that gives them and those that read them: row after row, of each field
//! with a vocabulary its code, of a sequence the length of its list first.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::columns::{ColumnReader, ColumnWriter};
use crate::error::Result;
use crate::recipe::{Kind, Recipe};

/// Codes of one field in a chunk.
pub(crate) struct FieldCodes {
    pub(crate) values: Vec<u32>,
    /// For a sequence how many values each row has. `[n]`
    pub(crate) lengths: Option<Vec<u32>>,
}

/// The codes of a chunk, row after row: of each field with a vocabulary its code, of a sequence the length of its list first.
pub(crate) fn in_rows(height: usize, mut fields: Vec<(usize, FieldCodes)>) -> Vec<u32> {
    fields.sort_by_key(|(f, _)| *f);
    let length = |(_, own): &(usize, FieldCodes)| own.values.len() + own.lengths.as_ref().map_or(0, Vec::len);
    if fields.iter().all(|(_, own)| own.lengths.is_none()) {
        return side_by_side(height, &fields);
    }
    let mut codes = Vec::with_capacity(fields.iter().map(length).sum());
    let mut next = vec![0; fields.len()];
    for row in 0..height {
        for (next, (_, own)) in next.iter_mut().zip(&fields) {
            let length = own.lengths.as_ref().map_or(1, |lengths| {
                codes.push(lengths[row]);
                lengths[row] as usize
            });
            codes.extend_from_slice(&own.values[*next..*next + length]);
            *next += length;
        }
    }
    codes
}

/// The same of fields that have one code in each row.
fn side_by_side(height: usize, fields: &[(usize, FieldCodes)]) -> Vec<u32> {
    const ROWS: usize = 1 << 9; // what is written to stays near
    let width = fields.len();
    let mut codes = vec![0; height * width];
    for (block, out) in codes.chunks_mut(ROWS * width.max(1)).enumerate() {
        for (place, (_, own)) in fields.iter().enumerate() {
            let own = &own.values[block * ROWS..];
            out[place..].iter_mut().step_by(width).zip(own).for_each(|(out, code)| *out = *code);
        }
    }
    codes
}

/// Codes of a file: 16 MB.
const FILE: usize = 1 << 22;

/// Writes the codes of rows into files that follow each other, so that those that were read for the last time can go.
pub(crate) struct CodesWriter {
    folder: PathBuf,
    file: ColumnWriter<u32>,
    /// Codes in `file`, and how many it takes at least.
    written: usize,
    limit: usize,
    full: Vec<PathBuf>,
}

impl CodesWriter {
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        Self::with_files_of(folder, FILE)
    }

    fn with_files_of(folder: &Path, limit: usize) -> Result<Self> {
        Ok(Self { folder: folder.into(), file: Self::file(folder, 0)?, written: 0, limit, full: vec![] })
    }

    fn file(folder: &Path, place: usize) -> Result<ColumnWriter<u32>> {
        ColumnWriter::create(folder.join(format!("codes-{place}")), 1)
    }

    /// Appends whole rows.
    pub(crate) fn write(&mut self, codes: &[u32]) -> Result<()> {
        if self.written >= self.limit {
            let next = Self::file(&self.folder, self.full.len() + 1)?;
            self.full.push(std::mem::replace(&mut self.file, next).finish()?);
            self.written = 0;
        }
        self.written += codes.len();
        self.file.write(codes)
    }

    pub(crate) fn finish(self) -> Result<Codes> {
        let mut files = self.full;
        files.push(self.file.finish()?);
        Ok(Codes { files })
    }
}

/// The files of all codes.
pub(crate) struct Codes {
    files: Vec<PathBuf>,
}

impl Codes {
    /// Walks `rows` rows, and nothing is lost.
    pub(crate) fn walk(&self, recipe: &Recipe, rows: usize) -> Result<Walk> {
        Walk::new(ColumnReader::open(self.files.clone(), |_| ())?, recipe, rows)
    }

    /// The same once more, after which no codes are needed: the disk has room again for each file that was read to its end.
    pub(crate) fn walk_last(&self, recipe: &Recipe, rows: usize) -> Result<Walk> {
        let files = self.files.clone();
        let passed = move |place: usize| {
            let _ = std::fs::remove_file(&files[place]); // one that stays is scratch, and goes with it
        };
        Walk::new(ColumnReader::open(self.files.clone(), passed)?, recipe, rows)
    }
}

/// What a field has in every row.
#[derive(Clone, Copy)]
enum Lies {
    /// Nothing: it is a number.
    Elsewhere,
    /// A code.
    Alone,
    /// A length, and so many codes.
    Listed,
}

/// Rows of a block.
pub(crate) const BLOCK: usize = 1 << 12;

/// A walk over the rows, block by block: what is looked up for a column of rows, one row after another without anything between, waits
/// for memory far less often.
pub(crate) struct Walk {
    file: ColumnReader<u32>,
    fields: Vec<Lies>,
    /// Where the codes of each field of each row begin and end within the block. `[n, F]`
    spans: Vec<[u32; 2]>,
    /// Codes of the longest row so far, and room for what a row has at least.
    longest: usize,
    /// Codes of every row, where no field is a list.
    width: Option<usize>,
    rows: Range<usize>,
}

impl Walk {
    /// Over what [`in_rows`] gave.
    fn new(file: ColumnReader<u32>, recipe: &Recipe, rows: usize) -> Result<Self> {
        let fields = recipe.fields.iter().map(|field| match field.kind {
            _ if field.numbers() > 0 => Lies::Elsewhere,
            Kind::Sequence { .. } => Lies::Listed,
            _ => Lies::Alone,
        });
        let fields: Vec<Lies> = fields.collect();
        let (longest, has_lists) = (fields.len(), fields.iter().any(|lies| matches!(lies, Lies::Listed)));
        let alone = fields.iter().filter(|lies| matches!(lies, Lies::Alone)).count();
        let width = (!has_lists).then_some(alone);
        Ok(Self { file, fields, spans: Vec::new(), longest, width, rows: 0..rows })
    }

    /// The next rows.
    pub(crate) fn next(&mut self) -> Result<Option<Block<'_>>> {
        let rows = self.rows.start..self.rows.end.min(self.rows.start + BLOCK);
        self.rows.start = rows.end;
        if let Some(width) = self.width {
            // every block lies as the one before did
            for row in self.spans.len() / self.fields.len().max(1)..rows.len() {
                let mut next = (row * width) as u32;
                self.spans.extend(self.fields.iter().map(|lies| {
                    let start = next;
                    next += u32::from(matches!(lies, Lies::Alone));
                    [start, next]
                }));
            }
            self.spans.truncate(rows.len() * self.fields.len());
            self.file.peek(rows.len() * width + 1)?; // one more: whether the last file has ended is seen behind its end
            let codes = self.file.take(rows.len() * width)?;
            return Ok((!rows.is_empty()).then_some(Block {
                rows,
                fields: self.fields.len(),
                width: self.width,
                codes,
                spans: &self.spans,
            }));
        }
        self.spans.clear();
        let mut end = 0;
        for row in 0..rows.len() {
            end = loop {
                let codes = self.file.peek(end + self.longest)?;
                self.spans.truncate(row * self.fields.len());
                match measure(codes, end, &self.fields, &mut self.spans) {
                    Some(end) => break end,
                    None if codes.len() >= end + self.longest => self.longest *= 2, // a list longer than any before
                    None => break codes.len() + 1,                                  // of a file that ends early
                }
            };
        }
        let codes = self.file.take(end)?;
        Ok((!rows.is_empty()).then_some(Block {
            rows,
            fields: self.fields.len(),
            width: None,
            codes,
            spans: &self.spans,
        }))
    }
}

/// Finds the fields of the row that begins at `end`, and gives where it ends; `None` where that is behind the last of `codes`.
fn measure(codes: &[u32], mut end: usize, fields: &[Lies], spans: &mut Vec<[u32; 2]>) -> Option<usize> {
    for lies in fields {
        let (skipped, length) = match lies {
            Lies::Elsewhere => (0, 0),
            Lies::Alone => (0, 1),
            Lies::Listed => (1, *codes.get(end)? as usize),
        };
        let start = end + skipped;
        end = start + length;
        spans.push([start as u32, end as u32]); // a block has far fewer codes than 32 bits count
    }
    (end <= codes.len()).then_some(end)
}

/// Some rows that follow each other.
pub(crate) struct Block<'r> {
    pub(crate) rows: Range<usize>,
    fields: usize,
    /// Codes of every row, where no field is a list.
    width: Option<usize>,
    codes: &'r [u32],
    spans: &'r [[u32; 2]],
}

impl<'r> Block<'r> {
    #[inline]
    fn codes(&self, [start, end]: [u32; 2]) -> &'r [u32] {
        &self.codes[start as usize..end as usize]
    }

    /// All codes of a row as they lie there, the lengths of its lists among them.
    pub(crate) fn whole(&self, place: usize) -> &'r [u32] {
        let end = |rows: usize| (rows * self.fields).checked_sub(1).map_or(0, |last| self.spans[last][1]);
        self.codes([end(place), end(place + 1)])
    }

    /// The codes of a field in the row at a place of the block: one of a category, none of numbers, those of its list of a sequence.
    #[inline]
    pub(crate) fn get(&self, place: usize, field: usize) -> &'r [u32] {
        self.codes(self.spans[place * self.fields + field])
    }

    /// A field that has one code in each row, where no field is a list.
    pub(crate) fn column(&self, field: usize) -> Option<BlockColumn<'r>> {
        let [first, end] = *self.spans.get(field)?;
        let width = self.width.filter(|_| end - first == 1)?;
        Some(BlockColumn { codes: &self.codes[first as usize..], width })
    }

    /// The codes of a row, field after field.
    #[inline]
    pub(crate) fn row(&self, place: usize) -> impl Iterator<Item = &'r [u32]> {
        self.spans[place * self.fields..][..self.fields].iter().map(|span| self.codes(*span))
    }
}

/// One field of a block whose rows lie alike.
#[derive(Clone, Copy)]
pub(crate) struct BlockColumn<'r> {
    /// From the field's code in the first row on.
    codes: &'r [u32],
    width: usize,
}

impl BlockColumn<'_> {
    /// The code in the row at a place of the block.
    #[inline]
    pub(crate) fn at(&self, place: usize) -> u32 {
        self.codes[place * self.width]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_codes_is_gone_once_the_last_walk_has_passed_it() {
        let text = r#"
            name = "r"
            source = [{ name = "log", file = "log.csv" }]
            label = [{ column = "click" }]
            split = { kind = "random" }
            field = [{ column = "user", kind = "category" }, { column = "seen", kind = "sequence", max_len = 9 }]
        "#;
        let recipe = Recipe::parse(text, "recipe.toml").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut writer = CodesWriter::with_files_of(folder.path(), 4).unwrap();
        for row in [&[5u32, 2, 7, 8][..], &[6, 0], &[5, 1, 9]] {
            writer.write(row).unwrap();
        }
        let codes = writer.finish().unwrap();
        let files = || std::fs::read_dir(folder.path()).unwrap().count();
        let all = |mut walk: Walk| {
            let mut rows = Vec::new();
            while let Some(block) = walk.next().unwrap() {
                rows.extend((0..block.rows.len()).map(|place| (block.get(place, 0)[0], block.get(place, 1).to_vec())));
                assert_eq!(block.whole(1), [6, 0]);
            }
            rows
        };
        let expected = vec![(5, vec![7, 8]), (6, vec![]), (5, vec![9])];
        assert_eq!(all(codes.walk(&recipe, 3).unwrap()), expected);
        assert_eq!(files(), 2);
        assert_eq!(all(codes.walk_last(&recipe, 3).unwrap()), expected);
        assert_eq!(files(), 0);
    }

    #[test]
    fn codes_of_fields_come_row_after_row() {
        let field = |f: usize, first: u32, rows: u32| {
            (f, FieldCodes { values: (first..first + rows).collect(), lengths: None })
        };
        let rows = 1500;
        let codes = in_rows(rows as usize, vec![field(2, 20_000, rows), field(0, 0, rows), field(1, 10_000, rows)]);
        assert!(codes.chunks(3).zip(0..).all(|(row, i)| row == [i, 10_000 + i, 20_000 + i]) && codes.len() == 4500);
        assert!(in_rows(7, vec![]).is_empty());
        let list = FieldCodes { values: vec![7, 8, 9], lengths: Some(vec![2, 0, 1]) };
        assert_eq!(in_rows(3, vec![(1, list), field(0, 4, 3)]), [4, 2, 7, 8, 5, 0, 6, 1, 9]);
    }

    #[test]
    fn rows_without_lists_are_walked_in_blocks_that_lie_alike() {
        let text = r#"
            name = "r"
            source = [{ name = "log", file = "log.csv" }]
            label = [{ column = "click" }]
            split = { kind = "random" }
            field = [{ column = "user", kind = "category" }, { column = "age", kind = "number" }, { column = "item", kind = "category" }]
        "#;
        let recipe = Recipe::parse(text, "recipe.toml").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let rows = 2 * BLOCK + 5;
        let mut writer = CodesWriter::with_files_of(folder.path(), BLOCK).unwrap();
        (0..rows as u32).for_each(|row| writer.write(&[row, 2 * row]).unwrap());
        let codes = writer.finish().unwrap();
        let mut walks = [codes.walk(&recipe, rows).unwrap(), codes.walk_last(&recipe, rows).unwrap()];
        for walk in &mut walks {
            let mut seen = 0;
            while let Some(block) = walk.next().unwrap() {
                assert_eq!(block.rows.start, seen);
                for (place, row) in block.rows.clone().enumerate() {
                    let own: Vec<&[u32]> = block.row(place).collect();
                    assert_eq!(own, [&[row as u32][..], &[], &[2 * row as u32]]);
                    assert_eq!(block.whole(place), [row as u32, 2 * row as u32]);
                    let columns = [0, 1, 2].map(|field| block.column(field).map(|own| own.at(place)));
                    assert_eq!(columns, [Some(row as u32), None, Some(2 * row as u32)]);
                }
                seen = block.rows.end;
            }
            assert_eq!(seen, rows);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(codes.walk(&recipe, rows).is_err(), "the files are gone");
    }
}
