//! What the reference calls the parts of each model.
//!
//! There every expert, gate and tower is a module of its own; here they are banks. A [`Bank`] says which of its modules are the
//! members of which of our banks.

use stem_core::models::{LayeredSizes, MixtureSizes, StemConfig};
use stem_core::{ModelConfig, Schema};

/// Our bank, by the path of its parameters, and the reference's modules that are its members, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// For instance `net.layers.0.experts.own`.
    pub ours: String,
    /// For instance `stem_layers.0.specific_experts.0.0.mlp`: an `nn.Sequential`, or one `nn.Linear`.
    pub members: Vec<String>,
}

impl Bank {
    /// Our bank at a path, of those modules.
    pub fn new(ours: impl Into<String>, members: impl IntoIterator<Item = String>) -> Self {
        Self { ours: ours.into(), members: members.into_iter().collect() }
    }

    /// `tower.0.mlp`, `tower.1.mlp` ... as the towers at `ours`.
    fn towers(ours: &str, tasks: usize) -> Self {
        Self::new(format!("{ours}.bank"), (0..tasks).map(|t| format!("tower.{t}.mlp")))
    }
}

/// The banks of a model; none where the reference has no such model.
pub fn banks(model: &ModelConfig, schema: &Schema) -> Vec<Bank> {
    let tasks = schema.tasks.len();
    match model {
        ModelConfig::Stem(stem) => match stem.sizes() {
            sizes if *stem == StemConfig::from(sizes.clone()) => layered(&sizes, "stem_layers", tasks),
            _ => Vec::new(), // the reference has no ablations
        },
        ModelConfig::Ple(ple) => layered(&ple.0, "cgc_layers", tasks),
        ModelConfig::SharedBottom(_) => vec![Bank::new("bottom", ["bottom.mlp".into()]), Bank::towers("towers", tasks)],
        // the reference trains a SharedBottom of one task
        ModelConfig::SingleTask(_) if tasks == 1 => {
            vec![Bank::new("bottoms", ["bottom.mlp".into()]), Bank::towers("towers", 1)]
        }
        ModelConfig::Omoe(omoe) => mixture(&omoe.0, "omoe_layer", ["gate".into()], tasks),
        ModelConfig::Mmoe(mmoe) => mixture(&mmoe.0, "mmoe_layer", (0..tasks).map(|t| format!("gate.{t}")), tasks),
        ModelConfig::Aitm(_) => vec![
            Bank::new("bottoms", (0..tasks).map(|t| format!("bottom.{t}.mlp"))),
            Bank::new("transfer", (0..tasks - 1).map(|t| format!("g.{t}"))),
            Bank::new("value", ["h1".into()]),
            Bank::new("key", ["h2".into()]),
            Bank::new("query", ["h3".into()]),
            Bank::towers("towers", tasks),
        ],
        ModelConfig::Esmm(_) => vec![Bank::towers("towers", 2)],
        _ => Vec::new(),
    }
}

/// Modules that the reference carries without ever reading them: the last layer's gate for the shared stream, which no tower reads.
pub fn unread(model: &ModelConfig, schema: &Schema) -> Vec<String> {
    let (prefix, layers) = match model {
        ModelConfig::Stem(stem) => ("stem_layers", stem.layers),
        ModelConfig::Ple(ple) => ("cgc_layers", ple.0.layers),
        _ => return Vec::new(),
    };
    vec![format!("{prefix}.{}.gate.{}", layers - 1, schema.tasks.len())]
}

/// A mixture whose experts and gates lie below `layer`; `gates` are their names there.
fn mixture(sizes: &MixtureSizes, layer: &str, gates: impl IntoIterator<Item = String>, tasks: usize) -> Vec<Bank> {
    vec![
        Bank::new("net.experts", (0..sizes.expert_count).map(|e| format!("{layer}.experts.{e}.mlp"))),
        Bank::new("net.gates.bank", gates.into_iter().map(|gate| format!("{layer}.{gate}.mlp"))),
        Bank::towers("net.towers", tasks),
    ]
}

/// A network whose layers lie below `prefix`.
fn layered(sizes: &LayeredSizes, prefix: &str, tasks: usize) -> Vec<Bank> {
    let mut banks = vec![Bank::towers("net.towers", tasks)];
    for l in 0..sizes.layers {
        let (ours, theirs) = (format!("net.layers.{l}"), format!("{prefix}.{l}"));
        let (theirs, specific) = (&theirs, sizes.specific_experts);
        let own = (0..tasks).flat_map(|t| (0..specific).map(move |i| format!("{theirs}.specific_experts.{t}.{i}.mlp")));
        let shared = (0..sizes.shared_experts).map(|i| format!("{theirs}.shared_experts.{i}.mlp"));
        let gate = |t: usize| format!("{theirs}.gate.{t}.mlp");
        banks.push(Bank::new(format!("{ours}.experts.own"), own));
        banks.push(Bank::new(format!("{ours}.experts.shared"), shared));
        banks.push(Bank::new(format!("{ours}.gates.bank"), (0..tasks).map(gate)));
        if l + 1 < sizes.layers {
            banks.push(Bank::new(format!("{ours}.shared_gate.bank"), [gate(tasks)]));
        }
    }
    banks.retain(|bank| !bank.members.is_empty());
    banks
}
