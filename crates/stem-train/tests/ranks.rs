//! Several ranks are held to one process: the same batches, the same weights but for rounding, and the same bits every time.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::common::by_hand::{largest_difference, log_of, weights_in, without_validation};
use crate::common::{dataset, is_slow, small, small_with, smooth, spec, stem};
use serde_json::json;
use stem_core::loss::TaskLoss;
use stem_core::models::{MixtureSizes, MmoeConfig};
use stem_core::nn::CovarianceConfig;
use stem_core::{Bundle, ModelConfig, ModelName};
use stem_data::{Dataset, Split};
use stem_train::optimizer::{Adagrad, Adam, AdamW, Sgd};
use stem_train::ranks::{Ranks, Team, Threads, Wire};
use stem_train::{BalanceConfig, FitSummary, Learner, NegativeSampling, OptimizerConfig, PriorConfig, TrainConfig};

/// About 200 steps. Adam divides a gradient by its own size: where the true gradient is zero, its epsilon alone decides whether the rounding of a sum
/// is taken for a direction. 1e-4 is far above rounding, so that what is compared are the trainings and not their last bits.
pub fn config() -> TrainConfig {
    TrainConfig {
        seed: 1,
        optimizer: OptimizerConfig::Adam(Adam { epsilon: 1e-4, ..Adam::default() }),
        batch_size: 64,
        epochs: if is_slow() { 1 } else { 10 },
        embedding_std: 0.05,
        embedding_l2: Some(1e-4),
        network_l2: 1e-5,
        ..TrainConfig::default()
    }
}

/// What each rank's training comes to; `folder` receives rank 0's bundle.
fn fit(ranks: usize, model: &ModelConfig, data: &Dataset, config: &TrainConfig, folder: &Path) -> Vec<FitSummary> {
    Threads::run(ranks, |ranks| {
        let own = folder.join(if ranks.is_first() { "out" } else { "nobody's" });
        let device = spec().open().unwrap();
        Learner::over(ranks, model.clone(), data, config.clone(), &device, own).unwrap().fit().unwrap()
    })
}

/// The weights that a training of so many ranks leaves.
fn weights(ranks: usize, model: &ModelConfig, data: &Dataset, config: &TrainConfig) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let summaries = fit(ranks, model, data, config, folder.path());
    assert!(!folder.path().join("nobody's").exists(), "rank 0 alone writes");
    assert!(summaries.iter().all(|summary| (summary.sent > 0) == (ranks > 1)));
    weights_in(&folder.path().join("out/bundle.safetensors"))
}

/// Refuses weights of 2, 3 and 4 ranks that are not those of one process.
pub fn hold(name: &str, model: &ModelConfig, data: &Dataset, config: &TrainConfig) {
    let alone = weights(1, model, data, config);
    for ranks in [2, 3, 4].into_iter().take(if is_slow() { 1 } else { 3 }) {
        let difference = largest_difference(&alone, &weights(ranks, model, data, config));
        assert!(difference < 1e-5, "{name} on {ranks} ranks is off by {difference}");
    }
}

#[test]
fn every_model_on_several_ranks_has_the_weights_that_one_process_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    for name in ModelName::ALL.iter().take(if is_slow() { 2 } else { ModelName::ALL.len() }) {
        hold(name.as_str(), &smooth(*name), &data, &config());
    }
}

/// Nothing of these looks at a batch's other rows, so that ranks which have a part of it come to the same.
#[test]
fn what_papers_add_to_experts_and_gates_is_on_several_ranks_what_it_is_on_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    let with = |name: ModelName, keys: serde_json::Value| {
        let mut config = serde_json::to_value(smooth(name)).unwrap();
        config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        serde_json::from_value::<ModelConfig>(config).unwrap()
    };
    let auxiliary = &data.schema().tasks[1].name;
    let stem = json!({ "auxiliary": [auxiliary], "own_residual": "gated", "feature_gate": { "rank": 2 }, "layers": 2 });
    hold("stem", &with(ModelName::Stem, stem), &data, &config());
    hold("mmoe-me", &with(ModelName::MmoeMe, json!({ "elementwise_gates": true })), &data, &config());
}

