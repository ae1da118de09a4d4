//! Makes a bundle of a checkpoint of the reference implementation (LiangcaiSu/STEM, FuxiCTR).

use std::path::PathBuf;

use serde_json::json;
use stem_core::DeviceSpec;
use stem_reference::import;

use crate::console::{Console, Result};

/// What stands in the configuration, after examples.
const HELP: &str = r#"Examples:
  stem import --checkpoint STEM.model --config import.toml --out bundle.safetensors
  stem import --checkpoint PLE.model --config ple.toml --out out/ple/bundle.safetensors --json

The configuration says what a state dict does not:

  tasks = ["like", "love"]          # labels, in the order of the reference's label_col
  group = "user_id"                 # optional: for gAUC
  vocabulary = "feature_vocab.json" # optional: the reference's file, relative to this one;
                                    # without it a row's values are the reference's ids

  [model]                           # name and sizes, as in an experiment's section
  name = "stem"
  dim = 16
  shared_experts = 8

  [[field]]                         # in the order of the reference's feature_map.json
  name = "user_id"
  rows = 9                          # its vocab_size

  [[field]]
  name = "words"
  kind = "sequence"                 # or "category", which is the default, or "number"
  rows = 120
  max_len = 20
  pooling = "mean"                  # or "sum"
  separator = " "

  [[field]]
  name = "last_user"
  shares = "user_id"                # its share_embedding

  [[field]]
  name = "price"
  kind = "number"                   # no rows
  default = 0.0                     # its fill_na

Nothing in a checkpoint is run. Anything in it but tensors is refused."#;

/// Makes a bundle of a PyTorch checkpoint of the Python reference
///
/// Reads what the reference wrote with torch.save(model.state_dict()), and writes a bundle that scores alike.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Checkpoint: the reference's MODEL_ID.model
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Configuration, a TOML file: tasks, model, fields, as below
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Bundle to write. One that stands there already is replaced once the new one is whole
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    let summary = import(&args.checkpoint, &args.config, &args.out, &DeviceSpec::default().open()?)?;
    let [rows, width] = summary.table;
    let answer = json!({
        "model": summary.model,
        "tasks": summary.tasks,
        "fields": summary.fields,
        "rows": rows,
        "width": width,
        "parameters": summary.parameters,
        "activation": summary.hidden,
        "left_out": summary.unread,
        "bundle": summary.bundle,
    });
    console.answer(&answer, || {
        let left_out = match summary.unread.len() {
            0 => String::new(),
            n => format!("left out    {n} tensors that the reference never reads\n"),
        };
        format!(
            "model       {}\n\
             tasks       {}\n\
             fields      {}\n\
             table       {rows} rows of {width}\n\
             parameters  {} beside the table\n\
             activation  {}, by the configuration: a checkpoint does not tell\n\
             {left_out}bundle      {}",
            summary.model,
            summary.tasks.join(", "),
            summary.fields.join(", "),
            summary.parameters,
            summary.hidden,
            summary.bundle.display()
        )
    })
}
