//! What a trained model is like, told as the parts of a [report](stem_report::report).
//!
//! | question | module |
//! |---|---|
//! | how good is it on each task? | `quality` |
//! | whose experts do its gates read? | `gates` |
//! | how long, how full, how alike are its embeddings? | `embeddings` |
//! | how did its training go? | `learning` |
//! | what looks too bad or too good to be true? | `warnings` |
//! | what was run, and with what? | `provenance` |
//! | all of it for one run | `page` |

mod embeddings;
mod gates;
mod learning;
mod page;
mod provenance;
mod quality;
mod warnings;

pub(crate) use embeddings::{Colours, embedding_report, picture_field};
pub(crate) use gates::{add_test, gate_map};
pub(crate) use learning::learning_curve;
pub(crate) use page::page_of_run;
pub(crate) use provenance::{model_settings, provenance};
pub(crate) use quality::{spreads, task_report};
pub(crate) use warnings::{constants, of_dataset, of_model};

/// What groups of embeddings or experts are called: a task's own by its name, those of nobody by number.
fn owner_names(owners: &[usize], count: usize, tasks: &[String], thing: &str) -> Vec<String> {
    match owners {
        [] => (1..=count).map(|i| format!("{thing} {i}")).collect(),
        _ => (0..count).map(|owner| tasks.get(owner).map_or("shared", String::as_str).to_string()).collect(),
    }
}
