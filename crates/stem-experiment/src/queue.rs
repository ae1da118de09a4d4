//! Pieces of work, some at the same time, also by several processes.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stem_core::lock::{Lock, LockError};
use stem_train::StopFlag;

use crate::error::{Error, Result};

/// Time between two looks at what other processes are at.
pub(crate) const A_WHILE: Duration = Duration::from_millis(200);

/// How several processes share out items.
pub(crate) struct Shared<'s, I> {
    /// The folder of an item, which all of them see: a lock there says that one is at it.
    pub(crate) folder: &'s (dyn Fn(&I) -> PathBuf + Sync),
    /// Ends the waiting.
    pub(crate) stop: &'s StopFlag,
}

/// Does `work` on every item, `at_once` of them at the same time, and gives what came of it in the order of the items. An error
/// keeps no other item from being worked on; in the end the error of the first item that has one is given. Where the items are `shared` with other
/// processes, work on one that another has done finds it done, and gives the same; one that another is at is waited for.
pub(crate) fn in_turn<I: Sync, T: Send>(
    items: &[I],
    at_once: usize,
    shared: Option<&Shared<'_, I>>,
    work: impl Fn(&I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let todo = Mutex::new((0..items.len()).collect::<VecDeque<usize>>());
    let todo = || todo.lock().unwrap_or_else(PoisonError::into_inner);
    let done: Vec<Mutex<Option<Result<T, Error>>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let worker = || {
        let mut passed_over = 0; // since one was free
        loop {
            let Some(i) = todo().pop_front() else { break };
            let item = &items[i];
            let shared = shared.filter(|shared| !shared.stop.is_set()); // who was asked to stop begins nothing
            let result = match shared.map(|shared| Lock::of(&(shared.folder)(item))) {
                Some(Err(LockError::Taken { .. })) => {
                    todo().push_back(i);
                    passed_over += 1;
                    if passed_over >= todo().len() {
                        std::thread::sleep(A_WHILE);
                        passed_over = 0;
                    }
                    continue;
                }
                Some(Err(error)) => Err(error.into()),
                Some(Ok(lock)) if !lock.is_held() => Err(Error::NoLocks { folder: lock.folder().to_path_buf() }),
                Some(Ok(_lock)) => work(item),
                None => work(item),
            };
            passed_over = 0;
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn of_several_that_share_items_each_is_worked_on_by_one_at_a_time_and_all_have_all_results() {
        let out = tempfile::tempdir().unwrap();
        let items: Vec<usize> = (0..12).collect();
        let folder = |i: &usize| out.path().join(i.to_string());
        let (stop, made) = (StopFlag::default(), AtomicUsize::new(0));
        let shared = Shared { folder: &folder, stop: &stop };
        // as a run does: what is there is read, and what is not is made, under the lock
        let work = |i: &usize| {
            let file = folder(i).join("result");
            if !file.exists() {
                made.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
                std::fs::write(&file, (i * i).to_string()).unwrap();
            }
            Ok(std::fs::read_to_string(file).unwrap().parse::<usize>().unwrap())
        };
        let found = std::thread::scope(|scope| {
            let hands: Vec<_> =
                (0..3).map(|_| scope.spawn(|| in_turn(&items, 1, Some(&shared), work).unwrap())).collect();
            hands.into_iter().map(|hand| hand.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(found, vec![items.iter().map(|i| i * i).collect::<Vec<_>>(); 3]);
        assert_eq!(made.load(Ordering::Relaxed), items.len(), "none was made twice");
        let taken = Lock::of(&folder(&3)).unwrap();
        stop.stop();
        assert_eq!(in_turn(&items, 1, Some(&shared), work).unwrap().len(), 12, "who was asked to stop does not wait");
        drop(taken);
    }

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
                in_turn(&items, at_once, None, |i| Ok(i * i)).unwrap(),
                items.iter().map(|i| i * i).collect::<Vec<_>>()
            );
        }
        assert!(in_turn(&[] as &[usize], 2, None, |i| Ok(*i)).unwrap().is_empty());
    }

    #[test]
    fn an_error_keeps_no_other_item_from_being_worked_on_and_the_first_is_given() {
        let begun = AtomicUsize::new(0);
        let fails = |i: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *i >= 2 { Err(Error::Search { what: format!("{i}") }) } else { Ok(*i) }
        };
        let error = in_turn(&(0..100).collect::<Vec<_>>(), 1, None, fails).unwrap_err();
        assert_eq!((error.to_string(), begun.into_inner()), ("search: 2".into(), 100));
    }
}
