//! Which rows of the table have changed since the last checkpoint.

/// A bit for each row.
#[derive(Debug)]
pub(crate) struct Changed {
    bits: Vec<u64>,
    rows: usize,
    count: usize,
    /// Whether all of them have.
    all: bool,
}

impl Changed {
    /// None yet, of so many.
    pub(crate) fn of(rows: usize) -> Self {
        Self { bits: vec![0; rows.div_ceil(64)], rows, count: 0, all: false }
    }

    pub(crate) fn mark(&mut self, rows: &[u32]) {
        for &row in rows {
            let (word, bit) = (&mut self.bits[row as usize / 64], 1 << (row % 64));
            self.count += usize::from(*word & bit == 0);
            *word |= bit;
        }
    }

    pub(crate) fn mark_all(&mut self) {
        self.all = true;
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        if self.all { self.rows } else { self.count }
    }

    /// The rows, ascending. They are forgotten then.
    pub(crate) fn take(&mut self) -> Vec<u32> {
        let of = |(place, word): (usize, &u64)| {
            let word = *word;
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| (place * 64 + bit) as u32)
        };
        let rows = match self.all {
            true => (0..self.rows as u32).collect(),
            false => self.bits.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(of).collect(),
        };
        self.forget();
        rows
    }

    /// None has changed, from now on.
    pub(crate) fn forget(&mut self) {
        (self.count, self.all) = (0, false);
        self.bits.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_rows_are_each_named_once_until_they_are_forgotten() {
        let mut changed = Changed::of(130);
        changed.mark(&[3, 64]);
        changed.mark(&[3, 129, 0]);
        assert_eq!((changed.count(), changed.take()), (4, vec![0, 3, 64, 129]));
        assert_eq!((changed.count(), changed.take()), (0, vec![]));
        changed.mark(&[1, 2]);
        changed.forget();
        assert_eq!(changed.count(), 0);
        changed.mark(&[1]);
        changed.mark_all();
        assert_eq!(changed.count(), 130);
        assert_eq!(changed.take(), (0..130).collect::<Vec<u32>>());
        assert!(changed.take().is_empty());
    }
}
