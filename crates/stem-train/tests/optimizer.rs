//! The fused update on the host and its tensor twin are the same optimizer.
#![allow(clippy::unwrap_used)]

mod common;
use burn::tensor::{Tensor, TensorData};
use common::spec;
use proptest::prelude::*;
use stem_core::{RowMatrix, upload_index};
use stem_train::optimizer::{Adam, Clip, Moments, Rows};

fn matrix(values: &[f32], rows: usize, width: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [rows, width]), &spec().open().unwrap())
}

fn values(matrix: &RowMatrix) -> Vec<f32> {
    matrix.tensor().to_data().try_into_vec().unwrap()
}

/// Adam as the paper writes it, in f64, element by element.
fn by_hand(w: f64, grads: &[f64], rate: f64) -> f64 {
    let (mut w, mut m, mut v) = (w, 0.0, 0.0);
    for (t, g) in grads.iter().enumerate() {
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t as i32 + 1)), v / (1.0 - 0.999f64.powi(t as i32 + 1)));
        w -= rate * m_hat / (v_hat.sqrt() + 1e-8);
    }
    w
}

#[test]
fn adam_is_the_papers_algorithm() {
    let device = spec().open().unwrap();
    let grads = [0.3f32, -0.2, 0.7];
    let mut weights = RowMatrix::new(matrix(&[0.5], 1, 1));
    let mut moments = Moments::zeros([1, 1], &device);
    for g in grads {
        moments.update(&Adam::default(), 0.01, &mut weights, Rows::All, matrix(&[g], 1, 1), &Clip::Host(1.0));
    }
    let expected = by_hand(0.5, &grads.map(f64::from), 0.01);
    assert!((f64::from(values(&weights)[0]) - expected).abs() < 1e-6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn slices_and_tensors_agree_on_any_rows(
        (rows, width) in (1usize..40, 1usize..9),
        picks in prop::collection::btree_set(0u32..40, 1..30),
        seed in 0u32..1000,
        scale in 0.1f32..1.0,
    ) {
        let device = spec().open().unwrap();
        let ids: Vec<u32> = picks.into_iter().filter(|&id| (id as usize) < rows).collect();
        prop_assume!(!ids.is_empty());
        let draw = |n: usize, salt: u32| -> Vec<f32> {
            (0..n as u32).map(|i| ((i.wrapping_mul(2_654_435_761).wrapping_add(seed * 97 + salt)) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
        };
        let start = draw(rows * width, 1);
        let run = |clip: &Clip| {
            let mut weights = RowMatrix::new(matrix(&start, rows, width));
            let mut moments = Moments::zeros([rows, width], &device);
            let index = upload_index(&ids, &device);
            for step in 0..3 {
                let grad = matrix(&draw(ids.len() * width, 10 + step), ids.len(), width);
                moments.update(&Adam::default(), 0.01, &mut weights, Rows::Distinct { ids: &ids, index: &index }, grad, clip);
            }
            values(&weights)
        };
        let host = run(&Clip::Host(scale));
        let portable = run(&Clip::Device(Tensor::from_floats([scale], &device)));
        for (i, (a, b)) in host.iter().zip(&portable).enumerate() {
            prop_assert!((a - b).abs() < 1e-5, "element {}: {} and {}", i, a, b);
            let touched = ids.contains(&((i / width) as u32));
            prop_assert_eq!(touched, *a != start[i], "untouched rows stay as they are");
        }
    }
}

#[test]
fn a_large_matrix_is_updated_alike_by_many_threads() {
    let device = spec().open().unwrap();
    let (rows, width) = (20_000, 16);
    let ids: Vec<u32> = (0..rows as u32).step_by(2).collect();
    let index = upload_index(&ids, &device);
    let mut weights = RowMatrix::zeros(rows, width, &device);
    let mut moments = Moments::zeros([rows, width], &device);
    let grad: Vec<f32> = (0..ids.len() * width).map(|i| if i % 3 == 0 { 1.0 } else { -2.0 }).collect();
    let grad = matrix(&grad, ids.len(), width);
    moments.update(
        &Adam::default(),
        0.5,
        &mut weights,
        Rows::Distinct { ids: &ids, index: &index },
        grad,
        &Clip::Host(1.0),
    );
    // The first step of Adam moves every touched weight by the rate, against the gradient's sign.
    for (i, w) in values(&weights).iter().enumerate() {
        let (row, place) = (i / width, i / width / 2 * width + i % width);
        let expected = if row % 2 == 1 {
            0.0
        } else if place % 3 == 0 {
            -0.5
        } else {
            0.5
        };
        assert!((w - expected).abs() < 1e-5, "element {i}: {w}, expected {expected}");
    }
}

#[test]
fn gradients_beyond_the_limit_are_scaled_to_it_and_others_are_left() {
    let device = spec().open().unwrap();
    let scale = |squared: f32, on_host: bool| match Clip::to(10.0, Tensor::from_floats([squared], &device), on_host) {
        Clip::Host(scale) => scale,
        Clip::Device(scale) => scale.into_scalar::<f32>(),
    };
    for on_host in [true, false] {
        assert!((scale(400.0, on_host) - 0.5).abs() < 1e-6, "norm 20, limit 10");
        assert_eq!(scale(99.0, on_host), 1.0);
        assert_eq!(scale(0.0, on_host), 1.0);
    }
    let grad = matrix(&[3.0, -4.0], 1, 2);
    let clipped = Clip::to(1.0, stem_train::optimizer::squared_norm(&grad), true).apply(grad);
    let clipped: Vec<f32> = clipped.into_data().try_into_vec().unwrap();
    assert!((clipped[0] - 0.6).abs() < 1e-5 && (clipped[1] + 0.8).abs() < 1e-5, "{clipped:?}");
}
