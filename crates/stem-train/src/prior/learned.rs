//! Priors whose variances are learned while training.

use serde::{Deserialize, Serialize};
use stem_core::loss::Targets;
use stem_core::models::Model;
use stem_core::{Batch, Schema, fused};
use stem_data::part_of;
use stem_kernels::prior::Precisions;
use stem_kernels::simd::dot;

use super::matrix::inverse;
use crate::counts::{Bucket, Occurrences, RowCounts};
use crate::error::Result;
use crate::ranks::{Team, sum_few};
use crate::step::{StepGradients, TableMode, TrainState};
use crate::warm::Before;

/// Steps from one look at the curvature to the next.
const STEPS_A_LOOK: usize = 8;
/// A look takes one row of so many of a batch, between [`LEAST`] and [`MOST`] of them.
const SHARE: usize = 8;
const LEAST: usize = 16;
const MOST: usize = 512;
/// Part of a look in the running mean of the curvature, and what it starts from.
const NEW: f64 = 0.04;
const FIRST_CURVATURE: f64 = 0.05;
/// Steps before the first step of EM, and from one to the next.
const BEFORE_EM: usize = 150;
const STEPS_AN_EM: usize = 40;
/// `a`: how far a step of EM goes.
const DAMPING: f64 = 0.3;
/// The deviation at the start of a training with many rows; with few it is that whose pull on a row is one in so many of its data's.
const NARROW: f64 = 0.1;
const ROWS_OF_A_NARROW_PRIOR: f64 = 400.0;
/// No variance leaves these bounds.
const BOUNDS: (f64, f64) = (1e-8, 100.0);

/// The learned prior of a table, and what it learns from.
#[derive(Debug, Clone)]
pub struct LearnedPrior {
    tied: bool,
    /// `G` groups of widths that are equal where they are tied.
    widths: Vec<usize>,
    counts: Occurrences,
    /// Of each vocabulary.
    histograms: Vec<Vec<Bucket>>,
    /// `F_v` `[vocabularies, W]`
    curvature: Vec<f64>,
    /// Tied: `S_v` `[vocabularies, G, G]`; else the variances `[vocabularies, W]`.
    variances: Vec<f64>,
    /// Means over rows of the products of their weights since the last step of EM, and the sum of the weights of the mean.
    moments: Vec<f64>,
    seen: Vec<f64>,
    precisions: Precisions,
    steps: usize,
    /// Training rows of all trainings of the model over those of this one.
    days: f64,
}

/// What a learned prior has learned, for a checkpoint: what is counted of the data is counted again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriorState {
    curvature: Vec<f64>,
    variances: Vec<f64>,
    moments: Vec<f64>,
    seen: Vec<f64>,
    steps: usize,
}

/// The learned prior of a vocabulary's rows, for a reader.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VocabularyPrior {
    /// Fields that share the vocabulary.
    pub fields: Vec<String>,
    /// The groups of a row.
    pub groups: Vec<GroupPrior>,
    /// Correlation of each group with each other one, `[G, G]`; empty where groups are not tied.
    pub correlation: Vec<Vec<f64>>,
}

/// The learned prior of one embedding group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GroupPrior {
    /// Its task, or `shared`.
    pub name: String,
    /// Root of the mean variance over dimensions.
    pub deviation: f64,
}

impl LearnedPrior {
    /// The prior before the first step. `batches` are all training rows, each once, in which the occurrences of the table's rows are
    /// counted; `widths` are those of a row's groups; the rest is [`PriorConfig::Learned`](super::PriorConfig::Learned)'s.
    ///
    /// # Errors
    /// Batches that do not fit the schema.
    pub fn new(
        schema: &Schema,
        batches: impl IntoIterator<Item = Batch>,
        widths: &[usize],
        tied: bool,
        deviation: Option<f64>,
        correlation: f64,
    ) -> Result<Self> {
        Ok(Self::of_counts(RowCounts::of(schema, batches)?, widths, tied, deviation, correlation))
    }

