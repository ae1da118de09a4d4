//! One pass over the rows: every value becomes a dense code, and lies on disk until the vocabularies are known.
//!
//! Codes turn into ids by one look-up in an array, whatever the key was, so text is hashed once a row and never compared again.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::Path;

use polars::prelude::*;
use rayon::prelude::*;
use stem_core::{Derived, Keep, Value};

use crate::codes::{Codes, CodesWriter, FieldCodes, Walk, in_rows};
use crate::columns::{ColumnWriter, Columns};
use crate::dictionary::{Dictionary, FIRST, NULL, has_integer_keys};
use crate::error::{Error, Result};
use crate::facts::Times;
use crate::mature::Maturity;
use crate::memory::{KeyMemory, KeysHeld, available_memory};
use crate::numbers::{labels_of, numbers_of, side_by_side, weights_of};
use crate::recipe::{Feedback, FieldRecipe, Kind, Recipe, SplitRecipe};
use crate::scan::Query;
use crate::slices::{Slice, slice_codes};
use crate::splitter::{BEFORE, LEFT_OUT, Placed, Splits, Splitter};
use crate::stop::StopFlag;
use crate::targets::value_places;
use crate::transform::Steps;

/// One vocabulary as codes, and the fields that feed it.
pub(crate) struct CodedVocabulary {
    pub(crate) name: String,
    pub(crate) min_count: usize,
    /// Fields of the recipe; for numbers the one field.
    pub(crate) fields: Vec<usize>,
    /// `None` for what is gathered as numbers.
    pub(crate) dictionary: Option<Dictionary>,
}

/// The codes of rows, and where the rows belong.
pub(crate) struct Coded<'r> {
    pub(crate) codes: &'r Codes,
    pub(crate) rows: usize,
    pub(crate) vocabularies: &'r [CodedVocabulary],
    pub(crate) splits: &'r [u8], // [N]
}

/// All rows, as codes.
pub(crate) struct CodedRows {
    pub(crate) rows: usize,
    codes: Codes, // see `walk`
    /// The longest list of each field, as far as `max_len` lets it in; 1 for other kinds. `[F]`
    pub(crate) longest: Vec<usize>,
    pub(crate) numbers: Columns<f64>, // [N, numbers of all fields], NaN for null
    /// What was done to the values of each field. `[F]`
    pub(crate) steps: Vec<Steps>,
    pub(crate) labels: Columns<u8>, // [N, T], 0, 1 or NO_LABEL; of a number whether it is above 0
    pub(crate) values: Option<Columns<f32>>, // [N, labels that are numbers]
    /// What a reader should know of them, in words.
    pub(crate) notes: Vec<String>,
    pub(crate) groups: Option<Columns<u32>>,  // [N, 1]
    pub(crate) weights: Option<Columns<f32>>, // [N, 1]
    pub(crate) splits: Splits,                // [N]
    /// Values of a split column that name no split, and how many rows hold each.
    pub(crate) strangers: BTreeMap<String, usize>,
    pub(crate) times: Times,
    /// See [`Placed`].
    pub(crate) untrained: Option<usize>,
    /// Columns by whose values a measurement is cut: which value each row has. `[N, slices]`
    pub(crate) slices: Columns<u32>,
    pub(crate) slice_values: Vec<Slice>,
    /// Columns that the SELECT computed, and how.
    pub(crate) derived: HashMap<String, Derived>,
    /// Rows of each source.
    pub(crate) sources: HashMap<String, u64>,
    pub(crate) vocabularies: Vec<CodedVocabulary>,
    /// How often each code of each vocabulary occurs in the training split, where it has been counted already.
    pub(crate) counts: Option<Vec<Vec<u64>>>,
}

impl CodedRows {
    /// What is counted of [codes](crate::encoding::count).
    pub(crate) fn coded(&self) -> Coded<'_> {
        Coded { codes: &self.codes, rows: self.rows, vocabularies: &self.vocabularies, splits: &self.splits }
    }

    /// The vocabulary of each field. `[F]`
    pub(crate) fn vocabulary_of_fields(&self) -> Vec<usize> {
        vocabulary_of_fields(&self.vocabularies, self.longest.len())
    }

    /// Walks the rows from the first to the last.
    pub(crate) fn walk(&self, recipe: &Recipe) -> Result<Walk> {
        self.codes.walk(recipe, self.rows)
    }

    /// The same for the last time: what was passed is gone from the disk.
    pub(crate) fn walk_last(&self, recipe: &Recipe) -> Result<Walk> {
        self.codes.walk_last(recipe, self.rows)
    }

    /// Gives the disk room again for what else these rows have, once the last walk has passed them.
    pub(crate) fn forget(&self, rows: Range<usize>) -> Result<()> {
        let again = || rows.clone();
        self.numbers.forget(again())?;
        self.labels.forget(again())?;
        self.slices.forget(again())?;
        self.values.iter().try_for_each(|values| values.forget(again()))?;
        self.groups.iter().try_for_each(|groups| groups.forget(again()))?;
        self.weights.iter().try_for_each(|weights| weights.forget(again()))
    }
}

