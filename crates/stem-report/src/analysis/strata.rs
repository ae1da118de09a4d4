//! Comparable samples (Su et al., AAAI 2024): rows split by how much of a user's positive feedback belongs to which of two
//! tasks. Negative transfer that hides in all rows together shows in those of users with comparable feedback on both.
//!
//! ```text
//! share_u = positives_B / (positives_A + positives_B)              over u's rows in the training split
//!
//!  0 ------------ cut_0 ------------ cut_1 ------------ 1
//!     A-dominant          comparable       B-dominant
//! ```
//!
//! Where a third of the rows cannot be had so, because many users have one share (mostly 0), users are put in order by a smoothed
//! share instead, which knows how much a user gave:
//!
//! ```text
//! smoothed_u = (positives_B + mean_B) / (positives_A + positives_B + mean_A + mean_B)       means over users with a positive
//! ```
//!
//! Shares come from training rows, so that a test label never says which stratum measures it. Users without a positive have
//! no share, and their rows no stratum.
//!
//! ```
//! # use stem_report::analysis::{Shares, Stratum};
//! let (clicks, buys) = ([1.0, 1.0, 1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
//! let shares = Shares::of(&clicks, &buys, &[1, 1, 2, 3, 4, 4]);
//! assert_eq!((shares.get(1), shares.get(2), shares.get(3)), (Some(0.0), Some(0.5), None));
//! let strata = shares.cut(&[2, 1, 3, 2], [0.25, 0.75]);
//! assert_eq!(strata.rows_in(Stratum::Comparable), [0, 3]);
//! assert_eq!((strata.counts, strata.unassigned), ([1, 2, 0], 1));
//! ```

use std::collections::HashMap;

use crate::report::count;

/// A smaller part of the rows than one of this many is no third of them: users are put in order another way.
const TENTH: usize = 10;

/// Which task has most of a user's positives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stratum {
    /// Most are task A's: a share below the first cut.
    ADominant,
    /// Both have their part: a share from the first cut to the second.
    Comparable,
    /// Most are task B's: a share above the second cut.
    BDominant,
}

impl Stratum {
    /// All three, by ascending share.
    pub const ALL: [Stratum; 3] = [Stratum::ADominant, Stratum::Comparable, Stratum::BDominant];
}

/// Task B's share of the positives of each user that has any.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shares(HashMap<u32, [u32; 2]>); // positives of A and of B

/// The rows of a split by stratum.
#[derive(Debug, Clone, PartialEq)]
pub struct Strata {
    /// The stratum of each row; `None` where its user has no share.
    pub rows: Vec<Option<Stratum>>,
    /// Where the shares, or the smoothed ones, were cut. A share on a cut is comparable.
    pub cuts: [f64; 2],
    /// Rows of each stratum, in the order of [`Stratum::ALL`].
    pub counts: [usize; 3],
    /// Rows of users without a share.
    pub unassigned: usize,
    /// What a reader has to know where terciles of the share would not do: why, and how the rows were cut. `a` and `b` in it are a
    /// user's positives of task A and of task B.
    pub note: Option<String>,
}

