//! All forward, task-specific backward.

use crate::common::*;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use stem_core::aftb::{AftbMask, gated, mix};
use stem_core::loss::{Targets, bce_per_task};
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

fn tensor(values: Vec<f32>, shape: [usize; 3]) -> Tensor<3> {
    Tensor::from_data(TensorData::new(values, shape), &device()).autodiff().require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Which experts each of the streams' losses may change, for three tasks with two experts each and two shared ones: written down,
/// not computed.
const OPEN: [[u8; 8]; 4] = [
    [1, 1, 0, 0, 0, 0, 1, 1],
    [0, 0, 1, 1, 0, 0, 1, 1],
    [0, 0, 0, 0, 1, 1, 1, 1],
    [1, 1, 1, 1, 1, 1, 1, 1], // the shared stream
];

#[test]
fn a_stream_changes_its_own_experts_and_the_shared_ones_and_the_shared_stream_all() {
    let (rows, width) = (5, 3);
    let draw = |n: usize, seed: usize| (0..n).map(|i| ((i * 7 + seed) % 11) as f32 / 4.0 - 1.3).collect::<Vec<f32>>();
    for shared_stream in [true, false] {
        let streams = 3 + usize::from(shared_stream);
        let mask = AftbMask::task_specific(3, 2, 2, shared_stream);
        let expected = OPEN[..streams].concat();
        assert_eq!((mask.dims(), mask.values()), ([streams, 8], expected.iter().map(|m| f32::from(*m)).collect()));
        for (s, open) in OPEN[..streams].iter().enumerate() {
            let z = tensor(draw(streams * rows * 8, 1), [streams, rows, 8]);
            let h = [
                tensor(draw(6 * rows * width, 2), [6, rows, width]),
                tensor(draw(2 * rows * width, 3), [2, rows, width]),
            ];
            let outputs = ExpertOutputs { first: h[0].clone(), others: Some(h[1].clone()) };
            let o = gated(z, outputs, &mask).slice_dim(0, s..s + 1);
            let mut grads = o.sum().backward();
            let dh = h.map(|h| values(h.grad_remove(&mut grads).unwrap())).concat();
            for (e, dh) in dh.chunks(rows * width).enumerate() {
                let zero = dh.iter().all(|d| *d == 0.0);
                assert_eq!(zero, open[e] == 0, "stream {s} of {streams}, expert {e}: {dh:?}");
            }
        }
    }
}

#[test]
fn an_auxiliary_task_shuts_the_shared_experts_and_the_shared_stream_its_own() {
    let mask = AftbMask::of_groups(&[0, 1, 2], 2, 2, true, &[1]);
    let mut expected = OPEN;
    expected[1] = [0, 0, 1, 1, 0, 0, 0, 0];
    expected[3] = [1, 1, 0, 0, 1, 1, 1, 1];
    assert_eq!(mask.values(), expected.concat().iter().map(|m| f32::from(*m)).collect::<Vec<_>>());
}

#[test]
fn a_task_opens_the_experts_of_its_group() {
    let mask = AftbMask::of_groups(&[0, 1, 0], 2, 2, true, &[]);
    let expected = [[1, 1, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1, 1, 1], [1; 8]];
    assert_eq!(mask.values(), expected.concat().iter().map(|m| *m as f32).collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "a mask [T, E] is of the gates' streams and experts")]
fn a_mask_of_other_dimensions_is_refused_though_it_has_as_many_entries() {
    let (z, h) = (tensor(vec![0.0; 12], [3, 1, 4]), tensor(vec![0.0; 4], [4, 1, 1]));
    gated(z, h.into(), &AftbMask::open(2, 6));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// `O = G h`, `dG = dO h^T`, `dh = (M o G)^T dO`, written out in loops.
    #[test]
    fn the_mix_has_the_forward_and_the_backward_of_the_equations(
        (tasks, specific, shared, rows, width) in (1usize..4, 0usize..3, 0usize..3, 1usize..5, 1usize..6)
            .prop_filter("an expert", |(_, specific, shared, ..)| specific + shared > 0),
        stream in any::<bool>(),
        open in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let (t_count, e_count) = (tasks + usize::from(stream), tasks * specific + shared);
        let mut state = seed;
        let mut draw = |n: usize| -> Vec<f32> {
            (0..n).map(|_| { state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); (state >> 40) as f32 / (1 << 23) as f32 - 1.0 }).collect()
        };
        let (g, h, d) = (draw(t_count * rows * e_count), draw(e_count * rows * width), draw(t_count * rows * width));
        let specific_mask = AftbMask::task_specific(tasks, specific, shared, stream);
        let mask = if open { AftbMask::open(t_count, e_count) } else { specific_mask }; // open: plain gating
        let m = mask.values();
        let (mut o, mut dg, mut dh) = (vec![0f32; d.len()], vec![0f32; g.len()], vec![0f32; h.len()]);
        for t in 0..t_count { for b in 0..rows { for e in 0..e_count { for k in 0..width {
            let (at_g, at_h, at_o) = ((t * rows + b) * e_count + e, (e * rows + b) * width + k, (t * rows + b) * width + k);
            o[at_o] += g[at_g] * h[at_h];
            dg[at_g] += d[at_o] * h[at_h];
            dh[at_h] += m[t * e_count + e] * g[at_g] * d[at_o];
        }}}}
        let (tg, th) = (tensor(g, [t_count, rows, e_count]), tensor(h, [e_count, rows, width]));
        let out = mix(tg.clone(), th.clone(), &mask);
        let weights = Tensor::<3>::from_data(TensorData::new(d, [t_count, rows, width]), &device());
        let mut grads = (out.clone() * weights.autodiff()).sum().backward();
        let close = |found: Vec<f32>, expected: &[f32]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5);
        prop_assert!(close(values(out.inner()), &o));
        prop_assert!(close(values(tg.grad_remove(&mut grads).unwrap()), &dg));
        let found = values(th.grad_remove(&mut grads).unwrap());
        prop_assert!(close(found.clone(), &dh));
        prop_assert!(dh.iter().zip(&found).all(|(expected, found)| *expected != 0.0 || *found == 0.0));
    }
}

