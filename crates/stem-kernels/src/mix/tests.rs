use super::*;
use crate::check::{bits, close, numbers, on_threads};
use proptest::prelude::*;

fn shapes() -> impl Strategy<Value = MixShape> {
    let of = |values: &'static [usize]| prop::sample::select(values);
    (of(&[0, 1, 2, 5]), of(&[0, 1, 3, 17, 150]), of(&[0, 1, 2, 3, 10]), of(&[0, 1, 7, 64, 200, 600]))
        .prop_map(|(tasks, rows, experts, hidden)| MixShape { tasks, rows, experts, hidden })
}

proptest! {
    #[test]
    fn forward_and_backward_are_the_equations_on_any_number_of_threads(shape in shapes(), seed in any::<u64>()) {
        let z = numbers(shape.gates(), seed, 20.0);
        let h: Vec<Vec<f32>> = (0..shape.experts).map(|e| numbers(shape.hiddens(), seed ^ e as u64, 2.0)).collect();
        let h: Vec<&[f32]> = h.iter().map(Vec::as_slice).collect();
        let d_o = numbers(shape.outputs(), seed ^ 102, 2.0);
        let mask: Vec<bool> =
            numbers(shape.tasks * shape.experts, seed ^ 103, 1.0).iter().map(|x| *x > 0.0).collect();
        let all = |threads: usize| on_threads(threads, || {
            let (mut g, mut o) = (vec![f32::NAN; shape.gates()], vec![f32::NAN; shape.outputs()]);
            forward(shape, &z, &h, &mut g, &mut o);
            let (mut dz, mut dh) = (vec![f32::NAN; shape.gates()], vec![vec![f32::NAN; shape.hiddens()]; shape.experts]);
            backward(shape, &mask, &g, &h, &d_o, &mut dz, dh.iter_mut().map(Vec::as_mut_slice).collect());
            [g, o, dz, dh.concat()]
        });
        let found = all(1);
        let (g, o) = spec::forward(shape, &z, &h);
        let (dz, dh) = spec::backward(shape, &mask, &found[0], &h, &d_o);
        for (found, expected) in found.iter().zip([g, o, dz, dh]) {
            close(found, &expected)?;
        }
        for threads in [2, 3] {
            for (one, many) in found.iter().zip(all(threads)) {
                prop_assert_eq!(bits(one), bits(&many));
            }
        }
    }
}

const TWO: MixShape = MixShape { tasks: 1, rows: 1, experts: 2, hidden: 1 };

#[test]
fn a_logit_of_minus_infinity_shuts_an_expert_out() {
    let (mut g, mut o, mut dz, mut d0, mut d1) = ([0.0; 2], [0.0; 1], [0.0; 2], [0.0; 1], [0.0; 1]);
    forward(TWO, &[f32::NEG_INFINITY, 3.0], &[&[5.0], &[7.0]], &mut g, &mut o);
    backward(TWO, &[true; 2], &g, &[&[5.0], &[7.0]], &[1.0], &mut dz, vec![&mut d0, &mut d1]);
    assert_eq!((g, o, dz, d0, d1), ([0.0, 1.0], [7.0], [0.0; 2], [0.0], [1.0]));
}

#[test]
fn a_logit_that_is_no_number_is_not_hidden() {
    let (mut g, mut o) = ([0.0; 2], [0.0; 1]);
    forward(TWO, &[f32::NAN, 3.0], &[&[5.0], &[7.0]], &mut g, &mut o);
    assert!(g.iter().chain(&o).all(|x| x.is_nan()));
}

#[test]
#[should_panic(expected = "every expert is [B, H]")]
fn an_expert_of_another_length_is_refused() {
    forward(TWO, &[0.0; 2], &[&[5.0], &[]], &mut [0.0; 2], &mut [0.0; 1]);
}
