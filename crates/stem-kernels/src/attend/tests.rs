//! The equations as loops in double precision, and gradients by differences.

use super::*;
use crate::check::{bits, close, numbers, on_threads};
use proptest::prelude::*;

/// Other fields than history and candidate, slots before and behind the history's.
const FIELDS: usize = 3;
const CANDIDATE: usize = 2;
const HISTORY: usize = 0;
/// Rows of the table: few, so that values repeat within a history.
const TABLE: usize = 7;

/// How histories are read.
#[derive(Debug, Clone, Copy)]
struct Kind {
    order: Option<Order>,
    softmax: bool,
    gaps: bool,
    given: bool,
}

/// Everything that the sums are made of, flat: the embeddings, the table, then weight and bias of every map, then the positions.
#[derive(Debug, Clone)]
struct Case {
    groups: usize,
    rows: usize,
    length: usize,
    dim: usize,
    outputs: Vec<usize>,
    kind: Kind,
    all_slots: usize,
    index: Vec<u32>,
    weights: Vec<f32>,
    values: Vec<Vec<f32>>,
}

impl Case {
    fn new([groups, rows, length, dim]: [usize; 4], hidden: &[usize], kind: Kind, seed: u64) -> Self {
        let outputs: Vec<usize> = hidden.iter().copied().chain([1]).collect();
        let mut sizes = vec![groups * rows * FIELDS * dim, TABLE * groups * dim];
        let mut input = dim * if kind.order.is_some() { 5 } else { 4 };
        for &output in &outputs {
            sizes.extend([groups * input * output, groups * output]);
            input = output;
        }
        sizes.extend(kind.order.map(|_| groups * length * dim));
        let values = sizes.iter().zip(seed..).map(|(&size, seed)| numbers(size, seed, 2.0)).collect();
        let all_slots = 2 + length + if kind.gaps { length } else { 0 };
        let draw = |i: usize| (seed as usize % 1000 + i * 7919 + i / 3 * 104_729) % TABLE;
        let index = (0..rows * all_slots).map(|i| draw(i) as u32).collect();
        // Row `r` has `r % (L + 1)` values, each third of them without a time; the others are padding.
        let weight = |r: usize, s: usize| match s.checked_sub(1) {
            Some(j) if j < length => {
                if j < r % (length + 1) {
                    0.5 + j as f32 / 64.0
                } else {
                    0.0
                }
            }
            Some(j) if j < 2 * length => {
                if (j - length) < r % (length + 1) && j % 3 > 0 {
                    1.0
                } else {
                    0.0
                }
            }
            _ => 1.0,
        };
        let weights = (0..rows).flat_map(|r| (0..all_slots).map(move |s| weight(r, s))).collect();
        Self { groups, rows, length, dim, outputs, kind, all_slots, index, weights, values }
    }

    fn maps<'a>(&'a self, values: &'a [Vec<f32>]) -> Vec<Map<'a>> {
        let map = |(l, &output): (usize, &usize)| Map { weight: &values[2 + 2 * l], bias: &values[3 + 2 * l], output };
        self.outputs.iter().enumerate().map(map).collect()
    }

