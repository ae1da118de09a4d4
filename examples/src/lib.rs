//! What the example programs share: how they fail, log, stop, and print.

use std::fmt::Display;
use std::io::IsTerminal;
use std::process::ExitCode;

use stem_train::metrics::shown;
use stem_train::{ModelName, RunMetrics, StopFlag};

/// Runs a program's `main`: an error becomes one readable message on stderr and exit code 1.
pub fn finish(result: Result<ExitCode, Box<dyn std::error::Error>>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Log lines on stderr, so that stdout is the program's answer alone.
pub fn log_to_stderr() {
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colours).with_target(false).without_time().init();
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
        eprintln!("stopping after this step; the best weights are kept (Ctrl-C again to end at once)");
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
