//! Every optimizer is its paper's, and its fused update on the host and its tensor twin are the same optimizer.

use crate::common::spec;
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use stem_core::nn::{RowMatrix, upload_index};
use stem_train::optimizer::{Adagrad, Adam, AdamW, Clip, OptimizerConfig, OptimizerState, Rows, Sgd, squared_norm};

const RATE: f64 = 0.05;

fn device() -> Device {
    spec().open().unwrap()
}

fn matrix(values: &[f32], rows: usize, width: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [rows, width]), &device())
}

fn values(matrix: &RowMatrix) -> Vec<f32> {
    matrix.tensor().to_data().try_into_vec().unwrap()
}

/// Every optimizer and every form of it, with settings that show.
fn family() -> Vec<OptimizerConfig> {
    let adagrad = |row_wise| Adagrad { epsilon: 1e-4, initial: 0.1, row_wise };
    vec![
        OptimizerConfig::Adam(Adam { epsilon: 0.1, ..Adam::default() }),
        OptimizerConfig::AdamW(AdamW { weight_decay: 0.3, epsilon: 0.1, ..AdamW::default() }),
        OptimizerConfig::Adagrad(adagrad(false)),
        OptimizerConfig::Adagrad(adagrad(true)),
        OptimizerConfig::Sgd(Sgd::default()),
        OptimizerConfig::Sgd(Sgd { momentum: 0.9, nesterov: false }),
        OptimizerConfig::Sgd(Sgd { momentum: 0.9, nesterov: true }),
    ]
}

