//! Files that were damaged: every bit of a small bundle, every length of it.

use crate::common::*;
use std::io::{Seek, SeekFrom, Write};
use stem_core::bundle::Packing;
use stem_core::*;

/// Flips and lengths that are tried.
const FLIPS: usize = 65_536;
const LENGTHS: usize = 8192;

/// A small bundle, and the same with packed rows.
fn bundles() -> [Vec<u8>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let [plain, packed] = ["plain", "packed"].map(|name| folder.path().join(name));
    save(&shared_bottom(), &plain);
    let bundle = Bundle::<ModelConfig>::open(&plain).unwrap();
    bundle::pack(&bundle, Packing::Int8).unwrap().save(&packed, serde_json::Value::Null).unwrap();
    [plain, packed].map(|path| std::fs::read(path).unwrap())
}

/// A file that holds a bundle, to be damaged in place: nobody has it open meanwhile.
struct Victim {
    folder: tempfile::TempDir,
    file: std::fs::File,
}

impl Victim {
    fn new(whole: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(folder.path().join("b")).unwrap();
        let mut victim = Self { folder, file };
        victim.write(0, whole);
        assert!(!victim.is_refused(), "it is whole");
        victim
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        self.file.seek(SeekFrom::Start(at as u64)).unwrap();
        self.file.write_all(bytes).unwrap();
    }

    /// Whether it is refused as a bundle that cannot be used.
    fn is_refused(&self) -> bool {
        match Bundle::<ModelConfig>::open(self.folder.path().join("b")) {
            Ok(_) => false,
            Err(Error::Bundle { .. }) => true,
            Err(other) => panic!("{other}"),
        }
    }
}

/// At most `most` of `0..all`, evenly.
fn some(all: usize, most: usize) -> impl DoubleEndedIterator<Item = usize> {
    let count = all.min(most);
    (0..count).map(move |i| i * all / count)
}

#[test]
fn every_flip_of_a_bit_is_refused() {
    for whole in bundles() {
        let mut victim = Victim::new(&whole);
        for flip in some(whole.len() * 8, FLIPS) {
            let (at, bit) = (flip / 8, flip % 8);
            victim.write(at, &[whole[at] ^ 1 << bit]);
            assert!(victim.is_refused(), "bit {bit} of byte {at} of {}", whole.len());
            victim.write(at, &[whole[at]]);
        }
    }
}

#[test]
fn every_file_that_is_cut_short_or_grew_is_refused() {
    for whole in bundles() {
        let mut victim = Victim::new(&whole);
        victim.write(whole.len(), b"x");
        assert!(victim.is_refused());
        for length in some(whole.len(), LENGTHS).rev() {
            victim.file.set_len(length as u64).unwrap();
            assert!(victim.is_refused(), "{length} of {} bytes", whole.len());
        }
    }
}
