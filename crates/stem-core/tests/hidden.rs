//! What stands between the linear maps of a bank: normalisation, activations, dropout.

use crate::common::*;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

fn tensor(values: &[f32], shape: [usize; 3], device: &Device) -> Tensor<3> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn values(tensor: Tensor<3>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn close(found: &[f32], expected: &[f32]) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-5)
}

#[test]
fn activations_are_those_of_the_papers() {
    let y = [-2.0f32, -0.5, 0.0, 1.5];
    let activated = |kind| {
        let bank = ActivationBank::init(kind, 1, 1, &device());
        values(bank.forward(tensor(&y, [1, 4, 1], &device())))
    };
    assert!(close(&activated(Activation::Relu), &[0.0, 0.0, 0.0, 1.5]));
    assert!(close(&activated(Activation::Tanh), &y.map(f32::tanh)));
    assert!(close(&activated(Activation::Gelu), &[-0.045_500_27, -0.154_268_77, 0.0, 1.399_789_2]));
    assert!(close(&activated(Activation::Swish), &[-0.238_405_84, -0.188_770_33, 0.0, 1.226_361_7]));
    assert!(close(&activated(Activation::Prelu), &[-0.2, -0.05, 0.0, 1.5]), "slope 0.1 to begin with");
    // In scoring Dice normalises with running mean 0 and variance 1, and its slope begins with 0: y sigmoid(y).
    assert!(close(&activated(Activation::Dice), &y.map(|y| y / (1.0 + (-y).exp()))));
}

#[test]
fn batch_norm_normalises_over_the_batch_and_remembers_for_scoring() {
    let bank = BatchNormBank::init(2, 1, &device().autodiff());
    let y = [1.0f32, 2.0, 3.0, 6.0, 10.0, 10.0, 30.0, 30.0]; // member 0: mean 3, variance 3.5; member 1: 20, 100
    let train = values(bank.forward(tensor(&y, [2, 4, 1], &device().autodiff())).inner());
    let normal = |y: f32, mean: f32, variance: f32| (y - mean) / (variance + 1e-5).sqrt();
    let expected: Vec<f32> =
        (0..8).map(|i| if i < 4 { normal(y[i], 3.0, 3.5) } else { normal(y[i], 20.0, 100.0) }).collect();
    assert!(close(&train, &expected), "{train:?}");
    // One step of momentum 0.1 from mean 0 and variance 1, towards the unbiased variances 14/3 and 400/3.
    let scored = values(bank.valid().forward(tensor(&y, [2, 4, 1], &device())));
    let (means, variances) = ([0.3, 2.0], [0.9 + 0.1 * 14.0 / 3.0, 0.9 + 0.1 * 400.0 / 3.0]);
    let expected: Vec<f32> = (0..8).map(|i| normal(y[i], means[i / 4], variances[i / 4])).collect();
    assert!(close(&scored, &expected), "{scored:?} {expected:?}");
}

/// `y sigmoid(norm(y))` while the slope is 0.
#[test]
fn dice_normalises_over_the_batch_and_its_running_statistics_follow_by_a_hundredth() {
    let bank = ActivationBank::init(Activation::Dice, 1, 1, &device().autodiff());
    let y = [10.0f32, 20.0, 30.0, 60.0]; // mean 30, variance 350
    let gate = |y: f32, mean: f32, variance: f32| y / (1.0 + (-(y - mean) / (variance + 1e-9f32).sqrt()).exp());
    let train = values(bank.forward(tensor(&y, [1, 4, 1], &device().autodiff())).inner());
    assert!(close(&train, &y.map(|y| gate(y, 30.0, 350.0))), "{train:?}");
    let small = [0.5f32, -0.5, 0.1, 2.0];
    let scored = values(bank.valid().forward(tensor(&small, [1, 4, 1], &device())));
    let expected = small.map(|y| gate(y, 0.3, 0.99 + 0.01 * 1400.0 / 3.0)); // from mean 0 and variance 1
    assert!(close(&scored, &expected), "{scored:?} {expected:?}");
}

#[test]
fn a_batch_of_one_row_leaves_running_statistics_alone() {
    let bank = BatchNormBank::init(1, 2, &device().autodiff());
    bank.forward(tensor(&[3.0, -1.0], [1, 1, 2], &device().autodiff()));
    let scored = values(bank.valid().forward(tensor(&[3.0, -1.0], [1, 1, 2], &device())));
    assert!(close(&scored, &[3.0, -1.0]), "mean 0 and variance 1 as before: {scored:?}");
}

#[test]
fn prelu_at_zero_has_the_slopes_gradient() {
    let bank = ActivationBank::init(Activation::Prelu, 1, 1, &device().autodiff());
    let y = tensor(&[-1.0, 0.0, 2.0], [1, 3, 1], &device().autodiff()).require_grad();
    let mut grads = bank.forward(y.clone()).sum().backward();
    assert!(close(&values(y.grad_remove(&mut grads).unwrap()), &[0.1, 0.1, 1.0]));
}

#[test]
fn learned_slopes_and_normalisations_receive_gradients() {
    let device = device().autodiff();
    for activation in [Activation::Prelu, Activation::Dice] {
        let hidden = HiddenConfig { activation, batch_norm: true, dropout: 0.0 };
        let shape = MlpShape { members: 2, input: 3, widths: &[4], output: Some(1), hidden: &hidden };
        let bank = shape.init(&mut ChaCha8Rng::seed_from_u64(1), &device);
        let x: Vec<f32> = (0..30).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
        let mut grads = bank.forward(tensor(&x, [2, 5, 3], &device)).powf_scalar(2.0).sum().backward();
        let mut reached = Reached { grads: &mut grads, path: vec![], names: vec![] };
        bank.visit(&mut reached);
        for part in ["gamma", "beta", "slope", "weight", "bias"] {
            assert!(
                reached.names.iter().any(|name| name.ends_with(part)),
                "{part} of {activation:?}: {:?}",
                reached.names
            );
        }
    }
}

/// Names of the parameters that have a gradient other than zero.
struct Reached<'a> {
    grads: &'a mut burn::tensor::Gradients,
    path: Vec<String>,
    names: Vec<String>,
}

impl burn::module::ModuleVisitor for Reached<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
        let Some(grad) = param.val().grad_remove(self.grads) else { return };
        if grad.into_data().iter::<f32>().any(|g| g != 0.0) {
            self.names.push(self.path.join("."));
        }
    }
}

/// Running statistics are part of the bundle: what is scored after loading is what was scored before saving.
#[test]
fn every_model_with_normalisation_survives_its_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
    for config in every_model() {
        for activation in [Activation::Prelu, Activation::Dice, Activation::Gelu, Activation::Tanh, Activation::Swish] {
            let config = with_hidden(&config, HiddenConfig { activation, batch_norm: true, dropout: 0.2 });
            let (table, network) = init(&config, &device().autodiff());
            let layout = SlotLayout::new(&schema(), table.widths());
            let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
            let rows = table.rows().tensor().clone().autodiff();
            network.forward(layout.pool(rows, index.autodiff(), weights.autodiff())); // moves the running statistics
            let expected = score(&network.valid(), &table, &layout, &schema(), &batch);
            let path = folder.path().join("bundle.safetensors");
            let training = serde_json::json!({});
            bundle::save(&path, &schema(), &vocabularies(), &config, &table, &network, &training).unwrap();
            let found = Predictor::open(&path, &device()).unwrap().score(&batch).unwrap();
            let found: Vec<f32> = found.rows().flatten().copied().collect();
            assert_eq!(found, expected, "{config:?}");
        }
    }
}
