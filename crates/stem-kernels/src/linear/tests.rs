//! Banks of linear maps against loops in f64.

use proptest::prelude::*;

use super::*;
use crate::check::{bits, numbers, on_threads};

/// What a bank reads.
struct Case {
    shape: BankShape,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

/// What a bank gives.
#[derive(Debug, Clone)]
struct Outcome {
    y: Vec<f32>,
    dz: Vec<f32>,
    dweight: Vec<f32>,
    dbias: Vec<f32>,
    dx: Vec<f32>,
}

impl Outcome {
    fn parts(&self) -> [(&'static str, &[f32]); 5] {
        let Self { y, dz, dweight, dbias, dx } = self;
        [("y", y), ("dz", dz), ("dW", dweight), ("db", dbias), ("dx", dx)]
    }

    fn bits(&self) -> Vec<u32> {
        self.parts().into_iter().flat_map(|(_, part)| bits(part)).collect()
    }
}

impl Case {
    fn new(shape: BankShape) -> Self {
        let BankShape { members, batch, input, output, shared, .. } = shape;
        Self {
            shape,
            x: numbers(if shared { 1 } else { members } * batch * input, 1, 2.0),
            weight: numbers(members * input * output, 2, 2.0),
            bias: numbers(members * output, 3, 2.0),
            dy: numbers(members * batch * output, 4, 2.0),
        }
    }

    /// All results lie where something else did.
    fn run(&self, precision: Precision) -> Outcome {
        let Self { shape, x, weight, bias, dy } = self;
        let full = |part: &[f32]| vec![f32::NAN; part.len()];
        let (mut y, mut dz, mut dx) = (full(dy), dy.clone(), full(x));
        let (mut dweight, mut dbias) = (full(weight), full(bias));
        forward(precision, *shape, x, weight, bias, &mut y);
        backward(precision, *shape, x, weight, &y, &mut dz, &mut dweight, &mut dbias, Some(&mut dx));
        Outcome { y, dz, dweight, dbias, dx }
    }

