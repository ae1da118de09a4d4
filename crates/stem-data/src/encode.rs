//! From codes to the columns of each split, in the order of the rows.

use std::path::Path;

use stem_core::files::create_folder;
use stem_core::{Field, Transform};

use crate::columns::ColumnWriter;
use crate::dataset::NO_LABEL;
use crate::dictionary::PAD;
use crate::encoding::{Encoding, number_places};
use crate::error::{Error, Result};
use crate::gather::CodedRows;
use crate::recipe::{FieldRecipe, Recipe};
use crate::split::{Split, SplitStatistics};
use crate::stop::StopFlag;
use crate::within::Spaces;

/// Rows that are encoded before they are written.
const CHUNK: usize = 1 << 14;

struct SplitWriter {
    ids: ColumnWriter<u32>,
    numbers: ColumnWriter<f32>,
    labels: ColumnWriter<u8>,
    groups: Option<ColumnWriter<u32>>,
    statistics: SplitStatistics,
    // rows that wait to be written
    waiting: (Vec<u32>, Vec<f32>, Vec<u8>, Vec<u32>),
}

/// What was counted on the way.
pub(crate) struct Encoded {
    pub(crate) statistics: [SplitStatistics; 3],
    /// Pairs of tasks whose labels are the same in all of training.
    pub(crate) same: Vec<(usize, usize)>,
    /// Checksum of every file, by its path in the folder.
    pub(crate) checksums: Vec<(String, String)>,
}

/// Writes the columns below `folder`; `seen` gets the number of rows that are done.
pub(crate) fn encode(
    recipe: &Recipe,
    rows: &CodedRows,
    encoding: &Encoding,
    folder: &Path,
    stop: &StopFlag,
    seen: impl Fn(u64),
) -> Result<Encoded> {
    let (vocabulary, tasks) = (rows.vocabulary_of_fields(), recipe.labels.len());
    let slots = encoding.schema.slots();
    let inputs = inputs(recipe, encoding, &vocabulary);
    let cols = inputs.iter().map(Input::numbers).sum();
    let create = |split: Split| -> Result<SplitWriter> {
        let folder = folder.join(split.name());
        create_folder(&folder)?;
        Ok(SplitWriter {
            ids: ColumnWriter::create(folder.join("ids.u32"), slots)?,
            numbers: ColumnWriter::create(folder.join("numbers.f32"), cols)?,
            labels: ColumnWriter::create(folder.join("labels.u8"), tasks)?,
            groups: rows.groups.as_ref().map(|_| ColumnWriter::create(folder.join("groups.u32"), 1)).transpose()?,
            statistics: SplitStatistics { rows: 0, positives: vec![0; tasks], missing: vec![0; tasks] },
            waiting: Default::default(),
        })
    };
    let mut writers = [create(Split::Train)?, create(Split::Valid)?, create(Split::Test)?];
    let spaces = Spaces::of(recipe);
    let mut same: Vec<(usize, usize)> = (0..tasks).flat_map(|a| (a + 1..tasks).map(move |b| (a, b))).collect();
    let mut masked = vec![0; tasks];
    rows.for_each_row(recipe, |row, fields| {
        let split = rows.splits[row];
        if row % CHUNK == 0 {
            if stop.is_set() {
                return Err(Error::Stopped);
            }
            seen(row as u64);
        }
        let Some(writer) = writers.get_mut(split as usize) else { return Ok(()) }; // left out
        let (ids, numbers, labels, groups) = &mut writer.waiting;
        let all = &rows.numbers.values()[row * rows.numbers.cols()..][..rows.numbers.cols()]; // the numbers of the row
        for (f, (codes, input)) in fields.iter().zip(&inputs).enumerate() {
            match input {
                Input::Keys { ids: own } => {
                    ids.extend(codes.iter().map(|&code| own[code as usize]));
                    ids.extend((codes.len()..rows.longest[f]).map(|_| own[PAD as usize]));
                }
                Input::Bucket { place, first, edges } => {
                    let bucket = edges.partition_point(|edge| *edge <= all[*place]) as u32;
                    ids.push(first + if all[*place].is_nan() { edges.len() as u32 + 2 } else { 1 + bucket });
                }
                Input::Numbers { place, first, field } => {
                    for (number, &value) in (0..).zip(&all[*place..][..field.kind.slots()]) {
                        let weight = if value.is_nan() { 0.0 } else { field.kind.number_weight(value) };
                        if !weight.is_finite() {
                            let (column, expected) =
                                (field.columns().join(", "), "a number that 32-bit floats can hold");
                            return Err(Error::Value { column, row, expected, found: value.to_string() });
                        }
                        ids.push(first + number);
                        numbers.push(weight);
                    }
                }
            }
        }
        spaces.mask(&rows.labels.values()[row * tasks..(row + 1) * tasks], &mut masked);
        for (task, label) in masked.iter().enumerate() {
            writer.statistics.positives[task] += usize::from(*label == 1);
            writer.statistics.missing[task] += usize::from(*label == NO_LABEL);
        }
        if split == Split::Train as u8 {
            same.retain(|&(a, b)| masked[a] == masked[b]);
        }
        labels.extend_from_slice(&masked);
        groups.extend(rows.groups.iter().map(|groups| groups.values()[row]));
        writer.statistics.rows += 1;
        if writer.statistics.rows % CHUNK == 0 {
            writer.flush()?;
        }
        Ok(())
    })?;
    let mut statistics = Vec::with_capacity(3);
    let mut checksums = Vec::new();
    for (split, mut writer) in Split::ALL.iter().zip(writers) {
        writer.flush()?;
        statistics.push(writer.statistics);
        let mut sealed = |name: &str, checksum: String| checksums.push((format!("{}/{name}", split.name()), checksum));
        sealed("ids.u32", writer.ids.seal()?);
        sealed("numbers.f32", writer.numbers.seal()?);
        sealed("labels.u8", writer.labels.seal()?);
        if let Some(groups) = writer.groups {
            sealed("groups.u32", groups.seal()?);
        }
    }
    let statistics = <[SplitStatistics; 3]>::try_from(statistics).expect("three splits");
    Ok(Encoded { statistics, same, checksums })
}

