//! A layer of task experts and shared experts: every stream's gate weighs experts, the mix of them is the next stream.
//! Layers stack. STEM, PLE and PLE-ME are this layer, wired differently.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::softmax};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::aftb::{self, AftbMask};
use crate::experts::{Experts, Streams};
use crate::fused;
use crate::gate::Gates;
use crate::mlp::{HiddenConfig, MlpShape};
use crate::own_residual::{OwnResidual, OwnShape, OwnSum};
use crate::size::NetworkSize;

/// The logit of an expert that a stream does not reach: its weight is exactly 0, and so is the gradient.
const OUT_OF_REACH: f32 = -1e30;

/// Which experts a task's gate weighs, in the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Every expert: "all forward".
    #[default]
    All,
    /// The task's own and the shared ones, as in PLE.
    OwnAndShared,
    /// Those of its group of tasks and the shared ones: HoME's mask of a hierarchy (Wang et al., arXiv 2408.05430).
    GroupAndShared,
}

/// What a task's gate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateInput {
    /// `x_t + x_S`; both side by side where their widths differ; `x_t` where there is no shared stream.
    #[default]
    OwnPlusShared,
    /// `x_t` alone.
    Own,
}

/// How the streams of a layer meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wiring {
    /// Experts that a task reads. With [`Reach::OwnAndShared`] the shared stream reads the shared experts, else all.
    pub reach: Reach,
    /// Input of the tasks' gates; the shared stream's gate reads `x_S`.
    pub gate_input: GateInput,
    /// Whether a task's loss is kept out of other tasks' experts.
    pub stop_gradient: bool,
    /// What is added of a task's own experts to its mix, and of the shared ones to the shared stream's.
    pub own_residual: OwnResidual,
}

/// Sizes of a layer.
#[derive(Debug, Clone, Copy)]
pub struct LayerShape<'a> {
    /// `T`
    pub tasks: usize,
    /// Experts per task.
    pub specific: usize,
    /// `C`, experts on the shared stream.
    pub shared: usize,
    /// Width of each task's stream.
    pub input: usize,
    /// Width of the shared stream; `None` where there is none.
    pub shared_input: Option<usize>,
    /// Widths of the experts; the last is `H`.
    pub expert: &'a [usize],
    /// Hidden widths of the gates.
    pub gate: &'a [usize],
    /// What follows each hidden linear map.
    pub hidden: &'a HiddenConfig,
    /// Whether another layer follows, which reads the shared stream too.
    pub followed: bool,
    /// How the streams meet.
    pub wiring: Wiring,
    /// Which group each task is of; where there are none, each is one by itself. `[T]`, or `[0]`
    pub groups: &'a [usize],
    /// Tasks whose losses change nothing shared, and whose experts no other loss changes; none, unless gradients are stopped.
    pub auxiliary: &'a [usize],
}

impl<'a> LayerShape<'a> {
    /// `E`
    pub fn experts(&self) -> usize {
        self.tasks * self.specific + self.shared
    }

