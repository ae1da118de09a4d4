//! One training step of a small STEM (experts [64, 32], 1 + 2, batch 4096): it must not grow with the vocabulary. Beside it the
//! dense step, which takes the whole table through autodiff and Adam as a plain implementation does.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use stem_benches::{batch, device, schema, small_stem};
use stem_train::{Objective, TableMode, TrainState};

fn step(criterion: &mut Criterion) {
    let device = device();
    let objective = Objective { embedding_l2: 1e-6, ..Objective::plain(2) };
    let mut group = criterion.benchmark_group("step/stem [64,32] 1+2/batch 4096");
    group.sample_size(10);
    for (mode, name, vocabularies) in [
        (TableMode::RowSparse, "row-sparse", &[10_000, 1_000_000][..]),
        (TableMode::Dense, "dense", &[10_000, 100_000][..]),
    ] {
        for &vocabulary in vocabularies {
            let schema = schema(vocabulary, 2);
            let batches: Vec<_> = (0..8).map(|seed| batch(&schema, 4096, seed)).collect();
            let mut state = Some(TrainState::init(&small_stem(), &schema, 1e-4, 1, mode, &device));
            let mut next = batches.iter().cycle();
            group.bench_function(BenchmarkId::new(name, vocabulary), |b| {
                b.iter(|| {
                    let now = state.take().expect("put back below");
                    let (_, gradients) = now.differentiate(next.next().expect("a cycle has no end"), &objective);
                    state = Some(now.apply(gradients, 1e-3, 10.0));
                    device.sync().expect("the device answers");
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
