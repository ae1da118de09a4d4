//! The models that are served: opened and checked, put in the place of older ones, chosen for requests.

mod golden;
mod model;
mod names;
mod registry;
mod watch;

pub(crate) use model::Model;
pub(crate) use names::check_name;
pub(crate) use registry::Registry;
pub(crate) use watch::{Looking, Source, Watch};
