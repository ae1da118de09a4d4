//! `stem inspect`: what a bundle or a folder of encoded columns holds; of anything else, what it is.

mod bundle;
mod columns;
mod field;
mod importance;
pub(crate) mod thing;

pub(crate) use bundle::bytes;

use std::path::PathBuf;

use crate::console::{Console, Result};
use thing::Thing;

/// Says what a bundle holds (fields, an example row, tasks, model, training, checksum), or a folder of encoded columns.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  stem inspect out/shop/bundle.safetensors\n  stem inspect out/shop/columns --json\n  stem inspect out/shop/bundle.safetensors --importance out/today"
)]
pub(crate) struct Args {
    /// A bundle, or a folder that `stem prepare` wrote.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// What each field of the bundle is worth to each task, as `stem evaluate --importance --out FOLDER` measured it
    #[arg(long, value_name = "FOLDER")]
    importance: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    match (thing::of(&args.path)?, &args.importance) {
        (Thing::Bundle(header), Some(folder)) => {
            let report = importance::read(&args.path, header.checksum.as_deref(), folder)?;
            console.answer(&report, || report.text())
        }
        (Thing::Columns, Some(_)) => {
            Err(format!("{} is a folder of columns: --importance is of a bundle", args.path.display()).into())
        }
        (Thing::Bundle(header), None) => {
            let report = bundle::read(&args.path, header)?;
            console.answer(&report, || report.text())
        }
        (Thing::Columns, None) => {
            let report = columns::read(&args.path)?;
            console.answer(&report, || report.text())
        }
        (Thing::Other { what, advice }, _) => Err(format!("{} is {what}. {advice}", args.path.display()).into()),
    }
}
