//! Part of the negatives, by chance: an epoch sees every row that is positive for some task, and of the others a share. Those count by as
//! much more, so that losses, and what a model learns to say, are those of all rows.

use crate::dataset::{Dataset, NO_LABEL};
use crate::random;
use crate::split::Split;

/// The rows of an epoch.
pub(crate) struct Sampled {
    /// A bit for every row: whether the epoch sees it, and whether it is positive.
    seen: Vec<u64>,
    positive: Vec<u64>,
    /// How much a negative row counts that is among them.
    weight: f32,
}

impl Sampled {
    /// Draws, of the rows without a positive label, exactly as many as `keep` says (selection sampling: Knuth, volume 2, algorithm S).
    pub(crate) fn draw(dataset: &Dataset, split: Split, keep: f64, (seed, epoch): (u64, u64)) -> Self {
        let negatives = dataset.rows(split) - dataset.positive_rows(split);
        let (mut wanted, mut left) = (kept_of(negatives, keep), negatives);
        let weight = if wanted > 0 { negatives as f32 / wanted as f32 } else { 1.0 };
        let mut random = random::stream(b"negative", seed, epoch);
        let mut seen = vec![0u64; dataset.rows(split).div_ceil(64)];
        let mut positive = seen.clone();
        for (row, is_positive) in is_positive(dataset, split).enumerate() {
            let is_kept = is_positive || {
                let is_drawn = random::unit(&mut random) * (left as f64) < wanted as f64;
                left -= 1;
                wanted -= usize::from(is_drawn);
                is_drawn
            };
            seen[row / 64] |= u64::from(is_kept) << (row % 64);
            positive[row / 64] |= u64::from(is_positive) << (row % 64);
        }
        Self { seen, positive, weight }
    }

    /// Whether the epoch sees the row.
    pub(crate) fn has(&self, row: usize) -> bool {
        bit(&self.seen, row)
    }

    /// How much a row counts that the epoch sees.
    pub(crate) fn weight(&self, row: usize) -> f32 {
        if bit(&self.positive, row) { 1.0 } else { self.weight }
    }
}

fn bit(bits: &[u64], row: usize) -> bool {
    bits[row / 64] >> (row % 64) & 1 == 1
}

fn kept_of(negatives: usize, keep: f64) -> usize {
    ((negatives as f64 * keep).round() as usize).max(1).min(negatives)
}

/// For every row whether some task's label is 1; labels that are numbers are not asked.
fn is_positive(dataset: &Dataset, split: Split) -> impl Iterator<Item = bool> {
    let (labels, first, stride) = dataset.strided_labels(split);
    debug_assert_ne!(NO_LABEL, 1);
    let binary: Vec<bool> = dataset.schema().tasks.iter().map(|task| task.kind.is_binary()).collect();
    labels
        .chunks_exact(stride.max(1))
        .map(move |row| row[first..].iter().zip(&binary).any(|(mark, of)| *of && *mark == 1))
}

impl Dataset {
    /// Rows of a split that are positive for some task whose label is 0 or 1.
    pub fn positive_rows(&self, split: Split) -> usize {
        *self.positives(split).get_or_init(|| is_positive(self, split).filter(|is_positive| *is_positive).count())
    }

    /// Rows of a split that an epoch sees of which a share of the negatives is kept.
    pub fn rows_kept(&self, split: Split, keep: Option<f64>) -> usize {
        let (rows, Some(keep)) = (self.rows(split), keep) else { return self.rows(split) };
        let positives = self.positive_rows(split);
        positives + kept_of(rows - positives, keep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchPlan, EpochRows, PrepareOptions, Recipe, prepare};

    fn sampled() -> EpochRows {
        EpochRows { keep: Some(0.25), ..EpochRows::default() }
    }

    /// 1000 rows, of which every tenth is positive for `a`, every 25th for `b`.
    fn dataset(folder: &std::path::Path) -> Dataset {
        let row = |i: usize| format!("{i},{},{}\n", u8::from(i.is_multiple_of(10)), u8::from(i.is_multiple_of(25)));
        let log: String = (0..1000).map(row).collect();
        std::fs::write(folder.join("log.csv"), format!("item,a,b\n{log}")).unwrap();
        let recipe = r#"
            name = "tiny"
            source = [{ name = "log", file = "log.csv" }]
            field = [{ column = "item", kind = "category" }]
            label = [{ column = "a" }, { column = "b" }]
            split = { kind = "random", valid = 0.0, test = 0.0 }
        "#;
        let recipe = Recipe::parse(recipe, "recipe.toml").unwrap();
        prepare(&recipe, folder, &folder.join("columns"), &PrepareOptions::default()).unwrap()
    }

    #[test]
    fn an_epoch_has_all_positives_and_exactly_a_share_of_the_others_that_count_by_as_much_more() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = dataset(folder.path());
        assert_eq!(dataset.positive_rows(Split::Train), 120, "100, and 25, 75, 125 ... which are positive for b alone");
        assert_eq!(dataset.only_task(1).positive_rows(Split::Train), 40);
        assert_eq!(dataset.rows_kept(Split::Train, Some(0.25)), 120 + 220);
        let epoch = |epoch| {
            let plan = BatchPlan { size: 64, shuffle: Some((7, epoch)) };
            let batches = dataset.batches_of(Split::Train, plan, 0, sampled());
            assert_eq!(batches.len(), 340usize.div_ceil(64));
            let mut rows: Vec<(u32, bool, f32)> = Vec::new();
            for batch in batches {
                let labels = batch.labels.chunks_exact(2).map(|row| row.contains(&1.0));
                let of_batch = batch.ids.iter().zip(labels).zip(&batch.row_weights);
                rows.extend(of_batch.map(|((id, is_positive), weight)| (*id, is_positive, *weight)));
            }
            rows
        };
        let (first, second) = (epoch(1), epoch(2));
        for rows in [&first, &second] {
            assert_eq!((rows.len(), rows.iter().filter(|row| row.1).count()), (340, 120));
            assert!(rows.iter().all(|row| row.2 == if row.1 { 1.0 } else { 4.0 }));
            let counts: f32 = rows.iter().map(|row| row.2).sum();
            assert_eq!(counts, 1000.0, "as all rows");
            let mut ids: Vec<u32> = rows.iter().map(|row| row.0).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 340, "each once");
        }
        assert_eq!(first, epoch(1), "the same seed and epoch, the same rows");
        let negatives = |rows: &[(u32, bool, f32)]| -> std::collections::BTreeSet<u32> {
            rows.iter().filter(|row| !row.1).map(|row| row.0).collect()
        };
        let both = negatives(&first).intersection(&negatives(&second)).count();
        assert!((35..80).contains(&both), "a quarter of 220 by chance: {both}");
        let plan = BatchPlan { size: 64, shuffle: Some((7, 1)) };
        let rest: Vec<_> = dataset.batches_of(Split::Train, plan, 2, sampled()).collect();
        let all: Vec<_> = dataset.batches_of(Split::Train, plan, 0, sampled()).collect();
        assert_eq!(rest, all[2..], "gone on with in the middle");
    }
}