/// Numbers in -1 to 1.
fn draw(count: usize, seed: u32) -> Vec<f32> {
    let mix = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(97_003_451));
    (0..count as u32)
        .map(|i| ((mix(i) ^ (mix(i) >> 15)).wrapping_mul(2_246_822_519) >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}

/// A factor that the host does not know: the step is one of tensor operations on every device.
fn over_tensors(scale: f32) -> Clip {
    Clip::Device(Tensor::from_floats([scale], &device()))
}

/// A row of weights after steps of which some name it, with these gradients, as the papers write it, in f64.
fn by_hand(config: OptimizerConfig, weights: &[f64], grads: &[Option<Vec<f64>>], rate: f64) -> Vec<f64> {
    let mut w = weights.to_vec();
    let width = w.len();
    let (mut first, mut second) = (vec![0.0; width], vec![0.0; width]);
    if let OptimizerConfig::Adagrad(adagrad) = config {
        first.fill(adagrad.initial);
    }
    let mut seen = false;
    for (t, g) in grads.iter().enumerate().filter_map(|(t, g)| Some((t as i32 + 1, g.as_ref()?))) {
        let mean_square = g.iter().map(|g| g * g).sum::<f64>() / width as f64;
        for i in 0..width {
            let mut adam = |beta1: f64, beta2: f64, epsilon: f64| {
                first[i] = beta1 * first[i] + (1.0 - beta1) * g[i];
                second[i] = beta2 * second[i] + (1.0 - beta2) * g[i] * g[i];
                let (mean, square) = (first[i] / (1.0 - beta1.powi(t)), second[i] / (1.0 - beta2.powi(t)));
                mean / (square.sqrt() + epsilon)
            };
            let direction = match config {
                OptimizerConfig::Adam(Adam { beta1, beta2, epsilon }) => adam(beta1, beta2, epsilon),
                OptimizerConfig::AdamW(AdamW { beta1, beta2, epsilon, weight_decay }) => {
                    adam(beta1, beta2, epsilon) + weight_decay * w[i]
                }
                OptimizerConfig::Adagrad(Adagrad { epsilon, row_wise, .. }) => {
                    first[i] += if row_wise { mean_square } else { g[i] * g[i] };
                    g[i] / (first[i].sqrt() + epsilon)
                }
                OptimizerConfig::Sgd(Sgd { momentum, nesterov }) => {
                    first[i] = if seen { momentum * first[i] + g[i] } else { g[i] };
                    if nesterov { g[i] + momentum * first[i] } else { first[i] }
                }
            };
            w[i] -= rate * direction;
        }
        seen = true;
    }
    w
}

/// A matrix, steps over some of its rows, and a factor for the gradients.
#[derive(Debug, Clone)]
struct Case {
    rows: usize,
    width: usize,
    /// Rows of each step, ascending.
    steps: Vec<Vec<u32>>,
    seed: u32,
    scale: f32,
}

impl Case {
    fn any() -> impl Strategy<Value = Self> {
        (1usize..24, 1usize..9).prop_flat_map(|(rows, width)| {
            let picks = prop::collection::btree_set(0..rows as u32, 1..=rows).prop_map(|ids| ids.into_iter().collect());
            (prop::collection::vec(picks, 1..5), 0u32..1000, 0.1f32..1.0).prop_map(move |(steps, seed, scale)| Self {
                rows,
                width,
                steps,
                seed,
                scale,
            })
        })
    }

    fn start(&self) -> Vec<f32> {
        draw(self.rows * self.width, self.seed)
    }

    /// The gradient of a row in a step.
    fn grad(&self, step: usize, row: u32) -> Vec<f32> {
        draw(self.width, self.seed + 7919 * (step as u32 + 1) + 31 * row)
    }

    /// The weights after all steps.
    fn run(&self, config: OptimizerConfig, clip: &Clip) -> Vec<f32> {
        let mut weights = RowMatrix::new(matrix(&self.start(), self.rows, self.width));
        let mut state = OptimizerState::new(config, [self.rows, self.width], &device());
        for (step, ids) in self.steps.iter().enumerate() {
            let grad: Vec<f32> = ids.iter().flat_map(|&id| self.grad(step, id)).collect();
            let index = upload_index(ids, &device());
            let rows = Rows::Distinct { ids, index: &index };
            state.update(RATE, &mut weights, rows, matrix(&grad, ids.len(), self.width), clip);
        }
        values(&weights)
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn slices_and_tensors_agree_on_any_rows_and_leave_the_others_bit_for_bit(case in Case::any()) {
        let start = case.start();
        for config in family() {
            let host = case.run(config, &Clip::Host(case.scale));
            let portable = case.run(config, &over_tensors(case.scale));
            for (i, (a, b)) in host.iter().zip(&portable).enumerate() {
                prop_assert!((a - b).abs() < 1e-5, "{:?}, element {}: {} and {}", config, i, a, b);
                if !case.steps.iter().any(|ids| ids.contains(&((i / case.width) as u32))) {
                    prop_assert_eq!(a.to_bits(), start[i].to_bits(), "{:?}, element {} on slices", config, i);
                    prop_assert_eq!(b.to_bits(), start[i].to_bits(), "{:?}, element {} on tensors", config, i);
                }
            }
        }
    }

    #[test]
    fn every_row_follows_the_papers_algorithm_over_the_steps_that_name_it(case in Case::any()) {
        let doubles = |x: Vec<f32>, scale: f32| -> Vec<f64> {
            x.iter().map(|x| f64::from(*x) * f64::from(scale)).collect()
        };
        for config in family() {
            let start = doubles(case.start(), 1.0);
            let rows = 0..case.rows as u32;
            let expected = rows.zip(start.chunks(case.width)).flat_map(|(row, start)| {
                let grads = case.steps.iter().enumerate().map(|(step, ids)| {
                    ids.contains(&row).then(|| doubles(case.grad(step, row), case.scale))
                });
                by_hand(config, start, &grads.collect::<Vec<_>>(), RATE)
            });
            let expected: Vec<f64> = expected.collect();
            for clip in [Clip::Host(case.scale), over_tensors(case.scale)] {
                for (i, (a, b)) in case.run(config, &clip).iter().zip(&expected).enumerate() {
                    let holds = (f64::from(*a) - b).abs() < 1e-5;
                    prop_assert!(holds, "{:?}, {:?}, element {}: {}, expected {}", config, clip, i, a, b);
                }
            }
        }
    }

    #[test]
    fn naming_all_rows_is_naming_none(case in Case::any()) {
        let all: Vec<u32> = (0..case.rows as u32).collect();
        let case = Case { steps: vec![all.clone(); case.steps.len()], ..case };
        for config in family() {
            for clip in [Clip::Host(case.scale), over_tensors(case.scale)] {
                let mut weights = RowMatrix::new(matrix(&case.start(), case.rows, case.width));
                let mut state = OptimizerState::new(config, [case.rows, case.width], &device());
                for step in 0..case.steps.len() {
                    let grad: Vec<f32> = all.iter().flat_map(|&id| case.grad(step, id)).collect();
                    state.update(RATE, &mut weights, Rows::All, matrix(&grad, case.rows, case.width), &clip);
                }
                prop_assert_eq!(bits(&case.run(config, &clip)), bits(&values(&weights)), "{:?}", config);
            }
        }
    }
}

#[test]
fn a_large_matrix_is_updated_alike_by_many_threads_and_by_one() {
    let (rows, width) = (20_000, 16);
    let ids: Vec<u32> = (0..rows as u32).step_by(2).collect();
    let grad: Vec<f32> = draw(ids.len() * width, 3);
    let run = |config: OptimizerConfig, chunk: usize| {
        // Every row is named once, so it meets fresh state and a first step either way; a small chunk is one thread's.
        let mut weights = RowMatrix::new(matrix(&draw(rows * width, 4), rows, width));
        for (ids, grad) in ids.chunks(chunk).zip(grad.chunks(chunk * width)) {
            let mut state = OptimizerState::new(config, [rows, width], &device());
            let index = upload_index(ids, &device());
            let rows = Rows::Distinct { ids, index: &index };
            state.update(RATE, &mut weights, rows, matrix(grad, ids.len(), width), &Clip::Host(1.0));
        }
        values(&weights)
    };
    for config in family() {
        assert_eq!(bits(&run(config, ids.len())), bits(&run(config, 1000)), "{config:?}");
    }
}

#[test]
fn gradients_beyond_the_limit_are_scaled_to_it_and_others_are_left() {
    let scale = |squared: f32, on_host: bool| match Clip::to(10.0, Tensor::from_floats([squared], &device()), on_host) {
        Clip::Host(scale) => scale,
        Clip::Device(scale) => scale.into_scalar::<f32>(),
    };
    for on_host in [true, false] {
        assert!((scale(400.0, on_host) - 0.5).abs() < 1e-6, "norm 20, limit 10");
        assert_eq!(scale(99.0, on_host), 1.0);
        assert_eq!(scale(0.0, on_host), 1.0);
    }
    let grad = matrix(&[3.0, -4.0], 1, 2);
    let clipped = Clip::to(1.0, squared_norm(&grad), true).apply(grad);
    let clipped: Vec<f32> = clipped.into_data().try_into_vec().unwrap();
    assert!((clipped[0] - 0.6).abs() < 1e-5 && (clipped[1] + 0.8).abs() < 1e-5, "{clipped:?}");
}
