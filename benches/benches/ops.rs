//! Every fused op beside the plain operations that specify it, forward and backward, at the sizes in its name: on flex both, on other
//! devices the plain ones.

use std::sync::Arc;

use burn::tensor::{Device, Distribution, Tensor};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stem_benches::{batch, device, schema};
use stem_core::aftb::{AftbMask, gated};
use stem_core::loss::{Targets, bce_per_task};
use stem_core::nn::{DistinctRows, ExpertOutputs, HiddenConfig, LinearBank, MlpShape, SlotLayout, upload};
use stem_core::{DeviceSpec, fused};

/// Rows of a batch.
const ROWS: usize = 4096;

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    device.seed(1);
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Times an op each way. `forward` is given leaves on autodiff or plain tensors; what it gives is summed and differentiated.
fn bench<const D: usize>(group: &mut BenchmarkGroup<WallTime>, device: &Device, op: impl Fn(bool) -> Tensor<D>) {
    let both = || op(true).sum().backward();
    beside_plain(group, device, "forward", || op(false));
    beside_plain(group, device, "forward and backward", both);
}

/// Times `work` fused and by plain operations.
fn beside_plain<R>(group: &mut BenchmarkGroup<WallTime>, device: &Device, name: &str, work: impl Fn() -> R) {
    let done = || {
        let result = work();
        device.sync().expect("the device answers");
        result
    };
    if DeviceSpec::from_env().expect("a device's name") == DeviceSpec::Flex {
        group.bench_function(format!("fused, {name}"), |b| b.iter(done));
    }
    group.bench_function(format!("plain, {name}"), |b| b.iter(|| fused::without(done)));
}

/// The tensor, as a leaf of the autodiff graph if asked for.
fn leaf<const D: usize>(tensor: &Tensor<D>, tracked: bool) -> Tensor<D> {
    if tracked { tensor.clone().autodiff().require_grad() } else { tensor.clone() }
}

fn linear(criterion: &mut Criterion) {
    let device = device();
    for (members, streams, input, output) in
        [(8, 1, 128, 512), (8, 8, 512, 512), (3, 1, 128, 64), (3, 3, 64, 32), (2, 2, 64, 1)]
    {
        let name = format!("linear/E {members}/B {ROWS}/I {input}/O {output}");
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        let rng = || ChaCha8Rng::seed_from_u64(1);
        let banks =
            [&device, &device.clone().autodiff()].map(|on| LinearBank::init(members, input, output, &mut rng(), on));
        let x = normal([streams, ROWS, input], &device);
        bench(&mut group, &device, |tracked| banks[usize::from(tracked)].forward_relu(leaf(&x, tracked)));
        group.finish();
    }
}

fn chain(criterion: &mut Criterion) {
    let (device, hidden) = (device(), HiddenConfig::default());
    let shape = MlpShape { members: 3, input: 128, widths: &[64, 32], output: Some(1), hidden: &hidden };
    let bank = shape.init(&mut ChaCha8Rng::seed_from_u64(1), &device);
    let x = normal([1, ROWS, 128], &device);
    let mut group = criterion.benchmark_group(format!("chain/E 3/B {ROWS}/128, 64, 32, 1"));
    beside_plain(&mut group, &device, "forward", || bank.forward(x.clone()));
    group.finish();
}

fn norms(criterion: &mut Criterion) {
    let device = device();
    let (grad, weights) = (normal([ROWS, 512], &device), normal([ROWS, 512], &device));
    let mut group = criterion.benchmark_group(format!("norms/{ROWS} x 512"));
    beside_plain(&mut group, &device, "squared norm", || fused::squared_norm(&grad));
    beside_plain(&mut group, &device, "L2 term", || fused::add_scaled(grad.clone(), &weights, 1e-3));
    group.finish();
}

fn mix(criterion: &mut Criterion) {
    let device = device();
    for (tasks, shared, width) in [(2, 8, 512), (2, 1, 32)] {
        let name = format!("mix/T {tasks}/E {}/B {ROWS}/H {width}", tasks + shared);
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        let z = normal([tasks, ROWS, tasks + shared], &device);
        let (own, others) = (normal([tasks, ROWS, width], &device), normal([shared, ROWS, width], &device));
        let mask = AftbMask::task_specific(tasks, 1, shared, false);
        bench(&mut group, &device, |tracked| {
            let h = ExpertOutputs { first: leaf(&own, tracked), others: Some(leaf(&others, tracked)) };
            gated(leaf(&z, tracked), h, &mask)
        });
        group.finish();
    }
}

fn bag(criterion: &mut Criterion) {
    let device = device();
    let schema = schema(1_000_000, 2);
    let batch = batch(&schema, ROWS, 1);
    let distinct = Arc::new(DistinctRows::of(&batch.ids));
    let (index, weights) = upload(&distinct.inverse, &batch.weights, batch.rows, &device);
    let rows = normal([distinct.rows.len(), 48], &device);
    let layout = SlotLayout::new(&schema, &[16; 3]);
    let mut group = criterion.benchmark_group(format!("bag/T 2/F 8/D 16/B {ROWS}"));
    group.sample_size(10);
    bench(&mut group, &device, |tracked| {
        let (index, weights) = if tracked {
            (index.clone().autodiff(), weights.clone().autodiff())
        } else {
            (index.clone(), weights.clone())
        };
        let x = layout.pool(leaf(&rows, tracked), index, weights).with_distinct(distinct.clone());
        Tensor::cat(x.streams([vec![vec![0], vec![1]], vec![vec![2]], vec![vec![0, 2], vec![1, 2]]]).into(), 0)
    });
    group.finish();
}

fn loss(criterion: &mut Criterion) {
    let device = device();
    let batch = batch(&schema(1_000, 2), ROWS, 1);
    let z = normal([ROWS, 2], &device);
    let targets = Targets::new(&batch, 2, &device);
    let mut group = criterion.benchmark_group(format!("loss/T 2/B {ROWS}"));
    bench(&mut group, &device, |tracked| bce_per_task(leaf(&z, tracked), &targets));
    group.finish();
}

criterion_group!(benches, linear, chain, mix, bag, loss, norms);
criterion_main!(benches);
