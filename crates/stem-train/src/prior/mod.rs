//! What is believed of a row of the table before its data: that it is near zero, and how near, given or learned.
//!
//! ```text
//! fixed      (lambda / 2) ||w||^2                                       one number for every row
//! learned    w[r, :, d] ~ N(0, S_v)                                     v the row's vocabulary, S_v learned from all of its rows
//! ```
//!
//! The learned prior is an empirical-Bayes estimate (MacKay, 1992, "Bayesian interpolation"; automatic relevance determination) by
//! steps of expectation and maximisation with a Laplace posterior. With `N` training rows, `n_r` the sum of the squared weights with
//! which row `r` occurs in them, and `F_v` the curvature of the loss at a pooled embedding:
//!
//! ```text
//! loss         mean over samples of sum_t L_t  +  1 / (2 N) sum_r sum_d w[r, :, d]^T S_v^-1 w[r, :, d]
//! curvature    F_v[k, d] = mean over samples b of (d loss_b / d e_v[k, d])^2               a running mean over looks
//! posterior    V_r = (S_v^-1 + n_r diag_k(mean_d F_v[k, d]))^-1
//! EM           S_v <- (1 - a) S_v + a mean over rows with n_r > 0 of (mean_d w[r, :, d] w[r, :, d]^T + V_r)
//! ```
//!
//! That is the *tied* prior, `S_v` a matrix over the embedding groups of a row (a task's own and the shared one): its correlations say
//! how alike the tasks are to a user. (`L_t` is taken for the logarithm of a likelihood, as cross-entropy is: of squares that are not
//! standardised the curvature is off.) The *diagonal* one has a variance for each group and dimension instead.
//!
//! Nothing here passes over the table. A row that a batch holds `k` times of the `o_r` times that it occurs in an epoch is pulled
//! `k / (o_r B)` times, which over an epoch is the pull of the equation; and means over rows are taken over the rows of batches, each
//! occurrence with the weight `1 / o_r`, which has the mean over all rows as its expectation.
//!
//! | step | module |
//! |---|---|
//! | how often each row occurs | `counts`, beside this folder |
//! | pull, looks, EM | `learned` |
//! | small matrices | `matrix` |

mod learned;
mod matrix;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use learned::PriorState;
pub use learned::{GroupPrior, LearnedPrior, VocabularyPrior};

use crate::error::{Result, require};

/// The prior of the table's rows. Keys that are not written have defaults.
///
/// ```toml
/// prior = { name = "learned" }
/// prior = { name = "fixed", l2 = 1e-5 }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "name",
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a table like { name = \"learned\" }"
)]
pub enum PriorConfig {
    /// One number for all rows, on the rows of each batch.
    Fixed {
        /// `lambda` of `(lambda / 2) ||rows||^2`.
        #[serde(default = "default_l2")]
        l2: f64,
    },
    /// Variances that are learned while training.
    Learned {
        /// Whether the groups of a row are tied by a covariance; else, and where groups are of different widths, each group and
        /// dimension has a variance of its own.
        #[serde(default = "default_tied")]
        tied: bool,
        /// Standard deviation that is believed at the start. `None`: 0.1, and more where training rows are few, `sqrt(400 / N)`; of
        /// few rows a narrow prior lets nothing be learned.
        #[serde(default)]
        deviation: Option<f64>,
        /// Correlation between the groups of a row that is believed at the start; it is not found without one.
        #[serde(default = "default_correlation")]
        correlation: f64,
    },
}

fn default_l2() -> f64 {
    1e-6
}
fn default_tied() -> bool {
    true
}
fn default_correlation() -> f64 {
    0.5
}

impl Default for PriorConfig {
    fn default() -> Self {
        Self::Learned { tied: default_tied(), deviation: None, correlation: default_correlation() }
    }
}

impl PriorConfig {
    /// Refuses settings that cannot train.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with the key, what stands there and what may.
    pub fn check(&self) -> Result<()> {
        match *self {
            Self::Fixed { l2 } => require("prior.l2", l2, "0 or more", l2.is_finite() && l2 >= 0.0),
            Self::Learned { deviation, correlation, .. } => {
                if let Some(deviation) = deviation {
                    let holds = deviation > 1e-4 && deviation < 1e4;
                    require("prior.deviation", deviation, "a number above 0.0001 and below 10000", holds)?;
                }
                let holds = (0.0..=0.99).contains(&correlation);
                require("prior.correlation", correlation, "0 to 0.99", holds)
            }
        }
    }
}
