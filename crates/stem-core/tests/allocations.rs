//! What a request allocates once everything is warm, counted.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use stem_core::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of the tenth call.
fn allocations(work: impl Fn()) -> usize {
    (0..9).for_each(|_| work());
    let region = Region::new(ALLOCATOR);
    work();
    region.change().allocations
}

/// They do not grow with the rows of a request: what is counted belongs to tensors, of which a request has as many whatever its size.
#[test]
fn a_request_allocates_no_more_for_its_rows_once_it_is_warm() {
    if DeviceSpec::from_env().unwrap() != DeviceSpec::Flex {
        return println!("skipped: other devices allocate as they like");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b");
    save(&stem(), &path);
    let predictor = Predictor::open(&path, &device()).unwrap();
    let one = rows()[..1].to_vec();
    let users = |count: usize| {
        let columns = Columns::new(count).shared("tags", "c|a").shared("age", 31.5);
        columns.column("user", (0..count as i64).map(|user| user % 50).collect::<Vec<_>>())
    };
    let (few, many) = (users(32), users(500));
    let encoded = predictor.encode(&one).unwrap();
    let score = |columns: &Columns<'_>| drop(predictor.score(&predictor.encode_columns(columns).unwrap()).unwrap());
    let (of_one, of_encoded) = (
        allocations(|| drop(predictor.predict(&one).unwrap())),
        allocations(|| drop(predictor.score(&encoded).unwrap())),
    );
    let (of_few, of_many) = (allocations(|| score(&few)), allocations(|| score(&many)));
    // a request that is asked again: columns that are lent, a buffer that is there
    let candidates: Vec<i64> = (0..500).map(|user| user % 50).collect();
    let request = predictor.request(500).shared_ref("tags", &["c", "a"][..]).shared("age", 31.5);
    let request = request.column("user", &candidates[..]);
    let scores = std::cell::RefCell::new(Vec::new());
    let of_lent = allocations(|| request.score_into(&mut scores.borrow_mut()).unwrap());
    let encoded_many = predictor.encode_columns(&many).unwrap();
    let of_encoded_many = allocations(|| drop(predictor.score(&encoded_many).unwrap()));
    println!("500 candidates that are lent {of_lent}, encoded before {of_encoded_many}");
    assert!(of_lent < of_encoded_many, "looking up and answering allocate nothing: only the forward does");
    println!("one row {of_one}, encoded {of_encoded}, 32 candidates {of_few}, 500 candidates {of_many}");
    assert!(of_encoded <= of_one && of_many <= of_few + of_few / 10, "{of_few} and {of_many}");
    assert!(
        of_encoded <= 160 && of_one <= 164 && of_many <= 171 && of_lent <= 167,
        "no more than once (docs/benchmarks.md)"
    );
}
