//! Keys that are integers, ascending, looked up by bisection: eight bytes each, or packed by block into as few bits as they need.
//!
//! ```text
//! key = base of its block + its place in the block + remainder        a block is 128 keys
//! ```
//!
//! Remainders do not fall within a block, so its last one says how many bits each of them takes there: none where the keys are consecutive.

use std::borrow::Cow;
use std::fmt;

use crate::mapped::Stored;

/// Keys of a block.
const BLOCK: usize = 128;
/// Keys that are looked for side by side.
const TOGETHER: usize = 16;
/// Bytes behind the last remainder, for a remainder is read as eight bytes.
const BEHIND: usize = 8;
/// Bits up to which a remainder lies within eight bytes wherever it begins; one that has more takes 64.
const WITHIN: u32 = 57;

/// Ascending integers.
#[derive(Clone)]
pub struct IntegerKeys {
    keys: Keys,
}

#[derive(Clone)]
enum Keys {
    Plain(Stored<i64>),
    Packed(PackedKeys),
}

/// Ascending integers by block.
#[derive(Clone)]
pub(crate) struct PackedKeys {
    len: usize,
    /// Of each block its base, and where its remainders end in `remainders`.
    blocks: Stored<[i64; 2]>,
    /// Of each block 128 numbers of so many bits, the first in the lowest bits; of the last block too, whatever it holds.
    remainders: Stored<u8>,
}

impl IntegerKeys {
    /// How many.
    pub fn len(&self) -> usize {
        match &self.keys {
            Keys::Plain(keys) => keys.len(),
            Keys::Packed(keys) => keys.len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Key `place`; `None` behind the last.
    pub fn get(&self, place: usize) -> Option<i64> {
        match &self.keys {
            Keys::Plain(keys) => keys.get(place).copied(),
            Keys::Packed(keys) => keys.get(place),
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        (0..self.len()).map(|place| self.get(place).unwrap_or_default())
    }

    /// Where a key stands.
    #[inline]
    pub fn position(&self, key: i64) -> Option<usize> {
        match &self.keys {
            Keys::Plain(keys) => keys.binary_search(&key).ok(),
            Keys::Packed(keys) => keys.position(key),
        }
    }

    /// Tells of each of `sought` where it stands, as [`position`](Self::position) does: several are looked for side by side, so that while one waits
    /// for memory the others go on.
    pub(crate) fn positions(&self, sought: &[i64], mut found: impl FnMut(usize, Option<usize>)) {
        let Keys::Plain(keys) = &self.keys else {
            return sought.iter().enumerate().for_each(|(i, key)| found(i, self.position(*key)));
        };
        for (part, sought) in sought.chunks(TOGETHER).enumerate() {
            let (mut firsts, mut left) = ([0; TOGETHER], keys.len());
            while left > 1 {
                let half = left / 2;
                for (first, key) in firsts.iter_mut().zip(sought) {
                    let middle = *first + half;
                    *first = if keys[middle] <= *key { middle } else { *first };
                }
                left -= half;
            }
            for (i, (first, key)) in firsts.into_iter().zip(sought).enumerate() {
                found(part * TOGETHER + i, (keys.get(first) == Some(key)).then_some(first));
            }
        }
    }

    /// All of them side by side; copied where they are packed.
    pub fn values(&self) -> Cow<'_, [i64]> {
        match &self.keys {
            Keys::Plain(keys) => Cow::Borrowed(keys),
            Keys::Packed(_) => self.iter().collect(),
        }
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        match &self.keys {
            Keys::Plain(keys) => size_of_val::<[i64]>(keys),
            Keys::Packed(keys) => keys.bytes(),
        }
    }
}

impl From<Stored<i64>> for IntegerKeys {
    fn from(keys: Stored<i64>) -> Self {
        Self { keys: Keys::Plain(keys) }
    }
}

impl From<PackedKeys> for IntegerKeys {
    fn from(keys: PackedKeys) -> Self {
        Self { keys: Keys::Packed(keys) }
    }
}

impl From<Vec<i64>> for IntegerKeys {
    fn from(keys: Vec<i64>) -> Self {
        Stored::from(keys).into()
    }
}

impl FromIterator<i64> for IntegerKeys {
    fn from_iter<I: IntoIterator<Item = i64>>(keys: I) -> Self {
        keys.into_iter().collect::<Vec<_>>().into()
    }
}

impl PartialEq for IntegerKeys {
    fn eq(&self, other: &Self) -> bool {
        match (&self.keys, &other.keys) {
            (Keys::Plain(own), Keys::Plain(others)) => own == others,
            _ => self.iter().eq(other.iter()),
        }
    }
}

impl Eq for IntegerKeys {}

impl fmt::Debug for IntegerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.keys {
            Keys::Plain(keys) => keys.fmt(f),
            Keys::Packed(keys) => write!(f, "{} packed integers", keys.len),
        }
    }
}