#[test]
fn every_optimizer_updates_a_row_where_it_lives_as_one_process_does() {
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    for optimizer in [
        OptimizerConfig::AdamW(AdamW { epsilon: 1e-4, ..AdamW::default() }),
        OptimizerConfig::Adagrad(Adagrad { epsilon: 1e-4, ..Adagrad::default() }),
        OptimizerConfig::Adagrad(Adagrad { row_wise: true, epsilon: 1e-4, ..Adagrad::default() }),
        OptimizerConfig::Sgd(Sgd::default()),
        OptimizerConfig::Sgd(Sgd { momentum: 0.9, ..Sgd::default() }),
    ]
    .into_iter()
    .take(if is_slow() { 1 } else { 5 })
    {
        let config = TrainConfig { optimizer, learning_rate: 1e-2, max_gradient_norm: 0.05, ..config() };
        hold(&format!("{optimizer:?}"), &smooth(ModelName::Stem), &data, &config);
    }
}

#[test]
fn every_balance_and_prior_and_what_is_shown_as_unseen_are_those_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    let stem = smooth(ModelName::Stem);
    for balance in [
        BalanceConfig::Uncertainty { rate: 0.01 },
        BalanceConfig::Famo { rate: 0.025, decay: 1e-3 },
        BalanceConfig::Stch { mu: 0.2, warm_up: 3 },
        BalanceConfig::GradNorm { alpha: 1.5, rate: 0.025 },
        BalanceConfig::MultiBalance { decay: 0.9, min_norm: false },
        BalanceConfig::MultiBalance { decay: 0.5, min_norm: true },
        BalanceConfig::PcGrad {},
    ] {
        hold(balance.name(), &stem, &data, &TrainConfig { balance, ..config() });
        if is_slow() {
            return; // what is summed over ranks is summed on the host, on every device
        }
    }
    for tied in [true, false] {
        let prior = Some(PriorConfig::Learned { tied, deviation: None, correlation: 0.5 });
        hold("the learned prior", &stem, &data, &TrainConfig { prior, embedding_l2: None, ..config() });
    }
    hold("unseen", &stem, &data, &TrainConfig { unseen: 2.0, ..config() });
    hold("a restarted table", &stem, &data, &TrainConfig { table_restart: true, ..config() });
}

#[test]
fn a_batch_with_fewer_rows_than_ranks_leaves_some_ranks_without_any() {
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    let config =
        TrainConfig { batch_size: data.rows(Split::Train) - 1, epochs: if is_slow() { 1 } else { 5 }, ..config() }; // the second batch has one row
    hold("one row", &smooth(ModelName::Stem), &data, &config);
    let balance = BalanceConfig::MultiBalance { decay: 0.9, min_norm: true };
    hold("one row, multi-balance", &smooth(ModelName::Stem), &data, &TrainConfig { balance, ..config.clone() });
    hold("one row, learned prior", &smooth(ModelName::Stem), &data, &TrainConfig { embedding_l2: None, ..config });
}

/// Sections of `hidden` whose layers go by all rows of a batch, without a corner.
const NORMALISED: [&str; 2] =
    ["hidden = { activation = \"tanh\", batch_norm = true }", "hidden = { activation = \"dice\" }"];

/// The bias before a normalisation moves nothing, so that its gradient is zero but for rounding, and there is one for every output: over 200 steps they drift by
/// more than 1e-5 with an epsilon of 1e-4, of one process too whose embeddings are drawn 2e-7 wider.
fn of_normalised() -> TrainConfig {
    let adam = Adam { epsilon: 1e-3, ..Adam::default() };
    TrainConfig { optimizer: OptimizerConfig::Adam(adam), ..config() }
}

#[test]
fn every_model_is_normalised_over_the_rows_of_all_ranks() {
    if is_slow() {
        return println!("skipped: refused by its name on other devices");
    }
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    for name in ModelName::ALL {
        let line = "hidden = { activation = \"dice\", batch_norm = true }";
        hold(name.as_str(), &small_with(*name, line), &data, &of_normalised());
    }
}

#[test]
fn a_rank_without_rows_takes_part_where_batches_are_normalised_or_rows_learned_together() {
    if is_slow() {
        return println!("skipped: refused by its name on other devices");
    }
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    let config = TrainConfig { batch_size: data.rows(Split::Train) - 1, epochs: 5, ..of_normalised() }; // the second batch has one row
    for line in NORMALISED {
        let model = small_with(ModelName::Stem, line);
        hold(line, &model, &data, &config);
        let at_shared = BalanceConfig::MultiBalance { decay: 0.9, min_norm: false };
        for balance in [BalanceConfig::PcGrad {}, BalanceConfig::Uncertainty { rate: 0.01 }, at_shared] {
            hold(balance.name(), &model, &data, &TrainConfig { balance, embedding_l2: None, ..config.clone() });
        }
    }
    for loss in in_groups() {
        let losses = [("a".to_string(), loss)].into();
        hold(
            loss.name(),
            &smooth(ModelName::Stem),
            &data,
            &TrainConfig { losses, embedding_l2: None, ..config.clone() },
        );
    }
}

