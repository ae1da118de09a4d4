//! Numbers of the reference implementation, and checkpoints by hand.

#![allow(dead_code)] // every test file uses its part

pub mod checkpoint;

use std::path::{Path, PathBuf};

use stem_core::DeviceSpec;

/// Where the numbers of the reference are: a file per model, with parameters, inputs, predictions, losses, gradients and steps.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The device that `STEM_DEVICE` names.
pub fn spec() -> DeviceSpec {
    DeviceSpec::from_env().unwrap()
}
