//! The distinct rows of a batch: what is gathered as a leaf, differentiated, and written back.

/// `ids[i] == rows[inverse[i]]`; `rows` ascend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DistinctRows {
    /// `U` rows of the table, ascending.
    pub rows: Vec<u32>,
    /// Position in `rows` of every slot's id. `[B * S]`
    pub inverse: Vec<u32>,
}

impl DistinctRows {
    /// Sorts (id, place) pairs and numbers the runs.
    ///
    /// ```
    /// # use stem_core::DistinctRows;
    /// let distinct = DistinctRows::of(&[7, 3, 7]);
    /// assert_eq!((distinct.rows, distinct.inverse), (vec![3, 7], vec![1, 0, 1]));
    /// ```
    pub fn of(ids: &[u32]) -> Self {
        let mut keyed: Vec<u64> =
            ids.iter().enumerate().map(|(place, &id)| u64::from(id) << 32 | place as u64).collect();
        keyed.sort_unstable();
        let mut rows: Vec<u32> = Vec::new();
        let mut inverse = vec![0; ids.len()];
        for key in keyed {
            let (id, place) = ((key >> 32) as u32, key as u32 as usize);
            if rows.last() != Some(&id) {
                rows.push(id);
            }
            inverse[place] = rows.len() as u32 - 1;
        }
        Self { rows, inverse }
    }

    /// Every row of a table of `rows` rows: the dense mode, in which the whole table takes part in every step.
    pub fn all(rows: usize, ids: &[u32]) -> Self {
        Self { rows: (0..rows as u32).collect(), inverse: ids.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_ascend_and_every_slot_finds_its_id(ids in prop::collection::vec(0u32..50, 0..200)) {
            let distinct = DistinctRows::of(&ids);
            prop_assert!(distinct.rows.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(ids.iter().zip(&distinct.inverse).all(|(id, at)| distinct.rows[*at as usize] == *id));
            prop_assert!(distinct.rows.iter().all(|row| ids.contains(row)));
        }
    }
}
