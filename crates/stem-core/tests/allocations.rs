//! What a request allocates once everything is warm, counted.
#![allow(clippy::unwrap_used)]

mod common;
use common::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use stem_core::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Allocations of a warm call; the fewest of some, for other threads of the process allocate too.
fn allocations(work: impl Fn()) -> usize {
    (0..9).for_each(|_| work());
    let one = |_| {
        let region = Region::new(ALLOCATOR);
        work();
        region.change().allocations
    };
    (0..5).map(one).min().unwrap()
}

/// One test: allocations are those of the process.
#[test]
fn a_request_allocates_nothing_once_it_is_warm() {
    if DeviceSpec::from_env().unwrap() != DeviceSpec::Flex {
        return println!("skipped: other devices allocate as they like");
    }
    a_request_allocates_what_it_gives_alone();
    requests_to_most_models_allocate_nothing();
}

fn a_request_allocates_what_it_gives_alone() {
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
    println!("one row {of_one}, encoded {of_encoded}, 32 candidates {of_few}, 500 candidates {of_many}");
    assert_eq!(of_lent, 0, "nothing is made but what the request brings along");
    assert_eq!((of_encoded, of_encoded_many), (1, 1), "the scores that are given");
    assert!(of_one <= 5 && of_many <= 4 && of_few == of_many, "ids and weights of the rows, and their scores");
}

/// Of which models a forward is a list of kernels; what others hold beside is told in docs/benchmarks.md.
fn requests_to_most_models_allocate_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let candidates: Vec<i64> = (0..50).collect();
    let of = |config: &ModelConfig| {
        let path = folder.path().join("b");
        save(config, &path);
        let predictor = Predictor::open(&path, &device()).unwrap();
        let request = predictor.request(50).shared_ref("tags", &["c", "a"][..]).shared("age", 31.5);
        let request = request.column("user", &candidates[..]);
        let scores = std::cell::RefCell::new(Vec::new());
        allocations(|| request.score_into(&mut scores.borrow_mut()).unwrap())
    };
    let free: Vec<_> = every_model().iter().filter(|config| of(config) == 0).map(ModelConfig::model_name).collect();
    assert_eq!(
        free.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["stem", "shared-bottom", "single-task", "omoe", "mmoe", "ple", "mmoe-me", "ple-me"]
    );
}
