//! Does sharing help my tasks, for which users, and what should I ship?

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Serialize;
use stem_core::ModelName;
use stem_core::lock::{Lock, LockError};
use stem_experiment::{CompareConfig, Hands, RunOptions, SearchConfig, compare, lend_a_hand};
use stem_report::analysis::{Bootstrap, LabelKind, Metric};
use stem_report::metrics::four_decimals;
use stem_report::report::{Interval, ModelReport, Report, Transfer, Verdict, verdicts};
use stem_train::StopFlag;

use crate::args::{DataArgs, RunArgs, by_force, model_names, options, refuse_replacing};
use crate::console::{Console, Result};

/// Compares models with single-task: does sharing help, for whom, and what to ship
///
/// Encodes the raw tables (once), trains every model with every seed and single-task beside them, and measures on the test split
/// what each task gains or loses by sharing, for all users and for those whose feedback is comparable. Writes
/// OUT/comparison.json, OUT/report.html and OUT/runs/MODEL/seed-N. Goes on where it was stopped.
///
/// Started several times at once by `mpirun` or `srun`, on one machine or on many that share OUT, the processes share out the runs.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem compare --models stem,shared-bottom --out out/compare
  stem compare --recipe datasets/simulated/recipe.toml --data out/simulated --models stem,mmoe --seeds 1,2,3 --jobs 2
  mpirun -n 4 stem compare --models stem,shared-bottom --out out/compare")]
