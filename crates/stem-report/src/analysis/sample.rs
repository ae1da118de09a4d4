//! The rows that models are compared on.

use std::collections::HashMap;
use std::sync::Arc;

use super::LabelKind;

/// The rows of a comparison: those with a label, of one stratum or all. Scores of every model are ranked on the same rows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sample {
    kind: LabelKind,
    /// The row of each, as in the scores.
    rows: Arc<Vec<u32>>,
    /// `2 * group + 1` of a positive, `2 * group` of another; groups are counted from 0 in the order of their first row.
    marks: Arc<Vec<u32>>,
    /// What they are labelled with, where that is not told by the mark.
    values: Option<Arc<Vec<f32>>>,
    groups: usize,
    /// How much each row counts, where they count differently.
    weights: Option<Arc<Vec<f32>>>,
}

impl Sample {
    /// Labels 0 and 1 (NaN is missing) and users of all rows, and which rows to take: all by default.
    ///
    /// A user is any number. Where rows belong to nobody, let each be its own group: `0..N`.
    ///
    /// # Panics
    /// When the slices differ in length, a row is not there, or there are 2^31 rows or more.
    pub fn new(labels: &[f32], groups: &[u32], rows: Option<&[u32]>) -> Self {
        Self::of(LabelKind::Binary, labels, Some(groups), rows)
    }

    /// The same with labels that are numbers.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn values(labels: &[f32], groups: &[u32], rows: Option<&[u32]>) -> Self {
        Self::of(LabelKind::Value, labels, Some(groups), rows)
    }

    /// All rows with a label 0 or 1, as one group.
    ///
    /// # Panics
    /// When there are 2^31 rows or more.
    pub fn ungrouped(labels: &[f32]) -> Self {
        Self::of(LabelKind::Binary, labels, None, None)
    }

    /// Labels of a kind (NaN is missing), and which rows to take: all by default. Without `groups` the rows are one group.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn of(kind: LabelKind, labels: &[f32], groups: Option<&[u32]>, rows: Option<&[u32]>) -> Self {
        assert!(groups.is_none_or(|groups| labels.len() == groups.len()), "every label has a group");
        assert!(labels.len() < 1 << 31, "a row and a group have 31 bits");
        let all = || (0..labels.len() as u32).collect();
        let mut rows: Vec<u32> = rows.map_or_else(all, <[u32]>::to_vec);
        rows.retain(|&row| !labels[row as usize].is_nan());
        let mut numbers = HashMap::new();
        let mut group_of = |row: &u32| {
            let next = numbers.len() as u32;
            groups.map_or(0, |groups| *numbers.entry(groups[*row as usize]).or_insert(next))
        };
        let label = |row: u32| labels[row as usize];
        let mut marks: Vec<u32> = rows.iter().map(|row| 2 * group_of(row)).collect();
        let is_positive = |row: &u32| u32::from(kind.is_positive(label(*row)));
        marks.iter_mut().zip(&rows).for_each(|(mark, row)| *mark |= is_positive(row)); // by itself: no branch to guess
        let values = (kind != LabelKind::Binary).then(|| rows.iter().map(|&row| label(row)).collect::<Vec<_>>().into());
        Self {
            kind,
            rows: rows.into(),
            marks: marks.into(),
            values,
            groups: groups.map_or(1, |_| numbers.len()),
            weights: None,
        }
    }

    /// The same rows, each counted as often as its weight says; `weights` are those of all rows. A row of weight 0 takes no part.
    ///
    /// # Panics
    /// When a row of the sample has no weight.
    #[must_use]
    pub fn weighted(mut self, weights: Option<&[f32]>) -> Self {
        let Some(weights) = weights else { return self };
        let counts: Vec<bool> = self.rows.iter().map(|&row| weights[row as usize] > 0.0).collect();
        retain(Arc::make_mut(&mut self.rows), &counts);
        retain(Arc::make_mut(&mut self.marks), &counts);
        self.values.iter_mut().for_each(|values| retain(Arc::make_mut(values), &counts));
        self.weights = Some(self.rows.iter().map(|&row| weights[row as usize]).collect::<Vec<_>>().into());
        self
    }

    /// What the labels are.
    pub fn kind(&self) -> LabelKind {
        self.kind
    }

    /// How much each row counts that takes part.
    pub fn weights(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.rows.len()).map(|place| self.weight(place))
    }

    /// How many rows take part.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many of them have a positive label: 1, or a number above 0.
    pub fn positives(&self) -> usize {
        self.marks.iter().filter(|mark| *mark & 1 == 1).count()
    }

    /// How many groups they belong to.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Score of every row that takes part and whether its label is positive; `scores` are those of all rows.
    pub fn rows<'a>(&'a self, scores: &'a [f32]) -> impl Iterator<Item = (f32, bool)> + 'a {
        self.rows.iter().zip(self.marks.iter()).map(|(&row, mark)| (scores[row as usize], mark & 1 == 1))
    }

    /// The label of every row that takes part.
    pub fn labels(&self) -> impl Iterator<Item = f32> + '_ {
        (0..self.rows.len()).map(|place| self.label(place))
    }

    /// The score of the row at a place of the sample.
    pub(super) fn score(&self, scores: &[f32], place: usize) -> f32 {
        scores[self.rows[place] as usize]
    }

    /// Its label.
    pub(super) fn label(&self, place: usize) -> f32 {
        self.values.as_ref().map_or_else(|| (self.marks[place] & 1) as f32, |values| values[place])
    }

    /// How much it counts.
    pub(super) fn weight(&self, place: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| f64::from(weights[place]))
    }

    /// How much each row counts, where they count differently.
    pub(super) fn own_weights(&self) -> Option<&[f32]> {
        self.weights.as_deref().map(Vec::as_slice)
    }

    /// `2 * group + 1` of every positive that takes part, `2 * group` of every other row.
    pub(super) fn marks(&self) -> &[u32] {
        &self.marks
    }

    /// `sum w f(score, label)` and `sum w` over the rows of every group. `[G, 2]`
    pub(super) fn sums(&self, scores: &[f32], of: impl Fn(f64, f64) -> f64) -> Vec<[f64; 2]> {
        let mut groups = vec![[0.0; 2]; self.groups];
        for (place, mark) in self.marks.iter().enumerate() {
            let (score, label) = (self.score(scores, place), self.label(place));
            let (weight, sums) = (self.weight(place), &mut groups[(mark >> 1) as usize]);
            sums[0] += weight * of(f64::from(score), f64::from(label));
            sums[1] += weight;
        }
        groups
    }

    /// The places of the rows, group by group, and where each group starts. `[N]`, `[G + 1]`
    pub(super) fn by_group(&self) -> (Vec<u32>, Vec<usize>) {
        let mut starts = vec![0; self.groups + 1];
        self.marks.iter().for_each(|mark| starts[(mark >> 1) as usize + 1] += 1);
        (0..self.groups).for_each(|group| starts[group + 1] += starts[group]);
        let (mut next, mut places) = (starts.clone(), vec![0; self.marks.len()]);
        for (place, mark) in self.marks.iter().enumerate() {
            let next = &mut next[(mark >> 1) as usize];
            places[*next] = place as u32;
            *next += 1;
        }
        (places, starts)
    }
}

/// Keeps what is marked.
fn retain<T>(values: &mut Vec<T>, keep: &[bool]) {
    let mut keep = keep.iter();
    values.retain(|_| *keep.next().expect("one for every value"));
}
