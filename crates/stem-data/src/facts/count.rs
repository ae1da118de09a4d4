//! What is counted of the coded rows while they are encoded.

use super::copies::Copies;
use super::days::Days;
use super::numbers::{Histogram, Moments, histograms, moments};
use super::values::ValueFacts;
use super::{Facts, FieldCounts, FieldFacts, GroupFacts};
use crate::codes::Block;
use crate::dataset::NO_LABEL;
use crate::dictionary::{FIRST, NULL};
use crate::encoding::{Encoding, number_places};
use crate::gather::CodedRows;
use crate::recipe::{Kind, Recipe};
use crate::split::Split;
use crate::splitter::LEFT_OUT;
use crate::within::Spaces;

/// Counts everything about the rows that it sees.
pub(crate) struct Counter<'r> {
    recipe: &'r Recipe,
    rows: &'r CodedRows,
    encoding: &'r Encoding,
    /// The vocabulary of each field. `[F]`
    vocabulary: Vec<usize>,
    /// Whether what a field has in training is known already. `[F]`
    is_counted: Vec<bool>,
    fields: Vec<[FieldCounts; 3]>, // [F]
    /// For each vocabulary and each code the splits other than training that it occurs in, as bits.
    marks: Vec<Vec<u8>>,
    /// Training rows.
    trained: usize,
    /// Of each number; see [`moments`] and [`histograms`].
    moments: Vec<[Moments; 3]>,
    histograms: Vec<Option<Histogram>>,
    groups: Option<[GroupFacts; 3]>,
    copies: Copies,
    days: Days<'r>,
    spaces: Spaces,
    masked: Vec<u8>,     // [T]
    outside: Vec<usize>, // [T]
    hashed: Vec<u32>,
}

impl<'r> Counter<'r> {
    /// Looks at all numbers and groups at once; as its rows are [seen](Self::see) they may be forgotten.
    pub(crate) fn new(recipe: &'r Recipe, rows: &'r CodedRows, encoding: &'r Encoding) -> Self {
        let (tasks, vocabulary) = (recipe.labels.len(), rows.vocabulary_of_fields());
        let is_counted = vocabulary.iter().enumerate().map(|(f, &v)| is_counted(recipe, rows, f, v)).collect();
        Self {
            recipe,
            rows,
            encoding,
            vocabulary,
            is_counted,
            fields: vec![[FieldCounts::default(); 3]; recipe.fields.len()],
            marks: encoding.ids.iter().map(|ids| vec![0; ids.len()]).collect(),
            trained: 0,
            moments: moments(rows),
            histograms: histograms(rows),
            groups: rows.groups.as_ref().map(|groups| count_groups(groups.values(), &rows.splits)),
            copies: Copies::default(),
            days: Days::new(&rows.times, tasks),
            spaces: Spaces::of(recipe),
            masked: vec![0; tasks],
            outside: vec![0; tasks],
            hashed: Vec::new(),
        }
    }

    /// Counts the rows of a block.
    pub(crate) fn see(&mut self, block: &Block<'_>) {
        let Self { rows, encoding, vocabulary, marks, masked, outside, hashed, .. } = self;
        let kept = block.rows.clone().enumerate().filter(|(_, row)| rows.splits[*row] != LEFT_OUT);
        let kept: Vec<(usize, usize)> = kept.collect();
        let has_marks = encoding.marks.iter().any(Option::is_some);
        let others = kept.iter().copied().filter(|(_, row)| rows.splits[*row] != Split::Train as u8);
        let others: Vec<(usize, usize)> = others.collect();
        self.trained += kept.len() - others.len();
        for ((f, counts), &v) in self.fields.iter_mut().enumerate().zip(&*vocabulary) {
            for &(place, row) in if self.is_counted[f] { &others } else { &kept } {
                let (own, split) = (block.get(place, f), rows.splits[row]);
                count_keys(&mut counts[split as usize], own, &encoding.ids[v]);
                if split != Split::Train as u8 {
                    own.iter().for_each(|&code| marks[v][code as usize] |= 1 << split);
                }
            }
        }
        for (place, row) in kept {
            let split = rows.splits[row];
            hashed.clear();
            match has_marks {
                false => hashed.extend_from_slice(block.whole(place)),
                true => content(block, place, vocabulary, &encoding.marks, hashed),
            }
            let raw = rows.labels.row(row);
            self.spaces.mask(raw, masked);
            for ((outside, raw), masked) in outside.iter_mut().zip(raw).zip(&*masked) {
                *outside += usize::from(*raw == 1 && *masked == NO_LABEL);
            }
            self.days.see(row, split, masked);
            self.copies.see(hash(hashed, rows, row, raw), split);
        }
    }

