//! From codes to the columns of each split, in the order of the rows.

use std::path::Path;

use stem_core::files::create_folder;
use stem_core::{Field, FieldKind, Transform};

use crate::codes::Block;
use crate::columns::ColumnWriter;
use crate::dataset::NO_LABEL;
use crate::encoding::{Encoding, number_places};
use crate::error::{Error, Result};
use crate::gather::CodedRows;
use crate::ids::{IdRows, IdsWriter};
use crate::recipe::{Feedback, FieldRecipe, Recipe};
use crate::split::{Split, SplitStatistics};
use crate::targets::{masked_values, value_places};
use crate::within::Spaces;

struct SplitWriter {
    ids: IdsWriter,
    numbers: ColumnWriter<f32>,
    labels: ColumnWriter<u8>,
    values: Option<ColumnWriter<f32>>,
    groups: Option<ColumnWriter<u32>>,
    weights: Option<ColumnWriter<f32>>,
    slices: Option<ColumnWriter<u32>>,
    statistics: SplitStatistics,
}

/// Which value each row has of the columns that a measurement is cut by.
pub(crate) const SLICES: &str = "slices.u32";
/// The labels that are numbers.
pub(crate) const VALUES: &str = "values.f32";
/// How much each row counts.
pub(crate) const WEIGHTS: &str = "weights.f32";

/// What was counted on the way.
pub(crate) struct Encoded {
    pub(crate) statistics: [SplitStatistics; 3],
    /// Pairs of tasks whose labels are the same in all of training.
    pub(crate) same: Vec<(usize, usize)>,
    /// Checksum of every file, by its path in the folder.
    pub(crate) checksums: Vec<(String, String)>,
}

/// A sequence with a value for each value of another.
struct Beside {
    /// Its place among the fields.
    field: usize,
    column: String,
    /// The place and the name of the other.
    sequence: usize,
    of: String,
}

/// Writes the columns of the rows that it sees.
pub(crate) struct Encoder<'r> {
    beside: Vec<Beside>,
    rows: &'r CodedRows,
    inputs: Vec<Input<'r>>,
    /// Numbers of a row.
    cols: usize,
    writers: [SplitWriter; 3],
    spaces: Spaces,
    /// Where each label's number lies among those of a row. `[T]`
    places: Vec<Option<usize>>,
    /// Pairs of tasks whose labels were the same so far.
    same: Vec<(usize, usize)>,
    masked: Vec<u8>, // [T]
    labels: Vec<u8>,
    values: Vec<f32>,
}

impl<'r> Encoder<'r> {
    /// Begins the columns below `folder`.
    pub(crate) fn new(recipe: &Recipe, rows: &'r CodedRows, encoding: &'r Encoding, folder: &Path) -> Result<Self> {
        let (vocabulary, tasks) = (rows.vocabulary_of_fields(), recipe.labels.len());
        let inputs = inputs(recipe, encoding, &vocabulary);
        let cols = inputs.iter().map(Input::numbers).sum();
        let create = |split: Split| -> Result<SplitWriter> {
            let folder = folder.join(split.name());
            create_folder(&folder)?;
            Ok(SplitWriter {
                ids: IdsWriter::create(&folder, &encoding.schema)?,
                numbers: ColumnWriter::create(folder.join("numbers.f32"), cols)?,
                labels: ColumnWriter::create(folder.join("labels.u8"), tasks)?,
                values: rows
                    .values
                    .as_ref()
                    .map(|values| ColumnWriter::create(folder.join(VALUES), values.cols()))
                    .transpose()?,
                groups: rows.groups.as_ref().map(|_| ColumnWriter::create(folder.join("groups.u32"), 1)).transpose()?,
                weights: rows.weights.as_ref().map(|_| ColumnWriter::create(folder.join(WEIGHTS), 1)).transpose()?,
                slices: (!recipe.slices.is_empty())
                    .then(|| ColumnWriter::create(folder.join(SLICES), recipe.slices.len()))
                    .transpose()?,
                statistics: SplitStatistics { rows: 0, positives: vec![0; tasks], missing: vec![0; tasks] },
            })
        };
        let writers = [create(Split::Train)?, create(Split::Valid)?, create(Split::Test)?];
        let is_binary = |task: usize| recipe.labels[task].kind == Feedback::Binary;
        let mut same: Vec<(usize, usize)> = (0..tasks).flat_map(|a| (a + 1..tasks).map(move |b| (a, b))).collect();
        same.retain(|&(a, b)| is_binary(a) && is_binary(b));
        let places = value_places((0..tasks).map(is_binary));
        let (spaces, masked) = (Spaces::of(recipe), vec![0; tasks]);
        let place = |name: &str| recipe.fields.iter().position(|field| field.name == name);
        let beside = recipe.fields.iter().enumerate();
        let beside = beside.filter_map(|(f, field)| {
            let of = field.beside.clone()?;
            Some(Beside { field: f, sequence: place(&of)?, of, column: field.columns.first()?.clone() })
        });
        let beside = beside.collect();
        Ok(Self { beside, rows, inputs, cols, writers, spaces, places, same, masked, labels: vec![], values: vec![] })
    }

