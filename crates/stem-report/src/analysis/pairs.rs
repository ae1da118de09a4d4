//! XAUC: the share of pairs of rows with different labels that the scores put in order.
//!
//! ```text
//! XAUC = sum_ij w_i w_j ([s_i > s_j] + [s_i = s_j] / 2) / sum_ij w_i w_j      over i, j with y_i > y_j
//! ```
//!
//! Rows come by ascending score. A row asks how much of the rows below has a lower label, which a Fenwick tree over the different labels (Fenwick,
//! 1994) tells in `log L` steps. The tree of many labels does not fit into a cache: labels lie in stretches, a tree tells of the stretches
//! before a row's own, and one of each stretch of the labels within, for which rows lie by stretch. Sums of whole weights are exact up to
//! `2^53` pairs.

use rayon::prelude::*;

use super::Sample;
use super::order::ascending;

/// Labels in a stretch, as a power of two: their tree takes 8 KiB. In tests, whose rows are few, there are several stretches too.
const STRETCH: u32 = if cfg!(test) { 2 } else { 10 };

/// Rows by ascending score, and those of one score by ascending label.
#[derive(Debug, Clone)]
pub(super) struct Pairs {
    rows: Vec<Row>,
    /// How many different labels there are.
    different: usize,
    /// Where several rows have one score: the first, and the one behind the last.
    ties: Vec<[u32; 2]>,
    weights: Option<Vec<f32>>,
    /// The same rows stretch by stretch.
    by_stretch: Vec<Row>,
    weights_by_stretch: Option<Vec<f32>>,
    /// Where each stretch starts among them, and where the last one ends.
    starts: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    group: u32,
    /// Twice which of the different labels it has, counted from 0 in ascending order; among rows by stretch 1 more where its score is
    /// not that of the row before.
    label: u32,
}

impl Row {
    fn label(self) -> usize {
        (self.label >> 1) as usize
    }

    fn stretch(self) -> usize {
        self.label() >> STRETCH
    }

    /// Its label, counted within its stretch.
    fn within(self) -> usize {
        self.label() & ((1 << STRETCH) - 1)
    }
}

impl Pairs {
    pub(super) fn new(sample: &Sample, scores: &[f32]) -> Self {
        let score = |place: usize| sample.score(scores, place);
        let (rows, weights, ties, different) = match sample.own_weights() {
            None => {
                let Sorted { rows, ties, different, .. } = sorted(sample, score, |_| ());
                (rows, None, ties, different)
            }
            Some(weights) => {
                let Sorted { rows, weights, ties, different } = sorted(sample, score, |place| weights[place]);
                (rows, Some(weights), ties, different)
            }
        };
        let mut pairs = Self {
            different,
            ties,
            weights,
            by_stretch: Vec::new(),
            weights_by_stretch: None,
            starts: Vec::new(),
            rows,
        };
        pairs.part();
        pairs
    }

    /// Puts the rows into their stretches, each by ascending score.
    fn part(&mut self) {
        let stretches = (self.different >> STRETCH) + 1;
        let mut starts = vec![0u32; stretches + 1];
        self.rows.iter().for_each(|row| starts[row.stretch() + 1] += 1);
        (0..stretches).for_each(|stretch| starts[stretch + 1] += starts[stretch]);
        let mut next = starts.clone();
        let mut last = vec![u32::MAX; stretches]; // the run of the stretch's latest row
        self.by_stretch = self.rows.clone();
        self.weights_by_stretch = self.weights.clone();
        let mut ties = self.ties.iter().peekable();
        let mut run = 0;
        for (place, row) in self.rows.iter().enumerate() {
            while ties.peek().is_some_and(|[_, end]| *end as usize <= place) {
                ties.next();
            }
            let in_tie = ties.peek().is_some_and(|[start, _]| (*start as usize) < place);
            run += u32::from(!in_tie);
            let stretch = row.stretch();
            let to = next[stretch] as usize;
            next[stretch] += 1;
            self.by_stretch[to] = Row { label: row.label | u32::from(last[stretch] != run), ..*row };
            if let (Some(to_weights), Some(weights)) = (&mut self.weights_by_stretch, &self.weights) {
                to_weights[to] = weights[place];
            }
            last[stretch] = run;
        }
        self.starts = starts;
    }

    /// XAUC with every group as often as it is counted. `None` without two different labels.
    pub(super) fn in_order(&self, counts: &[u8]) -> Option<f64> {
        let weight = |row: &Row, weights: &Option<Vec<f32>>, place: usize| {
            f64::from(counts[row.group as usize]) * weights.as_ref().map_or(1.0, |weights| f64::from(weights[place]))
        };
        let within = |stretch: &[u32]| {
            let (first, behind) = (stretch[0] as usize, stretch[1] as usize);
            let places = first..behind;
            self.within(first, &self.by_stretch[places.clone()], &|place, row| {
                weight(row, &self.weights_by_stretch, place)
            })
        };
        let (mut won, found): (f64, Vec<Within>) = rayon::join(
            || self.among_stretches(&|place, row| weight(row, &self.weights, place)),
            || self.starts.par_windows(2).map(within).collect(),
        );
        // Pairs of different labels: every label with those below it.
        let (mut pairs, mut lower) = (0.0, 0.0);
        for stretch in found {
            won += stretch.won;
            pairs += stretch.pairs + stretch.weight * lower;
            lower += stretch.weight;
        }
        (pairs > 0.0).then(|| won / pairs)
    }

