//! What the program says: its answer on stdout, its log and its bars on stderr, its exit code.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use clap::ArgAction;
use serde::Serialize;
use stem_core::with_causes;
use stem_train::{Progress, StopFlag};
use tracing_subscriber::EnvFilter;

use crate::exit::Exit;

/// The result of a subcommand; the error is printed with its causes.
pub(crate) type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// The environment variable that says what is logged.
const FILTER: &str = "STEM_LOG";

/// Options of every subcommand.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Args {
    /// Print the result as one line of JSON
    #[arg(long, global = true)]
    json: bool,
    /// Log more: -v for the library's details, -vv for everything
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Print the result and errors alone: no log, no progress bars
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// Where a subcommand prints to.
pub(crate) struct Console {
    json: bool,
    progress: Progress,
    stop: StopFlag,
}

/// Asked to stop; what the subcommand has to say of it.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) String);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped: {}", self.0)
    }
}

impl Error for Stopped {}

/// An answer that is no; the exit code says it, and the answer was printed.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Refused {}

impl Console {
    /// Logs to stderr from now on; says errors alone where it is not the one that `speaks`, of several processes.
    ///
    /// # Errors
    /// A filter in the environment that does not parse.
    pub(crate) fn start(args: &Args, speaks: bool) -> Result<Self> {
        let filter = if speaks { args.filter()? } else { EnvFilter::new("error") };
        let progress = if args.quiet || !speaks { Progress::default() } else { Progress::on_stderr() };
        let lines = progress.clone();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || lines.clone())
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .without_time()
            .log_internal_errors(false) // a stderr that is closed or full stops nothing
            .init();
        Ok(Self { json: args.json, progress, stop: StopFlag::default() })
    }

    /// Set once the program is asked to stop.
    pub(crate) fn stop(&self) -> StopFlag {
        self.stop.clone()
    }

    /// Bars on stderr, if that is a terminal.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Whether the result is printed as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// From now on Ctrl-C, SIGTERM and SIGHUP set the flag, and the program ends with [`Exit::Interrupted`] once what was begun is
    /// finished or undone. A second one ends it at once.
    ///
    /// # Errors
    /// A handler that cannot be installed.
    pub(crate) fn stop_on_signal(&self) -> Result {
        let asked = self.stop.clone();
        ctrlc::set_handler(move || {
            if asked.is_set() {
                std::process::exit(Exit::Interrupted as i32);
            }
            asked.stop();
            tracing::warn!("stopping as soon as what is finished is kept (once more to end at once)");
        })?;
        Ok(())
    }

    /// Prints the answer: `text` for a person, or `value` as one line of JSON where that was asked for. A closed pipe is no error.
    pub(crate) fn answer(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result {
        let mut answer = if self.json { serde_json::to_string(value)? } else { text() };
        if !answer.ends_with('\n') {
            answer.push('\n');
        }
        let mut out = io::stdout().lock();
        match out.write_all(answer.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot write to stdout: {e}").into()),
            _ => Ok(()),
        }
    }

    /// How the program ends after what was done.
    pub(crate) fn finish(&self, done: Result) -> Exit {
        let is_refused = done.as_ref().is_err_and(|error| error.is::<Refused>());
        if let Err(error) = &done
            && !is_refused
        {
            print_error(error.as_ref());
        }
        match done {
            _ if self.stop.is_set() => Exit::Interrupted,
            Ok(()) => Exit::Done,
            Err(_) if is_refused => Exit::Refused,
            Err(_) => Exit::Error,
        }
    }
}

impl Args {
    /// What is logged: by the options, else by the environment, else the project's own notes and everybody's warnings.
    fn filter(&self) -> Result<EnvFilter> {
        let asked = std::env::var(FILTER).unwrap_or_default();
        let directives = match (self.quiet, self.verbose) {
            (true, _) => "off",
            (_, 0) if !asked.is_empty() => &asked,
            (_, 0) => "warn,stem=info", // targets that begin with `stem`
            (_, 1) => "info,stem=debug",
            _ => "trace",
        };
        EnvFilter::try_new(directives)
            .map_err(|e| format!("{FILTER}='{asked}': {e}, expected e.g. debug, or warn,stem_train=trace").into())
    }
}

/// Prints an error, if there is a stderr that takes it.
pub(crate) fn print_error(error: &dyn Error) {
    _ = writeln!(io::stderr(), "error: {}", with_causes(error));
}
