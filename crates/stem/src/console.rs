//! What the program says: its answer on stdout, its log and its bars on stderr, its exit code.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

/// The result of a subcommand; the error is printed with its causes.
pub(crate) type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// Options of every subcommand.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print the result as one line of JSON.
    #[arg(long, global = true)]
    json: bool,
}

/// Where a subcommand prints to.
pub(crate) struct Console {
    json: bool,
}

impl Console {
    pub(crate) fn start(args: &Args) -> Self {
        Self { json: args.json }
    }

    /// Prints the answer: `text` for a person, or `value` as one line of JSON where that was asked for. A closed pipe is no error.
    pub(crate) fn answer(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result {
        let mut answer = if self.json { serde_json::to_string(value)? } else { text() };
        if !answer.ends_with('\n') {
            answer.push('\n');
        }
        match io::stdout().write_all(answer.as_bytes()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => Ok(result?),
        }
    }

    /// The exit code of what was done.
    pub(crate) fn finish(&self, done: Result) -> ExitCode {
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let mut message = error.to_string();
                let mut cause = error.source();
                while let Some(error) = cause {
                    message = format!("{message}: {error}");
                    cause = error.source();
                }
                _ = writeln!(io::stderr(), "error: {message}");
                ExitCode::FAILURE
            }
        }
    }
}
