//! Raw tables to encoded columns, without training.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use stem_data::Split;
use stem_train::memory;

use crate::args::DataArgs;
use crate::console::{Console, Result};

/// Encodes the raw tables of a recipe, without training
///
/// Prints rows, seconds and peak memory (GB). A second time, with unchanged recipe and tables, only opens the result.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem prepare --recipe recipe.toml --columns out/columns
  stem prepare --recipe datasets/simulated/recipe.toml --data out/simulated --columns out/simulated/columns --json")]
#[command(mut_arg("columns", |columns| columns.alias("out").required(true).help(
    "Folder for the encoded columns; an encoded data set that is there already is replaced"
)))]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
}

/// What was encoded, and what it took.
#[derive(Serialize)]
struct Answer<'a> {
    rows: usize,
    seconds: f64,
    rss_gb: Option<f64>,
    columns: &'a Path,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    console.stop_on_signal()?;
    let begun = Instant::now();
    let columns = &args.data.columns(Path::new(""));
    let dataset = args.data.open()?.encode(columns, console)?;
    let rows = Split::ALL.iter().map(|&split| dataset.rows(split)).sum();
    let answer = Answer { rows, seconds: begun.elapsed().as_secs_f64(), rss_gb: memory::peak_gb(), columns };
    console.answer(&answer, || {
        let memory = answer.rss_gb.map_or(String::new(), |gb| format!(", {gb:.2} GB at most"));
        format!("{rows} rows in {:.2} s{memory}: {}", answer.seconds, columns.display())
    })
}
