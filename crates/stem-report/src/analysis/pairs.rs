//! XAUC: the share of pairs of rows with different labels that the scores put in order.
//!
//! ```text
//! XAUC = sum_ij w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / sum_ij w_i w_j      over i, j with y_i > y_j
//! ```
//!
//! Rows come by ascending score. A Fenwick tree over the different labels (Fenwick, 1994) holds the weights of the rows below, so that a
//! row finds in `log L` steps how much of them has a lower label. Sums of whole weights are exact up to `2^53` pairs.

use super::Sample;
use super::order::ascending;

/// Rows by ascending score, and those of one score by ascending label.
#[derive(Debug, Clone)]
pub(super) struct Pairs {
    groups: Vec<u32>,
    /// Which of the different labels a row has, counted from 0 in ascending order.
    levels: Vec<u32>,
    /// How many different labels there are.
    different: usize,
    /// Where several rows have one score: the first, and the one behind the last.
    ties: Vec<[u32; 2]>,
    weights: Option<Vec<f32>>,
}

impl Pairs {
    pub(super) fn new(sample: &Sample, scores: &[f32]) -> Self {
        let (of_places, different) = levels(sample);
        let mut rows = ascending((0..sample.len()).map(|place| (sample.score(scores, place), place as u32)));
        let mut ties = Vec::new();
        let mut start = 0;
        for run in rows.chunk_by_mut(|a, b| a.0 == b.0) {
            let end = start + run.len();
            if run.len() > 1 {
                run.sort_unstable_by_key(|(_, place)| of_places[*place as usize]);
                ties.push([start as u32, end as u32]);
            }
            start = end;
        }
        let places = || rows.iter().map(|(_, place)| *place as usize);
        Self {
            groups: places().map(|place| sample.marks()[place] >> 1).collect(),
            levels: places().map(|place| of_places[place]).collect(),
            different,
            ties,
            weights: sample.own_weights().map(|weights| places().map(|place| weights[place]).collect()),
        }
    }

    /// XAUC with every group as often as it is counted. `None` without two different labels.
    pub(super) fn in_order(&self, counts: &[u8]) -> Option<f64> {
        let of_row = |place: usize| self.weights.as_ref().map_or(1.0, |weights| f64::from(weights[place]));
        let weight = |place: usize| f64::from(counts[self.groups[place] as usize]) * of_row(place);
        let mut below = Fenwick(vec![0.0; self.different]);
        let mut of_level = vec![0.0; self.different];
        let mut won = 0.0;
        let mut ties = self.ties.iter().peekable();
        let mut start = 0;
        while start < self.levels.len() {
            let tie = ties.next_if(|[tie, _]| *tie as usize == start);
            let end = tie.map_or(start + 1, |[_, end]| *end as usize);
            let mut lower = [0.0, 0.0]; // of the rows of this score: those with a lower label, and with the same
            for place in start..end {
                let (level, weight) = (self.levels[place] as usize, weight(place));
                if place > start && self.levels[place - 1] != self.levels[place] {
                    lower = [lower[0] + lower[1], 0.0];
                }
                won += weight * (below.before(level) + lower[0] / 2.0);
                lower[1] += weight;
            }
            for place in start..end {
                let (level, weight) = (self.levels[place] as usize, weight(place));
                below.add(level, weight);
                of_level[level] += weight;
            }
            start = end;
        }
        // Pairs of different labels: every level with those below it.
        let (pairs, _) = of_level.iter().fold((0.0, 0.0), |(pairs, lower), own| (pairs + own * lower, lower + own));
        (pairs > 0.0).then(|| won / pairs)
    }
}

/// Which of the different labels each row has, and how many there are. -0 and 0 are one label.
fn levels(sample: &Sample) -> (Vec<u32>, usize) {
    let rows = ascending(sample.labels().zip(0u32..));
    let mut levels = vec![0; rows.len()];
    let mut different = 0;
    for run in rows.chunk_by(|a, b| a.0 == b.0) {
        run.iter().for_each(|(_, place)| levels[*place as usize] = different);
        different += 1;
    }
    (levels, different as usize)
}

/// Sums of weights over the first so many levels.
struct Fenwick(Vec<f64>);

impl Fenwick {
    fn add(&mut self, level: usize, weight: f64) {
        let mut node = level;
        while let Some(sum) = self.0.get_mut(node) {
            *sum += weight;
            node |= node + 1;
        }
    }

    /// Of the levels before one.
    fn before(&self, level: usize) -> f64 {
        let (mut behind, mut sum) = (level, 0.0);
        while behind > 0 {
            sum += self.0[behind - 1];
            behind &= behind - 1;
        }
        sum
    }
}
