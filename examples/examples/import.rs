//! Makes a bundle of a checkpoint of the reference implementation (LiangcaiSu/STEM, FuxiCTR).
//!
//! ```text
//! cargo run --release --example import -- --checkpoint STEM.model --config import.toml --out bundle.safetensors
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stem_core::DeviceSpec;
use stem_reference::import;

/// What stands in the configuration.
const CONFIG: &str = r#"The configuration says what a state dict does not:

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

/// Reads a checkpoint that the reference wrote with torch.save(model.state_dict()), and writes a bundle that scores alike.
#[derive(Parser)]
#[command(after_long_help = CONFIG)]
struct Args {
    /// Checkpoint: the reference's MODEL_ID.model.
    #[arg(long)]
    checkpoint: PathBuf,
    /// Configuration, a TOML file: tasks, model, fields. `--help` shows one.
    #[arg(long)]
    config: PathBuf,
    /// Bundle to write. One that stands there already is replaced once the new one is whole.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    stem_examples::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let summary = import(&args.checkpoint, &args.config, &args.out, &DeviceSpec::default().open()?)?;
    let [rows, width] = summary.table;
    println!("model       {}", summary.model);
    println!("tasks       {}", summary.tasks.join(", "));
    println!("fields      {}", summary.fields.join(", "));
    println!("table       {rows} rows of {width}");
    println!("parameters  {} beside the table", summary.parameters);
    println!("activation  {}, by the configuration: a checkpoint does not tell", summary.hidden);
    if !summary.unread.is_empty() {
        println!("left out    {} tensors that the reference never reads", summary.unread.len());
    }
    println!("bundle      {}", summary.bundle.display());
    Ok(ExitCode::SUCCESS)
}
