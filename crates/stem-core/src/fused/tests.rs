//! Every fused op against the plain operations that specify it: what it gives, and the gradients of all it reads.

use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use proptest::prelude::*;

use stem_kernels::bag::ColumnGroups;

use crate::aftb::{AftbMask, gated, plain_gated};
use crate::embedding::{DistinctRows, SlotLayout};
use crate::experts::ExpertOutputs;
use crate::loss::{Targets, plain_bce};
use crate::mlp::{LinearBank, plain_linear};
use crate::nn::upload;
use crate::schema::{Field, FieldKind, Keep, Pooling, Schema, VocabularySpec};
use crate::{Batch, MISSING, precision};

fn device() -> Device {
    Device::flex()
}

/// Numbers within -1 and 1, the same for the same seed.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

fn tensor<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers(shape.iter().product(), seed), shape), &device())
}

/// A leaf of the autodiff graph.
fn leaf<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    tensor(shape, seed).autodiff().require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Takes a gradient out of all.
type Taken<'a> = &'a dyn Fn(&mut Gradients) -> Vec<f32>;

/// `y`, and the gradients of the leaves under a weighted sum of it.
fn differentiate<const D: usize>(y: Tensor<D>, leaves: &[Taken]) -> Vec<Vec<f32>> {
    let weights = tensor(y.dims(), 99).autodiff();
    let mut grads = (y.clone() * weights).sum().backward();
    std::iter::once(values(y.inner())).chain(leaves.iter().map(|leaf| leaf(&mut grads))).collect()
}

/// Takes the gradient of a leaf.
fn of<const D: usize>(leaf: &Tensor<D>) -> impl Fn(&mut Gradients) -> Vec<f32> + use<D> {
    let leaf = leaf.clone();
    move |grads| values(leaf.grad_remove(grads).unwrap())
}

fn close(found: &[Vec<f32>], expected: &[Vec<f32>]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
        prop_assert_eq!(found.len(), expected.len());
        for (i, (a, b)) in found.iter().zip(expected).enumerate() {
            prop_assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{k} at {i}: {a}, expected {b}");
        }
    }
    Ok(())
}

