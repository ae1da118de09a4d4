//! A setting of the thread that holds while a piece of code runs.

use std::cell::Cell;
use std::thread::LocalKey;

/// Runs `work` with `value` in the cell, and puts back what was, also when `work` panics.
pub(crate) fn scoped<T, R>(cell: &'static LocalKey<Cell<T>>, value: T, work: impl FnOnce() -> R) -> R {
    let _before = Before { cell, value: Some(cell.replace(value)) };
    work()
}

/// What was there.
struct Before<T: 'static> {
    cell: &'static LocalKey<Cell<T>>,
    value: Option<T>,
}

impl<T> Drop for Before<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.cell.set(value);
        }
    }
}
