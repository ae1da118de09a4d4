//! The coded rows of the ranks, on their way to rank 0: some rows at a time, the ranks one after the other, as if rank 0 had read all of them.

use std::collections::HashMap;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use super::Numbered;
use crate::codes::{Block, Codes};
use crate::columns::HEADER;
use crate::dictionary::FIRST;
use crate::error::Result;
use crate::gather::{CodedVocabulary, Gatherer, vocabulary_of_fields};
use crate::ranks::{Team, numbers};
use crate::recipe::{Kind, Recipe};
use crate::splitter::Seen;

/// Blocks of rows of a message.
const BLOCKS: usize = 8;
/// Columns of a part.
const COLUMNS: usize = 9;

/// What a rank says of its rows before they come.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) rows: usize,
    messages: usize,
    longest: Vec<usize>,
    /// Bytes of a row in each column; 0 of one that is not there.
    widths: [usize; COLUMNS],
    split: Seen,
    /// Newest times of labels that arrive late, by their bits.
    newest: Vec<u64>,
    /// Rows of each source.
    pub(super) sources: HashMap<String, u64>,
}

/// A column of a rank's rows, and the bytes of each.
enum Column {
    /// In a file, behind its header.
    File(Mmap, usize),
    Here(Vec<u8>, usize),
}

impl Column {
    fn width(&self) -> usize {
        let (Self::File(_, width) | Self::Here(_, width)) = self;
        *width
    }

    fn rows(&self, rows: std::ops::Range<usize>) -> &[u8] {
        let bytes = |width: &usize| rows.start * width..rows.end * width;
        match self {
            Self::File(map, width) => &map[HEADER..][bytes(width)],
            Self::Here(all, width) => &all[bytes(width)],
        }
    }
}

/// The rows of a rank that are to go to rank 0.
pub(super) struct Part {
    pub(super) rows: usize,
    pub(super) codes: Codes,
    pub(super) vocabularies: Vec<CodedVocabulary>,
    columns: [Column; COLUMNS],
}

impl Part {
    /// Of the rows that a rank has read.
    pub(super) fn of(
        own: Gatherer<'_>,
        numbered: &Numbered,
        sources: HashMap<String, u64>,
        messages: impl Fn(usize) -> usize,
    ) -> Result<(Self, Head)> {
        let Gatherer { rows, longest, vocabularies, splitter, mut maturity, mut files, .. } = own;
        let ([splits, order, users], split) = splitter.into_part(numbered.users.as_ref().map(|users| users.codes()));
        let newest = maturity.as_ref().map(|own| own.seen().iter().map(|time| time.to_bits()).collect());
        let file = |(map, width): (Mmap, usize)| Column::File(map, width);
        let here = |(bytes, width): (Vec<u8>, usize)| {
            if bytes.is_empty() { Column::Here(bytes, 0) } else { Column::Here(bytes, width) }
        };
        let groups = match &numbered.groups {
            Some(groups) => {
                let (map, _) = files.groups.written()?;
                let codes = numbers::<u32>(&map[HEADER..]);
                let codes: Vec<u32> =
                    codes.iter().map(|&code| groups.codes()[(code + FIRST) as usize] - FIRST).collect();
                (bytemuck::cast_slice(&codes).to_vec(), size_of::<u32>())
            }
            None => (Vec::new(), 0),
        };
        let columns = [
            file(files.numbers.written()?),
            file(files.labels.written()?),
            file(files.values.written()?),
            here(groups),
            file(files.weights.written()?),
            maturity.as_mut().map_or_else(|| Ok(here((vec![], 0))), |own| own.times().written().map(file))?,
            here(splits),
            here(order),
            here(users),
        ];
        let widths = columns.each_ref().map(Column::width);
        let newest = newest.unwrap_or_default();
        let head = Head { rows, messages: messages(rows), longest, widths, split, newest, sources };
        Ok((Self { rows, codes: files.codes.finish()?, vocabularies, columns }, head))
    }

