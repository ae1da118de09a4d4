//! Optimizers for the network and for the table's rows: one update, whatever it updates.
//!
//! `g` is the clipped gradient of a weight `w`; everything beside `w`, `g` and the settings is state.
//!
//! | optimizer | update | source |
//! |---|---|---|
//! | [`Adam`] | `w -= rate * m^ / (sqrt(v^) + eps)` | Kingma and Ba, 2015 |
//! | [`AdamW`] | `w *= 1 - rate * decay`, then Adam | Loshchilov and Hutter, 2019 |
//! | [`Adagrad`] | `s += g g`, `w -= rate * g / (sqrt(s) + eps)` | Duchi et al., 2011 |
//! | [`Adagrad`], row-wise | `s += mean(g g)` over the row, one `s` a row | Naumov et al., 2019 (DLRM); FBGEMM |
//! | [`Sgd`] | `b = mu b + g`, `w -= rate * b` | Sutskever et al., 2013 |
//!
//! The arithmetic is PyTorch's. The table and its state lie outside the autodiff graph and are changed in place, row by row; the
//! network's parameters are the same matrices with all rows taking part. A row that a step does not name keeps its weights and
//! its state ("lazy", as PyTorch's `SparseAdam`): nothing decays, neither moments nor momentum nor, under AdamW, the weights. The
//! count of steps, which Adam's bias correction reads, is the matrix's.
//!
//! On the host the update is one fused sweep over slices; elsewhere it is tensor operations on gathered rows, and on all parameters of
//! the network side by side. Tests hold them together.

mod config;
mod adam;
mod adagrad;
mod sgd;
mod rule;
mod sweep;
mod state;
mod clip;
mod line;
mod network;

pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use clip::Clip;
pub use config::OptimizerConfig;
pub use network::{NetworkGradients, NetworkOptimizer};
pub use sgd::Sgd;
pub use state::{OptimizerState, Rows};
pub use stem_core::fused::{add_scaled, squared_norm};
