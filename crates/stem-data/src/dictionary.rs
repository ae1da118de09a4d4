//! Keys to dense codes, in the order of first sight.
//!
//! Code 0 is padding, code 1 is null; keys count from 2.

use polars::prelude::*;
use stem_core::{KeyKind, Value, Vocabulary, hash_bucket, whole};

use crate::error::{Error, Result};

/// Code of an unused slot of a sequence.
pub(crate) const PAD: u32 = 0;
/// Code of a null category.
pub(crate) const NULL: u32 = 1;
/// Code of the first key.
pub(crate) const FIRST: u32 = 2;
/// Integer keys below this are looked up in an array, others in a hash table.
const DIRECT: i64 = 1 << 23;

/// Whether keys of this column are integers; text otherwise. Floats are where all of them are whole.
pub(crate) fn has_integer_keys(dtype: &DataType) -> bool {
    match dtype {
        DataType::List(inner) => has_integer_keys(inner),
        dtype => dtype.is_integer() || dtype.is_float() || *dtype == DataType::Boolean,
    }
}

/// The keys of one vocabulary, and the code of each.
#[derive(Default)]
pub(crate) struct Dictionary {
    pub(crate) integers: bool,
    direct: Vec<u32>,
    hashed: PlHashMap<i64, u32>,
    texts: PlHashMap<String, u32>,
    next: u32,
    /// How many buckets keys are hashed into, where they are.
    buckets: Option<usize>,
}

impl Dictionary {
    /// Without keys yet, for columns of this type.
    pub(crate) fn of(dtype: &DataType) -> Self {
        Self { integers: has_integer_keys(dtype), next: FIRST, ..Self::default() }
    }

    /// Hashes keys into so many buckets: a code for each, and no key is kept.
    pub(crate) fn hashing(mut self, buckets: Option<usize>) -> Self {
        self.buckets = buckets;
        self.next += buckets.unwrap_or(0) as u32;
        self
    }

    /// The vocabulary of hashed keys, where they are hashed.
    pub(crate) fn hashed(&self) -> Option<Vocabulary> {
        let keys = if self.integers { KeyKind::Integers } else { KeyKind::Texts };
        self.buckets.map(|buckets| Vocabulary::Hashed { buckets, keys })
    }

    /// Codes given so far, padding and null included.
    pub(crate) fn codes(&self) -> usize {
        self.next as usize
    }

    pub(crate) fn code_of_integer(&mut self, key: i64) -> u32 {
        if self.buckets.is_some() {
            return self.code_of_text(&key.to_string());
        }
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

    /// The code of an integer without a sign. Where one is beyond 63 bits, all keys become the texts of their digits.
    pub(crate) fn code_of_unsigned(&mut self, key: u64) -> u32 {
        match i64::try_from(key) {
            _ if self.buckets.is_some() => self.code_of_text(&key.to_string()),
            Ok(key) if self.integers => self.code_of_integer(key),
            _ => {
                self.turn_to_texts();
                self.code_of_text(&key.to_string())
            }
        }
    }

    fn turn_to_texts(&mut self) {
        if self.integers {
            self.texts = self.integer_keys().map(|(key, code)| (key.to_string(), code)).collect();
            (self.integers, self.direct, self.hashed) = (false, vec![], PlHashMap::new());
        }
    }

    /// The code of an integer, which may stand among texts.
    fn code_of_any_integer(&mut self, key: i64) -> u32 {
        if self.integers { self.code_of_integer(key) } else { self.code_of_text(&key.to_string()) }
    }

    pub(crate) fn code_of_text(&mut self, key: &str) -> u32 {
        if let Some(buckets) = self.buckets {
            return FIRST + hash_bucket(key, buckets) as u32;
        }
        if let Some(code) = self.texts.get(key) {
            return *code;
        }
        self.texts.insert(key.to_string(), self.next);
        self.next += 1;
        self.next - 1
    }

    pub(crate) fn code_of(&mut self, value: &Value) -> u32 {
        match value {
            Value::Integer(key) => self.code_of_any_integer(*key),
            Value::Text(key) if !self.integers => self.code_of_text(key),
            _ => NULL,
        }
    }

    /// Codes of a column of single values; `null` is the code of null, `first` the row that the column begins with. `[n]`
    pub(crate) fn codes_of(&mut self, column: &Column, null: u32, first: usize) -> Result<Vec<u32>> {
        let mut codes = Vec::with_capacity(column.len());
        if column.dtype().is_float() {
            let floats = column.strict_cast(&DataType::Float64).map_err(Error::query)?;
            for (row, key) in floats.f64().map_err(Error::query)?.iter().enumerate() {
                let Some(key) = key else {
                    codes.push(null);
                    continue;
                };
                let expected = "whole numbers, as keys are; for others make it a number, or CAST it to text in the sql";
                let whole =
                    whole(key).ok_or_else(|| Error::value(column.name(), first + row, expected, key.to_string()))?;
                codes.push(self.code_of_any_integer(whole));
            }
        } else if *column.dtype() == DataType::UInt64 {
            for key in column.u64().map_err(Error::query)?.iter() {
                codes.push(key.map_or(null, |key| self.code_of_unsigned(key)));
            }
        } else if has_integer_keys(column.dtype()) {
            let column = column.strict_cast(&DataType::Int64).map_err(Error::query)?;
            for key in column.i64().map_err(Error::query)?.iter() {
                codes.push(key.map_or(null, |key| self.code_of_any_integer(key)));
            }
        } else {
            let column = column.strict_cast(&DataType::String).map_err(Error::query)?;
            for key in column.str().map_err(Error::query)?.iter() {
                let key = key.filter(|key| !key.is_empty()); // an empty text is null, in serving too
                codes.push(key.map_or(null, |key| self.code_of_text(key)));
            }
        }
        Ok(codes)
    }

    /// Codes of a list of integers, nulls left out.
    pub(crate) fn codes_of_list(&mut self, list: &Series) -> Result<Vec<u32>> {
        if *list.dtype() == DataType::UInt64 {
            return Ok(list
                .u64()
                .map_err(Error::query)?
                .iter()
                .flatten()
                .map(|key| self.code_of_unsigned(key))
                .collect());
        }
        let list = list.strict_cast(&DataType::Int64).map_err(Error::query)?;
        Ok(list.i64().map_err(Error::query)?.iter().flatten().map(|key| self.code_of_any_integer(key)).collect())
    }

    /// Codes of a column that names a user or group; null is refused. `first` is the row that the chunk begins with. `[n]`
    pub(crate) fn codes_of_groups(&mut self, chunk: &DataFrame, name: &str, first: usize) -> Result<Vec<u32>> {
        let codes = self.codes_of(chunk.column(name).map_err(Error::query)?, NULL, first)?;
        match codes.iter().position(|&code| code == NULL) {
            Some(row) => Err(Error::value(name, first + row, "a user or group", "null".into())),
            None => Ok(codes),
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
