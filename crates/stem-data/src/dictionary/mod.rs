//! Keys to dense codes, in the order of first sight.
//!
//! Code 0 is padding, code 1 is null; keys count from 2. How keys travel between ranks is in `travel`.

mod travel;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use polars::prelude::*;
use stem_core::{KeyKind, Texts, Value, Vocabulary, hash_bucket, whole};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

/// Code of an unused slot of a sequence.
pub(crate) const PAD: u32 = 0;
/// Code of a null category.
pub(crate) const NULL: u32 = 1;
/// Code of the first key.
pub(crate) const FIRST: u32 = 2;
/// Integer keys below this are looked up in an array, however few there are.
const DIRECT: usize = 1 << 23;
/// The array reaches further where at least one in so many of its places has a key: 16 bytes a key at most.
const SPARSEST: usize = 4;
/// Keys in the hash table before it is first asked whether the array would hold them.
const FIRST_LOOK: usize = 1 << 20;

/// Whether keys of this column are integers; text otherwise. Floats are where all of them are whole.
pub(crate) fn has_integer_keys(dtype: &DataType) -> bool {
    match dtype {
        DataType::List(inner) => has_integer_keys(inner),
        dtype => dtype.is_integer() || dtype.is_float() || *dtype == DataType::Boolean,
    }
}

/// The keys of one vocabulary, and the code of each. A key is kept once, behind those that came before: a code is its place, and the
/// table that finds it holds codes alone.
#[derive(Default)]
pub(crate) struct Dictionary {
    pub(crate) integers: bool,
    /// Of integers the key of each code, from [`FIRST`] on.
    keys: Vec<i64>,
    /// Of texts the same.
    texts: Texts,
    /// Codes of integers from 0 to `reach`, 0 where there is none. It ends at the largest key.
    direct: Vec<u32>,
    reach: usize,
    /// Codes of all other keys.
    table: HashTable<u32>,
    next: u32,
    /// How many buckets keys are hashed into, where they are.
    buckets: Option<usize>,
}

/// The keys of a vocabulary whose rows have all come.
pub(crate) enum Keys {
    /// In the order of their codes.
    Integers(Vec<i64>),
    /// In the order of their codes.
    Texts(Texts),
    /// None is kept.
    Hashed(Vocabulary),
}

impl Keys {
    /// A number of each code that its key alone decides; `None` where the code is that.
    pub(crate) fn marks(&self) -> Option<Vec<u32>> {
        let head = [PAD, NULL];
        Some(match self {
            Self::Integers(keys) => {
                head.into_iter().chain(keys.iter().map(|&key| hash_of_integer(key) as u32)).collect()
            }
            Self::Texts(texts) => {
                let keys = (0..texts.len()).map(|place| xxh3_64(texts.bytes_of(place)) as u32);
                head.into_iter().chain(keys).collect()
            }
            Self::Hashed(_) => return None,
        })
    }
}

/// The place of a code's key.
fn place(code: u32) -> usize {
    (code - FIRST) as usize
}

fn hash_of_integer(key: i64) -> u64 {
    xxh3_64(&key.to_le_bytes())
}

impl Dictionary {
    /// Without keys yet, for columns of this type.
    pub(crate) fn of(dtype: &DataType) -> Self {
        Self { integers: has_integer_keys(dtype), reach: DIRECT, next: FIRST, ..Self::default() }
    }

    /// Hashes keys into so many buckets: a code for each, and no key is kept.
    pub(crate) fn hashing(mut self, buckets: Option<usize>) -> Self {
        self.buckets = buckets;
        self.next += buckets.unwrap_or(0) as u32;
        self
    }

    /// The keys, which are not kept here any longer.
    pub(crate) fn take_keys(&mut self) -> Keys {
        (self.direct, self.table) = (Vec::new(), HashTable::new());
        match self.buckets {
            Some(buckets) => {
                let keys = if self.integers { KeyKind::Integers } else { KeyKind::Texts };
                Keys::Hashed(Vocabulary::Hashed { buckets, keys })
            }
            None if self.integers => Keys::Integers(std::mem::take(&mut self.keys)),
            None => Keys::Texts(std::mem::take(&mut self.texts)),
        }
    }

