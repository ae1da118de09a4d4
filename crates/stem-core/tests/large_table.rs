//! Scoring does not grow with the vocabulary, by plain operations either: bytes are counted, not time.
#![allow(clippy::unwrap_used)]

mod common;
use std::alloc::System;

use common::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use stem_core::models::*;
use stem_core::nn::*;
use stem_core::*;

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn scoring_a_few_rows_copies_no_table() {
    let mut schema = schema();
    schema.vocabularies[0].rows = 200_000;
    let config = ModelConfig::Stem(stem_config());
    let table = EmbeddingTable::init(&schema, &config.widths(&schema), 1.0, 7, &device()); // 9.6 MB
    let (_, network) = init(&config, &device());
    let layout = SlotLayout::new(&schema, table.widths());
    let slots = schema.slots();
    let ids = (0..2 * slots).map(|i| (i * 31_337 % 200_000) as u32).collect();
    let batch = Batch::new(2, ids, vec![1.0; 2 * slots]);
    let scored = || score(&network, &table, &layout, &schema, &batch);
    let plain = || fused::without(scored);
    (0..3).for_each(|_| drop(plain())); // what is set up once is set up; a GPU's kernels are tried out in the first calls
    let region = Region::new(COUNTED);
    let (plain, bytes) = (plain(), region.change().bytes_allocated);
    assert!(bytes < 9_600_000 / 4, "{bytes} bytes to score two rows"); // a copy of the table takes all of them
    let close = plain.iter().zip(scored()).all(|(a, b)| (a - b).abs() < tolerance());
    assert!(close && plain.len() == 4, "{plain:?}");
}
