//! The distinct rows of a batch: what is gathered, differentiated and written back; and the slots of each.

/// `ids[i] == rows[inverse[i]]`; `rows` ascend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistinctRows {
    /// `U` rows of the table, ascending.
    pub rows: Vec<u32>,
    /// Position in `rows` of every slot's id. `[B * S]`
    pub inverse: Vec<u32>,
    /// Where each of the rows stands in the batch.
    pub by_row: InverseIndex,
}

/// Slots of a batch by the row they name: an inverted index, laid out as a compressed sparse matrix is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InverseIndex {
    /// Slots of row `u`: `slots[starts[u]..starts[u + 1]]`. `[U + 1]`
    starts: Vec<u32>,
    /// Places in the batch's ids, those of one row ascending. `[B * S]`
    slots: Vec<u32>,
}

impl InverseIndex {
    /// `U`
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// First slot of every row, and the end of the last. `[U + 1]`
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// All slots, row by row. `[B * S]`
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }
}

impl DistinctRows {
    /// The distinct rows of `ids`: sorts by radix, in as many passes as the highest id needs.
    ///
    /// ```
    /// # use stem_kernels::distinct::DistinctRows;
    /// let distinct = DistinctRows::of(&[7, 3, 7]);
    /// assert_eq!((distinct.rows, distinct.inverse), (vec![3, 7], vec![1, 0, 1]));
    /// assert_eq!((distinct.by_row.starts(), distinct.by_row.slots()), (&[0, 1, 3][..], &[1, 0, 2][..]));
    /// ```
    ///
    /// # Panics
    /// When there are more than `u32::MAX` ids.
    pub fn of(ids: &[u32]) -> Self {
        let count = check_count(ids);
        let (mut rows, mut inverse) = (Vec::new(), vec![0; ids.len()]);
        let (mut starts, mut slots) = (Vec::new(), Vec::with_capacity(ids.len()));
        for (key, at) in sorted(ids).iter().zip(0..) {
            let (id, place) = ((key >> 32) as u32, *key as u32);
            if rows.last() != Some(&id) {
                rows.push(id);
                starts.push(at);
            }
            slots.push(place);
            inverse[place as usize] = rows.len() as u32 - 1;
        }
        starts.push(count);
        Self { rows, inverse, by_row: InverseIndex { starts, slots } }
    }

    /// Every row of a table of `rows` rows, by counting: the dense mode, in which the whole table takes part in every step.
    ///
    /// # Panics
    /// When an id lies outside the table, or there are more than `u32::MAX` rows or ids.
    pub fn all(rows: usize, ids: &[u32]) -> Self {
        check_count(ids);
        let count = u32::try_from(rows).expect("rows are counted in u32");
        let mut starts = vec![0; rows + 1];
        for &id in ids {
            assert!(id < count, "id {id} lies outside a table of {rows} rows");
            starts[id as usize] += 1;
        }
        let mut end = 0;
        for start in starts.iter_mut() {
            end += *start;
            *start = end; // the end of the row's slots, until they are put there from the last to the first
        }
        let mut slots = vec![0; ids.len()];
        for (place, &id) in ids.iter().enumerate().rev() {
            let start = &mut starts[id as usize];
            *start -= 1;
            slots[*start as usize] = place as u32;
        }
        Self { rows: (0..count).collect(), inverse: ids.to_vec(), by_row: InverseIndex { starts, slots } }
    }
}

fn check_count(ids: &[u32]) -> u32 {
    u32::try_from(ids.len()).expect("places are counted in u32")
}

/// Most bits that one pass of the radix sort takes.
const DIGIT: u32 = 11;

/// Keys `id | place`, ascending.
fn sorted(ids: &[u32]) -> Vec<u64> {
    let mut keys: Vec<u64> = ids.iter().zip(0u64..).map(|(&id, place)| u64::from(id) << 32 | place).collect();
    let mut swap = vec![0; ids.len()];
    let bits = u32::BITS - ids.iter().copied().max().unwrap_or(0).leading_zeros();
    let passes = bits.div_ceil(DIGIT);
    for pass in 0..passes {
        let digit = bits.div_ceil(passes);
        sort_by_digit(&keys, &mut swap, 32 + pass * digit, digit);
        std::mem::swap(&mut keys, &mut swap);
    }
    keys
}

/// One stable pass over `digit` bits from `shift` on.
fn sort_by_digit(from: &[u64], to: &mut [u64], shift: u32, digit: u32) {
    let of = |key: u64| (key >> shift) as usize & ((1 << digit) - 1);
    let mut next = [0u32; 1 << DIGIT];
    from.iter().for_each(|key| next[of(*key)] += 1);
    let mut sum = 0;
    for next in &mut next {
        (*next, sum) = (sum, sum + *next);
    }
    for key in from {
        let at = &mut next[of(*key)];
        to[*at as usize] = *key;
        *at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `rows`, `inverse` and `places` have to do with each other and with `ids`.
    fn check(distinct: &DistinctRows, ids: &[u32]) -> Result<(), TestCaseError> {
        let DistinctRows { rows, inverse, by_row } = distinct;
        prop_assert!(rows.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(inverse.len(), ids.len());
        prop_assert!(ids.iter().zip(inverse).all(|(id, at)| rows[*at as usize] == *id));
        prop_assert_eq!(by_row.rows(), rows.len());
        prop_assert_eq!(by_row.slots().len(), ids.len());
        prop_assert_eq!(by_row.starts()[rows.len()] as usize, ids.len());
        for (u, row) in rows.iter().enumerate() {
            let slots = &by_row.slots()[by_row.starts()[u] as usize..by_row.starts()[u + 1] as usize];
            prop_assert!(slots.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(slots.iter().all(|slot| ids[*slot as usize] == *row));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn rows_ascend_and_every_slot_finds_its_id(
            ids in prop::collection::vec(prop_oneof![0u32..50, any::<u32>(), Just(u32::MAX)], 0..300),
        ) {
            let distinct = DistinctRows::of(&ids);
            check(&distinct, &ids)?;
            prop_assert!(distinct.rows.iter().all(|row| ids.contains(row)));
        }

        #[test]
        fn every_row_of_a_table_takes_part(ids in prop::collection::vec(0u32..50, 0..300), more in 0usize..5) {
            let distinct = DistinctRows::all(50 + more, &ids);
            check(&distinct, &ids)?;
            prop_assert_eq!(&distinct.inverse, &ids);
            prop_assert_eq!(distinct.rows.len(), 50 + more);
        }
    }

    #[test]
    #[should_panic(expected = "id 3 lies outside a table of 3 rows")]
    fn an_id_outside_the_table_is_refused() {
        DistinctRows::all(3, &[0, 3]);
    }
}
