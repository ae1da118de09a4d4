//! *All Forward, Task-specific Backward*: the gated mix of experts whose backward is masked.
//!
//! ```text
//! forward     O = G h                [T,E] x [E,H] for every row: a task reads every expert
//! backward    dG = dO h^T            every expert
//!             dh = (M o G)^T dO      M[t,e] = 1 when expert e is shared, or of task t or a task of its group, else 0
//! ```
//!
//! Source: Su et al., *STEM*, AAAI 2024, equations 6 to 9.

use std::sync::Arc;

use burn::tensor::{Tensor, activation::softmax};

use crate::experts::ExpertOutputs;
use crate::fused;

/// Which losses may change which experts: `M [T, E]`, one row per stream that mixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AftbMask {
    open: Arc<[bool]>, // [T, E]
    dims: [usize; 2],
}

impl AftbMask {
    /// The mask of a STEM layer: experts `t * specific .. (t + 1) * specific` are task `t`'s, the last `shared` are everybody's.
    /// A shared stream, when it is mixed too, stops no gradient.
    pub fn task_specific(tasks: usize, specific: usize, shared: usize, shared_stream: bool) -> Self {
        let groups: Vec<usize> = (0..tasks).collect();
        Self::of_groups(&groups, specific, shared, shared_stream, &[])
    }

    /// The same of tasks in groups, `groups[t]` being task `t`'s: a task's loss changes the experts of all tasks of its group. The losses of the
    /// `auxiliary` tasks, each alone in its group, change their own experts alone, and their experts are changed by their own losses alone.
    pub fn of_groups(
        groups: &[usize],
        specific: usize,
        shared: usize,
        shared_stream: bool,
        auxiliary: &[usize],
    ) -> Self {
        let tasks = groups.len();
        let experts = tasks * specific + shared;
        let owner = |e: usize| (e < tasks * specific).then(|| e / specific);
        let of_task = |t: usize| {
            (0..experts)
                .map(move |e| owner(e).map_or_else(|| !auxiliary.contains(&t), |owner| groups[owner] == groups[t]))
        };
        let of_stream = |e: usize| owner(e).is_none_or(|owner| !auxiliary.contains(&owner));
        let of_shared_stream = (0..if shared_stream { experts } else { 0 }).map(of_stream);
        let open = (0..tasks).flat_map(of_task).chain(of_shared_stream).collect();
        Self { open, dims: [tasks + usize::from(shared_stream), experts] }
    }

    /// The mask that stops nothing, for `streams` streams over `experts` experts: plain gating.
    pub fn open(streams: usize, experts: usize) -> Self {
        Self { open: vec![true; streams * experts].into(), dims: [streams, experts] }
    }

    /// `[T, E]`: streams that mix, experts.
    pub fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// `M` as numbers. `[T, E]`
    pub fn values(&self) -> Vec<f32> {
        self.open.iter().map(|&open| f32::from(u8::from(open))).collect()
    }

    /// Whether nothing is stopped.
    pub fn is_open(&self) -> bool {
        self.open.iter().all(|&open| open)
    }

    #[track_caller]
    fn check(&self, gates: &Tensor<3>) {
        let [streams, _, experts] = gates.dims();
        assert_eq!(self.dims, [streams, experts], "a mask [T, E] is of the gates' streams and experts");
    }
}

/// The mix by the softmax of `logits`, as one op where the device has one: see [`mix`].
///
/// # Shapes
/// `logits [T, B, E]`, `h`: `[E, B, H]` in one part or two; gives `[T, B, H]`.
///
/// # Panics
/// When the mask is not `[T, E]`.
pub fn gated(logits: Tensor<3>, h: ExpertOutputs, mask: &AftbMask) -> Tensor<3> {
    mask.check(&logits);
    fused::mix(&logits, &h.first, h.others.as_ref(), &mask.open).unwrap_or_else(|| plain_gated(logits, h, mask))
}

/// The same as plain operations.
pub(crate) fn plain_gated(logits: Tensor<3>, h: ExpertOutputs, mask: &AftbMask) -> Tensor<3> {
    let h = match h.others {
        Some(others) => Tensor::cat(vec![h.first, others], 0),
        None => h.first,
    };
    mix(softmax(logits, 2), h, mask)
}

/// `o_t = sum_e g_t[e] * sg_t(h_e)`, where `sg_t` stops the gradient into other tasks' experts.
///
/// Written so that any backend can differentiate it: `(M o G) h + ((1 - M) o G) detach(h)`.
///
/// # Shapes
/// `gates [T, B, E]`, `experts [E, B, H]`; gives `[T, B, H]`.
///
/// # Panics
/// When the mask is not `[T, E]`.
pub fn mix(gates: Tensor<3>, experts: Tensor<3>, mask: &AftbMask) -> Tensor<3> {
    mask.check(&gates);
    let [streams, count] = mask.dims;
    let g = gates.permute([1, 0, 2]); // [B, T, E]
    let h = experts.permute([1, 0, 2]); // [B, E, H]
    let o = if mask.is_open() || !h.is_autodiff() {
        g.matmul(h)
    } else {
        let m = Tensor::<1>::from_floats(mask.values().as_slice(), &g.device()).reshape([1, streams, count]);
        let open = (g.clone() * m.clone()).matmul(h.clone());
        let shut = (g * (m.neg() + 1.0)).matmul(h.detach());
        open + shut
    };
    o.permute([1, 0, 2]) // [T, B, H]
}
