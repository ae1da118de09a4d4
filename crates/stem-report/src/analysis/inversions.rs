//! XAUC of rows that all count once: how many pairs are in order, counted in whole numbers.
//!
//! ```text
//! XAUC = (I - T / 2) / P      I  pairs of a row and one behind it with a greater label, rows by ascending score, those of one score by ascending label
//!                             T  pairs of one score and different labels, each of which I has counted
//!                             P  pairs of different labels
//! ```
//!
//! Labels lie in stretches of neighbours. A pass over all rows counts the pairs of different stretches and gives each stretch its labels in the order of
//! their scores; a pass over a stretch, whose sums fit into a cache, counts those within. Labels are never sorted: the stretch is told by a label's first bits, and
//! which of a stretch's different labels it is by counting bits.

use rayon::prelude::*;

use super::order::ascending;

/// Rows that a stretch has at least, and bits that tell it. In tests, whose rows are few, there are several stretches too.
const ROWS: u32 = if cfg!(test) { 3 } else { 1 << 10 };
const BITS: u32 = if cfg!(test) { 4 } else { 16 };

/// XAUC of rows, scores and labels. `None` without two different labels.
pub(super) fn xauc(rows: impl Iterator<Item = (f32, f32)>) -> Option<f64> {
    let mut rows = ascending(rows.map(|(score, label)| (score + 0.0, label + 0.0))); // -0 and 0 are one score, and one label
    let tied = by_label_within_ties(&mut rows);
    let cells = Cells::of(&rows);
    let (mut counted, labels) = cells.among_stretches(&rows);
    let stretches: Vec<&[u32]> =
        cells.starts.windows(2).map(|ends| &labels[ends[0] as usize..ends[1] as usize]).collect();
    let within: Vec<[u64; 2]> = stretches.into_par_iter().map_init(Stretch::default, Stretch::count).collect();
    let mut alike = 0; // pairs of one label
    for [inside, same] in within {
        counted += inside;
        alike += same;
    }
    let pairs = pairs_of(rows.len() as u64) - alike;
    (pairs > 0).then(|| (2 * counted - tied) as f64 / 2.0 / pairs as f64)
}

