//! The equations as loops in double precision, and gradients by differences.

use super::*;
use crate::check::{bits, close, numbers, on_threads};
use proptest::prelude::*;

/// Everything that the scores are made of, flat: `q`, `k`, then weight and bias of every map, then the positions.
#[derive(Debug, Clone)]
struct Case {
    groups: usize,
    rows: usize,
    length: usize,
    dim: usize,
    outputs: Vec<usize>,
    order: Option<Order>,
    weights: Vec<f32>,
    values: Vec<Vec<f32>>,
}

impl Case {
    fn new(
        groups: usize,
        rows: usize,
        length: usize,
        dim: usize,
        hidden: &[usize],
        order: Option<Order>,
        seed: u64,
    ) -> Self {
        let outputs: Vec<usize> = hidden.iter().copied().chain([1]).collect();
        let mut sizes = vec![groups * rows * dim, groups * rows * length * dim];
        let mut input = dim * if order.is_some() { 5 } else { 4 };
        for &output in &outputs {
            sizes.extend([groups * input * output, groups * output]);
            input = output;
        }
        sizes.extend(order.map(|_| groups * length * dim));
        let values = sizes.iter().zip(seed..).map(|(&size, seed)| numbers(size, seed, 2.0)).collect();
        // Row `r` has `r % (L + 1)` values; the others are padding.
        let weights = (0..rows).flat_map(|r| (0..length).map(move |j| if j < r % (length + 1) { 0.5 } else { 0.0 }));
        Self { groups, rows, length, dim, outputs, order, weights: weights.collect(), values }
    }

    fn maps<'a>(&'a self, values: &'a [Vec<f32>]) -> Vec<Map<'a>> {
        let map = |(l, &output): (usize, &usize)| Map { weight: &values[2 + 2 * l], bias: &values[3 + 2 * l], output };
        self.outputs.iter().enumerate().map(map).collect()
    }