    fn attention<'a>(&'a self, maps: &'a [Map<'a>]) -> Attention<'a> {
        let Self { groups, length, dim, all_slots, kind, .. } = *self;
        Attention {
            groups,
            dim,
            fields: FIELDS,
            candidate: CANDIDATE,
            history: HISTORY,
            all_slots,
            slots: 1..1 + length,
            gaps: kind.gaps.then_some(1 + length..1 + 2 * length),
            weights: &self.weights,
            maps,
            positions: kind.order.map(|order| (self.values.last().unwrap().as_slice(), order)),
            softmax: kind.softmax,
        }
    }

    /// Table row of a slot of a group.
    fn row<'a, T>(&self, table: &'a [T], g: usize, r: usize, slot: usize) -> &'a [T] {
        let id = self.index[r * self.all_slots + slot] as usize;
        &table[(id * self.groups + g) * self.dim..][..self.dim]
    }

    /// The equation. `[G, B, F * D]`
    fn naive(&self, values: &[Vec<f64>]) -> Vec<f64> {
        let Self { groups, rows, length, dim, .. } = *self;
        let mut y = values[0].clone();
        for (g, r) in (0..groups).flat_map(|g| (0..rows).map(move |r| (g, r))) {
            let row = (g * rows + r) * FIELDS * dim;
            let q = &values[0][row + CANDIDATE * dim..][..dim];
            let (mut scores, mut summed) = (Vec::new(), Vec::new());
            for j in 0..length {
                let weight = self.weights[r * self.all_slots + 1 + j];
                if weight == 0.0 {
                    continue;
                }
                let k = self.row(&values[1], g, r, 1 + j);
                let mut judged = k.to_vec();
                if self.kind.gaps && self.weights[r * self.all_slots + 1 + length + j] != 0.0 {
                    judged.iter_mut().zip(self.row(&values[1], g, r, 1 + length + j)).for_each(|(k, gap)| *k += gap);
                }
                let place = if self.kind.order == Some(Order::FromLast) { r % (length + 1) - 1 - j } else { j };
                let z = self.score(values, g, q, &judged, place);
                scores.push(if self.kind.softmax { z.exp() } else { z * f64::from(weight) });
                summed.push(k);
            }
            let all: f64 = if self.kind.softmax { scores.iter().sum() } else { 1.0 };
            for (i, y) in y[row + HISTORY * dim..][..dim].iter_mut().enumerate() {
                *y = scores.iter().zip(&summed).map(|(a, k)| a / all * k[i]).sum();
            }
        }
        y
    }

    /// `MLP([q ; k ; q - k ; q * k ; p])`
    fn score(&self, values: &[Vec<f64>], g: usize, q: &[f64], k: &[f64], place: usize) -> f64 {
        let pairs = || q.iter().zip(k);
        let mut x: Vec<f64> = q.iter().chain(k).copied().collect();
        x.extend(pairs().map(|(q, k)| q - k));
        x.extend(pairs().map(|(q, k)| q * k));
        if self.kind.order.is_some() {
            x.extend(&values.last().unwrap()[(g * self.length + place) * self.dim..][..self.dim]);
        }
        for (l, &output) in self.outputs.iter().enumerate() {
            let (weight, bias) = (&values[2 + 2 * l][g * x.len() * output..], &values[3 + 2 * l][g * output..]);
            let y = (0..output)
                .map(|o| bias[o] + x.iter().enumerate().map(|(i, x)| x * weight[i * output + o]).sum::<f64>());
            x = if l + 1 < self.outputs.len() { y.map(|y| y.max(0.0)).collect() } else { y.collect() };
        }
        x[0]
    }

    /// The values of the histories, slot by slot; of padding not a number, which nobody reads. `[G, B, L, D]`
    fn given(&self) -> Vec<f32> {
        let Self { groups, rows, length, dim, .. } = *self;
        let mut k = Vec::new();
        for (g, r, j) in (0..groups).flat_map(|g| (0..rows).flat_map(move |r| (0..length).map(move |j| (g, r, j)))) {
            match self.weights[r * self.all_slots + 1 + j] {
                0.0 => k.extend(vec![f32::NAN; dim]),
                _ => k.extend(self.row(&self.values[1], g, r, 1 + j)),
            }
        }
        k
    }

    fn read<'a>(&'a self, k: &'a [f32]) -> Values<'a, PlainRows<'a>> {
        match self.kind.given {
            true => Values::Given(k),
            false => Values::Rows { rows: PlainRows::new(&self.values[1], self.groups * self.dim), index: &self.index },
        }
    }

    fn sums(&self) -> Vec<f32> {
        let (maps, k, mut x) = (self.maps(&self.values), self.given(), self.values[0].clone());
        forward(&self.attention(&maps), self.read(&k), &mut x);
        x
    }

    /// The gradient of every value, from that of the embeddings that come out.
    fn gradients(&self, y: &[f32], dy: &[f32]) -> Vec<Vec<f32>> {
        let Self { groups, rows, length, dim, .. } = *self;
        let (maps, k) = (self.maps(&self.values), self.given());
        let mut found: Vec<Vec<f32>> = self.values.iter().map(|values| vec![f32::NAN; values.len()]).collect();
        found[0].copy_from_slice(dy);
        found[1].fill(0.0);
        let cells = groups * rows * length * dim;
        let mut of_values = vec![f32::NAN; cells];
        let mut of_gaps = vec![f32::NAN; if self.kind.gaps { cells } else { 0 }];
        let mut owners = vec![f32::NAN; if self.kind.given { 0 } else { self.weights.len() }];
        let [dx, _, parameters @ ..] = &mut found[..] else { unreachable!() };
        let (of_maps, positions) = parameters.split_at_mut(2 * maps.len());
        let mut of_maps = of_maps.iter_mut().map(Vec::as_mut_slice);
        let gradients = Gradients {
            values: &mut of_values,
            gaps: &mut of_gaps,
            owners: &mut owners,
            maps: (0..maps.len()).map(|_| [of_maps.next().unwrap(), of_maps.next().unwrap()]).collect(),
            positions: positions.first_mut().map(Vec::as_mut_slice),
        };
        backward(&self.attention(&maps), self.read(&k), y, dx, gradients);
        for (g, r, j) in (0..groups).flat_map(|g| (0..rows).flat_map(move |r| (0..length).map(move |j| (g, r, j)))) {
            let apart = (((r * length + j) * groups) + g) * dim;
            let mut add = |slot: usize, from: &[f32]| {
                let id = self.index[r * self.all_slots + slot] as usize;
                let to = &mut found[1][(id * groups + g) * dim..][..dim];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            };
            if self.kind.given {
                add(1 + j, &of_values[((g * rows + r) * length + j) * dim..][..dim]);
                continue;
            }
            if owners[r * self.all_slots + 1 + j] != 0.0 {
                add(1 + j, &of_values[apart..][..dim]);
            }
            if self.kind.gaps && owners[r * self.all_slots + 1 + length + j] != 0.0 {
                add(1 + length + j, &of_gaps[apart..][..dim]);
            }
        }
        found
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    let order = prop::sample::select(&[None, Some(Order::FromFirst), Some(Order::FromLast)][..]);
    (order, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(order, softmax, gaps, given)| Kind {
        order,
        softmax,
        gaps: gaps && !given,
        given,
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (
        1usize..3,
        prop::sample::select(&[0usize, 1, 6, 120][..]),
        prop::sample::select(&[1usize, 3, 21][..]),
        prop::sample::select(&[1usize, 3, 5, 16, 18][..]),
    );
    let hidden = prop::collection::vec(prop::sample::select(&[1usize, 4, 7, 17, 33][..]), 1..4);
    (sizes, hidden, kinds(), any::<u64>())
        .prop_map(|((g, b, l, d), hidden, kind, seed)| Case::new([g, b, l, d], &hidden, kind, seed >> 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 40 }))]

    #[test]
    fn sums_and_their_gradients_are_the_equations_on_any_number_of_threads(case in cases()) {
        let wide: Vec<Vec<f64>> = case.values.iter().map(|v| v.iter().map(|&x| f64::from(x)).collect()).collect();
        let found = on_threads(1, || case.sums());
        let expected = case.naive(&wide);
        let largest = expected.iter().fold(1.0f64, |a, b| a.max(b.abs()));
        let scaled = |x: f64| x / largest;
        close(
            &found.iter().map(|x| scaled(f64::from(*x)) as f32).collect::<Vec<_>>(),
            &expected.iter().map(|x| scaled(*x)).collect::<Vec<_>>(),
        )?;
        let dy = numbers(found.len(), 77, 2.0);
        let gradients = on_threads(1, || case.gradients(&found, &dy));
        let loss = |values: &[Vec<f64>]| case.naive(values).iter().zip(&dy).map(|(y, d)| y * f64::from(*d)).sum::<f64>();
        for (which, gradient) in gradients.iter().enumerate() {
            prop_assert!(gradient.iter().all(|g| !g.is_nan()), "{} is not written", which);
            let scale = gradient.iter().fold(1.0f64, |a, b| a.max(f64::from(b.abs())));
            for at in (0..gradient.len()).step_by(gradient.len() / 5 + 1) {
                let moved = |by: f64| {
                    let mut values = wide.clone();
                    values[which][at] += by;
                    loss(&values)
                };
                // Where a ReLU is about to turn, any number between the slopes on its sides is a gradient.
                let here = loss(&wide);
                let slopes = [1e-6, -1e-6, 1e-5, -1e-5].map(|step| (moved(step) - here) / step);
                let [lowest, highest] = [f64::min, f64::max].map(|of| slopes.into_iter().fold(slopes[0], of));
                let found = f64::from(gradient[at]);
                let difference = (lowest - found).max(found - highest);
                prop_assert!(difference < 2e-4 * scale, "{} at {}: {} {:?}", which, at, found, slopes);
            }
        }
        for threads in [2, 3] {
            prop_assert_eq!(bits(&found), bits(&on_threads(threads, || case.sums())));
            for (one, other) in gradients.iter().zip(on_threads(threads, || case.gradients(&found, &dy))) {
                prop_assert_eq!(bits(one), bits(&other));
            }
        }
    }
}

