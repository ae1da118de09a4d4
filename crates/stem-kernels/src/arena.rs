//! An arena of buffers that are used again: a fresh large block costs a page fault for every 4 KiB, more than the arithmetic on it.
//!
//! What is dropped lies on the shelf of its length until somebody takes that length again. One arena serves the process. What lies
//! unused in it never exceeds a [limit](set_limit): what was used longest ago is freed first.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::mem::{MaybeUninit, replace, take as take_out};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationError, AllocationProperty, Bytes};
use bytemuck::{Pod, Zeroable};

/// A cache line: what buffers are made of, so that they start at one.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Numbers in a cache line.
const LINE: usize = 16;

/// Lines below which every number of lines has a shelf of its own.
const FEW: usize = 16;

/// Bytes that may lie unused unless [`set_limit`] says otherwise: 2 GiB.
pub const DEFAULT_LIMIT: usize = 2 << 30;

/// The arena of this process.
static ARENA: Mutex<Arena> = Mutex::new(Arena { shelves: BTreeMap::new(), held: 0, limit: DEFAULT_LIMIT, clock: 0 });

/// Buffers that lie unused.
struct Arena {
    /// By their number of lines.
    shelves: BTreeMap<usize, Shelf>,
    /// Bytes of them all.
    held: usize,
    /// Bytes that there may be.
    limit: usize,
    /// Counts what is taken and put back.
    clock: u64,
}

/// Unused buffers of one length.
#[derive(Default)]
struct Shelf {
    buffers: Vec<Vec<Line>>,
    /// When one was last taken or put back.
    used: u64,
}

impl Arena {
    fn take(&mut self, lines: usize) -> Option<Vec<Line>> {
        self.clock += 1;
        let shelf = self.shelves.get_mut(&lines)?;
        shelf.used = self.clock;
        let buffer = shelf.buffers.pop()?;
        self.held -= size_of_val(&*buffer);
        Some(buffer)
    }

    /// Puts a buffer back, and gives what is then too much.
    fn put(&mut self, buffer: Vec<Line>) -> Vec<Vec<Line>> {
        self.clock += 1;
        self.held += size_of_val(&*buffer);
        let shelf = self.shelves.entry(buffer.len()).or_default();
        shelf.used = self.clock;
        shelf.buffers.push(buffer);
        self.surplus()
    }

    /// Takes buffers out until no more than the limit is held, from the shelf that was used longest ago.
    fn surplus(&mut self) -> Vec<Vec<Line>> {
        let mut surplus = Vec::new();
        while self.held > self.limit
            && let Some((&lines, _)) = self.shelves.iter().min_by_key(|(_, shelf)| shelf.used)
        {
            match self.shelves.get_mut(&lines).and_then(|shelf| shelf.buffers.pop()) {
                Some(buffer) => {
                    self.held -= size_of_val(&*buffer);
                    surplus.push(buffer);
                }
                None => _ = self.shelves.remove(&lines),
            }
        }
        surplus
    }
}

/// A poisoned lock is no harm: what lies here means nothing.
fn arena() -> MutexGuard<'static, Arena> {
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer of `len` numbers, whatever they are: those of its last user, or zeros. It starts at a cache line.
pub fn take(len: usize) -> Buffer {
    let lines = capacity(len.div_ceil(LINE));
    let used = arena().take(lines);
    Buffer { lines: used.unwrap_or_else(|| vec![Line([0.0; LINE]); lines]), len }
}

/// Bytes that lie unused.
pub fn held() -> usize {
    arena().held
}

/// Frees what lies unused.
pub fn release() {
    let unused = {
        let mut arena = arena();
        arena.held = 0;
        take_out(&mut arena.shelves)
    };
    drop(unused); // with the lock open
}

/// Sets how many bytes may lie unused, and frees what is more; gives the limit that was before. With 0 nothing is kept.
pub fn set_limit(bytes: usize) -> usize {
    let (before, surplus) = {
        let mut arena = arena();
        (replace(&mut arena.limit, bytes), arena.surplus())
    };
    drop(surplus); // with the lock open
    before
}

/// Lines of the buffer that `lines` are kept in: at most an eighth more, so that lengths about the same share a shelf.
fn capacity(lines: usize) -> usize {
    if lines < FEW { lines } else { lines.next_multiple_of(1 << (lines.ilog2() - 3)) }
}

/// Numbers of one owner. Dropped, their memory serves the next [`take`] of about the same length.
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// The same memory as bytes, four for each number. It comes back when they are dropped.
    pub fn into_bytes(self) -> Bytes {
        let len = self.len * size_of::<f32>();
        // SAFETY: the controller's memory is the `len` bytes of the buffer, all of them initialised; it is `Send` and `Sync`, as
        // `Bytes` takes for granted: asserted where it is defined.
        unsafe { Bytes::from_controller(Box::new(BufferController(self)), len) }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lines = take_out(&mut self.lines);
        if !lines.is_empty() {
            let surplus = arena().put(lines);
            drop(surplus); // with the lock open
        }
    }
}

/// A buffer in the hands of [`Bytes`].
struct BufferController(Buffer);

const _: () = {
    const fn crosses_threads<T: Send + Sync>() {}
    crosses_threads::<BufferController>();
};

impl AllocationController for BufferController {
    /// That of the numbers, not of the memory: copies are allocated with it, and have to be for a `Vec<f32>` to take them over.
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.0);
        // SAFETY: same layout, and any byte may be taken for one that may be uninitialised.
        Ok(unsafe { &*(std::ptr::from_ref(bytes) as *const [MaybeUninit<u8>]) })
    }

    unsafe fn memory_mut(&mut self, _: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.0);
        // SAFETY: same layout, and the caller writes initialised bytes alone.
        Ok(unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) })
    }

    /// Moves to a larger buffer.
    fn grow(&mut self, size: usize, align: usize) -> Result<(), AllocationError> {
        if align > align_of::<Line>() {
            return Err(AllocationError::UnsupportedOperation);
        }
        let mut larger = take(size.div_ceil(size_of::<f32>()));
        larger[..self.0.len].copy_from_slice(&self.0);
        self.0 = larger;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_buffer_is_at_most_an_eighth_too_large(lines in 0usize..1 << 30) {
            let capacity = capacity(lines);
            prop_assert!(lines <= capacity && capacity <= lines + lines / 8);
            prop_assert_eq!(super::capacity(capacity), capacity);
        }
    }
}
