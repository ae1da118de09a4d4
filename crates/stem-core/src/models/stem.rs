//! STEM-Net: an embedding per task and a shared one, gated by AFTB. Every part of it can be taken away, to see what it is worth.
//!
//! ```text
//! h_e = MLP_e(x_group(e))                   experts read the embedding of their task, or the shared one
//! g_t = softmax(gate_t(x_t + x_S))
//! o_t = sum_e g_t[e] * sg_t(h_e)            sg_t stops the gradient into other tasks' experts
//! y_t = sigmoid(tower_t(o_t))
//! ```
//!
//! An auxiliary task `a` is read by the others and changes nothing that they share: `sg_a` stops the shared experts too, and its gate
//! reads `x_a + sg(x_S)`. The shared stream between layers reads its experts under `sg`.
//!
//! Tasks of one group read one embedding, `x_t = x_{group(t)}`, and `sg_t` stops the gradient into the experts of other groups' tasks alone.
//!
//! Source: Su et al., *STEM: Unleashing the Power of Embeddings for Multi-task Recommendation*, AAAI 2024.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::layered::FirstInput;
use super::{Layered, LayeredSizes, Model, ModelSpec, NetworkSize, check_size, last};
use crate::embedding::Pooled;
use crate::error::{Result, require};
use crate::experts::Streams;
use crate::front::FrontConfig;
use crate::layer::{GateInput, Layer, LayerShape, Reach, Wiring};
use crate::mlp::HiddenConfig;
use crate::own_residual::OwnResidual;
use crate::schema::{Schema, Task};

/// Sizes of a STEM-Net, and its ablations; the defaults are the paper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct StemConfig {
    /// `D`, width of each task's embedding, and of the shared one.
    pub dim: usize,
    /// Width of the shared embedding where it is another. Gates then read `x_t` and `x_S` side by side.
    pub shared_dim: Option<usize>,
    /// STEM layers, 1 or more.
    pub layers: usize,
    /// Experts per task and layer.
    pub specific_experts: usize,
    /// Shared experts per layer.
    pub shared_experts: usize,
    /// Widths of every expert; the last is `H`.
    pub experts: Vec<usize>,
    /// Hidden widths of every gate.
    pub gate: Vec<usize>,
    /// Hidden widths of every tower.
    pub tower: Vec<usize>,
    /// What follows each hidden linear map.
    pub hidden: HiddenConfig,
    /// What is added of a task's own experts to its mix, past the gates.
    pub own_residual: OwnResidual,
    /// What stands before the model, by keys among these; nothing by default.
    #[serde(skip)]
    pub front: FrontConfig,
    /// Whether a task's loss is kept out of other tasks' experts. Without it gating is plain: every loss changes every expert.
    pub stop_gradient: bool,
    /// Experts that a task reads: all, its own and the shared ones, as PLE does, or those of its group and the shared ones, as HoME does.
    pub reach: Reach,
    /// What a task's gate reads: `x_t + x_S`, or `x_t` alone.
    pub gate_input: GateInput,
    /// Whether there is a shared embedding. Without it there are no shared experts either, for want of input.
    pub shared_embedding: bool,
    /// Whether tasks have embeddings of their own. Without them all experts and gates read the shared one.
    pub task_embeddings: bool,
    /// Tasks, by name, that are there for the others: these read what such a task learns, and its loss changes nothing that is shared.
    pub auxiliary: Vec<String>,
    /// Tasks, by name, that have one embedding together, and whose losses change each other's experts. Who is named nowhere has one by itself.
    pub groups: Vec<Vec<String>>,
    /// Experts of each group below the tasks' layers, which then read what comes of those and of shared ones (HoME's meta experts); 0 is no such level.
    pub meta_experts: usize,
}

keys_with_front!(StemConfig);

impl Default for StemConfig {
    fn default() -> Self {
        LayeredSizes::default().into()
    }
}

/// The whole STEM of those sizes.
impl From<LayeredSizes> for StemConfig {
    fn from(sizes: LayeredSizes) -> Self {
        let LayeredSizes {
            dim,
            layers,
            specific_experts,
            shared_experts,
            experts,
            gate,
            tower,
            hidden,
            own_residual,
            front,
        } = sizes;
        Self {
            dim,
            shared_dim: None,
            layers,
            specific_experts,
            shared_experts,
            experts,
            gate,
            tower,
            hidden,
            own_residual,
            front,
            stop_gradient: true,
            reach: Reach::All,
            gate_input: GateInput::OwnPlusShared,
            shared_embedding: true,
            task_embeddings: true,
            auxiliary: Vec::new(),
            groups: Vec::new(),
            meta_experts: 0,
        }
    }
}