pub(crate) struct Args {
    #[arg(long, value_name = "MODEL,...", value_delimiter = ',', required = true, help = format!("Models, with commas: {}", model_names()))]
    models: Vec<ModelName>,
    /// Seeds of weights, shuffling and dropout, with commas: a run of every model for each
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Folder for runs, comparison and page
    #[arg(long, value_name = "FOLDER", default_value = "out/compare")]
    out: PathBuf,
    /// Runs at the same time. With dropout, runs at the same time draw from one generator and differ from time to time
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Search: which settings to try for every model before it is compared, on the validation split alone
    #[arg(long, value_name = "FILE")]
    search: Option<PathBuf>,
    /// Where users are cut: shares of the second task of a pair among a user's positives of both. By default terciles
    /// of the test rows
    #[arg(long, value_name = "LOW,HIGH", value_parser = two_numbers)]
    cuts: Option<[f64; 2]>,
    /// The field whose embeddings are drawn. By default the group (the users)
    #[arg(long, value_name = "FIELD")]
    picture: Option<String>,
    /// Resamples of the users, for the intervals
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// Two numbers with a comma.
fn two_numbers(text: &str) -> Result<[f64; 2], String> {
    let numbers = text.split(',').map(|number| number.trim().parse()).collect::<Result<Vec<f64>, _>>();
    numbers
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or("expected two numbers with a comma, e.g. 0.3,0.7".into())
}

/// What was found.
#[derive(Serialize)]
struct Answer {
    verdicts: Vec<Verdict>,
    warnings: Vec<String>,
    comparison: PathBuf,
    report: PathBuf,
}

pub(crate) fn run(args: &Args, hands: Hands, console: &Console) -> Result {
    console.stop_on_signal()?;
    let device = args.run.device.device;
    device.open()?;
    let source = args.data.open()?;
    let experiment = args.run.load_experiment(&args.data)?;
    let config = CompareConfig {
        models: args.models.iter().map(ToString::to_string).collect(),
        seeds: args.seeds.clone(),
        jobs: args.jobs,
        cuts: args.cuts,
        picture: args.picture.clone(),
        metric: source.verdict(),
        metrics: source.metrics(),
        bootstrap: Bootstrap { resamples: args.resamples, ..Bootstrap::default() },
        search: args.search.as_ref().map(SearchConfig::load).transpose()?,
    };
    config.check()?; // before the long work
    let outputs = ["plan.toml", "comparison.json", "report.html"].map(|name| args.out.join(name));
    let tables: Vec<PathBuf> = source.tables().collect();
    let inputs = [Some(&args.data.recipe), args.run.experiment.as_ref(), args.search.as_ref()];
    refuse_replacing(&outputs, tables.iter().chain(inputs.into_iter().flatten()).map(PathBuf::as_path))?;

    let columns = args.data.columns(&args.out);
    if hands.rank > 0 {
        begun(&outputs[0], &lock_of(&columns), &console.stop(), A_MOMENT)?; // the first encodes
    }
    let dataset = {
        // of several processes one encodes at a time, and whoever comes after finds it done
        let _alone = hands.are_several().then(|| turn_to_encode(&columns, console)).transpose()?;
        source.encode(&columns, console)?
    };
    let options = RunOptions { hands, ..options(&args.run, &source, console) };
    if hands.rank > 0 {
        return Ok(lend_a_hand(&config, &experiment, &dataset, &args.out, &options)?); // the first measures, and tells
    }
    let report = compare(&config, &experiment, &dataset, &args.out, &options).map_err(by_force)?;
    let [_, comparison, page] = outputs;
    let answer = Answer { verdicts: verdicts(&report), warnings: report.warnings.clone(), comparison, report: page };
    console.answer(&answer, || format!("{}\n{}", text(&report, &answer), answer.report.display()))
}

/// Time for the first process to come to the folder.
const A_MOMENT: Duration = Duration::from_secs(120);

/// Waits until the first process has begun the comparison, which is once its plan is there. Before, it encodes, however long that takes: then it holds the lock
/// `encoding`. Where it does not come at all, it looks at another folder.
fn begun(plan: &Path, encoding: &Path, stop: &StopFlag, moment: Duration) -> Result {
    let mut since = Instant::now();
    while !plan.exists() {
        if stop.is_set() {
            return Err("stopped before the first process had begun".into());
        }
        if matches!(Lock::again(encoding), Err(LockError::Taken { .. })) {
            since = Instant::now();
        }
        if since.elapsed() > moment {
            return Err(format!(
                "the first process has not begun for {} s: there is no {}. `--out` has to be a folder that the machines of all processes share",
                moment.as_secs(),
                plan.display()
            )
            .into());
        }
        sleep(Duration::from_millis(200).min(moment));
    }
    Ok(())
}

/// What is locked by who encodes into `columns`.
fn lock_of(columns: &Path) -> PathBuf {
    let name = columns.file_name().unwrap_or_default().to_string_lossy();
    columns.with_file_name(format!(".{name}-encoding"))
}

/// Waits until no other process encodes into `columns`, and keeps others out of it.
fn turn_to_encode(columns: &Path, console: &Console) -> Result<Lock> {
    let encoding = lock_of(columns);
    loop {
        match Lock::of(&encoding) {
            Err(LockError::Taken { .. }) if !console.stop().is_set() => sleep(Duration::from_millis(200)),
            lock => return Ok(lock?),
        }
    }
}

/// The table, and the answer. Users cut by what they give are on the page.
fn text(report: &Report, answer: &Answer) -> String {
    let mut out = String::new();
    for kind in LabelKind::ALL {
        let (a, others) = (Metric::plain(kind), &Metric::shown(kind)[1..]);
        let mut lines = String::new();
        for ModelReport { name, tasks, .. } in &report.models {
            for (task, numbers) in report.tasks.iter().zip(tasks).filter(|(_, numbers)| numbers.kind == kind) {
                let first = numbers.get(a);
                let value = |metric: Metric| four_decimals(numbers.get(metric).map(|s| s.mean));
                let more: String = others.iter().map(|metric| format!(" {} |", value(*metric))).collect();
                let sd = four_decimals(first.filter(|spread| spread.values.len() > 1).map(|spread| spread.sd));
                let (task, transfer) = (cell(task), transfer(numbers.transfer));
                line(&mut lines, format_args!("| {name} | {task} | {} | {sd} |{more} {transfer} |", value(a)));
            }
        }
        if !lines.is_empty() {
            let more: String = others.iter().map(|metric| format!(" {} |", metric.name())).collect();
            let rule = "|---".repeat(5 + others.len());
            line(&mut out, format_args!("| model | task | {} | sd |{more} transfer |\n{rule}|", a.name()));
            out.push_str(&lines);
        }
    }
    out.push('\n');
    for Verdict { headline, reasons, .. } in &answer.verdicts {
        line(&mut out, format_args!("{headline}: {}", reasons.join(" ")));
    }
    for warning in &answer.warnings {
        line(&mut out, format_args!("Warning: {warning}"));
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments) {
    writeln!(out, "{text}").expect("a string takes any text");
}

/// A name as a cell of a table in Markdown.
fn cell(name: &str) -> String {
    name.replace('|', r"\|")
}

/// The difference to single-task, its interval, and what that says.
fn transfer(interval: Option<Interval>) -> String {
    let Some(interval) = interval else { return "-".into() };
    let call = Transfer::of(&interval).map_or("-", Transfer::name);
    format!("{:+.4} ({:+.4} to {:+.4}), {call}", interval.mean, interval.low, interval.high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_the_first_process_is_told_where_it_does_not_come_and_waits_while_it_encodes() {
        let folder = tempfile::tempdir().unwrap();
        let (plan, encoding) = (folder.path().join("plan.toml"), lock_of(&folder.path().join("columns")));
        let moment = Duration::from_millis(100);
        let stop = StopFlag::default();
        let error = begun(&plan, &encoding, &stop, moment).unwrap_err().to_string();
        assert!(error.contains("plan.toml") && error.contains("all processes share"), "{error}");
        let first = Lock::of(&encoding).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sleep(6 * moment);
                std::fs::write(&plan, "").unwrap();
                drop(first);
            });
            begun(&plan, &encoding, &stop, moment).unwrap();
        });
        std::fs::remove_file(&plan).unwrap();
        stop.stop();
        assert!(begun(&plan, &encoding, &stop, moment).unwrap_err().to_string().starts_with("stopped before"));
    }
}
