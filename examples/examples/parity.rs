//! Holds the models to fixtures of the reference implementation, number by number.
//!
//! ```text
//! cargo run --release --example parity -- FIXTURE... [--device flex|ndarray|wgpu[:index]]
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use stem_core::DeviceSpec;
use stem_reference::parity::{Tolerances, check_fixture};

/// Rebuilds the model of each fixture and prints the largest error of predictions, losses, gradients and training steps.
#[derive(Parser)]
struct Args {
    /// Safetensors files with parameters, inputs, and what the reference makes of them.
    #[arg(required = true)]
    fixtures: Vec<PathBuf>,
    /// Device: flex, ndarray, wgpu or wgpu:INDEX, of those compiled in.
    #[arg(long, default_value_t)]
    device: DeviceSpec,
}

fn main() -> ExitCode {
    stem_examples::finish(run(Args::parse()))
}

fn run(args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let device = args.device.open()?;
    let tolerances = match args.device {
        DeviceSpec::Wgpu(_) => Tolerances::GPU,
        _ => Tolerances::HOST,
    };
    let (mut passed, mut failed) = (0, 0);
    for fixture in &args.fixtures {
        println!("{} on {}", fixture.display(), args.device);
        match check_fixture(fixture, &device, tolerances) {
            Ok(checks) => {
                for check in checks {
                    println!("  {check}");
                    *(if check.passed() { &mut passed } else { &mut failed }) += 1;
                }
            }
            Err(error) => {
                println!("  FAIL {error}");
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
