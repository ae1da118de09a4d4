//! How often the values of a vocabulary occur in training.

use serde::{Deserialize, Serialize};

use crate::dictionary::FIRST;

/// The values of a vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValueFacts {
    /// Values that the vocabulary knows.
    pub known: usize,
    /// Values in training that occur too rarely to be known (`min_count`).
    pub left_out: usize,
    /// How often they occur, all together.
    pub left_out_occurrences: u64,
    /// How many of the most frequent values make half of all occurrences.
    pub half: usize,
    /// Values that occur once; twice or three times; four to seven times; and so on.
    pub bins: Vec<CountBin>,
    /// Different values in each split.
    pub distinct: [usize; 3],
    /// Those of them that are in training too.
    pub trained: [usize; 3],
}

/// Values that occur about equally often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CountBin {
    /// How many.
    pub values: usize,
    /// How often they occur, all together.
    pub occurrences: u64,
}

impl ValueFacts {
    /// From how often each code occurs in training, and the splits other than training that it occurs in, as bits.
    pub(super) fn of(counts: &[u64], marks: &[u8], least: u64) -> Self {
        let keys = counts.get(FIRST as usize..).unwrap_or_default();
        let marks = marks.get(FIRST as usize..).unwrap_or_default();
        let mut facts = Self::default();
        for &count in keys.iter().filter(|count| **count > 0) {
            let bin = count.ilog2() as usize;
            if facts.bins.len() <= bin {
                facts.bins.resize(bin + 1, CountBin::default());
            }
            facts.bins[bin].values += 1;
            facts.bins[bin].occurrences += count;
            if count < least {
                facts.left_out += 1;
                facts.left_out_occurrences += count;
            }
        }
        facts.distinct[0] = facts.bins.iter().map(|bin| bin.values).sum();
        facts.trained[0] = facts.distinct[0];
        facts.known = facts.distinct[0] - facts.left_out;
        for (&count, &mark) in keys.iter().zip(marks).filter(|(_, mark)| **mark > 0) {
            for split in [1, 2].into_iter().filter(|split| mark & (1 << split) > 0) {
                facts.distinct[split] += 1;
                facts.trained[split] += usize::from(count > 0);
            }
        }
        facts.half = half(keys, &facts.bins);
        facts
    }
}

/// How many of the largest counts make half of their sum. Only the bin in which half is reached is sorted.
fn half(counts: &[u64], bins: &[CountBin]) -> usize {
    let wanted = bins.iter().map(|bin| bin.occurrences).sum::<u64>().div_ceil(2);
    let (mut values, mut sum) = (0, 0);
    for (bin, found) in bins.iter().enumerate().rev() {
        if sum + found.occurrences < wanted {
            values += found.values;
            sum += found.occurrences;
            continue;
        }
        let mut here: Vec<u64> = counts.iter().copied().filter(|c| *c > 0 && c.ilog2() as usize == bin).collect();
        here.sort_unstable_by(|a, b| b.cmp(a));
        for count in here {
            if sum >= wanted {
                break;
            }
            values += 1;
            sum += count;
        }
        break;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_binned_by_powers_of_two_and_what_is_rare_is_told() {
        // padding, null, then five keys of which one is only in validation and one in test and training
        let facts = ValueFacts::of(&[9, 9, 1, 3, 10, 0, 2], &[0, 0, 0, 0, 4, 2, 0], 3);
        let bin = |values, occurrences| CountBin { values, occurrences };
        assert_eq!(facts.bins, [bin(1, 1), bin(2, 5), bin(0, 0), bin(1, 10)]);
        assert_eq!((facts.known, facts.left_out, facts.left_out_occurrences), (2, 2, 3));
        assert_eq!((facts.distinct, facts.trained), ([4, 1, 1], [4, 0, 1]));
        assert_eq!(facts.half, 1);
    }

    #[test]
    fn half_of_the_occurrences_is_counted_from_the_most_frequent_value() {
        let half = |counts: &[u64]| ValueFacts::of(&[&[0, 0], counts].concat(), &[], 1).half;
        assert_eq!(half(&[5, 5, 5, 5]), 2);
        assert_eq!(half(&[1, 1, 1, 1, 1, 1, 6, 7]), 2);
        assert_eq!(half(&[100, 1, 1]), 1);
        assert_eq!(half(&[]), 0);
    }
}
