//! How the authors' Python implementation names what a model holds, so that its checkpoints can be read as ours.
//!
//! There every expert, gate and tower is a module of its own; here they are banks. A [`Bank`] says which of its modules are the
//! members of which of our banks. Every model file says so for its model, beside the wiring.

/// Our bank, by the path of its parameters, and the reference's modules that are its members, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// For instance `net.layers.0.experts.own`.
    pub ours: String,
    /// For instance `stem_layers.0.specific_experts.0.0.mlp`.
    pub members: Vec<String>,
    /// What a member is.
    pub kind: BankKind,
}

/// What a member of a bank is in the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BankKind {
    /// An `nn.Sequential` of linear layers, normalisations and activations.
    Mlp,
    /// One `nn.Linear`.
    Linear,
}

impl Bank {
    /// A bank of MLPs.
    pub fn mlps(ours: impl Into<String>, members: impl IntoIterator<Item = String>) -> Self {
        Self { ours: ours.into(), members: members.into_iter().collect(), kind: BankKind::Mlp }
    }

    /// A bank of linear maps.
    pub fn linears(ours: impl Into<String>, members: impl IntoIterator<Item = String>) -> Self {
        Self { kind: BankKind::Linear, ..Self::mlps(ours, members) }
    }

    /// `tower.0.mlp`, `tower.1.mlp` ... as [`Towers`](crate::Towers) at `ours`.
    pub fn towers(ours: &str, tasks: usize) -> Self {
        Self::mlps(format!("{ours}.bank"), (0..tasks).map(|t| format!("tower.{t}.mlp")))
    }
}
