//! Labels that arrive late: of a row that is younger than they take, nobody knows yet, whatever its label says. A 0 may still become a 1,
//! and the 1s that are there already are not what all of these rows will come to.

use std::path::Path;

use polars::prelude::*;

use crate::columns::{ColumnWriter, Columns};
use crate::dataset::NO_LABEL;
use crate::error::{Error, Result};
use crate::recipe::{Mature, Recipe, SplitRecipe};
use crate::split::Split;
use crate::splitter::{BEFORE, LEFT_OUT, Splits, a_day};
use crate::within::{LEARNED, Spaces};

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

    /// The file of the times, to which another rank's rows are added, or which is another's to add.
    pub(crate) fn times(&mut self) -> &mut ColumnWriter<f64> {
        &mut self.times
    }

    /// The newest time of each label that arrives late.
    pub(crate) fn seen(&self) -> &[f64] {
        &self.newest
    }

    /// Adds the newest times that another rank has seen.
    pub(crate) fn add(&mut self, newest: &[f64]) {
        self.newest.iter_mut().zip(newest).for_each(|(own, other)| *own = own.max(*other));
    }

    /// The labels `[N, T]` without those of rows that are too young; and what was left out, in words. Rows that were trained on [before](BEFORE) have
    /// those labels that have become known since, and belong to their split where there are some.
    pub(crate) fn mask(
        self,
        recipe: &Recipe,
        labels: &Columns<u8>,
        splits: &mut Splits,
        scratch: &Path,
    ) -> Result<(Columns<u8>, Vec<String>)> {
        let by_days = matches!(recipe.split, SplitRecipe::Days { .. });
        let part = |split: u8| match split {
            split if split & BEFORE != 0 => Part::Before,
            split if by_days && [Split::Test as u8, LEFT_OUT].contains(&split) => Part::Tested,
            _ => Part::Trained,
        };
        let Self { labels: late, times, newest } = self;
        let clock = Clock { times: Columns::open(&times.finish()?)?, late, spaces: Spaces::of(recipe) };
        let then = clock.newest((0..labels.rows()).filter(|&row| part(splits[row]) == Part::Before));
        let now = clock.newest((0..labels.rows()).filter(|&row| part(splits[row]) != Part::Tested));
        let mut told = vec![Told::default(); labels.cols()];
        let mut masked = ColumnWriter::create(scratch.join("mature-labels"), labels.cols())?;
        let (mut own, mut learned) = (Vec::new(), vec![NO_LABEL; labels.cols()]);
        let (mut known, mut known_then) = (vec![true; labels.cols()], vec![true; labels.cols()]);
        for (row, split) in splits.iter_mut().enumerate() {
            let part = part(*split);
            own.clear();
            own.extend_from_slice(labels.row(row));
            clock.look(row, if part == Part::Tested { &newest } else { &now }, &mut known);
            clock.look(row, &then, &mut known_then);
            for (task, mark) in own.iter_mut().enumerate() {
                let has_label = usize::from(*mark != NO_LABEL);
                told[task].rows += usize::from(part == Part::Trained);
                match (known[task], part) {
                    (false, _) => {
                        *mark = NO_LABEL;
                        told[task].young += has_label * usize::from(part == Part::Trained);
                    }
                    (true, Part::Before) if known_then[task] => *mark |= LEARNED,
                    (true, Part::Before) => told[task].late += has_label,
                    (true, _) => {}
                }
            }
            if part == Part::Before {
                clock.spaces.mask(&own, &mut learned);
                let has_any = learned.iter().any(|mark| *mark != NO_LABEL);
                *split = if has_any { *split & !BEFORE } else { LEFT_OUT };
            }
            masked.write(&own)?;
        }
        let of_label = |(label, mature): &(usize, &Mature)| told[*label].text(&recipe.labels[*label].column, mature);
        let told = clock.late.iter().map(of_label).collect();
        Ok((Columns::open(&masked.finish()?)?, told))
    }
}

/// As what a row takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Trained,
    /// Trained on before.
    Before,
    /// Of a training by days: not trained on, and measured by what the whole log knows.
    Tested,
}

/// Tells which labels of a row are known.
struct Clock<'r> {
    late: Vec<(usize, &'r Mature)>,
    times: Columns<f64>, // [N, labels that arrive late]
    spaces: Spaces,
}

impl Clock<'_> {
    /// The newest time of some rows, of each label that arrives late.
    fn newest(&self, rows: impl Iterator<Item = usize>) -> Vec<f64> {
        let mut newest = vec![f64::NEG_INFINITY; self.late.len()];
        for row in rows {
            newest.iter_mut().zip(self.times.row(row)).for_each(|(newest, time)| *newest = newest.max(*time));
        }
        newest
    }

    /// Which labels of a row are known when the newest rows are these. `known [T]`
    fn look(&self, row: usize, newest: &[f64], known: &mut [bool]) {
        known.fill(true);
        for (((label, mature), time), newest) in self.late.iter().zip(self.times.row(row)).zip(newest) {
            known[*label] = *time <= newest - mature.wait;
        }
        for &task in &self.spaces.order {
            known[task] &= self.spaces.within[task].is_none_or(|space| known[space]); // is it within? nobody knows
        }
    }
}

/// What became of the rows of a label.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    rows: usize,
    young: usize,
    late: usize,
}

impl Told {
    fn text(self, label: &str, Mature { column, wait }: &Mature) -> String {
        let Self { rows, young, late } = self;
        let of_before = match late {
            0 => String::new(),
            _ => format!("; {late} rows that were trained on before take part now, for it has become known"),
        };
        format!(
            "label \"{label}\": {young} of {rows} rows are less than {wait} older than the newest \"{column}\", and take no part{of_before}"
        )
    }
}
