//! Behaviour of the importer, and parity with the reference: one program, for linking Burn and Polars into one a file costs more than all tests take.
#![allow(clippy::unwrap_used)]

mod common;

mod checkpoint;
mod import;
mod import_config;
mod import_models;
mod parity;