impl StemConfig {
    /// The sizes alone, without the ablations.
    pub fn sizes(&self) -> LayeredSizes {
        LayeredSizes {
            dim: self.dim,
            layers: self.layers,
            specific_experts: self.specific_experts,
            shared_experts: self.shared_experts,
            experts: self.experts.clone(),
            gate: self.gate.clone(),
            tower: self.tower.clone(),
            hidden: self.hidden,
            own_residual: self.own_residual,
            front: self.front.clone(),
        }
    }

    fn shared_width(&self) -> usize {
        self.shared_dim.unwrap_or(self.dim)
    }

    /// What the tasks' first layer reads: embeddings, or what the meta experts make of them.
    fn first(&self, schema: &Schema) -> FirstInput {
        match (self.meta_experts, last(&self.experts)) {
            (0, _) => self.embedded(schema),
            (_, hidden) => FirstInput { tasks: hidden, shared: Some(hidden) },
        }
    }

    /// The widths of embeddings. Where tasks have none of their own, every stream is the shared one.
    fn embedded(&self, schema: &Schema) -> FirstInput {
        let fields = schema.fields.len();
        let shared = fields * self.shared_width();
        let tasks = if self.task_embeddings { fields * self.dim } else { shared };
        FirstInput { tasks, shared: self.shared_embedding.then_some(shared) }
    }

    /// In a first layer without task embeddings `x_t` is `x_S`: the gate reads it once.
    fn wiring(&self, l: usize) -> Wiring {
        let once = l == 0 && !self.task_embeddings;
        let gate_input = if once { GateInput::Own } else { self.gate_input };
        Wiring { reach: self.reach, gate_input, stop_gradient: self.stop_gradient, own_residual: self.own_residual }
    }