    /// Once all rows have come.
    pub(crate) fn finish(self) -> Facts {
        let Self { recipe, rows, encoding, vocabulary, is_counted, mut fields, marks, trained, groups, .. } = self;
        for (f, counts) in fields.iter_mut().enumerate().filter(|(f, _)| is_counted[*f]) {
            let v = vocabulary[f];
            counts[Split::Train as usize] = of_training(trained, &encoding.counts[v], &encoding.ids[v]);
        }
        let values = rows.vocabularies.iter().zip(&encoding.counts).zip(&marks);
        let values = values.map(|((coded, counts), marks)| {
            coded.dictionary.as_ref().map(|_| ValueFacts::of(counts, marks, coded.min_count as u64))
        });
        Facts {
            vocabularies: values.collect(),
            fields: with_numbers(recipe, fields, &self.moments, self.histograms),
            groups,
            days: self.days.finish(),
            copies: self.copies.finish(),
            outside: self.outside,
            untrained: rows.untrained,
            allow_leak: recipe.allow_leak.clone(),
        }
    }
}

/// Whether the counts of a vocabulary are those of a field in training: it has no other, and a value in every row.
fn is_counted(recipe: &Recipe, rows: &CodedRows, field: usize, vocabulary: usize) -> bool {
    let coded = &rows.vocabularies[vocabulary];
    coded.dictionary.is_some() && coded.fields == [field] && !matches!(recipe.fields[field].kind, Kind::Sequence { .. })
}

/// What a field has in so many training rows, by how often each code occurs there.
fn of_training(rows: usize, counts: &[u64], ids: &[u32]) -> FieldCounts {
    let nulls = counts.get(NULL as usize).map_or(0, |&nulls| nulls as usize);
    let unseen_id = ids.get(NULL as usize); // the id of null is that of the unseen
    let keys = counts.iter().zip(ids).skip(FIRST as usize);
    let unseen: u64 = keys.filter(|(_, id)| Some(*id) == unseen_id).map(|(count, _)| count).sum();
    FieldCounts { rows, nulls, values: rows - nulls, unseen: unseen as usize }
}

/// The codes of one row of a field that has a vocabulary.
fn count_keys(counts: &mut FieldCounts, codes: &[u32], ids: &[u32]) {
    let unseen = ids.get(NULL as usize).copied(); // the id of null is that of the unseen
    counts.rows += 1;
    if let [code] = codes {
        let known = *code != NULL;
        counts.nulls += usize::from(!known);
        counts.values += usize::from(known);
        counts.unseen += usize::from(known && Some(ids[*code as usize]) == unseen);
        return;
    }
    let nulls = codes.iter().filter(|code| **code == NULL).count();
    counts.nulls += usize::from(codes.len() == nulls);
    counts.values += codes.len() - nulls;
    counts.unseen += codes.iter().filter(|code| Some(ids[**code as usize]) == unseen).count() - nulls;
}

/// What the fields of a row have, each with its length: marks in place of codes, where there are some.
fn content(block: &Block<'_>, place: usize, vocabulary: &[usize], marks: &[Option<Vec<u32>>], hashed: &mut Vec<u32>) {
    for (f, &v) in vocabulary.iter().enumerate() {
        let own = block.get(place, f);
        hashed.push(own.len() as u32);
        match &marks[v] {
            Some(marks) => hashed.extend(own.iter().map(|&code| marks[code as usize])),
            None => hashed.extend_from_slice(own),
        }
    }
}

