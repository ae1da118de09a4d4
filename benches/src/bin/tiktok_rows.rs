//! Writes made-up rows in the format of the ICME 2019 challenge, track 1, to time `prepare` on: as one text file, exactly as it was
//! given out, or as many Parquet files.
//!
//! ```text
//! cargo run --release --bin tiktok_rows -- --rows 2000000 --out DIR
//! cargo run --release --bin tiktok_rows -- --rows 100000000 --files 200 --ids 50000000 --out DIR
//! ```

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use polars::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

/// Writes DIR/final_track1_train.txt: tab-separated, no header, ids that repeat as real ones do. With --files Parquet files and a
/// recipe that reads them.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 2_000_000)]
    rows: usize,
    #[arg(long)]
    out: PathBuf,
    /// Parquet files, instead of one text
    #[arg(long)]
    files: Option<usize>,
    /// Different ids of all kinds together, each of which occurs; without it fewer than 1.4 million, as far as chance has them
    #[arg(long)]
    ids: Option<usize>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const COLUMNS: [&str; 12] = [
    "uid",
    "user_city",
    "item_id",
    "author_id",
    "item_city",
    "channel",
    "finish",
    "like",
    "music_id",
    "device_id",
    "create_time",
    "video_duration",
];

/// Ids of one kind: by Zipf's law, and each of `all` once where that is asked for.
struct Ids {
    zipf: Zipf<f64>,
    all: Option<usize>,
}

impl Ids {
    fn new(usual: f64, all: Option<usize>) -> Self {
        let count = all.map_or(usual, |all| all as f64);
        Self { zipf: Zipf::new(count, 1.1).expect("a size and an exponent above 0"), all }
    }

    fn of(&self, row: usize, rows: usize, rng: &mut ChaCha8Rng) -> i64 {
        let due = |row: usize| self.all.map_or(0, |all| (row as u128 * all as u128 / rows as u128) as i64);
        if due(row + 1) > due(row) { due(row + 1) } else { self.zipf.sample(rng) as i64 }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.out)?;
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let share = |percent: usize| args.ids.map(|ids| ids * percent / 100);
    let users = Ids::new(70_000.0, share(10)); // as many devices
    let items = Ids::new(900_000.0, share(60));
    let authors = Ids::new(300_000.0, share(15));
    let music = Ids::new(80_000.0, share(5));
    let mut row = |row: usize| -> [i64; 12] {
        let user = users.of(row, args.rows, &mut rng);
        let track = if rng.random_bool(0.1) { -1 } else { music.of(row, args.rows, &mut rng) };
        let [user_city, item_city] = [(); 2].map(|()| rng.random_range(-1..400));
        let (item, author) = (items.of(row, args.rows, &mut rng), authors.of(row, args.rows, &mut rng));
        let [finish, like] = [0.38, 0.01].map(|rate| i64::from(rng.random_bool(rate)));
        let device = user * 3 + if args.ids.is_some() { 0 } else { rng.random_range(0..2) };
        let created = 53_086_000_000 + rng.random_range(0..90_000_000);
        let (channel, duration) = (rng.random_range(0..5), rng.random_range(3..60));
        [user, user_city, item, author, item_city, channel, finish, like, track, device, created, duration]
    };
    let Some(files) = args.files else {
        let mut file = BufWriter::new(File::create(args.out.join("final_track1_train.txt"))?);
        for at in 0..args.rows {
            writeln!(file, "{}", row(at).map(|value| value.to_string()).join("\t"))?;
        }
        return Ok(file.flush()?);
    };
    for file in 0..files {
        let rows = file * args.rows / files..(file + 1) * args.rows / files;
        let mut columns = COLUMNS.map(|_| Vec::with_capacity(rows.len()));
        for values in rows.map(&mut row) {
            columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        }
        write_parquet(&args.out.join(format!("part-{file:04}.parquet")), columns)?;
    }
    Ok(std::fs::write(args.out.join("recipe.toml"), recipe())?)
}

fn write_parquet(path: &Path, columns: [Vec<i64>; 12]) -> Result<(), Box<dyn Error>> {
    let height = columns[0].len();
    let columns = COLUMNS.iter().zip(columns).map(|(name, values)| Column::new((*name).into(), values));
    ParquetWriter::new(File::create(path)?).finish(&mut DataFrame::new(height, columns.collect())?)?;
    Ok(())
}

/// The recipe of the text, of Parquet files.
fn recipe() -> String {
    let text = include_str!("../../../datasets/tiktok/recipe.toml");
    let (before, rest) = text.split_once("[[source]]").expect("the recipe has a source");
    let (_, fields) = rest.split_once("[[field]]").expect("the recipe has fields");
    format!("{before}[[source]]\nname = \"log\"\nfiles = [\"part-*.parquet\"]\n\n[[field]]{fields}")
}
