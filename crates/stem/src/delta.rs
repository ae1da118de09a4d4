//! `stem delta` and `stem apply`: what changed from one bundle to the next, to ship it.

use std::path::{Path, PathBuf};

use serde_json::json;
use stem_core::delta::{apply, delta};

use crate::args::refuse_replacing;
use crate::console::{Console, Result};
use crate::inspect::bytes;

/// Writes what changed from one bundle to the next, as a smaller file to ship
///
/// Rows of the table are found again by their keys, so vocabularies may have grown and shrunk in between. `stem apply` makes the new bundle
/// of the old one and this file, byte for byte.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem delta monday/bundle.safetensors tuesday/bundle.safetensors --out tuesday.delta
  stem delta old.safetensors new.safetensors --out new.delta --json")]
pub(crate) struct DeltaArgs {
    /// Bundle that the receiver has
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// Bundle that the receiver shall have
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Makes the new bundle of an old one and a delta
///
/// Refuses a delta that was made of another bundle, and one that is damaged. The output is replaced once it is whole and its checksum is right;
/// it may be the old bundle.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem apply monday/bundle.safetensors tuesday.delta --out tuesday/bundle.safetensors
  stem apply models/shop.safetensors new.delta --out models/shop.safetensors")]
pub(crate) struct ApplyArgs {
    /// Bundle that the delta was made of
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// What `stem delta` wrote
    #[arg(value_name = "DELTA")]
    delta: PathBuf,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

pub(crate) fn run_delta(args: &DeltaArgs, console: &Console) -> Result {
    refuse_replacing(std::slice::from_ref(&args.out), [args.old.as_path(), &args.new])?;
    let changed = delta(&args.old, &args.new, &args.out)?;
    let (is, of) = (size(&args.out)?, size(&args.new)?);
    let answer = json!({
        "output": args.out, "bytes": is, "bytes_of_new": of, "rows": changed.rows, "changed_rows": changed.changed_rows,
    });
    console.answer(&answer, || {
        let share = is as f64 / of.max(1) as f64;
        format!(
            "{}: {}, {share:.3} of the new bundle; {} of {} rows changed",
            args.out.display(),
            bytes(is),
            changed.changed_rows,
            changed.rows
        )
    })
}

pub(crate) fn run_apply(args: &ApplyArgs, console: &Console) -> Result {
    refuse_replacing(std::slice::from_ref(&args.out), [args.delta.as_path()])?;
    apply(&args.old, &args.delta, &args.out)?;
    let is = size(&args.out)?;
    console.answer(&json!({ "output": args.out, "bytes": is }), || format!("{}: {}", args.out.display(), bytes(is)))
}
