//! Behaviour of the learner: one program, for linking Burn and Polars into one a file costs more than all tests take.
//! What counts the process's memory or listens to the whole process has a program of its own beside it.
#![allow(clippy::unwrap_used)]

mod common;

mod ago;
mod balance;
mod calibration;
mod config;
mod devices;
mod given;
mod incremental;
mod interest;
mod learner;
mod leftovers;
mod moments;
mod optimizer;
mod optimizer_config;
mod ranks;
mod ranks_labels;
mod ranks_resume;
mod reproducible;
mod resume;
mod step;
mod values;
mod warm;
mod weights;