/// `n (n - 1) / 2`
fn pairs_of(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

/// Brings rows of one score into the order of their labels; gives the pairs of one score and different labels.
fn by_label_within_ties(rows: &mut [(f32, f32)]) -> u64 {
    /// From so many on they are sorted as all rows are.
    const MANY: usize = 1 << 8;
    let mut tied = 0;
    for run in rows.chunk_by_mut(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
        if run.len() >= MANY {
            let by_label = ascending(run.iter().map(|(score, label)| (*label, *score)));
            run.iter_mut().zip(by_label).for_each(|(row, (label, _))| row.1 = label);
        } else {
            run.sort_by(|a, b| a.1.total_cmp(&b.1));
        }
        tied += pairs_of(run.len() as u64);
        tied -= run.chunk_by(|a, b| a.1 == b.1).map(|same| pairs_of(same.len() as u64)).sum::<u64>();
    }
    tied
}

/// The order of `f32::total_cmp` as that of whole numbers.
fn key(label: f32) -> u32 {
    let bits = label.to_bits();
    bits ^ (((bits as i32 >> 31) as u32) | 1 << 31)
}

/// Cells of labels, told by the first bits of their distance from the least, and the stretches that they are parts of.
struct Cells {
    least: u32,
    shift: u32,
    /// Which stretch each cell is a part of.
    stretches: Vec<u32>,
    /// Where each stretch starts among the labels by stretch, and where the last one ends.
    starts: Vec<u32>,
}

impl Cells {
    fn of(rows: &[(f32, f32)]) -> Self {
        let bounds = |(least, most): (u32, u32), row: &(f32, f32)| (least.min(key(row.1)), most.max(key(row.1)));
        let (least, most) = rows.iter().fold((u32::MAX, 0), bounds);
        let shift = (u32::BITS - most.saturating_sub(least).leading_zeros()).saturating_sub(BITS);
        let mut counts = vec![0u32; 1 << BITS];
        rows.iter().for_each(|row| counts[((key(row.1) - least) >> shift) as usize] += 1);
        let (mut starts, mut behind) = (vec![0u32], 0);
        let of_cell = |rows: u32| {
            if behind - starts[starts.len() - 1] >= ROWS {
                starts.push(behind);
            }
            behind += rows;
            starts.len() as u32 - 1
        };
        let stretches = counts.into_iter().map(of_cell).collect();
        starts.push(rows.len() as u32);
        Self { least, shift, stretches, starts }
    }

    /// The pairs in order whose labels are of different stretches, and the labels' keys stretch by stretch, in the order of the rows.
    fn among_stretches(&self, rows: &[(f32, f32)]) -> (u64, Vec<u32>) {
        let (mut next, mut labels) = (self.starts.clone(), vec![0; rows.len()]);
        let mut below = Fenwick::of(next.len());
        let mut counted = 0;
        for (_, label) in rows {
            let key = key(*label);
            let stretch = self.stretches[((key - self.least) >> self.shift) as usize] as usize;
            labels[next[stretch] as usize] = key;
            next[stretch] += 1;
            counted += u64::from(below.before(stretch));
            below.add(stretch);
        }
        (counted, labels)
    }
}

/// Memory for the count of a stretch, which the next takes again.
#[derive(Default)]
struct Stretch {
    numbers: Numbers,
    of_rows: Vec<u32>,
    below: Fenwick,
    of_label: Vec<u32>,
}

impl Stretch {
    /// Of the labels of a stretch, by their keys, the pairs in order, and those of one label.
    fn count(&mut self, keys: &[u32]) -> [u64; 2] {
        let different = self.numbers.of(keys, &mut self.of_rows);
        if different <= 1 {
            return [0, pairs_of(keys.len() as u64)];
        }
        self.below.clear(different);
        self.of_label.clear();
        self.of_label.resize(different, 0);
        let mut counted = 0;
        for &label in &self.of_rows {
            counted += u64::from(self.below.before(label as usize));
            self.below.add(label as usize);
            self.of_label[label as usize] += 1;
        }
        [counted, self.of_label.iter().map(|&rows| pairs_of(u64::from(rows))).sum()]
    }
}

/// Memory for the numbers of labels.
#[derive(Default)]
struct Numbers {
    /// A bit for each key from the least to the largest, and how many lie before those of each word.
    there: Vec<u64>,
    before: Vec<u32>,
    sorted: Vec<u32>,
}

impl Numbers {
    /// Numbers the different keys in ascending order, those of the rows into `numbers`; gives how many there are. Of a single one no numbers are given.
    fn of(&mut self, keys: &[u32], numbers: &mut Vec<u32>) -> usize {
        let (least, most) = keys.iter().fold((u32::MAX, 0), |(least, most), &key| (least.min(key), most.max(key)));
        if least >= most {
            return keys.len().min(1);
        }
        numbers.clear();
        let words = (most - least) as usize / 64 + 1;
        if words > 8 * keys.len() {
            self.sorted.clear(); // far apart: more bits to clear than labels to sort
            self.sorted.extend(keys);
            self.sorted.sort_unstable();
            self.sorted.dedup();
            let place = |key: &u32| self.sorted.partition_point(|other| other < key) as u32;
            numbers.extend(keys.iter().map(place));
            return self.sorted.len();
        }
        let place = |key: u32| (((key - least) / 64) as usize, (key - least) % 64);
        self.there.clear();
        self.there.resize(words, 0);
        for &key in keys {
            let (word, bit) = place(key);
            self.there[word] |= 1 << bit;
        }
        let mut different = 0;
        self.before.clear();
        self.before.extend(self.there.iter().map(|word| {
            different += word.count_ones();
            different - word.count_ones()
        }));
        numbers.extend(keys.iter().map(|&key| {
            let (word, bit) = place(key);
            self.before[word] + (self.there[word] & ((1 << bit) - 1)).count_ones()
        }));
        different as usize
    }
}

/// How many rows were added of the levels before one (Fenwick, 1994). The first level of all is by itself: often half of the rows are there (nothing was
/// watched), and in the tree each would take the longest way.
#[derive(Default)]
struct Fenwick {
    first: u32,
    others: Vec<u32>,
}

impl Fenwick {
    fn of(levels: usize) -> Self {
        let mut empty = Self::default();
        empty.clear(levels);
        empty
    }

    /// So many levels without rows.
    fn clear(&mut self, levels: usize) {
        self.first = 0;
        self.others.clear();
        self.others.resize(levels.saturating_sub(1), 0);
    }

    fn add(&mut self, level: usize) {
        let Some(mut node) = level.checked_sub(1) else {
            self.first += 1;
            return;
        };
        while let Some(count) = self.others.get_mut(node) {
            *count += 1;
            node |= node + 1;
        }
    }

    fn before(&self, level: usize) -> u32 {
        let Some(mut behind) = level.checked_sub(1) else { return 0 };
        let mut count = self.first;
        while behind > 0 {
            count += self.others[behind - 1];
            behind &= behind - 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By its definition, over all pairs.
    fn by_pairs(rows: &[(f32, f32)]) -> Option<f64> {
        let (mut won, mut pairs) = (0.0, 0u64);
        for (score, label) in rows {
            for (other_score, _) in rows.iter().filter(|(_, other)| other < label) {
                pairs += 1;
                won += if score > other_score {
                    1.0
                } else if score == other_score {
                    0.5
                } else {
                    0.0
                };
            }
        }
        (pairs > 0).then(|| won / pairs as f64)
    }

    /// Few values, so that many are alike; whole seconds; labels far apart and of both signs; or any bits that are a number.
    fn numbers() -> impl Strategy<Value = f32> {
        prop_oneof![
            prop::sample::select(vec![0.0, -0.0, 1.0, 2.5, f32::INFINITY, f32::MIN_POSITIVE]),
            (0u8..40).prop_map(f32::from),
            (-30i32..30).prop_map(|power| if power < 0 { -(2f32.powi(-power)) } else { 2f32.powi(power) }),
            any::<u32>().prop_map(f32::from_bits).prop_filter("a number", |number| !number.is_nan()),
        ]
    }

    proptest! {
        #[test]
        fn what_is_counted_by_stretches_is_the_share_of_the_pairs(
            rows in prop_oneof![
                prop::collection::vec((numbers(), numbers()), 0..120),
                prop::collection::vec(((0u8..3).prop_map(f32::from), numbers()), 0..400), // long ties
                prop::collection::vec((numbers(), (0u16..2000).prop_map(|label| 1e6 + f32::from(label))), 0..400),
            ],
        ) {
            let expected = by_pairs(&rows);
            prop_assert_eq!(xauc(rows.iter().copied()), expected);
        }
    }

    #[test]
    fn ties_of_any_length_count_half_and_rows_without_two_labels_have_no_value() {
        let all_of_one_score = (0..1000).map(|label| (0.5, label as f32));
        assert_eq!(xauc(all_of_one_score), Some(0.5));
        assert_eq!(xauc((0..1000).map(|score| (score as f32, 7.0))), None);
        assert_eq!(xauc((0..1000).map(|row| (row as f32, (row / 3) as f32))), Some(1.0));
        assert_eq!(xauc((0..1000).map(|row| (-row as f32, (row / 3) as f32))), Some(0.0));
        assert_eq!(xauc([].into_iter()), None);
    }
}
