//! Behaviour of metrics, verdicts and pages: one program, for linking Burn and Polars into one a file costs more than all tests take.
#![allow(clippy::unwrap_used)]

mod report_page;
mod report_sample;

mod data_page;
mod metrics;
mod report;
mod report_fair;
mod report_parts;
mod report_verdict;
