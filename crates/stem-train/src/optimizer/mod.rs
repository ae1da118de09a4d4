//! Adam on the network and on the table's rows: one update, whatever it updates.
//!
//! The table and its moments lie outside the autodiff graph and are changed in place, row by row; the network's parameters are
//! the same matrices with all rows taking part. On the host the update is one fused sweep over slices; elsewhere it is tensor
//! operations on gathered rows. A test holds the two together.

mod adam;
mod clip;
mod network;

pub use adam::{Adam, Moments, Rows};
pub use clip::{Clip, squared_norm};
pub use network::{NetworkAdam, NetworkGradients};
