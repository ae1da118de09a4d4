//! `stem init`: looks at a log, and writes a recipe and an experiment that train as they stand.

mod sources;
mod names;
mod facts;
mod time;
mod lists;
mod leak;
mod labels;
mod split;
mod guess;
mod sql;
mod write;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stem_core::files;
use stem_data::{Recipe, check_sources, look};
use stem_experiment::Experiment;

use crate::command_line::quoted;
use crate::console::{Console, Result};
use facts::{Facts, count};
use guess::{Kind, Verdict};
use write::Draft;

/// Fewer rows are not enough for three splits.
const FEWEST_ROWS: usize = 20;
/// Fewer positives are hard to learn from, and to measure on.
const FEW_POSITIVES: usize = 200;

/// Looks at a log and writes recipe.toml and experiment.toml, which train as they stand; each guess has its reason as a comment.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  stem init --data clicks.csv --labels click,buy\n  \
                        stem init --data day1.parquet day2.parquet --labels click --group user_id --out shop\n  \
                        stem init --data 'log/day=*/part-*.csv.gz' --labels click")]
pub(crate) struct Args {
    /// The log: CSV, TSV (also .gz and .zst of them), Parquet or Arrow IPC; several files, those in a folder and those that a pattern
    /// fits are parts of one log.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Columns of feedback to predict, 0 or 1 in each row; empty where it is not known. Of a number its kind stands behind a colon:
    /// play_time:regression, or :count, :watch-time, :ordinal, :classes, :zero-inflated.
    #[arg(long, value_delimiter = ',', num_args = 1.., value_name = "COLUMN,...")]
    labels: Vec<String>,
    /// Column of who saw the row, for metrics within users. By default the one that is named as users are.
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
    /// Names of the columns of a text file without a line of names, in order.
    #[arg(long, value_delimiter = ',', num_args = 1.., value_name = "COLUMN,...")]
    columns: Option<Vec<String>>,
    /// Folder for recipe.toml and experiment.toml.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    out: PathBuf,
    /// Replace a recipe.toml and an experiment.toml that are there.
    #[arg(long)]
    force: bool,
    /// Rows whose values are looked at, half of them the first and half the last. Types are those of all rows.
    #[arg(long, default_value_t = 500_000, value_name = "N", value_parser = clap::value_parser!(u64).range(20..))]
    rows_to_look_at: u64,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    let [recipe_path, experiment_path] = ["recipe.toml", "experiment.toml"].map(|name| args.out.join(name));
    if let Some(there) = [&recipe_path, &experiment_path].into_iter().find(|path| path.exists() && !args.force) {
        return Err(
            format!("{} is there already: --force replaces it, --out names another folder", there.display()).into()
        );
    }
    let files = sources::open(args)?;
    let data = args.data[0].display().to_string();
    if let Some(twice) = files.columns.iter().enumerate().find(|(i, name)| files.columns[..*i].contains(name)) {
        return Err(format!("{data} has two columns \"{}\": name each its own way", twice.1).into());
    }
    let rows = usize::try_from(args.rows_to_look_at).unwrap_or(usize::MAX);
    let looked = look(&files.source, &files.folder, rows)?;
    let facts: Vec<Facts> = looked.columns.iter().map(Facts::new).collect();
    let labels = labels::check(&args.labels, &facts, &files.source.name, &data)?;
    if looked.rows < FEWEST_ROWS {
        let rows = looked.rows;
        let needed = format!("at least {FEWEST_ROWS} are needed to train, validate and test on");
        return Err(format!("{data} has {rows} rows: {needed}").into());
    }
    let columns: Vec<String> = labels.iter().map(|label| label.column.clone()).collect();
    let group = split::group(args.group.as_deref(), &facts, &columns, &data)?;
    let split = split::guess(&facts, &columns);
    let guesses = guess::columns(&facts, &labels, group.as_ref().map(|(column, _)| column.as_str()), split.column());
    if !guesses.iter().any(|guess| matches!(guess.verdict, Verdict::Field(_))) {
        let left_out: Vec<String> = guesses
            .iter()
            .filter(|guess| guess.verdict != Verdict::Label)
            .map(|guess| format!("\n    \"{}\": {}", guess.column, guess.reason))
            .collect();
        return Err(format!("no column of {data} is left to predict the labels from{}", left_out.concat()).into());
    }
    let name = files.source.name.clone();
    let draft = Draft {
        name: &name,
        source: &files.source,
        reason: files.reason.as_deref(),
        types: &looked.types,
        rows: looked.rows,
        looked_at: looked.looked_at,
        group,
        split,
        guesses,
        labels: &labels,
    };
    let (recipe, experiment) = (draft.recipe(), draft.experiment());
    // what is written is read back first: nobody is left with files that the next command refuses
    check_sources(&Recipe::parse(&recipe, &recipe_path)?, &files.folder)?;
    Experiment::parse(&experiment, &experiment_path)?;
    files::create_folder(&args.out)?;
    files::replace_text(&recipe_path, &recipe)?;
    files::replace_text(&experiment_path, &experiment)?;