    /// Writes the rows of a block.
    pub(crate) fn see(&mut self, block: &Block<'_>) -> Result<()> {
        self.check_beside(block)?;
        let Self { rows, inputs, cols, writers, spaces, places, same, masked, labels, values, .. } = self;
        for (split, writer) in Split::ALL.into_iter().zip(writers) {
            let own = block.rows.clone().enumerate().filter(|(_, row)| rows.splits[*row] == split as u8);
            let own: Vec<(usize, usize)> = own.collect();
            writer.ids.write(ids_of(block, &own, rows, inputs))?;
            writer.numbers.write_marked(&weights_of(&own, rows, inputs, *cols)?)?;
            labels.clear();
            values.clear();
            for (_, row) in &own {
                spaces.mask(rows.labels.row(*row), masked);
                for (task, label) in masked.iter().enumerate() {
                    writer.statistics.positives[task] += usize::from(*label == 1);
                    writer.statistics.missing[task] += usize::from(*label == NO_LABEL);
                }
                if split == Split::Train {
                    same.retain(|&(a, b)| masked[a] == masked[b]);
                }
                labels.extend_from_slice(masked);
                if let Some(numbers) = &rows.values {
                    masked_values(masked, numbers.row(*row), places, values);
                }
            }
            writer.labels.write_marked(labels)?;
            if let Some(file) = &mut writer.values {
                file.write_marked(values)?;
            }
            if let (Some(file), Some(groups)) = (&mut writer.groups, &rows.groups) {
                file.write_marked(&own.iter().map(|(_, row)| groups.values()[*row]).collect::<Vec<_>>())?;
            }
            if let (Some(file), Some(weights)) = (&mut writer.weights, &rows.weights) {
                file.write_marked(&own.iter().map(|(_, row)| weights.values()[*row]).collect::<Vec<_>>())?;
            }
            if let Some(file) = &mut writer.slices {
                own.iter().try_for_each(|(_, row)| file.write_marked(rows.slices.row(*row)))?;
            }
            writer.statistics.rows += own.len();
        }
        Ok(())
    }

    /// Refuses a row of whose sequences one does not have a value for each value of the other.
    fn check_beside(&self, block: &Block<'_>) -> Result<()> {
        for Beside { field, column, sequence, of } in &self.beside {
            for (place, row) in block.rows.clone().enumerate() {
                let [found, expected] = [*field, *sequence].map(|f| block.get(place, f).len());
                if found != expected {
                    let expected = format!("a value for each of the {expected} of \"{of}\"");
                    return Err(Error::value(column, row, expected, found.to_string()));
                }
            }
        }
        Ok(())
    }

    /// Ends the files.
    pub(crate) fn finish(self) -> Result<Encoded> {
        let mut statistics = Vec::with_capacity(3);
        let mut checksums = Vec::new();
        for (split, writer) in Split::ALL.iter().zip(self.writers) {
            statistics.push(writer.statistics);
            let mut sealed =
                |name: &str, checksum: String| checksums.push((format!("{}/{name}", split.name()), checksum));
            writer.ids.seal()?.into_iter().for_each(|(name, checksum)| sealed(name, checksum));
            sealed("numbers.f32", writer.numbers.seal()?);
            sealed("labels.u8", writer.labels.seal()?);
            if let Some(values) = writer.values {
                sealed(VALUES, values.seal()?);
            }
            if let Some(groups) = writer.groups {
                sealed("groups.u32", groups.seal()?);
            }
            if let Some(weights) = writer.weights {
                sealed(WEIGHTS, weights.seal()?);
            }
            if let Some(slices) = writer.slices {
                sealed(SLICES, slices.seal()?);
            }
        }
        let statistics = <[SplitStatistics; 3]>::try_from(statistics).expect("three splits");
        Ok(Encoded { statistics, same: self.same, checksums })
    }
}

