//! Polars panics on some inputs. While a query runs, such a panic is an error with its message, and nothing is printed of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};

/// Queries that are running.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// What the last panic within Polars said.
static SAID: Mutex<String> = Mutex::new(String::new());

/// Runs a part of Polars.
///
/// # Errors
/// What a panic said, of this thread or of one that Polars started for it.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_polars = panic.location().is_some_and(|place| place.file().contains("polars"));
            if !is_polars || RUNNING.load(Ordering::SeqCst) == 0 {
                return before(panic);
            }
            if let Ok(mut said) = SAID.lock() {
                *said = panic.payload_as_str().unwrap_or("no message").to_string();
            }
        }));
    });
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let ran = catch_unwind(AssertUnwindSafe(run));
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    ran.map_err(|panic| {
        let own =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        let said = SAID.lock().map(|said| said.clone()).unwrap_or_default();
        own.unwrap_or(said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_says_what_it_said() {
        assert_eq!(guarded(|| 1), Ok(1));
        let said = guarded(|| -> i32 { std::panic::panic_any("too odd".to_string()) });
        assert_eq!(said, Err("too odd".to_string()));
    }
}