    let checks = checks(&draft);
    let next = next(&recipe_path, &files.folder, &name);
    let value = json!({
        "written": [recipe_path, experiment_path],
        "rows": looked.rows,
        "rows_looked_at": looked.looked_at,
        "group": draft.group.as_ref().map(|(column, reason)| json!({ "column": column, "reason": reason })),
        "split": { "column": draft.split.column(), "reason": draft.split.reason },
        "columns": draft.guesses.iter().map(guess_json).collect::<Vec<_>>(),
        "check": checks,
        "next": next,
    });
    console.answer(&value, || text(&draft, &[&recipe_path, &experiment_path], &checks, &next))
}

fn guess_json(guess: &guess::Guess) -> Value {
    let (verdict, kind) = match &guess.verdict {
        Verdict::Label => ("label", None),
        Verdict::Field(kind) => ("field", Some(kind.word())),
        Verdict::LeftOut(_) => ("left out", None),
    };
    json!({ "column": guess.column, "as": verdict, "kind": kind, "reason": guess.reason })
}

/// What the reader should look at before trusting the result.
fn checks(draft: &Draft<'_>) -> Vec<String> {
    let mut checks: Vec<String> = draft.guesses.iter().filter_map(|guess| guess.check.clone()).collect();
    for label in draft.labels {
        let rarer = label.positives.min(label.known - label.positives);
        if label.kind.is_none() && rarer < FEW_POSITIVES {
            checks.push(format!(
                "label \"{}\" has {} rows of the rarer kind: its metrics will be uncertain",
                label.column,
                count(rarer)
            ));
        }
    }
    if draft.group.is_none() {
        checks.push(
            "no column that is named as users are repeats its values: name one with --group, and metrics within users come with it".into(),
        );
    }
    checks
}

/// The command that trains what was written.
fn next(recipe: &Path, folder: &Path, name: &str) -> String {
    let [recipe, folder] = [recipe, folder].map(|path| quoted(&path.to_string_lossy()));
    format!("stem train --recipe {recipe} --data {folder} --model stem --out out/{name}")
}

fn text(draft: &Draft<'_>, written: &[&Path], checks: &[String], next: &str) -> String {
    let (recipe, experiment, rows) = (written[0].display(), written[1].display(), count(draft.rows));
    let looked_at = match draft.looked_at < draft.rows {
        true => format!(", {} of them looked at", count(draft.looked_at)),
        false => String::new(),
    };
    let mut lines = vec![format!("{recipe} and {experiment} written from {rows} rows{looked_at}")];
    let width = draft.guesses.iter().map(|guess| guess.column.chars().count()).max().unwrap_or(0).min(30);
    let mut block = |title: &str, wanted: &dyn Fn(&Verdict) -> Option<String>| {
        let rows: Vec<String> = draft
            .guesses
            .iter()
            .filter_map(|guess| Some(format!("  {:width$}  {}{}", guess.column, wanted(&guess.verdict)?, guess.reason)))
            .collect();
        if !rows.is_empty() {
            lines.push(format!("\n{title}:"));
            lines.extend(rows.iter().map(|row| sql::one_line(row)));
        }
    };
    block("labels", &|verdict| matches!(verdict, Verdict::Label).then(String::new));
    block("fields", &|verdict| match verdict {
        Verdict::Field(Kind::Category { min_count }) if *min_count > 1 => {
            Some(format!("category, min_count {min_count}: "))
        }
        Verdict::Field(Kind::Sequence { max_len, .. }) => Some(format!("sequence, max_len {max_len}: ")),
        Verdict::Field(kind) => Some(format!("{}: ", kind.word())),
        _ => None,
    });
    block("left out", &|verdict| matches!(verdict, Verdict::LeftOut(_)).then(String::new));
    lines.push(match &draft.group {
        Some((column, reason)) => format!("\n{}", sql::one_line(&format!("group: {column}, {reason}"))),
        None => "\ngroup: none".into(),
    });
    lines.push(sql::one_line(&format!("split: {}", draft.split.reason)));
    if !checks.is_empty() {
        lines.push("\nto check:".into());
        lines.extend(checks.iter().map(|check| format!("  - {}", sql::one_line(check))));
    }
    lines.push(format!("\nnext:\n  {next}"));
    lines.join("\n")
}