    /// The same of rows that were counted.
    pub(crate) fn of_counts(
        counts: RowCounts,
        widths: &[usize],
        tied: bool,
        deviation: Option<f64>,
        correlation: f64,
    ) -> Self {
        let tied = tied && widths.windows(2).all(|pair| pair[0] == pair[1]);
        let deviation =
            deviation.unwrap_or_else(|| (ROWS_OF_A_NARROW_PRIOR / counts.rows.max(1) as f64).sqrt().max(NARROW));
        Self::start(counts, widths, tied, deviation, correlation)
    }

    pub(super) fn start(counts: RowCounts, widths: &[usize], tied: bool, deviation: f64, correlation: f64) -> Self {
        let (vocabularies, groups, width) = (counts.vocabularies(), widths.len(), widths.iter().sum::<usize>());
        let variance = deviation * deviation;
        let own = |place: usize| match (tied, place / groups == place % groups) {
            (false, _) | (true, true) => variance,
            (true, false) => variance * correlation,
        };
        let size = if tied { groups * groups } else { width };
        let variances: Vec<f64> = (0..vocabularies).flat_map(|_| (0..size).map(own)).collect();
        let precisions = if tied {
            Precisions::Tied { values: Vec::new(), groups, dim: width / groups.max(1) }
        } else {
            Precisions::Diagonal { values: Vec::new(), width }
        };
        let mut prior = Self {
            tied,
            widths: widths.to_vec(),
            histograms: (0..vocabularies).map(|v| counts.histogram(v)).collect(),
            counts: counts.settled(),
            curvature: vec![FIRST_CURVATURE; vocabularies * width],
            moments: vec![0.0; variances.len()],
            seen: vec![0.0; vocabularies],
            variances,
            precisions,
            steps: 0,
            days: 1.0,
        };
        prior.refresh();
        prior
    }

    /// Goes on from what earlier trainings of the model have learned. The pull on a row is counted once over the rows of all of them, not
    /// once in each, and a row's posterior is that of all of them, as far as it occurred in them as it does in this one.
    #[must_use]
    pub(crate) fn after(mut self, before: &Before, schema: &Schema, groups: &[usize]) -> Self {
        self.days = (before.rows + self.counts.rows) as f64 / self.counts.rows.max(1) as f64;
        self.histograms.iter_mut().flatten().for_each(|bucket| bucket.mass *= self.days);
        let (size, count) = (self.size(), self.widths.len());
        for (v, own) in self.summary(schema, groups).into_iter().enumerate() {
            let learned = before.prior.iter().find(|prior| prior.fields.iter().any(|field| own.fields.contains(field)));
            let Some(learned) = learned.filter(|learned| learned.groups.len() == count) else { continue };
            let deviation = |g: usize| learned.groups[g].deviation;
            let correlation = |g: usize, h: usize| learned.correlation.get(g).and_then(|row| row.get(h)).copied();
            let mut column = 0;
            let variances = &mut self.variances[v * size..][..size];
            for g in 0..count {
                if self.tied {
                    for h in (0..count).filter(|&h| g == h || correlation(g, h).is_some()) {
                        let related = if g == h { 1.0 } else { correlation(g, h).unwrap_or(0.0) };
                        variances[g * count + h] = related * deviation(g) * deviation(h);
                    }
                } else {
                    variances[column..column + self.widths[g]].fill(deviation(g) * deviation(g));
                    column += self.widths[g];
                }
            }
            bound(variances, self.tied.then_some(count));
        }
        self.refresh();
        self
    }

    /// What was learned so far.
    pub(crate) fn state(&self) -> PriorState {
        let Self { curvature, variances, moments, seen, steps, .. } = self.clone();
        PriorState { curvature, variances, moments, seen, steps }
    }

    /// Goes on from there; `false` where it is of other sizes.
    #[must_use]
    pub(crate) fn restore(&mut self, state: PriorState) -> bool {
        let lengths = |parts: [&Vec<f64>; 4]| parts.map(Vec::len);
        let own = lengths([&self.curvature, &self.variances, &self.moments, &self.seen]);
        if own != lengths([&state.curvature, &state.variances, &state.moments, &state.seen]) {
            return false;
        }
        let PriorState { curvature, variances, moments, seen, steps } = state;
        (self.curvature, self.variances, self.moments, self.seen) = (curvature, variances, moments, seen);
        self.steps = steps;
        self.refresh();
        true
    }

