//! From raw feedback logs to batches for `stem-core`.
//!
//! The modules in the order the data walks through them:
//!
//! | step | module |
//! |---|---|
//! | a TOML file says what is read, learned and split | [`Recipe`] |
//! | files of any dialect and type to one table a source | `source` |
//! | one SELECT over them to one lazy query | `sql` (what a SELECT may be), `joins`, `joined_rows` (what joins did to the rows), `leave_out`, `row_marks`, `scan`, `row_order`, `provenance` (leaks), `faults`, `locate` (where a value stands), `guard` (panics of Polars) |
//! | what raw tables hold, before there is a recipe | [`look()`] |
//! | one pass: values to dense codes on disk | `gather`, `dictionary`, `splitter` |
//! | vocabularies and moments of the training split | `encoding` |
//! | codes to ids, one folder of columns a split | `encode`, `within`, `columns` |
//! | the same for a model that there is: measured on the rows, or trained on with them | `known`, `grow` |
//! | what is counted meanwhile, and what of it is odd | [`Facts`], `warnings` |
//! | the same by several processes, each of its own files | `over_ranks`, [`ranks`] |
//! | all of it, cached | [`prepare()`] |
//! | the folder, mapped into memory | [`Dataset`] |
//! | shuffled batches, filled on a thread ahead | [`Batches`] |
//! | what the SELECT computed, computed again for rows to be scored | [`Derivation`] |
//! | tables whose rows are scored, in every format | [`Tables`], [`TableWriter`], `values` |
//! | a log whose truth is known | [`SimulatorConfig`] |
//!
//! ```
//! use stem_data::{BatchPlan, PrepareOptions, Recipe, Split, prepare};
//!
//! let folder = tempfile::tempdir().unwrap();
//! let log: String = (0..100).map(|i| format!("{},{},{}\n", i % 7, i % 5, u8::from(i % 3 == 0))).collect();
//! std::fs::write(folder.path().join("log.csv"), format!("user,item,click\n{log}")).unwrap();
//!
//! let recipe = Recipe::parse(
//!     r#"
//!     name = "tiny"
//!     group = "user"
//!     source = [{ name = "log", file = "log.csv" }]
//!     field = [{ column = "user", kind = "category" }, { column = "item", kind = "category" }]
//!     label = [{ column = "click" }]
//!     split = { kind = "random", valid = 0.2, test = 0.2, seed = 1 }
//!     "#,
//!     "recipe.toml",
//! )?;
//! let columns = folder.path().join("columns");
//! let dataset = prepare(&recipe, folder.path(), &columns, &PrepareOptions::default())?;
//! let plan = BatchPlan { size: 32, shuffle: Some((1, 0)) }; // seed 1, epoch 0
//! for batch in dataset.batches(Split::Train, plan) {
//!     batch.check(dataset.schema())?; // ids, weights [B, S], labels [B, T]
//! }
//! # Ok::<(), stem_data::Error>(())
//! ```

mod recipe;
mod source;
mod sql;
mod joins;
mod joined_rows;
mod leave_out;
mod row_marks;
mod guard;
mod scan;
mod locate;
mod row_order;
mod provenance;
mod faults;
mod look;
mod dictionary;
mod transform;
mod numbers;
mod gather;
mod over_ranks;
mod split;
mod splitter;
mod encoding;
mod known;
mod given;
mod grow;
mod slices;
mod days;
mod encode;
mod facts;
mod targets;
mod within;
mod mature;
mod mapped;
mod codes;
mod columns;
mod ids;
mod warnings;
mod leak;
mod room;
mod memory;
mod scratch;
pub mod ranks;
mod prepare;
mod manifest;
mod dataset;
mod profile;
mod shuffle;
mod batches;
mod negatives;
mod values;
mod derive;
mod tables;
mod simulator;
mod random;
mod progress;
mod stop;
mod error;

pub use batches::{BatchPlan, Batches, EpochRows, part_of};
pub use dataset::Dataset;
pub use days::days;
pub use derive::Derivation;
pub use error::{Error, Fault, Place, Result};
pub use facts::{
    CopyFacts, CountBin, DayFacts, Facts, FieldCounts, FieldFacts, GroupFacts, Histogram, NumberFacts, ValueFacts,
};
pub use given::GivenVectors;
pub use known::{Known, Rows};
pub use look::{
    Look, LookColumn, RawType, check_sources, column_names, files_of, is_pattern, look, nearest_name, start_of,
};
pub use manifest::DATA_PAGE;
pub use memory::available_memory;
pub use prepare::{PrepareOptions, prepare, prepare_grown, prepare_known, prepare_over};
pub use profile::{FieldProfile, Profile};
pub use progress::{Bar, Progress};
pub use recipe::{
    ColumnType, Dialect, Feedback, FieldRecipe, Format, Growth, Kind, LabelRecipe, Mature, Quote, Recipe, Source,
    SplitRecipe, VectorTable,
};
pub use simulator::SimulatorConfig;
pub use slices::Slice;
pub use source::sniff;
pub use split::{Split, SplitStatistics};
pub use stop::StopFlag;
pub use tables::{Chunk, TableFormat, TableWriter, Tables};
