//! What several tests need.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// A folder of the shared test data. Without it the test is skipped, unless `STEM_REQUIRE_SHARED` is set.
pub fn shared(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("STEM_SHARED").map_or_else(beside, PathBuf::from).join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("STEM_REQUIRE_SHARED").is_none(), "{} is required and not there", path.display());
    eprintln!("skipped: {} is not there", path.display());
    None
}
