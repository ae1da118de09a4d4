//! Expected calibration error: predictions in bins of equal width against the labels there.
//!
//! ```text
//! ECE = sum_b n_b / n |mean y in b - mean s in b| = sum_b |sum_{i in b} w_i (y_i - s_i)| / sum_i w_i
//! ```
//!
//! Bin `b` of 15 holds `b / 15 <= s < (b + 1) / 15`, the last one also 1 (TorchMetrics gives scores of exactly 1 a bin of their own).
//! What lies outside of 0 to 1 belongs to the nearest bin.

use super::Sample;

const BINS: usize = 15;

/// Rows by group and bin.
#[derive(Debug, Clone)]
pub(super) struct Bins {
    /// Group, bin and `sum w (y - s)` of the rows there; only where there are any.
    cells: Vec<(u32, u8, f64)>,
    /// `sum w` of every group.
    rows: Vec<f64>,
}

impl Bins {
    pub(super) fn new(sample: &Sample, scores: &[f32]) -> Self {
        let (places, starts) = sample.by_group();
        let edges: [f32; BINS] = std::array::from_fn(|b| b as f32 / BINS as f32);
        let (mut cells, mut rows) = (Vec::new(), Vec::with_capacity(sample.groups()));
        for (group, range) in (0u32..).zip(starts.windows(2)) {
            let (mut sums, mut held, mut count) = ([0.0; BINS], [false; BINS], 0.0);
            for &place in &places[range[0]..range[1]] {
                let place = place as usize;
                let (score, weight) = (sample.score(scores, place), sample.weight(place));
                let bin = bin(score, &edges);
                sums[bin] += weight * (f64::from(sample.label(place)) - f64::from(score));
                held[bin] = true;
                count += weight;
            }
            cells.extend((0..BINS).filter(|&bin| held[bin]).map(|bin| (group, bin as u8, sums[bin])));
            rows.push(count);
        }
        Self { cells, rows }
    }

    /// With every group as often as it is counted. `None` without rows.
    pub(super) fn error(&self, counts: &[u8]) -> Option<f64> {
        let mut bins = [0.0; BINS];
        self.cells
            .iter()
            .for_each(|(group, bin, sum)| bins[usize::from(*bin)] += f64::from(counts[*group as usize]) * sum);
        let rows: f64 = self.rows.iter().zip(counts).map(|(rows, &count)| rows * f64::from(count)).sum();
        (rows > 0.0).then(|| bins.iter().map(|sum| sum.abs()).sum::<f64>() / rows)
    }
}

/// The last bin whose lower edge is not above the score.
fn bin(score: f32, edges: &[f32; BINS]) -> usize {
    let near = ((score * BINS as f32) as usize).min(BINS - 1); // a cast of what is below 0 is 0
    match () {
        () if near + 1 < BINS && edges[near + 1] <= score => near + 1,
        () if edges[near] > score => near.saturating_sub(1),
        () => near,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_begins_at_its_edge_and_the_last_one_holds_1() {
        let edges: [f32; BINS] = std::array::from_fn(|b| b as f32 / BINS as f32);
        for (b, edge) in edges.into_iter().enumerate() {
            assert_eq!(bin(edge, &edges), b);
            assert_eq!(bin(edge.next_down(), &edges), b.saturating_sub(1));
        }
        assert_eq!((bin(1.0, &edges), bin(7.0, &edges), bin(-0.5, &edges)), (14, 14, 0));
    }
}