impl Shares {
    /// Counts the positives of training rows by user. A missing label (NaN) is no positive.
    pub fn of<'a>(
        labels_a: impl IntoIterator<Item = &'a f32>,
        labels_b: impl IntoIterator<Item = &'a f32>,
        users: &[u32],
    ) -> Self {
        let mut positives: HashMap<u32, [u32; 2]> = HashMap::new();
        for ((&a, &b), &user) in labels_a.into_iter().zip(labels_b).zip(users) {
            if a > 0.5 || b > 0.5 {
                let [of_a, of_b] = positives.entry(user).or_default();
                *of_a += u32::from(a > 0.5);
                *of_b += u32::from(b > 0.5);
            }
        }
        Self(positives)
    }

    /// The share of a user; `None` without a positive.
    pub fn get(&self, user: u32) -> Option<f64> {
        self.0.get(&user).map(|&[a, b]| f64::from(b) / (f64::from(a) + f64::from(b)))
    }

    /// Positives of A and of B that a user has in the mean, of those with any.
    fn means(&self) -> [f64; 2] {
        let sum = |task: usize| self.0.values().map(|counts| u64::from(counts[task])).sum::<u64>();
        [0, 1].map(|task| sum(task) as f64 / self.0.len().max(1) as f64)
    }

    /// Splits rows (of the test split, by their users) so that each stratum has about a third of those with a share.
    ///
    /// A cut lies between two different shares, where it is nearest to the third, so that equal shares are never parted. Where
    /// many are equal, a stratum may be far from a third: shares of 0 and 1 are one task's alone and never comparable, and
    /// something is, if there is any other share.
    ///
    /// Where a stratum has less than a tenth of the rows so, they are split by the smoothed share, if that makes the smallest stratum
    /// larger; users with the same positives are still never parted. [`Strata::note`] tells of it.
    pub fn terciles(&self, users: &[u32]) -> Strata {
        let plain = self.thirds(users, |user| self.get(user));
        let smallest = |strata: &Strata| strata.counts.into_iter().min().unwrap_or(0);
        let rows: usize = plain.counts.iter().sum();
        if TENTH * smallest(&plain) >= rows {
            return plain;
        }
        let [mean_a, mean_b] = self.means();
        let smoothed = self.thirds(users, |user| {
            let [a, b] = self.0.get(&user)?.map(f64::from);
            // Rounded, so that what is equal but for the last digit is.
            Some(((b + mean_b) / (a + b + mean_a + mean_b) * 1e12).round() / 1e12)
        });
        let [first, second, third] = plain.counts.map(|rows| count(rows as u64));
        let parts = format!("{first}, {second} and {third} rows");
        if smallest(&smoothed) > smallest(&plain) {
            let ([low, high], all) = (smoothed.cuts, mean_a + mean_b);
            let note = format!(
                "Terciles of the share b / (a + b) would be parts of {parts}, because many users have the same share. So users are \
                 cut at {low:.4} and {high:.4} of a smoothed share, (b + {mean_b:.2}) / (a + b + {all:.2}), which adds what \
                 a user has in the mean to what each has: of users with the same share those with more feedback are further out."
            );
            return Strata { note: Some(note), ..smoothed };
        }
        let [low, high] = plain.cuts;
        let note = format!(
            "Cut at {low:.4} and {high:.4} of the share b / (a + b), into parts of {parts}: far from thirds, because many users \
             have the same positives, and such users are never parted."
        );
        Strata { note: Some(note), ..plain }
    }

    /// Splits rows at given cuts, the first not above the second.
    pub fn cut(&self, users: &[u32], cuts: [f64; 2]) -> Strata {
        split(users, cuts, |user| self.get(user))
    }

    /// Splits rows in three by any share of their users.
    fn thirds(&self, users: &[u32], share: impl Fn(u32) -> Option<f64>) -> Strata {
        let mut shares: Vec<f64> = users.iter().filter_map(|&user| share(user)).collect();
        shares.sort_unstable_by(f64::total_cmp);
        split(users, tercile_cuts(&shares), share)
    }
}

fn split(users: &[u32], cuts: [f64; 2], share: impl Fn(u32) -> Option<f64>) -> Strata {
    let stratum = |share: f64| match share {
        share if share < cuts[0] => Stratum::ADominant,
        share if share > cuts[1] => Stratum::BDominant,
        _ => Stratum::Comparable,
    };
    let rows: Vec<Option<Stratum>> = users.iter().map(|&user| share(user).map(stratum)).collect();
    let counts = Stratum::ALL.map(|stratum| rows.iter().filter(|row| **row == Some(stratum)).count());
    let unassigned = rows.len() - counts.iter().sum::<usize>();
    Strata { rows, cuts, counts, unassigned, note: None }
}

impl Strata {
    /// The rows of one stratum, ascending.
    pub fn rows_in(&self, stratum: Stratum) -> Vec<u32> {
        (0u32..).zip(&self.rows).filter(|(_, row)| **row == Some(stratum)).map(|(i, _)| i).collect()
    }
}

