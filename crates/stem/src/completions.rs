//! What a shell completes.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use crate::cli::Cli;
use crate::console::{Console, Result};

/// Prints what a shell needs to complete the options of `stem`
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem completions bash > ~/.local/share/bash-completion/completions/stem
  stem completions zsh > ~/.zfunc/_stem")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "stem", &mut script);
    let script = String::from_utf8(script)?;
    console.answer(&json!({ "shell": args.shell.to_string(), "script": script }), || script.clone())
}
