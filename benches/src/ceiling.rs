//! What this machine can do at best: the rates that phases are held against, measured in the same run.

use std::fmt;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use stem_kernels::Precision;
use stem_kernels::mat::{Mat, MatMut};
use stem_kernels::product::{Epilogue, multiply};

/// Best of so many tries.
const TRIES: usize = 7;

/// Rates of all threads together.
#[derive(Debug, Clone, Copy)]
pub struct Ceiling {
    /// Products, 10^9 operations a second: every thread multiplies matrices of its own at the model's widths.
    pub gflops: f64,
    /// `a = b + s c` over arrays larger than the caches, 10^9 bytes a second.
    pub triad: f64,
    /// Rows of a table copied from random places, 10^9 bytes a second.
    pub gather: f64,
}

impl Ceiling {
    /// Measures; takes some seconds. `width`: of the experts' hidden layers, `row`: numbers in a row of the table.
    pub fn measure(width: usize, row: usize, precision: Precision) -> Self {
        Self { gflops: products(width, precision), triad: triad(), gather: gather(row) }
    }
}

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gflops, triad, gather } = self;
        write!(
            f,
            "This machine, best of {TRIES}: products {gflops:.0} GFLOP/s, triad {triad:.1} GB/s, random rows {gather:.1} GB/s."
        )
    }
}

/// The shortest of some runs, in seconds.
fn best(mut work: impl FnMut()) -> f64 {
    let run = |_| {
        let begun = Instant::now();
        work();
        begun.elapsed().as_secs_f64()
    };
    (0..TRIES).map(run).fold(f64::INFINITY, f64::min)
}

/// `[1024, width] x [width, width]`, the shape of a block of a forward pass, or `x^T dz` where that is faster.
fn products(width: usize, precision: Precision) -> f64 {
    let (rows, repeats) = (1024, (1 << 30) / (1024 * width * width).max(1) + 1);
    let threads = rayon::current_num_threads();
    let seconds = |turned: bool| {
        let (m, k) = if turned { (width, rows) } else { (rows, width) };
        let run = || {
            let (a, b, mut c) = (vec![0.5; rows * width], vec![0.25; k * width], vec![0.0; m * width]);
            let a = Mat::new(&a, rows, width);
            let a = if turned { a.t() } else { a };
            let b = Mat::new(&b, k, width);
            let mut once = || multiply(precision, a, b, MatMut::new(&mut c, m, width), Epilogue::default());
            once(); // takes the memory
            let begun = Instant::now();
            (0..repeats).for_each(|_| once());
            begun.elapsed().as_secs_f64()
        };
        let slowest = |_| rayon::broadcast(|_| run()).into_iter().fold(0.0, f64::max);
        (0..TRIES).map(slowest).fold(f64::INFINITY, f64::min)
    };
    (2 * rows * width * width * repeats * threads) as f64 / seconds(false).min(seconds(true)) / 1e9
}

fn triad() -> f64 {
    let count = 24_000_000;
    let (mut a, b, c) = (vec![0.0f32; count], vec![1.0f32; count], vec![2.0f32; count]);
    let seconds = best(|| {
        a.par_chunks_mut(1 << 16).zip(b.par_chunks(1 << 16).zip(c.par_chunks(1 << 16))).for_each(|(a, (b, c))| {
            for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                *a = b + 3.0 * c;
            }
        });
        std::hint::black_box(&a);
    });
    (3 * 4 * count) as f64 / seconds / 1e9
}

fn gather(row: usize) -> f64 {
    let (rows, count) = (1_000_000, 100_000);
    let table = vec![1.0f32; rows * row];
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let ids: Vec<usize> = (0..count).map(|_| rng.random_range(0..rows)).collect();
    let mut gathered = vec![0.0f32; count * row];
    let seconds = best(|| {
        gathered.par_chunks_mut(1024 * row).zip(ids.par_chunks(1024)).for_each(|(to, ids)| {
            for (to, &id) in to.chunks_exact_mut(row).zip(ids) {
                to.copy_from_slice(&table[id * row..(id + 1) * row]);
            }
        });
        std::hint::black_box(&gathered);
    });
    (4 * count * row) as f64 / seconds / 1e9
}
