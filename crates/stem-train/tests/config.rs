//! The limits of every setting.

use stem_train::optimizer::AdamW;
use stem_train::{BalanceConfig, Error, EvaluateEvery, OptimizerConfig, PriorConfig, TrainConfig};

fn refused(change: impl FnOnce(&mut TrainConfig)) -> Option<&'static str> {
    let mut config = TrainConfig::default();
    change(&mut config);
    match config.check() {
        Ok(()) => None,
        Err(Error::Config { key, .. }) => Some(key),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_prior_is_learned_unless_a_number_is_given() {
    let l2 = |text: &str| toml::from_str::<TrainConfig>(text).unwrap().l2();
    assert!(matches!(TrainConfig::default().prior(), PriorConfig::Learned { tied: true, .. }));
    assert_eq!(l2("embedding_l2 = 1e-5"), 1e-5);
    assert_eq!(l2("prior = { name = \"fixed\", l2 = 1e-4 }"), 1e-4);
    assert_eq!((l2("prior = { name = \"fixed\" }"), l2("prior = { name = \"learned\" }")), (1e-6, 0.0));
}

#[test]
fn what_lies_at_the_limit_is_taken_and_what_lies_beyond_is_refused_by_key() {
    for taken in [1, 1 << 24] {
        assert_eq!(refused(|train| train.batch_size = taken), None);
    }
    for beyond in [0, (1 << 24) + 1] {
        assert_eq!(refused(|train| train.batch_size = beyond), Some("batch_size"));
    }
    assert_eq!(refused(|train| train.epochs = 1), None);
    assert_eq!(refused(|train| train.epochs = 0), Some("epochs"));
    assert_eq!(refused(|train| train.patience = 1), None);
    assert_eq!(refused(|train| train.patience = 0), Some("patience"));
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(refused(|train| train.learning_rate = bad), Some("learning_rate"));
        assert_eq!(refused(|train| train.max_gradient_norm = bad), Some("max_gradient_norm"));
    }
    assert_eq!(
        refused(|train| (train.embedding_l2, train.network_l2, train.embedding_std) = (Some(0.0), 0.0, 0.0)),
        None
    );
    for bad in [-1e-9, f64::NAN, f64::INFINITY] {
        assert_eq!(refused(|train| train.embedding_l2 = Some(bad)), Some("embedding_l2"));
        assert_eq!(refused(|train| train.network_l2 = bad), Some("network_l2"));
        assert_eq!(refused(|train| train.embedding_std = bad as f32), Some("embedding_std"));
        assert_eq!(refused(|train| _ = train.task_weights.insert("a".into(), bad)), Some("task_weights"));
    }
    assert_eq!(refused(|train| _ = train.task_weights.insert("a".into(), 0.0)), None);
    assert_eq!(
        refused(|train| _ = train.task_weights.insert("a".into(), 1e39)),
        Some("task_weights"),
        "infinite as f32"
    );
    let fixed = PriorConfig::Fixed { l2: 1e-6 };
    assert_eq!(refused(|train| (train.embedding_l2, train.prior) = (Some(1e-6), Some(fixed))), Some("embedding_l2"));
    assert_eq!(refused(|train| train.prior = Some(PriorConfig::Fixed { l2: -1.0 })), Some("prior.l2"));
    for (deviation, correlation, key) in [(0.0, 0.5, "prior.deviation"), (0.1, 1.0, "prior.correlation")] {
        let prior = PriorConfig::Learned { tied: true, deviation: Some(deviation), correlation };
        assert_eq!(refused(|train| train.prior = Some(prior)), Some(key));
    }
    assert_eq!(refused(|train| train.evaluate_every = EvaluateEvery::Steps(0)), Some("evaluate_every.steps"));
    assert_eq!(refused(|train| train.monitor.weights = [("a".into(), 0.0)].into()), Some("monitor.weights"));
    let decay = |weight_decay| OptimizerConfig::AdamW(AdamW { weight_decay, ..AdamW::default() });
    assert_eq!(refused(|train| train.optimizer = decay(999.0)), None); // the rate is 1e-3
    assert_eq!(refused(|train| train.optimizer = decay(1000.0)), Some("optimizer.weight_decay"));
}

#[test]
fn settings_that_cannot_balance_are_refused_by_key() {
    let refused = |balance| refused(|train| train.balance = balance);
    for taken in [
        BalanceConfig::Famo { rate: 0.0, decay: 0.0 },
        BalanceConfig::Stch { mu: 0.01, warm_up: 1 },
        BalanceConfig::GradNorm { alpha: 0.0, rate: 0.0 },
        BalanceConfig::Uncertainty { rate: 0.0 },
    ] {
        assert_eq!(refused(taken), None, "{taken:?}");
    }
    for bad in [-1e-9, f64::NAN, f64::INFINITY] {
        assert_eq!(refused(BalanceConfig::Famo { rate: bad, decay: 0.0 }), Some("balance.rate"));
        assert_eq!(refused(BalanceConfig::Famo { rate: 0.1, decay: bad }), Some("balance.decay"));
        assert_eq!(refused(BalanceConfig::Stch { mu: bad, warm_up: 1 }), Some("balance.mu"));
        assert_eq!(refused(BalanceConfig::GradNorm { alpha: bad, rate: 0.1 }), Some("balance.alpha"));
        assert_eq!(refused(BalanceConfig::GradNorm { alpha: 1.5, rate: bad }), Some("balance.rate"));
        assert_eq!(refused(BalanceConfig::Uncertainty { rate: bad }), Some("balance.rate"));
    }
    assert_eq!(refused(BalanceConfig::Stch { mu: 0.0099, warm_up: 1 }), Some("balance.mu"));
    assert_eq!(refused(BalanceConfig::Stch { mu: 1.0, warm_up: 0 }), Some("balance.warm_up"));
}

#[test]
fn a_refused_balance_says_what_is_expected_and_unknown_keys_are_told() {
    let said = |text: &str| toml::from_str::<TrainConfig>(text).unwrap().check().unwrap_err().to_string();
    let message = said("balance = { name = \"stch\", mu = 0.001 }");
    assert!(message.contains("`balance.mu` is 0.001, expected a number of 0.01 or more"), "{message}");
    let message = said("balance = { name = \"stch\", warm_up = 0 }");
    assert!(message.contains("`balance.warm_up` is 0, expected a step or more"), "{message}");
    let message = said("balance = { name = \"famo\", decay = -1.0 }");
    assert!(message.contains("`balance.decay` is -1, expected a number of 0 or more"), "{message}");
    for (text, keys) in [
        ("balance = { name = \"famo\", mu = 1.0 }", "`rate`, `decay`"),
        ("balance = { name = \"stch\", decay = 1.0 }", "`mu`, `warm_up`"),
        ("balance = { name = \"stch\", warm_up = -1 }", "usize"),
    ] {
        let message = toml::from_str::<TrainConfig>(text).unwrap_err().to_string();
        assert!(keys.split(", ").all(|key| message.contains(key)), "{message}");
    }
}