    /// Codes given so far, padding and null included.
    pub(crate) fn codes(&self) -> usize {
        self.next as usize
    }

    /// Keys that are kept.
    pub(crate) fn keys(&self) -> usize {
        self.keys.len() + self.texts.len()
    }

    /// Bytes that keys and look-up take.
    pub(crate) fn bytes(&self) -> u64 {
        let (texts, offsets) = self.texts.parts();
        let found = size_of_val(self.direct.as_slice()) + self.table.allocation_size();
        (size_of_val(self.keys.as_slice()) + texts.len() + size_of_val(offsets) + found) as u64
    }

    pub(crate) fn code_of_integer(&mut self, key: i64) -> u32 {
        if self.buckets.is_some() {
            return self.code_of_text(&key.to_string());
        }
        let Self { keys, direct, reach, table, next, .. } = self;
        let code = match usize::try_from(key) {
            Ok(key) if key < *reach => {
                if key >= direct.len() {
                    direct.resize((key + 1).next_power_of_two().min(*reach), 0);
                }
                &mut direct[key]
            }
            _ => {
                let is_key = |&code: &u32| keys[place(code)] == key;
                let hash = |&code: &u32| hash_of_integer(keys[place(code)]);
                match table.entry(hash_of_integer(key), is_key, hash) {
                    Entry::Occupied(found) => return *found.get(),
                    Entry::Vacant(free) => free.insert(0).into_mut(),
                }
            }
        };
        if *code != 0 {
            return *code;
        }
        let new = *next;
        *code = new;
        *next += 1;
        keys.push(key);
        if table.len() >= FIRST_LOOK && table.len().is_power_of_two() {
            self.reach_further();
        }
        new
    }

