//! The wiring of the baselines, written out in loops from their papers' equations: three tasks, two layers, several experts.

use std::collections::BTreeMap;

use crate::common::*;
use burn::tensor::TensorData;
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

/// The network's parameters, and what a single MLP of a bank makes of a row.
struct Weights(BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Weights {
    fn of(network: &AnyModel) -> Self {
        let read = |(name, data): (String, TensorData)| {
            let shape = data.shape().as_slice().to_vec();
            (name, (shape, data.try_into_vec().unwrap()))
        };
        Self(params::collect(network).into_iter().map(read).collect())
    }

    fn linear(&self, bank: &str, member: usize, x: &[f32]) -> Vec<f32> {
        let (shape, weight) = &self.0[&format!("{bank}.weight")];
        let (input, output) = (shape[1], shape[2]);
        assert_eq!(x.len(), input, "{bank}");
        let bias = &self.0[&format!("{bank}.bias")].1[member * output..];
        let weight = &weight[member * input * output..];
        (0..output).map(|o| bias[o] + (0..input).map(|i| x[i] * weight[i * output + o]).sum::<f32>()).collect()
    }

    /// ReLU after every layer, or after all but the last.
    fn mlp(&self, bank: &str, member: usize, x: &[f32], ends_linear: bool) -> Vec<f32> {
        let layers = (0..).take_while(|l| self.0.contains_key(&format!("{bank}.layers.{l}.weight"))).count();
        (0..layers).fold(x.to_vec(), |x, l| {
            let y = self.linear(&format!("{bank}.layers.{l}"), member, &x);
            if ends_linear && l + 1 == layers { y } else { y.into_iter().map(|y| y.max(0.0)).collect() }
        })
    }

    fn expert(&self, bank: &str, member: usize, x: &[f32]) -> Vec<f32> {
        self.mlp(bank, member, x, false)
    }

    fn gate(&self, bank: &str, member: usize, x: &[f32]) -> Vec<f32> {
        softmax(&self.mlp(&format!("{bank}.bank"), member, x, true))
    }

    fn tower(&self, bank: &str, task: usize, x: &[f32]) -> f32 {
        self.mlp(&format!("{bank}.bank"), task, x, true)[0]
    }
}

fn softmax(z: &[f32]) -> Vec<f32> {
    let exp: Vec<f32> = z.iter().map(|z| z.exp()).collect();
    let sum: f32 = exp.iter().sum();
    exp.into_iter().map(|e| e / sum).collect()
}

fn mix(g: &[f32], h: &[Vec<f32>]) -> Vec<f32> {
    assert_eq!(g.len(), h.len());
    (0..h[0].len()).map(|k| g.iter().zip(h).map(|(g, h)| g * h[k]).sum()).collect()
}

/// `o + sum_e r[e] h_e` over a stream's own experts, whose gate, if it has one, gives `s`.
fn with_own(o: Vec<f32>, own: &[Vec<f32>], kind: OwnResidual, s: impl Fn() -> Vec<f32>) -> Vec<f32> {
    let r = match kind {
        OwnResidual::Gated if own.len() == 1 => vec![1.0 / (1.0 + (-s()[0]).exp())],
        OwnResidual::Gated if !own.is_empty() => softmax(&s()),
        _ => return o,
    };
    o.iter().zip(mix(&r, own)).map(|(o, own)| o + own).collect()
}

fn three_tasks() -> Schema {
    let mut schema = schema();
    schema.tasks.push(Task::new("share"));
    schema
}

/// Logits of the model, and the groups of embeddings `x_k` of each row; then the same logits from loops.
fn check(config: ModelConfig, by_hand: impl Fn(&Weights, &[Vec<f32>]) -> Vec<f32>) {
    use rand::SeedableRng;
    let schema = three_tasks();
    config.check(&schema).unwrap();
    let widths = config.widths(&schema);
    let table = EmbeddingTable::init(&schema, &widths, 1.0, 7, &device());
    let network = config.init(&schema, &mut rand_chacha::ChaCha8Rng::seed_from_u64(3), &device());
    let batch = encode_rows(&schema, &vocabularies(), &rows()).unwrap();
    let (index, weights) = upload(&batch.ids, &batch.weights, batch.rows, &device());
    let x = SlotLayout::new(&schema, &widths).pool(table.rows().tensor().clone(), index, weights);
    let groups: Vec<Vec<f32>> = (0..widths.len()).map(|k| x.group(k).into_data().try_into_vec().unwrap()).collect();
    let logits: Vec<f32> = network.forward(x).into_data().try_into_vec().unwrap();
    let weights = Weights::of(&network);
    for (row, logits) in logits.chunks(3).enumerate() {
        let of_row =
            |group: &Vec<f32>| group[row * group.len() / batch.rows..(row + 1) * group.len() / batch.rows].to_vec();
        let expected = by_hand(&weights, &groups.iter().map(of_row).collect::<Vec<_>>());
        let close = logits.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 100.0 * tolerance());
        assert!(close, "{}, row {row}: {logits:?}, by hand {expected:?}", config.name());
    }
}

