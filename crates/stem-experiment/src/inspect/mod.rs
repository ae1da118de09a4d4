//! What a trained model is like, told as the parts of a [report](stem_report::report).
//!
//! | question | module |
//! |---|---|
//! | how good is it on each task? | `quality` |
//! | whose experts do its gates read? | `gates` |
//! | how long, how full, how alike are its embeddings? | `embeddings` |
//! | how did its training go? | `learning` |
//! | how alike are the tasks to each field? | `priors` |
//! | what looks too bad or too good to be true? | `warnings` |
//! | what was run, and with what? | `provenance` |
//! | who of the users gives how much of which feedback? | `strata` |
//! | all of it for the runs of a model | `model` |
//! | the page of one run | `page` |

mod embeddings;
mod gates;
mod learning;
mod model;
mod page;
mod priors;
mod provenance;
mod quality;
mod strata;
mod warnings;

pub(crate) use embeddings::{Colours, picture_field};
pub(crate) use model::{ModelRuns, TestScores};
pub(crate) use page::page_of_run;
pub(crate) use provenance::{model_settings, provenance};
pub(crate) use quality::{spread, spreads};
pub(crate) use strata::{Pair, pairs};
pub(crate) use warnings::{constants, of_dataset, of_model, of_training};

use embeddings::embedding_report;
use gates::gate_map;
use learning::learning_curve;
pub(crate) use quality::task_report;

/// What groups of embeddings or experts are called: a task's own by its name, those of nobody by number.
fn owner_names(owners: &[usize], count: usize, tasks: &[String], thing: &str) -> Vec<String> {
    match owners {
        [] => (1..=count).map(|i| format!("{thing} {i}")).collect(),
        _ => (0..count).map(|owner| tasks.get(owner).map_or("shared", String::as_str).to_string()).collect(),
    }
}