/// Whether every gradient of a parameter's member `e` is exactly zero.
struct ExpertGradients<'a> {
    grads: &'a mut Gradients,
    path: Vec<String>,
    zero: Vec<(String, Vec<bool>)>,
}

impl ModuleVisitor for ExpertGradients<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let members = param.val().dims()[0];
        let zero = param.val().grad_remove(self.grads).map_or(vec![true; members], |grad| {
            let all = values(grad);
            all.chunks(all.len() / members).map(|member| member.iter().all(|g| *g == 0.0)).collect()
        });
        self.zero.push((self.path.join("."), zero));
    }
}

/// The gradient of a task's loss alone by every row of the table, and those by the network's parameters.
fn of_one_task((table, network): (&EmbeddingTable, &AnyModel), batch: &Batch, task: usize) -> (Vec<f32>, Gradients) {
    let leaf = table.rows().tensor().clone().autodiff().require_grad();
    let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
    let layout = SlotLayout::new(&schema(), table.widths());
    let logits = network.forward(layout.pool(leaf.clone(), index.autodiff(), weights.autodiff()));
    let losses = bce_per_task(logits, &Targets::new(batch, 2, &device()));
    let mut grads = losses.slice_dim(0, task..task + 1).backward();
    (values(leaf.grad_remove(&mut grads).unwrap()), grads)
}

/// Checks, for each task's loss alone, which groups of embeddings and which experts it changes.
fn check_reach(spec: &ModelConfig, stops: bool) {
    let (table, network) = init(spec, &device().autodiff());
    let mut batch = encode_rows(&schema(), &vocabularies(), &rows()).unwrap();
    batch.labels = vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0];
    for task in 0..2 {
        let (rows, mut grads) = of_one_task((&table, &network), &batch, task);
        let group_is_zero = |k: usize| rows.chunks(12).all(|row| row[k * 4..(k + 1) * 4].iter().all(|g| *g == 0.0));
        assert_eq!(
            [group_is_zero(0), group_is_zero(1), group_is_zero(2)],
            [stops && task != 0, stops && task != 1, false]
        );
        let mut visitor = ExpertGradients { grads: &mut grads, path: vec![], zero: vec![] };
        network.visit(&mut visitor);
        let zero = |part: &str| visitor.zero.iter().find(|(path, _)| path.contains(part)).unwrap().1.clone();
        assert_eq!(zero("experts.own.layers.1.weight"), [0, 0, 1, 1].map(|owner| stops && task != owner));
        assert_eq!(zero("experts.shared.layers.1.weight"), [false]);
        assert_eq!(zero("gates.bank.layers.1.weight"), [task != 0, task != 1], "a gate always has its gradient");
    }
}

