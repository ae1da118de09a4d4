//! Keys as they travel between ranks: of an integer its eight bytes, of a text its length before it.

use xxhash_rust::xxh3::xxh3_64;

use super::{DIRECT, Dictionary, FIRST, hash_of_integer, place};

impl Dictionary {
    /// Whether keys are hashed into buckets, and none is kept.
    pub(crate) fn is_hashing(&self) -> bool {
        self.buckets.is_some()
    }

    /// One for keys of the same kind, without any yet.
    pub(crate) fn like(&self) -> Self {
        Self { integers: self.integers, reach: DIRECT, next: FIRST, ..Self::default() }
    }

    /// The same number for a key on every rank, on every machine, in every version.
    pub(crate) fn hash_of_key(&self, code: u32) -> u64 {
        match self.integers {
            true => hash_of_integer(self.keys[place(code)]),
            false => xxh3_64(self.texts.bytes_of(place(code))),
        }
    }

    /// Appends a key to a message.
    pub(crate) fn write_key(&self, code: u32, message: &mut Vec<u8>) {
        if self.integers {
            return message.extend_from_slice(&self.keys[place(code)].to_le_bytes());
        }
        let text = self.texts.bytes_of(place(code));
        message.extend_from_slice(&(text.len() as u32).to_le_bytes()); // a cell of a table is far shorter than 4 GB
        message.extend_from_slice(text);
    }

    /// The codes of the keys of a message, of new ones too.
    pub(crate) fn codes_of_message(&mut self, message: &[u8]) -> Vec<u32> {
        let mut codes = Vec::new();
        match self.integers {
            true => each_integer(message, |key| codes.push(self.code_of_integer(key))),
            false => each_text(message, |key| codes.push(self.code_of_text(key))),
        }
        codes
    }

    /// Puts keys of a message behind those that are there, none of which they are; from then on no key is looked up here.
    pub(crate) fn append_message(&mut self, message: &[u8]) {
        (self.direct, self.table) = (Vec::new(), Default::default());
        match self.integers {
            true => each_integer(message, |key| self.keys.push(key)),
            false => each_text(message, |key| self.texts.push(key)),
        }
        self.next = FIRST + self.keys() as u32;
    }
}

fn each_integer(message: &[u8], mut see: impl FnMut(i64)) {
    message.as_chunks::<8>().0.iter().for_each(|key| see(i64::from_le_bytes(*key)));
}

fn each_text(mut message: &[u8], mut see: impl FnMut(&str)) {
    while let Some((length, rest)) = message.split_first_chunk::<4>() {
        let (text, rest) = rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()));
        see(std::str::from_utf8(text).expect("a rank of this version sends the texts that it has"));
        message = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polars::prelude::DataType;

    #[test]
    fn keys_arrive_as_they_were_sent() {
        for dtype in [DataType::Int64, DataType::String] {
            let code_of = |dictionary: &mut Dictionary, key: i64| match dtype {
                DataType::Int64 => dictionary.code_of_integer(key),
                _ => dictionary.code_of_text(&format!("ключ {key}")),
            };
            let mut own = Dictionary::of(&dtype);
            let codes = [7, -3, i64::MAX].map(|key| code_of(&mut own, key));
            let mut message = Vec::new();
            codes.iter().for_each(|&code| own.write_key(code, &mut message));
            let mut other = Dictionary::of(&dtype);
            code_of(&mut other, -3);
            assert_eq!(other.codes_of_message(&message), [3, 2, 4]);
            assert_eq!(other.hash_of_key(2), own.hash_of_key(3), "the same key");
            let mut joined = Dictionary::of(&dtype);
            code_of(&mut joined, 1);
            joined.append_message(&message);
            assert_eq!((joined.codes(), joined.hash_of_key(5)), (6, own.hash_of_key(4)));
        }
    }
}