    /// The level below the tasks' layers: a stream for each group, which reads its own experts and the shared ones, and a shared stream, which reads all.
    fn meta<'a>(&'a self, sizes: &'a LayeredSizes, schema: &'a Schema) -> Option<LayerShape<'a>> {
        let wiring = Wiring { reach: Reach::GroupAndShared, ..self.wiring(0) };
        let layer = sizes.layer(0, self.embedded(schema), wiring, schema);
        let (tasks, specific) = (self.task_groups(schema), self.meta_experts);
        (specific > 0).then_some(LayerShape { tasks, specific, followed: true, ..layer })
    }

    /// Whether the first layer's gates read `x_t + x_S`, which is then taken from the table at once.
    fn gates_read_sums(&self) -> bool {
        let both = self.shared_embedding && self.task_embeddings;
        both && self.auxiliary.is_empty()
            && self.gate_input == GateInput::OwnPlusShared
            && self.shared_width() == self.dim
    }

    fn check_embeddings(&self) -> Result<()> {
        let (shared, tasks, alone) = (self.shared_embedding, self.task_embeddings, self.gate_input == GateInput::Own);
        let no_shared = |why: &str| format!("no such key where shared_embedding is false{why}");
        let no_tasks = |why: &str| format!("no such key where task_embeddings is false: {why}");
        let input = "true where shared_embedding is false: experts need input";
        require("task_embeddings", false, input, shared || tasks)?;
        let experts = "0 where shared_embedding is false: they have nothing to read";
        require("shared_experts", self.shared_experts, experts, shared || self.shared_experts == 0)?;
        require("gate_input", "own", no_shared(": gates read x_t anyway"), shared || !alone)?;
        require("gate_input", "own", no_tasks("there is one input"), tasks || !alone || self.layers > 1)?;
        let Some(dim) = self.shared_dim else { return Ok(()) };
        require("shared_dim", "set", no_shared(""), shared)?;
        require("shared_dim", "set", no_tasks("`dim` is the width"), tasks)?;
        check_size("shared_dim", dim, 1)
    }

    /// Auxiliary tasks want embeddings and experts of their own, others that read them, and gradients that are stopped.
    fn check_auxiliary(&self, schema: &Schema) -> Result<()> {
        let Some(first) = self.auxiliary.first() else { return Ok(()) };
        let names: Vec<&str> = schema.tasks.iter().map(|task| task.name.as_str()).collect();
        for name in &self.auxiliary {
            require("auxiliary", name, format!("labels among {}", names.join(", ")), names.contains(&name.as_str()))?;
        }
        let main = names.iter().any(|name| !self.auxiliary.iter().any(|auxiliary| auxiliary == name));
        require("auxiliary", self.auxiliary.join(", "), "at least one label left that is not auxiliary", main)?;
        let apart = self.stop_gradient && self.reach == Reach::All && self.shared_embedding && self.task_embeddings;
        let expected = "none unless stop_gradient, shared_embedding and task_embeddings are true and reach is `\"all\"`: \
                        other tasks read what it learns, and its loss changes nothing shared";
        require("auxiliary", first, expected, apart)?;
        require("auxiliary", first, "none where specific_experts is 0: it has no experts", self.specific_experts > 0)
    }

    /// A label is in one group at most; groups want embeddings of tasks, and an auxiliary task is alone.
    fn check_groups(&self, schema: &Schema) -> Result<()> {
        let names = || schema.tasks.iter().map(|task| &task.name);
        let of_groups = "`groups` of labels, of which one has two or more: without them a task's own experts are all it could reach";
        let are_some = self.groups.iter().any(|group| group.len() > 1);
        require("reach", "group-and-shared", of_groups, self.reach != Reach::GroupAndShared || are_some)?;
        for (place, name) in self.groups.iter().flatten().enumerate() {
            let known = names().map(String::as_str).collect::<Vec<_>>().join(", ");
            require("groups", name, format!("labels among {known}"), names().any(|known| known == name))?;
            let before = self.groups.iter().flatten().take(place).any(|before| before == name);
            require("groups", format!("{name} twice"), "every label in one group at most", !before)?;
        }
        let empty = self.groups.iter().any(Vec::is_empty);
        require("groups", "[]", "one label or more in every group", !empty)?;
        let no_tasks = "none where task_embeddings is false: there is no embedding to have together";
        require("groups", "set", no_tasks, self.groups.is_empty() || self.task_embeddings)?;
        let shares = |name: &&String| self.groups.iter().any(|group| group.len() > 1 && group.contains(name));
        let alone = "no auxiliary label in a group with others: its loss changes nothing shared";
        let together = self.auxiliary.iter().find(shares);
        require("groups", together.map_or("", String::as_str), alone, together.is_none())
    }

    /// Meta experts are of groups that mean something, and have a shared stream beside them.
    fn check_meta(&self) -> Result<()> {
        check_size("meta_experts", self.meta_experts, 0)?;
        if self.meta_experts == 0 {
            return Ok(());
        }
        let found = self.meta_experts;
        let are_some = self.groups.iter().any(|group| group.len() > 1);
        require("meta_experts", found, "0 without `groups` of labels, of which one has two or more", are_some)?;
        let shared = "0 where shared_embedding is false: tasks' layers read what is shared of them";
        require("meta_experts", found, shared, self.shared_embedding)?;
        let auxiliary = "0 beside `auxiliary` labels, which read all experts";
        require("meta_experts", found, auxiliary, self.auxiliary.is_empty())
    }

    /// Which group each task is of, counted in the order of their first tasks. `[T]`
    fn group_of_tasks(&self, schema: &Schema) -> Vec<usize> {
        let group = |name: &String| self.groups.iter().position(|group| group.contains(name));
        let mut found: Vec<Option<usize>> = Vec::new(); // of `groups`; `None` of a task that is one by itself
        let of_task = |task: &Task| {
            let own = group(&task.name);
            match found.iter().position(|before| own.is_some() && *before == own) {
                Some(place) => place,
                None => {
                    found.push(own);
                    found.len() - 1
                }
            }
        };
        schema.tasks.iter().map(of_task).collect()
    }

    /// The indices of auxiliary tasks.
    fn auxiliary_tasks(&self, schema: &Schema) -> Vec<usize> {
        (0..schema.tasks.len()).filter(|&t| self.auxiliary.contains(&schema.tasks[t].name)).collect()
    }

    fn layers<'a>(
        &'a self,
        sizes: &'a LayeredSizes,
        (groups, auxiliary): (&'a [usize], &'a [usize]),
        schema: &'a Schema,
    ) -> impl Iterator<Item = LayerShape<'a>> {
        let first = self.first(schema);
        let layer = move |l: usize| LayerShape { groups, auxiliary, ..sizes.layer(l, first, self.wiring(l), schema) };
        (0..self.layers).map(layer)
    }

    /// `G`: embeddings that belong to a task or a group of them.
    fn task_groups(&self, schema: &Schema) -> usize {
        let groups = self.group_of_tasks(schema);
        if self.task_embeddings { groups.into_iter().max().map_or(0, |last| last + 1) } else { 0 }
    }
}

impl ModelSpec for StemConfig {
    type Model = Stem;

