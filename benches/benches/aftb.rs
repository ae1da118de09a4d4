//! The AFTB mix, forward and backward: batch 4096, 2 tasks, 10 experts of width 512.

use burn::tensor::{Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use stem_benches::device;
use stem_core::aftb::{AftbMask, mix};

fn aftb(criterion: &mut Criterion) {
    let device = device();
    let (tasks, experts, rows, hidden) = (2, 10, 4096, 512);
    device.seed(1);
    let normal = Distribution::Normal(0.0, 1.0);
    let gates = Tensor::<3>::random([tasks, rows, experts], normal, &device);
    let h = Tensor::<3>::random([experts, rows, hidden], normal, &device);
    let mask = AftbMask::task_specific(tasks, 1, 8, false);
    let mut group = criterion.benchmark_group("aftb/T 2/E 10/B 4096/H 512");
    group.sample_size(10);
    group.bench_function("forward", |b| {
        b.iter(|| {
            let o = mix(gates.clone(), h.clone(), &mask);
            device.sync().expect("the device answers");
            o
        });
    });
    group.bench_function("forward and backward", |b| {
        b.iter(|| {
            let (g, h) = (gates.clone().autodiff().require_grad(), h.clone().autodiff().require_grad());
            let grads = mix(g, h, &mask).sum().backward();
            device.sync().expect("the device answers");
            grads
        });
    });
    group.finish();
}

criterion_group!(benches, aftb);
criterion_main!(benches);
