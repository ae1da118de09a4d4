//! What opening a large bundle takes, and what stays in memory after requests: mapped, f32 and packed. Prints a JSON line for each.
//! Every measurement is a process of its own; before it the file is dropped from the system's cache, as far as `dd` can.
//!
//! ```text
//! cargo run --release --bin mapped_bundle
//! cargo run --release --bin mapped_bundle -- --vocab 1000000 --requests 1000
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::Parser;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use stem_benches::{batch, schema, small_stem};
use stem_core::bundle::{self, Packing, Verify};
use stem_core::models::ModelSpec;
use stem_core::nn::EmbeddingTable;
use stem_core::{Bundle, DeviceSpec, ModelConfig, Predictor, PredictorOptions, Row, Vocabulary};

/// Opens a large bundle and asks it.
#[derive(Parser)]
struct Args {
    /// Rows of the table, about.
    #[arg(long, default_value_t = 10_000_000)]
    vocab: usize,
    /// Width of an embedding; rows are three times as wide.
    #[arg(long, default_value_t = 16)]
    dim: usize,
    /// Requests of one row.
    #[arg(long, default_value_t = 10_000)]
    requests: usize,
    /// Folder for the bundles, which are removed at the end.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Leave the file in the system's cache.
    #[arg(long)]
    warm: bool,
    /// What this process does; all of it one after the other, without.
    #[arg(long, hide = true)]
    step: Option<String>,
    #[arg(long, hide = true, default_value_t)]
    verify: Verify,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let folder = args.folder.clone().unwrap_or_else(|| std::env::temp_dir().join("stem-mapped-bundle"));
    let path = |name: &str| folder.join(format!("{name}.safetensors"));
    match args.step.as_deref() {
        Some("write") => return write(&args, &path("f32")),
        Some(step) if step.starts_with("pack-") => {
            let packing: Packing = step["pack-".len()..].parse()?;
            let bundle = Bundle::<ModelConfig>::open(path("f32"))?;
            return Ok(bundle::pack(&bundle, packing)?.save(&path(&packing.to_string()), Value::Null)?);
        }
        Some(name) => return measure(&args, name, &path(name)),
        None => {}
    }
    std::fs::create_dir_all(&folder)?;
    step(&args, &folder, "write", Verify::Full)?;
    for verify in [Verify::Header, Verify::Full] {
        step(&args, &folder, "f32", verify)?;
    }
    for packing in ["f16", "int8", "int4"] {
        step(&args, &folder, &format!("pack-{packing}"), Verify::Full)?;
        step(&args, &folder, packing, Verify::Header)?;
        std::fs::remove_file(path(packing))?;
    }
    Ok(std::fs::remove_dir_all(&folder)?)
}

/// Runs a step in a process of its own.
fn step(args: &Args, folder: &Path, name: &str, verify: Verify) -> Result<(), Box<dyn std::error::Error>> {
    let file = folder.join(format!("{name}.safetensors"));
    if !args.warm && file.exists() {
        let from = format!("if={}", file.display());
        Command::new("dd").args([&from, "iflag=nocache", "count=0", "status=none"]).status()?;
    }
    let numbers = [("--vocab", args.vocab), ("--dim", args.dim), ("--requests", args.requests)];
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--folder").arg(folder).args(["--step", name, "--verify", &verify.to_string()]);
    for (option, number) in numbers {
        command.args([option, &number.to_string()]);
    }
    if command.status()?.success() { Ok(()) } else { Err(format!("{name} failed").into()) }
}

/// The benches' model over a large table, keys as integers.
fn write(args: &Args, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let ModelConfig::Stem(mut stem) = small_stem() else { unreachable!("the small STEM is a STEM") };
    stem.dim = args.dim;
    let (schema, spec, device) = (schema(args.vocab, 2), ModelConfig::Stem(stem), DeviceSpec::default().open()?);
    let keys: Vec<Vocabulary> =
        schema.vocabularies.iter().map(|spec| Vocabulary::integers(0..spec.rows as i64 - 2)).collect();
    let table = EmbeddingTable::init(&schema, &spec.widths(&schema), 0.05, 1, &device);
    let network = spec.init(&schema, &mut ChaCha8Rng::seed_from_u64(1), &device);
    Ok(bundle::save(path, &schema, &keys, &spec, &table, &network, &Value::Null)?)
}

fn measure(args: &Args, name: &str, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let (device, bytes) = (DeviceSpec::default().open()?, std::fs::metadata(path)?.len());
    let before = resident()?;
    let begun = Instant::now();
    let predictor = Predictor::open_with(path, &device, PredictorOptions::verifying(args.verify))?;
    let opened = begun.elapsed();
    let after_open = resident()?;
    let schema = predictor.schema();
    let (all, offsets) = (batch(schema, args.requests, 1), schema.offsets());
    let row = |ids: &[u32]| -> Row {
        let fields = schema.fields.iter().zip(ids).zip(&offsets);
        fields.map(|((field, id), offset)| (field.name.clone(), i64::from(id - offset))).collect()
    };
    let rows: Vec<Row> = all.ids.chunks_exact(schema.slots()).map(row).collect();
    let before_requests = resident()?;
    let begun = Instant::now();
    for row in &rows {
        predictor.predict(std::slice::from_ref(row))?;
    }
    let asked = begun.elapsed();
    let after = resident()?;
    let mib = |bytes: u64| (bytes as f64 / f64::from(1 << 20)).round();
    // what opening took and what requests took, without the rows that they ask for
    let of = |kind: usize| (after[kind] + after_open[kind]).saturating_sub(before_requests[kind] + before[kind]);
    let [file, anonymous] = [0, 1].map(of);
    println!(
        "{}",
        json!({
            "rows": name, "verify": args.verify, "table": predictor.table().dims(), "file_mib": mib(bytes),
            "open_ms": (opened.as_secs_f64() * 1e5).round() / 100.0,
            "resident_after_open_mib": mib(after_open.iter().sum::<u64>() - before.iter().sum::<u64>()),
            "requests": args.requests, "us_a_request": (asked.as_secs_f64() * 1e7 / rows.len() as f64).round() / 10.0,
            "resident_of_file_mib": mib(file), "resident_other_mib": mib(anonymous),
            "resident_share_of_file": ((file + anonymous) as f64 / bytes as f64 * 1e4).round() / 1e4,
        })
    );
    Ok(())
}

/// Bytes of this process that are in memory: of files, and others.
fn resident() -> Result<[u64; 2], Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let of = |key: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.trim_matches([':', '\t', ' ']).trim_end_matches("kB").trim().parse::<u64>().ok()? << 10)
    };
    Ok([of("RssFile").unwrap_or(0), of("RssAnon").unwrap_or(0)])
}