/// All that the recipe reads of a row, as one number. `hashed` holds what its fields have.
fn hash(hashed: &mut Vec<u32>, rows: &CodedRows, row: usize, labels: &[u8]) -> u64 {
    let mut long = |bits: u64| hashed.extend([bits as u32, (bits >> 32) as u32]);
    rows.numbers.row(row).iter().for_each(|value| long(value.to_bits()));
    rows.times.order.get(row).iter().for_each(|time| long(**time as u64));
    hashed.extend(labels.iter().map(|label| u32::from(*label)));
    hashed.extend(rows.values.iter().flat_map(|values| values.row(row)).map(|value| value.to_bits()));
    hashed.extend(rows.groups.iter().map(|groups| groups.values()[row]));
    xxhash_rust::xxh3::xxh3_64(bytemuck::cast_slice(hashed))
}

/// The counts of all fields, those of numbers with their moments; a vector that is null is null in each of its numbers.
fn with_numbers(
    recipe: &Recipe,
    fields: Vec<[FieldCounts; 3]>,
    moments: &[[Moments; 3]],
    mut histograms: Vec<Option<Histogram>>,
) -> Vec<FieldFacts> {
    let all = fields.into_iter().zip(&recipe.fields).zip(number_places(recipe)).map(|((splits, field), place)| {
        let mut facts = FieldFacts { splits, ..FieldFacts::default() };
        if field.numbers() > 0 {
            for (counts, moments) in facts.splits.iter_mut().zip(&moments[place]) {
                (counts.values, counts.nulls) = (moments.n, counts.rows - moments.n);
            }
        }
        if field.numbers() == 1 {
            facts.numbers = moments[place].map(|moments| moments.facts());
            facts.histogram = histograms[place].take();
        }
        facts
    });
    all.collect()
}

fn count_groups(groups: &[u32], splits: &[u8]) -> [GroupFacts; 3] {
    let mut marks = vec![0u8; groups.iter().max().map_or(0, |&last| last as usize + 1)];
    let placed = || groups.iter().zip(splits).filter(|(_, split)| **split != LEFT_OUT);
    placed().for_each(|(&group, split)| marks[group as usize] |= 1 << split);
    let mut facts = [GroupFacts::default(); 3];
    for mark in &marks {
        for split in (0..3).filter(|split| mark & (1 << split) > 0) {
            facts[split].groups += 1;
            facts[split].trained += usize::from(mark & 1 > 0);
        }
    }
    placed().for_each(|(&group, &split)| facts[split as usize].rows += usize::from(marks[group as usize] & 1 > 0));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_held_against_those_of_training() {
        let found = count_groups(&[0, 0, 1, 1, 2, 3], &[0, 2, 2, 2, 0, LEFT_OUT]);
        let of = |groups, trained, rows| GroupFacts { groups, trained, rows };
        assert_eq!(found, [of(2, 2, 2), of(0, 0, 0), of(2, 1, 1)]);
    }

    #[test]
    fn counts_of_codes_tell_what_walking_the_rows_does() {
        let ids = [0, 9, 1, 9, 2]; // padding, null, a known key, an unseen one, another known one
        let codes = [2, NULL, 3, 2, 4, 3, NULL];
        let (mut walked, mut counts) = (FieldCounts::default(), [0; 5]);
        for code in codes {
            count_keys(&mut walked, &[code], &ids);
            counts[code as usize] += 1;
        }
        assert_eq!(of_training(codes.len(), &counts, &ids), walked);
    }

    #[test]
    fn a_row_lacks_a_value_where_nothing_or_only_nulls_are_in_it() {
        let ids = [0, 9, 1, 9]; // padding, null, a known key, an unseen one
        let mut counts = FieldCounts::default();
        for codes in [&[2][..], &[NULL], &[3], &[], &[2, 3, 3]] {
            count_keys(&mut counts, codes, &ids);
        }
        assert_eq!(counts, FieldCounts { rows: 5, nulls: 2, values: 5, unseen: 3 });
    }
}
