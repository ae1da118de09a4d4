//! From a raw value to its row: a sorted list of known keys, looked up by bisection.
//!
//! Local ids: 0 is padding, `1..=n` are the known keys in sorted order, `n + 1` is "unseen, or rarer than the minimum count".
//! Sorted keys need no hash table: a bundle's vocabulary is two plain tensors, and the same data always gives the same ids.

use crate::error::{Error, Result};
use crate::integer_keys::IntegerKeys;
use crate::mapped::Stored;
use crate::schema::{FieldKind, Schema};
use crate::transform::{KeyKind, hash_bucket};
use crate::value_ref::ValueRef;

/// Local id of padding.
pub const PADDING: u32 = 0;

/// The known values of one or more fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vocabulary {
    /// Keys that are integers in the source, ascending.
    Integers(IntegerKeys),
    /// Keys that are text in the source, ascending by their bytes.
    Texts(Texts),
    /// Keys that are not known, each hashed into a bucket: ids `1..=buckets`, and one for null.
    Hashed {
        /// How many buckets.
        buckets: usize,
        /// What the keys are.
        keys: KeyKind,
    },
    /// A number's vocabulary: one row, no keys.
    Number,
    /// A vector's vocabulary: a row for each of so many numbers, no keys.
    Vector(usize),
}

/// Many short texts in one allocation: text `i` is `bytes[offsets[i]..offsets[i + 1]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    bytes: Stored<u8>,
    offsets: Stored<u64>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { bytes: Vec::new().into(), offsets: vec![0].into() }
    }
}

impl Texts {
    /// Packs texts in the order given.
    pub fn new<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Self {
        let mut packed = Self::default();
        texts.into_iter().for_each(|text| packed.push(text.as_ref()));
        packed
    }

    /// Adds a text behind the others.
    pub fn push(&mut self, text: &str) {
        let bytes = self.bytes.to_mut();
        bytes.extend_from_slice(text.as_bytes());
        self.offsets.to_mut().push(bytes.len() as u64);
    }

    /// Takes packed texts from a file; `None` when the offsets do not cut the bytes into valid UTF-8.
    pub fn from_parts(bytes: impl Into<Stored<u8>>, offsets: impl Into<Stored<u64>>) -> Option<Self> {
        let texts = Self { bytes: bytes.into(), offsets: offsets.into() };
        let (bytes, offsets) = texts.parts();
        let whole = offsets.first() == Some(&0) && offsets.last() == Some(&(bytes.len() as u64));
        let sound = whole
            && offsets.windows(2).all(|w| w[0] <= w[1])
            && offsets.windows(2).all(|w| std::str::from_utf8(&bytes[w[0] as usize..w[1] as usize]).is_ok());
        sound.then_some(texts)
    }

    /// As [`from_parts`](Self::from_parts), of a file that is trusted: nothing is read. Offsets that cut no text make an empty one.
    pub(crate) fn trusted(bytes: Stored<u8>, offsets: Stored<u64>) -> Option<Self> {
        (!offsets.is_empty()).then_some(Self { bytes, offsets })
    }

    /// The packed bytes and the `n + 1` offsets that cut them.
    pub fn parts(&self) -> (&[u8], &[u64]) {
        (&self.bytes, &self.offsets)
    }

