//! Raw tables to encoded columns, without training: `prepare --recipe FILE --data DIR --out DIR`.
//!
//! Prints one line of JSON: rows of all splits, seconds, and the most memory that was held (`null` where the system does not tell).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use stem_data::{Recipe, Split, prepare};

/// Encode the raw tables of a recipe. A second run with unchanged recipe and tables only opens the result.
#[derive(Parser)]
struct Arguments {
    /// The recipe: sources, SELECT, fields, labels and split (see datasets/*/recipe.toml).
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
    /// Folder of the raw tables; a simulated log is written here when it is not there yet.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder for the encoded data set; a data set that is there already is replaced.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> stem_data::Result<serde_json::Value> {
    let start = Instant::now();
    let recipe = Recipe::load(&arguments.recipe)?;
    let dataset = prepare(&recipe, &arguments.data, &arguments.out, true)?;
    dataset.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    let rows: usize = Split::ALL.iter().map(|&split| dataset.rows(split)).sum();
    Ok(serde_json::json!({ "rows": rows, "seconds": start.elapsed().as_secs_f64(), "rss_gb": peak_memory() }))
}

/// Gigabytes, from the system's own account of this process.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e9)
}
