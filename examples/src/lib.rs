//! What the example programs share: how they fail, log, stop, and print.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use stem_experiment::{Experiment, ModelName, RunMetrics};
use stem_report::metrics::shown;
use stem_train::{Progress, StopFlag};

/// Runs a program's `main`: an error becomes one readable message on stderr and exit code 1.
pub fn finish(result: Result<ExitCode, Box<dyn std::error::Error>>) -> ExitCode {
    result.unwrap_or_else(|error| {
        let causes = std::iter::successors(Some(&*error as &dyn std::error::Error), |error| error.source());
        eprintln!("error: {}", causes.map(ToString::to_string).collect::<Vec<_>>().join(": "));
        ExitCode::FAILURE
    })
}

/// Log lines on stderr, above the progress bars that are drawn there too, so that stdout is the program's answer alone.
pub fn log_to_stderr() -> Progress {
    let progress = Progress::on_stderr();
    let (colours, above) = (std::io::stderr().is_terminal(), progress.clone());
    let lines = move || AboveBars(above.clone());
    tracing_subscriber::fmt().with_writer(lines).with_ansi(colours).with_target(false).without_time().init();
    progress
}

/// Prints a program's answer; whoever reads it may stop reading.
///
/// # Errors
/// A stdout that cannot be written.
pub fn print(answer: &str) -> io::Result<()> {
    match io::stdout().write_all(answer.as_bytes()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// A name as a cell of a table in Markdown.
pub fn cell(name: &str) -> String {
    name.replace('|', r"\|")
}

/// Writes to stderr while no bar is in the way.
struct AboveBars(Progress);

impl Write for AboveBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(line))
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The command line of an example, as it is typed again in a shell.
pub fn command_line(example: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@%".contains(c);
    let quote = |arg: OsString| match arg.to_string_lossy() {
        arg if !arg.is_empty() && arg.chars().all(plain) => arg.into_owned(),
        arg => format!("'{}'", arg.replace('\'', r"'\''")),
    };
    let args: Vec<String> = std::env::args_os().skip(1).map(quote).collect();
    let features = [("ndarray", cfg!(feature = "ndarray")), ("wgpu", cfg!(feature = "wgpu"))];
    let features: Vec<&str> = features.into_iter().filter_map(|(name, is_in)| is_in.then_some(name)).collect();
    let features = if features.is_empty() { String::new() } else { format!(" --features {}", features.join(",")) };
    format!("cargo run --release{features} --example {example} -- {}", args.join(" "))
}

/// The experiment asked for, else `experiment.toml` beside the recipe, else small models.
///
/// # Errors
/// A file that does not read or parse.
pub fn load_experiment(config: Option<&Path>, recipe: &Path) -> stem_experiment::Result<Experiment> {
    let beside = recipe.with_file_name("experiment.toml");
    match config {
        Some(path) => Experiment::load(path),
        None if beside.exists() => Experiment::load(beside),
        None => Ok(Experiment::default()),
    }
}

/// A stop flag that Ctrl-C sets: the step is finished, the best weights are kept, the bundle is written.
/// A second Ctrl-C ends the program at once.
///
/// # Errors
/// A handler that cannot be installed.
pub fn stop_on_ctrl_c() -> Result<StopFlag, ctrlc::Error> {
    let stop = StopFlag::default();
    let asked = stop.clone();
    ctrlc::set_handler(move || {
        if asked.is_set() {
            std::process::exit(130);
        }
        eprintln!("stopping after this step; what is finished is kept (Ctrl-C again to end at once)");
        asked.stop();
    })?;
    Ok(stop)
}

/// All models, for `--help`.
pub fn model_names() -> String {
    ModelName::ALL.iter().map(|model| model.as_str()).collect::<Vec<_>>().join(", ")
}

/// One line per model and task, on the test split.
pub fn print_table<'a>(runs: impl IntoIterator<Item = &'a RunMetrics>) {
    println!("{:<14} {:<10} {:>8} {:>8} {:>8} {:>12}", "model", "task", "AUC", "gAUC", "logloss", "calibration");
    for run in runs {
        for (task, metrics) in run.tasks.iter().filter_map(|task| Some((task, run.test.get(task)?))) {
            println!(
                "{:<14} {:<10} {:>8} {:>8} {:>8} {:>12}",
                run.model.as_str(),
                task,
                shown(metrics.auc),
                shown(metrics.gauc),
                shown(metrics.logloss),
                shown(metrics.calibration)
            );
        }
    }
}

/// Adds the file that a message is about.
pub fn about(file: impl Display, error: impl Display) -> String {
    format!("{file}: {error}")
}
