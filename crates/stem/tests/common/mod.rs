//! The program as a user runs it, and logs with columns that are known.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::{Command, Output};

pub fn stem(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stem")).args(args).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder with files of raw rows; `@name` in arguments stands for a file in it.
pub struct Case {
    pub dir: tempfile::TempDir,
}

impl Case {
    pub fn new(file: &str, content: impl AsRef<[u8]>) -> Self {
        let case = Case { dir: tempfile::tempdir().unwrap() };
        std::fs::write(case.path(file), content).unwrap();
        case
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `stem init --out FOLDER/out ARGS`.
    pub fn init(&self, args: &[&str]) -> Output {
        let path = |name: &str| self.path(name).display().to_string();
        let named = |arg: &&str| arg.strip_prefix('@').map_or_else(|| (*arg).to_string(), path);
        let args: Vec<String> =
            ["init".into(), "--out".into(), path("out")].into_iter().chain(args.iter().map(named)).collect();
        stem(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// A number between 0 and 1 that looks drawn.
pub fn noise(row: usize, column: u32) -> f64 {
    let mut mixed =
        (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(column).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 29)) >> 11) as f64 / (1u64 << 53) as f64
}

pub fn pick(row: usize, column: u32, n: usize) -> usize {
    (noise(row, column) * n as f64) as usize
}

pub fn csv(header: &str, rows: usize, row: impl Fn(usize) -> String) -> String {
    let rows: String = (0..rows).map(|i| format!("{}\n", row(i))).collect();
    format!("{header}\n{rows}")
}

/// Who liked what, with a taste that a model can learn.
pub fn taste(row: usize) -> (usize, usize, u8) {
    let (user, item) = (pick(row, 1, 60), pick(row, 2, 80));
    let liked = noise(row, 3) < if (user + item) % 2 == 0 { 0.8 } else { 0.2 };
    (user, item, u8::from(liked))
}