    /// Adds the pull on the rows of a step to their gradients, and learns from the step. `weights` are those of the tasks' losses.
    pub fn step<M: Model>(
        &mut self,
        state: &TrainState<M>,
        batch: &Batch,
        weights: &[f64],
        gradients: &mut StepGradients,
    ) {
        let whole = gradients.batch().rows();
        self.pull(whole, gradients, state.mode());
        if self.steps.is_multiple_of(STEPS_A_LOOK) {
            let rows = (whole / SHARE).clamp(LEAST, MOST).min(whole);
            self.look_at(state, batch, rows, weights, gradients);
        }
        self.steps += 1;
        if self.steps >= BEFORE_EM && self.steps.is_multiple_of(STEPS_AN_EM) {
            self.maximise();
        }
    }

    /// Looks at the first `rows` rows of a batch, which is in random order; over several ranks each at those of them that it has.
    fn look_at<M: Model>(
        &mut self,
        state: &TrainState<M>,
        batch: &Batch,
        rows: usize,
        weights: &[f64],
        gradients: &StepGradients,
    ) {
        let ranks = state.shard().map(|shard| shard.ranks.clone()).unwrap_or_default();
        let before = part_of(gradients.batch().rows(), ranks.rank(), ranks.ranks()).start;
        let part = batch.first(rows.saturating_sub(before)); // `[b]`
        let mut labelled = Targets::counts(&part, weights.len());
        sum_few(&*ranks, &mut labelled);
        let (values, slopes) = state.slot_gradients(gradients.batch(), &part, &labelled, weights); // [b * S, W] each
        self.look(&part, rows, &values, &slopes, &ranks);
    }

    fn pull(&self, batch_rows: usize, gradients: &mut StepGradients, mode: TableMode) {
        let (ids, starts) = (gradients.batch().row_ids(), gradients.batch().row_starts());
        let mut vocabulary = 0;
        let mut of = Vec::with_capacity(ids.len());
        for &id in ids {
            // ids ascend
            while self.counts.ends_before(vocabulary, id) {
                vocabulary += 1;
            }
            of.push(vocabulary as u32);
        }
        let strength = |(place, &id): (usize, &u32)| {
            let times = match mode {
                TableMode::Dense => {
                    f64::from(u8::from(self.counts.of(id) > 0)) / self.counts.rows.max(1) as f64 / self.days
                }
                TableMode::RowSparse => {
                    let times = starts[place + 1] - starts[place];
                    f64::from(times) / (f64::from(self.counts.of(id).max(1)) * batch_rows as f64 * self.days)
                }
            };
            times as f32
        };
        let strength: Vec<f32> = ids.iter().enumerate().map(strength).collect();
        gradients.change_rows(|grad, rows| fused::add_pull(grad, rows, &of, &strength, &self.precisions));
    }

    /// Takes values and slopes of slots `[b * S, W]` into the running means; the ranks' parts of a look have so many `rows` together.
    pub(super) fn look(&mut self, part: &Batch, rows: usize, values: &[f32], slopes: &[f32], ranks: &Team) {
        let (width, vocabularies, rows) = (self.width(), self.counts.vocabularies(), rows as f64);
        let (mut squares, mut weights) = (vec![0.0; vocabularies * width], vec![0.0; vocabularies]);
        let before = ranks.is_several().then(|| {
            let none = |sums: &mut Vec<f64>| std::mem::replace(sums, vec![0.0; sums.len()]);
            (none(&mut self.moments), none(&mut self.seen))
        });
        let slots = part.ids.iter().zip(&part.weights).zip(values.chunks_exact(width)).zip(slopes.chunks_exact(width));
        for (((&id, &weight), row), slope) in slots {
            if weight == 0.0 {
                continue;
            }
            let v = self.counts.vocabulary(id);
            weights[v] += f64::from(weight * weight);
            for (sum, slope) in squares[v * width..][..width].iter_mut().zip(slope) {
                let of_sample = f64::from(*slope) * rows; // the loss is a mean over samples
                *sum += of_sample * of_sample;
            }
            if self.counts.is_live(id) {
                let share = 1.0 / f64::from(self.counts.of(id));
                self.seen[v] += share;
                self.add_products(v, share, row);
            }
        }
        if let Some((moments, seen)) = before {
            let mut all = [&squares, &weights, &self.moments, &self.seen].map(Vec::as_slice).concat();
            sum_few(&**ranks, &mut all);
            let mut all = all.into_iter();
            squares.iter_mut().chain(&mut weights).zip(&mut all).for_each(|(own, sum)| *own = sum);
            (self.moments, self.seen) = (moments, seen);
            self.moments.iter_mut().chain(&mut self.seen).zip(all).for_each(|(sum, own)| *sum += own);
        }
        for v in (0..vocabularies).filter(|&v| weights[v] > 0.0) {
            for (mean, sum) in self.curvature[v * width..][..width].iter_mut().zip(&squares[v * width..]) {
                *mean += NEW * (sum / weights[v] - *mean);
            }
        }
    }

