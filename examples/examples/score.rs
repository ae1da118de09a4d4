//! Scores the rows of a CSV file with a bundle: keeps its columns and appends one `p_TASK` column per task.
//!
//! ```text
//! cargo run --release --example score -- --bundle OUT/bundle.safetensors --input rows.csv --output scores.csv
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use stem_core::{DeviceSpec, Error, Predictor, Row, Value};

/// Rows read, scored and written at a time.
const ROWS_AT_ONCE: usize = 8192;

/// Appends a probability per task to every row of a CSV file.
#[derive(Parser)]
struct Args {
    /// Bundle that a training left.
    #[arg(long)]
    bundle: PathBuf,
    /// CSV file with a header that names at least the columns the model reads. An empty value is null.
    #[arg(long)]
    input: PathBuf,
    /// CSV file to write.
    #[arg(long)]
    output: PathBuf,
    /// Device: flex, ndarray, wgpu or wgpu:INDEX, of those compiled in.
    #[arg(long, default_value_t)]
    device: DeviceSpec,
}

fn main() -> ExitCode {
    stem_examples::finish(score(Args::parse()))
}

fn score(args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let predictor = Predictor::open(&args.bundle, &args.device.open()?)?;
    let reading = |error: csv::Error| stem_examples::about(args.input.display(), error);
    let mut input = csv::Reader::from_path(&args.input).map_err(reading)?;
    let header = input.headers().map_err(reading)?.clone();
    let columns = |name: &str| header.iter().filter(|column| *column == name).count();
    for field in &predictor.schema().fields {
        match columns(&field.name) {
            0 => return Err(format!("{} has no column '{}'", args.input.display(), field.name).into()),
            1 => {}
            n => return Err(format!("{} has {n} columns '{}', expected one", args.input.display(), field.name).into()),
        }
    }
    for task in predictor.schema().tasks.iter().filter(|task| columns(&format!("p_{}", task.name)) > 0) {
        let input = args.input.display();
        eprintln!("warning: {input} has a column 'p_{}' already; the last of that name is the score", task.name);
    }

    let mut scratch = args.output.clone().into_os_string();
    scratch.push(".tmp");
    let scratch = PathBuf::from(scratch);
    let written = write_scores(&predictor, &mut input, &header, &scratch, &args.input);
    let rows = written.inspect_err(|_| _ = std::fs::remove_file(&scratch))?;
    std::fs::rename(&scratch, &args.output).map_err(|e| stem_examples::about(args.output.display(), e))?;
    eprintln!("{rows} rows scored, {}", args.output.display());
    Ok(ExitCode::SUCCESS)
}

fn write_scores(
    predictor: &Predictor,
    input: &mut csv::Reader<std::fs::File>,
    header: &csv::StringRecord,
    scratch: &Path,
    name: &Path,
) -> Result<usize, Box<dyn std::error::Error>> {
    let writing = |error: csv::Error| stem_examples::about(scratch.display(), error);
    let mut output = csv::Writer::from_path(scratch).map_err(writing)?;
    let tasks = predictor.schema().tasks.iter().map(|task| format!("p_{}", task.name));
    output.write_record(header.iter().map(str::to_string).chain(tasks)).map_err(writing)?;
    let mut records = input.records();
    let mut done = 0;
    loop {
        let some: Vec<csv::StringRecord> = records
            .by_ref()
            .take(ROWS_AT_ONCE)
            .collect::<Result<_, _>>()
            .map_err(|e| stem_examples::about(name.display(), e))?;
        if some.is_empty() {
            output.flush().map_err(|e| stem_examples::about(scratch.display(), e))?;
            return Ok(done);
        }
        let value = |text: &str| if text.is_empty() { Value::Null } else { Value::from(text) };
        let row = |record: &csv::StringRecord| -> Row { header.iter().zip(record.iter().map(value)).collect() };
        let rows: Vec<Row> = some.iter().map(row).collect();
        let scores = predictor.predict(&rows).map_err(|e| stem_examples::about(name.display(), in_file(e, done)))?;
        for (record, scores) in some.iter().zip(scores.rows()) {
            let scores = scores.iter().map(|p| p.to_string());
            output.write_record(record.iter().map(str::to_string).chain(scores)).map_err(writing)?;
        }
        done += some.len();
    }
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
