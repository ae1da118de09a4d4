//! Writes made-up rows in the exact format of the ICME 2019 challenge, track 1, to time `prepare` on.
//!
//! ```text
//! cargo run --release --bin tiktok_rows -- --rows 2000000 --out DIR
//! ```

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Parser;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

/// Writes DIR/final_track1_train.txt: tab-separated, no header, ids that repeat as real ones do.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 2_000_000)]
    rows: usize,
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.out)?;
    let mut file = BufWriter::new(std::fs::File::create(args.out.join("final_track1_train.txt"))?);
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let zipf = |n: f64| Zipf::new(n, 1.1).expect("a size and an exponent above 0");
    let (users, items, authors, music) = (zipf(70_000.0), zipf(900_000.0), zipf(300_000.0), zipf(80_000.0));
    for _ in 0..args.rows {
        let user = users.sample(&mut rng) as u64;
        let track = if rng.random_bool(0.1) { -1 } else { music.sample(&mut rng) as i64 };
        writeln!(
            file,
            "{user}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{track}\t{}\t{}\t{}",
            rng.random_range(-1..400),
            items.sample(&mut rng) as u64,
            authors.sample(&mut rng) as u64,
            rng.random_range(-1..400),
            rng.random_range(0..5),
            u8::from(rng.random_bool(0.38)),
            u8::from(rng.random_bool(0.01)),
            user * 3 + rng.random_range(0..2),
            53_086_000_000u64 + rng.random_range(0..90_000_000),
            rng.random_range(3..60),
        )?;
    }
    file.flush()
}
