//! The row of the unseen is what every new key reads when a model scores. It is trained by showing some keys as unseen, rare ones above all.

use stem_core::{Batch, Schema};
use stem_data::{BatchPlan, Dataset, Split};

use crate::counts::{Occurrences, RowCounts};
use crate::error::Result;

/// Shows the occurrences of keys as unseen, each with the probability `share / (share + n)`, `n` the occurrences of the key in training
/// (word dropout; Kiperwasser and Goldberg 2016, arXiv 1603.04351).
pub(crate) struct Unseen {
    share: f64,
    counts: Occurrences,
    /// Of each vocabulary: the rows of its keys, and the row of the unseen; `None` where every key has a row.
    keys: Vec<Option<(std::ops::Range<u32>, u32)>>,
}

impl Unseen {
    /// Counts the keys of the training rows; `None` where none is to be shown as unseen.
    ///
    /// # Errors
    /// Batches that do not fit the schema.
    pub(crate) fn new(share: f64, dataset: &Dataset) -> Result<Option<Self>> {
        if share <= 0.0 {
            return Ok(None);
        }
        let schema = dataset.schema();
        let batches = dataset.batches(Split::Train, BatchPlan { size: 1 << 14, shuffle: None });
        Ok(Some(Self { share, counts: RowCounts::of(schema, batches)?.settled(), keys: keys(schema) }))
    }

    /// Changes the ids of a batch, or of a part of one from its row `first` on; which, is decided by `seed`.
    pub(crate) fn show(&self, batch: &mut Batch, first: usize, seed: u64) {
        let slots = batch.ids.len() / batch.rows.max(1);
        for (slot, id) in (first * slots..).zip(&mut batch.ids) {
            let Some((keys, unseen)) = &self.keys[self.counts.vocabulary(*id)] else { continue };
            if !keys.contains(id) {
                continue;
            }
            if unit(seed, slot as u64) < probability(self.share, self.counts.of(*id)) {
                *id = *unseen;
            }
        }
    }
}

/// The occurrences as a training with this share sees them in the mean.
pub(crate) fn as_shown(mut counts: RowCounts, share: f64, schema: &Schema) -> RowCounts {
    if share > 0.0 {
        for (keys, unseen) in keys(schema).into_iter().flatten() {
            counts.show_as(keys, unseen, |n| probability(share, n));
        }
    }
    counts
}

fn probability(share: f64, occurrences: u32) -> f64 {
    share / (share + f64::from(occurrences))
}

fn keys(schema: &Schema) -> Vec<Option<(std::ops::Range<u32>, u32)>> {
    let has_keys = |v: usize| {
        let mut fields = schema.fields.iter().filter(|field| field.vocabulary == v);
        schema.vocabularies[v].hashed.is_none() && fields.all(|field| field.kind.has_keys())
    };
    let of = |(v, start): (usize, u32)| {
        let unseen = start + schema.vocabularies[v].rows as u32 - 1;
        has_keys(v).then_some((start + 1..unseen, unseen))
    };
    schema.offsets().into_iter().enumerate().map(of).collect()
}

/// A number in `[0, 1)` for a slot (the finalizer of SplitMix64).
fn unit(seed: u64, slot: u64) -> f64 {
    (crate::training::mixed(seed ^ slot.wrapping_mul(0xd6e8_feb8_6659_fd93)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::{Field, Task, VocabularySpec};

    #[test]
    fn rare_keys_are_shown_as_unseen_more_often_than_others_and_nothing_else_is() {
        let fields = vec![Field::category("user", 0), Field::number("age", 1)];
        let vocabularies = vec![VocabularySpec::new("user", 4), VocabularySpec::new("age", 1)];
        let schema = Schema::new(fields, vocabularies, vec![Task::new("a")]);
        // key 1 once, key 2 in all other rows; the unseen is row 3, the number's row 4
        let ids: Vec<u32> = (0..1000).flat_map(|row| [if row == 0 { 1 } else { 2 }, 4]).collect();
        let batch = Batch::new(1000, ids, vec![1.0; 2000]);
        let counts = RowCounts::of(&schema, [batch.clone().with_labels(vec![0.0; 1000])]).unwrap();
        let unseen = Unseen { share: 1.0, counts: counts.settled(), keys: keys(&schema) };
        let (mut rare, mut frequent) = (0, 0);
        for seed in 0..400 {
            let mut shown = batch.clone();
            unseen.show(&mut shown, 0, crate::training::mixed(seed));
            assert!(shown.ids.iter().skip(1).step_by(2).all(|&id| id == 4), "a number's row stays");
            rare += usize::from(shown.ids[0] == 3);
            frequent += shown.ids[2..].iter().filter(|&&id| id == 3).count();
        }
        assert!((150..250).contains(&rare), "half of 400 times: {rare}");
        assert!((250..550).contains(&frequent), "once a batch of 999: {frequent}");
    }
}
