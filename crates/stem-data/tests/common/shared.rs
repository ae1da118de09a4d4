//! Data that is not part of the project.

use std::path::{Path, PathBuf};

/// A file or folder below `../shared` beside the workspace, or below where `STEM_SHARED` points. Without it the test says that it
/// skips; where `STEM_REQUIRE_SHARED` is set it fails instead.
pub fn shared(part: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("STEM_SHARED").map_or_else(beside, PathBuf::from).join(part);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("STEM_REQUIRE_SHARED").is_none(), "{} is required and absent", path.display());
    println!("skipped: {} is absent", path.display());
    None
}