/// The ids of some rows of a block, given as places and rows.
fn ids_of(block: &Block<'_>, own: &[(usize, usize)], rows: &CodedRows, inputs: &[Input<'_>]) -> IdRows {
    let mut next = Vec::with_capacity(own.len()); // where the next id of each row goes
    let mut end = 0;
    for &(place, _) in own {
        next.push(end);
        end += inputs.iter().enumerate().map(|(f, input)| input.ids(block.get(place, f))).sum::<usize>();
    }
    let mut all = vec![0; end];
    for (f, input) in inputs.iter().enumerate() {
        if let (Input::Key { ids }, Some(codes)) = (input, block.column(f)) {
            // one code in each row, at places that are known without looking
            for (&(place, _), next) in own.iter().zip(&mut next) {
                all[*next] = ids[codes.at(place) as usize];
                *next += 1;
            }
            continue;
        }
        for (&(place, row), next) in own.iter().zip(&mut next) {
            let codes = block.get(place, f);
            let out = &mut all[*next..*next + input.ids(codes)];
            *next += out.len();
            match input {
                Input::Key { ids } => out[0] = ids[codes[0] as usize],
                Input::List { ids } => {
                    out[0] = codes.len() as u32;
                    out[1..].iter_mut().zip(codes).for_each(|(id, &code)| *id = ids[code as usize]);
                }
                Input::Bucket { place, first, edges } => {
                    let number = rows.numbers.row(row)[*place];
                    let bucket = 1 + edges.partition_point(|edge| *edge <= number) as u32;
                    out[0] = first + if number.is_nan() { edges.len() as u32 + 2 } else { bucket };
                }
                Input::Numbers { first, .. } => out.iter_mut().zip(*first..).for_each(|(id, own)| *id = own),
            }
        }
    }
    IdRows { ids: all, ends: next.into_iter().map(|end| end as u64).collect() }
}

/// The weights of the numbers of some rows. `[n, cols]`
fn weights_of(own: &[(usize, usize)], rows: &CodedRows, inputs: &[Input<'_>], cols: usize) -> Result<Vec<f32>> {
    let mut all = Vec::with_capacity(own.len() * cols);
    for &(_, row) in own {
        for input in inputs {
            let Input::Numbers { place, field, .. } = input else { continue };
            for &value in &rows.numbers.row(row)[*place..][..field.kind.slots()] {
                let weight = if value.is_nan() { 0.0 } else { field.kind.number_weight(value) };
                if !weight.is_finite() {
                    let (column, expected) = (field.columns().join(", "), "a number that 32-bit floats can hold");
                    return Err(Error::value(&column, row, expected, value.to_string()));
                }
                all.push(weight);
            }
        }
    }
    Ok(all)
}

/// Where the ids and weights of a field come from.
enum Input<'e> {
    /// A code.
    Key { ids: &'e [u32] },
    /// The codes of a list.
    List { ids: &'e [u32] },
    /// The number at `place`, by the bucket that it falls into; ids count from `first`.
    Bucket { place: usize, first: u32, edges: &'e [f64] },
    /// The numbers from `place` on, each with a row of its own from `first` on.
    Numbers { place: usize, first: u32, field: &'e Field },
}

impl Input<'_> {
    /// Ids of a row that has these codes, and the length before them.
    fn ids(&self, codes: &[u32]) -> usize {
        match self {
            Self::Key { .. } | Self::Bucket { .. } => 1,
            Self::List { .. } => 1 + codes.len(),
            Self::Numbers { field, .. } => field.kind.slots(),
        }
    }

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
            _ if raw.numbers() == 0 && matches!(field.kind, FieldKind::Sequence { .. }) => Input::List { ids },
            _ if raw.numbers() == 0 => Input::Key { ids },
            Some(Transform::Bucketize { edges }) => Input::Bucket { place, first: ids[0], edges },
            _ => Input::Numbers { place, first: ids[0], field },
        }
    };
    fields.map(input).collect()
}