    /// Sends all rows, message by message, when it is this rank's turn.
    pub(super) fn send(&self, ranks: &Team, recipe: &Recipe, numbered: &Numbered, heads: &[Head]) -> Result<()> {
        silent(ranks, &heads[..ranks.rank()]);
        let vocabulary = vocabulary_of_fields(&self.vocabularies, recipe.fields.len());
        let mut walk = self.codes.walk(recipe, self.rows)?;
        let (mut codes, mut from, mut sent, mut blocks) = (Vec::<u32>::new(), 0, 0, 0);
        let mut send = |codes: &mut Vec<u32>, rows: std::ops::Range<usize>| {
            let mut message = (codes.len() as u64).to_le_bytes().to_vec();
            message.extend_from_slice(bytemuck::cast_slice(codes));
            self.columns.iter().for_each(|column| message.extend_from_slice(column.rows(rows.clone())));
            message.splice(0..0, (rows.len() as u64).to_le_bytes());
            codes.clear();
            ranks.gather(message);
            sent += 1;
        };
        while let Some(block) = walk.next()? {
            add_codes(recipe, &block, &vocabulary, numbered, &mut codes);
            blocks += 1;
            let end = block.rows.end;
            if blocks % BLOCKS == 0 || end == self.rows {
                send(&mut codes, from..end);
                from = end;
            }
        }
        debug_assert_eq!(sent, heads[ranks.rank()].messages, "as many messages as were said");
        silent(ranks, &heads[ranks.rank() + 1..]);
        Ok(())
    }
}

/// Takes part in what others send rank 0.
fn silent(ranks: &Team, heads: &[Head]) {
    (0..heads.iter().map(|head| head.messages).sum()).for_each(|_| drop(ranks.gather(Vec::new())));
}

/// Messages of so many rows, of which a block has `block`.
pub(super) fn messages(rows: usize, block: usize) -> usize {
    rows.div_ceil(BLOCKS * block)
}

/// The codes over all ranks of a block, as they lie in a file of codes.
fn add_codes(recipe: &Recipe, block: &Block<'_>, vocabulary: &[usize], numbered: &Numbered, codes: &mut Vec<u32>) {
    for place in 0..block.rows.len() {
        for (f, field) in recipe.fields.iter().enumerate().filter(|(_, field)| field.numbers() == 0) {
            let own = block.get(place, f);
            if matches!(field.kind, Kind::Sequence { .. }) {
                codes.push(own.len() as u32);
            }
            match &numbered.vocabularies[vocabulary[f]] {
                Some(numbering) => codes.extend(own.iter().map(|&code| numbering.codes()[code as usize])),
                None => codes.extend_from_slice(own), // buckets are the same on all
            }
        }
    }
}

/// Adds the rows of all other ranks to those of rank 0.
pub(super) fn receive(ranks: &Team, own: &mut Gatherer<'_>, heads: Vec<Head>) -> Result<()> {
    for (rank, head) in heads.into_iter().enumerate().skip(1) {
        own.rows += head.rows;
        own.longest.iter_mut().zip(head.longest).for_each(|(own, other)| *own = other.max(*own));
        own.splitter.add(head.split);
        if let Some(maturity) = &mut own.maturity {
            maturity.add(&head.newest.iter().map(|bits| f64::from_bits(*bits)).collect::<Vec<_>>());
        }
        for _ in 0..head.messages {
            let message = ranks.gather(Vec::new()).swap_remove(rank);
            add_rows(own, &message, &head.widths)?;
        }
    }
    Ok(())
}

fn add_rows(own: &mut Gatherer<'_>, message: &[u8], widths: &[usize; COLUMNS]) -> Result<()> {
    let mut rest = message;
    let mut take = |bytes: usize| {
        let (taken, after) = rest.split_at(bytes);
        rest = after;
        taken
    };
    let [rows, codes] = [(); 2].map(|()| numbers::<u64>(take(8))[0] as usize);
    own.files.codes.write(&numbers::<u32>(take(codes * size_of::<u32>())))?;
    let [values, labels, targets, groups, weights, times, splits, order, users] =
        widths.map(|width| take(rows * width));
    own.files.numbers.append(values)?;
    own.files.labels.append(labels)?;
    own.files.values.append(targets)?;
    own.files.groups.append(groups)?;
    own.files.weights.append(weights)?;
    own.maturity.iter_mut().try_for_each(|maturity| maturity.times().append(times))?;
    own.splitter.add_rows([splits, order, users]);
    Ok(())
}
