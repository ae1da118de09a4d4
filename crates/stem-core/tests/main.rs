//! Behaviour of the models, the bundle and the predictor: one program, for linking Burn and Polars into one a file costs more than all tests take.
//! What counts the process's memory or listens to the whole process has a program of its own beside it.
#![allow(clippy::unwrap_used)]

mod common;

mod aftb;
mod bundle;
mod cross;
mod cures;
mod damage;
mod delta;
mod front;
mod fused;
mod gaps;
mod golden;
mod hidden;
mod losses;
mod models;
mod numbers;
mod predictor;
mod stored;
mod towers;
mod wiring;
