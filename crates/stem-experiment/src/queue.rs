//! Pieces of work, some at the same time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// Does `work` on every item, `at_once` of them at the same time, and gives what came of it in the order of the items. An error
/// keeps no other item from being worked on; in the end the error of the first item that has one is given.
pub(crate) fn in_turn<I: Sync, T: Send>(
    items: &[I],
    at_once: usize,
    work: impl Fn(&I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<Result<T, Error>>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let worker = || {
        while let i = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(i)
        {
            let result = work(item);
            *done[i].lock().expect("no worker panics with a result in hand") = Some(result);
        }
    };
    std::thread::scope(|scope| {
        (1..at_once.min(items.len())).for_each(|_| {
            scope.spawn(worker);
        });
        worker();
    });
    let results =
        done.into_iter().filter_map(|slot| slot.into_inner().expect("no worker panics with a result in hand"));
    results.collect()
}

/// Refuses `at_once` runs at the same time that need more memory together than there is; `runs` are the bytes of each. The largest may
/// be at work together.
///
/// # Errors
/// [`Error::Memory`].
pub(crate) fn check_memory(runs: &[u64], at_once: usize, available: Option<u64>) -> Result<()> {
    let Some(available) = available else { return Ok(()) };
    let mut largest = runs.to_vec();
    largest.sort_unstable_by(|a, b| b.cmp(a));
    let jobs = at_once.min(largest.len());
    let needed = largest.iter().take(jobs).copied().fold(0, u64::saturating_add);
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    match needed <= available {
        true => Ok(()),
        false => Err(Error::Memory { jobs, needed: gib(needed), available: gib(available) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_the_largest_runs_that_may_be_at_work_together() {
        let runs = [3 << 30, 1 << 30, 4 << 30, 2 << 30];
        assert!(check_memory(&runs, 2, Some(7 << 30)).is_ok());
        let message = check_memory(&runs, 2, Some((7 << 30) - 1)).unwrap_err().to_string();
        assert!(
            message.starts_with("2 trainings at the same time need about 7.0 GiB and this machine has 7.0 GiB"),
            "{message}"
        );
        assert!(matches!(check_memory(&runs, 9, Some(9 << 30)), Err(Error::Memory { jobs: 4, .. })));
        assert!(check_memory(&runs, 9, None).is_ok(), "the system does not tell");
        assert!(check_memory(&[u64::MAX, 1], 2, Some(u64::MAX)).is_ok(), "sums do not wrap");
    }

    #[test]
    fn results_come_in_the_order_of_the_items_however_many_are_worked_on_at_once() {
        let items: Vec<usize> = (0..20).collect();
        for at_once in [0, 1, 3, 50] {
            assert_eq!(
                in_turn(&items, at_once, |i| Ok(i * i)).unwrap(),
                items.iter().map(|i| i * i).collect::<Vec<_>>()
            );
        }
        assert!(in_turn(&[] as &[usize], 2, |i| Ok(*i)).unwrap().is_empty());
    }

    #[test]
    fn an_error_keeps_no_other_item_from_being_worked_on_and_the_first_is_given() {
        let begun = AtomicUsize::new(0);
        let fails = |i: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *i >= 2 { Err(Error::Search { what: format!("{i}") }) } else { Ok(*i) }
        };
        let error = in_turn(&(0..100).collect::<Vec<_>>(), 1, fails).unwrap_err();
        assert_eq!((error.to_string(), begun.into_inner()), ("search: 2".into(), 100));
    }
}
