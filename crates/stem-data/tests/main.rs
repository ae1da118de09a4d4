//! Behaviour of reading, encoding and splitting: one program, for linking Burn and Polars into one a file costs more than all tests take.
#![allow(clippy::unwrap_used)]

mod common;

mod ago;
mod bad_data;
mod datasets;
mod encode;
mod facts;
mod given;
mod grown;
mod label_kinds;
mod late;
mod mutated;
mod over_ranks;
mod reading;
mod recipe;
mod samples;
mod serving;
mod simulator;
mod split;
mod warnings;