    /// Adds the products of a row's weights, `share` times.
    fn add_products(&mut self, v: usize, share: f64, row: &[f32]) {
        let (size, groups) = (self.size(), self.widths.len());
        let moments = &mut self.moments[v * size..][..size];
        if !self.tied {
            moments.iter_mut().zip(row).for_each(|(sum, w)| *sum += share * f64::from(*w) * f64::from(*w));
            return;
        }
        let dim = row.len() / groups;
        for (g, own) in row.chunks_exact(dim).enumerate() {
            for (h, other) in row.chunks_exact(dim).enumerate().take(g + 1) {
                let product = share * f64::from(dot(own, other)) / dim as f64;
                moments[g * groups + h] += product;
                if g != h {
                    moments[h * groups + g] += product;
                }
            }
        }
    }

    /// A step of EM for every vocabulary whose rows were seen since the last one.
    pub(super) fn maximise(&mut self) {
        let (size, width) = (self.size(), self.width());
        for v in (0..self.counts.vocabularies()).filter(|&v| self.seen[v] > 0.0) {
            let curvature = &self.curvature[v * width..][..width];
            let variances = &self.variances[v * size..][..size];
            let Some(posterior) = self.posterior(variances, curvature, &self.histograms[v]) else { continue };
            let moments = self.moments[v * size..][..size].iter().map(|sum| sum / self.seen[v]);
            let found: Vec<f64> = moments.zip(posterior).map(|(square, variance)| square + variance).collect();
            let variances = &mut self.variances[v * size..][..size];
            if self.tied {
                variances.iter_mut().zip(&found).for_each(|(old, new)| *old += DAMPING * (new - *old));
            } else {
                let toward = |old: f64, new: f64| old * (new / old).clamp(1e-3, 1e3).powf(DAMPING);
                variances.iter_mut().zip(&found).for_each(|(old, new)| *old = toward(*old, *new));
            }
            bound(variances, self.tied.then_some(self.widths.len()));
        }
        self.moments.fill(0.0);
        self.seen.fill(0.0);
        self.refresh();
    }

    /// The mean over rows of their posterior variances, `[G, G]` or `[W]`; `None` where it has none.
    fn posterior(&self, variances: &[f64], curvature: &[f64], histogram: &[Bucket]) -> Option<Vec<f64>> {
        let rows: f64 = histogram.iter().map(|bucket| bucket.rows).sum();
        let mut mean = vec![0.0; variances.len()];
        if !self.tied {
            for bucket in histogram {
                for ((mean, variance), curvature) in mean.iter_mut().zip(variances).zip(curvature) {
                    *mean += bucket.rows / rows / (1.0 / variance + bucket.mass * curvature);
                }
            }
            return (rows > 0.0).then_some(mean);
        }
        let groups = self.widths.len();
        let precision = inverse(variances, groups)?;
        let of_groups: Vec<f64> = curvature.chunks_exact(curvature.len() / groups).map(mean_of).collect();
        for bucket in histogram {
            let mut of_row = precision.clone();
            (0..groups).for_each(|g| of_row[g * groups + g] += bucket.mass * of_groups[g]);
            let posterior = inverse(&of_row, groups)?;
            mean.iter_mut().zip(posterior).for_each(|(mean, variance)| *mean += bucket.rows / rows * variance);
        }
        (rows > 0.0).then_some(mean)
    }