    fn attention<'a>(&'a self, maps: &'a [Map<'a>]) -> Attention<'a> {
        let Self { groups, length, dim, .. } = *self;
        let positions = self.order.map(|order| (self.values.last().unwrap().as_slice(), order));
        Attention { groups, length, dim, weights: &self.weights, maps, positions, precision: Precision::F32 }
    }

    /// The equation. `[G, B, L]`
    fn naive(&self, values: &[Vec<f64>]) -> Vec<f64> {
        let Self { groups, rows, length, dim, .. } = *self;
        let mut z = Vec::new();
        for (g, r, j) in (0..groups).flat_map(|g| (0..rows).flat_map(move |r| (0..length).map(move |j| (g, r, j)))) {
            if self.weights[r * length + j] == 0.0 {
                z.push(0.0);
                continue;
            }
            let q = &values[0][(g * rows + r) * dim..][..dim];
            let k = &values[1][((g * rows + r) * length + j) * dim..][..dim];
            let pairs = || q.iter().zip(k);
            let mut x: Vec<f64> = q.iter().chain(k).copied().collect();
            x.extend(pairs().map(|(q, k)| q - k));
            x.extend(pairs().map(|(q, k)| q * k));
            let place = match self.order {
                Some(Order::FromLast) => r % (length + 1) - 1 - j,
                _ => j,
            };
            if self.order.is_some() {
                x.extend(&values.last().unwrap()[(g * length + place) * dim..][..dim]);
            }
            for (l, &output) in self.outputs.iter().enumerate() {
                let (weight, bias) = (&values[2 + 2 * l][g * x.len() * output..], &values[3 + 2 * l][g * output..]);
                let y = (0..output)
                    .map(|o| bias[o] + x.iter().enumerate().map(|(i, x)| x * weight[i * output + o]).sum::<f64>());
                x = if l + 1 < self.outputs.len() { y.map(|y| y.max(0.0)).collect() } else { y.collect() };
            }
            z.push(x[0]);
        }
        z
    }

    fn scores(&self) -> Vec<f32> {
        let maps = self.maps(&self.values);
        let mut z = vec![f32::NAN; self.groups * self.rows * self.length];
        scores(&self.attention(&maps), &self.values[0], &self.values[1], &mut z);
        z
    }

    /// The gradient of every value.
    fn gradients(&self, dz: &[f32]) -> Vec<Vec<f32>> {
        let maps = self.maps(&self.values);
        let mut found: Vec<Vec<f32>> = self.values.iter().map(|values| vec![f32::NAN; values.len()]).collect();
        let [dq, dk, parameters @ ..] = &mut found[..] else { unreachable!() };
        let (of_maps, positions) = parameters.split_at_mut(2 * maps.len());
        let mut of_maps = of_maps.iter_mut().map(Vec::as_mut_slice);
        let pairs = (0..maps.len()).map(|_| [of_maps.next().unwrap(), of_maps.next().unwrap()]).collect();
        let mut gradients = Gradients { maps: pairs, positions: positions.first_mut().map(Vec::as_mut_slice) };
        scores_backward(&self.attention(&maps), &self.values[0], &self.values[1], dz, dq, dk, &mut gradients);
        found
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let order = prop::sample::select(&[None, Some(Order::FromFirst), Some(Order::FromLast)][..]);
    let sizes = (
        1usize..3,
        prop::sample::select(&[0usize, 1, 6, 90][..]),
        prop::sample::select(&[1usize, 3, 40][..]),
        1usize..6,
    );
    (sizes, prop::collection::vec(1usize..7, 1..4), order, any::<u64>())
        .prop_map(|((g, b, l, d), hidden, order, seed)| Case::new(g, b, l, d, &hidden, order, seed >> 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn scores_and_their_gradients_are_the_equations_on_any_number_of_threads(case in cases()) {
        let wide: Vec<Vec<f64>> = case.values.iter().map(|v| v.iter().map(|&x| f64::from(x)).collect()).collect();
        let found = on_threads(1, || case.scores());
        close(&found, &case.naive(&wide))?;
        let dz = numbers(found.len(), 77, 2.0);
        let gradients = on_threads(1, || case.gradients(&dz));
        let loss = |values: &[Vec<f64>]| case.naive(values).iter().zip(&dz).map(|(z, d)| z * f64::from(*d)).sum::<f64>();
        for (which, gradient) in gradients.iter().enumerate() {
            prop_assert!(gradient.iter().all(|g| !g.is_nan()), "{} is not written", which);
            for at in (0..gradient.len()).step_by(gradient.len() / 5 + 1) {
                let moved = |by: f64| {
                    let mut values = wide.clone();
                    values[which][at] += by;
                    loss(&values)
                };
                const STEP: f64 = 1e-6;
                let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let difference = (f64::from(gradient[at]) - expected).abs();
                prop_assert!(difference < 2e-4 * (1.0 + expected.abs()), "{} at {}: {} {}", which, at, gradient[at], expected);
            }
        }
        for threads in [2, 3] {
            prop_assert_eq!(bits(&found), bits(&on_threads(threads, || case.scores())));
            for (one, other) in gradients.iter().zip(on_threads(threads, || case.gradients(&dz))) {
                prop_assert_eq!(bits(one), bits(&other));
            }
        }
    }

    #[test]
    fn sums_and_their_gradients_are_the_equation(
        (rows, length, dim) in (prop::sample::select(&[0usize, 1, 5, 300][..]), 1usize..60, 1usize..20),
        seed in any::<u64>(),
    ) {
        let (a, k) = (numbers(rows * length, seed, 2.0), numbers(rows * length * dim, seed ^ 1, 2.0));
        let dv = numbers(rows * dim, seed ^ 2, 2.0);
        let mut v = vec![f32::NAN; rows * dim];
        sums(length, &a, &k, &mut v);
        let (mut da, mut dk) = (vec![f32::NAN; a.len()], vec![f32::NAN; k.len()]);
        sums_backward(length, &a, &k, &dv, &mut da, &mut dk);
        let wide = |x: f32| f64::from(x);
        let of = |n: usize, j: usize, d: usize| wide(k[(n * length + j) * dim + d]);
        let expected = (0..rows * dim).map(|i| (0..length).map(|j| wide(a[i / dim * length + j]) * of(i / dim, j, i % dim)).sum());
        close(&v, &expected.collect::<Vec<f64>>())?;
        let expected = (0..a.len()).map(|i| (0..dim).map(|d| wide(dv[i / length * dim + d]) * of(i / length, i % length, d)).sum());
        close(&da, &expected.collect::<Vec<f64>>())?;
        let expected = (0..k.len()).map(|i| wide(a[i / dim]) * wide(dv[i / dim / length * dim + i % dim]));
        close(&dk, &expected.collect::<Vec<f64>>())?;
    }
}
