//! Search: the settings with which each model does best on validation, so that every model of a comparison is tuned alike.
//!
//! | | what |
//! |---|---|
//! | [`SearchConfig`] | the search as its TOML says it: how many configurations, which keys, which values |
//! | [`Values`] | what one key may be: a list, or a range |
//! | [`Space`] | the keys that a model has, and configurations drawn from them |
//! | [`Settings`] | one configuration: what it sets beside the experiment |
//! | [`Rungs`], [`survivors`] | successive halving: many configurations for few epochs, the best of them for more |
//! | `rungs`, `candidate` | the trainings themselves, judged on the validation split |
//! | `summary` | what was searched, told to a reader |
//!
//! ```toml
//! method = "random"         # or "grid": lists and ranges of integers only
//! trials = 9                # configurations per model, the experiment's own among them
//! seed = 1
//! first_epochs = 2          # of the first rung
//! keep = 3                  # of every 3 configurations one goes on, with 3 times the epochs
//!
//! [space]
//! "train.learning_rate" = { low = 1e-4, high = 1e-2, log = true }
//! "train.embedding_l2" = [0.0, 1e-6, 1e-5, 1e-4]
//! "model.hidden.dropout" = [0.0, 0.2]               # of every model that has the key
//! "stem.shared_experts" = { low = 1, high = 4 }     # of one model; an integer, as both bounds are
//! ```

mod candidate;
mod config;
mod halving;
mod settings;
mod rungs;
mod space;
mod summary;
mod unused;
mod values;

pub use config::{Method, SearchConfig};
pub use halving::{Rung, Rungs, survivors};
pub(crate) use rungs::Search;
pub use settings::Settings;
pub use space::Space;
pub use values::Values;
