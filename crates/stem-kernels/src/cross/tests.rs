//! Crosses against loops in f64.

use super::*;
use crate::check::{bits, close, numbers, on_threads};
use proptest::prelude::*;

/// Number `[i, j]` of a group's matrix of `columns`.
fn at(matrix: &[f32], groups: usize, g: usize, (i, j): (usize, usize), columns: usize) -> f64 {
    let rows = matrix.len() / groups / columns;
    f64::from(matrix[(g * rows + i) * columns + j])
}

/// `x W + b` of a row.
fn mapped(map: &Map, groups: usize, g: usize, x: &[f64]) -> Vec<f64> {
    let term = |i: usize, o: usize| x[i] * at(map.weight, groups, g, (i, o), map.output);
    let of = |o: usize| (0..x.len()).map(|i| term(i, o)).sum::<f64>() + f64::from(map.bias[g * map.output + o]);
    (0..map.output).map(of).collect()
}

/// `dW = dW + x^T dy`, `db = db + dy`; gives `dy W^T`.
fn mapped_back(map: &Map, groups: usize, g: usize, x: &[f64], dy: &[f64], to: [&mut Vec<f64>; 2]) -> Vec<f64> {
    let [dweight, dbias] = to;
    for (o, dy) in dy.iter().enumerate() {
        dbias[g * map.output + o] += dy;
        for (i, number) in x.iter().enumerate() {
            dweight[(g * x.len() + i) * map.output + o] += number * dy;
        }
    }
    let back = |i: usize| dy.iter().enumerate().map(|(o, dy)| dy * at(map.weight, groups, g, (i, o), map.output)).sum();
    (0..x.len()).map(back).collect()
}

/// `y`, `dx_0` and the gradients of all maps, as the equations have them.
fn naive(of: &Crosses, x0: &[f32], dy: &[f32]) -> Vec<Vec<f64>> {
    let Crosses { groups, batch, width, layers, .. } = *of;
    let wide = |numbers: &[f32]| -> Vec<f64> { numbers.iter().map(|number| f64::from(*number)).collect() };
    let (mut y, mut all_dx0) = (Vec::new(), Vec::new());
    let zeros = |map: &Map| [vec![0.0; map.weight.len()], vec![0.0; map.bias.len()]];
    let mut found: Vec<[[Vec<f64>; 2]; 2]> = layers.iter().map(|layer| layer.each_ref().map(zeros)).collect();
    for row in 0..groups * batch {
        let g = row / batch;
        let (x0, mut dx) = (wide(&x0[row * width..][..width]), wide(&dy[row * width..][..width]));
        let (mut x, mut seen, mut dx0) = (x0.clone(), Vec::new(), vec![0.0; width]);
        for [down, up] in layers {
            let h = mapped(down, groups, g, &x);
            let u = mapped(up, groups, g, &h);
            let next = (0..width).map(|i| x0[i] * u[i] + x[i]).collect();
            seen.push((std::mem::replace(&mut x, next), h, u));
        }
        y.extend(x);
        for (l, (x, h, u)) in seen.iter().enumerate().rev() {
            let ([down, up], [of_down, of_up]) = (&layers[l], &mut found[l]);
            let du: Vec<f64> = dx.iter().zip(&x0).map(|(dx, x0)| dx * x0).collect();
            (0..width).for_each(|i| dx0[i] += dx[i] * u[i]);
            let dh = mapped_back(up, groups, g, h, &du, of_up.each_mut());
            let more = mapped_back(down, groups, g, x, &dh, of_down.each_mut());
            dx.iter_mut().zip(more).for_each(|(dx, more)| *dx += more);
        }
        all_dx0.extend(dx.iter().zip(dx0).map(|(dx, dx0)| dx + dx0));
    }
    [y, all_dx0].into_iter().chain(found.into_iter().flatten().flatten()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 32 }))]

    #[test]
    fn forward_and_backward_are_the_equations_on_any_number_of_threads(
        (groups, count) in (1usize..4, 0usize..4),
        batch in prop::sample::select(&[0usize, 1, 7, 33, 100, 700][..]),
        (width, rank) in (1usize..40, 1usize..20),
        seed in any::<u64>(),
    ) {
        let size = groups * batch * width;
        let (x0, dy) = (numbers(size, seed, 1.0), numbers(size, seed ^ 1, 1.0));
        let sizes = [width * rank, rank, rank * width, width].map(|size| groups * size);
        let of_layer = |l: usize| [0, 1, 2, 3].map(|part| numbers(sizes[part], seed ^ (7 + 4 * l + part) as u64, 0.4));
        let maps: Vec<[Vec<f32>; 4]> = (0..count).map(of_layer).collect();
        let layers: Vec<[Map; 2]> = maps
            .iter()
            .map(|[v, c, u, b]| [Map { weight: v, bias: c, output: rank }, Map { weight: u, bias: b, output: width }])
            .collect();
        let of = Crosses { precision: Precision::F32, groups, batch, width, layers: &layers };
        let run = |threads| on_threads(threads, || {
            let (mut y, mut dx) = (vec![f32::NAN; size], dy.clone());
            let mut found: Vec<[Vec<f32>; 4]> = layers.iter().map(|_| sizes.map(|size| vec![f32::NAN; size])).collect();
            let mut gradients: Vec<[MapGradient; 2]> = found
                .iter_mut()
                .map(|[v, c, u, b]| [MapGradient { weight: v, bias: c }, MapGradient { weight: u, bias: b }])
                .collect();
            forward(&of, &x0, &mut y);
            backward(&of, &x0, &mut dx, &mut gradients);
            [y, dx].into_iter().chain(found.into_iter().flatten()).collect::<Vec<_>>()
        });
        let found = run(1);
        for (found, expected) in found.iter().zip(naive(&of, &x0, &dy)) {
            close(found, &expected)?;
        }
        for threads in [2, 3] {
            for (one, other) in found.iter().zip(run(threads)) {
                prop_assert_eq!(bits(one), bits(&other));
            }
        }
    }
}