/// The rows as they come.
pub(crate) struct Gatherer<'r> {
    recipe: &'r Recipe,
    scratch: &'r Path,
    steps: Vec<Steps>, // [F]
    derived: HashMap<String, Derived>,
    places: Vec<Option<usize>>, // [T], see `value_places`
    pub(crate) rows: usize,
    pub(crate) longest: Vec<usize>, // [F]
    pub(crate) vocabularies: Vec<CodedVocabulary>,
    pub(crate) groups: Option<(&'r String, Dictionary)>,
    slices: Vec<Dictionary>,
    pub(crate) splitter: Splitter<'r>,
    pub(crate) maturity: Option<Maturity<'r>>,
    memory: KeyMemory,
    pub(crate) files: Files,
}

/// What lies on disk of the rows that have come.
pub(crate) struct Files {
    pub(crate) codes: CodesWriter,
    pub(crate) numbers: ColumnWriter<f64>, // [N, numbers of all fields]
    pub(crate) labels: ColumnWriter<u8>,   // [N, T]
    pub(crate) values: ColumnWriter<f32>,  // [N, labels that are numbers]
    pub(crate) groups: ColumnWriter<u32>,  // [N, 1], empty without groups
    pub(crate) weights: ColumnWriter<f32>, // [N, 1], empty without weights
    slices: ColumnWriter<u32>,             // [N, slices]
}

impl<'r> Gatherer<'r> {
    pub(crate) fn new(recipe: &'r Recipe, query: &Query, scratch: &'r Path) -> Result<Self> {
        let places = value_places(recipe.labels.iter().map(|label| label.kind == Feedback::Binary));
        let users = match &recipe.split {
            SplitRecipe::Last { column, .. } => Some(Dictionary::of(&query.types[column])),
            _ => None,
        };
        let files = Files {
            codes: CodesWriter::create(scratch)?,
            numbers: ColumnWriter::create(
                scratch.join("numbers"),
                recipe.fields.iter().map(|field| field.numbers()).sum(),
            )?,
            labels: ColumnWriter::create(scratch.join("labels"), recipe.labels.len())?,
            values: ColumnWriter::create(scratch.join("values"), places.iter().flatten().count())?,
            groups: ColumnWriter::create(scratch.join("groups"), 1)?,
            weights: ColumnWriter::create(scratch.join("weights"), 1)?,
            slices: ColumnWriter::create(scratch.join("slices"), recipe.slices.len())?,
        };
        Ok(Self {
            recipe,
            scratch,
            steps: query.steps.clone(),
            derived: query.derived.clone(),
            places,
            rows: 0,
            longest: vec![1; recipe.fields.len()],
            vocabularies: vocabularies(recipe, query),
            groups: recipe.group.as_ref().map(|column| (column, Dictionary::of(&query.types[column]))),
            slices: recipe.slices.iter().map(|column| Dictionary::of(&query.types[column])).collect(),
            splitter: Splitter::new(&recipe.split, users),
            maturity: Maturity::new(recipe, scratch)?,
            memory: KeyMemory::new(query.rows_about()),
            files,
        })
    }

    /// Reads all rows of the query; gives how many each source has.
    pub(crate) fn read(&mut self, query: Query, stop: &StopFlag, seen: impl Fn(u64)) -> Result<HashMap<String, u64>> {
        query.for_each_chunk(stop, |chunk| {
            self.see(&chunk)?;
            seen(self.rows as u64);
            Ok(())
        })
    }

