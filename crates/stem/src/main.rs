//! `stem`: trains, compares, inspects and scores multi-task recommenders.

mod console;
mod init;
mod inspect;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use console::Console;

/// Trains recommenders on several kinds of feedback at once, says whether sharing helps, and scores with them.
#[derive(Parser)]
#[command(name = "stem", version)]
struct Cli {
    #[command(flatten)]
    console: console::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Inspect(inspect::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let console = Console::start(&cli.console);
    let done = match &cli.command {
        Command::Init(args) => init::run(args, &console),
        Command::Inspect(args) => inspect::run(args, &console),
    };
    console.finish(done)
}
