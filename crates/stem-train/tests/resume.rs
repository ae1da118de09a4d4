//! A training that was stopped or killed goes on to the same bits as one that never stopped. One test: dropout draws from a generator
//! that the whole process shares.

use crate::common::stopped::*;
use crate::common::*;

use stem_core::nn::{Activation, HiddenConfig};
use stem_core::{DeviceSpec, ModelConfig, ModelName};
use stem_train::optimizer::{Adagrad, Adam, AdamW, Sgd};
use stem_train::{
    BalanceConfig, Calibrate, CheckpointEvery, Error, EvaluateEvery, Learner, NegativeSampling, OptimizerConfig,
    PriorConfig, ScheduleConfig, TableMode, TrainConfig,
};

#[test]
fn a_training_that_was_stopped_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let noisy =
        || stem(|config| config.hidden = HiddenConfig { dropout: 0.3, batch_norm: true, ..HiddenConfig::default() });
    let dice = stem(|config| config.hidden = HiddenConfig { activation: Activation::Dice, ..HiddenConfig::default() });
    let small = |name: ModelName| crate::common::small(name);
    let fixed = Some(PriorConfig::Fixed { l2: 1e-6 });
    let cases: Vec<(&str, ModelConfig, TrainConfig)> = vec![
        ("dropout, batch norm, Adam, tied prior", noisy(), config(|_| ())),
        (
            "a prior after steps of EM",
            small(ModelName::Stem),
            config(|c| {
                (c.batch_size, c.evaluate_every) = (60, EvaluateEvery::Epochs(0.5));
                c.checkpoint_every = Some(CheckpointEvery::Steps(40));
            }),
        ),
        (
            "diagonal prior, AdamW, cosine",
            dice,
            config(|c| {
                c.prior = Some(PriorConfig::Learned { tied: false, deviation: None, correlation: 0.5 });
                c.optimizer = OptimizerConfig::AdamW(AdamW::default());
                c.schedule = ScheduleConfig::Cosine { final_fraction: 0.1 };
            }),
        ),
        (
            "Adagrad, uncertainty, plateau",
            small(ModelName::Ple),
            config(|c| {
                (c.prior, c.optimizer) = (fixed, OptimizerConfig::Adagrad(Adagrad::default()));
                c.balance = BalanceConfig::Uncertainty { rate: 0.01 };
                c.schedule = ScheduleConfig::Plateau { factor: 0.5 };
            }),
        ),
        (
            "row-wise Adagrad, GradNorm",
            small(ModelName::Mmoe),
            config(|c| {
                c.optimizer = OptimizerConfig::Adagrad(Adagrad { row_wise: true, ..Adagrad::default() });
                c.balance = BalanceConfig::GradNorm { alpha: 1.5, rate: 0.025 };
            }),
        ),
        ("FAMO", small(ModelName::Stem), config(|c| c.balance = BalanceConfig::Famo { rate: 0.025, decay: 1e-3 })),
        (
            "smooth Tchebycheff, stopped within its warm-up and after",
            small(ModelName::Mmoe),
            config(|c| c.balance = BalanceConfig::Stch { mu: 0.5, warm_up: 9 }),
        ),
        (
            "MultiBalance",
            small(ModelName::Stem),
            config(|c| c.balance = BalanceConfig::MultiBalance { decay: 0.9, min_norm: true }),
        ),
        (
            "momentum, PCGrad, a table that restarts",
            small(ModelName::SharedBottom),
            config(|c| {
                c.optimizer = OptimizerConfig::Sgd(Sgd { momentum: 0.9, ..Sgd::default() });
                (c.balance, c.table_restart) = (BalanceConfig::PcGrad {}, true);
            }),
        ),
        (
            "part of the negatives, keys shown as unseen, calibrated scores",
            small(ModelName::Mmoe),
            config(|c| {
                c.negative_sampling = Some(NegativeSampling { keep: 0.5 });
                (c.unseen, c.calibrate) = (2.0, Calibrate::Isotonic);
            }),
        ),
        (
            "plain SGD, early stopping",
            small(ModelName::Aitm),
            config(|c| {
                (c.optimizer, c.patience) = (OptimizerConfig::Sgd(Sgd::default()), 2);
            }),
        ),
        (
            "dense",
            small(ModelName::Esmm),
            config(|c| {
                (c.table, c.optimizer) = (TableMode::Dense, OptimizerConfig::Adam(Adam::default()));
            }),
        ),
        ("by time", small(ModelName::PleMe), config(|c| c.checkpoint_every = Some(CheckpointEvery::Minutes(1e-9)))),
    ];
    let on_gpu = matches!(spec(), DeviceSpec::Wgpu(_)); // adds up in whatever order its threads come
    let (mut stopped, mut others) = (0, Vec::new());
    for (place, (name, model, train)) in cases.iter().enumerate() {
        let whole = finish(model, train, &dataset, &folder.path().join(format!("whole-{place}")));
        let out = folder.path().join(format!("stopped-{place}"));
        // Stopped twice; the second time as if killed: the last checkpoint was never written.
        stopped += usize::from(train_until(model, train, &dataset, &out, 5));
        if out.join("unfinished").exists() && train_until(model, train, &dataset, &out, 20) {
            let found = checkpoints(&out);
            if let [.., (_, before), (_, last)] = &found[..] {
                std::fs::remove_file(last).unwrap();
                assert!(before.exists());
            }
        }
        if out.join("unfinished").exists() {
            let found = finish(model, train, &dataset, &out);
            let differs = ["bundle", "log"].iter().zip(found.iter().zip(&whole)).filter(|(_, (a, b))| a != b);
            others.extend(differs.map(|(what, _)| format!("{name}: the {what}")));
        }
    }
    assert!(on_gpu || others.is_empty(), "other bits: {others:?}");
    assert!(stopped > cases.len() / 2, "{stopped} trainings of {} were stopped before their end", cases.len());

    // A checkpoint that is cut short: the one before is taken. One of other settings is refused.
    let (name, model, train) = &cases[0];
    let whole = folder.path().join("whole-0");
    let out = folder.path().join("cut");
    if train_until(model, train, &dataset, &out, 10) {
        let found = checkpoints(&out);
        assert!(found.len() >= 2, "the last and the one before");
        let other = TrainConfig { learning_rate: 0.5, ..train.clone() };
        let learner = Learner::new(model.clone(), &dataset, other, &spec().open().unwrap(), &out).unwrap();
        let message = learner.with_resume(true).fit().unwrap_err();
        assert!(matches!(&message, Error::OtherSettings { .. }), "{message}");
        assert!(message.to_string().contains("train.learning_rate is 0.01 there and 0.5 now"), "{message}");
        let last = &found[found.len() - 1].1;
        let bytes = std::fs::read(last).unwrap();
        std::fs::write(last, &bytes[..bytes.len() - 9]).unwrap();
        let found = finish(model, train, &dataset, &out);
        let expected = left_in(&whole);
        assert!(on_gpu || found == expected, "{name}: other bits after a checkpoint that was cut short");
    }
}