    /// What rows win against those of the stretches before their own, and half of what they have against rows of their score.
    fn among_stretches(&self, weight: &impl Fn(usize, &Row) -> f64) -> f64 {
        let mut below = Fenwick::of(self.starts.len());
        let (mut won, mut start) = (0.0, 0);
        for &[tie, end] in self.ties.iter().chain([&[self.rows.len() as u32; 2]]) {
            for (place, row) in (start..).zip(&self.rows[start..tie as usize]) {
                let (stretch, weight) = (row.stretch(), weight(place, row));
                won += weight * below.before(stretch);
                below.add(stretch, weight);
            }
            let tied = || (tie as usize..).zip(&self.rows[tie as usize..end as usize]);
            let mut lower = [0.0, 0.0]; // of the rows of this score: those with a lower label, and with the same
            for (place, row) in tied() {
                let weight = weight(place, row);
                if place > tie as usize && self.rows[place - 1].label != row.label {
                    lower = [lower[0] + lower[1], 0.0];
                }
                won += weight * (below.before(row.stretch()) + lower[0] / 2.0);
                lower[1] += weight;
            }
            tied().for_each(|(place, row)| below.add(row.stretch(), weight(place, row)));
            start = end as usize;
        }
        won
    }

    /// What the rows of a stretch win against each other.
    fn within(&self, first: usize, rows: &[Row], weight: &(impl Fn(usize, &Row) -> f64 + Sync)) -> Within {
        let size = (1 << STRETCH).min(self.different);
        let mut below = Fenwick::of(size);
        let mut of_label = vec![0.0; size];
        let (mut won, mut start) = (0.0, 0);
        while start < rows.len() {
            let more = rows[start + 1..].iter().take_while(|row| row.label & 1 == 0).count();
            let end = start + 1 + more;
            let of_score = || (first + start..).zip(&rows[start..end]);
            for (place, row) in of_score() {
                won += weight(place, row) * below.before(row.within());
            }
            for (place, row) in of_score() {
                let weight = weight(place, row);
                below.add(row.within(), weight);
                of_label[row.within()] += weight;
            }
            start = end;
        }
        let (pairs, weight) =
            of_label.iter().fold((0.0, 0.0), |(pairs, lower), own| (pairs + own * lower, lower + own));
        Within { won, pairs, weight }
    }
}

/// Of the rows of a stretch: what they win against each other, pairs of different labels, and their weight.
struct Within {
    won: f64,
    pairs: f64,
    weight: f64,
}

/// Rows by ascending score, those of one score by ascending label.
struct Sorted<W> {
    rows: Vec<Row>,
    weights: Vec<W>,
    ties: Vec<[u32; 2]>,
    different: usize,
}

/// Sorts by label, counts the labels, and sorts by score what is in that order already. All that belongs to a row goes with it, so that nothing is looked
/// up at a place that only the order tells. -0 and 0 are one label, and one score.
fn sorted<W: Copy + Send>(sample: &Sample, score: impl Fn(usize) -> f32, weight: impl Fn(usize) -> W) -> Sorted<W> {
    let of_place = |(place, label): (usize, f32)| {
        let group = sample.marks()[place] >> 1;
        (label, (score(place) + 0.0, group, weight(place)))
    };
    let by_label = ascending(sample.labels().enumerate().map(of_place));
    let (mut different, mut last) = (0, None);
    let by_label = by_label.into_iter().map(|(label, (score, group, weight))| {
        different += u32::from(last != Some(label));
        last = Some(label);
        (score, (Row { group, label: (different - 1) << 1 }, weight))
    });
    let by_score = ascending(by_label);
    let (mut ties, mut start) = (Vec::new(), 0);
    for run in by_score.chunk_by(|a, b| a.0 == b.0) {
        let end = start + run.len();
        if run.len() > 1 {
            ties.push([start as u32, end as u32]);
        }
        start = end;
    }
    let weights = by_score.iter().map(|(_, (_, weight))| *weight).collect();
    let rows = by_score.into_iter().map(|(_, (row, _))| row).collect();
    Sorted { rows, weights, ties, different: different as usize }
}

/// Sums of weights over the first so many levels. The first level of all is by itself: often half of the rows are there (nothing was watched), and
/// in the tree each would take the longest way.
struct Fenwick {
    first: f64,
    others: Vec<f64>,
}

impl Fenwick {
    /// Of so many levels, at least one.
    fn of(levels: usize) -> Self {
        Self { first: 0.0, others: vec![0.0; levels.saturating_sub(1)] }
    }

    fn add(&mut self, level: usize, weight: f64) {
        let Some(mut node) = level.checked_sub(1) else {
            self.first += weight;
            return;
        };
        while let Some(sum) = self.others.get_mut(node) {
            *sum += weight;
            node |= node + 1;
        }
    }

    /// Of the levels before one.
    fn before(&self, level: usize) -> f64 {
        let Some(mut behind) = level.checked_sub(1) else { return 0.0 };
        let mut sum = self.first;
        while behind > 0 {
            sum += self.others[behind - 1];
            behind &= behind - 1;
        }
        sum
    }
}
