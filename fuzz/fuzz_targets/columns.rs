//! Any bytes in the place of one file of a folder of columns: an error, or a data set that gives its batches.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use stem_data::{BatchPlan, Dataset, Split};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/stem-data/tests/samples/columns-v4");

fn copy(from: &Path, to: &Path, files: &mut Vec<std::path::PathBuf>) {
    fs::create_dir_all(to).expect("a folder");
    let mut entries: Vec<_> = fs::read_dir(from).expect("the sample").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let place = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &place, files);
        } else {
            fs::copy(&path, &place).expect("a copy");
            files.push(place);
        }
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (folder, mut files) = (tempfile::tempdir().expect("a folder"), Vec::new());
    copy(Path::new(SAMPLE), folder.path(), &mut files);
    let file = &files[usize::from(input.0) % files.len()];
    fs::write(file, input.1).expect("a file");
    let Ok(dataset) = Dataset::open(folder.path()) else { return };
    for split in Split::ALL {
        for batch in dataset.batches(split, BatchPlan { size: 2, shuffle: None }).take(2) {
            let _ = batch.check(dataset.schema());
        }
    }
});
