//! Scores the rows of tables with a bundle: keeps their columns and appends one `p_TASK` column per task.

mod explained;
mod scoring;
mod unseen;

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use stem_core::bundle::Verify;
use stem_core::{Predictor, PredictorOptions, files};
use stem_data::{Recipe, TableFormat, Tables};

use crate::args::{DeviceArgs, refuse_replacing};
use crate::console::{Console, Result, Stopped};
use scoring::{Failure, Scoring};

/// Scores the rows of tables with a bundle
///
/// Keeps the columns and appends one column p_TASK per task: the probability, or a number in the label's unit. The output is replaced once it is whole.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem score --bundle out/train/bundle.safetensors --input rows.csv --output scores.csv
  stem score --bundle out/train/bundle.safetensors --input log/day=*/part-*.parquet --output scores.parquet
  stem score --bundle out/train/bundle.safetensors --recipe recipe.toml --data new --output scores.jsonl.gz
  stem score --bundle out/train/bundle.safetensors --input rows.csv --output why.csv --explain 20
  stem score --bundle out/train/bundle.safetensors --input - --output - > scores.csv")]
pub(crate) struct Args {
    /// Bundle that a training left
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// Files, folders of files and patterns, together one table that has at least the columns the model reads: CSV, TSV, Parquet, Arrow
    /// IPC or JSON lines, text as .gz and .zst too; - is CSV on stdin. An empty value in text is null
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "recipe")]
    input: Vec<String>,
    /// How the input is written, where its name does not tell: csv, tsv, parquet, ipc or jsonl
    #[arg(long, conflicts_with = "recipe")]
    format: Option<TableFormat>,
    /// Recipe whose SELECT gives the rows of raw tables, instead of an input: all that it computes is computed as in training, also
    /// what takes other rows or tables. Labels and the split need not be there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "derived"])]
    recipe: Option<PathBuf>,
    /// Folder of the recipe's raw tables. By default the recipe's
    #[arg(long, value_name = "FOLDER", requires = "recipe")]
    data: Option<PathBuf>,
    /// File to write: .csv, .tsv, .jsonl (also .gz and .zst of them) or .parquet; - is CSV on stdout
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The columns hold what the recipe's SELECT gives; without it, columns that it computes are computed again from the raw ones
    #[arg(long)]
    derived: bool,
    /// Where the input has columns p_TASK already: leave them out, so that only the new scores are there. Without it that is an error
    #[arg(long)]
    overwrite_columns: bool,
    /// Say beside each score what each field adds to it (p_TASK.FIELD: the score minus what it would be with the field's mean row) and
    /// what the gates weigh (gate_TASK.LAYER.EXPERT); of the first ROWS rows, which alone are written then, or of all. A row takes as many
    /// forwards as there are fields
    #[arg(long, value_name = "ROWS", num_args = 0..=1, default_missing_value = "0")]
    explain: Option<usize>,
    /// What to do with a row that cannot be scored: fail, or leave it out of the output and say how many and why
    #[arg(long, value_enum, default_value_t = OnError::Fail, value_name = "WHAT")]
    on_error: OnError,
    /// How much of the bundle is checked before it scores: full, header or none
    #[arg(long, default_value_t)]
    verify: Verify,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What to do with a row that cannot be scored.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnError {
    Fail,
    Skip,
}

/// The name of stdin and stdout.
const STANDARD: &str = "-";

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    console.stop_on_signal()?;
    let to_stdout = args.output == Path::new(STANDARD);
    if to_stdout && console.is_json() {
        return Err(
            "scores and their summary as JSON cannot both be written to stdout: name a file with --output".into()
        );
    }
    let outputs = std::slice::from_ref(&args.output);
    refuse_replacing(outputs, [args.bundle.as_path()])?;
    let options = PredictorOptions::verifying(args.verify);
    let predictor = Predictor::open_with(&args.bundle, &args.device.device.open()?, options)?;
    let tables = args.open(console)?;
    refuse_replacing(outputs, tables.files())?;
    let is_derived = args.derived || args.recipe.is_some();
    let mut scoring = Scoring::new(
        predictor,
        &tables,
        &args.shown(&tables),
        is_derived,
        (args.on_error, args.overwrite_columns, args.explain),
        console,
    )?;
    let name = args.output.display();
    let scored = if to_stdout {
        scoring.write(tables, STANDARD, io::stdout().lock())
    } else if is_stream(&args.output) {
        let output = OpenOptions::new().write(true).open(&args.output).map_err(Failure::Output);
        output.and_then(|output| scoring.write(tables, &args.output.to_string_lossy(), output))
    } else {
        write_file(&mut scoring, tables, &args.output)
    };
    let rows = match scored {
        Ok(rows) => rows,
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()), // who read it has read enough
        Err(Failure::Output(e)) => return Err(format!("cannot write {name}: {e}").into()),
        Err(Failure::Table(stem_data::Error::Stopped)) => {
            return Err(Stopped(format!("{} rows were scored", scoring.scored)).into());
        }
        Err(Failure::Table(e)) => return Err(e.into()),
        Err(Failure::Other(e)) => return Err(e),
    };
    scoring.tell();
    let summary = format!("{rows} rows scored, {name}");
    if to_stdout {
        tracing::info!("{summary}");
        return Ok(());
    }
    let (values, unseen) = scoring.unseen.counts();
    let answer = json!({
        "rows": rows, "skipped": scoring.skipped, "output": args.output, "values": values, "unseen": unseen
    });
    console.answer(&answer, || summary)
}

impl Args {
    /// Opens what is scored.
    ///
    /// # Errors
    /// Files that are missing, or not what they should be.
    fn open(&self, console: &Console) -> Result<Tables> {
        let Some(path) = &self.recipe else { return Ok(Tables::open(&self.input, self.format)?) };
        let recipe = Recipe::load(path)?;
        let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Tables::select(&recipe, self.data.as_deref().unwrap_or(beside), &console.stop())?)
    }

    /// What is scored, in words.
    fn shown(&self, tables: &Tables) -> String {
        match (&self.recipe, tables.files().next(), tables.files().count()) {
            (Some(recipe), ..) => format!("the SELECT of {}", recipe.display()),
            (None, Some(first), 1) => first.display().to_string(),
            (None, first, files) => {
                format!("the table of {} and {} more files", first.unwrap_or(Path::new("")).display(), files - 1)
            }
        }
    }
}

/// Scores all rows into a file beside the one asked for, which it then replaces.
fn write_file(scoring: &mut Scoring<'_>, tables: Tables, path: &Path) -> Result<usize, Failure> {
    let (mut rows, mut other) = (0, None);
    let replaced = files::replace(path, |scratch| {
        let scored = scoring.write(tables, &path.to_string_lossy(), File::create(scratch)?);
        rows = scored.map_err(|failure| match failure {
            Failure::Output(error) => error,
            failure => {
                other = Some(failure);
                io::Error::other("not scored")
            }
        })?;
        Ok(())
    });
    match (other, replaced) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => Err(Failure::Other(error.into())),
        (None, Ok(())) => Ok(rows),
    }
}

/// Whether that is a pipe or a device: something to write to, and nothing to replace.
fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}
