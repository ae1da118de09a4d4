//! Labels that arrive late: of a row that is younger than they take, nobody knows yet, whatever its label says. A 0 may still become a 1,
//! and the 1s that are there already are not what all of these rows will come to.

use std::path::Path;

use polars::prelude::*;

use crate::columns::{ColumnWriter, Columns};
use crate::dataset::NO_LABEL;
use crate::error::{Error, Result};
use crate::recipe::{Mature, Recipe};
use crate::splitter::a_day;

/// Sees the times of the rows chunk by chunk.
pub(crate) struct Maturity<'r> {
    /// Places of the labels that arrive late, and when.
    labels: Vec<(usize, &'r Mature)>,
    times: ColumnWriter<f64>, // [N, labels that arrive late]
    newest: Vec<f64>,
}

impl<'r> Maturity<'r> {
    /// `None` where no label arrives late.
    pub(crate) fn new(recipe: &'r Recipe, scratch: &Path) -> Result<Option<Self>> {
        let labels = recipe.labels.iter().enumerate();
        let labels: Vec<_> = labels.filter_map(|(place, label)| Some((place, label.mature.as_ref()?))).collect();
        if labels.is_empty() {
            return Ok(None);
        }
        let times = ColumnWriter::create(scratch.join("times"), labels.len())?;
        Ok(Some(Self { newest: vec![f64::NEG_INFINITY; labels.len()], labels, times }))
    }

    pub(crate) fn see(&mut self, chunk: &DataFrame, first: usize) -> Result<()> {
        let width = self.labels.len();
        let mut values = vec![0.0; chunk.height() * width];
        for (place, (_, mature)) in self.labels.iter().enumerate() {
            let column = chunk.column(&mature.column).map_err(Error::query)?;
            let unit = a_day(column.dtype()).unwrap_or(1) as f64; // numbers are taken as they count
            let times = column.strict_cast(&DataType::Float64).map_err(Error::query)?;
            for (row, time) in times.f64().map_err(Error::query)?.iter().enumerate() {
                let time = time.filter(|time| time.is_finite()).ok_or_else(|| {
                    Error::value(&mature.column, first + row, "a number, a date or a time", "null".into())
                })?;
                values[row * width + place] = time / unit;
                self.newest[place] = self.newest[place].max(time / unit);
            }
        }
        self.times.write(&values)
    }

    /// The labels `[N, T]` without those of rows that are too young; and what was left out, in words.
    pub(crate) fn mask(
        self,
        recipe: &Recipe,
        labels: &Columns<u8>,
        scratch: &Path,
    ) -> Result<(Columns<u8>, Vec<String>)> {
        let times: Columns<f64> = Columns::open(&self.times.finish()?)?;
        let mut masked = ColumnWriter::create(scratch.join("mature-labels"), labels.cols())?;
        let mut young = vec![0usize; self.labels.len()];
        let mut own = Vec::new();
        for row in 0..labels.rows() {
            own.clear();
            own.extend_from_slice(labels.row(row));
            for (place, (label, mature)) in self.labels.iter().enumerate() {
                if times.row(row)[place] > self.newest[place] - mature.wait && own[*label] != NO_LABEL {
                    own[*label] = NO_LABEL;
                    young[place] += 1;
                }
            }
            masked.write(&own)?;
        }
        let told = self.labels.iter().zip(&young).map(|((label, mature), young)| {
            let (name, rows, Mature { column, wait }) = (&recipe.labels[*label].column, labels.rows(), mature);
            format!("label \"{name}\": {young} of {rows} rows are less than {wait} older than the newest \"{column}\", and take no part")
        });
        Ok((Columns::open(&masked.finish()?)?, told.collect()))
    }
}