impl PackedKeys {
    /// Packs strictly ascending keys.
    pub(crate) fn of(keys: &[i64]) -> Self {
        let (mut blocks, mut remainders) = (Vec::with_capacity(keys.len().div_ceil(BLOCK)), Vec::new());
        for keys in keys.chunks(BLOCK) {
            let base = keys[0];
            let remainder = |(place, key): (u64, &i64)| (key.wrapping_sub(base) as u64).wrapping_sub(place);
            let own: Vec<u64> = (0..).zip(keys).map(remainder).collect();
            let needed = u64::BITS - own[own.len() - 1].leading_zeros();
            let bits = if needed > WITHIN { u64::BITS } else { needed };
            push(&mut remainders, &own, bits);
            blocks.push([base, remainders.len() as i64]);
        }
        remainders.resize(remainders.len() + BEHIND, 0);
        Self { len: keys.len(), blocks: blocks.into(), remainders: remainders.into() }
    }

    /// Takes `len` packed keys from a file; `None` where there are not as many blocks. That is all that is checked: keys that were packed by
    /// nobody are whatever they are, and none is read outside.
    pub(crate) fn from_parts(len: usize, blocks: Stored<[i64; 2]>, remainders: Stored<u8>) -> Option<Self> {
        (blocks.len() == len.div_ceil(BLOCK)).then_some(Self { len, blocks, remainders })
    }

    /// Bases and ends of the blocks, and the remainders.
    pub(crate) fn parts(&self) -> (&[[i64; 2]], &[u8]) {
        (&self.blocks, &self.remainders)
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val::<[[i64; 2]]>(&self.blocks) + self.remainders.len()
    }

    fn get(&self, place: usize) -> Option<i64> {
        (place < self.len).then(|| self.block(place / BLOCK).key(place % BLOCK))
    }

