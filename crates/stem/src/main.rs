//! `stem`: trains, compares, inspects and scores multi-task recommenders.

mod exit;
mod console;
mod cli;
mod args;
mod command_line;
mod ranks;

mod demo;
mod init;
mod prepare;
mod train;
mod compare;
mod score;
#[cfg(feature = "serve")]
mod serve;
mod evaluate;
mod replay;
mod table;
mod inspect;
mod import;
mod quantize;
mod delta;
mod parity;
mod completions;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use console::Console;
use exit::Exit;

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => run(&cli),
        Err(answer) => {
            _ = answer.print(); // a closed pipe is no error
            if answer.use_stderr() { Exit::Usage } else { Exit::Done }
        }
    };
    exit.into()
}

fn run(cli: &Cli) -> Exit {
    let started = ranks::join(&cli.command).and_then(|(ranks, hands)| {
        let is_first = ranks.is_first() && hands.rank == 0;
        Ok((Console::start(&cli.console, is_first)?, ranks, hands))
    });
    let (console, ranks, hands) = match started {
        Ok(started) => started,
        Err(error) => {
            console::print_error(error.as_ref());
            return Exit::Usage;
        }
    };
    let done = match &cli.command {
        Command::Demo(args) => demo::run(args, &console),
        Command::Init(args) => init::run(args, &console),
        Command::Prepare(args) => prepare::run(args, &ranks, &console),
        Command::Train(args) => train::run(args, &ranks, &console),
        Command::Compare(args) => compare::run(args, hands, &console),
        Command::Evaluate(args) => evaluate::run(args, &console),
        Command::Replay(args) => replay::run(args, &console),
        Command::Score(args) => score::run(args, &console),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args, &console),
        Command::Inspect(args) => inspect::run(args, &console),
        Command::Import(args) => import::run(args, &console),
        Command::Quantize(args) => quantize::run(args, &console),
        Command::Delta(args) => delta::run_delta(args, &console),
        Command::Apply(args) => delta::run_apply(args, &console),
        Command::Parity(args) => parity::run(args, &console),
        Command::Completions(args) => completions::run(args, &console),
    };
    let failed = done.is_err();
    let exit = console.finish(ranks::with_rank(&ranks, done));
    ranks::leave(&ranks, exit, failed);
    exit
}
