//! Rows of the table that start from given vectors, and those of them that stay.
//!
//! ```text
//! w[r, g, :] = the vector of r's key, for every embedding group g          the others N(0, embedding_std^2)
//! ```
//!
//! In a model with an embedding per task and a shared one each of them starts from the vector, and each learns of its own what to make of it.
//! A frozen row has no gradient: no norm counts it, no prior pulls it, and no optimizer touches it. What is learned of a vocabulary's prior is
//! learned of the rows that are trained.

use std::sync::Arc;

use stem_core::models::ModelSpec;
use stem_core::nn::EmbeddingTable;
use stem_data::{Dataset, GivenVectors};

use crate::config::TrainConfig;
use crate::error::{Result, require};
use crate::ranks::Shard;
use crate::step::TableMode;

/// Which rows start from given vectors, and which of them no step changes.
#[derive(Debug, Clone)]
pub(crate) struct GivenRows {
    dataset: Dataset,
    /// Whether a row of the whole table is frozen. `[V]`; empty where none is
    frozen: Arc<[bool]>,
}

/// The vocabularies of a data set of which rows start from given vectors.
fn given(dataset: &Dataset) -> impl Iterator<Item = (usize, GivenVectors<'_>)> {
    (0..dataset.vocabularies().len()).filter_map(|v| Some((v, dataset.given_vectors(v)?)))
}

/// The vocabulary of a field by its name.
fn vocabulary_of(dataset: &Dataset, field: &str) -> Option<usize> {
    dataset.schema().fields.iter().find(|own| own.name == field).map(|own| own.vocabulary)
}

/// Refuses vectors of another width than the embeddings, and fields to be frozen that have no vectors.
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) with the key, what stands there and what may.
pub(crate) fn check<C: ModelSpec>(spec: &C, dataset: &Dataset, config: &TrainConfig) -> Result<()> {
    let name = |v: usize| &dataset.schema().vocabularies[v].name;
    for (v, vectors) in given(dataset) {
        let (given, widths) = (vectors.width, spec.widths(dataset.schema()));
        let other = widths.iter().find(|width| **width != given);
        let found = format!("{} beside vectors of {given} numbers for \"{}\"", other.unwrap_or(&given), name(v));
        let expected = "as many as the vectors have, for every embedding of a row starts from its vector; a field of `kind = \"vector\"` \
                        reads vectors of any length through a matrix that is learned";
        require("dim", found, expected, other.is_none())?;
    }
    for field in &config.frozen {
        let has = vocabulary_of(dataset, field).is_some_and(|v| dataset.given_vectors(v).is_some());
        let names = given(dataset).map(|(v, _)| name(v).as_str()).collect::<Vec<_>>().join(", ");
        let found = match names.is_empty() {
            true => format!("{field}, and the recipe gives vectors to no field"),
            false => format!("{field}, and the recipe gives vectors to {names} alone"),
        };
        require("frozen", found, "fields whose `vectors` the recipe names", has)?;
    }
    let expected = "row-sparse where `frozen` names fields: dense changes every row in every step";
    require("table", "dense", expected, config.frozen.is_empty() || config.table == TableMode::RowSparse)
}

impl GivenRows {
    /// `None` where no vectors are given.
    pub(crate) fn of(dataset: &Dataset, config: &TrainConfig) -> Option<Self> {
        given(dataset).next()?;
        let frozen: Vec<usize> = config.frozen.iter().filter_map(|field| vocabulary_of(dataset, field)).collect();
        let offsets = dataset.schema().offsets();
        let mut rows = vec![false; if frozen.is_empty() { 0 } else { dataset.schema().rows() }];
        for (v, vectors) in given(dataset).filter(|(v, _)| frozen.contains(v)) {
            vectors.ids.iter().for_each(|id| rows[(offsets[v] + id) as usize] = true);
        }
        Some(Self { dataset: dataset.clone(), frozen: rows.into() })
    }

    /// Whether a step leaves a row of the whole table as it is.
    pub(crate) fn is_frozen(&self, row: u32) -> bool {
        self.frozen.get(row as usize).copied().unwrap_or(false)
    }

    /// Puts the vectors into a table, or the part of one that a shard says; of all rows that have one, or of the frozen ones.
    pub(crate) fn fill(&self, table: &mut EmbeddingTable, shard: Option<&Shard>, frozen_alone: bool) {
        if frozen_alone && self.frozen.is_empty() {
            return;
        }
        let (offsets, [_, width]) = (self.dataset.schema().offsets(), table.rows().dims());
        let place = |row: u32| match shard {
            Some(shard) => shard.rows().binary_search(&row).ok(),
            None => Some(row as usize),
        };
        table.rows_mut().host_mut(|values| {
            for (v, vectors) in given(&self.dataset) {
                for (id, vector) in vectors.rows() {
                    let row = offsets[v] + id;
                    let Some(place) = place(row).filter(|_| !frozen_alone || self.is_frozen(row)) else { continue };
                    let groups = values[place * width..][..width].chunks_exact_mut(vectors.width);
                    groups.for_each(|group| group.copy_from_slice(vector));
                }
            }
        });
    }
}