    /// The precisions that follow from the variances.
    fn refresh(&mut self) {
        let found: Vec<f32> = if self.tied {
            let groups = self.widths.len();
            let of = |variances: &[f64]| inverse(variances, groups).unwrap_or_else(|| vec![0.0; variances.len()]);
            self.variances.chunks_exact(groups * groups).flat_map(of).map(|precision| precision as f32).collect()
        } else {
            self.variances.iter().map(|variance| (1.0 / variance) as f32).collect()
        };
        match &mut self.precisions {
            Precisions::Diagonal { values, .. } | Precisions::Tied { values, .. } => *values = found,
        }
    }

    /// The precision between groups at dimension `d` of a vocabulary's rows. `[G, G]`
    #[cfg(test)]
    pub(super) fn precision_of(&self, v: usize, d: usize) -> Vec<f64> {
        let groups = self.widths.len();
        match &self.precisions {
            Precisions::Tied { values, .. } => {
                values[v * groups * groups..][..groups * groups].iter().map(|p| f64::from(*p)).collect()
            }
            Precisions::Diagonal { values, width } => {
                let mut all = vec![0.0; groups * groups];
                let dim = width / groups;
                (0..groups).for_each(|g| all[g * groups + g] = f64::from(values[v * width + g * dim + d]));
                all
            }
        }
    }

    fn width(&self) -> usize {
        self.widths.iter().sum()
    }

    /// Numbers of a vocabulary's variances.
    fn size(&self) -> usize {
        if self.tied { self.widths.len() * self.widths.len() } else { self.width() }
    }

    /// What was learned, vocabulary by vocabulary; those of numbers and vectors, whose rows are few, included. `groups` are the tasks
    /// of a row's groups, `T` for a shared one: [`ModelSpec::embedding_groups`](stem_core::models::ModelSpec::embedding_groups).
    pub fn summary(&self, schema: &Schema, groups: &[usize]) -> Vec<VocabularyPrior> {
        let count = self.widths.len();
        let name = |g: usize| match groups.get(g).and_then(|&task| schema.tasks.get(task)) {
            Some(task) => task.name.clone(),
            None if groups.get(g) == Some(&schema.tasks.len()) => "shared".into(),
            None => format!("group {}", g + 1),
        };
        let of = |v: usize| {
            let variances = &self.variances[v * self.size()..][..self.size()];
            let ends = self.widths.iter().scan(0, |end, width| {
                *end += width;
                Some(*end - width..*end)
            });
            let variance: Vec<f64> = match self.tied {
                true => (0..count).map(|g| variances[g * count + g]).collect(),
                false => ends.map(|columns| mean_of(&variances[columns])).collect(),
            };
            let related = |g: usize, h: usize| variances[g * count + h] / (variance[g] * variance[h]).sqrt();
            let correlation = || (0..count).map(|g| (0..count).map(|h| related(g, h)).collect()).collect();
            let fields = schema.fields.iter().filter(|field| field.vocabulary == v);
            let group = |(g, variance): (usize, &f64)| GroupPrior { name: name(g), deviation: variance.sqrt() };
            VocabularyPrior {
                fields: fields.map(|field| field.name.clone()).collect(),
                groups: variance.iter().enumerate().map(group).collect(),
                correlation: if self.tied { correlation() } else { Vec::new() },
            }
        };
        (0..self.counts.vocabularies()).map(of).collect()
    }
}

fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Keeps variances within [`BOUNDS`], and a covariance positive definite.
fn bound(variances: &mut [f64], groups: Option<usize>) {
    let Some(groups) = groups else {
        return variances.iter_mut().for_each(|variance| *variance = variance.clamp(BOUNDS.0, BOUNDS.1));
    };
    for g in 0..groups {
        let variance = &mut variances[g * groups + g];
        *variance = (*variance + BOUNDS.0).clamp(BOUNDS.0, BOUNDS.1);
    }
    for (g, h) in (0..groups).flat_map(|g| (0..g).map(move |h| (g, h))) {
        let most = 0.999 * (variances[g * groups + g] * variances[h * groups + h]).sqrt();
        let covariance = variances[g * groups + h].clamp(-most, most);
        (variances[g * groups + h], variances[h * groups + g]) = (covariance, covariance);
    }
}