    /// How many texts.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of text `i`.
    pub fn bytes_of(&self, i: usize) -> &[u8] {
        let (start, end) = (self.offsets[i] as usize, self.offsets[i + 1] as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// Text `i`.
    pub fn get(&self, i: usize) -> &str {
        std::str::from_utf8(self.bytes_of(i)).unwrap_or_default() // always a text, but of a file that was trusted unread
    }

    fn position(&self, text: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.bytes_of(middle).cmp(text.as_bytes()) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// An integer in text; true and false are the 1 and 0 that columns of booleans become, and a whole float is the integer that columns
/// of whole floats become.
pub(crate) fn integer_key(text: &str) -> Option<i64> {
    match text.trim() {
        text if text.eq_ignore_ascii_case("true") => Some(1),
        text if text.eq_ignore_ascii_case("false") => Some(0),
        text => text.parse().ok().or_else(|| text.parse().ok().and_then(whole)),
    }
}

/// The integer that a float is exactly and that is no other float, as a key of whole floats is. `None` of a fraction, and from 2^53 on.
pub fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = (1u64 << 53) as f64;
    (value.fract() == 0.0 && value.abs() < EXACT).then_some(value as i64)
}

impl Vocabulary {
    /// Sorts and packs integer keys; duplicates fall together.
    pub fn integers(keys: impl IntoIterator<Item = i64>) -> Self {
        let mut keys: Vec<i64> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Vocabulary::Integers(keys.into())
    }

    /// Sorts and packs text keys; duplicates fall together.
    pub fn texts<S: AsRef<str>>(keys: impl IntoIterator<Item = S>) -> Self {
        let mut keys: Vec<S> = keys.into_iter().collect();
        keys.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        keys.dedup_by(|a, b| a.as_ref() == b.as_ref());
        Vocabulary::Texts(Texts::new(keys))
    }

    /// The vocabulary `v` of a schema, where that alone says all: its keys are hashed, or it is of a number or vector.
    pub fn without_keys(schema: &Schema, v: usize) -> Option<Self> {
        let spec = schema.vocabularies.get(v)?;
        if let Some(keys) = spec.hashed {
            return Some(Vocabulary::Hashed { buckets: spec.rows.saturating_sub(2), keys });
        }
        schema.fields.iter().filter(|field| field.vocabulary == v).find_map(|field| match field.kind {
            FieldKind::Number { .. } => Some(Vocabulary::Number),
            FieldKind::Vector { len } => Some(Vocabulary::Vector(len)),
            FieldKind::Category | FieldKind::Sequence { .. } => None,
        })
    }

    /// Whether the keys ascend strictly, as look-up needs. A bundle read from disk is asked.
    pub fn is_sorted(&self) -> bool {
        match self {
            Vocabulary::Integers(keys) => keys.iter().zip(keys.iter().skip(1)).all(|(a, b)| a < b),
            Vocabulary::Texts(keys) => (1..keys.len()).all(|i| keys.bytes_of(i - 1) < keys.bytes_of(i)),
            Vocabulary::Hashed { .. } | Vocabulary::Number | Vocabulary::Vector(_) => true,
        }
    }

    /// Known keys, or buckets.
    pub fn len(&self) -> usize {
        match self {
            Vocabulary::Integers(keys) => keys.len(),
            Vocabulary::Texts(keys) => keys.len(),
            Vocabulary::Hashed { buckets, .. } => *buckets,
            Vocabulary::Number | Vocabulary::Vector(_) => 0,
        }
    }

    /// Whether no key is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is a number's or a vector's, whose rows have no keys.
    pub fn is_keyless(&self) -> bool {
        matches!(self, Vocabulary::Number | Vocabulary::Vector(_))
    }

    /// Table rows: padding + keys + unseen, or the rows of a number or vector.
    pub fn rows(&self) -> usize {
        match self {
            Vocabulary::Number => 1,
            Vocabulary::Vector(len) => *len,
            _ => self.len() + 2,
        }
    }

    /// Bytes that its keys take.
    pub fn key_bytes(&self) -> u64 {
        match self {
            Vocabulary::Hashed { .. } | Vocabulary::Number | Vocabulary::Vector(_) => 0,
            Vocabulary::Integers(keys) => keys.bytes() as u64,
            Vocabulary::Texts(texts) => {
                let (bytes, offsets) = texts.parts();
                (bytes.len() + size_of_val(offsets)) as u64
            }
        }
    }

    /// Local id of the unseen: the last row.
    pub fn unseen(&self) -> u32 {
        (self.rows() - 1) as u32
    }

    /// Local id of an integer key, or of the unseen.
    pub fn id_of_integer(&self, key: i64) -> u32 {
        match self {
            Vocabulary::Integers(keys) => self.id_at(keys.position(key)),
            Vocabulary::Texts(_) | Vocabulary::Hashed { .. } => self.id_of_text(&key.to_string()),
            Vocabulary::Number | Vocabulary::Vector(_) => 0,
        }
    }

    /// Tells of each of `keys` its local id, as [`id_of_integer`](Self::id_of_integer) does; an integer vocabulary looks for several side by side.
    pub(crate) fn ids_of_integers(&self, keys: &[i64], mut found: impl FnMut(usize, u32)) {
        match self {
            Vocabulary::Integers(known) => known.positions(keys, |i, place| found(i, self.id_at(place))),
            _ => keys.iter().enumerate().for_each(|(i, key)| found(i, self.id_of_integer(*key))),
        }
    }

    /// Local id of the known key at a place; of none that of the unseen.
    fn id_at(&self, place: Option<usize>) -> u32 {
        place.map_or(self.unseen(), |place| place as u32 + 1)
    }

    /// Local id of a text key as it is spelt, or of the unseen. Of an integer vocabulary it is `unseen` when the text is no integer.
    pub fn id_of_text(&self, key: &str) -> u32 {
        match self {
            Vocabulary::Integers(_) => integer_key(key).map_or(self.unseen(), |key| self.id_of_integer(key)),
            Vocabulary::Texts(keys) => self.id_at(keys.position(key)),
            Vocabulary::Hashed { buckets, .. } => hash_bucket(key, *buckets) as u32 + 1,
            Vocabulary::Number | Vocabulary::Vector(_) => 0,
        }
    }

    /// Local id of a raw value: null and unknown values give [`unseen`](Self::unseen). Text that holds an integer, true or false,
    /// and a float without a fraction, name an integer key; a value that cannot name a key at all is an error. Floats name no
    /// text key, for no two writers agree on their digits.
    ///
    /// # Errors
    /// [`Error::WrongType`] with `column` and `row` as given.
    pub fn id_of<'v>(&self, value: impl Into<ValueRef<'v>>, column: &str, row: usize) -> Result<u32> {
        let value = value.into();
        let wrong = |expected: &'static str| {
            Err(Error::WrongType { column: column.into(), row, expected, found: value.to_string() })
        };
        match (self, value) {
            (_, ValueRef::Null) => Ok(self.unseen()),
            (_, ValueRef::List(_)) => wrong("one value"),
            (Vocabulary::Hashed { keys, .. }, value) => match keys.spell(value) {
                Ok(key) => Ok(key.map_or(self.unseen(), |key| self.id_of_text(&key))),
                Err(expected) => wrong(expected),
            },
            (_, ValueRef::Integer(key)) => Ok(self.id_of_integer(key)),
            (Vocabulary::Integers(_), ValueRef::Unsigned(_)) => Ok(self.unseen()), // beyond 64 bits: an integer, and none that is known
            (_, ValueRef::Unsigned(key)) => Ok(self.id_of_text(&key.to_string())),
            (Vocabulary::Integers(_), ValueRef::Float(key)) => match whole(key) {
                Some(key) => Ok(self.id_of_integer(key)),
                None => wrong("an integer"),
            },
            (Vocabulary::Integers(_), ValueRef::Text(key)) => match integer_key(key) {
                Some(key) => Ok(self.id_of_integer(key)),
                None if key.trim().parse::<i128>().is_ok() => Ok(self.unseen()), // as above
                None => wrong("an integer"),
            },
            (Vocabulary::Texts(_), ValueRef::Float(_)) => wrong("text or an integer"),
            (Vocabulary::Number | Vocabulary::Vector(_), ValueRef::Float(_)) => Ok(0),
            (_, ValueRef::Text(key)) => Ok(self.id_of_text(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use proptest::prelude::*;

    #[test]
    fn ids_are_padding_then_sorted_keys_then_unseen() {
        let v = Vocabulary::integers([5, -1, 5, 3]);
        assert_eq!((v.rows(), v.unseen()), (5, 4));
        assert_eq!([-1, 3, 5, 4].map(|key| v.id_of_integer(key)), [1, 2, 3, 4]);
        assert_eq!(v.id_of(&Value::Text(" 3 ".into()), "c", 0).unwrap(), 2);
        assert_eq!(v.id_of(&Value::Float(3.0), "c", 0).unwrap(), 2);
        assert_eq!(v.id_of(&Value::Text("3.0".into()), "c", 0).unwrap(), 2);
        assert_eq!(v.id_of(&Value::from(u64::MAX), "c", 0).unwrap(), v.unseen());
        assert_eq!([9_007_199_254_740_991.0, 9_007_199_254_740_992.0].map(whole), [Some((1 << 53) - 1), None]);
        for wrong in [Value::Text("3.5".into()), Value::Text("x".into()), Value::Float(3.5), Value::Float(1e300)] {
            assert!(v.id_of(&wrong, "c", 0).is_err(), "{wrong}");
        }
        assert_eq!(Vocabulary::texts(Vec::<String>::new()).rows(), 2);
    }

    #[test]
    fn hashed_keys_have_the_ids_between_padding_and_the_unseen() {
        let v = Vocabulary::Hashed { buckets: 3, keys: KeyKind::Texts };
        let mut ids: Vec<u32> = (0..64).map(|key| v.id_of_text(&format!("key {key}"))).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((ids, v.unseen(), v.rows()), (vec![1, 2, 3], 4, 5));
        assert_eq!(v.id_of_integer(7), v.id_of_text("7"));
    }

    #[test]
    fn a_vocabulary_says_how_large_it_is() {
        let (none, two) = (Vocabulary::texts(Vec::<String>::new()), Vocabulary::texts(["a", "bcd"]));
        assert!(none.is_empty() && !two.is_empty());
        let Vocabulary::Texts(texts) = &two else { unreachable!() };
        assert!(!texts.is_empty());
        assert_eq!(two.key_bytes(), 4 + 3 * 8); // the texts, and offsets around each
        assert_eq!([Vocabulary::integers([1, 2]), Vocabulary::Number].map(|v| v.key_bytes()), [16, 0]);
        assert_eq!([Vocabulary::Vector(3), Vocabulary::Number, two].map(|v| v.rows()), [3, 1, 4]);
    }

    #[test]
    fn keys_ascend_strictly_or_are_not_sorted() {
        let texts = |keys: &[&str]| Vocabulary::Texts(Texts::new(keys)).is_sorted();
        let integers = |keys: &[i64]| Vocabulary::Integers(keys.to_vec().into()).is_sorted();
        assert!(integers(&[]) && integers(&[-1, 3, 5]) && texts(&["", "a", "b"]) && Vocabulary::Number.is_sorted());
        assert!(!integers(&[3, 3]) && !integers(&[5, 3]));
        assert!(!texts(&["a", "a"]) && !texts(&["b", "a"]));
    }

    proptest! {
        #[test]
        fn every_text_key_is_found_where_it_is_sorted(keys in prop::collection::vec("[a-z\u{e9}]{0,4}", 0..40), other in "[A-Z]{1,3}") {
            let v = Vocabulary::texts(keys.clone());
            prop_assert!(v.is_sorted());
            let Vocabulary::Texts(texts) = &v else { unreachable!() };
            for key in &keys {
                prop_assert_eq!(texts.get(v.id_of_text(key) as usize - 1), key);
            }
            prop_assert_eq!(v.id_of_text(&other), v.unseen());
            let (bytes, offsets) = texts.parts();
            prop_assert_eq!(Texts::from_parts(bytes.to_vec(), offsets.to_vec()), Some(texts.clone()));
        }
    }

    #[test]
    fn packed_texts_that_do_not_fit_are_refused() {
        let text = "\u{e9}".as_bytes().to_vec();
        for offsets in [vec![], vec![0], vec![0, 1], vec![1, 2], vec![0, 1, 2], vec![0, 2, 1, 2]] {
            assert_eq!(Texts::from_parts(text.clone(), offsets), None);
        }
    }
}