    fn see(&mut self, chunk: &DataFrame) -> Result<()> {
        let Self { recipe, steps, vocabularies, groups, files, .. } = self;
        let (height, first) = (chunk.height(), self.rows);
        let coded = vocabularies.par_iter_mut().map(|vocabulary| {
            let Some(dictionary) = &mut vocabulary.dictionary else { return Ok(vec![]) };
            let fields = vocabulary.fields.iter().map(|&f| {
                let (field, steps) = (&recipe.fields[f], &steps[f]);
                let column = steps.column(field, chunk, first)?;
                Ok((f, encode_field(field, steps.default.as_ref(), &column, dictionary, first)?))
            });
            fields.collect::<Result<Vec<_>>>()
        });
        let grouped = || -> Result<Vec<u32>> {
            let Some((column, dictionary)) = groups else { return Ok(vec![]) };
            let mut codes = dictionary.codes_of_groups(chunk, column, first)?;
            codes.iter_mut().for_each(|code| *code -= FIRST);
            Ok(codes)
        };
        let (grouped, coded) = rayon::join(grouped, || coded.collect::<Result<Vec<_>>>());
        let coded: Vec<(usize, FieldCodes)> = coded?.into_iter().flatten().collect();
        for (f, own) in &coded {
            let longest_here = own.lengths.iter().flatten().max().map_or(1, |&length| length as usize);
            self.longest[*f] = longest_here.max(self.longest[*f]);
        }
        files.codes.write(&in_rows(height, coded))?;
        let numbers: Vec<(&FieldRecipe, &Steps)> =
            recipe.fields.iter().zip(&*steps).filter(|(field, _)| field.numbers() > 0).collect();
        let parts = numbers.par_iter().map(|&(field, steps)| {
            let column = steps.column(field, chunk, first)?;
            Ok((field.numbers(), numbers_of(field, steps.default.as_ref(), &column, first)?))
        });
        files.numbers.write(&side_by_side(height, &parts.collect::<Result<Vec<_>>>()?))?;
        let (marks, values) = labels_of(chunk, &recipe.labels, &self.places, first)?;
        files.labels.write(&marks)?;
        files.values.write(&values)?;
        files.groups.write(&grouped?)?;
        if let Some(maturity) = &mut self.maturity {
            maturity.see(chunk, first)?;
        }
        if let Some(weight) = &recipe.weight {
            files.weights.write(&weights_of(chunk, weight, first)?)?;
        }
        files.slices.write(&slice_codes(&recipe.slices, &mut self.slices, chunk, first)?)?;
        self.splitter.see(chunk, first)?;
        self.rows += height;
        let held = vocabularies.iter().filter_map(|v| {
            v.dictionary.as_ref().map(|d| KeysHeld { name: &v.name, keys: d.keys(), bytes: d.bytes() })
        });
        if let Some(note) = self.memory.look(self.rows as u64, &held.collect::<Vec<_>>(), available_memory)? {
            tracing::warn!("{}: {note}", recipe.name);
        }
        Ok(())
    }

    /// Once all rows have come.
    pub(crate) fn finish(self, sources: HashMap<String, u64>) -> Result<CodedRows> {
        let Self { recipe, scratch, files, .. } = self;
        let Placed { mut splits, strangers, times, untrained } = self.splitter.finish();
        let (mut labels, mut notes) = (Columns::open(&files.labels.finish()?)?, Vec::new());
        if let Some(maturity) = self.maturity {
            (labels, notes) = maturity.mask(recipe, &labels, &mut splits, scratch)?;
        }
        splits.iter_mut().filter(|split| **split & BEFORE != 0).for_each(|split| *split = LEFT_OUT); // nothing of them is to be learned
        let has_values = self.places.iter().flatten().count() > 0;
        Ok(CodedRows {
            rows: self.rows,
            codes: files.codes.finish()?,
            longest: self.longest,
            numbers: Columns::open(&files.numbers.finish()?)?,
            labels,
            values: has_values.then(|| files.values.finish().and_then(|path| Columns::open(&path))).transpose()?,
            notes,
            groups: self.groups.map(|_| files.groups.finish().and_then(|path| Columns::open(&path))).transpose()?,
            weights: recipe
                .weight
                .as_ref()
                .map(|_| files.weights.finish().and_then(|path| Columns::open(&path)))
                .transpose()?,
            slices: Columns::open(&files.slices.finish()?)?,
            slice_values: recipe.slices.iter().zip(self.slices).map(|(column, own)| Slice::new(column, own)).collect(),
            splits,
            strangers,
            times,
            untrained,
            sources,
            derived: self.derived,
            steps: self.steps,
            vocabularies: self.vocabularies,
            counts: None,
        })
    }
}

