//! The arena, and the bytes made of its buffers. It belongs to the process: these tests take turns.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn_std::{Bytes, DType, SplitPolicy, TensorData};
use proptest::prelude::*;
use stem_kernels::arena::{Buffer, held, release, set_limit, take};

/// Empty shelves until it is dropped.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    release();
    assert_eq!(held(), 0);
    turn
}

fn counting(len: usize) -> Buffer {
    let mut buffer = take(len);
    buffer.iter_mut().enumerate().for_each(|(i, x)| *x = i as f32);
    buffer
}

fn numbers(bytes: &Bytes) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect()
}

fn expected(len: usize) -> Vec<f32> {
    (0..len).map(|i| i as f32).collect()
}

#[test]
fn a_buffer_that_was_dropped_is_used_again() {
    let _turn = turn();
    let first = take(100_000);
    assert!(first.iter().all(|x| *x == 0.0));
    let place = first.as_ptr();
    drop(first);
    assert!((400_000..=450_000).contains(&held()));
    let again = take(99_000); // about the same length
    assert_eq!((again.as_ptr(), again.len(), held()), (place, 99_000, 0));
    drop(again);
    release();
    assert_eq!(held(), 0);
}

#[test]
fn small_buffers_are_kept_too_and_nothing_is_not() {
    let _turn = turn();
    drop([take(0), take(1), take(100)]);
    assert_eq!(held(), 4 * (16 + 112));
    release();
}

#[test]
fn what_lies_unused_never_exceeds_the_limit_and_what_was_used_longest_ago_goes_first() {
    let _turn = turn();
    let before = set_limit(1 << 20);
    let is_kept = |len: usize| {
        let all = held();
        let _buffer = take(len);
        held() < all
    };
    drop([50_000, 70_000, 90_000].map(take)); // 200, 280 and 360 kB, and up to an eighth more
    assert!(is_kept(70_000) && is_kept(90_000) && is_kept(50_000), "all are within the limit");
    drop(take(60_000)); // 240 kB that are too much: of the others, 70_000 was used longest ago
    assert!(held() <= 1 << 20);
    assert!(is_kept(50_000) && is_kept(60_000) && is_kept(90_000) && !is_kept(70_000));
    drop(take(1 << 20)); // more than may lie unused, alone
    assert!(held() <= 1 << 20);
    set_limit(0);
    assert_eq!(held(), 0);
    drop(take(100));
    assert_eq!(held(), 0, "nothing is kept");
    assert_eq!(set_limit(before), 0);
}

#[test]
fn no_memory_is_handed_out_twice() {
    let _turn = turn();
    let work = |seed: usize| {
        for round in 0..200 {
            let mut mine: Vec<_> = (0..4).map(|i| take(5000 + 100 * ((seed + i + round) % 3))).collect();
            for (i, buffer) in mine.iter_mut().enumerate() {
                buffer.fill((1000 * seed + i) as f32);
            }
            for (i, buffer) in mine.iter().enumerate() {
                assert!(buffer.iter().all(|x| *x == (1000 * seed + i) as f32));
            }
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|seed| drop(scope.spawn(move || work(seed)))));
}

proptest! {
    #[test]
    fn buffers_are_as_long_as_asked_and_start_at_a_cache_line(len in 0usize..20_000) {
        let _turn = turn();
        let buffer = take(len);
        prop_assert_eq!(buffer.len(), len);
        prop_assert!(buffer.as_ptr().addr().is_multiple_of(64));
    }

    #[test]
    fn bytes_hold_the_numbers_and_give_the_memory_back(len in 0usize..20_000) {
        let _turn = turn();
        let buffer = counting(len);
        let place = buffer.as_ptr().addr();
        let bytes = buffer.into_bytes();
        prop_assert_eq!((bytes.len(), bytes.capacity(), bytes.as_ptr().addr()), (4 * len, 4 * len, place));
        prop_assert_eq!(numbers(&bytes), expected(len));
        prop_assert_eq!(held(), 0);
        drop(bytes);
        prop_assert_eq!(held() > 0, len > 0);
        prop_assert!(len == 0 || take(len).as_ptr().addr() == place);
    }

    #[test]
    fn bytes_that_grow_keep_what_they_hold(len in 0usize..10_000, more in 0usize..50_000) {
        let _turn = turn();
        let mut bytes = counting(len).into_bytes();
        bytes.extend_from_byte_slice(&vec![7; more]);
        prop_assert_eq!(bytes.len(), 4 * len + more);
        prop_assert!(bytes[4 * len..].iter().all(|byte| *byte == 7));
        prop_assert_eq!(&numbers(&bytes)[..len], &*expected(len));
    }

    #[test]
    fn bytes_split_into_what_they_hold(len in 1usize..10_000, at in 0usize..10_000, owned: bool) {
        let _turn = turn();
        let (at, policy) = (4 * at.min(len), if owned { SplitPolicy::Owned } else { SplitPolicy::Shared });
        let (low, high) = counting(len).into_bytes().split(at, policy).unwrap();
        prop_assert_eq!([numbers(&low), numbers(&high)].concat(), expected(len));
    }
}

#[test]
fn copies_of_bytes_are_apart() {
    let _turn = turn();
    for len in [10, 10_000] {
        let mut bytes = counting(len).into_bytes();
        let copy = bytes.clone();
        bytes[..4].copy_from_slice(&5.0f32.to_ne_bytes());
        assert_eq!((numbers(&bytes)[0], numbers(&bytes)[1]), (5.0, 1.0));
        assert_eq!(numbers(&copy), expected(len));
        assert_eq!(copy.try_into_vec::<f32>().unwrap(), expected(len)); // memory of its own
    }
}

#[test]
fn shared_bytes_are_copied_when_written_to() {
    let _turn = turn();
    let bytes = counting(10_000).into_bytes().shared();
    let mut other = bytes.clone();
    assert_eq!(bytes.as_ptr(), other.as_ptr());
    other[..4].copy_from_slice(&5.0f32.to_ne_bytes());
    assert_eq!((numbers(&bytes), numbers(&other)[0]), (expected(10_000), 5.0));
    drop((bytes, other));
    assert!(held() > 0);
}

#[test]
fn bytes_are_not_taken_over_by_a_vector() {
    let _turn = turn();
    for len in [0, 16, 10_000] {
        let bytes = counting(len).into_bytes().try_into_vec::<f32>().unwrap_err();
        assert_eq!(numbers(&bytes), expected(len));
        let data = TensorData::from_bytes(bytes, [len], DType::F32);
        assert_eq!(data.try_to_vec::<f32>().unwrap(), expected(len));
        assert_eq!(data.try_into_vec::<f32>().unwrap(), expected(len));
    }
}