fn in_groups() -> [TaskLoss; 2] {
    [TaskLoss::Pairwise { share: 0.5 }, TaskLoss::Jrc { share: 0.7 }]
}

#[test]
fn rows_of_a_group_are_learned_together_wherever_they_lie() {
    if is_slow() {
        return println!("skipped: refused by its name on other devices");
    }
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    let one_task = |loss| TrainConfig { losses: [("b".to_string(), loss)].into(), ..config() };
    for loss in in_groups() {
        for name in [ModelName::Stem, ModelName::Esmm, ModelName::SingleTask] {
            hold(&format!("{} of {name}", loss.name()), &smooth(name), &data, &one_task(loss));
        }
        for balance in
            [BalanceConfig::GradNorm { alpha: 1.5, rate: 0.025 }, BalanceConfig::Famo { rate: 0.025, decay: 1e-3 }]
        {
            let config = TrainConfig { balance, embedding_l2: None, ..one_task(loss) };
            hold(&format!("{} under {}", loss.name(), balance.name()), &smooth(ModelName::Stem), &data, &config);
        }
    }
    let [pairs, contexts] = in_groups();
    let losses = [("a".to_string(), pairs), ("b".to_string(), contexts)].into();
    let negative_sampling = Some(NegativeSampling { keep: 0.5 }); // rows that weigh more than one
    let config = TrainConfig { losses, negative_sampling, ..of_normalised() };
    hold("both, normalised", &small_with(ModelName::Stem, NORMALISED[0]), &data, &config);
}

#[test]
fn the_same_number_of_ranks_gives_the_same_bits_and_metrics_are_those_of_one_process() {
    if is_slow() {
        return; // a GPU adds up in whatever order its threads come
    }
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let config = TrainConfig { batch_size: 256, epochs: 4, embedding_l2: None, ..config() };
    let run = |ranks: usize, name: &str| {
        let out = folder.path().join(name);
        let summaries = fit(ranks, &smooth(ModelName::Stem), &data, &config, &out);
        assert!(summaries.iter().all(|other| other.kept == summaries[0].kept), "all ranks keep the same moments");
        let bundle = Bundle::<ModelConfig>::open(out.join("out/bundle.safetensors")).unwrap();
        (bundle.checksum, log_of(&out.join("out")))
    };
    let (alone, of_three) = (run(1, "1"), run(3, "3"));
    assert_eq!(of_three, run(3, "3 again"));
    assert_eq!(alone.1.len(), of_three.1.len());
    for (one, three) in alone.1.iter().zip(&of_three.1) {
        assert_eq!((&one["steps"], &one["best"]), (&three["steps"], &three["best"]));
        for task in ["a", "b"] {
            // two rows whose scores are equal but for rounding change places: a pair of 900 rows, and a pair of a user's 15
            for (metric, bound) in [("logloss", 1e-6), ("auc", 5e-5), ("gauc", 1e-3)] {
                let of = |line: &serde_json::Value| line["valid"][task][metric].as_f64().unwrap();
                let apart = (of(one) - of(three)).abs();
                assert!(apart < bound, "{metric} of {task}: {} {}", of(one), of(three));
            }
        }
    }
}

/// What a learner over so many ranks says before the first step: nothing, or the same error on all.
fn begun(ranks: usize, model: &ModelConfig, config: &TrainConfig) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    let begun = Threads::run(ranks, |ranks| {
        let device = spec().open().unwrap();
        let learner = Learner::over(ranks, model.clone(), &data, config.clone(), &device, folder.path());
        learner.map(drop).map_err(|error| error.to_string())
    });
    assert!(begun.iter().all(|other| *other == begun[0]), "all ranks say the same: {begun:?}");
    begun[0].clone()
}

#[test]
fn what_ranks_cannot_do_yet_is_refused_by_its_name() {
    let refused = |ranks, model: &ModelConfig, config: &TrainConfig| begun(ranks, model, config).unwrap_err();
    let plain = small(ModelName::Stem);
    let dense = TrainConfig { table: stem_train::TableMode::Dense, ..config() };
    assert!(refused(2, &plain, &dense).contains("`table` is \"dense\", expected \"row-sparse\""));
    let sizes = MixtureSizes { covariance: Some(CovarianceConfig::default()), ..MixtureSizes::default() };
    let covariance = ModelConfig::Mmoe(MmoeConfig(sizes));
    assert!(
        refused(2, &covariance, &config()).contains("`covariance` is set, expected none where several ranks train")
    );
    let found = refused(400, &plain, &config());
    assert!(found.contains("`ranks` is 400 for a table of ") && found.contains("smaller `-n`"), "{found}");
}

