//! Holds the models to fixtures of the reference implementation, number by number.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;
use stem_core::{DeviceSpec, with_causes};
use stem_reference::parity::{Tolerances, check_fixture};

use crate::args::DeviceArgs;
use crate::console::{Console, Result};

/// Holds the models to fixtures of the Python reference, number by number
///
/// Rebuilds the model of each fixture and prints the largest error of predictions, losses, gradients and training steps.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem parity crates/stem-reference/tests/fixtures/STEM.safetensors
  stem parity STEM.safetensors PLE.safetensors --device flex --json")]
pub(crate) struct Args {
    /// Safetensors files with parameters, inputs, and what the reference makes of them
    #[arg(required = true, value_name = "FIXTURE")]
    fixtures: Vec<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Checks, counted.
#[derive(Default, Serialize)]
struct Answer {
    passed: usize,
    failed: usize,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    let spec = args.device.device;
    let device = spec.open()?;
    let tolerances = match spec {
        DeviceSpec::Wgpu(_) => Tolerances::GPU,
        _ => Tolerances::HOST,
    };
    let mut answer = Answer::default();
    let mut text = String::new();
    for fixture in &args.fixtures {
        writeln!(text, "{} on {spec}", fixture.display())?;
        match check_fixture(fixture, &device, tolerances) {
            Ok(checks) => {
                for check in checks {
                    writeln!(text, "  {check}")?;
                    *(if check.passed() { &mut answer.passed } else { &mut answer.failed }) += 1;
                }
            }
            Err(error) => {
                writeln!(text, "  FAIL {}", with_causes(&error))?;
                answer.failed += 1;
            }
        }
    }
    let Answer { passed, failed } = answer;
    console.answer(&answer, || format!("{text}{passed} passed, {failed} failed"))?;
    if failed > 0 { Err(format!("{failed} of {} checks failed", passed + failed).into()) } else { Ok(()) }
}
