//! Distinct rows, gather and write-back on a table of 1 M rows x 48.

use criterion::{Criterion, criterion_group, criterion_main};
use stem_benches::{batch, device, schema};
use stem_core::nn::{DistinctRows, EmbeddingTable, upload_index};
use stem_train::optimizer::{Clip, OptimizerConfig, OptimizerState, Rows};

fn rows(criterion: &mut Criterion) {
    let device = device();
    let schema = schema(1_000_000, 2);
    let ids = batch(&schema, 4096, 1).ids;
    let distinct = DistinctRows::of(&ids);
    let index = upload_index(&distinct.rows, &device);
    let mut table = EmbeddingTable::init(&schema, &[16, 16, 16], 1e-4, 1, &device);
    let mut group = criterion.benchmark_group("rows/1M x 48/batch 4096 x 8");
    group.bench_function("distinct", |b| b.iter(|| DistinctRows::of(&ids)));
    group.bench_function("gather", |b| {
        b.iter(|| {
            let rows = table.rows().gather(index.clone());
            device.sync().expect("the device answers");
            rows
        });
    });
    let grad = table.rows().gather(index.clone());
    let mut adam = OptimizerState::new(OptimizerConfig::default(), table.rows().dims(), &device);
    group.bench_function("adam and write", |b| {
        b.iter(|| {
            let touched = Rows::Distinct { ids: &distinct.rows, index: &index };
            adam.update(1e-3, table.rows_mut(), touched, grad.clone(), &Clip::Host(1.0));
            device.sync().expect("the device answers");
        });
    });
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
