//! The row of a domain that training did not see: the mean of those that it saw, so that its gates are about the mean domain's.
//!
//! A training in which some row reads the row of the unseen (values below `min_count`, nulls, keys that are shown as unseen) learns it, and it is
//! left alone. Otherwise no step would ever touch it, and gates would read numbers that were drawn.

use burn::tensor::{Int, Tensor};
use stem_core::models::ModelSpec;
use stem_core::nn::RowMatrix;
use stem_data::{BatchPlan, Dataset, Split};

use crate::counts::RowCounts;
use crate::error::Result;

/// Which rows are of domains that training saw, and which is of all others.
pub(crate) struct UnseenDomain {
    seen: Vec<i32>,
    unseen: i32,
}

impl UnseenDomain {
    /// `None` where a model has no domain, or where its row of the unseen is learned. `shown` is how many keys a training shows as unseen.
    ///
    /// # Errors
    /// Batches that do not fit the schema.
    pub(crate) fn new(spec: &impl ModelSpec, dataset: &Dataset, shown: f64) -> Result<Option<Self>> {
        let (Some(domain), false) = (spec.front().domain, shown > 0.0) else { return Ok(None) };
        let schema = dataset.schema();
        let Some(field) = schema.fields.iter().find(|field| field.name == domain.field) else { return Ok(None) };
        if schema.vocabularies[field.vocabulary].hashed.is_some() {
            return Ok(None); // every value has a row
        }
        let first = schema.offsets()[field.vocabulary];
        let unseen = first + schema.vocabularies[field.vocabulary].rows as u32 - 1;
        let counts = RowCounts::of(schema, dataset.batches(Split::Train, BatchPlan { size: 1 << 14, shuffle: None }))?;
        let seen: Vec<i32> =
            (first + 1..unseen).filter(|row| counts.occurrences(*row) > 0).map(|row| row as i32).collect();
        let is_learned = counts.occurrences(unseen) > 0 || seen.is_empty();
        Ok((!is_learned).then_some(Self { seen, unseen: unseen as i32 }))
    }

    /// The row that [`put`](Self::put) changes.
    pub(crate) fn row(&self) -> u32 {
        self.unseen as u32
    }

    /// `e_unseen = mean over the domains d that training saw of e_d`
    pub(crate) fn put(&self, rows: &mut RowMatrix) {
        let device = rows.tensor().device();
        let mean = rows.gather(Tensor::<1, Int>::from_ints(self.seen.as_slice(), &device)).mean_dim(0); // [1, W]
        rows.scatter(Tensor::from_ints([self.unseen], &device), mean);
    }
}
