//! Optimizers as experiments write them, and what of it the network takes over.

use crate::common::spec;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use stem_train::Error;
use stem_train::optimizer::{Adagrad, Adam, AdamW, Clip, NetworkGradients, NetworkOptimizer, OptimizerConfig, Sgd};

#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Train {
    optimizer: OptimizerConfig,
}

fn parse(optimizer: &str) -> Result<OptimizerConfig, toml::de::Error> {
    toml::from_str::<Train>(&format!("optimizer = {optimizer}")).map(|train| train.optimizer)
}

#[test]
fn keys_that_are_not_written_have_defaults() {
    let adam = OptimizerConfig::Adam(Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 });
    assert_eq!(toml::from_str::<Train>("").unwrap().optimizer, adam);
    assert_eq!(parse(r#"{ name = "adam" }"#).unwrap(), adam);
    let adamw = AdamW { beta1: 0.8, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
    assert_eq!(parse(r#"{ name = "adamw", beta1 = 0.8 }"#).unwrap(), OptimizerConfig::AdamW(adamw));
    let adagrad = Adagrad { epsilon: 1e-10, initial: 1.0, row_wise: true };
    let written = r#"{ name = "adagrad", row_wise = true, initial = 1 }"#; // a whole number is a number
    assert_eq!(parse(written).unwrap(), OptimizerConfig::Adagrad(adagrad));
    let sgd = Sgd { momentum: 0.9, nesterov: false };
    assert_eq!(parse(r#"{ name = "sgd", momentum = 0.9 }"#).unwrap(), OptimizerConfig::Sgd(sgd));
}

#[test]
fn unknown_keys_and_names_are_refused_and_the_message_names_them() {
    for (written, named) in [
        (r#"{ name = "adam", weight_decay = 0.1 }"#, "weight_decay"),
        (r#"{ name = "adamw", momentum = 0.1 }"#, "momentum"),
        (r#"{ name = "adagrad", row-wise = true }"#, "row-wise"),
        (r#"{ name = "sgd", beta1 = 0.9 }"#, "beta1"),
        (r#"{ name = "adamax" }"#, "adamax"),
        ("{ momentum = 0.9 }", "name"),
    ] {
        let message = parse(written).unwrap_err().to_string();
        assert!(message.contains(&format!("`{named}`")) && message.contains("line 1"), "{message}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    for optimizer in [
        OptimizerConfig::default(),
        OptimizerConfig::AdamW(AdamW::default()),
        OptimizerConfig::Adagrad(Adagrad { row_wise: true, ..Adagrad::default() }),
        OptimizerConfig::Sgd(Sgd { momentum: 0.5, nesterov: true }),
    ] {
        let train = Train { optimizer };
        assert_eq!(toml::from_str::<Train>(&toml::to_string(&train).unwrap()).unwrap(), train);
    }
}

#[test]
fn nonsense_is_refused_by_key() {
    let adam = Adam::default();
    let adamw = AdamW::default();
    let adagrad = Adagrad::default();
    let nan = f64::NAN;
    let refused = [
        (OptimizerConfig::Adam(Adam { beta1: 1.0, ..adam }), "optimizer.beta1"),
        (OptimizerConfig::Adam(Adam { beta1: nan, ..adam }), "optimizer.beta1"),
        (OptimizerConfig::Adam(Adam { beta2: -0.1, ..adam }), "optimizer.beta2"),
        (OptimizerConfig::Adam(Adam { beta2: 1.0 - 1e-12, ..adam }), "optimizer.beta2"), // 1 as f32: nothing is ever added
        (OptimizerConfig::Adam(Adam { epsilon: 0.0, ..adam }), "optimizer.epsilon"),
        (OptimizerConfig::Adam(Adam { epsilon: 1e-50, ..adam }), "optimizer.epsilon"), // 0 as f32: 0 / 0
        (OptimizerConfig::AdamW(AdamW { beta1: 1.5, ..adamw }), "optimizer.beta1"),
        (OptimizerConfig::AdamW(AdamW { weight_decay: -0.1, ..adamw }), "optimizer.weight_decay"),
        (OptimizerConfig::AdamW(AdamW { weight_decay: f64::INFINITY, ..adamw }), "optimizer.weight_decay"),
        (OptimizerConfig::Adagrad(Adagrad { epsilon: nan, ..adagrad }), "optimizer.epsilon"),
        (OptimizerConfig::Adagrad(Adagrad { initial: -1.0, ..adagrad }), "optimizer.initial"),
        (OptimizerConfig::Sgd(Sgd { momentum: 1.0, nesterov: false }), "optimizer.momentum"),
        (OptimizerConfig::Sgd(Sgd { momentum: 0.0, nesterov: true }), "optimizer.nesterov"),
    ];
    for (config, expected) in refused {
        match config.check() {
            Err(Error::Config { key, .. }) => assert_eq!(key, expected, "{config:?}"),
            other => panic!("{config:?}: {other:?}"),
        }
    }
    for sound in [
        OptimizerConfig::Adam(Adam { beta1: 0.0, beta2: 0.0, ..adam }),
        OptimizerConfig::AdamW(AdamW { weight_decay: 0.0, ..adamw }),
        OptimizerConfig::Adagrad(adagrad),
        OptimizerConfig::Sgd(Sgd::default()),
    ] {
        sound.check().unwrap();
    }
}

#[test]
fn state_is_counted_per_row() {
    let adagrad = |row_wise| OptimizerConfig::Adagrad(Adagrad { row_wise, ..Adagrad::default() });
    let sgd = |momentum| OptimizerConfig::Sgd(Sgd { momentum, nesterov: false });
    assert_eq!(OptimizerConfig::default().state_floats(48), 96);
    assert_eq!(OptimizerConfig::AdamW(AdamW::default()).state_floats(48), 96);
    assert_eq!(adagrad(false).state_floats(48), 48);
    assert_eq!(adagrad(true).state_floats(48), 1);
    assert_eq!(adagrad(true).element_wise(), adagrad(false));
    assert_eq!((sgd(0.0).state_floats(48), sgd(0.9).state_floats(48)), (0, 48));
}

/// Two parameters, of which a loss may read one.
#[derive(Module, Debug)]
struct Pair {
    read: Param<Tensor<1>>,
    unread: Param<Tensor<2>>,
}

impl Pair {
    fn new(device: &Device) -> Self {
        let read = Param::from_tensor(Tensor::from_floats([1.0, 1.0], device));
        Self { read, unread: Param::from_tensor(Tensor::from_floats([[2.0], [3.0]], device)) }
    }
}

fn floats<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    param.val().inner().into_data().try_into_vec().unwrap()
}

#[test]
fn the_network_has_a_state_for_every_element_and_parameters_without_gradient_stay() {
    let device = spec().open().unwrap().autodiff();
    let network = Pair::new(&device);
    let loss = (network.read.val() * Tensor::from_floats([2.0, -0.5], &device)).sum(); // the gradient is 2, -0.5
    let gradients = NetworkGradients::take(&network, &mut loss.backward());
    assert!(gradients.get(network.read.id).is_some() && gradients.get(network.unread.id).is_none());

    let config = OptimizerConfig::Adagrad(Adagrad { row_wise: true, ..Adagrad::default() });
    let network = NetworkOptimizer::new(config).update(network, gradients, 0.1, &Clip::Host(1.0));
    // The first step of element-wise Adagrad moves every weight by the rate; row-wise would not.
    for (found, expected) in floats(&network.read).iter().zip([0.9, 1.1]) {
        assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
    }
    assert_eq!(floats(&network.unread), [2.0, 3.0]);
}

/// `sum of read * a`, and of `unread * b` where it is read.
fn gradients(network: &Pair, a: [f32; 2], b: Option<[f32; 2]>) -> NetworkGradients {
    let device = network.read.val().device();
    let mut loss = (network.read.val() * Tensor::from_floats(a, &device)).sum();
    if let Some([x, y]) = b {
        loss = loss + (network.unread.val() * Tensor::from_floats([[x], [y]], &device)).sum();
    }
    NetworkGradients::take(network, &mut loss.backward())
}

#[test]
fn gradients_that_are_joined_change_the_network_as_each_by_itself_does() {
    let device = spec().open().unwrap().autodiff();
    let adagrad = OptimizerConfig::Adagrad(Adagrad { initial: 0.1, ..Adagrad::default() });
    let sgd = |momentum| OptimizerConfig::Sgd(Sgd { momentum, nesterov: false });
    for config in [OptimizerConfig::default(), OptimizerConfig::AdamW(AdamW::default()), adagrad, sgd(0.0), sgd(0.9)] {
        // A parameter joins, leaves and joins again with fewer steps behind it, which only an optimizer that counts them tells.
        let steps = [
            ([2.0, -0.5], None),
            ([0.3, 0.0], Some([1.0, -4.0])),
            ([-1.0, 7.0], Some([0.5, 0.25])),
            ([5.0, 6.0], None),
            ([0.1, 0.2], Some([-3.0, 9.0])),
        ];
        let train = |joined: bool| {
            let mut optimizer = NetworkOptimizer::new(config);
            steps.iter().fold(Pair::new(&device), |network, (a, b)| {
                let gradients = gradients(&network, *a, *b);
                let gradients = if joined { gradients.joined() } else { gradients };
                let norm = gradients.add_squared_norm(Tensor::zeros([1], &device.clone().inner()));
                optimizer.update(network, gradients, 0.1, &Clip::to(3.0, norm, false))
            })
        };
        let (joined, apart) = (train(true), train(false));
        for (a, b) in [(floats(&joined.read), floats(&apart.read)), (floats(&joined.unread), floats(&apart.unread))] {
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "{config:?}: {a:?}, expected {b:?}");
        }
    }
}
