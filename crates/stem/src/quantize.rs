//! `stem quantize`: the same model with smaller rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use stem_core::bundle::{Packing, pack};
use stem_core::{Bundle, ModelConfig, Predictor};
use stem_data::{Known, Rows};
use stem_experiment::measure;
use stem_report::metrics::{TaskMetrics, four_decimals};

use crate::args::{DataArgs, DeviceArgs, refuse_replacing};
use crate::console::{Console, Refused, Result};
use crate::inspect::bytes;
use crate::table::table;

/// Packs the rows of a bundle's table into fewer bytes, for serving
///
/// Writes a bundle that scores with packed rows: f16 takes half of the table, int8 a quarter, int4 an eighth. With a recipe the rows of the
/// validation split are scored by both, the metrics stand in the bundle, and it is not written (exit code 3) where the AUC of a task falls by
/// more than --max-loss. A training goes on from the bundle that it was made of.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  stem quantize out/train/bundle.safetensors --rows int8 --out small.safetensors
  stem quantize out/train/bundle.safetensors --rows int4 --out small.safetensors --recipe recipe.toml --max-loss 0.0005")]
pub(crate) struct Args {
    /// Bundle whose rows are f32
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// How its rows are packed: f16, int8 or int4
    #[arg(long)]
    rows: Packing,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A fall of a task's AUC (of a label that is a number: XAUC) by more than this is too much
    #[arg(long, value_name = "LOSS", default_value_t = 0.001)]
    max_loss: f64,
    /// Recipe of rows that both bundles score: those of its validation split
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Folder of the recipe's raw tables. By default the recipe's
    #[arg(long, value_name = "FOLDER", requires = "recipe")]
    data: Option<PathBuf>,
    /// Folder of the encoded columns, to be used again. By default none that stays
    #[arg(long, value_name = "FOLDER", requires = "recipe")]
    columns: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// What was measured on the rows of a recipe, as the manifest of the bundle holds it.
#[derive(Serialize)]
struct Measured {
    recipe: PathBuf,
    rows: usize,
    before: BTreeMap<String, TaskMetrics>,
    after: BTreeMap<String, TaskMetrics>,
}

pub(crate) fn run(args: &Args, console: &Console) -> Result {
    console.stop_on_signal()?;
    if !(args.max_loss.is_finite() && args.max_loss >= 0.0) {
        return Err(format!("--max-loss {}: expected a number of 0 or more", args.max_loss).into());
    }
    refuse_replacing(std::slice::from_ref(&args.out), [args.bundle.as_path()])?;
    let bundle = Bundle::<ModelConfig>::open(&args.bundle)?;
    let packed = pack(&bundle, args.rows)?;
    let measured = match &args.recipe {
        Some(recipe) => {
            let scratch = tempfile::tempdir()?;
            let file = scratch.path().join("packed.safetensors");
            packed.save(&file, serde_json::Value::Null)?;
            Some(args.measure(recipe, &file, scratch.path(), console)?)
        }
        None => None,
    };
    if let Some((task, before, after)) = measured.as_ref().and_then(|measured| args.lost(measured)) {
        let told = format!(
            "{}: {task} falls from {before:.4} to {after:.4}, more than --max-loss {}; nothing was written",
            args.rows, args.max_loss
        );
        tracing::error!("{told}");
        return Err(Refused(told).into());
    }
    packed.save(&args.out, json!(measured))?;
    let size = |path: &Path| -> Result<u64> { Ok(std::fs::metadata(path)?.len()) };
    let sizes = [size(&args.bundle)?, size(&args.out)?];
    let answer = json!({
        "output": args.out, "rows": args.rows, "bytes": sizes[1], "bytes_before": sizes[0],
        "largest_error": packed.packed.largest_error, "rms_error": packed.packed.rms_error, "rms": packed.packed.rms,
        "measured": measured,
    });
    console.answer(&answer, || {
        let share = sizes[1] as f64 / sizes[0] as f64;
        let mut lines = vec![
            format!("{}: {}, {share:.3} of {}", args.out.display(), bytes(sizes[1]), bytes(sizes[0])),
            format!(
                "numbers of the table are off by {:.3} % (root mean square), at most by {:e}",
                100.0 * packed.packed.rms_error / packed.packed.rms.max(f32::MIN_POSITIVE),
                packed.packed.largest_error
            ),
        ];
        match &measured {
            Some(measured) => lines.push(measured.text()),
            None => lines.push("not measured: --recipe and --data name rows that both bundles score".into()),
        }
        lines.join("\n")
    })
}

impl Args {
    /// Scores the rows of the recipe by both.
    fn measure(&self, recipe: &Path, packed: &Path, scratch: &Path, console: &Console) -> Result<Measured> {
        let source = DataArgs::of(recipe, self.data.as_deref()).open()?;
        let device = self.device.device.open()?;
        let [before, after] = [&self.bundle, packed].map(|path| Predictor::open(path, &device));
        let (before, after) = (before?, after?);
        let columns = self.columns.clone().unwrap_or_else(|| scratch.join("columns"));
        let dataset = source.encode_known(Known::from(&before), Rows::BySplit, &[], &columns, console)?;
        let rows = dataset.rows(stem_data::Split::Valid);
        if rows == 0 {
            return Err(format!("{} has no validation split to measure on", recipe.display()).into());
        }
        let of = |predictor: &Predictor| measure(predictor, &dataset, stem_data::Split::Valid);
        Ok(Measured { recipe: recipe.into(), rows, before: of(&before)?, after: of(&after)? })
    }

    /// The first task that lost too much, before and after.
    fn lost(&self, measured: &Measured) -> Option<(String, f64, f64)> {
        measured.before.iter().find_map(|(task, before)| {
            let (before, after) = decisive(before).zip(decisive(measured.after.get(task)?))?;
            (before - after > self.max_loss).then(|| (task.clone(), before, after))
        })
    }
}

/// AUC; XAUC of labels that are numbers.
fn decisive(metrics: &TaskMetrics) -> Option<f64> {
    metrics.auc.or_else(|| metrics.get(stem_report::analysis::Metric::Xauc))
}

impl Measured {
    fn text(&self) -> String {
        let mut rows = vec![["task", "before", "after", "difference"].map(str::to_string).to_vec()];
        for (task, before) in &self.before {
            let (before, after) = (decisive(before), self.after.get(task).and_then(decisive));
            let difference = before.zip(after).map_or("-".into(), |(before, after)| format!("{:+.5}", after - before));
            rows.push(vec![task.clone(), four_decimals(before), four_decimals(after), difference]);
        }
        format!("AUC (of numbers XAUC) on {} rows of the validation split:\n{}", self.rows, table(&rows))
    }
}
