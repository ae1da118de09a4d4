//! What training over 2 to 256 machines would take, by the model of `stem_benches::ranks`: prints a Markdown table and draws a chart. Nothing is measured here.
//!
//! ```text
//! cargo run --release --bin ranks_cost -- --picture docs/img/ranks.svg
//! cargo run --release --bin ranks_cost -- --core-us 281 --network 6.2e6
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stem_benches::chart::{Chart, Line};
use stem_benches::ranks::{Job, Machines, Step, bytes_held, step};

/// Rows a second, bytes and memory over several machines, computed. Two ways to batch: as many rows in all, however many machines; as many a machine.
#[derive(Parser)]
struct Args {
    /// Rows of the table.
    #[arg(long, default_value_t = 1e9)]
    rows: f64,
    /// Fields of one value.
    #[arg(long, default_value_t = 8.0)]
    fields: f64,
    /// Of the Zipf distribution of values.
    #[arg(long, default_value_t = 1.05)]
    exponent: f64,
    /// Floats of a row.
    #[arg(long, default_value_t = 48.0)]
    width: f64,
    /// Parameters of the network.
    #[arg(long, default_value_t = 6e4)]
    network: f64,
    /// Rows of a batch in all.
    #[arg(long, default_value_t = 65536.0)]
    batch: f64,
    /// Rows of a batch a machine, in the other way.
    #[arg(long, default_value_t = 4096.0)]
    batch_a_machine: f64,
    /// Microseconds of one core for a row of a batch: `2 x train_ms / batch` of `step_time` on two threads.
    #[arg(long, default_value_t = 9.0)]
    core_us: f64,
    /// Cores of a machine.
    #[arg(long, default_value_t = 32.0)]
    cores: f64,
    /// Gbit/s of a machine.
    #[arg(long, default_value_t = 25.0)]
    gbit: f64,
    /// Microseconds until the first byte of a message is there.
    #[arg(long, default_value_t = 30.0)]
    latency_us: f64,
    /// Microseconds of the processor for a message.
    #[arg(long, default_value_t = 3.0)]
    message_us: f64,
    /// Nanoseconds of one thread for a distinct row.
    #[arg(long, default_value_t = 200.0)]
    distinct_ns: f64,
    /// Bytes of a number on the wire.
    #[arg(long, default_value_t = 4.0)]
    bytes: f64,
    /// Machines.
    #[arg(long, value_delimiter = ',', default_value = "2,4,8,16,32,64,128,256")]
    ranks: Vec<u32>,
    /// Where the chart goes.
    #[arg(long)]
    picture: Option<PathBuf>,
}

impl Args {
    fn step(&self, ranks: u32, batch: f64) -> Step {
        let machines = Machines {
            ranks: ranks.into(),
            cores: self.cores,
            bandwidth: self.gbit * 1e9 / 8.0,
            latency: self.latency_us * 1e-6,
            message: self.message_us * 1e-6,
            distinct: self.distinct_ns * 1e-9,
        };
        step(&self.job(batch), &machines)
    }

    fn job(&self, batch: f64) -> Job {
        Job {
            rows: self.rows,
            fields: self.fields,
            exponent: self.exponent,
            width: self.width,
            network: self.network,
            batch,
            core_seconds: self.core_us * 1e-6,
            bytes: self.bytes,
        }
    }

    /// Rows a second, for each number of machines.
    fn speeds(&self, batch: impl Fn(u32) -> f64) -> Vec<f64> {
        self.ranks.iter().map(|&ranks| batch(ranks) / self.step(ranks, batch(ranks)).seconds()).collect()
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    println!(
        "| machines | batch | M rows/s | ms a step | compute | wire | waiting | MB a rank sends | GB a rank holds |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for &ranks in &args.ranks {
        for batch in [args.batch, args.batch_a_machine * f64::from(ranks)] {
            let step = args.step(ranks, batch);
            let share = |part: f64| format!("{:.0} %", 100.0 * part / step.seconds());
            println!(
                "| {ranks} | {batch:.0} | {:.2} | {:.2} | {} | {} | {} | {:.2} | {:.1} |",
                batch / step.seconds() / 1e6,
                1e3 * step.seconds(),
                share(step.compute),
                share(step.wire),
                share(step.waiting),
                step.sent / 1e6,
                bytes_held(&args.job(batch), ranks.into(), false) / 1e9,
            );
        }
    }
    let Some(picture) = &args.picture else { return Ok(()) };
    let million = |speeds: Vec<f64>| speeds.into_iter().map(|speed| speed / 1e6).collect();
    let chart = Chart {
        title: "Rows a second over machines, computed".into(),
        subtitle: format!(
            "{:.0} M rows of {} floats, {} core-µs a row, {} cores, {} Gbit/s, {} µs",
            args.rows / 1e6,
            args.width,
            args.core_us,
            args.cores,
            args.gbit,
            args.latency_us
        ),
        x_title: "machines".into(),
        y_title: "million rows a second".into(),
        log: true,
        places: args.ranks.iter().map(|&ranks| (f64::from(ranks), ranks.to_string())).collect(),
        lines: vec![
            Line {
                name: format!("{} a machine", args.batch_a_machine),
                values: million(args.speeds(|ranks| args.batch_a_machine * f64::from(ranks))),
            },
            Line { name: format!("{} in all", args.batch), values: million(args.speeds(|_| args.batch)) },
        ],
    };
    std::fs::write(picture, chart.svg())?;
    Ok(())
}
