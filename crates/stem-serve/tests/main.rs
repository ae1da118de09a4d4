//! Behaviour of the server: one program, for linking Burn and Polars into one a file costs more than all tests take.
#![allow(clippy::unwrap_used)]

mod common;

mod arrow;
mod batching;
mod grpc;
mod http;
mod swap;
mod tls;
