//! Every metric of a million rows in 50,000 groups, from the columns on.

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stem_report::analysis::{LabelKind, Metric, Sample};

const ROWS: usize = 1_000_000;
const GROUPS: u32 = 50_000;

fn metrics(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let clicked: Vec<f32> = (0..ROWS).map(|_| f32::from(u8::from(rng.random_bool(0.2)))).collect();
    // Seconds watched: half of them 0, the others all different.
    let watched: Vec<f32> = (0..ROWS).map(|_| (60.0 * (rng.random::<f32>() - 0.5)).max(0.0)).collect();
    let chance: Vec<f32> = clicked.iter().map(|y| 0.9 * rng.random::<f32>() + 0.1 * y).collect();
    let seconds: Vec<f32> = watched.iter().map(|y| 10.0 * rng.random::<f32>() + 0.1 * y).collect();
    let groups: Vec<u32> = (0..ROWS).map(|_| rng.random_range(0..GROUPS)).collect();
    let mut group = criterion.benchmark_group("metrics/1M rows");
    group.sample_size(10);
    group.bench_function("auc of one group", |b| b.iter(|| Sample::ungrouped(&clicked).rank(&chance).auc()));
    for (kind, labels, scores) in [(LabelKind::Binary, &clicked, &chance), (LabelKind::Value, &watched, &seconds)] {
        let measure = |metrics: &[Metric]| -> Vec<Option<f64>> {
            let ranked = Sample::of(kind, labels, Some(&groups), None).rank_for(scores, metrics);
            metrics.iter().map(|metric| ranked.metric(*metric)).collect()
        };
        let fields = Metric::ALL.into_iter().filter(|metric| metric.applies_to(kind));
        for metric in fields.chain(Metric::usual(kind)) {
            group.bench_function(format!("{kind:?} {metric}"), |b| b.iter(|| measure(&[metric])));
        }
        group.bench_function(format!("{kind:?} all usual"), |b| b.iter(|| measure(&Metric::usual(kind))));
    }
    group.finish();
}

criterion_group!(benches, metrics);
criterion_main!(benches);
