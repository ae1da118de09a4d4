//! Balancing on cases whose answer is known by hand, and in training.

use crate::common::*;
use burn::tensor::Tensor;
use serde_json::json;
use stem_core::loss::{Criterion, Targets};
use stem_core::models::{AnyModel, Model, ModelSpec};
use stem_core::nn::{DistinctRows, SlotLayout, upload, upload_index};
use stem_core::{Batch, DeviceSpec, ModelConfig, ModelName};
use stem_data::{BatchPlan, Dataset, Split};
use stem_train::balance::{Balance, BalanceConfig, Famo, GradNorm, MultiBalance, PcGrad, Tchebycheff, Uncertainty};
use stem_train::step::{Share, StepGradients};
use stem_train::{Objective, TableMode, TrainConfig, TrainState, check};

fn vector(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &spec().open().unwrap())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn close(found: &[f32], expected: &[f32], bound: f32) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < bound)
}

/// `L = sum exp(-s) L_t + s / 2` is least where `exp(-s_t) = 1 / (2 L_t)`.
#[test]
fn uncertainty_weights_settle_at_half_the_inverse_of_constant_losses() {
    let mut balance = Uncertainty::new(0.1, 3, &spec().open().unwrap());
    assert_eq!(values(balance.weights()), [1.0, 1.0, 1.0]);
    balance.learn(vector(&[0.5, 0.25, 1.0])); // gradients 1/2 - L: 0, 0.25, -0.5
    assert!(close(&values(balance.weights()), &[1.0, (0.025f32).exp(), (-0.05f32).exp()], 1e-6));
    (0..400).for_each(|_| balance.learn(vector(&[0.5, 0.25, 1.0])));
    assert!(close(&values(balance.weights()), &[1.0, 2.0, 0.5], 1e-3), "{:?}", values(balance.weights()));
}

/// Two tasks at the same pace whose gradients have norms 1 and 3: the mean is 2, so one step of rate 0.1 gives
/// `1 + 0.1 * 1/2` and `1 - 0.1 * 3/2`, scaled to the sum 2; in the end both weighted norms are equal.
#[test]
fn grad_norm_evens_out_gradients_of_tasks_at_one_pace() {
    let mut balance = GradNorm::new(1.5, 0.1, 2, &spec().open().unwrap());
    let (losses, norms) = (vector(&[0.7, 0.4]), vector(&[1.0, 3.0]));
    balance.learn(losses.clone(), norms.clone());
    assert!(
        close(&values(balance.weights()), &[2.0 * 1.05 / 1.9, 2.0 * 0.85 / 1.9], 1e-5),
        "{:?}",
        values(balance.weights())
    );
    let mut balance = GradNorm::new(1.5, 0.002, 2, &spec().open().unwrap());
    (0..2000).for_each(|_| balance.learn(losses.clone(), norms.clone()));
    assert!(close(&values(balance.weights()), &[1.5, 0.5], 0.01), "{:?}", values(balance.weights()));
}

/// The first task has halved its loss, the second has not moved: paces 2/3 and 4/3 of the mean, and with alpha 1 the second's
/// weighted norm is driven to twice the first's.
#[test]
fn grad_norm_favours_the_task_that_lags_behind() {
    let mut balance = GradNorm::new(1.0, 0.002, 2, &spec().open().unwrap());
    balance.learn(vector(&[1.0, 1.0]), vector(&[1.0, 1.0]));
    (0..2000).for_each(|_| balance.learn(vector(&[0.5, 1.0]), vector(&[1.0, 1.0])));
    assert!(close(&values(balance.weights()), &[2.0 / 3.0, 4.0 / 3.0], 0.01), "{:?}", values(balance.weights()));
}