#[test]
fn rows_that_go_by_each_other_are_refused_over_ranks_by_name_where_a_device_cannot() {
    let in_groups = in_groups().map(|loss| TrainConfig { losses: [("a".to_string(), loss)].into(), ..config() });
    let of_groups = in_groups.map(|config| (smooth(ModelName::Stem), config));
    let normalised = NORMALISED.map(|line| (small_with(ModelName::Stem, line), config()));
    for (model, config) in normalised.into_iter().chain(of_groups) {
        match is_slow() {
            false => assert_eq!(begun(2, &model, &config), Ok(())),
            true => {
                let found = begun(2, &model, &config).unwrap_err();
                let expected = "`device` is another, expected flex where several ranks train with batch_norm, dice, pairwise or jrc";
                assert!(found.contains(expected), "{found}");
                assert_eq!(begun(1, &model, &config), Ok(()), "one process trains it on any device");
            }
        }
    }
    assert_eq!(
        begun(2, &smooth(ModelName::Stem), &config()),
        Ok(()),
        "rows that each go by themselves are trained on any device"
    );
}

#[test]
fn ranks_of_other_settings_are_told_apart_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    let errors = Threads::run(3, |ranks| {
        let config = TrainConfig { seed: if ranks.rank() == 1 { 9 } else { 1 }, ..config() };
        let device = spec().open().unwrap();
        let own = folder.path().join(ranks.rank().to_string());
        Learner::over(ranks, small(ModelName::Stem), &data, config, &device, own)
            .unwrap()
            .fit()
            .unwrap_err()
            .to_string()
    });
    for error in errors {
        assert!(error.starts_with("rank 1 is not of this training: its train.seed is 9, that of rank 0 1."), "{error}");
    }
}

#[test]
fn what_a_step_sends_is_the_rows_of_others_twice_and_the_network_twice() {
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    let config = TrainConfig { batch_size: 500, epochs: 1, ..config() };
    let model = stem(|stem| stem.dim = 32);
    let ranks = 2;
    let sent_as = |wire: Wire| {
        let summaries = fit(ranks, &model, &data, &TrainConfig { wire, ..config.clone() }, folder.path());
        let sent: u64 = summaries.iter().map(|summary| summary.sent).sum();
        (sent, summaries)
    };
    let (sent, summaries) = sent_as(Wire::F32);
    let schema = data.schema();
    let width: usize = stem_core::models::ModelSpec::widths(&model, schema).iter().sum();
    let mut rows = 0; // of other ranks
    let plan = stem_data::BatchPlan { size: config.batch_size, shuffle: Some((config.seed, 1)) };
    let mut steps = 0;
    for batch in data.batches(Split::Train, plan) {
        steps += 1;
        let slots = batch.ids.len() / batch.rows;
        for rank in 0..ranks {
            let own = stem_data::part_of(batch.rows, rank, ranks);
            let distinct = stem_core::nn::DistinctRows::of(&batch.ids[own.start * slots..own.end * slots]).rows;
            rows += distinct.iter().filter(|&&row| stem_train::ranks::owner(row, ranks) != rank).count();
        }
    }
    let network = summaries[0].parameters - schema.rows() * width;
    let least = (4 * (2 * rows * width + steps * 2 * network)) as f64; // of all ranks together: a half of it each way
    let bundle = (4 * schema.rows() * width / ranks) as f64; // rank 1's rows, once
    let ratio = (sent as f64 - bundle) / least;
    assert!((0.9..1.2).contains(&ratio), "{ratio}: {sent} bytes");
    let (halved, _) = sent_as(Wire::Bf16);
    let of_half = (halved as f64 - bundle) / (least / 2.0);
    assert!((0.9..1.2).contains(&of_half), "{of_half}: {halved} bytes");
    println!("bytes over distinct rows x width x 2 + network x 2: {ratio:.3}, of half floats {of_half:.3}");
}

/// A rank that writes down what is exchanged: `x`, and beside some work between `(` and `)`.
#[derive(Debug)]
struct Noting {
    team: Team,
    notes: Arc<Mutex<String>>,
    /// Messages that travel beside some work go after it.
    late: bool,
}

impl Noting {
    fn note(&self, what: char) {
        self.notes.lock().unwrap().push(what);
    }

