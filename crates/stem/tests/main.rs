//! Behaviour of the program `stem`, run as a user runs it: one program, for linking Burn and Polars into one a file costs more than all tests take.
//! What counts the process's memory or listens to the whole process has a program of its own beside it.
#![allow(clippy::unwrap_used)]

mod common;
mod program;

mod console;
mod days;
mod evaluate;
mod hands;
mod init;
mod inspect;
mod interrupt;
mod object_stores;
mod reference;
mod resume;
mod score;
mod score_tables;
mod serve;
mod ship;
mod train;
mod values;
