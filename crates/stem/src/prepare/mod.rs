//! Raw tables to encoded columns, without training.

mod facts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use stem_core::Vocabulary;
use stem_data::{Split, SplitStatistics};
use stem_experiment::write_data_page;
use stem_train::memory;
use stem_train::ranks::Team;

use self::facts::FactsAnswer;
use crate::args::DataArgs;
use crate::console::{Console, Result};

/// Encodes the raw tables of a recipe, without training
///
/// Prints rows, seconds and peak memory (GB), the share of label 1 by task and split, how many values are known, and for each field the share of rows without a value, of values that training does not know, and the spread of numbers. data.html beside the columns tells more. A second time, with unchanged recipe and tables, only opens the result.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem prepare --recipe recipe.toml --columns out/columns
  stem prepare --recipe datasets/simulated/recipe.toml --data out/simulated --columns out/simulated/columns --json
  mpirun -n 4 stem prepare --recipe recipe.toml --columns out/columns    # each process reads its own files (docs/beyond-one-machine.md)")]
#[command(mut_arg("columns", |columns| columns.alias("out").required(true).help(
    "Folder for the encoded columns; an encoded data set that is there already is replaced"
)))]
pub(crate) struct Args {
    #[command(flatten)]
    data: DataArgs,
}

/// What was encoded, and what it took.
#[derive(Serialize)]
struct Answer<'a> {
    rows: usize,
    seconds: f64,
    rss_gb: Option<f64>,
    columns: &'a Path,
    /// The page of the data set.
    page: PathBuf,
    /// For each split its rows, and the share of label 1 among the rows that have the label, for each task.
    splits: BTreeMap<&'static str, SplitAnswer<'a>>,
    /// Known values of each vocabulary.
    vocabularies: BTreeMap<&'a str, usize>,
    #[serde(flatten)]
    facts: Option<FactsAnswer<'a>>,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct SplitAnswer<'a> {
    rows: usize,
    base_rates: BTreeMap<&'a str, Option<f64>>,
}

pub(crate) fn run(args: &Args, ranks: &Team, console: &Console) -> Result {
    console.stop_on_signal()?;
    let begun = Instant::now();
    let columns = &args.data.columns(Path::new(""));
    let Some(dataset) = args.data.open()?.encode_over(ranks, columns, console)? else {
        return Ok(()); // what was encoded, the first tells
    };
    let page = write_data_page(&dataset, columns)?;
    let rows = Split::ALL.iter().map(|&split| dataset.rows(split)).sum();
    let tasks: Vec<&str> = dataset.schema().tasks.iter().map(|task| task.name.as_str()).collect();
    let of_split = |split: Split| {
        let SplitStatistics { rows, positives, missing } = dataset.statistics(split);
        let rates = positives.iter().zip(missing).map(|(&positives, missing)| {
            let known = rows - missing;
            (known > 0).then(|| positives as f64 / known as f64)
        });
        (split.name(), SplitAnswer { rows: *rows, base_rates: tasks.iter().copied().zip(rates).collect() })
    };
    let keyed = dataset.vocabularies().iter().zip(&dataset.schema().vocabularies);
    let keyed = keyed.filter(|(vocabulary, _)| !matches!(vocabulary, Vocabulary::Number));
    let answer = Answer {
        rows,
        seconds: begun.elapsed().as_secs_f64(),
        rss_gb: memory::peak_gb(),
        columns,
        page,
        splits: Split::ALL.map(of_split).into_iter().collect(),
        vocabularies: keyed.map(|(vocabulary, spec)| (spec.name.as_str(), vocabulary.len())).collect(),
        facts: FactsAnswer::of(&dataset, &tasks),
        warnings: dataset.warnings(),
    };
    console.answer(&answer, || text(&answer, &tasks))
}

/// A line of what it took, and a table of what came out.
fn text(answer: &Answer<'_>, tasks: &[&str]) -> String {
    let Answer { rows, seconds, columns, splits, .. } = answer;
    let memory = answer.rss_gb.map_or(String::new(), |gb| format!(", {gb:.2} GB at most"));
    let mut lines = vec![format!("{rows} rows in {seconds:.2} s{memory}: {}", columns.display())];
    let width = tasks.iter().map(|task| task.chars().count()).max().unwrap_or(0).max("rows".len());
    let row = |name: &str, cells: [String; 3]| {
        format!("  {name:width$}  {:>10}  {:>10}  {:>10}", cells[0], cells[1], cells[2])
    };
    let names = Split::ALL.map(Split::name);
    lines.push(row("", names.map(String::from)));
    lines.push(row("rows", names.map(|split| splits[split].rows.to_string())));
    for task in tasks {
        let rate =
            |split: &str| splits[split].base_rates[task].map_or("-".into(), |rate| format!("{:.2} %", 100.0 * rate));
        lines.push(row(task, names.map(rate)));
    }
    let known = answer.vocabularies.iter().map(|(name, known)| format!("{name} {known}"));
    lines.push(format!("  known values: {}", known.collect::<Vec<_>>().join(", ")));
    lines.extend(answer.facts.as_ref().map(FactsAnswer::text));
    lines.push(answer.page.display().to_string());
    lines.join("\n")
}
