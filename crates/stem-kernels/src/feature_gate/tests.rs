//! Gates on features against loops in f64.

use super::*;
use crate::check::{bits, close, numbers, on_threads};
use proptest::prelude::*;

/// What an op reads.
struct Case {
    groups: usize,
    batch: usize,
    width: usize,
    rank: usize,
    relu: bool,
    reached: Range<usize>,
    x: Vec<f32>,
    dy: Vec<f32>,
    /// `V`, `c`, `U`, `b`
    maps: [Vec<f32>; 4],
    path: Vec<f32>,
}

impl Case {
    fn op(&self) -> FeatureGates<'_> {
        let Self { groups, batch, width, rank, relu, .. } = *self;
        let [v, c, u, b] = &self.maps;
        let maps = [Map { weight: v, bias: c, output: rank }, Map { weight: u, bias: b, output: width }];
        let reached = self.reached.clone();
        FeatureGates { precision: Precision::F32, groups, batch, width, maps, relu, reached, path: &self.path }
    }

    fn run(&self) -> Vec<Vec<f32>> {
        let (of, [mut v, mut c, mut u, mut b]) = (self.op(), self.maps.clone().map(|map| vec![f32::NAN; map.len()]));
        let (mut y, mut dx) = (vec![f32::NAN; self.x.len()], self.dy.clone());
        forward(&of, &self.x, &mut y);
        let mut gradients =
            [MapGradient { weight: &mut v, bias: &mut c }, MapGradient { weight: &mut u, bias: &mut b }];
        backward(&of, &self.x, &mut dx, &mut gradients);
        vec![y, dx, v, c, u, b]
    }

    /// The same by the equations.
    fn expected(&self) -> Vec<Vec<f64>> {
        let Self { groups, batch, width, rank, .. } = *self;
        let [v, c, u, b] = self.maps.each_ref().map(|map| map.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        let [mut dv, mut dc, mut du, mut db] = [&v, &c, &u, &b].map(|map| vec![0.0; map.len()]);
        let (mut y, mut all_dx) = (Vec::new(), Vec::new());
        for row in 0..groups * batch {
            let g = row / batch;
            let [x, dy] = [&self.x, &self.dy]
                .map(|of| of[row * width..][..width].iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
            let h: Vec<f64> = (0..rank)
                .map(|r| c[g * rank + r] + (0..width).map(|i| x[i] * v[(g * width + i) * rank + r]).sum::<f64>())
                .map(|h| if self.relu { h.max(0.0) } else { h })
                .collect();
            let (mut dx, mut dh) = (vec![0.0; width], vec![0.0; rank]);
            for i in 0..width {
                let z = b[g * width + i] + (0..rank).map(|r| h[r] * u[(g * rank + r) * width + i]).sum::<f64>();
                let gate = 2.0 / (1.0 + (-z).exp());
                y.push(x[i] * gate);
                dx[i] = dy[i] * gate;
                let dz = dy[i] * x[i] * gate * (1.0 - gate / 2.0);
                db[g * width + i] += dz;
                for r in 0..rank {
                    du[(g * rank + r) * width + i] += h[r] * dz;
                    dh[r] += dz * u[(g * rank + r) * width + i];
                }
            }
            for r in 0..rank {
                let dh = if self.relu && h[r] <= 0.0 { 0.0 } else { dh[r] };
                dc[g * rank + r] += dh;
                (0..width).for_each(|i| dv[(g * width + i) * rank + r] += x[i] * dh);
                for (place, i) in self.reached.clone().enumerate() {
                    dx[i] += dh * f64::from(self.path[(g * self.reached.len() + place) * rank + r]);
                }
            }
            all_dx.extend(dx);
        }
        vec![y, all_dx, dv, dc, du, db]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 40 }))]

    #[test]
    fn forward_and_backward_are_the_equations_on_any_number_of_threads(
        groups in 1usize..4,
        batch in prop::sample::select(&[0usize, 1, 7, 33, 100, 700][..]),
        (width, rank) in (1usize..40, 1usize..20),
        (relu, whole) in any::<(bool, bool)>(),
        (first, end) in (0usize..40, 0usize..40),
        seed in any::<u64>(),
    ) {
        let size = groups * batch * width;
        let reached = if whole { 0..width } else { first.min(end).min(width)..first.max(end).min(width) };
        let draw = |count: usize, salt: u64| numbers(count, seed ^ salt, 1.0);
        let maps = [groups * width * rank, groups * rank, groups * rank * width, groups * width];
        let case = Case {
            groups, batch, width, rank, relu,
            x: draw(size, 1),
            dy: draw(size, 2),
            maps: [0, 1, 2, 3].map(|part| draw(maps[part], 3 + part as u64)),
            path: draw(groups * reached.len() * rank, 9),
            reached,
        };
        let found = on_threads(1, || case.run());
        for (found, expected) in found.iter().zip(case.expected()) {
            close(found, &expected)?;
        }
        for (one, other) in found.iter().zip(on_threads(3, || case.run())) {
            prop_assert_eq!(bits(one), bits(&other));
        }
    }

    #[test]
    fn features_are_scaled_by_gates_that_are_there(count in 0usize..200, seed in any::<u64>()) {
        let [x, z, dy] = [1, 2, 3].map(|salt| numbers(count, seed ^ salt, 6.0));
        let (mut y, mut dz, mut dx) = (vec![f32::NAN; count], z.clone(), dy.clone());
        scale(&x, &z, &mut y);
        scale_backward(&x, &mut dz, &mut dx);
        let gate = |i: usize| 2.0 / (1.0 + f64::from(-z[i]).exp());
        let of = |equation: &dyn Fn(usize) -> f64| (0..count).map(equation).collect::<Vec<f64>>();
        close(&y, &of(&|i| f64::from(x[i]) * gate(i)))?;
        close(&dx, &of(&|i| f64::from(dy[i]) * gate(i)))?;
        close(&dz, &of(&|i| f64::from(dy[i]) * f64::from(x[i]) * gate(i) * (1.0 - gate(i) / 2.0)))?;
    }
}