/// A batch without labels of the second task says nothing of it.
#[test]
fn a_task_without_labels_in_a_batch_keeps_its_balance() {
    let mut uncertainty = Uncertainty::new(0.1, 2, &spec().open().unwrap());
    uncertainty.learn(vector(&[2.0, 0.0]));
    assert!(close(&values(uncertainty.weights()), &[(-0.15f32).exp(), 1.0], 1e-6));
    let (device, even) = (spec().open().unwrap(), vector(&[1.0, 1.0]));
    let mut famo = Famo::new(0.025, 0.01, 2, &device);
    let mut stch = Tchebycheff::new(1.0, 1, 2, &device);
    for (losses, of_famo, of_stch) in [
        ([2.0, 0.0], [1.0, 0.0], [0.5, 0.0]),
        ([2.0, 0.5], [0.4, 1.6], [0.5, 2.0]), // n_t is the first known loss: both are where they began
        ([0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
    ] {
        let (losses, weights) = (vector(&losses), values(famo.weigh(&vector(&losses), &even)));
        assert!(close(&weights, &of_famo, 1e-6), "{weights:?} {of_famo:?}");
        let weights = values(stch.weigh(&losses, &even));
        assert!(close(&weights, &of_stch, 1e-6), "{weights:?} {of_stch:?}");
    }
    let mut grad_norm = GradNorm::new(1.0, 0.002, 2, &spec().open().unwrap());
    grad_norm.learn(vector(&[1.0, 0.0]), vector(&[1.0, 0.0]));
    assert!(close(&values(grad_norm.weights()), &[1.0, 1.0], 1e-6), "one known task is its own mean");
    grad_norm.learn(vector(&[1.0, 1.0]), vector(&[1.0, 1.0])); // the second's first known loss
    (0..2000).for_each(|_| grad_norm.learn(vector(&[0.5, 1.0]), vector(&[1.0, 1.0])));
    assert!(close(&values(grad_norm.weights()), &[2.0 / 3.0, 4.0 / 3.0], 0.01), "{:?}", values(grad_norm.weights()));
}

/// A task whose configured weight is 0 gives the rows no gradient: the other's weight must not be driven away for it.
#[test]
fn a_task_of_no_weight_does_not_starve_the_others() {
    let mut balance = GradNorm::new(1.5, 0.025, 2, &spec().open().unwrap());
    (0..50).for_each(|_| balance.learn(vector(&[0.6, 0.5]), vector(&[0.2, 0.0])));
    assert!(close(&values(balance.weights()), &[1.0, 1.0], 1e-5), "{:?}", values(balance.weights()));
}

/// Steps of a balance that weighs by losses or by gradients of three numbers, and the weights that `fixtures/balance.py` has for them.
#[derive(serde::Deserialize)]
struct Oracle {
    balance: BalanceConfig,
    task_weights: Vec<f32>,
    #[serde(default)]
    losses: Vec<Vec<f32>>, // [steps, T]
    #[serde(default)]
    gradients: Vec<Vec<[f64; 3]>>, // [steps, T, 3], of `L_t` without its weight
    weights: Vec<Vec<f32>>, // [steps, T]
}

#[test]
fn multi_balance_weighs_as_its_equations_do() {
    let oracles: Vec<Oracle> = serde_json::from_str(include_str!("fixtures/balance.json")).unwrap();
    let mut spread = 0.0f32;
    for Oracle { balance, task_weights, gradients, weights, .. } in &oracles {
        let &BalanceConfig::MultiBalance { decay, min_norm } = balance else { continue };
        let task_weights: Vec<f64> = task_weights.iter().map(|&weight| weight.into()).collect();
        let mut found = MultiBalance::new(decay, min_norm, vec![0], task_weights.len());
        assert_eq!(found.weights(), [1.0; 4]);
        for (step, (gradients, expected)) in gradients.iter().zip(weights).enumerate() {
            let g = |t: usize| gradients[t].map(|g| g * task_weights[t]);
            let product = |s: usize, t: usize| g(s).iter().zip(g(t)).map(|(a, b)| a * b).sum::<f64>();
            let products: Vec<Vec<f64>> = (0..4).map(|s| (0..4).map(|t| product(s, t)).collect()).collect();
            found.weigh(&products, &task_weights);
            let largest = expected.iter().copied().fold(1.0, f32::max);
            assert!(
                close(found.weights(), expected, 1e-6 * largest),
                "{balance:?}, step {step}: {:?} {expected:?}",
                found.weights()
            );
            spread = spread.max(largest);
        }
    }
    assert!(spread > 10.0, "{spread}");
}

/// At the shared embedding every task's gradient counts as its weight has it, those of its own embedding and of the network as they are: by hand, of the
/// tasks' gradients of rows, which are those at the embeddings handed on.
#[test]
fn multi_balance_weighs_the_tasks_where_they_share_an_embedding_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let device = spec().open().unwrap();
    let dataset = dataset(folder.path());
    let batch = dataset.batches(Split::Train, BatchPlan { size: 200, shuffle: Some((1, 1)) }).next().unwrap();
    let objective = Objective { task_weights: vec![1.0, 0.5], ..Objective::plain(2) };
    let tower_gates = json!({ "field": "item", "hidden": 3, "towers": true, "personal": ["user"] });
    for (name, front, first) in [
        (ModelName::Stem, None, 2),
        (ModelName::Stem, Some(("cross", json!({ "layers": 1, "rank": 2 }))), 2),
        (ModelName::Stem, Some(("domain", tower_gates)), 2),
        (ModelName::SharedBottom, None, 0),
        (ModelName::MmoeMe, None, 0),
    ] {
        let mut config = serde_json::to_value(small(name)).unwrap();
        if let Some((key, value)) = &front {
            config[key] = value.clone();
        }
        let config: ModelConfig = serde_json::from_value(config).unwrap();
        let (schema, widths) = (dataset.schema(), config.widths(dataset.schema()));
        let state = TrainState::<AnyModel>::init(&config, schema, 0.5, 1, TableMode::RowSparse, &device);
        let gathered = state.gather(&batch);
        let alone = |t: usize| {
            let weights = vector(&[[1.0, 0.0], [0.0, 0.5]][t]);
            state.task_gradients(&gathered, Share { weights, penalty: 0.0 }).1
        };
        let (one, two) = (alone(0), alone(1));
        let plain = one.clone().add(&two, None);
        for min_norm in [false, true] {
            let shared: Vec<usize> = (first..widths.len()).collect();
            let balance = BalanceConfig::MultiBalance { decay: 0.9, min_norm };
            let mut balance = Balance::at(&shared, balance, 2, 1, &device);
            let (losses, found) = balance.differentiate(&state, gathered.clone(), &objective);
            let weights = balance.weights().unwrap();
            // ||g_t|| at the shared embeddings, of a forward and a backward pass that end there
            let table = state.table.rows().tensor().clone();
            let distinct = DistinctRows::of(&batch.ids);
            let rows = table.select(0, upload_index(&distinct.rows, &device)).autodiff();
            let (inverse, slots) = upload(&distinct.inverse, &batch.weights, batch.rows, &device);
            let x = SlotLayout::new(schema, &widths).pool(rows, inverse.autodiff(), slots.autodiff());
            let x = state.network.read(x);
            let criterion = Criterion::of(schema);
            let targets = criterion.targets_among(&batch, &Targets::counts(&batch, 2), &device);
            let slope = |t: usize| {
                let end = x.stack(0..x.groups()).inner().autodiff().require_grad();
                let (logits, _) = state.network.forward_read(x.clone().read_as(end.clone()));
                let grads = criterion.forward(logits, &targets).slice_dim(0, t..t + 1).sum().backward();
                end.grad(&grads).unwrap().slice_dim(0, first..widths.len())
            };
            let (g, h) = (slope(0), slope(1));
            let dot = |a: &Tensor<3>, b: &Tensor<3>| f64::from(values((a.clone() * b.clone()).sum())[0]);
            let norms = [dot(&g, &g).sqrt(), dot(&h, &h).sqrt()];
            let lambda = match min_norm {
                false => [0.5, 0.5],
                true => {
                    let cos = dot(&g, &h) / (norms[0] * norms[1]); // of u = [1, .5 in another direction]
                    let l = ((0.25 - 0.5 * cos) / (1.25 - cos)).clamp(0.0, 1.0);
                    [l, 1.0 - l]
                }
            };
            let sum = norms[0] + norms[1];
            let expected = [0, 1].map(|t| (sum * lambda[t] / norms[t]) as f32);
            assert!(
                close(&weights, &expected, 1e-4 * expected[0].max(expected[1])),
                "{name}: {weights:?} {expected:?}"
            );
            let column = widths[..first].iter().sum::<usize>();
            let shared_of = |of: &StepGradients| of.rows.clone().slice_dim(1, column..widths.iter().sum::<usize>());
            let by_hand = shared_of(&one) * weights[0] + shared_of(&two) * weights[1];
            let off = |a: &Tensor<2>, b: &Tensor<2>| {
                let (off, size) = (a.clone() - b.clone(), b.clone().abs().max());
                values(off.abs().max())[0] / values(size)[0]
            };
            let has_towers = front.as_ref().is_some_and(|(key, _)| *key == "domain");
            if !has_towers {
                assert!(off(&shared_of(&found), &by_hand) < 1e-5, "{name} {front:?}"); // towers' gates read rows past the embeddings
            }
            assert!(off(&shared_of(&found), &shared_of(&plain)) > 1e-3, "{name}: weights that matter");
            if column > 0 {
                let own = |of: &StepGradients| of.rows.clone().slice_dim(1, 0..column);
                assert!(off(&own(&found), &own(&plain)) < 1e-5, "{name} {front:?}: a task's own embedding");
            }
            if front.is_none() {
                let difference = plain.network.clone().add(&found.network, Some(&vector(&[-1.0])));
                let (off, size) =
                    (difference.dot(&difference, vector(&[0.0])), plain.network.dot(&plain.network, vector(&[0.0])));
                assert!(number(off) < 1e-8 * number(size), "{name}: the network's are as they are");
            }
            let (told, _) = state.differentiate(&batch, &objective);
            assert!(close(&values(losses.tasks), &values(told.tasks), 1e-6), "what is told are the losses as they are");
        }
    }
}

#[test]
fn famo_and_smooth_tchebycheff_weigh_as_the_gradients_of_their_papers_scalars_do() {
    let oracles: Vec<Oracle> = serde_json::from_str(include_str!("fixtures/balance.json")).unwrap();
    let device = spec().open().unwrap();
    for Oracle { balance, task_weights, losses, weights, .. } in oracles.iter().filter(|of| of.gradients.is_empty()) {
        let mut found = Balance::new(*balance, task_weights.len(), 1, &device);
        for (step, (losses, expected)) in losses.iter().zip(weights).enumerate() {
            let weights = match &mut found {
                Balance::Famo(famo) => famo.weigh(&vector(losses), &vector(task_weights)),
                Balance::Tchebycheff(stch) => stch.weigh(&vector(losses), &vector(task_weights)),
                other => unreachable!("{other:?}"),
            };
            let largest = expected.iter().copied().fold(1.0, f32::max);
            let weights = values(weights);
            let bound = if matches!(spec(), DeviceSpec::Wgpu(_)) { 1e-5 } else { 1e-6 }; // a GPU's logarithm and exponential are less exact
            assert!(close(&weights, expected, bound * largest), "{balance:?}, step {step}: {weights:?} {expected:?}");
        }
    }
}

/// The first task stands still, the second's loss is halved in every step.
#[test]
fn famo_moves_weight_to_the_task_that_falls_slowest() {
    let mut balance = Famo::new(0.025, 0.0, 2, &spec().open().unwrap());
    let weigh = |balance: &mut Famo, second: f32| values(balance.weigh(&vector(&[0.5, second]), &vector(&[1.0, 1.0])));
    assert!(close(&weigh(&mut balance, 0.5), &[1.0, 1.0], 1e-6), "as 1 / L_t, scaled");
    let last = (1..20).fold(Vec::new(), |_, step| weigh(&mut balance, 0.5 * 0.5f32.powi(step)));
    let z = [last[0] * 0.5, last[1] * 0.5 * 0.5f32.powi(19)]; // in proportion to z_t
    assert!(z[0] > 1.5 * z[1], "{z:?}");
}

/// With a small `mu` the smooth maximum is the maximum.
#[test]
fn smooth_tchebycheff_weighs_the_task_that_is_furthest_behind_alone_where_it_is_sharp() {
    let mut balance = Tchebycheff::new(0.01, 1, 3, &spec().open().unwrap());
    let even = vector(&[1.0, 1.0, 1.0]);
    assert!(close(&values(balance.weigh(&vector(&[0.5, 0.25, 1.0]), &even)), &[2.0, 4.0, 1.0], 1e-6), "1 / L_t");
    let weights = values(balance.weigh(&vector(&[0.25, 0.2, 0.5]), &even)); // 1/2, 4/5, 1/2 of the first
    assert!(close(&weights, &[0.0, 3.0 / 0.2, 0.0], 1e-4), "{weights:?}");
}

/// `sum_t w_t g_t`, the weights those of the batch's own losses, in one pass.
#[test]
fn the_gradient_of_one_pass_is_that_of_the_tasks_apart_weighed_by_the_losses_of_the_batch() {
    let folder = tempfile::tempdir().unwrap();
    let case = case(folder.path(), ModelName::Stem);
    let device = spec().open().unwrap();
    let objective = Objective { task_weights: vec![1.0, 0.5], ..Objective::plain(2) };
    for config in [BalanceConfig::Famo { rate: 0.025, decay: 0.0 }, BalanceConfig::Stch { mu: 0.5, warm_up: 1 }] {
        let mut balance = Balance::new(config, 2, 1, &device);
        for _ in 0..2 {
            let (losses, found) = balance.differentiate(&case.state, case.state.gather(&case.batch), &objective);
            let of_losses = balance.weights().unwrap();
            assert!(of_losses.iter().all(|weight| *weight > 0.0 && *weight != 1.0), "{config:?}: {of_losses:?}");
            let expected = case.gradients(&[of_losses[0], of_losses[1] * 0.5]);
            let difference = expected.clone().add(&found, Some(&vector(&[-1.0])));
            assert!(number(difference.dot(&difference)) < 1e-8 * number(expected.dot(&expected)), "{config:?}");
            let (plain, _) = case.state.differentiate(&case.batch, &objective);
            assert_eq!(values(losses.tasks), values(plain.tasks), "what is told are the losses as they are");
        }
    }
}

struct Case {
    dataset: Dataset,
    batch: Batch,
    state: TrainState<AnyModel>,
}

fn case(folder: &std::path::Path, model: ModelName) -> Case {
    let dataset = dataset(folder);
    let batch = dataset.batches(Split::Train, BatchPlan { size: 200, shuffle: Some((1, 1)) }).next().unwrap();
    let device = spec().open().unwrap();
    let config = small(model);
    let state = TrainState::init(&config, dataset.schema(), 0.5, 1, TableMode::RowSparse, &device);
    Case { dataset, batch, state }
}

impl Case {
    fn gradients(&self, weights: &[f32]) -> StepGradients {
        self.state.task_gradients(&self.state.gather(&self.batch), Share { weights: vector(weights), penalty: 1.0 }).1
    }
}

fn number(tensor: Tensor<1>) -> f32 {
    values(tensor)[0]
}

/// `g` and `-2 g` cancel: each has no part that the other does not oppose.
#[test]
fn pc_grad_leaves_nothing_of_opposite_gradients() {
    let folder = tempfile::tempdir().unwrap();
    let case = case(folder.path(), ModelName::SharedBottom);
    let g = case.gradients(&[1.0, 0.0]);
    let projected = PcGrad::new(1).project(vec![g.clone(), g.clone().scaled(&vector(&[-2.0]))]);
    let whole = number(g.dot(&g));
    assert!(whole > 0.0);
    assert!(projected.iter().all(|left| number(left.dot(left)) < 1e-9 * whole));
}

/// `a = g`, `b = h - c g` with `c` so large that they conflict: `a` loses its part along `b`, `b` its part along `a`.
#[test]
fn pc_grad_makes_conflicting_gradients_orthogonal_to_each_other_and_leaves_agreeing_ones() {
    let folder = tempfile::tempdir().unwrap();
    let case = case(folder.path(), ModelName::SharedBottom);
    let (a, h) = (case.gradients(&[1.0, 0.0]), case.gradients(&[0.0, 1.0]));
    let (aa, ah) = (number(a.dot(&a)), number(a.dot(&h)));
    let b = h.add(&a, Some(&vector(&[-(ah / aa) - 0.5]))); // <a, b> = -0.5 <a, a>
    let bb = number(b.dot(&b));
    let projected = PcGrad::new(1).project(vec![a.clone(), b.clone()]);
    let [pa, pb] = &projected[..] else { unreachable!() };
    assert!(number(pa.dot(&b)).abs() < 1e-4 * aa && number(pb.dot(&a)).abs() < 1e-4 * aa);
    // |a|^2 - <a,b>^2 / |b|^2, by Pythagoras.
    assert!((number(pa.dot(pa)) - (aa - 0.25 * aa * aa / bb)).abs() < 1e-4 * aa);
    let agreeing = PcGrad::new(1).project(vec![a.clone(), pa.clone()]);
    assert!((number(agreeing[0].dot(&agreeing[0])) - aa).abs() < 1e-6 * aa, "gradients that agree stay as they are");
}

/// Without conflict and with equal weights, the gradients taken apart add up to those of the sum.
#[test]
fn gradients_taken_apart_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let case = case(folder.path(), ModelName::Stem);
    let whole = case.gradients(&[1.0, 1.0]);
    let sum = case.gradients(&[1.0, 0.0]).add(&case.gradients(&[0.0, 1.0]), None);
    let difference = whole.clone().add(&sum, Some(&vector(&[-1.0])));
    assert!(number(difference.dot(&difference)) < 1e-8 * number(whole.dot(&whole)));
    let device = spec().open().unwrap();
    let objective = Objective { embedding_l2: 0.1, network_l2: 0.1, ..Objective::plain(2) };
    let fixed = Balance::new(BalanceConfig::Fixed {}, 2, 1, &device)
        .differentiate(&case.state, case.state.gather(&case.batch), &objective)
        .1;
    let first = BalanceConfig::GradNorm { alpha: 1.5, rate: 0.025 };
    let grad_norm =
        Balance::new(first, 2, 1, &device).differentiate(&case.state, case.state.gather(&case.batch), &objective).1;
    let difference = fixed.clone().add(&grad_norm, Some(&vector(&[-1.0])));
    assert!(number(difference.dot(&difference)) < 1e-8 * number(fixed.dot(&fixed)), "weights are 1 in the first step");
    assert_eq!(case.dataset.schema().tasks.len(), 2);
}