/// Two layers; two experts per task and `shared` shared ones; streams of the tasks, and the shared one last.
fn layers(w: &Weights, mut x: Vec<Vec<f32>>, stem: bool, shared: usize) -> Vec<f32> {
    for l in 0..2 {
        let at = |part: &str| format!("net.layers.{l}.{part}");
        let own = |t: usize, x: &[Vec<f32>]| -> Vec<Vec<f32>> {
            (0..2).map(|i| w.expert(&at("experts.own"), 2 * t + i, &x[t])).collect()
        };
        let common: Vec<Vec<f32>> = (0..shared).map(|i| w.expert(&at("experts.shared"), i, &x[3])).collect();
        let all: Vec<Vec<f32>> = (0..3).flat_map(|t| own(t, &x)).chain(common.clone()).collect();
        let mut o: Vec<Vec<f32>> = (0..3)
            .map(|t| {
                let both: Vec<f32> = x[t].iter().zip(&x[3]).map(|(a, b)| a + b).collect();
                let reads = if stem { all.clone() } else { [own(t, &x), common.clone()].concat() };
                mix(&w.gate(&at("gates"), t, if stem { &both } else { &x[t] }), &reads)
            })
            .collect();
        if l == 0 {
            o.push(mix(&w.gate(&at("shared_gate"), 0, &x[3]), if stem { &all } else { &common }));
        }
        x = o;
    }
    (0..3).map(|t| w.tower("net.towers", t, &x[t])).collect()
}

fn sizes() -> LayeredSizes {
    LayeredSizes { shared_experts: 3, ..layered() }
}

#[test]
fn stem_is_its_equations() {
    let config = StemConfig { shared_experts: 3, ..stem_config() };
    check(ModelConfig::Stem(config), |w, x| layers(w, x.to_vec(), true, 3));
}

#[test]
fn ple_is_its_equations() {
    check(ModelConfig::Ple(PleConfig(sizes())), |w, x| layers(w, vec![x[0].clone(); 4], false, 3));
}

#[test]
fn ple_me_is_ple_on_an_embedding_per_group() {
    check(ModelConfig::PleMe(PleMeConfig(sizes())), |w, x| layers(w, x.to_vec(), false, 3));
}

#[test]
fn mixtures_are_their_equations() {
    let mixed = |w: &Weights, x: &dyn Fn(usize) -> Vec<f32>, x_gate: &[f32], gate: &dyn Fn(usize) -> usize| {
        let h: Vec<Vec<f32>> = (0..3).map(|e| w.expert("net.experts", e, &x(e))).collect();
        let task = |t: usize| w.tower("net.towers", t, &mix(&w.gate("net.gates", gate(t), x_gate), &h));
        (0..3).map(task).collect::<Vec<f32>>()
    };
    check(ModelConfig::Omoe(OmoeConfig(mixture())), |w, x| mixed(w, &|_| x[0].clone(), &x[0], &|_| 0));
    check(ModelConfig::Mmoe(MmoeConfig(mixture())), |w, x| mixed(w, &|_| x[0].clone(), &x[0], &|t| t));
    check(ModelConfig::MmoeMe(MmoeMeConfig(mixture())), |w, x| {
        let sum: Vec<f32> = (0..x[0].len()).map(|i| x[0][i] + x[1][i] + x[2][i]).collect();
        mixed(w, &|e| x[e].clone(), &sum, &|t| t)
    });
}

#[test]
fn aitm_is_its_equations() {
    let BottomSizes { dim, bottom, tower, .. } = bottom();
    check(ModelConfig::Aitm(AitmConfig { dim, bottom, tower, ..AitmConfig::default() }), |w, x| {
        let q: Vec<Vec<f32>> = (0..3).map(|t| w.expert("bottoms", t, &x[0])).collect();
        let mut z = vec![q[0].clone()];
        for t in 1..3 {
            let both = [w.linear("transfer", t - 1, &z[t - 1]), q[t].clone()];
            let agreement = |u: &Vec<f32>| {
                let (k, q) = (w.linear("key", 0, u), w.linear("query", 0, u));
                k.iter().zip(&q).map(|(k, q)| k * q).sum::<f32>() / (k.len() as f32).sqrt()
            };
            let weights = softmax(&both.iter().map(agreement).collect::<Vec<_>>());
            z.push(mix(&weights, &both.map(|u| w.linear("value", 0, &u))));
        }
        (0..3).map(|t| w.tower("towers", t, &z[t])).collect()
    });
}

#[test]
fn bottoms_are_their_equations() {
    check(shared_bottom(), |w, x| {
        let h = w.expert("bottom", 0, &x[0]);
        (0..3).map(|t| w.tower("towers", t, &h)).collect()
    });
    check(single_task(), |w, x| (0..3).map(|t| w.tower("towers", t, &w.expert("bottoms", t, &x[t]))).collect());
}

