//! One pass over the rows: every value becomes a dense code in the order of first sight, and lies on disk until the
//! vocabularies are known.
//!
//! Code 0 is padding, code 1 is null; keys count from 2. Codes turn into ids by one look-up in an array, whatever the key
//! was, so text is hashed once a row and never compared again.

use std::path::Path;

use polars::prelude::*;
use rayon::prelude::*;
use stem_core::Value;

use crate::columns::{ColumnWriter, Columns};
use crate::error::{Error, Result};
use crate::recipe::{FieldRecipe, Kind, Recipe, SplitRecipe};
use crate::scan::{Query, has_integer_keys};
use crate::split::{Splits, Splitter};

/// Code of an unused slot of a sequence.
pub(crate) const PAD: u32 = 0;
/// Code of a null category.
pub(crate) const NULL: u32 = 1;
const FIRST: u32 = 2;
/// Integer keys below this are looked up in an array, others in a hash table.
const DIRECT: i64 = 1 << 23;

/// The keys of one vocabulary, and the code of each.
#[derive(Default)]
pub(crate) struct Dictionary {
    pub(crate) integers: bool,
    direct: Vec<u32>,
    hashed: PlHashMap<i64, u32>,
    texts: PlHashMap<String, u32>,
    next: u32,
}

impl Dictionary {
    fn new(integers: bool) -> Self {
        Self { integers, next: FIRST, ..Self::default() }
    }

    /// Codes given so far, padding and null included.
    pub(crate) fn codes(&self) -> usize {
        self.next as usize
    }

    fn code_of_integer(&mut self, key: i64) -> u32 {
        let code = if (0..DIRECT).contains(&key) {
            let key = key as usize;
            if key >= self.direct.len() {
                self.direct.resize((key + 1).next_power_of_two(), 0);
            }
            &mut self.direct[key]
        } else {
            self.hashed.entry(key).or_insert(0)
        };
        if *code == 0 {
            *code = self.next;
            self.next += 1;
        }
        *code
    }

    fn code_of_text(&mut self, key: &str) -> u32 {
        if let Some(code) = self.texts.get(key) {
            return *code;
        }
        self.texts.insert(key.to_string(), self.next);
        self.next += 1;
        self.next - 1
    }

    fn code_of(&mut self, value: &Value) -> u32 {
        match value {
            Value::Integer(key) if self.integers => self.code_of_integer(*key),
            Value::Text(key) if !self.integers => self.code_of_text(key),
            Value::Integer(key) => self.code_of_text(&key.to_string()),
            _ => NULL,
        }
    }

    /// Integer keys and their codes, in no order.
    pub(crate) fn integer_keys(&self) -> impl Iterator<Item = (i64, u32)> {
        let direct =
            self.direct.iter().enumerate().filter(|(_, code)| **code != 0).map(|(key, code)| (key as i64, *code));
        direct.chain(self.hashed.iter().map(|(key, code)| (*key, *code)))
    }

    /// Text keys and their codes, in no order.
    pub(crate) fn text_keys(&self) -> impl Iterator<Item = (&str, u32)> {
        self.texts.iter().map(|(key, code)| (key.as_str(), *code))
    }
}

/// One vocabulary being gathered, and the fields that feed it.
pub(crate) struct Gathering {
    pub(crate) name: String,
    pub(crate) min_count: usize,
    /// Fields of the recipe; for a number the one field.
    pub(crate) fields: Vec<usize>,
    /// `None` for a number.
    pub(crate) dictionary: Option<Dictionary>,
}

/// All rows, as codes.
pub(crate) struct Gathered {
    pub(crate) rows: usize,
    pub(crate) codes: Columns<u32>,          // [N, S]
    pub(crate) numbers: Columns<f64>,        // [N, number fields], NaN for null
    pub(crate) labels: Columns<f32>,         // [N, T], NaN for missing
    pub(crate) groups: Option<Columns<u32>>, // [N, 1]
    pub(crate) splits: Splits,               // [N]
    pub(crate) vocabularies: Vec<Gathering>,
}

/// First slot of each field, and `S`.
pub(crate) fn slot_starts(fields: &[FieldRecipe]) -> (Vec<usize>, usize) {
    let mut next = 0;
    let mut starts = Vec::with_capacity(fields.len());
    for field in fields {
        starts.push(next);
        next += slots(field);
    }
    (starts, next)
}

fn slots(field: &FieldRecipe) -> usize {
    match field.kind {
        Kind::Sequence { max_len, .. } => max_len,
        _ => 1,
    }
}