    fn name(&self) -> &'static str {
        "stem"
    }

    fn check(&self, schema: &Schema) -> Result<()> {
        let sizes = self.sizes();
        sizes.check()?;
        self.check_embeddings()?;
        self.check_auxiliary(schema)?;
        self.check_groups(schema)?;
        self.check_meta()?;
        let needs_shared = self.reach == Reach::OwnAndShared && self.shared_embedding;
        if needs_shared { sizes.check_shared_stream() } else { Ok(()) }
    }

    /// `[group 0 | ... | group G-1 | shared]`, a task being a group where `groups` does not say otherwise.
    fn widths(&self, schema: &Schema) -> Vec<usize> {
        let shared = self.shared_embedding.then(|| self.shared_width());
        std::iter::repeat_n(self.dim, self.task_groups(schema)).chain(shared).collect()
    }

    fn embedding_groups(&self, schema: &Schema) -> Vec<usize> {
        let groups = self.group_of_tasks(schema);
        let first = |g: usize| groups.iter().position(|group| *group == g);
        let own = (0..self.task_groups(schema)).filter_map(first);
        own.chain(self.shared_embedding.then_some(schema.tasks.len())).collect()
    }

    fn size(&self, schema: &Schema) -> NetworkSize {
        let (sizes, groups, auxiliary) = (self.sizes(), self.group_of_tasks(schema), self.auxiliary_tasks(schema));
        let meta = self.meta(&sizes, schema).map(|layer| layer.size()).unwrap_or_default();
        meta + sizes.size(self.layers(&sizes, (&groups, &auxiliary), schema), schema)
    }

    fn init(&self, schema: &Schema, rng: &mut ChaCha8Rng, device: &Device) -> Stem {
        let (sizes, groups, auxiliary) = (self.sizes(), self.group_of_tasks(schema), self.auxiliary_tasks(schema));
        let meta = self.meta(&sizes, schema).map(|layer| layer.init(rng, device));
        Stem {
            meta,
            net: sizes.init(self.layers(&sizes, (&groups, &auxiliary), schema), schema, rng, device),
            task_groups: self.task_groups(schema),
            gates_read_sums: self.gates_read_sums(),
            groups,
        }
    }

    fn front(&self) -> FrontConfig {
        self.front.clone()
    }

    fn tower_inputs(&self, schema: &Schema) -> Vec<usize> {
        self.sizes().towers(schema).inputs()
    }

    fn gate_groups(&self, schema: &Schema) -> Vec<usize> {
        self.sizes().gate_groups(schema)
    }
}

/// Layers on the embeddings of tasks and the shared one.
#[derive(Module, Debug)]
pub struct Stem {
    meta: Option<Layer>,
    net: Layered,
    task_groups: usize,
    gates_read_sums: bool,
    /// Which group each task is of. `[T]`
    #[module(skip)]
    groups: Vec<usize>,
}

impl Stem {
    /// What the tasks' layers read.
    fn streams(&self, x: &Pooled) -> Streams {
        let Some(meta) = &self.meta else { return self.embedded(x, &self.groups) };
        let each: Vec<usize> = (0..self.task_groups).collect();
        let m = meta.forward(&self.embedded(x, &each)); // [G, B, H], [1, B, H]
        let of_task = |&g: &usize| m.tasks.clone().slice_dim(0, g..g + 1);
        let tasks = if self.groups == each {
            m.tasks.clone()
        } else {
            Tensor::cat(self.groups.iter().map(of_task).collect(), 0)
        };
        Streams { tasks, ..m } // [T, B, H]
    }

    /// Embeddings of these groups, and the shared one.
    fn embedded(&self, x: &Pooled, groups: &[usize]) -> Streams {
        if self.gates_read_sums {
            let s = self.task_groups;
            let own = groups.iter().map(|&g| vec![g]).collect(); // x_t
            let both = groups.iter().map(|&g| vec![g, s]).collect(); // x_t + x_S
            let [tasks, shared, sums] = x.streams([own, vec![vec![s]], both]);
            return Streams { tasks, shared: Some(shared), sums: Some(sums) };
        }
        let shared = (x.groups() > self.task_groups).then(|| x.group(self.task_groups)); // [1, B, F * D_S]
        let tasks = match (&shared, self.task_groups) {
            (Some(shared), 0) => shared.clone(),
            _ => {
                let [tasks] = x.streams([groups.iter().map(|&g| vec![g]).collect()]);
                tasks // [T, B, F * D]
            }
        };
        Streams { tasks, shared, sums: None }
    }
}

impl Model for Stem {
    fn forward(&self, x: Pooled) -> Tensor<2> {
        self.net.forward(self.streams(&x), x.tower_gates())
    }

    fn gates(&self, x: Pooled) -> Vec<Tensor<3>> {
        self.net.gates(self.streams(&x))
    }
}
