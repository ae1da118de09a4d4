//! The codes of all rows as they lie on disk between the pass that gives them and those that read them: row after row, of each field
//! with a vocabulary its code, of a sequence the length of its list first.

use std::ops::Range;
use std::path::Path;

use crate::columns::ColumnReader;
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
const BLOCK: usize = 1 << 12;

/// A walk over the rows, block by block: what is looked up for a column of rows, one row after another without anything between, waits
/// for memory far less often.
pub(crate) struct Walk {
    file: ColumnReader<u32>,
    fields: Vec<Lies>,
    /// Where the codes of each field of each row begin and end within the block. `[n, F]`
    spans: Vec<[u32; 2]>,
    /// Codes of the longest row so far, and room for what a row has at least.
    longest: usize,
    rows: Range<usize>,
}

impl Walk {
    /// Over the file that [`in_rows`] filled.
    pub(crate) fn open(path: &Path, recipe: &Recipe, rows: usize) -> Result<Self> {
        let fields = recipe.fields.iter().map(|field| match field.kind {
            _ if field.numbers() > 0 => Lies::Elsewhere,
            Kind::Sequence { .. } => Lies::Listed,
            _ => Lies::Alone,
        });
        let fields: Vec<Lies> = fields.collect();
        let longest = fields.len();
        Ok(Self { file: ColumnReader::open(path)?, fields, spans: Vec::new(), longest, rows: 0..rows })
    }

    /// The next rows.
    pub(crate) fn next(&mut self) -> Result<Option<Block<'_>>> {
        let rows = self.rows.start..self.rows.end.min(self.rows.start + BLOCK);
        self.rows.start = rows.end;
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
        Ok((!rows.is_empty()).then_some(Block { rows, fields: self.fields.len(), codes, spans: &self.spans }))
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
    codes: &'r [u32],
    spans: &'r [[u32; 2]],
}

impl<'r> Block<'r> {
    fn codes(&self, [start, end]: [u32; 2]) -> &'r [u32] {
        &self.codes[start as usize..end as usize]
    }

    /// The codes of a field in the row at a place of the block: one of a category, none of numbers, those of its list of a sequence.
    pub(crate) fn get(&self, place: usize, field: usize) -> &'r [u32] {
        self.codes(self.spans[place * self.fields + field])
    }

    /// The codes of a row, field after field.
    pub(crate) fn row(&self, place: usize) -> impl Iterator<Item = &'r [u32]> {
        self.spans[place * self.fields..][..self.fields].iter().map(|span| self.codes(*span))
    }
}
