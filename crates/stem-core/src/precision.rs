//! How exact products are, for as long as a piece of code runs: what `autocast` is elsewhere.

use std::cell::Cell;

pub use stem_kernels::Precision;

use crate::scoped::scoped;

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// Runs `work` with products of this precision, forward and the backward of that forward. Weights, sums and all that is no
/// product stay f32. Holds for the CPU device `flex`; other devices stay at f32.
///
/// Holds for what runs **on this thread**. Work that is handed to another one (a pool's `install`, a thread that is spawned) does not
/// see it: call `with` inside of what is handed over.
///
/// ```
/// use stem_core::precision::{Precision, current, with};
///
/// assert_eq!(with(Precision::Bf16, current), Precision::Bf16);
/// assert_eq!(current(), Precision::F32);
///
/// let elsewhere = |work: fn() -> Precision| std::thread::spawn(work).join().expect("no panic"); // or `pool.install(work)`
/// assert_eq!(elsewhere(|| with(Precision::Bf16, current)), Precision::Bf16);
/// assert_eq!(with(Precision::Bf16, || elsewhere(current)), Precision::F32);
/// ```
pub fn with<R>(precision: Precision, work: impl FnOnce() -> R) -> R {
    scoped(&CURRENT, precision, work)
}

/// The precision of products here and now; f32 unless [`with`] says otherwise.
pub fn current() -> Precision {
    CURRENT.get()
}