/// Reads everything. `seen` is told how many rows have come; its error ends the reading.
pub(crate) fn gather(
    recipe: &Recipe,
    query: Query,
    scratch: &Path,
    seen: impl Fn(u64) -> Result<()>,
) -> Result<Gathered> {
    let mut vocabularies = vocabularies(recipe, &query);
    let (starts, slots_in_all) = slot_starts(&recipe.fields);
    let numbers: Vec<&FieldRecipe> = recipe.fields.iter().filter(|f| matches!(f.kind, Kind::Number { .. })).collect();
    let mut groups =
        recipe.group.as_ref().map(|column| (column, Dictionary::new(has_integer_keys(&query.types[column]))));
    let mut codes_file = ColumnWriter::create(scratch.join("codes"), slots_in_all)?;
    let mut numbers_file = ColumnWriter::create(scratch.join("numbers"), numbers.len())?;
    let mut labels_file = ColumnWriter::create(scratch.join("labels"), recipe.labels.len())?;
    let mut groups_file = ColumnWriter::create(scratch.join("groups"), 1)?;
    let users = match &recipe.split {
        SplitRecipe::Last { column, .. } => Some(Dictionary::new(has_integer_keys(&query.types[column]))),
        _ => None,
    };
    let mut splitter = Splitter::new(&recipe.split, users);
    let mut rows = 0;
    query.for_each_chunk(|chunk| {
        let (height, first) = (chunk.height(), rows);
        let coded: Vec<Vec<(usize, Vec<u32>)>> = vocabularies
            .par_iter_mut()
            .map(|vocabulary| {
                let Some(dictionary) = &mut vocabulary.dictionary else { return Ok(vec![]) };
                let fields = vocabulary.fields.iter().map(|&f| {
                    let field = &recipe.fields[f];
                    Ok((f, encode_field(field, chunk.column(&field.column).map_err(Error::query)?, dictionary)?))
                });
                fields.collect::<Result<Vec<_>>>()
            })
            .collect::<Result<_>>()?;
        let mut codes = vec![PAD; height * slots_in_all]; // [n, S]
        for (f, own) in coded.iter().flatten() {
            let width = slots(&recipe.fields[*f]);
            for (row, own) in codes.chunks_exact_mut(slots_in_all).zip(own.chunks_exact(width)) {
                row[starts[*f]..starts[*f] + width].copy_from_slice(own);
            }
        }
        codes_file.write(&codes)?;
        let number_columns = numbers.iter().map(|f| f.column.as_str());
        numbers_file.write(&matrix(&chunk, height, number_columns, |place, value, row| match value {
            Some(value) if value.is_finite() => Ok(value),
            Some(value) => {
                Err(unfit(&numbers[place].column, first + row, "a finite number or null", value.to_string()))
            }
            None => Ok(match numbers[place].default {
                Some(Value::Integer(default)) => default as f64,
                Some(Value::Float(default)) => default,
                _ => f64::NAN,
            }),
        })?)?;
        let label_columns = recipe.labels.iter().map(|l| l.column.as_str());
        labels_file.write(&matrix(&chunk, height, label_columns, |place, value, row| match value {
            Some(value) if value == 0.0 || value == 1.0 => Ok(value as f32),
            Some(value) => Err(unfit(&recipe.labels[place].column, first + row, "0, 1 or null", value.to_string())),
            None => Ok(f32::NAN),
        })?)?;
        if let Some((column, dictionary)) = &mut groups {
            let mut codes = group_codes(&chunk, column, dictionary, first)?;
            codes.iter_mut().for_each(|code| *code -= FIRST);
            groups_file.write(&codes)?;
        }
        splitter.see(&chunk, first)?;
        rows += height;
        seen(rows as u64)
    })?;
    Ok(Gathered {
        rows,
        codes: Columns::open(&codes_file.finish()?)?,
        numbers: Columns::open(&numbers_file.finish()?)?,
        labels: Columns::open(&labels_file.finish()?)?,
        groups: groups.map(|_| groups_file.finish().and_then(|path| Columns::open(&path))).transpose()?,
        splits: splitter.finish(),
        vocabularies,
    })
}

/// The vocabularies of a recipe in the order of their first fields.
fn vocabularies(recipe: &Recipe, query: &Query) -> Vec<Gathering> {
    let mut all: Vec<Gathering> = Vec::new();
    for (f, field) in recipe.fields.iter().enumerate() {
        let number = matches!(field.kind, Kind::Number { .. });
        let name = field.vocabulary.as_ref().unwrap_or(&field.column);
        let shared = all.iter_mut().find(|v| v.name == *name && v.dictionary.is_some() && !number);
        if let Some(vocabulary) = shared {
            vocabulary.fields.push(f);
            continue;
        }
        let dictionary = (!number).then(|| Dictionary::new(has_integer_keys(&query.types[&field.column])));
        all.push(Gathering { name: name.clone(), min_count: field.min_count, fields: vec![f], dictionary });
    }
    all
}

