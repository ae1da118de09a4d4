//! How often ops ran: for tests and profiles, which want to know that production is fused.

use std::cell::Cell;

/// Ops that ran, by name; backward passes are not counted. See [`count_calls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Calls {
    /// Banks of linear maps, one at a time.
    pub linear: u64,
    /// Banks of linear maps, one after another.
    pub chain: u64,
    /// Mixes of experts.
    pub mix: u64,
    /// Readings of the table's rows; several streams that are read at once are one.
    pub bag: u64,
    /// Crosses of features, all layers at once.
    pub cross: u64,
    /// Histories that are attended.
    pub attend: u64,
    /// Sums of groups, where something stands before a model.
    pub streams: u64,
    /// Products of pairs of fields, with their map.
    pub fm: u64,
    /// Gates on features, and on what towers read.
    pub feature_gate: u64,
    /// Cross-entropies.
    pub bce: u64,
    /// Norms of gradients, with and without an L2 term.
    pub norm: u64,
}

thread_local! {
    static CALLS: Cell<Calls> = const {
        Cell::new(Calls {
            linear: 0,
            chain: 0,
            mix: 0,
            bag: 0,
            cross: 0,
            attend: 0,
            streams: 0,
            fm: 0,
            feature_gate: 0,
            bce: 0,
            norm: 0,
        })
    };
}

/// Notes a call.
#[cfg(feature = "flex")]
pub(super) fn note(add: impl FnOnce(&mut Calls)) {
    let mut calls = CALLS.get();
    add(&mut calls);
    CALLS.set(calls);
}

/// Runs `work` and counts the fused ops that it runs on this thread; none of them on a device other than flex.
///
/// ```
/// use burn::tensor::Tensor;
/// use stem_core::fused::{count_calls, without};
/// use stem_core::{DeviceSpec, nn::LinearBank};
/// # use rand::SeedableRng;
///
/// let device = DeviceSpec::default().open()?;
/// let bank = LinearBank::init(2, 3, 4, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1), &device);
/// let forward = || bank.forward(Tensor::<3>::ones([1, 5, 3], &device));
/// assert_eq!(count_calls(forward).1.linear, 1);
/// assert_eq!(count_calls(|| without(forward)).1.linear, 0);
/// # Ok::<(), stem_core::Error>(())
/// ```
pub fn count_calls<R>(work: impl FnOnce() -> R) -> (R, Calls) {
    let before = CALLS.replace(Calls::default());
    let result = work();
    let counted = CALLS.replace(before);
    (result, counted)
}
