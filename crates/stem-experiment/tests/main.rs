//! Behaviour of trainings, comparisons and searches: one program, for linking Burn and Polars into one a file costs more than all tests take.
#![allow(clippy::unwrap_used)]

mod common;

mod compare;
mod data_page;
mod own_model;
mod ranks;
mod states;
mod training;
