//! Latency of scoring one row: a small STEM over a million rows. Prints one JSON line:
//! `{"median_us","p99_us","allocations"}`, allocations a call after warming up where they are counted (which takes time too):
//!
//! ```text
//! cargo run --release --bin one_row_time
//! cargo run --release --features count-allocations --bin one_row_time
//! ```

use std::time::Instant;

use clap::Parser;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stem_benches::{batch, schema, small_stem};
use stem_core::DeviceSpec;
use stem_core::models::ModelSpec;
use stem_core::nn::{EmbeddingTable, SlotLayout, score};

#[cfg(feature = "count-allocations")]
#[global_allocator]
static COUNTED: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// Allocations so far, where they are counted.
fn allocations() -> Option<usize> {
    #[cfg(feature = "count-allocations")]
    return Some(COUNTED.stats().allocations);
    #[cfg(not(feature = "count-allocations"))]
    None
}

/// Calls before the clock starts.
const WARM_UP: usize = 500;

/// Scores rows one by one, as a service does.
#[derive(Parser)]
struct Args {
    /// Rows of the table, about.
    #[arg(long, default_value_t = 1_000_000)]
    vocab: usize,
    /// Rows that are timed.
    #[arg(long, default_value_t = 20_000)]
    rows: usize,
    #[arg(long, default_value_t)]
    device: DeviceSpec,
}

fn main() {
    let args = Args::parse();
    let device = args.device.open().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        std::process::exit(1);
    });
    let (schema, spec) = (schema(args.vocab, 2), small_stem());
    let network = spec.init(&schema, &mut ChaCha8Rng::seed_from_u64(1), &device);
    let table = EmbeddingTable::init(&schema, &spec.widths(&schema), 1e-4, 1, &device);
    let layout = SlotLayout::new(&schema, table.widths());
    let all = batch(&schema, args.rows + WARM_UP, 1);
    let slots = schema.slots();
    let rows = all
        .ids
        .chunks_exact(slots)
        .zip(all.weights.chunks_exact(slots))
        .map(|(ids, weights)| stem_core::Batch::new(1, ids.to_vec(), weights.to_vec()));
    let rows: Vec<_> = rows.collect();
    let mut microseconds = Vec::with_capacity(rows.len());
    let mut before = allocations();
    for (i, row) in rows.iter().enumerate() {
        if i == WARM_UP {
            before = allocations();
        }
        let begun = Instant::now();
        let scores = score(&network, &table, &layout, &schema, row);
        microseconds.push(begun.elapsed().as_secs_f64() * 1e6);
        assert_eq!(scores.len(), 2);
    }
    let counted = allocations().zip(before).map(|(after, before)| (after - before) as f64 / args.rows as f64);
    let counted = counted.map_or("null".into(), |count| format!("{count:.1}"));
    let timed = &mut microseconds[WARM_UP..];
    timed.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| timed[((timed.len() - 1) as f64 * share) as usize];
    println!("{{\"median_us\":{:.1},\"p99_us\":{:.1},\"allocations\":{counted}}}", at(0.5), at(0.99));
}
