//! `stem inspect`: what a bundle or a folder of encoded columns holds; of anything else, what it is.

mod bundle;
mod columns;
mod field;
pub(crate) mod thing;

pub(crate) use bundle::bytes;

use std::path::PathBuf;

use crate::console::{Console, Result};
use thing::Thing;

/// Says what a bundle holds (fields, an example row, tasks, model, training, checksum), or a folder of encoded columns.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  stem inspect out/shop/bundle.safetensors\n  stem inspect out/shop/columns --json")]
pub(crate) struct Args {
    /// A bundle, or a folder that `stem prepare` wrote.
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    match thing::of(&args.path)? {
        Thing::Bundle(header) => {
            let report = bundle::read(&args.path, header)?;
            console.answer(&report, || report.text())
        }
        Thing::Columns => {
            let report = columns::read(&args.path)?;
            console.answer(&report, || report.text())
        }
        Thing::Other { what, advice } => Err(format!("{} is {what}. {advice}", args.path.display()).into()),
    }
}