fn few(least: usize) -> impl Strategy<Value = usize> {
    prop_oneof![Just(least.max(1)), 1usize..6, 15usize..40]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_linear_bank_is_product_bias_and_relu(
        (members, rows, input, output) in (1usize..5, few(1), few(1), few(1)),
        (shared, rectified) in any::<(bool, bool)>(),
        many in 1usize..4,
        seed in any::<u64>(),
    ) {
        let streams = if members == 1 { many } else if shared { 1 } else { members };
        let (x, weight, bias) =
            (leaf([streams, rows, input], seed), leaf([members, input, output], seed ^ 1), leaf([members, 1, output], seed ^ 2));
        let leaves: [Taken; 3] = [&of(&x), &of(&weight), &of(&bias)];
        let fused = super::linear(&x, &weight, &bias, rectified).unwrap();
        let plain = plain_linear(x.clone(), weight.clone(), bias.clone(), rectified);
        close(&differentiate(fused, &leaves), &differentiate(plain, &leaves))?;
    }

    #[test]
    fn a_mix_is_softmax_mix_and_masked_backward(
        (tasks, specific, shared, rows, width) in (1usize..4, 0usize..3, 0usize..3, few(1), few(1))
            .prop_filter("an expert", |(_, specific, shared, ..)| specific + shared > 0),
        open in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let (own, experts) = (tasks * specific, tasks * specific + shared);
        let mask = if open { AftbMask::open(tasks, experts) } else { AftbMask::task_specific(tasks, specific, shared, false) };
        let z = leaf([tasks, rows, experts], seed);
        let parts: Vec<Tensor<3>> =
            [own, shared].into_iter().filter(|e| *e > 0).map(|e| leaf([e, rows, width], seed ^ e as u64)).collect();
        let grads: Vec<_> = parts.iter().map(of).collect();
        let of_z = of(&z);
        let leaves: Vec<Taken> =
            std::iter::once(&of_z as Taken).chain(grads.iter().map(|g| g as Taken)).collect();
        let h = || ExpertOutputs { first: parts[0].clone(), others: parts.get(1).cloned() };
        let fused = gated(z.clone(), h(), &mask);
        let plain = plain_gated(z.clone(), h(), &mask);
        close(&differentiate(fused, &leaves), &differentiate(plain, &leaves))?;
    }

    #[test]
    fn a_bag_is_select_weight_and_sum(
        lengths in prop::collection::vec(1usize..4, 1..5),
        rows in few(1),
        dim in few(1),
        seed in any::<u64>(),
    ) {
        let fields = lengths.iter().enumerate().map(|(f, &length)| Field {
            kind: FieldKind::Sequence { max_len: length, pooling: Pooling::Sum, keep: Keep::First },
            ..Field::category(format!("f{f}"), 0)
        });
        let vocabularies = vec![VocabularySpec::new("v", 30)];
        let schema = Schema::new(fields.collect(), vocabularies, vec![]);
        let slots = schema.slots();
        let ids: Vec<u32> = numbers(rows * slots, seed).iter().map(|x| ((x + 1.0) * 14.9) as u32).collect();
        let weights: Vec<f32> = numbers(rows * slots, seed ^ 1).iter().map(|w| if *w < -0.5 { 0.0 } else { *w }).collect();
        let distinct = DistinctRows::of(&ids);
        let (index, weights) = upload(&distinct.inverse, &weights, rows, &device());
        let leaf = leaf([distinct.rows.len(), 3 * dim], seed ^ 2);
        let layout = SlotLayout::new(&schema, &[dim; 3]);
        let x = layout.pool(leaf.clone(), index.autodiff(), weights.autodiff());
        let fused = x.clone().with_distinct(Arc::new(distinct));
        let leaves: [Taken; 1] = [&of(&leaf)];
        let [tasks, shared, sums] = fused.streams([vec![vec![0], vec![1]], vec![vec![2]], vec![vec![0, 2], vec![1, 2]]]);
        let (own, both) = (vec![vec![0], vec![dim]], vec![vec![0, 2 * dim], vec![dim, 2 * dim]]);
        for (fused, starts) in [
            (fused.stack(0..2), own.clone()),
            (fused.group(2), vec![vec![2 * dim]]),
            (tasks, own),
            (shared, vec![vec![2 * dim]]),
            (sums, both),
        ] {
            close(&differentiate(fused, &leaves), &differentiate(x.plain_streams(&ColumnGroups::new(starts, dim)), &leaves))?;
        }
    }

    #[test]
    fn a_bag_of_few_slots_over_many_rows_is_the_same_with_the_rows_taken_first(
        (rows, fields) in (1usize..4, 1usize..4),
        dim in few(1),
        seed in any::<u64>(),
    ) {
        let fields = (0..fields).map(|f| Field::category(format!("f{f}"), 0)).collect();
        let vocabularies = vec![VocabularySpec::new("v", 30)];
        let schema = Schema::new(fields, vocabularies, vec![]);
        let places = rows * schema.slots();
        let ids: Vec<u32> = numbers(places, seed).iter().map(|x| ((x + 1.0) * 3.0) as u32).collect(); // some of them twice
        let (index, weights) = upload(&ids, &numbers(places, seed ^ 1), rows, &device());
        let leaf = leaf([30, 2 * dim], seed ^ 2);
        let layout = SlotLayout::new(&schema, &[dim; 2]);
        let x = layout.pool(leaf.clone(), index.autodiff(), weights.autodiff());
        let leaves: [Taken; 1] = [&of(&leaf)];
        let [fused] = x.clone().with_distinct(DistinctRows::all(30, &ids).into()).streams([vec![vec![0, 1], vec![1]]]);
        let plain = x.plain_streams(&ColumnGroups::new(vec![vec![0, dim], vec![dim]], dim));
        close(&differentiate(fused, &leaves), &differentiate(plain, &leaves))?;
    }

    #[test]
    fn streams_of_one_tensor_add_their_gradients_whichever_of_them_are_read(
        (rows, width) in (few(1), few(1)),
        read in prop::collection::vec(any::<bool>(), 3).prop_filter("one", |read| read.contains(&true)),
        seed in any::<u64>(),
    ) {
        let leaf = leaf([3, rows, width], seed);
        let lists = [vec![vec![0], vec![1]], vec![vec![2]], vec![vec![0, 2], vec![1, 2], vec![2, 2]]];
        let group = |k: &usize| leaf.clone().slice_dim(0, *k..*k + 1);
        let stream = |groups: &Vec<usize>| groups.iter().map(group).reduce(|a, b| a + b).unwrap();
        let plain = lists.each_ref().map(|list| Tensor::cat(list.iter().map(stream).collect(), 0));
        let loss = |streams: [Tensor<3>; 3]| {
            let scaled = streams.into_iter().enumerate().filter(|(i, _)| read[*i]).map(|(i, y)| (y, i as u64));
            Tensor::cat(scaled.map(|(y, i)| y.clone() * tensor(y.dims(), seed ^ i).autodiff()).collect(), 0)
        };
        let leaves: [Taken; 1] = [&of(&leaf)];
        let fused = super::streams(&leaf, &lists).unwrap();
        close(&differentiate(loss(fused), &leaves), &differentiate(loss(plain), &leaves))?;
    }

    #[test]
    fn the_loss_is_the_plain_one((rows, tasks) in (few(1), 1usize..4), seed in any::<u64>()) {
        let label = |x: &f32| if *x < -0.6 { MISSING } else { f32::from(u8::from(*x > 0.2)) };
        let labels = numbers(rows * tasks, seed).iter().map(label).collect();
        let targets = Targets::new(&Batch { rows, labels, ..Batch::default() }, tasks, &device());
        let mut targets = targets;
        targets.labels = targets.labels.autodiff();
        targets.share = targets.share.autodiff();
        let logits = (tensor([rows, tasks], seed ^ 1) * 9.0).autodiff().require_grad();
        let leaves: [Taken; 1] = [&of(&logits)];
        let fused = super::bce(&logits, &targets.labels, &targets.share).unwrap();
        let plain = plain_bce(logits.clone(), &targets);
        close(&differentiate(fused, &leaves), &differentiate(plain, &leaves))?;
    }

    #[test]
    fn norms_and_l2_are_the_plain_ones((rows, width) in (few(1), few(1)), seed in any::<u64>()) {
        let (grad, weights) = (tensor([rows, width], seed), tensor([rows, width], seed ^ 1));
        let (sum, squares) = super::add_scaled(grad.clone(), &weights, 0.3);
        let expected: f32 = values(weights.clone()).iter().map(|w| w * w).sum();
        close(&[values(squares), values(super::squared_norm(&weights))], &[vec![expected], vec![expected]])?;
        close(&[values(sum)], &[values(grad + weights * 0.3)])?;
    }
}

