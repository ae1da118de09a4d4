//! Raw tables to encoded columns, without training.
//!
//! ```text
//! cargo run --release --example prepare -- --recipe FILE --data DIR --out DIR
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use stem_data::{PrepareOptions, Progress, Recipe, Split, prepare};
use stem_train::memory;

/// Encodes the raw tables of a recipe; prints rows, seconds and peak memory (GB) as one line of JSON.
/// A second run with unchanged recipe and tables only opens the result.
#[derive(Parser)]
struct Args {
    /// Recipe: sources, SQL, fields, labels, split.
    #[arg(long)]
    recipe: PathBuf,
    /// Folder of the raw tables. A recipe with a simulator writes its log there when it is missing.
    #[arg(long)]
    data: PathBuf,
    /// Folder for the encoded columns; an encoded data set that is there already is replaced.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    let progress = stem_examples::log_to_stderr();
    stem_examples::finish(encode(Args::parse(), progress))
}

fn encode(args: Args, progress: Progress) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let recipe = Recipe::load(&args.recipe)?;
    let dataset =
        prepare(&recipe, &args.data, &args.out, &PrepareOptions { progress, stop: stem_examples::stop_on_ctrl_c()? })?;
    let rows: usize = Split::ALL.iter().map(|&split| dataset.rows(split)).sum();
    let seconds = begun.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "rows": rows, "seconds": seconds, "rss_gb": memory::peak_gb() }));
    Ok(ExitCode::SUCCESS)
}
