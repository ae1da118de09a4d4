//! Rows of a new tensor as runs of an old one's rows, and rows between them.

use std::io::{self, Write};

/// First row of the old tensor, rows that are copied from there, and rows that follow and are not in it.
pub(super) type Segment = [u64; 3];

/// A tensor made of another one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Segments {
    pub(super) all: Vec<Segment>,
    /// The rows that are not copied.
    pub(super) literal: Vec<u8>,
}

impl Segments {
    /// The rows of `new`; `from` says which row of `old` each may be a copy of. Copies keep their order, and none is taken twice.
    pub(super) fn between(old: &[u8], new: &[u8], row_bytes: usize, from: impl Fn(usize) -> Option<usize>) -> Self {
        let mut segments = Self::default();
        let mut next = 0; // the first row of the old one that may be copied
        for (row, bytes) in new.chunks_exact(row_bytes).enumerate() {
            let is_same = |place: &usize| {
                *place >= next && old.get(place * row_bytes..(place + 1) * row_bytes).is_some_and(|old| old == bytes)
            };
            match from(row).filter(is_same) {
                Some(place) => {
                    match segments.all.last_mut() {
                        Some([first, copied, 0]) if *first + *copied == place as u64 => *copied += 1,
                        _ => segments.all.push([place as u64, 1, 0]),
                    }
                    next = place + 1;
                }
                None => {
                    match segments.all.last_mut() {
                        Some([.., own]) => *own += 1,
                        None => segments.all.push([0, 0, 1]),
                    }
                    segments.literal.extend_from_slice(bytes);
                }
            }
        }
        segments
    }
}

/// Why segments cannot be followed.
pub(super) type Unfit = &'static str;

/// Checks that segments make `total` bytes of rows of an old tensor and of literal ones.
pub(super) fn check(
    all: &[Segment],
    (old, literal): (&[u8], &[u8]),
    row_bytes: usize,
    total: usize,
) -> Result<(), Unfit> {
    if row_bytes == 0 {
        return Err("its rows have no bytes");
    }
    let (rows, mut next, mut made, mut taken) = ((old.len() / row_bytes) as u64, 0u64, 0u64, 0u64);
    for &[first, copied, own] in all {
        if copied > 0 {
            let end = first.checked_add(copied).filter(|end| first >= next && *end <= rows);
            next = end.ok_or("it copies rows that the old bundle does not have, or not in their order")?;
        }
        made = made.checked_add(copied).and_then(|made| made.checked_add(own)).ok_or("it is too long")?;
        taken = taken.checked_add(own).ok_or("it is too long")?;
    }
    let bytes = |rows: u64| usize::try_from(rows).ok().and_then(|rows| rows.checked_mul(row_bytes));
    match (bytes(made) == Some(total), bytes(taken) == Some(literal.len())) {
        (true, true) => Ok(()),
        (false, _) => Err("it makes another number of rows than the new bundle has"),
        (_, false) => Err("it has more or fewer rows of its own than it uses"),
    }
}

/// Writes what segments make, once they were checked.
pub(super) fn write(
    all: &[Segment],
    (old, literal): (&[u8], &[u8]),
    row_bytes: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut place = 0;
    for &[first, copied, own] in all {
        let (start, own) = (first as usize * row_bytes, own as usize * row_bytes);
        if copied > 0 {
            out.write_all(&old[start..start + copied as usize * row_bytes])?;
        }
        out.write_all(&literal[place..place + own])?;
        place += own;
    }
    Ok(())
}

/// How much each of some numbers is above the one before, the first above 0; wraps around.
pub(super) fn differences(numbers: &[u8]) -> Vec<u8> {
    running(numbers, |before, number| (number.wrapping_sub(before), number))
}

/// The numbers that have these differences.
pub(super) fn sums(differences: &[u8]) -> Vec<u8> {
    running(differences, |before, difference| {
        let sum = before.wrapping_add(difference);
        (sum, sum)
    })
}

/// Of each number with what the one before left: what it becomes, and what it leaves.
fn running(numbers: &[u8], of: impl Fn(u64, u64) -> (u64, u64)) -> Vec<u8> {
    let mut before = 0;
    let numbers = numbers.as_chunks::<8>().0.iter().flat_map(|number| {
        let (becomes, left) = of(before, u64::from_le_bytes(*number));
        before = left;
        becomes.to_le_bytes()
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_taken_apart_is_put_together(
            old in prop::collection::vec(0u8..4, 0..60),
            new in prop::collection::vec(0u8..4, 0..60),
            row_bytes in 1usize..4,
            from in prop::collection::vec(prop::option::of(0usize..30), 60),
        ) {
            let whole = new.len() / row_bytes * row_bytes;
            let new = &new[..whole];
            let Segments { all, literal } = Segments::between(&old, new, row_bytes, |row| from[row]);
            check(&all, (&old, &literal), row_bytes, whole).unwrap();
            let mut made = Vec::new();
            write(&all, (&old, &literal), row_bytes, &mut made).unwrap();
            prop_assert_eq!(&made, new);
        }

        #[test]
        fn numbers_come_back_from_their_differences(numbers in prop::collection::vec(any::<u64>(), 0..20)) {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            prop_assert_eq!(sums(&differences(&bytes)), bytes);
        }
    }

    #[test]
    fn segments_that_reach_too_far_are_refused() {
        let (old, literal) = ([1, 2, 3, 4], [9, 9]);
        let of = |all: &[Segment], total| check(all, (&old, &literal), 1, total);
        of(&[[0, 2, 1], [3, 1, 1]], 5).unwrap();
        for (all, total) in [
            (&[[0, 5, 2]][..], 7),               // beyond the old rows
            (&[[2, 1, 1], [0, 1, 1]], 4),        // backwards
            (&[[0, 2, 2], [1, 1, 0]], 5),        // twice
            (&[[0, 2, 2]], 5),                   // too few
            (&[[0, 2, 1]], 3),                   // literal rows are left
            (&[[u64::MAX, 2, 2]], 4),            // more than there are numbers
            (&[[0, 0, u64::MAX], [0, 0, 3]], 2), // the same
        ] {
            assert!(of(all, total).is_err(), "{all:?}");
        }
        assert!(check(&[], (&old, &[]), 0, 0).is_err());
    }
}
