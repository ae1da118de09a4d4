//! Scores the rows of a CSV file with a bundle: keeps its columns and appends one `p_TASK` column per task.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use csv::StringRecord;
use serde_json::json;
use stem_core::{Derived, Error, Predictor, Row, Scores, Value, files};
use stem_data::{Derivation, StrictQuotes};

use crate::args::{DeviceArgs, refuse_replacing};
use crate::console::{Console, Result, Stopped, with_causes};

/// Rows read, scored and written at a time.
const ROWS_AT_ONCE: usize = 8192;

/// Scores the rows of a CSV file with a bundle
///
/// Keeps the columns and appends one column p_TASK per task, the probability. The output is replaced once it is whole.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem score --bundle out/train/bundle.safetensors --input rows.csv --output scores.csv
  stem score --bundle out/train/bundle.safetensors --input rows.csv --output - > scores.csv")]
pub(crate) struct Args {
    /// Bundle that a training left
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// CSV file with a header that names at least the columns the model reads; - is stdin. An empty value is null
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// CSV file to write; - is stdout
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The columns hold what the recipe's SELECT gives; without it, columns that it computes are computed again from the raw ones
    #[arg(long)]
    derived: bool,
    /// What to do with a row that cannot be scored: fail, or leave it out of the output and say how many and why
    #[arg(long, value_enum, default_value_t = OnError::Fail, value_name = "WHAT")]
    on_error: OnError,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What to do with a row that cannot be scored.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnError {
    Fail,
    Skip,
}

/// Rows left out whose reasons are told.
const TOLD: usize = 3;

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
    refuse_replacing(std::slice::from_ref(&args.output), [args.bundle.as_path(), args.input.as_path()])?;
    let mut scoring = Scoring::open(args, console)?;
    let name = args.output.display();
    let scored = if to_stdout {
        scoring.to(io::stdout().lock())
    } else if is_stream(&args.output) {
        OpenOptions::new().write(true).open(&args.output).map_err(Failure::Output).and_then(|output| scoring.to(output))
    } else {
        scoring.write_file(&args.output)
    };
    let rows = match scored {
        Ok(rows) => rows,
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()), // who read it has read enough
        Err(Failure::Output(e)) => return Err(format!("cannot write {name}: {e}").into()),
        Err(Failure::Other(e)) => return Err(e),
    };
    let summary = format!("{rows} rows scored, {name}");
    if to_stdout {
        tracing::info!("{summary}");
        return Ok(());
    }
    let answer = json!({ "rows": rows, "skipped": scoring.skipped.len(), "output": args.output });
    console.answer(&answer, || summary)
}

/// Whether that is a pipe or a device: something to write to, and nothing to replace.
fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Why rows were not scored.
enum Failure {
    /// The output does not take them.
    Output(io::Error),
    /// Anything else.
    Other(Box<dyn std::error::Error>),
}

/// The writer's.
impl From<csv::Error> for Failure {
    fn from(error: csv::Error) -> Self {
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Self::Output(error),
            other => Self::Other(format!("{other:?}").into()), // records of one length, by the header
        }
    }
}

/// A model, and the rows that it is to score.
struct Scoring<'a> {
    predictor: Predictor,
    input: csv::Reader<Box<dyn Read>>,
    header: StringRecord,
    name: &'a Path,
    /// What the recipe's SELECT computed of raw columns.
    derivation: Option<Derivation>,
    on_error: OnError,
    /// Why rows were left out.
    skipped: Vec<String>,
    console: &'a Console,
}