    #[inline]
    fn position(&self, key: i64) -> Option<usize> {
        let number = self.blocks.partition_point(|[base, _]| *base <= key).checked_sub(1)?;
        let block = self.block(number);
        let (mut low, mut high) = (0, BLOCK.min(self.len - number * BLOCK));
        if block.bits == 0 {
            let place = usize::try_from(key.wrapping_sub(block.base) as u64).ok()?;
            return (place < high).then_some(number * BLOCK + place);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            match block.key(middle).cmp(&key) {
                std::cmp::Ordering::Equal => return Some(number * BLOCK + middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn block(&self, number: usize) -> Block<'_> {
        let [base, end] = self.blocks[number];
        let start = if number == 0 { 0 } else { self.blocks[number - 1][1] };
        let bits = (end.wrapping_sub(start) as u64 / (BLOCK as u64 / 8)).min(u64::from(u64::BITS)) as u32;
        let remainders = usize::try_from(start).ok().and_then(|start| self.remainders.get(start..));
        Block { base, bits, remainders: remainders.unwrap_or_default() }
    }
}

/// One block, and all remainders from its own on.
struct Block<'k> {
    base: i64,
    bits: u32,
    remainders: &'k [u8],
}

impl Block<'_> {
    #[inline(always)]
    fn key(&self, place: usize) -> i64 {
        self.base.wrapping_add(place as i64).wrapping_add(self.remainder(place) as i64)
    }

    #[inline(always)]
    fn remainder(&self, place: usize) -> u64 {
        let first = place * self.bits as usize;
        let eight = self.remainders.get(first / 8..).and_then(|bytes| bytes.first_chunk::<8>());
        let all = u64::from_le_bytes(eight.copied().unwrap_or_default()) >> (first % 8);
        if self.bits == u64::BITS { all } else { all & ((1 << self.bits) - 1) }
    }
}

/// Appends 128 numbers of so many bits, those that are not there as 0.
fn push(bytes: &mut Vec<u8>, numbers: &[u64], bits: u32) {
    let (mut held, mut count) = (0u128, 0);
    for place in 0..BLOCK {
        held |= u128::from(numbers.get(place).copied().unwrap_or(0)) << count;
        count += bits;
        while count >= 8 {
            bytes.push(held as u8);
            (held, count) = (held >> 8, count - 8);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(keys: &[i64]) -> IntegerKeys {
        PackedKeys::of(keys).into()
    }

    /// Keys close together, far apart, and both.
    fn ascending() -> impl Strategy<Value = Vec<i64>> {
        let gap = prop_oneof![4 => Just(1i64), 2 => 1..5i64, 2 => 1..100_000i64, 1 => 1..i64::MAX / 64];
        (any::<i64>(), prop::collection::vec(gap, 0..400)).prop_map(|(first, gaps)| {
            let ends = gaps.into_iter().scan(first, |key, gap| {
                *key = key.checked_add(gap)?;
                Some(*key)
            });
            ends.collect()
        })
    }

    proptest! {
        #[test]
        fn packed_keys_are_found_where_plain_ones_are(keys in ascending(), other: i64, near in 0usize..400) {
            let (plain, packed) = (IntegerKeys::from(keys.clone()), packed(&keys));
            prop_assert_eq!(&packed, &plain);
            prop_assert_eq!(&*packed.values(), &keys[..]);
            prop_assert_eq!((packed.len(), packed.get(keys.len())), (keys.len(), None));
            let near = keys.get(near).copied().unwrap_or_default();
            let others = [other, i64::MIN, i64::MAX, near.wrapping_add(1), near.wrapping_sub(1)];
            let sought: Vec<i64> = keys.iter().copied().chain(others).collect();
            let expected: Vec<Option<usize>> = sought.iter().map(|key| keys.iter().position(|own| own == key)).collect();
            for of in [&plain, &packed] {
                prop_assert_eq!(&sought.iter().map(|key| of.position(*key)).collect::<Vec<_>>(), &expected);
                let mut side_by_side = Vec::new();
                of.positions(&sought, |i, place| side_by_side.push((i, place)));
                prop_assert_eq!(side_by_side, expected.iter().copied().enumerate().collect::<Vec<_>>());
            }
        }

        #[test]
        fn blocks_that_nobody_packed_are_read_without_a_panic(
            len in 0usize..300, blocks in prop::collection::vec(any::<[i64; 2]>(), 0..4), bytes in prop::collection::vec(any::<u8>(), 0..80), key: i64
        ) {
            let count = blocks.len();
            let Some(keys) = PackedKeys::from_parts(len, blocks.into(), bytes.into()) else {
                prop_assert_ne!(count, len.div_ceil(BLOCK));
                return Ok(());
            };
            let keys = IntegerKeys::from(keys);
            prop_assert_eq!(keys.iter().count(), len);
            prop_assert!(keys.position(key).is_none_or(|place| place < len));
        }
    }

    #[test]
    fn keys_take_the_bits_that_they_need() {
        let bytes = |keys: Vec<i64>| packed(&keys).bytes() - BEHIND;
        assert_eq!(bytes(vec![]), 0);
        assert_eq!(bytes((7..7 + 1280).collect()), 10 * 16, "consecutive ones take what their blocks take");
        assert_eq!(bytes((0..1280).map(|i| 2 * i).collect()), 10 * (16 + 7 * 16), "remainders of up to 127");
        assert_eq!(
            bytes([-1].into_iter().chain(1_000_000..1_000_000 + 1279).collect()),
            10 * 16 + 20 * 16,
            "one far away"
        );
        assert_eq!(bytes(vec![i64::MIN, i64::MAX]), 16 + 128 * 8);
    }
}