    fn beside(&self, work: impl FnOnce()) {
        self.note('(');
        work();
        self.note(')');
    }
}

impl Ranks for Noting {
    fn rank(&self) -> usize {
        self.team.rank()
    }
    fn ranks(&self) -> usize {
        self.team.ranks()
    }
    fn exchange(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        self.note('x');
        self.team.exchange(parts)
    }
    fn exchange_while(&self, parts: Vec<Vec<u8>>, work: Box<dyn FnOnce() + '_>) -> Vec<Vec<u8>> {
        if !self.late {
            return self.team.exchange_while(parts, Box::new(|| self.beside(work)));
        }
        self.beside(work);
        self.team.exchange(parts)
    }
    fn sent(&self) -> u64 {
        self.team.sent()
    }
}

#[test]
fn the_ids_of_the_next_batch_travel_while_this_one_is_computed_and_change_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    let steps = 5; // an epoch
    let config = TrainConfig { batch_size: data.rows(Split::Train).div_ceil(steps), epochs: 2, ..config() };
    let noted = |late: bool, out: &str| {
        let own = folder.path().join(out);
        let notes = Threads::run(2, |team| {
            let notes = Arc::<Mutex<String>>::default();
            let ranks = Team::new(Noting { team, notes: notes.clone(), late });
            let own = own.join(if ranks.is_first() { "out" } else { "nobody's" });
            let device = spec().open().unwrap();
            Learner::over(ranks, smooth(ModelName::Stem), &data, config.clone(), &device, own).unwrap().fit().unwrap();
            notes.lock().unwrap().clone()
        });
        (notes, weights_in(&own.join("out/bundle.safetensors")))
    };
    let (notes, weights) = noted(false, "early");
    for notes in &notes {
        let (before, inside) = apart(notes);
        assert_eq!(inside.len(), 2 * (steps - 1), "but for the last step of an epoch: {notes}");
        // gradients of rows, the network's twice, the norm, L2
        assert!(inside.iter().all(|inside| inside == "xxxxx"), "{notes}");
        // within an epoch a step waits for its rows alone before it computes
        assert_eq!(before.iter().filter(|before| *before == "x").count(), 2 * (steps - 2), "{notes}");
    }
    assert_eq!((notes, weights), noted(true, "late"));
}

#[test]
fn the_ids_of_the_next_batch_travel_while_this_one_is_scored() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let config = TrainConfig { batch_size: data.rows(Split::Valid).div_ceil(4), epochs: 1, ..config() };
    let notes = Threads::run(2, |team| {
        let notes = Arc::<Mutex<String>>::default();
        let ranks = Team::new(Noting { team, notes: notes.clone(), late: false });
        let own = folder.path().join(if ranks.is_first() { "out" } else { "nobody's" });
        let device = spec().open().unwrap();
        Learner::over(ranks, smooth(ModelName::Stem), &data, config.clone(), &device, own).unwrap().fit().unwrap();
        notes.lock().unwrap().clone()
    });
    for notes in &notes {
        // rows come, scores go; a step has more exchanges
        let (before, inside) = apart(notes);
        let scored: Vec<&String> =
            before.iter().zip(&inside).filter(|(_, inside)| *inside == "xx").map(|(b, _)| b).collect();
        assert_eq!(scored.len(), 3, "but for the last of four batches: {notes}");
        assert!(scored[1..].iter().all(|before| before.is_empty()), "nothing else is waited for: {notes}");
    }
}

/// What stands before each pair of brackets, and what within.
fn apart(notes: &str) -> (Vec<String>, Vec<String>) {
    let pairs = notes.split(')').filter_map(|part| part.split_once('('));
    pairs.map(|(before, inside)| (before.to_string(), inside.to_string())).unzip()
}

#[test]
fn half_floats_on_the_wire_train_the_same_bits_every_time_and_nearly_the_weights_of_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    let data = without_validation(folder.path());
    let (model, plain) = (smooth(ModelName::Stem), TrainConfig { epochs: if is_slow() { 1 } else { 2 }, ..config() });
    let config = TrainConfig { wire: Wire::Bf16, ..plain.clone() };
    let [whole, half] = [&plain, &config].map(|config| weights(3, &model, &data, config));
    let difference = largest_difference(&whole, &half);
    assert!(difference > 0.0, "they were rounded");
    assert!(difference < 2e-3, "off by {difference}");
    if !is_slow() {
        assert_eq!(half, weights(3, &model, &data, &config));
    }
    let alone = weights(1, &model, &data, &config);
    assert_eq!(alone, weights(1, &model, &data, &plain), "one process sends nothing");
}
