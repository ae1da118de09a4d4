//! One walk over the coded rows, beside the one that encodes them.

use super::copies::Copies;
use super::days::Days;
use super::numbers::{histograms, moments};
use super::values::ValueFacts;
use super::{Facts, FieldCounts, FieldFacts, GroupFacts};
use crate::dataset::NO_LABEL;
use crate::dictionary::NULL;
use crate::encoding::{Encoding, number_places};
use crate::error::{Error, Result};
use crate::gather::CodedRows;
use crate::recipe::Recipe;
use crate::split::Split;
use crate::splitter::LEFT_OUT;
use crate::stop::StopFlag;
use crate::within::Spaces;

/// Counts everything.
///
/// # Errors
/// [`Error::Stopped`].
pub(crate) fn count(recipe: &Recipe, rows: &CodedRows, encoding: &Encoding, stop: &StopFlag) -> Result<Facts> {
    let (tasks, vocabulary) = (recipe.labels.len(), rows.vocabulary_of_fields());
    let mut fields = vec![[FieldCounts::default(); 3]; recipe.fields.len()];
    let mut marks: Vec<Vec<u8>> = encoding.ids.iter().map(|ids| vec![0; ids.len()]).collect();
    let (mut copies, mut days) = (Copies::default(), Days::new(&rows.times, tasks));
    let (spaces, mut masked, mut outside) = (Spaces::of(recipe), vec![0; tasks], vec![0; tasks]);
    let mut hashed = Vec::new();
    let mut walk = rows.walk_last(recipe)?;
    while let Some(block) = walk.next()? {
        if stop.is_set() {
            return Err(Error::Stopped);
        }
        let kept = block.rows.clone().enumerate().filter(|(_, row)| rows.splits[*row] != LEFT_OUT);
        let kept: Vec<(usize, usize)> = kept.collect();
        for ((f, counts), &v) in fields.iter_mut().enumerate().zip(&vocabulary) {
            for &(place, row) in &kept {
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
            for own in block.row(place) {
                hashed.push(own.len() as u32);
                hashed.extend_from_slice(own);
            }
            let raw = rows.labels.row(row);
            spaces.mask(raw, &mut masked);
            for ((outside, raw), masked) in outside.iter_mut().zip(raw).zip(&masked) {
                *outside += usize::from(*raw == 1 && *masked == NO_LABEL);
            }
            days.see(row, split, &masked);
            copies.see(hash(&mut hashed, rows, row, raw), split);
        }
    }
    let values = rows.vocabularies.iter().zip(&encoding.counts).zip(&marks);
    let values = values.map(|((coded, counts), marks)| {
        coded.dictionary.as_ref().map(|_| ValueFacts::of(counts, marks, coded.min_count as u64))
    });
    Ok(Facts {
        vocabularies: values.collect(),
        fields: with_numbers(recipe, fields, rows),
        groups: rows.groups.as_ref().map(|groups| count_groups(groups.values(), &rows.splits)),
        days: days.finish(),
        copies: copies.finish(),
        outside,
        untrained: rows.untrained,
        allow_leak: recipe.allow_leak.clone(),
    })
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

/// All that the recipe reads of a row, as one number. `hashed` holds the codes of its fields.
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
fn with_numbers(recipe: &Recipe, fields: Vec<[FieldCounts; 3]>, rows: &CodedRows) -> Vec<FieldFacts> {
    let (moments, mut histograms) = (moments(rows), histograms(rows));
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
    fn a_row_lacks_a_value_where_nothing_or_only_nulls_are_in_it() {
        let ids = [0, 9, 1, 9]; // padding, null, a known key, an unseen one
        let mut counts = FieldCounts::default();
        for codes in [&[2][..], &[NULL], &[3], &[], &[2, 3, 3]] {
            count_keys(&mut counts, codes, &ids);
        }
        assert_eq!(counts, FieldCounts { rows: 5, nulls: 2, values: 5, unseen: 3 });
    }
}
