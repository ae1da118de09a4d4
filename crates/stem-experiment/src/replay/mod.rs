//! A log played again day by day (progressive validation): each day is measured by a model that has not seen it, and then trained on, in
//! several ways of keeping a model up to date. What is measured is what a daily job would have served.

mod way;

use std::path::{Path, PathBuf};

use stem_core::files;
use stem_core::lock::Lock;
use stem_core::models::ModelFamily;
use stem_data::{PrepareOptions, Recipe, days};
use stem_report::report::{self, Provenance, ReplayReport, ReplayWay, Report};

use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::folder::{self, PAGE};
use crate::options::RunOptions;

pub use way::Way;
use way::{Days, Replayed};

/// What is played again, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayConfig {
    /// The model.
    pub model: String,
    /// Column of the SELECT that cuts the log into days.
    pub column: String,
    /// Days that the first model is trained on.
    pub first: usize,
    /// Share of the rows of the days trained on that is validated on.
    pub valid: f64,
    /// The ways to keep the model up to date; the gains of the others are over the first.
    pub ways: Vec<Way>,
    /// Passes over a day's rows, all of them, where the model of the day before is trained on. `None`: as many epochs as the experiment
    /// says, validated on a share of the day's rows.
    pub warm_epochs: Option<usize>,
    /// Whether the optimizer's moments go on where the model of the day before is trained on: from the second day that is, for the first model may
    /// be of other moments than each state's.
    pub moments: bool,
}

/// What came of it, and the page that tells it.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The numbers.
    pub report: ReplayReport,
    /// The tasks, in the order of the numbers.
    pub tasks: Vec<String>,
    /// Where page and numbers are: `report.html`, `replay.json`.
    pub page: PathBuf,
}

/// The numbers in the folder.
const NUMBERS: &str = "replay.json";

/// Plays a log again. `out` receives a page, the numbers, and the bundle of every day and way, `WAY/DAY/bundle.safetensors` (that of the first days is all ways', `first/DAY`). Days that were
/// trained before in that folder, by the same settings and rows, are not trained again.
///
/// # Errors
/// Settings that nothing can be played by, and everything that keeps a day from being read, trained or measured.
pub fn replay<C: ModelFamily>(
    config: &ReplayConfig,
    experiment: &Experiment<C>,
    recipe: &Recipe,
    data: &Path,
    out: &Path,
    options: &RunOptions,
) -> Result<Replay> {
    options.alone("a replay")?;
    let model = C::find(&config.model)?;
    let reading = PrepareOptions { progress: options.progress.clone(), stop: options.stop.clone() };
    let found = days(recipe, data, &config.column, &reading)?;
    check(config, found.len())?;
    let _lock = Lock::of(out)?;
    folder::check_free(out, options.overwrite)?;
    let names: Vec<String> = found.iter().map(|(day, _)| day.clone()).collect();
    let days = Days { model, config, experiment, recipe, data, out, names: &names, options };
    let mut ways = Vec::new();
    let (mut tasks, mut seconds) = (Vec::new(), 0.0);
    for way in &config.ways {
        let Replayed { days, tasks: of_way } = days.play(*way)?;
        let trained_before = usize::from(!ways.is_empty()); // the first model is all ways'
        seconds += days.iter().skip(trained_before).map(|day| day.seconds).sum::<f64>();
        tasks = of_way;
        ways.push(ReplayWay { name: way.name().into(), does: way.does(config, experiment), days });
    }
    let (measured, rows) = found[config.first..].iter().cloned().unzip();
    let report = ReplayReport { days: measured, rows, ways };
    let page = Report {
        title: format!("{model} on {}, day by day", recipe.name),
        provenance: Provenance {
            recipe: recipe.name.clone(),
            seeds: vec![experiment.train.seed],
            device: options.device.to_string(),
            versions: vec![("stem".into(), env!("CARGO_PKG_VERSION").into())],
            command: options.command.clone(),
            finished: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
            seconds,
            ..Provenance::default()
        },
        tasks: tasks.clone(),
        replay: Some(report.clone()),
        ..Report::default()
    };
    files::write_json(&out.join(NUMBERS), &report)?;
    let path = out.join(PAGE);
    files::replace_text(&path, &report::render(&page))?;
    Ok(Replay { report, tasks, page: path })
}

/// Refuses settings that nothing can be played by.
fn check(config: &ReplayConfig, days: usize) -> Result<()> {
    let refuse = |key: &'static str, found: String, expected: String| Err(Error::Replay { key, found, expected });
    let ReplayConfig { column, first, valid, ways, warm_epochs, .. } = config;
    if days < 2 {
        return refuse("by", format!("\"{column}\", which has {days} values"), "a column with two days or more".into());
    }
    if *first == 0 || *first >= days {
        return refuse("first", first.to_string(), format!("1 to {}: the log has {days} days", days - 1));
    }
    if !(0.0..1.0).contains(valid) {
        return refuse("valid", valid.to_string(), "a share of at least 0 and under 1".into());
    }
    if ways.is_empty() || ways.iter().enumerate().any(|(place, way)| ways[..place].contains(way)) {
        let named = ways.iter().map(|way| way.name()).collect::<Vec<_>>().join(", ");
        return refuse("ways", format!("\"{named}\""), "one or more ways, each once".into());
    }
    match warm_epochs {
        Some(0) => refuse("warm_epochs", "0".into(), "1 or more".into()),
        _ => Ok(()),
    }
}