/// Three tasks, two layers, two experts each and two shared. In the second layer a task's loss changes its own experts and the shared
/// ones. From there it reaches the first layer's task stream, which changes the same, and its shared stream, which changes all.
#[test]
fn in_two_layers_a_tasks_loss_reaches_every_expert_of_the_first_through_the_shared_stream_alone() {
    let mut schema = schema();
    schema.tasks.push(Task::new("share"));
    let config =
        StemConfig { shared_experts: 2, experts: vec![24, 24], gate: vec![16], tower: vec![16], ..stem_config() };
    let table = EmbeddingTable::init(&schema, &config.widths(&schema), 1.0, 7, &device());
    let network = config.init(&schema, &mut ChaCha8Rng::seed_from_u64(3), &device().autodiff());
    let many: Vec<Row> = (0..6).flat_map(|_| rows()).collect();
    let mut batch = encode_rows(&schema, &vocabularies(), &many).unwrap();
    batch.labels = (0..batch.rows * 3).map(|i| f32::from(u8::from(i % 3 == 0))).collect();
    for task in 0..3 {
        let leaf = table.rows().tensor().clone().autodiff().require_grad();
        let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
        let layout = SlotLayout::new(&schema, table.widths());
        let logits = network.forward(layout.pool(leaf.clone(), index.autodiff(), weights.autodiff()));
        let losses = bce_per_task(logits, &Targets::new(&batch, 3, &device()));
        let mut grads = losses.slice_dim(0, task..task + 1).backward();
        let mut visitor = ExpertGradients { grads: &mut grads, path: vec![], zero: vec![] };
        network.visit(&mut visitor);
        let zero = |part: &str| visitor.zero.iter().find(|(path, _)| path.contains(part)).unwrap().1.clone();
        let of_others = [0, 1, 2].map(|t| t != task);
        let experts_of_others = [0, 0, 1, 1, 2, 2].map(|t| t != task);
        assert_eq!(zero("layers.1.experts.own.layers.1.weight"), experts_of_others);
        assert_eq!(zero("layers.1.experts.shared.layers.1.weight"), [false; 2]);
        assert_eq!(zero("layers.1.gates.bank.layers.1.weight"), of_others);
        assert_eq!(zero("layers.0.experts.own.layers.1.weight"), [false; 6], "the shared stream reaches them");
        assert_eq!(zero("layers.0.experts.shared.layers.1.weight"), [false; 2]);
        assert_eq!(zero("layers.0.gates.bank.layers.1.weight"), of_others);
        assert_eq!(zero("layers.0.shared_gate.bank.layers.1.weight"), [false]);
        let rows = values(leaf.grad_remove(&mut grads).unwrap());
        let group_is_zero = |k: usize| rows.chunks(16).all(|row| row[k * 4..(k + 1) * 4].iter().all(|g| *g == 0.0));
        assert_eq!([0, 1, 2, 3].map(group_is_zero), [false; 4]);
    }
}

#[test]
fn a_tasks_loss_reaches_its_own_experts_and_the_shared_ones_alone() {
    let config = StemConfig { layers: 1, ..stem_config() }; // experts: like 0, like 1, love 0, love 1, shared
    check_reach(&ModelConfig::Stem(config.clone()), true);
    check_reach(&ModelConfig::Stem(StemConfig { own_residual: OwnResidual::Gated, ..config }), true);
}

/// Two layers, two experts a task and one shared. `love` is auxiliary: its loss reaches its own parts alone, and no other loss reaches those.
#[test]
fn an_auxiliary_task_changes_its_own_parts_alone_and_nothing_else_changes_them() {
    let wide = StemConfig { experts: vec![24, 24], gate: vec![16], tower: vec![16], ..stem_config() };
    let config = StemConfig { auxiliary: vec!["love".into()], ..wide };
    for config in [config.clone(), StemConfig { own_residual: OwnResidual::Gated, ..config }] {
        let (table, network) = init(&ModelConfig::Stem(config), &device().autodiff());
        let many: Vec<Row> = (0..6).flat_map(|_| rows()).collect();
        let mut batch = encode_rows(&schema(), &vocabularies(), &many).unwrap();
        batch.labels = (0..batch.rows * 2).map(|i| f32::from(u8::from(i % 3 == 0))).collect();
        for task in 0..2 {
            let (rows, mut grads) = of_one_task((&table, &network), &batch, task);
            let changed = |k: usize| rows.chunks(12).any(|row| row[k * 4..(k + 1) * 4].iter().any(|g| *g != 0.0));
            assert_eq!([0, 1, 2].map(changed), [task == 0, task == 1, task == 0], "embeddings: like, love, shared");
            let mut visitor = ExpertGradients { grads: &mut grads, path: vec![], zero: vec![] };
            network.visit(&mut visitor);
            for (path, zero) in &visitor.zero {
                let of_like: Vec<bool> = match zero.len() {
                    1 => vec![true], // the shared expert, the shared stream's gates
                    2 => vec![true, false],
                    _ => vec![true, true, false, false],
                };
                let last = path.contains("layers.1.weight");
                for (zero, of_like) in zero.iter().zip(of_like) {
                    assert!(*zero || of_like == (task == 0), "{path} hears of task {task}");
                    assert!(!last || !zero || of_like != (task == 0), "{path} does not hear of task {task}");
                }
            }
        }
    }
}

#[test]
fn without_the_stop_gradient_a_tasks_loss_reaches_every_expert() {
    check_reach(&ModelConfig::Stem(StemConfig { layers: 1, stop_gradient: false, ..stem_config() }), false);
}

#[test]
fn a_gate_that_reads_no_other_tasks_experts_needs_no_stop() {
    let config = StemConfig { layers: 1, reach: Reach::OwnAndShared, stop_gradient: false, ..stem_config() };
    let config = StemConfig { gate_input: GateInput::Own, ..config };
    check_reach(&ModelConfig::Stem(config), true);
    let ple = LayeredSizes { layers: 1, ..layered() };
    check_reach(&ModelConfig::PleMe(PleMeConfig(ple)), true);
}