impl<'a> Scoring<'a> {
    /// Opens both.
    ///
    /// # Errors
    /// A bundle that is none, and columns that are missing or there twice.
    fn open(args: &'a Args, console: &'a Console) -> Result<Self> {
        let predictor = Predictor::open(&args.bundle, &args.device.device.open()?)?;
        let name = args.input.as_path();
        let input: Box<dyn Read> = if name == Path::new(STANDARD) {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(name).map_err(|e| about(name, &e))?)
        };
        let mut input = csv::Reader::from_reader(Box::new(StrictQuotes::new(input)) as Box<dyn Read>);
        let header = input.headers().map_err(|e| about(name, &e))?.clone();
        let columns = |name: &str| header.iter().filter(|column| *column == name).count();
        let names: Vec<&str> = header.iter().collect();
        let derivation = if args.derived { None } else { Derivation::of(predictor.schema(), &names) };
        let read = derivation.iter().flat_map(Derivation::reads);
        if let Some((twice, n)) = read.map(|column| (column, columns(column))).find(|(_, n)| *n > 1) {
            return Err(format!("{} has {n} columns '{twice}', expected one", name.display()).into());
        }
        for field in &predictor.schema().fields {
            let is_computed = derivation.as_ref().is_some_and(|derivation| derivation.gives(&field.name));
            match (&field.derived, columns(&field.name)) {
                _ if is_computed => continue,
                (Some(derived), 0) => return Err(lacks(name, &field.name, derived).into()),
                (Some(derived), _) if !args.derived => tracing::warn!(
                    "'{}' is taken from {} as it is; in training it was {}",
                    field.name,
                    name.display(),
                    derived.sql
                ),
                _ => {}
            }
            match columns(&field.name) {
                0 => return Err(format!("{} has no column '{}'", name.display(), field.name).into()),
                1 => {}
                n => return Err(format!("{} has {n} columns '{}', expected one", name.display(), field.name).into()),
            }
        }
        for task in predictor.schema().tasks.iter().filter(|task| columns(&format!("p_{}", task.name)) > 0) {
            let (name, task) = (name.display(), &task.name);
            tracing::warn!("{name} has a column 'p_{task}' already; the last of that name is the score");
        }
        Ok(Self { predictor, input, header, name, derivation, on_error: args.on_error, skipped: vec![], console })
    }

    /// Scores all rows into a file beside the one asked for, which it then replaces.
    fn write_file(&mut self, path: &Path) -> Result<usize, Failure> {
        let (mut rows, mut other) = (0, None);
        let replaced = files::replace(path, |scratch| {
            rows = self.to(File::create(scratch)?).map_err(|failure| match failure {
                Failure::Output(error) => error,
                Failure::Other(error) => {
                    other = Some(error);
                    io::Error::other("not scored")
                }
            })?;
            Ok(())
        });
        match (other, replaced) {
            (Some(error), _) => Err(Failure::Other(error)),
            (None, Err(error)) => Err(Failure::Other(error.into())),
            (None, Ok(())) => Ok(rows),
        }
    }

    /// Scores all rows; gives their number.
    fn to(&mut self, output: impl Write) -> Result<usize, Failure> {
        let mut output = csv::Writer::from_writer(output);
        let tasks = self.predictor.schema().tasks.iter().map(|task| format!("p_{}", task.name));
        output.write_record(self.header.iter().map(str::to_string).chain(tasks))?;
        let stop = self.console.stop();
        let (mut done, mut scored) = (0, 0);
        loop {
            let (records, read) = self.read().map_err(|e| Failure::Other(about(self.name, &e)))?;
            if read == 0 {
                output.flush().map_err(Failure::Output)?;
                self.tell_skipped();
                return Ok(scored);
            }
            if stop.is_set() {
                return Err(Failure::Other(Stopped(format!("{done} rows were scored")).into()));
            }
            let (records, scores) = self.score(records, done).map_err(Failure::Other)?;
            for (record, scores) in records.iter().zip(scores.rows()) {
                let scores = scores.iter().map(|p| p.to_string());
                output.write_record(record.iter().map(str::to_string).chain(scores))?;
            }
            (done, scored) = (done + read, scored + records.len());
        }
    }

    /// The next rows of the input that are whole, and how many were read; none at its end.
    fn read(&mut self) -> csv::Result<(Vec<StringRecord>, usize)> {
        let (mut records, mut read) = (Vec::new(), 0);
        for record in self.input.records().take(ROWS_AT_ONCE) {
            read += 1;
            match record {
                Ok(record) => records.push(record),
                Err(error) if error.is_io_error() || self.on_error == OnError::Fail => return Err(error),
                Err(error) => self.skipped.push(error.to_string()),
            }
        }
        Ok((records, read))
    }

    /// The scores of rows, the first of which is row `first` of the file; of those that can be scored, where others are left out.
    fn score(&mut self, records: Vec<StringRecord>, first: usize) -> Result<(Vec<StringRecord>, Scores)> {
        let scores = self
            .rows(&records, first)
            .and_then(|rows| self.predictor.predict(&rows).map_err(|e| about(self.name, &in_file(e, first))));
        match (scores, self.on_error) {
            (Ok(scores), _) => Ok((records, scores)),
            (Err(error), OnError::Fail) => Err(error),
            (Err(_), OnError::Skip) => {
                let mut whole = Vec::with_capacity(records.len());
                for (place, record) in records.into_iter().enumerate() {
                    let rows = self.rows(std::slice::from_ref(&record), first + place);
                    let encoded = rows.and_then(|rows| {
                        self.predictor.encode(&rows).map_err(|e| about(self.name, &in_file(e, first + place)))
                    });
                    match encoded {
                        Ok(_) => whole.push(record),
                        Err(error) => self.skipped.push(error.to_string()),
                    }
                }
                let scores = self.predictor.predict(&self.rows(&whole, first)?)?;
                Ok((whole, scores))
            }
        }
    }

    /// Records as a model takes them, with the columns that the recipe's SELECT computes.
    fn rows(&self, records: &[StringRecord], first: usize) -> Result<Vec<Row>> {
        let row = |record: &StringRecord| -> Row { self.header.iter().zip(record).collect() };
        let mut rows: Vec<Row> = records.iter().map(row).collect();
        let Some(derivation) = &self.derivation else { return Ok(rows) };
        let cells = |column: &str| {
            let place = self.header.iter().position(|name| name == column).unwrap_or(usize::MAX);
            let is_null = |text: &str| self.predictor.schema().is_null(&Value::from(text));
            let cell = |record: &StringRecord| record.get(place).filter(|text| !is_null(text)).map(str::to_string);
            records.iter().map(cell).collect()
        };
        let derived = derivation.run(cells).map_err(|e| about(self.name, &in_table(e, first)))?;
        for (column, values) in derived {
            rows.iter_mut().zip(values).for_each(|(row, value)| drop(row.insert(column.clone(), value)));
        }
        Ok(rows)
    }

    fn tell_skipped(&self) {
        if !self.skipped.is_empty() {
            let more = if self.skipped.len() > TOLD { "\n  ..." } else { "" };
            let reasons = self.skipped.iter().take(TOLD).map(|reason| format!("\n  {reason}")).collect::<String>();
            tracing::warn!("{} rows cannot be scored and are left out:{reasons}{more}", self.skipped.len());
        }
    }
}