    /// The specification. What the ReLU lets pass is decided by `found`, so that rounding never flips it; `dz` is taken from there.
    fn expected(&self, found: &Outcome) -> Outcome {
        let BankShape { members, batch, input, output, shared, relu } = self.shape;
        let wide = |x: f32| f64::from(x);
        let (mut y, mut dz) = (Vec::new(), Vec::new());
        let mut dweight = vec![0.0; self.weight.len()];
        let (mut dbias, mut dx) = (vec![0.0; self.bias.len()], vec![0.0; self.x.len()]);
        for e in 0..members {
            for b in 0..batch {
                let row = (if shared { 0 } else { e * batch } + b) * input;
                for o in 0..output {
                    let weight = |i: usize| (e * input + i) * output + o;
                    let at = (e * batch + b) * output + o;
                    let sum: f64 = (0..input).map(|i| wide(self.x[row + i]) * wide(self.weight[weight(i)])).sum();
                    let z = sum + wide(self.bias[e * output + o]);
                    y.push(if relu && z < 0.0 { 0.0 } else { z } as f32);
                    let passes = !relu || found.y[at] > 0.0;
                    let d = if passes { self.dy[at] } else { 0.0 };
                    dz.push(d);
                    dbias[e * output + o] += wide(d);
                    for i in 0..input {
                        dweight[weight(i)] += wide(self.x[row + i]) * wide(d);
                        dx[row + i] += wide(d) * wide(self.weight[weight(i)]);
                    }
                }
            }
        }
        let narrow = |x: Vec<f64>| x.into_iter().map(|x| x as f32).collect();
        Outcome { y, dz, dweight: narrow(dweight), dbias: narrow(dbias), dx: narrow(dx) }
    }
}

/// `tolerance` for a sum of one term; errors of `n` terms grow as the root of `n`, and those of adding them up as `n`: each addition
/// rounds a sum that is itself of the size of the root of `n`.
fn agree(shape: BankShape, found: &Outcome, expected: &Outcome, tolerance: f32) -> Result<(), TestCaseError> {
    let BankShape { members, batch, input, output, .. } = shape;
    let terms = [input, 1, batch, batch, output * members];
    for (((name, found), (_, expected)), terms) in found.parts().into_iter().zip(expected.parts()).zip(terms) {
        prop_assert_eq!(found.len(), expected.len());
        let terms = terms as f32;
        let allowed = tolerance * (1.0 + terms.sqrt()) + 2.0 * f32::EPSILON * terms;
        for (found, expected) in found.iter().zip(expected) {
            prop_assert!((found - expected).abs() <= allowed, "{}: {}, expected {}", name, found, expected);
        }
    }
    Ok(())
}

fn shapes() -> impl Strategy<Value = BankShape> {
    let batch = prop_oneof![0usize..6, 0usize..40, 60usize..70, 1000usize..1100];
    let input = prop_oneof![0usize..6, 0usize..70, 120usize..135];
    let output = prop_oneof![0usize..6, 1usize..=70];
    (0usize..4, batch, input, output, any::<bool>(), any::<bool>()).prop_map(
        |(members, batch, input, output, shared, relu)| BankShape { members, batch, input, output, shared, relu },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_bank_is_what_its_equations_say(shape in shapes()) {
        let case = Case::new(shape);
        let found = case.run(Precision::F32);
        agree(shape, &found, &case.expected(&found), 2e-6)?;
    }

    #[test]
    fn gradients_do_not_depend_on_whether_that_of_the_input_is_asked_for(shape in shapes()) {
        let case = Case::new(shape);
        let Outcome { y, dz, dweight, dbias, .. } = case.run(Precision::F32);
        let (mut d, mut dw, mut db) = (case.dy.clone(), vec![f32::NAN; dweight.len()], vec![f32::NAN; dbias.len()]);
        backward(Precision::F32, shape, &case.x, &case.weight, &y, &mut d, &mut dw, &mut db, None);
        prop_assert_eq!((d, dw, db), (dz, dweight, dbias));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_number_of_threads_gives_the_same_bits(
        (members, batch) in (1usize..4, 1usize..3000),
        (input, output) in (1usize..200, 1usize..200),
        shared: bool,
        bf16: bool,
    ) {
        let case = Case::new(BankShape { members, batch, input, output, shared, relu: true });
        let precision = if bf16 { Precision::Bf16 } else { Precision::F32 };
        let [one, two, three] = [1, 2, 3].map(|threads| on_threads(threads, || case.run(precision).bits()));
        prop_assert!(one == two && two == three);
    }

    #[test]
    fn bfloat16_is_as_exact_as_its_factors(
        (members, batch) in (1usize..3, 1usize..600),
        (input, output) in (100usize..300, 100usize..300),
        shared: bool,
        relu: bool,
    ) {
        let shape = BankShape { members, batch, input, output, shared, relu };
        let case = Case::new(shape);
        let found = case.run(Precision::Bf16);
        agree(shape, &found, &case.expected(&found), 1e-2)?;
    }
}

#[test]
fn what_is_not_a_number_reaches_the_output_and_its_gradient() {
    for (input, output) in [(8, 1), (8, 3), (20, 30), (150, 140)] {
        for precision in [Precision::F32, Precision::Bf16] {
            let mut case = Case::new(BankShape { members: 2, batch: 200, input, output, shared: false, relu: true });
            case.x[5 * input] = f32::NAN; // row 5 of member 0
            let found = case.run(precision);
            for (row, y) in found.y.chunks(output).enumerate() {
                assert!(y.iter().all(|y| y.is_nan() == (row == 5)));
            }
            assert!(found.dweight[..output].iter().all(|dw| dw.is_nan()));
            assert_eq!(found.dz[5 * output..][..output], case.dy[5 * output..][..output]);
        }
    }
}

#[test]
#[should_panic(expected = "numbers in the weight of BankShape")]
fn a_length_that_is_wrong_is_refused() {
    let shape = BankShape { members: 1, batch: 1, input: 2, output: 2, shared: true, relu: false };
    forward(Precision::F32, shape, &[0.0; 2], &[0.0; 3], &[0.0; 2], &mut [0.0; 2]);
}