/// Where the ids and weights of a field come from.
enum Input<'e> {
    /// Codes.
    Keys { ids: &'e [u32] },
    /// The number at `place`, by the bucket that it falls into; ids count from `first`.
    Bucket { place: usize, first: u32, edges: &'e [f64] },
    /// The numbers from `place` on, each with a row of its own from `first` on.
    Numbers { place: usize, first: u32, field: &'e Field },
}

impl Input<'_> {
    /// Numbers of a row that are written.
    fn numbers(&self) -> usize {
        match self {
            Self::Numbers { field, .. } => field.kind.slots(),
            _ => 0,
        }
    }
}

fn inputs<'e>(recipe: &Recipe, encoding: &'e Encoding, vocabulary: &[usize]) -> Vec<Input<'e>> {
    let fields = recipe.fields.iter().zip(&encoding.schema.fields).zip(vocabulary).zip(number_places(recipe));
    let input = |(((raw, field), &v), place): (((&FieldRecipe, &'e Field), &usize), usize)| {
        let ids = &encoding.ids[v];
        match field.transforms.last() {
            _ if raw.numbers() == 0 => Input::Keys { ids },
            Some(Transform::Bucketize { edges }) => Input::Bucket { place, first: ids[0], edges },
            _ => Input::Numbers { place, first: ids[0], field },
        }
    };
    fields.map(input).collect()
}

impl SplitWriter {
    fn flush(&mut self) -> Result<()> {
        let (ids, numbers, labels, groups) = &mut self.waiting;
        self.ids.write_marked(ids)?;
        self.numbers.write_marked(numbers)?;
        self.labels.write_marked(labels)?;
        if let Some(file) = &mut self.groups {
            file.write_marked(groups)?;
        }
        ids.clear();
        numbers.clear();
        labels.clear();
        groups.clear();
        Ok(())
    }
}