/// Codes of a field. `[n, slots]`
fn encode_field(field: &FieldRecipe, column: &Column, keys: &mut Dictionary) -> Result<Vec<u32>> {
    let null = field.default.as_ref().map(|default| keys.code_of(default));
    match field.kind {
        Kind::Category => category(column, keys, null.unwrap_or(NULL)),
        Kind::Sequence { max_len, .. } => sequence(field, column, keys, max_len),
        Kind::Number { .. } => Ok(vec![]),
    }
}

fn category(column: &Column, keys: &mut Dictionary, null: u32) -> Result<Vec<u32>> {
    let mut codes = Vec::with_capacity(column.len());
    if keys.integers {
        let column = column.strict_cast(&DataType::Int64).map_err(Error::query)?;
        for key in column.i64().map_err(Error::query)?.iter() {
            codes.push(key.map_or(null, |key| keys.code_of_integer(key)));
        }
    } else {
        let column = column.strict_cast(&DataType::String).map_err(Error::query)?;
        for key in column.str().map_err(Error::query)?.iter() {
            let key = key.filter(|key| !key.is_empty()); // an empty text is null, in serving too
            codes.push(key.map_or(null, |key| keys.code_of_text(key)));
        }
    }
    Ok(codes)
}

/// The first `max_len` values of each row, padded. Nulls and empty pieces within are left out.
fn sequence(field: &FieldRecipe, column: &Column, keys: &mut Dictionary, max_len: usize) -> Result<Vec<u32>> {
    let mut codes = Vec::with_capacity(column.len() * max_len);
    let mut row = |own: &mut dyn Iterator<Item = u32>| {
        let end = codes.len() + max_len;
        codes.extend(own.take(max_len));
        codes.resize(end, PAD);
    };
    let pieces = |text: &str, keys: &mut Dictionary, row: &mut dyn FnMut(&mut dyn Iterator<Item = u32>)| {
        let separator = field.separator.as_deref().unwrap_or("|");
        row(&mut text.split(separator).filter(|piece| !piece.is_empty()).map(|piece| keys.code_of_text(piece)));
    };
    match (column.dtype(), &field.default) {
        (DataType::String, default) => {
            let default_text = default
                .as_ref()
                .and_then(|value| if let Value::Text(text) = value { Some(text.as_str()) } else { None });
            for text in column.str().map_err(Error::query)?.iter() {
                match (text.filter(|text| !text.is_empty()).or(default_text), default) {
                    (Some(text), _) => pieces(text, keys, &mut row),
                    (None, Some(default)) => row(&mut std::iter::once(keys.code_of(default))),
                    (None, None) => row(&mut std::iter::empty()),
                }
            }
        }
        (_, default) => {
            let inner = if keys.integers { DataType::Int64 } else { DataType::String };
            let lists = column.strict_cast(&DataType::List(Box::new(inner))).map_err(Error::query)?;
            for list in lists.list().map_err(Error::query)?.amortized_iter() {
                match (list, default) {
                    (Some(list), _) if keys.integers => {
                        let list = list.as_ref().i64().map_err(Error::query)?;
                        row(&mut list.iter().flatten().map(|key| keys.code_of_integer(key)));
                    }
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
    Ok(codes)
}

/// Columns side by side, each value checked. `[n, columns]`
fn matrix<'c, T: Copy + Default>(
    chunk: &DataFrame,
    height: usize,
    columns: impl ExactSizeIterator<Item = &'c str>,
    check: impl Fn(usize, Option<f64>, usize) -> Result<T>,
) -> Result<Vec<T>> {
    let width = columns.len();
    let mut values = vec![T::default(); height * width];
    for (place, name) in columns.enumerate() {
        let column = chunk.column(name).and_then(|c| c.strict_cast(&DataType::Float64)).map_err(Error::query)?;
        for (row, value) in column.f64().map_err(Error::query)?.iter().enumerate() {
            values[row * width + place] = check(place, value, row)?;
        }
    }
    Ok(values)
}

/// Codes of a column that names a user or group; null is refused.
pub(crate) fn group_codes(chunk: &DataFrame, name: &str, keys: &mut Dictionary, first: usize) -> Result<Vec<u32>> {
    let codes = category(chunk.column(name).map_err(Error::query)?, keys, NULL)?;
    match codes.iter().position(|&code| code == NULL) {
        Some(row) => Err(unfit(name, first + row, "a user or group", "null".into())),
        None => Ok(codes),
    }
}

pub(crate) fn unfit(column: &str, row: usize, expected: &'static str, found: String) -> Error {
    Error::Value { column: column.into(), row, expected, found }
}
