//! AUC and gAUC of a million rows in 50,000 groups.

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stem_report::analysis::Sample;

fn metrics(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let rows = 1_000_000;
    let labels: Vec<f32> = (0..rows).map(|_| f32::from(u8::from(rng.random_bool(0.2)))).collect();
    let scores: Vec<f32> = labels.iter().map(|y| rng.random::<f32>() + 0.1 * y).collect();
    let groups: Vec<u32> = (0..rows).map(|_| rng.random_range(0..50_000)).collect();
    let mut group = criterion.benchmark_group("metrics/1M rows");
    group.sample_size(10);
    group.bench_function("auc", |b| b.iter(|| Sample::ungrouped(&labels).rank(&scores).auc()));
    group.bench_function("gauc of 50k groups", |b| {
        b.iter(|| Sample::new(&labels, &groups, None).rank(&scores).gauc());
    });
    group.finish();
}

criterion_group!(benches, metrics);
criterion_main!(benches);
