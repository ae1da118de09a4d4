//! Numbers of recommenders, and the page that tells them: on plain slices, without Burn and without Polars.
//!
//! | what | module |
//! |---|---|
//! | AUC, logloss, NDCG, XAUC and more of one task, whose label is 0 or 1, or a number | [`metrics`] |
//! | intervals over users and seeds, strata, likeness of embeddings, curves | [`analysis`] |
//! | one HTML page: does sharing help, for whom, what to ship | [`report`] |
//!
//! ```
//! let (scores, labels) = ([0.9, 0.2, 0.6], [1.0, 0.0, f32::NAN]); // NaN: no label
//! let metrics = stem_report::metrics::TaskMetrics::of(&scores, &labels, None, None);
//! assert_eq!(metrics.auc, Some(1.0));
//! ```

pub mod metrics;
pub mod analysis;
pub mod report;
