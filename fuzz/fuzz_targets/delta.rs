//! Any bytes as a delta of the oldest sample bundle.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use stem_core::delta::apply;

fuzz_target!(|bytes: &[u8]| {
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/stem-core/tests/samples/bundle-v2.safetensors");
    let folder = tempfile::tempdir().expect("a folder for the file");
    let (delta, out) = (folder.path().join("delta"), folder.path().join("out"));
    std::fs::write(&delta, bytes).expect("a file");
    let _ = apply(&old, &delta, &out);
});