    /// Moves keys from the hash table into the array as far as keys are dense.
    fn reach_further(&mut self) {
        let mut below = [0; 64]; // keys below 1, 2, 4 ...
        for &key in self.keys.iter().filter(|key| **key >= 0) {
            below[(64 - key.leading_zeros()) as usize] += 1;
        }
        (1..64).for_each(|bits| below[bits] += below[bits - 1]);
        let dense = (0..40).rev().find(|&bits| below[bits] >= (1 << bits) / SPARSEST);
        let Some(reach) = dense.map(|bits| 1 << bits).filter(|reach| *reach > self.reach) else { return };
        let Self { keys, direct, table, .. } = self;
        let in_reach = |key: i64| usize::try_from(key).is_ok_and(|key| key < reach);
        direct.resize(reach, 0);
        for (&key, code) in keys.iter().zip(FIRST..).filter(|(key, _)| in_reach(**key)) {
            direct[key as usize] = code;
        }
        table.retain(|&mut code| !in_reach(keys[place(code)]));
        table.shrink_to_fit(|&code| hash_of_integer(keys[place(code)]));
        self.reach = reach;
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

    pub(crate) fn turn_to_texts(&mut self) {
        if self.integers {
            let digits = std::mem::take(&mut self.keys);
            (self.integers, self.direct, self.table, self.next) = (false, vec![], HashTable::new(), FIRST);
            for key in digits {
                self.code_of_text(&key.to_string()); // in the order of their codes
            }
        }
    }

    /// The code of an integer, which may stand among texts.
    #[inline]
    fn code_of_any_integer(&mut self, key: i64) -> u32 {
        if self.integers { self.code_of_integer(key) } else { self.code_of_text(&key.to_string()) }
    }

    pub(crate) fn code_of_text(&mut self, key: &str) -> u32 {
        if let Some(buckets) = self.buckets {
            return FIRST + hash_bucket(key, buckets) as u32;
        }
        let Self { texts, table, next, .. } = self;
        let is_key = |&code: &u32| texts.bytes_of(place(code)) == key.as_bytes();
        let hash = |&code: &u32| xxh3_64(texts.bytes_of(place(code)));
        match table.entry(xxh3_64(key.as_bytes()), is_key, hash) {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(free) => {
                let code = *next;
                free.insert(code);
                texts.push(key);
                *next += 1;
                code
            }
        }
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
                let expected = || match key {
                    key if key.is_nan() => {
                        "whole numbers or null (NULLIF(..., CAST('NaN' AS DOUBLE)) in the sql makes null of NaN)"
                    }
                    key if key.fract() == 0.0 => {
                        "whole numbers that a float holds exactly, below 2^53: larger ids are other ones by now; write them as integers or text"
                    }
                    _ => "whole numbers, as keys are; for others make it a number, or CAST it to text in the sql",
                };
                let whole =
                    whole(key).ok_or_else(|| Error::value(column.name(), first + row, expected(), key.to_string()))?;
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

    /// Text keys.
    pub(crate) fn text_keys(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.texts.len()).map(|place| self.texts.get(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_place_of_its_key_however_the_key_is_found() {
        let mut dictionary = Dictionary::of(&DataType::Int64);
        let beyond = DIRECT as i64;
        let keys = [7, -3, beyond, 7, 0, i64::MIN, beyond, 5];
        let codes = keys.map(|key| dictionary.code_of_integer(key));
        assert_eq!(codes, [2, 3, 4, 2, 5, 6, 4, 7]);
        assert_eq!(dictionary.codes(), 8);
        let Keys::Integers(kept) = dictionary.take_keys() else { panic!("integers") };
        assert_eq!(kept, [7, -3, beyond, 0, i64::MIN, 5]);
    }

    #[test]
    fn many_keys_are_found_again_after_the_table_has_grown() {
        let mut dictionary = Dictionary::of(&DataType::String);
        let texts: Vec<String> = (0..5000).map(|key| format!("key {key}")).collect();
        let first: Vec<u32> = texts.iter().map(|key| dictionary.code_of_text(key)).collect();
        assert_eq!(first, (FIRST..FIRST + 5000).collect::<Vec<_>>());
        assert!(texts.iter().zip(&first).all(|(key, code)| dictionary.code_of_text(key) == *code));
    }

    #[test]
    fn dense_keys_are_found_by_their_place_and_keep_the_codes_that_the_table_gave() {
        let mut dictionary = Dictionary::of(&DataType::Int64);
        let (half, far) = (DIRECT as i64 / 2, 1 << 60);
        let keys = || [far].into_iter().chain(half..2 * half + FIRST_LOOK as i64 + 5);
        let codes: Vec<u32> = keys().map(|key| dictionary.code_of_integer(key)).collect();
        assert_eq!(codes, (FIRST..).take(codes.len()).collect::<Vec<_>>());
        assert_eq!((dictionary.reach, dictionary.table.len()), (2 * DIRECT, 1), "{far} alone is in the table");
        assert!(keys().zip(codes).all(|(key, code)| dictionary.code_of_integer(key) == code));
        assert_eq!(dictionary.codes(), 2 + keys().count());
        let Keys::Integers(kept) = dictionary.take_keys() else { panic!("integers") };
        assert!(kept.into_iter().eq(keys()));
    }

    #[test]
    fn integers_that_turn_to_texts_keep_their_codes() {
        let mut dictionary = Dictionary::of(&DataType::UInt64);
        let before = [3, 9, 1u64 << 40].map(|key| dictionary.code_of_unsigned(key));
        assert_eq!(dictionary.code_of_unsigned(u64::MAX), 5);
        assert_eq!([3, 9, 1u64 << 40].map(|key| dictionary.code_of_unsigned(key)), before);
        assert_eq!(dictionary.text_keys().collect::<Vec<_>>(), ["3", "9", "1099511627776", "18446744073709551615"]);
    }
}
