//! A loss that keeps experts from saying the same: what two of them give shall not vary together.
//!
//! ```text
//! L = w / (H^2 N) sum_{p > q} || (h_p - mean h_p)^T (h_q - mean h_q) ||_1          h_p [N, H] of N rows of the batch
//! ```
//!
//! Source: Lin et al., *Crocodile: Cross Experts Covariance for Disentangled Learning in Multi-Domain Recommendation*, 2024
//! (arXiv 2405.12706). There the sum over rows is not divided by `N`: their weight is this one over `N`.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Result, require};

/// The covariance loss: `covariance = { weight = 0.1, rows = 256 }` among the keys of a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table like { weight = 0.1, rows = 256 }")]
pub struct CovarianceConfig {
    /// `w`
    pub weight: f64,
    /// `N`: the first rows of a batch, which is shuffled; all of one that has fewer.
    pub rows: usize,
}

impl Default for CovarianceConfig {
    fn default() -> Self {
        Self { weight: 0.1, rows: 256 }
    }
}

impl CovarianceConfig {
    /// Refuses weights below 0, and rows that have no variance.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the key.
    pub fn check(&self) -> Result<()> {
        let (weight, rows) = (self.weight, self.rows);
        require("covariance.weight", weight, "a number of 0 or more", weight.is_finite() && weight >= 0.0)?;
        require("covariance.rows", rows, "2 or more: one row does not vary", rows >= 2)
    }

    /// The loss of experts' outputs `h [E, B, H]`. `[1]`
    pub fn loss(&self, h: Tensor<3>) -> Tensor<1> {
        let [experts, batch, width] = h.dims();
        let rows = batch.min(self.rows);
        let h = h.slice_dim(1, 0..rows); // [E, N, H]
        let centred = h.clone() - h.mean_dim(1);
        let apart = |d: usize| {
            let (p, q) = (centred.clone().slice_dim(0, d..experts), centred.clone().slice_dim(0, 0..experts - d));
            p.transpose().matmul(q).abs().sum() // of [E - d, H, H]: all pairs that are d places apart
        };
        let sums = (1..experts).map(apart).reduce(|sum, of_pairs| sum + of_pairs);
        let scale = self.weight / (width * width * rows.max(1)) as f64;
        sums.map_or_else(|| Tensor::zeros([1], &centred.device()), |sum| sum * scale)
    }
}
