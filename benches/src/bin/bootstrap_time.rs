//! Times the interval of a comparison: two models ranked once, then resampled over users; prints one JSON line
//! `{"rows","groups","seeds","resamples","metric","rank_s","resample_s","transfer"}`.
//!
//! ```text
//! cargo run --release --bin bootstrap_time -- --rows 1000000 --groups 50000
//! ```

use std::time::Instant;

use clap::Parser;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use stem_report::analysis::{Bootstrap, LabelKind, Metric, Ranked, Sample};

/// A paired bootstrap over groups, on made-up scores of two models.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    #[arg(long, default_value_t = 50_000)]
    groups: u32,
    /// Seeds a model.
    #[arg(long, default_value_t = 1)]
    seeds: usize,
    #[arg(long, default_value_t = 1000)]
    resamples: usize,
    /// What is compared.
    #[arg(long, default_value_t)]
    metric: Metric,
    /// Labels are numbers, half of them 0 and the others all different.
    #[arg(long)]
    values: bool,
}

fn main() {
    let Args { rows, groups, seeds, resamples, metric, values } = Args::parse();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let kind = if values { LabelKind::Value } else { LabelKind::Binary };
    let mut label = || match kind {
        LabelKind::Binary => f32::from(u8::from(rng.random_range(0..10) == 0)),
        LabelKind::Value => (rng.random::<f32>() - 0.5).max(0.0),
        LabelKind::Class => f32::from(rng.random_range(0..10u8)),
    };
    let labels: Vec<f32> = (0..rows).map(|_| label()).collect();
    let users: Vec<u32> = (0..rows).map(|_| rng.random_range(0..groups)).collect();
    let mut scores = |knows: f32| -> Vec<f32> { labels.iter().map(|y| rng.random::<f32>() + knows * y).collect() };
    let models: Vec<Vec<f32>> = [0.2, 0.21].into_iter().flat_map(|knows| vec![knows; seeds]).map(&mut scores).collect();

    let begun = Instant::now();
    let sample = Sample::of(kind, &labels, Some(&users), None);
    let ranked: Vec<Ranked> = models.iter().map(|scores| sample.rank_for(scores, &[metric])).collect();
    let rank_s = begun.elapsed().as_secs_f64();
    let (reference, other) = ranked.split_at(seeds);
    let begun = Instant::now();
    let intervals = Bootstrap { resamples, ..Bootstrap::default() }.paired_by(metric, reference, &[other.to_vec()]);
    let resample_s = begun.elapsed().as_secs_f64();
    let line = json!({
        "rows": rows, "groups": groups, "seeds": seeds, "resamples": resamples, "metric": metric,
        "rank_s": rank_s, "resample_s": resample_s, "transfer": intervals[0],
    });
    println!("{line}");
}
