//! A setting of the thread that holds while a piece of code runs.

use std::cell::Cell;
use std::thread::LocalKey;

/// Runs `work` with `value` in the cell, and puts back what was, also when `work` panics.
pub(crate) fn scoped<T: Copy, R>(cell: &'static LocalKey<Cell<T>>, value: T, work: impl FnOnce() -> R) -> R {
    let _before = Before { cell, value: cell.replace(value) };
    work()
}

/// What was there.
struct Before<T: Copy + 'static> {
    cell: &'static LocalKey<Cell<T>>,
    value: T,
}

impl<T: Copy> Drop for Before<T> {
    fn drop(&mut self) {
        self.cell.set(self.value);
    }
}