    fn own_experts(&self) -> MlpShape<'a> {
        self.bank(self.tasks * self.specific, self.input)
    }

    fn shared_experts(&self) -> MlpShape<'a> {
        self.bank(self.shared, self.shared_input.unwrap_or(0))
    }

    fn bank(&self, members: usize, input: usize) -> MlpShape<'a> {
        MlpShape { members, input, widths: self.expert, output: None, hidden: self.hidden }
    }

    /// Width of what the tasks' gates read.
    fn gate_width(&self) -> usize {
        match (self.wiring.gate_input, self.shared_input) {
            (GateInput::OwnPlusShared, Some(shared)) if shared != self.input => self.input + shared,
            _ => self.input,
        }
    }

    fn task_gates(&self) -> MlpShape<'a> {
        let choices = match self.wiring.reach {
            Reach::All | Reach::GroupAndShared => self.experts(),
            Reach::OwnAndShared => self.specific + self.shared,
        };
        self.gates(self.tasks, self.gate_width(), choices)
    }

    /// The shared stream's gate, where a following layer reads that stream.
    fn shared_gate(&self) -> Option<MlpShape<'a>> {
        let choices = match self.wiring.reach {
            Reach::All | Reach::GroupAndShared => self.experts(),
            Reach::OwnAndShared => self.shared,
        };
        self.shared_input.filter(|_| self.followed).map(|input| self.gates(1, input, choices))
    }

    /// What is added of the tasks' own experts, and of the shared ones to the shared stream.
    fn own_sums(&self) -> (OwnShape<'a>, Option<OwnShape<'a>>) {
        let (kind, hidden) = (self.wiring.own_residual, self.expert.last().copied().unwrap_or(0));
        let tasks = OwnShape { kind, gates: self.gates(self.tasks, self.gate_width(), self.specific), hidden };
        let shared =
            |gate: MlpShape<'a>| OwnShape { kind, gates: MlpShape { output: Some(self.shared), ..gate }, hidden };
        (tasks, self.shared_gate().map(shared))
    }

    fn gates(&self, members: usize, input: usize, choices: usize) -> MlpShape<'a> {
        MlpShape { members, input, widths: self.gate, output: Some(choices), hidden: self.hidden }
    }

    /// Numbers held, and outputs for one row of a batch: those of the banks, a task's stream once more for each of its experts, the
    /// sums that gates read, the softmax of the gates, what comes out of the mix, and what is added to it.
    pub fn size(&self) -> NetworkSize {
        let banks = [self.own_experts(), self.shared_experts(), self.task_gates()];
        let product = |a: usize, b: usize| (a as u64).saturating_mul(b as u64);
        let repeated = if self.specific > 1 { self.tasks * self.specific } else { 0 };
        let gate_inputs = if self.wiring.gate_input == GateInput::OwnPlusShared { self.tasks } else { 0 };
        let streams = self.tasks + usize::from(self.shared_gate().is_some());
        let as_read = if self.auxiliary.is_empty() { 0 } else { product(gate_inputs, self.shared_input.unwrap_or(0)) };
        let mixed = self.experts() + self.expert.last().copied().unwrap_or(0);
        let activations =
            product(repeated + gate_inputs, self.input).saturating_add(as_read).saturating_add(product(streams, mixed));
        let between = NetworkSize { parameters: 0, activations };
        let (own, of_shared) = self.own_sums();
        let added = own.size() + of_shared.map(|shape| shape.size()).unwrap_or_default();
        banks.iter().chain(&self.shared_gate()).map(MlpShape::size).sum::<NetworkSize>() + between + added
    }

    /// Draws the weights.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Layer {
        let shared_stream = self.shared_gate().is_some();
        let count = self.tasks + usize::from(shared_stream);
        let (own, of_shared) = self.own_sums();
        let groups = if self.groups.is_empty() { (0..self.tasks).collect() } else { self.groups.to_vec() };
        Layer {
            experts: Experts::init(self.own_experts(), self.shared_experts(), rng, device),
            gates: Gates::init(self.task_gates(), rng, device),
            shared_gate: self.shared_gate().map(|shape| Gates::init(shape, rng, device)),
            own: own.init(rng, device),
            shared_own: of_shared.and_then(|shape| shape.init(rng, device)),
            tasks: self.tasks,
            specific: self.specific,
            wiring: self.wiring,
            auxiliary: self.auxiliary.to_vec(),
            mask: if self.wiring.stop_gradient {
                AftbMask::of_groups(&groups, self.specific, self.shared, shared_stream, self.auxiliary)
            } else {
                AftbMask::open(count, self.experts())
            },
            groups,
        }
    }
}

/// Experts in the order task 0's, ..., task T-1's, shared; one gate per task, and one for the shared stream if it is read.
#[derive(Module, Debug)]
pub struct Layer {
    experts: Experts,
    gates: Gates,
    shared_gate: Option<Gates>,
    own: Option<OwnSum>,
    shared_own: Option<OwnSum>,
    tasks: usize,
    specific: usize,
    #[module(skip)]
    wiring: Wiring,
    #[module(skip)]
    groups: Vec<usize>,
    #[module(skip)]
    auxiliary: Vec<usize>,
    #[module(skip)]
    mask: AftbMask,
}

impl Layer {
    /// `o = G h` for every stream, and what is added of its own experts. The shared stream is mixed only when another layer follows.
    pub fn forward(&self, x: &Streams) -> Streams {
        let x_gate = self.gate_input(x); // [T, B, I], or [1, B, I]
        let z = self.gate_logits(&x_gate, x); // [T (+ 1), B, E]
        let h = self.experts.forward(x); // [E, B, H]
        let own = self.own.as_ref().map(|own| own.forward(h.first.clone(), &x_gate)); // [T, B, H]
        let shared_own = self.shared_own.as_ref().zip(x.shared.as_ref()).map(|(own, x_s)| {
            let of_shared = h.others.as_ref().unwrap_or(&h.first); // one part alone where tasks have no experts
            own.forward(of_shared.clone(), x_s) // [1, B, H]
        });
        let add = |o: Tensor<3>, own: Option<Tensor<3>>| match own {
            Some(own) => o + own,
            None => o,
        };
        let o = aftb::gated(z, h, &self.mask); // [T (+ 1), B, H]
        if self.shared_gate.is_none() {
            return Streams { tasks: add(o, own), shared: None, sums: None };
        }
        let shared = o.clone().slice_dim(0, self.tasks..self.tasks + 1);
        let tasks = add(o.slice_dim(0, 0..self.tasks), own);
        Streams { tasks, shared: Some(add(shared, shared_own)), sums: None }
    }

    /// The gates alone, a weight for every expert: 0 where a stream does not reach it.
    ///
    /// # Shapes
    /// Gives `[T, B, E]`, or `[T + 1, B, E]` when another layer reads the shared stream.
    pub fn gate(&self, x: &Streams) -> Tensor<3> {
        softmax(self.gate_logits(&self.gate_input(x), x), 2)
    }