/// Cuts of ascending shares nearest to a third and two thirds of them, halfway between the shares on both sides.
fn tercile_cuts(shares: &[f64]) -> [f64; 2] {
    let within = |share: Option<&f64>| share.copied().filter(|share| *share > 0.0 && *share < 1.0);
    // How many shares lie below each possible cut, and the cut. An end is one only where that leaves 0 and 1 outside.
    let mut cuts: Vec<(usize, f64)> = within(shares.first()).map(|least| (0, least)).into_iter().collect();
    let mut below = 0;
    for pair in shares.windows(2) {
        below += 1;
        if pair[0] < pair[1] {
            cuts.push((below, pair[0].midpoint(pair[1])));
        }
    }
    cuts.extend(within(shares.last()).map(|most| (shares.len(), most)));
    let miss = |cut: usize, third: usize| (3 * cuts[cut].0).abs_diff(third * shares.len());
    let nearest = |third: usize| (0..cuts.len()).min_by_key(|&cut| miss(cut, third));
    let (Some(mut low), Some(mut high)) = (nearest(1), nearest(2)) else { return [0.5; 2] };
    if low == high {
        // Nothing would be comparable: one cut gives way, the one that loses less by it.
        let down = low.checked_sub(1).map(|cut| miss(cut, 1) - miss(low, 1));
        let up = (high + 1 < cuts.len()).then(|| miss(high + 1, 2) - miss(high, 2));
        match (down, up) {
            (Some(down), Some(up)) if down < up => low -= 1,
            (Some(_), None) => low -= 1,
            (_, Some(_)) => high += 1,
            (None, None) => {}
        }
    }
    [cuts[low].1, cuts[high].1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One training row for each positive, so that user `u` has the given numbers.
    fn shares(positives: &[[usize; 2]]) -> Shares {
        let rows = positives.iter().zip(0u32..).flat_map(|(&[a, b], user)| {
            let of_a = vec![(1.0, 0.0, user); a];
            of_a.into_iter().chain(vec![(f32::NAN, 1.0, user); b])
        });
        let rows: Vec<(f32, f32, u32)> = rows.collect();
        let column = |of: fn(&(f32, f32, u32)) -> f32| rows.iter().map(of).collect::<Vec<_>>();
        Shares::of(&column(|r| r.0), &column(|r| r.1), &rows.iter().map(|r| r.2).collect::<Vec<_>>())
    }

    #[test]
    fn terciles_hold_a_third_of_the_rows_each() {
        let shares = shares(&[[9, 1], [8, 2], [5, 5], [4, 6], [1, 9], [0, 3], [0, 0]]);
        let strata = shares.terciles(&[0, 1, 2, 3, 4, 5, 6, 6, 99]);
        assert_eq!((strata.counts, strata.unassigned), ([2, 2, 2], 3));
        assert_eq!(strata.rows_in(Stratum::ADominant), [0, 1]);
        assert_eq!(strata.rows_in(Stratum::BDominant), [4, 5]);
        let [low, high] = strata.cuts;
        assert!((low - 0.35).abs() < 1e-12 && (high - 0.75).abs() < 1e-12, "{low} {high}");
    }

    #[test]
    fn rows_weigh_not_users() {
        let shares = shares(&[[1, 0], [1, 1], [0, 1]]);
        assert_eq!(shares.terciles(&[0, 0, 1, 1, 2, 2]).counts, [2, 2, 2]);
        assert_eq!(shares.terciles(&[0, 1, 1, 1, 1, 2]).counts, [1, 4, 1]);
    }

    #[test]
    fn equal_shares_of_different_counts_are_one() {
        let shares = shares(&[[1, 2], [2, 4], [3, 6], [10, 20]]);
        let strata = shares.terciles(&[0, 1, 2, 3]);
        assert_eq!((strata.counts, strata.cuts), ([0, 4, 0], [2.0 / 3.0; 2]));
    }

    #[test]
    fn where_most_users_have_one_share_they_are_parted_by_how_much_they_gave() {
        // Forty users who give A alone, of 1 to 40 positives, and six who give B, too.
        let positives: Vec<[usize; 2]> = (1..=40).map(|a| [a, 0]).chain((1..=6).map(|b| [9, b])).collect();
        let shares = shares(&positives);
        let users: Vec<u32> = (0..46).collect();
        let strata = shares.terciles(&users);
        assert_eq!(strata.counts, [15, 16, 15]);
        // Of those who give A alone, the ones who give most of it are furthest out.
        assert!(strata.rows_in(Stratum::ADominant).iter().eq(&(25..40).collect::<Vec<u32>>()));
        assert!(strata.rows[40..].iter().all(|row| *row == Some(Stratum::BDominant)));
        let note = strata.note.unwrap();
        assert!(
            note.starts_with("Terciles of the share b / (a + b) would be parts of 40, 1 and 5 rows, because"),
            "{note}"
        );
        assert!(note.contains("(b + 0.46) / (a + b + 19.46)"), "{note}");
        assert_eq!(shares.cut(&users, [0.1, 0.2]).note, None);
    }

    #[test]
    fn users_with_the_same_positives_are_never_parted_and_that_is_said() {
        let strata = shares(&[[1, 0], [1, 1]]).terciles(&[vec![0; 40], vec![1; 2]].concat());
        assert_eq!(strata.counts, [40, 2, 0]);
        let note = strata.note.unwrap();
        assert!(note.contains("into parts of 40, 2 and 0 rows: far from thirds"), "{note}");
    }

    #[test]
    fn one_task_alone_is_never_comparable_and_any_other_share_is() {
        let shares = shares(&[[1, 0], [1, 1], [0, 1]]);
        let [many_a, many_b] = [[0; 9], [2; 9]].map(|many| [many.as_slice(), &[1, 2, 0]].concat());
        assert_eq!(shares.terciles(&many_a).counts, [10, 1, 1]);
        assert_eq!(shares.terciles(&many_b).counts, [1, 1, 10]);
        assert_eq!(shares.terciles(&[0, 0, 0, 0, 1]).counts, [4, 1, 0]);
        assert_eq!(shares.terciles(&[1, 2, 2, 2, 2]).counts, [0, 1, 4]);
        assert_eq!(shares.terciles(&[0, 0, 2]).counts, [2, 0, 1]);
        assert_eq!((shares.terciles(&[0]).counts, shares.terciles(&[2]).counts), ([1, 0, 0], [0, 0, 1]));
        assert_eq!(shares.terciles(&[1]).counts, [0, 1, 0]);
    }

    #[test]
    fn a_share_on_a_given_cut_is_comparable() {
        let strata = shares(&[[3, 1], [1, 1], [1, 3], [1, 0]]).cut(&[0, 1, 2, 3], [0.25, 0.75]);
        assert_eq!((strata.counts, strata.unassigned), ([1, 3, 0], 0));
    }

    #[test]
    fn rows_without_shares_leave_all_strata_empty() {
        let strata = Shares::default().terciles(&[1, 2]);
        assert_eq!((strata.counts, strata.unassigned), ([0; 3], 2));
        assert_eq!(shares(&[[1, 1]]).terciles(&[]).counts, [0; 3]);
    }

    proptest! {
        #[test]
        fn strata_ascend_by_share_and_part_no_equal_shares(
            positives in prop::collection::vec([0usize..5, 0usize..5], 1..12),
            users in prop::collection::vec(0u32..14, 0..60),
        ) {
            let shares = shares(&positives);
            let strata = shares.terciles(&users);
            prop_assert!(strata.cuts[0] <= strata.cuts[1]);
            prop_assert_eq!(strata.counts.iter().sum::<usize>() + strata.unassigned, users.len());
            // Users with the same positives are in one stratum, whatever they are cut by.
            let mut of: HashMap<[u32; 2], Option<Stratum>> = HashMap::new();
            for (user, row) in users.iter().zip(&strata.rows) {
                if let Some(&positives) = shares.0.get(user) {
                    prop_assert_eq!(of.entry(positives).or_insert(*row), row);
                }
            }
            let degenerate = strata.counts.iter().any(|&rows| 10 * rows < users.len() - strata.unassigned);
            prop_assert!(strata.note.is_some() || !degenerate);
            if strata.note.as_ref().is_some_and(|note| note.contains("smoothed")) {
                return Ok(());
            }
            let mut rows: Vec<(f64, Stratum)> =
                users.iter().zip(&strata.rows).filter_map(|(&user, row)| Some((shares.get(user)?, (*row)?))).collect();
            rows.sort_by(|a, b| a.0.total_cmp(&b.0));
            prop_assert!(rows.windows(2).all(|w| w[0].1 <= w[1].1 && (w[0].0 < w[1].0 || w[0].1 == w[1].1)));
            let alone = |share: f64| share == 0.0 || share == 1.0;
            prop_assert!(rows.iter().all(|&(share, row)| row != Stratum::Comparable || !alone(share)));
            prop_assert!(strata.counts[1] > 0 || rows.iter().all(|row| alone(row.0)));
            // No cut is off by more than twice the largest lot of equal shares.
            let largest = rows.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len).max().unwrap_or(0);
            for (third, below) in [(1, strata.counts[0]), (2, strata.counts[0] + strata.counts[1])] {
                prop_assert!((3 * below).abs_diff(third * rows.len()) <= 6 * largest, "{:?}", strata.counts);
            }
        }
    }
}