/// `max(y_1 - y_0, 0) + max(y_2 - y_1, 0)`, averaged over rows.
#[test]
fn the_order_penalty_counts_what_a_later_step_has_too_much() {
    use rand::SeedableRng;
    let config = AitmConfig { dim: 4, bottom: vec![5], tower: vec![], order_penalty: 0.6, ..AitmConfig::default() };
    let network = config.init(&three_tasks(), &mut rand_chacha::ChaCha8Rng::seed_from_u64(3), &device());
    let logits = burn::tensor::Tensor::<2>::from_floats([[0.0, 1.0, -1.0], [2.0, 0.0, 0.5]], &device());
    let found: f32 = network.penalty(&logits).unwrap().into_scalar();
    let y = |z: f32| 1.0 / (1.0 + (-z).exp());
    let expected = 0.6 * ((y(1.0) - 0.5) + (y(0.5) - 0.5)) / 2.0;
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    assert!(
        AitmConfig { order_penalty: 0.0, ..config }
            .init(&three_tasks(), &mut rand_chacha::ChaCha8Rng::seed_from_u64(3), &device())
            .penalty(&logits)
            .is_none()
    );
}

/// The paper's equations with parts taken away, for three tasks, row by row.
fn stem_by_hand(w: &Weights, config: &StemConfig, groups: &[Vec<f32>]) -> Vec<f32> {
    let StemConfig { specific_experts: specific, shared_experts, layers, .. } = *config;
    let mut x_s = config.shared_embedding.then(|| groups[groups.len() - 1].clone()); // the last group is the shared one
    // like and love have one embedding where they are a group
    let group_of = if config.groups.is_empty() { [0, 1, 2] } else { [0, 0, 1] };
    let of_task = |t: usize| groups[if config.task_embeddings { group_of[t] } else { 0 }].clone();
    let mut x: Vec<Vec<f32>> = (0..3).map(of_task).collect();
    for l in 0..layers {
        let at = |part: &str| format!("net.layers.{l}.{part}");
        let own = |t: usize| -> Vec<Vec<f32>> {
            (0..specific).map(|i| w.expert(&at("experts.own"), specific * t + i, &x[t])).collect()
        };
        let shared: Vec<Vec<f32>> =
            (0..shared_experts).map(|i| w.expert(&at("experts.shared"), i, x_s.as_ref().unwrap())).collect();
        let all: Vec<Vec<f32>> = (0..3).flat_map(own).chain(shared.clone()).collect();
        let mixed = |t: usize| {
            let x_gate = match (&x_s, config.gate_input) {
                (None, _) | (_, GateInput::Own) => x[t].clone(),
                (Some(_), _) if l == 0 && !config.task_embeddings => x[t].clone(), // there is one embedding, not two to add
                (Some(x_s), _) if x_s.len() == x[t].len() => x[t].iter().zip(x_s).map(|(a, b)| a + b).collect(),
                (Some(x_s), _) => [x[t].clone(), x_s.clone()].concat(), // side by side, the task's first
            };
            let reads = match config.reach {
                Reach::All => all.clone(),
                Reach::OwnAndShared => [own(t), shared.clone()].concat(),
                Reach::GroupAndShared => all.clone(),
            };
            let mut z = w.mlp(&at("gates.bank"), t, &x_gate, true);
            let is_far = |e: usize| e < 3 * specific && group_of[e / specific] != group_of[t];
            if config.reach == Reach::GroupAndShared {
                z.iter_mut().enumerate().filter(|(e, _)| is_far(*e)).for_each(|(_, z)| *z = f32::NEG_INFINITY);
            }
            let o = mix(&softmax(&z), &reads);
            let s = || w.mlp(&at("own.gates.bank"), t, &x_gate, true);
            with_own(o, &own(t), config.own_residual, s)
        };
        let o = (0..3).map(mixed).collect();
        x_s = x_s.filter(|_| l + 1 < layers).map(|x_s| {
            let reads = if config.reach == Reach::OwnAndShared { &shared } else { &all };
            let o = mix(&w.gate(&at("shared_gate"), 0, &x_s), reads);
            let s = || w.mlp(&at("shared_own.gates.bank"), 0, &x_s, true);
            with_own(o, &shared, config.own_residual, s)
        });
        x = o;
    }
    (0..3).map(|t| w.tower("net.towers", t, &x[t])).collect()
}

#[test]
fn every_ablation_of_stem_is_its_equations() {
    let by_loops = |config: &StemConfig| config.meta_experts == 0; // cures.rs holds a level of meta experts to a twin
    for config in std::iter::once(stem_config()).chain(stem_ablations().into_iter().filter(by_loops)) {
        let spec = ModelConfig::Stem(config.clone());
        check(spec.clone(), |w, x| stem_by_hand(w, &config, x));
        fused::without(|| check(spec, |w, x| stem_by_hand(w, &config, x)));
    }
}

/// With own and shared experts alone, and gates that read `x_t`, STEM is PLE-ME.
#[test]
fn a_stem_without_its_own_parts_is_a_ple_me() {
    let config =
        StemConfig { shared_experts: 3, reach: Reach::OwnAndShared, gate_input: GateInput::Own, ..stem_config() };
    check(ModelConfig::Stem(config), |w, x| layers(w, x.to_vec(), false, 3));
}