/// Loops of every instruction set, with products that are rounded before they are added and with such that are not.
#[test]
fn fused_and_rounded_products_agree() {
    let kind = Kind { order: Some(Order::FromLast), softmax: true, gaps: true, given: false };
    let case = Case::new([2, 9, 21, 18], &[33, 7], kind, 5);
    let maps = case.maps(&case.values);
    let of = case.attention(&maps);
    let (layout, k) = (Layout::new(&of), case.given());
    let piece = Piece::new(&of, case.read(&k), 0..9);
    let run = |fused: bool| {
        let (packed, mut x) = (Packed::new(&of, &layout, 1, true), case.values[0][9 * FIELDS * 18..].to_vec());
        let group = Group { layout: &layout, packed: &packed };
        let work = if fused { forward_piece::<1> } else { forward_piece::<0> };
        work(&of, group, 1, &piece, &mut x);
        x
    };
    for (a, b) in run(true).into_iter().zip(run(false)) {
        assert!((a - b).abs() <= 1e-5 * (1.0 + a.abs()), "{a} {b}");
    }
}

#[test]
fn a_value_that_fills_several_slots_is_judged_once() {
    let kind = Kind { order: None, softmax: false, gaps: false, given: false };
    let mut case = Case::new([1, 1, 4, 2], &[3], kind, 1);
    case.weights = vec![1.0, 0.5, 0.25, 0.0, 1.0, 1.0];
    case.index = vec![0, 5, 5, 5, 2, 0];
    let maps = case.maps(&case.values);
    let piece = Piece::new(&case.attention(&maps), case.read(&[]), 0..1);
    assert_eq!((&piece.counts[..], &piece.slots[..2]), (&[2][..], &[0, 3][..]));
    assert_eq!((&piece.weights[..2], &piece.times[..2]), (&[0.75, 1.0][..], &[2.0, 1.0][..]));
    let kind = Kind { order: Some(Order::FromFirst), ..kind };
    let case = Case { kind, ..Case::new([1, 1, 4, 2], &[3], kind, 1) };
    let maps = case.maps(&case.values);
    let case = Case { weights: vec![1.0, 0.5, 0.25, 0.0, 1.0, 1.0], index: vec![0, 5, 5, 5, 2, 0], ..case.clone() };
    let piece = Piece::new(&case.attention(&maps), case.read(&[]), 0..1);
    assert_eq!(piece.counts, [3], "positions tell slots apart");
}