    /// What the gates' softmax is taken of; where a stream does not reach an expert, so low that its weight is 0.
    fn gate_logits(&self, x_gate: &Tensor<3>, x: &Streams) -> Tensor<3> {
        let z = self.gates.logits(x_gate.clone()); // [T, B, E], or [T, B, specific + C]
        let z = match self.wiring.reach {
            Reach::All => z,
            Reach::OwnAndShared => self.scatter_task_logits(z),
            Reach::GroupAndShared => self.within_groups(z),
        };
        let Some((gate, x_s)) = self.shared_gate.as_ref().zip(x.shared.clone()) else { return z };
        let z_s = gate.logits(x_s); // [1, B, E], or [1, B, C]
        let z_s = match self.wiring.reach {
            Reach::All | Reach::GroupAndShared => z_s,
            Reach::OwnAndShared => self.scatter_shared_logits(z_s),
        };
        fused::join(&z, &z_s).unwrap_or_else(|| Tensor::cat(vec![z, z_s], 0))
    }

    /// `[T, B, I]`, or `[1, B, I]` where all gates read the same.
    fn gate_input(&self, x: &Streams) -> Tensor<3> {
        let x_t = x.tasks.clone();
        match (self.wiring.gate_input, x.shared.clone()) {
            (GateInput::OwnPlusShared, Some(_)) if let Some(sums) = &x.sums => sums.clone(),
            (GateInput::OwnPlusShared, Some(x_s)) if x_s.dims()[2] == x_t.dims()[2] => {
                let x_s = self.as_read(x_s);
                fused::plus(&x_t, &x_s).unwrap_or_else(|| x_t + x_s)
            }
            (GateInput::OwnPlusShared, Some(x_s)) => {
                let x_s = self.as_read(x_s);
                let times = self.tasks / x_s.dims()[0];
                Tensor::cat(vec![x_t, x_s.repeat_dim(0, times)], 2)
            }
            _ => x_t,
        }
    }

    /// `x_S` as the tasks' gates read it: those of auxiliary tasks stop its gradient. `[1, B, I_S]`, or `[T, B, I_S]`
    fn as_read(&self, x_s: Tensor<3>) -> Tensor<3> {
        if self.auxiliary.is_empty() || !x_s.is_autodiff() {
            return x_s;
        }
        let stopped = x_s.clone().detach();
        let of_task = |t: usize| if self.auxiliary.contains(&t) { stopped.clone() } else { x_s.clone() };
        Tensor::cat((0..self.tasks).map(of_task).collect(), 0)
    }

    /// Logits with those of other groups' experts out of reach. `[T, B, E]`
    fn within_groups(&self, z: Tensor<3>) -> Tensor<3> {
        let [_, _, experts] = z.dims();
        let (own, groups) = (self.tasks * self.specific, &self.groups);
        let is_far = |t: usize, e: usize| e < own && groups[e / self.specific] != groups[t];
        let of_task =
            |t: usize| (0..experts).map(|e| if is_far(t, e) { OUT_OF_REACH } else { 0.0 }).collect::<Vec<_>>();
        let far: Vec<f32> = (0..self.tasks).flat_map(of_task).collect();
        let far = Tensor::<1>::from_floats(far.as_slice(), &z.device()).reshape([self.tasks, 1, experts]);
        z + far
    }

    /// Logits over a task's own and the shared experts, put at their places among all. `[T, B, specific + C]` to `[T, B, E]`
    fn scatter_task_logits(&self, z: Tensor<3>) -> Tensor<3> {
        let ([_, _, choices], specific) = (z.dims(), self.specific);
        if specific == 0 {
            return z;
        }
        let own = self.tasks * specific;
        if let Some(z) = fused::spread(&z, specific, own, OUT_OF_REACH) {
            return z;
        }
        let own_row = |t: usize| (0..own).map(move |e| f32::from(u8::from(e / specific == t)));
        let is_own: Vec<f32> = (0..self.tasks).flat_map(own_row).collect();
        let is_own = Tensor::<1>::from_floats(is_own.as_slice(), &z.device()).reshape([self.tasks, 1, own]);
        let out_of_reach = (is_own.clone().neg() + 1.0) * OUT_OF_REACH;
        let own_logits = z.clone().slice_dim(2, 0..specific).repeat_dim(2, self.tasks) * is_own + out_of_reach; // [T, B, T * specific]
        if choices == specific {
            own_logits
        } else {
            Tensor::cat(vec![own_logits, z.slice_dim(2, specific..choices)], 2)
        }
    }

    /// Logits over the shared experts, put at their places among all. `[1, B, C]` to `[1, B, E]`
    fn scatter_shared_logits(&self, z: Tensor<3>) -> Tensor<3> {
        if self.specific == 0 {
            return z;
        }
        let ([_, rows, _], own) = (z.dims(), self.tasks * self.specific);
        fused::spread(&z, 0, own, OUT_OF_REACH).unwrap_or_else(|| {
            let own = Tensor::full([1, rows, own], OUT_OF_REACH, &z.device());
            Tensor::cat(vec![own, z], 2)
        })
    }
}
