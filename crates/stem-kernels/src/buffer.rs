//! Buffers that are used again: a fresh large block costs a page fault for every 4 KiB, more than the arithmetic on it.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::mem::{MaybeUninit, take as take_out};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationError, AllocationProperty, Bytes};

/// A cache line: what buffers are made of, so that they start at one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Numbers in a cache line.
const LINE: usize = 16;

// SAFETY: all bits 0 are sixteen zeros.
unsafe impl bytemuck::Zeroable for Line {}
// SAFETY: sixteen floats fill the 64 bytes: no padding, any bits are values, nothing inside that is shared or borrowed.
unsafe impl bytemuck::Pod for Line {}

/// Lines below which every number of lines has a shelf of its own.
const FEW: usize = 16;

/// Buffers that lie unused, by their number of lines.
static SHELVES: Mutex<BTreeMap<usize, Vec<Vec<Line>>>> = Mutex::new(BTreeMap::new());

/// A poisoned lock is no harm: what lies here means nothing.
fn shelves() -> MutexGuard<'static, BTreeMap<usize, Vec<Vec<Line>>>> {
    SHELVES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer of `len` numbers, whatever they are: those of its last user, or zeros. It starts at a cache line.
pub fn take(len: usize) -> Buffer {
    let lines = capacity(len.div_ceil(LINE));
    let used = shelves().get_mut(&lines).and_then(Vec::pop);
    Buffer { lines: used.unwrap_or_else(|| vec![Line([0.0; LINE]); lines]), len }
}

/// Bytes that lie unused.
pub fn held() -> usize {
    shelves().iter().map(|(lines, buffers)| lines * size_of::<Line>() * buffers.len()).sum()
}

/// Frees what lies unused.
pub fn release() {
    let unused = take_out(&mut *shelves());
    drop(unused); // with the lock open
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
        // SAFETY: the controller's memory is the `len` bytes of the buffer, all of them initialised; it is `Send` and `Sync`.
        unsafe { Bytes::from_controller(Box::new(Lent(self)), len) }
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
            shelves().entry(lines.len()).or_default().push(lines);
        }
    }
}

/// A buffer in the hands of [`Bytes`].
struct Lent(Buffer);

impl AllocationController for Lent {
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

    #[test]
    fn what_bytes_hold_may_cross_threads() {
        fn crosses<T: Send + Sync>() {}
        crosses::<Lent>();
    }
}
