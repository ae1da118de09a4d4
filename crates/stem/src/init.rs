//! Not written yet.

use crate::console::{Console, Result};

/// Not written yet.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, _console: &Console) -> Result {
    Err("not written yet".into())
}