fn avx512_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[test]
fn a_product_in_bf16_is_near_and_its_backward_is_of_that_precision_too() {
    let (x, weight, bias) = (leaf([1, 256, 256], 1), leaf([2, 256, 256], 2), leaf([2, 1, 256], 3));
    let leaves: [Taken; 3] = [&of(&x), &of(&weight), &of(&bias)];
    let forward = || super::linear(&x, &weight, &bias, true).unwrap();
    let exact = differentiate(forward(), &leaves);
    let rounded = precision::with(precision::Precision::Bf16, forward);
    let rounded = differentiate(rounded, &leaves); // outside of `with`: the forward's precision holds
    for (exact, rounded) in exact.iter().zip(&rounded) {
        let norm = |of: &mut dyn Iterator<Item = f32>| of.map(|x| x * x).sum::<f32>().sqrt();
        let off = norm(&mut exact.iter().zip(rounded).map(|(a, b)| a - b)) / norm(&mut exact.iter().copied());
        assert!(off > 0.0 || !avx512_bf16(), "nothing was rounded");
        assert!(off < 0.05, "off by {off}"); // also by outputs that are rounded to the other side of the ReLU
    }
}

#[test]
fn a_gradient_in_pieces_and_one_that_somebody_holds_are_taken_as_they_are() {
    let (x, weight, bias) = (leaf([1, 8, 4], 1), leaf([1, 4, 6], 2), leaf([1, 1, 6], 3));
    let leaves: [Taken; 3] = [&of(&x), &of(&weight), &of(&bias)];
    // the gradient of a sum has stride 0, that of a transposed tensor is strided, and `y + y` hands one gradient to both
    let of_sum = |y: Tensor<3>| y.clone().swap_dims(1, 2).reshape([1, 8, 6]) * 2.0 + y.clone() + y.sum_dim(1);
    let fused = of_sum(super::linear(&x, &weight, &bias, true).unwrap());
    let plain = of_sum(plain_linear(x.clone(), weight.clone(), bias.clone(), true));
    close(&differentiate(fused, &leaves), &differentiate(plain, &leaves)).unwrap();
}

#[test]
fn other_numbers_than_f32_are_left_to_plain_operations() {
    let half = |shape: [usize; 3]| tensor(shape, 1).cast(burn::tensor::DType::F16);
    let y = LinearBank { weight: Param::from_tensor(half([1, 3, 4])), bias: Param::from_tensor(half([1, 1, 4])) };
    assert_eq!(y.forward(half([1, 2, 3])).dims(), [1, 2, 4]);
}

#[test]
fn a_batch_without_rows_is_mixed_too() {
    for width in [0, 4] {
        let (z, first, others) = (leaf([2, 0, 3], 1), leaf([2, 0, width], 2), leaf([1, 0, width], 3));
        let h = ExpertOutputs { first: first.clone(), others: Some(others.clone()) };
        let o = gated(z.clone(), h, &AftbMask::task_specific(2, 1, 1, false));
        assert_eq!(o.dims(), [2, 0, width]);
        let mut grads = o.sum().backward();
        assert_eq!(z.grad_remove(&mut grads).unwrap().dims(), [2, 0, 3]);
        assert_eq!(first.grad_remove(&mut grads).unwrap().dims(), [2, 0, width]);
        assert_eq!(others.grad_remove(&mut grads).unwrap().dims(), [1, 0, width]);
    }
}

#[test]
fn several_bags_read_the_rows_once_and_bags_of_other_widths_are_left_to_plain_operations() {
    let schema = Schema::new(vec![Field::category("f", 0)], vec![VocabularySpec::new("v", 5)], vec![]);
    let (index, weights) = upload(&[1, 4], &[1.0, 0.5], 2, &device());
    let x = SlotLayout::new(&schema, &[3, 3, 2]).pool(tensor([5, 8], 1), index, weights);
    let (bags, calls) = super::count_calls(|| x.streams([vec![vec![0], vec![1]], vec![vec![0, 1]]]));
    assert_eq!((calls.bag, bags.map(|x| x.dims())), (1, [[2, 2, 3], [1, 2, 3]]));
    let (bags, calls) = super::count_calls(|| x.streams([vec![vec![0]], vec![vec![2]]]));
    assert_eq!((calls.bag, bags.map(|x| x.dims())), (0, [[1, 2, 3], [1, 2, 2]]));
}
