//! The distinct rows of a batch: what is gathered, differentiated and written back; and the places of each.

/// `ids[i] == rows[inverse[i]]`; `rows` ascend. Memory is kept from batch to batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distinct {
    /// `U` rows of the table, ascending.
    pub rows: Vec<u32>,
    /// Position in `rows` of every slot's id. `[B * S]`
    pub inverse: Vec<u32>,
    /// Where each of the rows stands in the batch.
    pub places: Places,
    sorting: Sorting,
}

/// Slots of a batch by the row they name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Slots of row `u`: `slots[starts[u]..starts[u + 1]]`. `[U + 1]`, or none before a first batch.
    starts: Vec<u32>,
    /// Places in the batch's ids, those of one row ascending. `[B * S]`
    slots: Vec<u32>,
}

impl Places {
    /// `U`
    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
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

impl Distinct {
    /// The distinct rows of `ids`.
    ///
    /// ```
    /// # use stem_kernels::distinct::Distinct;
    /// let distinct = Distinct::of(&[7, 3, 7]);
    /// assert_eq!((distinct.rows, distinct.inverse), (vec![3, 7], vec![1, 0, 1]));
    /// assert_eq!((distinct.places.starts(), distinct.places.slots()), (&[0, 1, 3][..], &[1, 0, 2][..]));
    /// ```
    pub fn of(ids: &[u32]) -> Self {
        let mut distinct = Self::default();
        distinct.fill(ids);
        distinct
    }

    /// Every row of a table of `rows` rows: the dense mode, in which the whole table takes part in every step.
    ///
    /// # Panics
    /// As [`fill_all`](Self::fill_all).
    pub fn all(rows: usize, ids: &[u32]) -> Self {
        let mut distinct = Self::default();
        distinct.fill_all(rows, ids);
        distinct
    }

    /// [`of`](Self::of), in place: sorts by radix, in as many passes as the highest id needs.
    ///
    /// # Panics
    /// When there are more than `u32::MAX` ids.
    pub fn fill(&mut self, ids: &[u32]) {
        check_count(ids);
        let keys = self.sorting.sort(ids);
        self.rows.clear();
        self.inverse.resize(ids.len(), 0);
        let Places { starts, slots } = &mut self.places;
        starts.clear();
        slots.clear();
        for (key, at) in keys.iter().zip(0..) {
            let (id, place) = ((key >> 32) as u32, *key as u32);
            if self.rows.last() != Some(&id) {
                self.rows.push(id);
                starts.push(at);
            }
            slots.push(place);
            self.inverse[place as usize] = self.rows.len() as u32 - 1;
        }
        starts.push(ids.len() as u32);
    }

    /// [`all`](Self::all), in place: counts.
    ///
    /// # Panics
    /// When an id lies outside the table, or there are more than `u32::MAX` rows or ids.
    pub fn fill_all(&mut self, rows: usize, ids: &[u32]) {
        check_count(ids);
        let count = u32::try_from(rows).expect("rows are counted in u32");
        self.rows.clear();
        self.rows.extend(0..count);
        self.inverse.clear();
        self.inverse.extend_from_slice(ids);
        let Places { starts, slots } = &mut self.places;
        starts.clear();
        starts.resize(rows + 1, 0);
        for &id in ids {
            assert!(id < count, "id {id} lies outside a table of {rows} rows");
            starts[id as usize] += 1;
        }
        let mut end = 0;
        for start in starts.iter_mut() {
            end += *start;
            *start = end; // the end of the row's slots, until they are put there from the last to the first
        }
        slots.resize(ids.len(), 0);
        for (place, &id) in ids.iter().enumerate().rev() {
            let start = &mut starts[id as usize];
            *start -= 1;
            slots[*start as usize] = place as u32;
        }
    }
}

fn check_count(ids: &[u32]) {
    assert!(u32::try_from(ids.len()).is_ok(), "places are counted in u32");
}

/// Memory of a radix sort.
#[derive(Debug, Clone, Default)]
struct Sorting {
    keys: Vec<u64>,
    swap: Vec<u64>,
}

/// What lies in it means nothing.
impl PartialEq for Sorting {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Sorting {}

/// Most bits that one pass of the radix sort takes.
const DIGIT: u32 = 11;

impl Sorting {
    /// Keys `id | place`, ascending.
    fn sort(&mut self, ids: &[u32]) -> &[u64] {
        self.keys.clear();
        self.keys.extend(ids.iter().zip(0u64..).map(|(&id, place)| u64::from(id) << 32 | place));
        self.swap.resize(ids.len(), 0);
        let bits = u32::BITS - ids.iter().copied().max().unwrap_or(0).leading_zeros();
        let passes = bits.div_ceil(DIGIT);
        for pass in 0..passes {
            let digit = bits.div_ceil(passes);
            sort_by_digit(&self.keys, &mut self.swap, 32 + pass * digit, digit);
            std::mem::swap(&mut self.keys, &mut self.swap);
        }
        &self.keys
    }
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
    fn check(distinct: &Distinct, ids: &[u32]) -> Result<(), TestCaseError> {
        let Distinct { rows, inverse, places, .. } = distinct;
        prop_assert!(rows.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(inverse.len(), ids.len());
        prop_assert!(ids.iter().zip(inverse).all(|(id, at)| rows[*at as usize] == *id));
        prop_assert_eq!(places.rows(), rows.len());
        prop_assert_eq!(places.slots().len(), ids.len());
        prop_assert_eq!(places.starts()[rows.len()] as usize, ids.len());
        for (u, row) in rows.iter().enumerate() {
            let slots = &places.slots()[places.starts()[u] as usize..places.starts()[u + 1] as usize];
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
            let mut distinct = Distinct::of(&[7; 20]);
            distinct.fill(&ids);
            check(&distinct, &ids)?;
            prop_assert!(distinct.rows.iter().all(|row| ids.contains(row)));
            prop_assert_eq!(distinct, Distinct::of(&ids));
        }

        #[test]
        fn every_row_of_a_table_takes_part(ids in prop::collection::vec(0u32..50, 0..300), more in 0usize..5) {
            let mut distinct = Distinct::of(&[7; 20]);
            distinct.fill_all(50 + more, &ids);
            check(&distinct, &ids)?;
            prop_assert_eq!(&distinct.inverse, &ids);
            prop_assert_eq!(distinct.rows.len(), 50 + more);
            prop_assert_eq!(distinct, Distinct::all(50 + more, &ids));
        }
    }

    #[test]
    #[should_panic(expected = "id 3 lies outside a table of 3 rows")]
    fn an_id_outside_the_table_is_refused() {
        Distinct::all(3, &[0, 3]);
    }
}