/// The vocabulary of each of so many fields. `[F]`
pub(crate) fn vocabulary_of_fields(vocabularies: &[CodedVocabulary], fields: usize) -> Vec<usize> {
    let mut vocabulary = vec![0; fields];
    for (v, coded) in vocabularies.iter().enumerate() {
        coded.fields.iter().for_each(|&f| vocabulary[f] = v);
    }
    vocabulary
}

/// The vocabularies of a recipe in the order of their first fields.
fn vocabularies(recipe: &Recipe, query: &Query) -> Vec<CodedVocabulary> {
    let mut all: Vec<CodedVocabulary> = Vec::new();
    for (f, field) in recipe.fields.iter().enumerate() {
        let (has_keys, name) = (field.numbers() == 0, field.vocabulary());
        let shared = all.iter_mut().find(|v| v.name == name && v.dictionary.is_some() && has_keys);
        if let Some(vocabulary) = shared {
            vocabulary.fields.push(f);
            continue;
        }
        let dictionary = has_keys.then(|| Dictionary::of(&query.steps[f].dtype).hashing(field.hash));
        all.push(CodedVocabulary { name: name.into(), min_count: field.min_count, fields: vec![f], dictionary });
    }
    all
}

/// Codes of a field; `default` stands in for null.
fn encode_field(
    field: &FieldRecipe,
    default: Option<&Value>,
    column: &Column,
    keys: &mut Dictionary,
    first: usize,
) -> Result<FieldCodes> {
    match field.kind {
        Kind::Sequence { max_len, keep, .. } => sequence(field, default, column, keys, (keep, max_len)),
        _ => {
            let null = default.map_or(NULL, |default| keys.code_of(default));
            Ok(FieldCodes { values: keys.codes_of(column, null, first)?, lengths: None })
        }
    }
}

/// The first or last `max_len` values of each row. Nulls and empty pieces within are left out.
fn sequence(
    field: &FieldRecipe,
    default: Option<&Value>,
    column: &Column,
    keys: &mut Dictionary,
    (keep, max_len): (Keep, usize),
) -> Result<FieldCodes> {
    let (mut values, mut lengths) = (Vec::with_capacity(column.len()), Vec::with_capacity(column.len()));
    let mut row = |own: &mut dyn Iterator<Item = u32>| {
        let before = values.len();
        match keep {
            Keep::Last => {
                values.extend(own);
                let surplus = (values.len() - before).saturating_sub(max_len);
                values.drain(before..before + surplus);
            }
            _ => values.extend(own.take(max_len)),
        }
        lengths.push((values.len() - before) as u32);
    };
    let pieces = |text: &str, keys: &mut Dictionary, row: &mut dyn FnMut(&mut dyn Iterator<Item = u32>)| {
        let separator = field.separator.as_deref().unwrap_or("|");
        row(&mut text.split(separator).filter(|piece| !piece.is_empty()).map(|piece| keys.code_of_text(piece)));
    };
    match (column.dtype(), default) {
        (DataType::String, default) => {
            let default_text =
                default.and_then(|value| if let Value::Text(text) = value { Some(text.as_str()) } else { None });
            for text in column.str().map_err(Error::query)?.iter() {
                match (text.filter(|text| !text.is_empty()).or(default_text), default) {
                    (Some(text), _) => pieces(text, keys, &mut row),
                    (None, Some(default)) => row(&mut std::iter::once(keys.code_of(default))),
                    (None, None) => row(&mut std::iter::empty()),
                }
            }
        }
        (_, default) => {
            let is_integers = has_integer_keys(column.dtype());
            let inner = match column.dtype() {
                DataType::List(inner) if **inner == DataType::UInt64 => DataType::UInt64,
                _ if is_integers => DataType::Int64,
                _ => DataType::String,
            };
            let lists = column.strict_cast(&DataType::List(Box::new(inner))).map_err(Error::query)?;
            for list in lists.list().map_err(Error::query)?.amortized_iter() {
                match (list, default) {
                    (Some(list), _) if is_integers => row(&mut keys.codes_of_list(list.as_ref())?.into_iter()),
                    (Some(list), _) => {
                        let list = list.as_ref().str().map_err(Error::query)?;
                        row(&mut list.iter().flatten().filter(|key| !key.is_empty()).map(|key| keys.code_of_text(key)));
                    }
                    (None, Some(default)) => row(&mut std::iter::once(keys.code_of(default))),
                    (None, None) => row(&mut std::iter::empty()),
                }
            }
        }
    }
    Ok(FieldCodes { values, lengths: Some(lengths) })
}