/// `d/dw (mu / 2) w^2 = mu w`, on every weight of the network and on every distinct row.
#[test]
fn l2_adds_the_weights_to_the_gradient() {
    let folder = tempfile::tempdir().unwrap();
    let case = case(folder.path(), ModelName::Mmoe);
    let plain = Objective::plain(2);
    let (losses, without) = case.state.differentiate(&case.batch, &plain);
    assert_eq!(number(losses.regularization), 0.0);
    let decayed = Objective { network_l2: 0.5, embedding_l2: 0.25, ..plain };
    let (losses, with) = case.state.differentiate(&case.batch, &decayed);
    let added = with.add(&without, Some(&vector(&[-1.0]))); // 0.5 network and 0.25 rows
    let network = 4.0 * number(added.network.dot(&added.network, vector(&[0.0])));
    let rows = 16.0 * values((added.rows.clone() * added.rows.clone()).sum())[0];
    let expected = 0.25 * network + 0.125 * rows;
    assert!((number(losses.regularization) - expected).abs() < 1e-3 * expected);
}

/// The model's own penalty reaches the gradient, whole in a joint pass and in parts where tasks are taken apart.
#[test]
fn a_models_penalty_is_part_of_the_gradient_however_losses_are_balanced() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let batch = dataset.batches(Split::Train, BatchPlan { size: 200, shuffle: Some((1, 1)) }).next().unwrap();
    let device = spec().open().unwrap();
    let state = |name: ModelName, key: &str, value: serde_json::Value| {
        let mut config = serde_json::to_value(small(name)).unwrap();
        config[key] = value;
        let config: ModelConfig = serde_json::from_value(config).unwrap();
        TrainState::<AnyModel>::init(&config, dataset.schema(), 0.5, 2, TableMode::RowSparse, &device)
    };
    let joint = |state: &TrainState<AnyModel>| state.differentiate(&batch, &Objective::plain(2));
    let apart = |state: &TrainState<AnyModel>| {
        let config = BalanceConfig::GradNorm { alpha: 1.5, rate: 0.025 };
        Balance::new(config, 2, 1, &device).differentiate(state, state.gather(&batch), &Objective::plain(2)).1
    };
    let rows = |a: &StepGradients, b: &StepGradients| {
        let difference = a.rows.clone() - b.rows.clone();
        values((difference.clone() * difference).sum())[0]
    };
    for (name, key, on, off) in [
        (ModelName::Aitm, "order_penalty", json!(0.6), json!(0.0)),
        (ModelName::MmoeMe, "covariance", json!({ "weight": 50.0 }), json!(null)),
    ] {
        let (losses, with) = joint(&state(name, key, on.clone()));
        let (_, without) = joint(&state(name, key, off));
        assert!(number(losses.regularization) > 0.0, "{name}");
        let whole = rows(&with, &without);
        assert!(whole > 0.0, "{name}: the penalty moves the rows");
        let difference = rows(&apart(&state(name, key, on)), &with);
        assert!(difference < 1e-6 * whole, "{name}: and as much of it when tasks are taken apart");
    }
}

#[test]
fn multi_balance_is_refused_where_nothing_is_shared_and_where_embeddings_have_other_widths() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = dataset(folder.path());
    let refused = |model: &ModelConfig, decay: f64, expected: &str| {
        let balance = BalanceConfig::MultiBalance { decay, min_norm: false };
        let message =
            check(model, &dataset, &TrainConfig { balance, ..TrainConfig::default() }).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    let apart = stem(|config| (config.shared_embedding, config.shared_experts) = (false, 0));
    refused(&apart, 0.9, "`balance` is multi-balance, expected another: every embedding of this model is one task's");
    let uneven = stem(|config| config.shared_dim = Some(6));
    refused(&uneven, 0.9, "`balance` is multi-balance, expected another where embeddings have different widths");
    refused(&small(ModelName::Stem), 1.0, "`balance.decay` is 1, expected a number of 0 or more and below 1");
}