/// What a table lacks that a model reads, where training computed it.
fn lacks(table: &Path, column: &str, derived: &Derived) -> String {
    let reads = derived.reads.keys().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let from = match reads.as_str() {
        "" => "from other rows or tables: join it to the table first".to_string(),
        reads => format!("from {reads}: add what is missing of them"),
    };
    format!("{} has no column '{column}'; in training it was {}, computed {from}", table.display(), derived.sql)
}

/// The error with its row counted from the first of the file.
fn in_table(error: stem_data::Error, before: usize) -> stem_data::Error {
    match error {
        stem_data::Error::Value { column, row, expected, found } => {
            stem_data::Error::Value { column, row: row + before, expected, found }
        }
        other => other,
    }
}

/// Adds the file that a message is about.
fn about(file: &Path, error: &dyn std::error::Error) -> Box<dyn std::error::Error> {
    format!("{}: {}", file.display(), with_causes(error)).into()
}

/// The error with its row counted from the first of the file, not of the rows scored together.
fn in_file(error: Error, before: usize) -> Error {
    match error {
        Error::WrongType { column, row, expected, found } => {
            Error::WrongType { column, row: row + before, expected, found }
        }
        Error::MissingColumn { column, row, columns } => Error::MissingColumn { column, row: row + before, columns },
        other => other,
    }
}
